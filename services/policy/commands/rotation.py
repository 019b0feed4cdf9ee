"""/key/regenerate, /key/{key}/regenerate (contract §1.8): a key gets another secret, and may keep the old one for a while.

One atomic batch: the new key, the old one's end, and the alias that moves. In the grace period the old key stands for the new
one (`replaced_by`), so whatever is done to the new key binds the old one too; each old key ends at its own instant, also when
the new one is rotated again before that.
"""

from typing import Any

import msgspec

from services.policy import rights
from services.policy.commands import aliases, generic, key_queries, keys
from services.policy.commands.generic import change
from services.policy.commands.plan import Call, Change, Plan
from shared.entities import KEY, Key, iso
from shared.entities import readers as fields

PREVIOUS_MAX = 64
"""Rotations after which the oldest digest is no longer counted to the key's spend."""


def regenerate(call: Call) -> Plan:
    old, _ = keys.named_key(call, call.params.get("key"))
    rights.need_key(call, old, "/key/regenerate")
    keys.need_present(old)
    grace = _grace(call)
    fresh = keys.new_key(call)
    body = {name: value for name, value in call.body.items() if name not in ("key", "token", "key_name")}
    merged = keys.merged(call, old, body)
    keys.check_change(call, old, merged.entity)
    after = msgspec.structs.replace(
        merged.entity,
        token=fresh.token,
        key_name=fresh.key_name,
        previous_tokens=[*old.previous_tokens, old.token][-PREVIOUS_MAX:],
        extra={
            **merged.entity.extra,
            "rotation_count": int(old.extra.get("rotation_count", 0)) + 1,
            "last_rotation_at": iso(call.now_ms),
        },
    )
    changes = [change(call.directory, KEY, "rotated", None, after), *_end(call, old, after, grace)]
    if after.key_alias is not None:
        changes.append(aliases.reserve(call, after.key_alias, after.token, old.token))
    if old.key_alias is not None and after.key_alias != old.key_alias:
        changes += aliases.release(call.directory, old.key_alias, old.token)
    row: dict[str, Any] = {**KEY.row(after, spend=None), "key": after.token, "token_id": after.token}
    return Plan(row, changes, merged.unknown, merged.not_enforced, spend=[key_queries.spent(after, row)])


def _grace(call: Call) -> int | None:
    """When the old key ends; None: at once. A malformed period is refused: "no grace" would be a surprise."""
    sent = call.body.get("grace_period")
    if sent is None or sent == "":
        sent = call.catalog.rotation_grace
    if sent is None or sent == "":
        return None
    duration = fields.duration("grace_period", sent)
    assert duration is not None
    until = fields.end_of("grace_period", duration, call.now_ms)
    return until if until > call.now_ms else None


def _end(call: Call, old: Key, after: Key, grace: int | None) -> list[Change]:
    """Without grace those that still stood for the old key end with it."""
    if grace is None:
        before = call.directory.find("key", "replaced_by", old.token)
        return [change(call.directory, KEY, "deleted", old, None), *(c for k in before for c in keys.deletion(call, k))]
    until = grace if old.expires_at_ms is None else min(grace, old.expires_at_ms)
    retired = msgspec.structs.replace(
        generic.stamped(call, old), key_alias=None, expires_at_ms=until, replaced_by=after.token
    )
    return [change(call.directory, KEY, "rotated", old, retired)]
