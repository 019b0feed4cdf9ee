"""/key/info and /key/list (contract §1.6): admins see all, everybody else what is theirs."""

from collections.abc import Iterable
from typing import Any

import msgspec

from services.policy.commands import fields
from services.policy.commands.plan import Call, Plan
from services.policy.commands.rows import key_info, key_row, status
from services.policy.commands.teams import is_member
from shared import errors
from shared.entities import Key
from shared.errors import RefusedError
from shared.ids import KeyDigest

SIZE_MAX = 100
_STATUSES = ("active", "expired", "revoked", "deleted")
_SORTABLE = ("created_at", "updated_at", "expires", "key_alias", "key_name", "user_id", "team_id", "token")
_FILTERS = ("user_id", "team_id", "organization_id")


def info(call: Call) -> Plan:
    sent = call.query.get("key") or call.actor.key_sha256
    if sent is None:
        fields.refuse("key", "must name the key")
    key = call.directory.keys.get(KeyDigest(sent))
    if key is None:
        raise RefusedError(errors.entity_not_found("Key not found in database", "key"))
    if not _may_see(call, key):
        raise RefusedError(errors.not_yours("You are not allowed to access this key's info."))
    return Plan({"key": sent, "info": key_info(key, call.now_ms)})


class _Filter(msgspec.Struct, frozen=True):
    """The query of /key/list, read once. An empty text filters nothing."""

    equal: dict[str, str]
    alias: str
    alias_contains: bool
    status: set[str]
    created_by: bool
    of_teams: bool


def list_keys(call: Call) -> Plan:
    """One page. Costs O(keys), or O(the team's keys) with `team_id`."""
    query = call.query
    page, size = _number(query, "page", 1, 10**9), _number(query, "size", 10, SIZE_MAX)
    full = _truth(query, "return_full_object")
    wanted = _filter(query)
    found = _sorted(query, [key for key in _candidates(call) if _matches(call, wanted, key)])
    shown = found[(page - 1) * size : page * size]
    return Plan(
        {
            "keys": [key_row(key) if full else key.token for key in shown],
            "total_count": len(found),
            "current_page": page,
            "total_pages": -(-len(found) // size),
        }
    )


def _filter(query: dict[str, str]) -> _Filter:
    status = set()
    for name, choices in (("status", _STATUSES), ("expires", ("active", "expired"))):
        value = query.get(name)
        if value and value not in choices:
            fields.refuse(name, f"must be one of {', '.join(choices)}")
        if value:
            status.add(value)
    return _Filter(
        equal={name: query[name] for name in _FILTERS if query.get(name)},
        alias=query.get("key_alias") or query.get("search") or "",
        alias_contains=_truth(query, "substring_matching") or not query.get("key_alias"),
        status=status,
        created_by=_truth(query, "include_created_by_keys"),
        of_teams=_truth(query, "include_team_keys"),
    )


def _may_see(call: Call, key: Key) -> bool:
    actor = call.actor
    if call.sees_all or _owns(call, key):
        return True
    team = call.directory.teams.get(key.team_id) if key.team_id is not None else None
    return team is not None and is_member(team, actor)


def _owns(call: Call, key: Key) -> bool:
    actor = call.actor
    return key.token == actor.key_sha256 or (actor.user_id is not None and key.user_id == actor.user_id)


def _candidates(call: Call) -> Iterable[Key]:
    directory, query = call.directory, call.query
    digest = query.get("key_hash")
    if digest:
        key = directory.keys.get(KeyDigest(digest))
        return [] if key is None else [key]
    team_id = query.get("team_id")
    return directory.team_keys(team_id) if team_id else directory.keys.values()


def _matches(call: Call, wanted: _Filter, key: Key) -> bool:
    if not call.sees_all and not _visible(call, wanted, key):
        return False
    if any(getattr(key, name) != value for name, value in wanted.equal.items()):
        return False
    if wanted.alias:
        alias = key.key_alias or ""
        if (wanted.alias not in alias) if wanted.alias_contains else (wanted.alias != alias):
            return False
    return not wanted.status or wanted.status == {status(key, call.now_ms)}


def _visible(call: Call, wanted: _Filter, key: Key) -> bool:
    if _owns(call, key):
        return True
    user_id = call.actor.user_id
    if wanted.created_by and user_id is not None and key.created_by == user_id:
        return True
    return wanted.of_teams and _may_see(call, key)


def _sorted(query: dict[str, str], keys: list[Key]) -> list[Key]:
    """Newest first unless asked otherwise; what lacks the field goes last."""
    by, order = query.get("sort_by") or "created_at", query.get("sort_order") or "desc"
    if by not in _SORTABLE:
        fields.refuse("sort_by", f"must be one of {', '.join(_SORTABLE)}")
    if order not in ("asc", "desc"):
        fields.refuse("sort_order", "must be asc or desc")
    attribute = {"created_at": "created_at_ms", "updated_at": "updated_at_ms", "expires": "expires_at_ms"}.get(by, by)

    def value(key: Key) -> tuple[Any, str]:
        return getattr(key, attribute), key.token

    having = sorted((key for key in keys if getattr(key, attribute) is not None), key=value, reverse=order == "desc")
    return having + [key for key in keys if getattr(key, attribute) is None]


def _number(query: dict[str, str], name: str, default: int, most: int) -> int:
    value = query.get(name)
    if not value:
        return default
    if not (value.isascii() and value.isdigit() and len(value) <= 9) or not 1 <= int(value) <= most:
        fields.refuse(name, f"must be a whole number from 1 to {most}")
    return int(value)


def _truth(query: dict[str, str], name: str) -> bool:
    value = query.get(name, "").lower()
    if value not in ("", "true", "false", "1", "0"):
        fields.refuse(name, "must be true or false")
    return value in ("true", "1")
