"""/key/info, /v2/key/info, /key/list, /key/aliases (contract §1.6): admins see all, everybody else what is theirs."""

from collections.abc import Iterable, Sequence
from typing import Any

import msgspec

from services.policy import rights
from services.policy.commands import generic
from services.policy.commands.plan import Call, Plan, Spent
from services.policy.directory import Directory
from shared import errors
from shared.entities import KEY, Key
from shared.entities import readers as fields
from shared.errors import RefusedError
from shared.ids import KeyDigest

INFO_KEYS_MAX = 100
_STATUSES = ("active", "expired", "revoked", "deleted")
_SORTABLE = ("created_at", "updated_at", "expires", "key_alias", "key_name", "user_id", "team_id", "token")
_FILTERS = ("user_id", "team_id", "organization_id")


def info(call: Call) -> Plan:
    sent = call.query.get("key") or call.actor.key_sha256
    if sent is None:
        fields.refuse("key", "must name the key")
    key = call.directory.keys.get(KeyDigest(sent))
    if key is None:
        if not call.sees_all:  # nor learns who isn't admin which keys there are
            raise RefusedError(errors.not_yours("You are not allowed to access this key's info."))
        raise RefusedError(errors.entity_not_found("Key not found in database", "key"))
    rights.need_key(call, key, "/key/info")
    row = key_info(key, call.now_ms)
    return Plan({"key": sent, "info": row}, spend=[spent(key, row)])


def infos(call: Call) -> Plan:
    """Several at once; what isn't there, or isn't the caller's to see, is left out."""
    names = fields.texts("keys", call.body.get("keys")) or []
    if not names:
        fields.refuse("keys", "must name at least one key")
    if len(names) > INFO_KEYS_MAX:
        fields.refuse("keys", f"must name at most {INFO_KEYS_MAX} keys")
    found = [key for name in dict.fromkeys(names) if (key := call.directory.keys.get(KeyDigest(name))) is not None]
    seen = [key for key in found if rights.may_touch_key(call, key, "/key/info")]
    if not seen:
        raise RefusedError(errors.entity_not_found("No keys found", "keys"))
    rows = [KEY.row(key, spend=None, status=status(key, call.now_ms)) for key in seen]
    return Plan({"key": names, "info": rows}, spend=[spent(k, row) for k, row in zip(seen, rows, strict=True)])


def spent(key: Key, row: dict[str, Any]) -> Spent:
    return Spent(row, "key", [key.token, *key.previous_tokens])


def key_info(key: Key, now_ms: int) -> dict[str, Any]:
    """The row without its token, and its state."""
    row = KEY.row(key, spend=None, status=status(key, now_ms))
    del row["token"]
    return row


def status(key: Key, now_ms: int) -> str:
    """LiteLLM's words: revoked is what `blocked` makes of a key."""
    if key.blocked:
        return "revoked"
    return "expired" if key.expires_at_ms is not None and now_ms >= key.expires_at_ms else "active"


class _Filter(msgspec.Struct, frozen=True):
    """The query of /key/list, read once. An empty string filters nothing."""

    equal: dict[str, str]
    alias: str
    alias_contains: bool
    status: set[str]
    created_by: bool
    of_teams: bool


def list_keys(call: Call) -> Plan:
    """One page. Costs O(the team's or user's keys) where the query names one, else O(keys)."""
    query = call.query
    full = generic.truth(query, "return_full_object")
    wanted = _filter(query)
    newest = _newest(call, wanted)
    if newest is None:
        newest = _sorted(query, [key for key in _candidates(call) if _matches(call, wanted, key)])
    page = generic.page(call, newest)
    rows = [KEY.row(key, spend=None) if full else key.token for key in page.items]
    return Plan(
        {
            "keys": rows,
            "total_count": page.total,
            "current_page": page.number,
            "total_pages": page.pages,
        },
        spend=[spent(key, row) for key, row in zip(page.items, rows, strict=True) if isinstance(row, dict)],
    )


class _Newest(Sequence[Key]):
    """Every key, the newest first, without copying or sorting any."""

    def __init__(self, directory: Directory) -> None:
        self._order, self._keys = directory.newest_keys, directory.keys

    def __len__(self) -> int:
        return len(self._order)

    def __getitem__(self, index: Any) -> Any:
        """Of a slice of the newest; only slices that count up are asked for."""
        start, stop, _ = index.indices(len(self._order))
        end = len(self._order) - start
        return [self._keys[token] for _, token in reversed(self._order[end - max(0, stop - start) : end])]


def _newest(call: Call, wanted: "_Filter") -> Sequence[Key] | None:
    """What an admin sees who asks for nothing in particular; None: that isn't what is asked."""
    by, order = call.query.get("sort_by") or "created_at", call.query.get("sort_order") or "desc"
    named = any(call.query.get(name) for name in ("key_hash", "team_id", "user_id"))
    plain = not wanted.equal and not wanted.alias and not wanted.status and not named
    if call.sees_all and plain and (by, order) == ("created_at", "desc") and not call.directory.has_replaced_keys:
        return _Newest(call.directory)
    return None


def list_aliases(call: Call) -> Plan:
    """The names of the keys that the caller may see, in order."""
    search = call.query.get("search") or ""
    names = sorted(
        key.key_alias
        for key in call.directory.keys.values()
        if key.key_alias is not None
        and key.replaced_by is None
        and search in key.key_alias
        and (call.sees_all or _owns(call, key))
    )
    page = generic.page(call, names, default=50, most=500)
    return Plan(
        {
            "aliases": page.items,
            "total_count": page.total,
            "current_page": page.number,
            "total_pages": page.pages,
            "size": page.size,
        }
    )


def _filter(query: dict[str, str]) -> _Filter:
    wanted = set()
    for name, choices in (("status", _STATUSES), ("expires", ("active", "expired"))):
        value = query.get(name)
        if value and value not in choices:
            fields.refuse(name, f"must be one of {', '.join(choices)}")
        if value:
            wanted.add(value)
    return _Filter(
        equal={name: query[name] for name in _FILTERS if query.get(name)},
        alias=query.get("key_alias") or query.get("search") or "",
        alias_contains=generic.truth(query, "substring_matching") or not query.get("key_alias"),
        status=wanted,
        created_by=generic.truth(query, "include_created_by_keys"),
        of_teams=generic.truth(query, "include_team_keys"),
    )


def _owns(call: Call, key: Key) -> bool:
    actor = call.actor
    return key.token == actor.key_sha256 or (actor.user_id is not None and key.user_id == actor.user_id)


def _candidates(call: Call) -> Iterable[Key]:
    directory, query = call.directory, call.query
    digest = query.get("key_hash")
    if digest:
        key = directory.keys.get(KeyDigest(digest))
        return [] if key is None else [key]
    for name in ("team_id", "user_id"):
        if query.get(name):
            return directory.find("key", name, query[name])
    return directory.keys.values()


def _matches(call: Call, wanted: _Filter, key: Key) -> bool:
    if key.replaced_by is not None:
        return False  # it stands for another one
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
    return wanted.of_teams and rights.may_touch_key(call, key, "/key/info")


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
