"""/key/generate, /key/update, /key/delete, /key/block, /key/unblock (contract §1.3 to §1.7).

A key's plaintext never comes here: the edge minted it, sends its digest, and puts the plaintext into the answer. `key` and
`keys` in bodies are digests, and are answered as they were sent.
"""

import re
from typing import Any

import msgspec

from services.policy.commands import aliases, fields
from services.policy.commands.plan import Call, Change, Plan, change_key
from services.policy.commands.rows import key_row
from services.policy.commands.schema import KEY_COLUMNS, KEY_KEPT, KEY_OURS, check_size, merge
from shared import errors
from shared.entities import Key
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
    body = call.body
    token = body.get("token")
    if not isinstance(token, str) or _DIGEST.fullmatch(token) is None:
        fields.refuse("token", "must be the key's SHA-256 in 64 lower-case hex digits")
    if token in call.directory.keys:
        raise RefusedError(errors.bad_request("This key already exists", "key"))
    key = Key(
        token=KeyDigest(token),
        key_name=fields.text("key_name", body.get("key_name")) or "sk-...",
        created_at_ms=call.now_ms,
        created_by=call.actor.user_id,
    )
    key = _merged(call, key)
    changes = [change_key(call.directory, "created", None, key)]
    if key.key_alias is not None:
        changes.append(aliases.reserve(call, key.key_alias, key.token))
    return Plan({**key_row(key, spend=0.0), "key": token, "token": token, "token_id": token}, changes)


def update(call: Call) -> Plan:
    key, sent = _named_key(call)
    body = call.body
    if "key" not in body:
        body = {name: value for name, value in body.items() if name != "key_alias"}  # it named the key
    after = _merged(call, key, body)
    changes = [change_key(call.directory, "updated", key, after)]
    if after.key_alias != key.key_alias:
        if after.key_alias is not None:
            changes.append(aliases.reserve(call, after.key_alias, key.token))
        changes += aliases.release(call.directory, key.key_alias, key.token)
    return Plan({**key_row(after), "key": sent}, changes)


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
        raise RefusedError(errors.entity_not_found("No keys found", field))
    changes = [change for key in found.values() for change in deletion(call, key)]
    return Plan({"deleted_keys": list(found)}, changes)


def deletion(call: Call, key: Key) -> list[Change]:
    """The key first, then its alias: see `aliases`."""
    return [
        change_key(call.directory, "deleted", key, None),
        *aliases.release(call.directory, key.key_alias, key.token),
    ]


def block(call: Call) -> Plan:
    return _set_blocked(call, True)


def unblock(call: Call) -> Plan:
    return _set_blocked(call, False)


def _set_blocked(call: Call, blocked: bool) -> Plan:
    """A fact even where nothing seems to change: only the broker knows whether what we see is still so."""
    key, _ = _named_key(call)
    after = msgspec.structs.replace(key, blocked=blocked, updated_at_ms=call.now_ms, updated_by=call.actor.user_id)
    return Plan(key_row(after), [change_key(call.directory, "blocked" if blocked else "unblocked", key, after)])


def _named_key(call: Call) -> tuple[Key, str]:
    """The key a body means, by `key` or by `key_alias`, and how it named it."""
    sent = fields.text("key", call.body.get("key"))
    if sent is not None:
        key = call.directory.keys.get(KeyDigest(sent))
    else:
        sent = fields.text("key_alias", call.body.get("key_alias"))
        if sent is None:
            fields.refuse("key", "or key_alias must name the key")
        key = call.directory.alias_owner(sent)
    if key is None:
        raise RefusedError(errors.entity_not_found("Key not found.", "key"))
    return key, sent


def _merged(call: Call, key: Key, body: dict[str, Any] | None = None) -> Key:
    """The key with the body's fields, expiry and key type included, and every rule that binds fields together."""
    body = call.body if body is None else body
    after = merge(key, body, KEY_COLUMNS, KEY_KEPT, KEY_OURS)
    if after.key_alias is not None and after.key_alias != key.key_alias:
        aliases.check(after.key_alias)
    key_type = fields.text("key_type", body.get("key_type"))
    if key_type is not None:
        if key_type not in KEY_TYPES:
            fields.refuse("key_type", f"must be one of {', '.join(KEY_TYPES)}")
        if KEY_TYPES[key_type]:
            after = msgspec.structs.replace(after, allowed_routes=KEY_TYPES[key_type])
    if after.team_id is not None and after.team_id not in call.directory.teams and after.team_id != key.team_id:
        message = f"Unable to find team object in database. Team ID: {after.team_id}"
        raise RefusedError(errors.bad_request(message, "team_id"))
    after = msgspec.structs.replace(
        after,
        expires_at_ms=_expiry(call, key, body),
        updated_at_ms=call.now_ms,
        updated_by=call.actor.user_id,
    )
    check_size(after)
    return after


def _expiry(call: Call, key: Key, body: dict[str, Any]) -> int | None:
    if "duration" not in body:
        return key.expires_at_ms
    if body["duration"] in ("-1", ""):
        return None
    duration = fields.duration("duration", body["duration"])
    return None if duration is None else fields.end_of("duration", duration, call.now_ms)
