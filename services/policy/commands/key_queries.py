"""/key/info, /v2/key/info, /key/list, /key/aliases: admins see all, everybody else what is
theirs.
"""

from collections.abc import Iterable, Sequence
from typing import Any

import msgspec

from services.policy import relations, rights
from services.policy.commands import budgets, generic, users
from services.policy.commands.keys import spent
from services.policy.directory import Directory
from services.policy.plan import Call, Plan
from shared import errors
from shared.config.callbacks import lacks
from shared.entities import KEY, Key, Team, callbacks
from shared.entities import readers as fields
from shared.errors import RefusedError
from shared.ids import KeyDigest

INFO_KEYS_MAX = 100
_STATUSES = ("active", "expired", "revoked", "deleted")
_SORTABLE = ("created_at", "updated_at", "expires", "key_alias", "key_name", "user_id", "team_id", "token")
_FILTERS = {
    "user_id": "user_id",
    "team_id": "team_id",
    "organization_id": "organization_id",
    "project_id": "project_id",
    "agent_id": "agent_id",
    "access_group_id": "access_group_ids",
    "tag": "tags",
}
"""Of the query → index of the keys."""


def info(call: Call) -> Plan:
    sent = call.query.get("key") or call.actor.key_sha256
    if sent is None:
        fields.refuse("key", "must name the key")
    key = call.directory.keys.get(KeyDigest(sent))
    if key is None:
        raise generic.absent(call, "Key not found in database", "key", rights.NO_KEY)
    rights.need_key(call, key, "/key/info")
    row = {**key_info(key, call.now_ms), "litellm_budget_table": budgets.shown(call, KEY, key, own=False)}
    return Plan({"key": sent, "info": row}, spend=[spent(key, row)])


def health(call: Call) -> Plan:
    """Of the caller's own key: whether what it says of where its calls are sent can be done.
    Nothing is sent.
    """
    key = call.directory.keys.get(call.actor.key_sha256) if call.actor.key_sha256 is not None else None
    entries = None if key is None else callbacks.entries(key.metadata)
    if entries is None:
        return Plan({"key": "healthy", "logging_callbacks": None})
    wrong = [why for each in entries if (why := lacks(str(each["callback_name"]), each.get("callback_vars") or {}))]
    status_ = "unhealthy" if wrong else "healthy"
    details = (
        "; ".join(wrong) or "All that is needed is set; nothing was sent. The ledger's /metrics tell how sending goes"
    )
    named = [str(each["callback_name"]) for each in entries]
    return Plan({"key": status_, "logging_callbacks": {"callbacks": named, "status": status_, "details": details}})


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


def key_info(key: Key, now_ms: int) -> dict[str, Any]:
    """The row without its token, and its state."""
    row = KEY.row(key, spend=None, status=status(key, now_ms))
    del row["token"]
    return row


def status(key: Key, now_ms: int, *, blocked: bool = True) -> str:
    """LiteLLM's words: revoked is what `blocked` makes of a key."""
    if key.blocked and blocked:
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
    sessions: bool
    """Sign-ins to the admin page, which otherwise aren't shown."""


def list_keys(call: Call) -> Plan:
    """One page. Costs O(what the query narrows it to: a team's, a user's, an organisation's keys,
    those found by name); for admins who narrow it by nothing, or by status alone, O(the page and
    those before it)."""
    query = call.query
    with_user = "user" in (query.get("expand") or "").split(",")
    full = with_user or generic.truth(query, "return_full_object")
    by, descending = _order(query)
    found, begins = _found(call, _filter(query), by, descending=descending)
    page = generic.page(call, found, begins=begins)
    rows = [_shown(call, key, with_user=with_user) if full else key.token for key in page.items]
    return Plan(
        {
            "keys": rows,
            "total_count": page.total,
            "current_page": page.number,
            "total_pages": page.pages,
            "next_cursor": generic.next_cursor(KEY, page, by),
        },
        spend=[spent(key, row) for key, row in zip(page.items, rows, strict=True) if isinstance(row, dict)],
    )


def _shown(call: Call, key: Key, *, with_user: bool) -> dict[str, Any]:
    row = KEY.row(key, spend=None)
    if with_user:
        user = None if key.user_id is None else call.directory.users.get(key.user_id)
        row["user"] = None if user is None else users.shown(call, user, named=not rights.administers_key(call, key))[0]
    return row


def _found(call: Call, wanted: "_Filter", by: str, *, descending: bool) -> tuple[Sequence[Key], int | None]:
    """In order; and where the page begins, if `cursor` says it."""
    candidates = _candidates(call, wanted)
    if candidates is not None:
        matching = [key for key in candidates if _matches(call, wanted, key)]
        ordered = generic.in_order(KEY, matching, by, descending=descending)
        return ordered, generic.begins_at(call, KEY, ordered, by, descending=descending)
    every: Sequence[Key] = call.directory.ordered("key", by, descending=descending)
    begins = generic.begins_at(call, KEY, every, by, descending=descending)
    if not wanted.status:
        return every, begins
    of_status = _OfStatus(every, call.directory, wanted.status, call.now_ms, begins or 0)
    return of_status, None if begins is None else 0


class _OfStatus(Sequence[Key]):
    """Of all keys in an order those in one state: counted by what is known, found by going through
    the order until the page is full.

    Args:
        begins: where in the order to begin; all are counted.
    """

    def __init__(self, every: Sequence[Key], directory: Directory, wanted: set[str], now_ms: int, begins: int) -> None:
        self._begins = begins
        self._every, self._wanted, self._now_ms = every, wanted, now_ms
        blocked = [key for key in directory.find("key", "blocked", "True") if key.is_listed]
        over = len(directory.order("key", "expires_at_ms").before(now_ms + 1))
        revoked = len(blocked)
        expired = over - sum(status(key, now_ms, blocked=False) == "expired" for key in blocked)
        counts = {"revoked": revoked, "expired": expired, "active": len(every) - revoked - expired}
        self._count = counts.get(next(iter(wanted)), 0) if len(wanted) == 1 else 0

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, index: Any) -> Any:
        start, stop, _ = index.indices(self._count)
        found, at = [], 0
        for first in range(self._begins, len(self._every), SCANNED):
            if at >= stop:
                break
            for key in self._every[first : first + SCANNED]:
                if {status(key, self._now_ms)} == self._wanted:
                    if start <= at < stop:
                        found.append(key)
                    at += 1
        return found


SCANNED = 1_000
"""Keys looked at in one go."""


def list_aliases(call: Call) -> Plan:
    """The names of the keys that the caller may see, in order; of a team, with `team_id`. A page at
    a time.
    """
    search, team_id = call.query.get("search") or "", call.query.get("team_id") or ""
    directory = call.directory
    names: Sequence[str]
    if call.sees_all and not search and not team_id:
        order = directory.order("key", "key_alias")
        page = generic.page(call, order.having, default=50, most=500)
        shown = [directory.keys[KeyDigest(token)].key_alias for token in page.items]
    else:
        found: Iterable[Key]
        if team_id:
            found = directory.team_keys(team_id)
        elif call.sees_all:
            found = directory.containing("key", "key_alias", search)
        else:
            found = _own(call, created_by=False, of_teams=True)
        folded = search.casefold()
        names = sorted(
            key.key_alias
            for key in found
            if key.key_alias is not None
            and key.replaced_by is None
            and folded in key.key_alias.casefold()
            and (call.sees_all or _owns(call, key) or rights.may_touch_key(call, key, "/key/info"))
        )
        page = generic.page(call, names, default=50, most=500)
        shown = page.items
    return Plan(
        {
            "aliases": shown,
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
        equal={attribute: query[name] for name, attribute in _FILTERS.items() if query.get(name)},
        alias=query.get("key_alias") or query.get("search") or "",
        alias_contains=generic.truth(query, "substring_matching") or not query.get("key_alias"),
        status=wanted,
        created_by=generic.truth(query, "include_created_by_keys"),
        of_teams=generic.truth(query, "include_team_keys"),
        sessions=generic.truth(query, "sessions"),
    )


def _owns(call: Call, key: Key) -> bool:
    actor = call.actor
    return key.token == actor.key_sha256 or (actor.user_id is not None and key.user_id == actor.user_id)


def _candidates(call: Call, wanted: "_Filter") -> Iterable[Key] | None:
    """The keys among which to look; None: all of them, for who sees all."""
    directory, query = call.directory, call.query
    digest = query.get("key_hash")
    if digest:
        key = directory.keys.get(KeyDigest(digest))
        return [] if key is None else [key]
    if wanted.alias and not wanted.alias_contains:
        owner = directory.alias_owner(wanted.alias)
        return [] if owner is None else [owner]
    narrow: list[list[Key]] = [directory.find("key", name, value) for name, value in wanted.equal.items()]
    if narrow:
        return min(narrow, key=len)
    if not call.sees_all:
        return _own(call, created_by=wanted.created_by, of_teams=wanted.of_teams)
    if wanted.sessions:
        return directory.find("key", "is_session", "True")
    return directory.containing("key", "key_alias", wanted.alias) if wanted.alias else None


def _own(call: Call, *, created_by: bool, of_teams: bool) -> Iterable[Key]:
    """The keys that somebody who doesn't see all may see: theirs, and on request those they made
    and their teams'.
    """
    directory, actor = call.directory, call.actor
    found: dict[KeyDigest, Key] = {}
    own = None if actor.key_sha256 is None else directory.keys.get(actor.key_sha256)
    if own is not None:
        found[own.token] = own
    if actor.user_id is not None:
        places = [("user_id", actor.user_id)] + ([("created_by", actor.user_id)] if created_by else [])
        if of_teams:
            teams: list[Team] = directory.find("team", "member_ids", actor.user_id)
            for each in relations.administered(directory, actor.user_id):
                teams += directory.find("team", "organization_id", each)
                places.append(("organization_id", each))
            places += [("team_id", team.team_id) for team in teams]
        for attribute, value in places:
            found |= {key.token: key for key in directory.find("key", attribute, value)}
    return found.values()


def _matches(call: Call, wanted: _Filter, key: Key) -> bool:
    if key.replaced_by is not None or key.is_session != wanted.sessions:
        return False
    if not call.sees_all and not _visible(call, wanted, key):
        return False
    if not all(_is(key, attribute, value) for attribute, value in wanted.equal.items()):
        return False
    if wanted.alias:
        alias = key.key_alias or ""
        if (wanted.alias.casefold() not in alias.casefold()) if wanted.alias_contains else (wanted.alias != alias):
            return False
    return not wanted.status or wanted.status == {status(key, call.now_ms)}


def _is(key: Key, attribute: str, value: str) -> bool:
    found = KEY.indexes[attribute](key)
    return value in found if isinstance(found, list) else found == value


def _visible(call: Call, wanted: _Filter, key: Key) -> bool:
    if _owns(call, key):
        return True
    user_id = call.actor.user_id
    if wanted.created_by and user_id is not None and key.created_by == user_id:
        return True
    return wanted.of_teams and rights.may_touch_key(call, key, "/key/info")


def _order(query: dict[str, str]) -> tuple[str, bool]:
    """(attribute, descending): newest first unless asked otherwise."""
    by, descending = generic.order(query, _SORTABLE, default="desc")
    attributes = {
        "": "created_at_ms",
        "created_at": "created_at_ms",
        "updated_at": "updated_at_ms",
        "expires": "expires_at_ms",
    }
    return attributes.get(by, by), descending
