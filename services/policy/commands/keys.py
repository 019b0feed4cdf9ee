"""/key/generate, /key/update, /key/delete, /key/block, /key/unblock.

A key's plaintext never comes here: the edge minted it, sends its digest, and puts the plaintext
into the answer. `key` and `keys` in bodies are digests, and are answered as they were sent.
"""

import re
from collections.abc import Iterable
from typing import Any

import msgspec

from services.policy import rights
from services.policy.commands import aliases, budgets, generic, key_defaults, rotation_times
from services.policy.model_access import GROUPS, unknown_entry
from services.policy.plan import Call, Change, Plan, Spent, change
from shared import errors
from shared.entities import KEY, Key, Project, callbacks
from shared.entities import readers as fields
from shared.entities.key import DELEGATED
from shared.entities.kind import Merged, usd
from shared.errors import RefusedError
from shared.ids import KeyDigest

KEYS_MAX = 1000
"""Of one /key/delete."""

_DIGEST = re.compile(r"[0-9a-f]{64}")

KEY_TYPES: dict[str, list[str]] = {
    "default": [],
    "llm_api": ["llm_api_routes"],
    "management": ["management_routes"],
    "read_only": ["info_routes"],
}
"""`key_type` -> `allowed_routes`."""


def generate(call: Call) -> Plan:
    key = new_key(call)
    key_defaults.check_maker(call, call.body)
    made = merged(call, key, key_defaults.completed(call, call.body))
    key = made.entity
    if not call.is_admin and key.user_id is None and call.actor.user_id is not None and key.team_id is None:
        key = msgspec.structs.replace(key, user_id=call.actor.user_id)
    _check_maker(call, key)
    key = held(call, key)
    changes = creation(call, key)
    row = made_row(call, key, spend=usd(key.spend_offset_picousd))
    return Plan(row, changes, made.unknown, made.not_enforced)


def made_row(call: Call, key: Key, spend: float | None) -> dict[str, Any]:
    """A new key's, with every field that could have been set; the edge puts the plaintext in."""
    unset = dict.fromkeys(KEY.settable())
    table = budgets.shown(call, KEY, key, own=False)
    more = {
        "duration": call.body.get("duration"),
        "key": key.token,
        "token_id": key.token,
        "total_spend": 0.0,
        "litellm_budget_table": table,
    }
    return {**unset, **KEY.row(key, spend=spend), **more}


def spent(key: Key, row: dict[str, Any]) -> Spent:
    """What its row's spend is to be filled from."""
    return Spent(row, *of_book(key), key.spend_offset_picousd)


def generate_service_account(call: Call) -> Plan:
    """A team's key that is nobody's: `metadata.service_account_id` is its alias, and can't be
    changed.
    """
    team_id = fields.text("team_id", call.body.get("team_id"))
    alias = fields.text("key_alias", call.body.get("key_alias"))
    if team_id is None:
        fields.refuse("team_id", "is needed: a service account belongs to a team")
    if alias is None:
        fields.refuse("key_alias", "is needed: it is the service account's name")
    metadata = {**(fields.mapping("metadata", call.body.get("metadata")) or {}), "service_account_id": alias}
    body = {**call.body, "metadata": metadata, "user_id": None}
    return generate(msgspec.structs.replace(call, body=body))


def held(call: Call, key: Key) -> Key:
    """The key, now that this actor has its new secret. What an admin of everything does says
    nothing about who holds it.
    """
    if key.user_id is None or (call.is_admin and key.user_id != call.actor.user_id):
        return key
    if key.user_id != call.actor.user_id:
        return _delegated(key)
    return msgspec.structs.replace(key, extra={name: value for name, value in key.extra.items() if name != DELEGATED})


def _delegated(key: Key) -> Key:
    return msgspec.structs.replace(key, extra={**key.extra, DELEGATED: True})


def new_key(call: Call) -> Key:
    """The key the edge minted, before any of the body's fields."""
    return Key(
        token=minted(call),
        key_name=fields.text("key_name", call.body.get("key_name")) or "sk-...",
        created_at_ms=call.now_ms,
        created_by=call.actor.user_id,
        updated_at_ms=call.now_ms,
        updated_by=call.actor.user_id,
    )


def minted(call: Call) -> KeyDigest:
    """The digest of what the edge minted; nobody else's key."""
    token = call.body.get("token")
    if not isinstance(token, str) or _DIGEST.fullmatch(token) is None:
        fields.refuse("token", "must be the key's SHA-256 in 64 lower-case hex digits")
    if token in call.directory.keys or call.catalog.master_key.is_it(KeyDigest(token), call.now_ms):
        raise RefusedError(errors.bad_request("This key already exists", "key"))
    return KeyDigest(token)


def creation(call: Call, key: Key) -> list[Change]:
    changes = [change(call.directory, KEY, "created", None, key)]
    if key.key_alias is not None:
        changes.append(aliases.reserve(call, key.key_alias, key.token))
    return changes


def _check_maker(call: Call, key: Key) -> None:
    """For themselves, for a team that lets them, or an admin."""
    if call.is_admin:
        return
    empty = KEY.empty
    if "allowed_routes" not in call.body:  # a `key_type` only takes away
        empty = msgspec.structs.replace(empty, allowed_routes=key.allowed_routes)
    rights.check_change(call, empty, key, administers=rights.administers_key(call, key), made_by_actor=True)
    _check_own_budget(call, key)
    team = None if key.team_id is None else call.directory.teams.get(key.team_id)
    if team is None or key.organization_id != team.organization_id:
        rights.check_organization(call, None, key.organization_id, member_may=True)
    if key.user_id not in (None, call.actor.user_id) and not rights.administers_key(call, key):
        raise RefusedError(
            errors.not_yours(
                f"User can only create keys for themselves. Got user_id={key.user_id}, Your ID={call.actor.user_id}"
            )
        )
    if key.team_id is None and not rights.may_touch_key(call, key, "/key/generate"):
        raise RefusedError(errors.not_yours("User can only create keys for themselves, or for a team that lets them."))


def _check_own_budget(call: Call, key: Key) -> None:
    """Nobody hands out more than they have themselves."""
    user = None if call.actor.user_id is None else call.directory.users.get(call.actor.user_id)
    most = None if user is None or key.team_id is not None else user.max_budget_picousd
    if most is not None and key.max_budget_picousd is not None and key.max_budget_picousd > most:
        fields.refuse("max_budget", f"is more than your own budget of {usd(most)} USD")


def update(call: Call) -> Plan:
    key, sent = named_key(call)
    rights.need_key(call, key)
    need_present(key)
    body = call.body
    if "key" not in body:
        body = {name: value for name, value in body.items() if name != "key_alias"}  # it named the key
    key_defaults.check_bounds(call, body)
    made = merged(call, key, body)
    after = made.entity
    check_change(call, key, after)
    if after.user_id not in (None, key.user_id) and not call.is_admin:
        after = _delegated(after)  # whoever had its secret has it still
    changes = [change(call.directory, KEY, "updated", key, after)]
    if after.key_alias != key.key_alias:
        if after.key_alias is not None:
            changes.append(aliases.reserve(call, after.key_alias, key.token))
        changes += aliases.release(call.directory, key.key_alias, key.token)
    row = {**KEY.row(after, spend=None), "key": sent}
    return Plan(row, changes, made.unknown, made.not_enforced, [spent(after, row)])


def need_present(key: Key) -> None:
    """Not one that only stands for its successor: what it may do is what that one may do."""
    if key.replaced_by is not None:
        raise RefusedError(errors.bad_request("This key was rotated already: name the one that replaced it", "key"))


def check_change(call: Call, key: Key, after: Key) -> None:
    own = call.actor.user_id is not None and key.created_by == call.actor.user_id
    administers = rights.administers_key(call, key)
    rights.check_change(call, key, after, administers=administers, made_by_actor=own)
    rights.check_organization(call, key.organization_id, after.organization_id, member_may=True)
    if call.is_admin:
        return
    if not (administers or rights.owns_key(call, key)) and _seen_by(key) != _seen_by(after):
        raise RefusedError(errors.for_admins("metadata"))
    if after.team_id != key.team_id and not (administers and rights.administers_key(call, after)):
        raise RefusedError(errors.for_admins("team_id"))
    if after.user_id != key.user_id and not administers:
        raise RefusedError(errors.for_admins("user_id"))
    if key.blocked and not after.blocked and not administers:
        raise RefusedError(errors.for_admins("blocked"))
    later = after.expires_at_ms is None or (key.expires_at_ms is not None and after.expires_at_ms > key.expires_at_ms)
    if key.expires_at_ms is not None and later and not (administers or own):
        raise RefusedError(errors.for_admins("duration"))


def _seen_by(key: Key) -> list[Any]:
    """What says who sees the key's prompts and answers: a colleague whom the team lets change keys
    doesn't get to read along.
    """
    return [key.metadata.get(name) for name in ("logging", callbacks.OLD, "store_prompts_in_spend_logs")]


def reset_spend(call: Call) -> Plan:
    """What it counts as having spent is `reset_to` from now on. The book stays as it is."""
    key, _ = named_key(call, call.params.get("key"))
    rights.need_key(call, key)
    need_present(key)
    reset_to = fields.picousd("reset_to", call.body.get("reset_to"))
    before = call.spent_picousd(*of_book(key)) + key.spend_offset_picousd
    if reset_to is None or reset_to > before:
        fields.refuse("reset_to", f"must be an amount of USD from 0 to what it has spent, {usd(before)}")
    after = generic.stamped(call, _with_spend(call, key, reset_to))
    answer = {
        "key_hash": key.token,
        "spend": usd(reset_to),
        "previous_spend": usd(before),
        "max_budget": usd(key.max_budget_picousd),
        "budget_reset_at": key.extra.get("budget_reset_at"),
    }
    return Plan(answer, [change(call.directory, KEY, "spend_reset", key, after)])


def of_book(key: Key) -> tuple[str, list[str]]:
    """(dimension, values) of a key in the book: what it was called before its rotations is it
    too.
    """
    return "key", [key.token, *key.previous_tokens]


def _with_spend(call: Call, key: Key, picousd: int) -> Key:
    dimension, tokens = of_book(key)
    is_new = call.directory.keys.keys().isdisjoint(tokens)
    known = 0 if is_new else call.spent_picousd(dimension, tokens)
    return msgspec.structs.replace(key, spend_offset_picousd=picousd - known)


def delete(call: Call) -> Plan:
    """What exists is deleted and named in the answer; 404 when nothing does."""
    by_alias = not call.body.get("keys") and bool(call.body.get("key_aliases"))
    field = "key_aliases" if by_alias else "keys"
    names = fields.texts(field, call.body.get(field))
    if not names:
        raise RefusedError(errors.bad_request("keys or key_aliases must name at least one key", "keys"))
    if len(names) > KEYS_MAX:
        fields.refuse(field, f"must name at most {KEYS_MAX} keys")
    directory = call.directory
    found: dict[str, Key] = {}
    for name in names:
        key = directory.alias_owner(name) if by_alias else directory.keys.get(KeyDigest(name))
        if key is not None:
            found[name] = key
    if not found:
        raise generic.absent(call, "No keys found", field, rights.NO_KEY)
    for key in found.values():
        rights.need_key(call, key)
    changes = deletions(call, found.values())
    return Plan({"deleted_keys": list(found)}, list(changes.values()))


def deletion(call: Call, key: Key) -> list[Change]:
    """The key first, then those that were rotated into it and its alias: see `aliases`."""
    return [
        change(call.directory, KEY, "deleted", key, None),
        *(c for old in call.directory.find("key", "replaced_by", key.token) for c in deletion(call, old)),
        *aliases.release(call.directory, key.key_alias, key.token),
    ]


def deletions(call: Call, found: Iterable[Key]) -> dict[str, Change]:
    """Of several, by subject: one may have been rotated into another."""
    return {c.subject: c for key in found for c in deletion(call, key)}


def block(call: Call) -> Plan:
    return _set_blocked(call, True)


def unblock(call: Call) -> Plan:
    return _set_blocked(call, False)


def _set_blocked(call: Call, blocked: bool) -> Plan:
    key, _ = named_key(call)
    rights.need_key(call, key)
    after, changed = generic.set_blocked(call, KEY, key, blocked)
    row = KEY.row(after, spend=None)
    return Plan(row, [changed], spend=[spent(after, row)])


def named_key(call: Call, sent: str | None = None) -> tuple[Key, str]:
    """The key a path or body means, by `key` or by `key_alias`, and how it named it."""
    sent = sent or fields.text("key", call.body.get("key"))
    if sent is not None:
        key = call.directory.keys.get(KeyDigest(sent))
    else:
        sent = fields.text("key_alias", call.body.get("key_alias"))
        if sent is None:
            fields.refuse("key", "or key_alias must name the key")
        key = call.directory.alias_owner(sent)
    if key is None:
        raise generic.absent(call, "Key not found.", "key", rights.NO_KEY)
    return key, sent


def merged(call: Call, key: Key, body: dict[str, Any]) -> Merged[Key]:
    """The key with the body's fields, expiry and key type included, and every rule that binds
    fields together.
    """
    made = KEY.merge(key, body)
    after = made.entity
    if after.key_alias is not None and after.key_alias != key.key_alias:
        aliases.check(call, after.key_alias)
    key_type = fields.text("key_type", body.get("key_type"))
    if key_type is not None:
        if key_type not in KEY_TYPES:
            fields.refuse("key_type", f"must be one of {', '.join(KEY_TYPES)}")
        if KEY_TYPES[key_type]:
            after = msgspec.structs.replace(after, allowed_routes=KEY_TYPES[key_type])
    if after.team_id is not None and after.team_id != key.team_id:
        _check_team(call, after.team_id)
    check_models(call, key, after)
    project_id = after.extra.get("project_id")
    if project_id is not None and (project_id, after.team_id) != (key.extra.get("project_id"), key.team_id):
        project: Project | None = call.directory.tables["project"].get(project_id)
        if project is None and call.sees_all:
            fields.refuse("project_id", "must name a project that exists")
        if project is None or not (call.is_admin or rights.may_touch_project(call, project, "/project/info")):
            raise RefusedError(errors.not_yours("You are not allowed to access this project's info."))
        if project.team_id is not None and project.team_id != after.team_id:
            fields.refuse("project_id", f"belongs to the team {project.team_id}, and this key doesn't")
    budgets.check(call, key, after)
    generic.check_organization(call, key, after)
    generic.check_guardrails(call, key, after)
    spend = fields.picousd("spend", body.get("spend"))
    if spend is not None:
        extra = {name: value for name, value in after.extra.items() if name != "spend"}
        after = msgspec.structs.replace(_with_spend(call, after, spend), extra=extra)
    after = rotation_times.planned(call, key, after)
    service_account = key.metadata.get("service_account_id")
    if service_account is not None:
        after = msgspec.structs.replace(after, metadata={"service_account_id": service_account, **after.metadata})
        if after.metadata["service_account_id"] != service_account:
            fields.refuse("metadata", "service_account_id can't be changed once it is set")
    after = msgspec.structs.replace(after, expires_at_ms=_expiry(call, key, body))
    after = generic.stamped(call, after)
    KEY.check_size(after)
    return Merged(after, made.unknown, made.not_enforced)


def _check_team(call: Call, team_id: str) -> None:
    """That a key goes to: it is there, and lets this actor give it keys. Before all else: what else
    is wrong tells nobody that it is there.
    """
    team = call.directory.teams.get(team_id)
    if team is None and call.sees_all:
        raise RefusedError(errors.bad_request(f"Unable to find team object in database. Team ID: {team_id}", "team_id"))
    if team is None or not rights.may_give_key_to(call, team):
        raise RefusedError(errors.not_yours("User can only create keys for themselves, or for a team that lets them."))


def check_models(call: Call, before: Any, after: Any) -> None:
    """Of whoever has `models` and access groups: those that are new."""
    check_names(call, before.models, after.models)
    for group in after.extra.get(GROUPS) or ():
        if group not in (before.extra.get(GROUPS) or ()) and group not in call.catalog.access_groups:
            fields.refuse(GROUPS, f"holds {group[:128]!r}, which no access group is called (/access_group/list)")


def check_names(call: Call, before: list[str], after: list[str], field: str = "models") -> None:
    """Names that nobody serves are refused when they are new: mostly they are misspelt."""
    for entry in after:
        if entry not in before and unknown_entry(entry, call.catalog):
            fields.refuse(field, f"holds {entry[:128]!r}, which no model, pattern or access group is called")


def _expiry(call: Call, key: Key, body: dict[str, Any]) -> int | None:
    if "duration" not in body:
        return key.expires_at_ms
    if body["duration"] in ("-1", ""):
        return None
    duration = fields.duration("duration", body["duration"])
    return None if duration is None else fields.end_of("duration", duration, call.now_ms)
