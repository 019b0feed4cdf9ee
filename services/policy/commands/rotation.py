"""/key/regenerate, /key/{key}/regenerate: a key gets another secret, and may keep the old one for a
while.

One atomic batch: the new key, the old one's end, the alias and the tokens' mappings that move. In
the grace period the old key stands for the new one (`replaced_by`), so whatever is done to the new
key binds the old one too; each old key ends at its own instant, also when the new one is rotated
again before that.
"""

import msgspec

from services.policy import rights
from services.policy.commands import aliases, generic, jwt_mappings, key_defaults, keys, rotation_times
from services.policy.directory import Directory
from services.policy.plan import Call, Change, Plan, change
from shared import errors
from shared.entities import KEY, Key
from shared.entities import readers as fields
from shared.errors import RefusedError
from shared.ids import KeyDigest

PREVIOUS_MAX = 64
"""Rotations after which the oldest digest is no longer counted to the key's spend."""


def regenerate(call: Call) -> Plan:
    _check_not_the_master_key(call)
    old, _ = keys.named_key(call, call.params.get("key"))
    rights.need_key(call, old, "/key/regenerate")
    keys.need_present(old)
    grace = _grace(call)
    pending = _pending(call, old)
    fresh = pending or keys.new_key(call)
    body = {name: value for name, value in call.body.items() if name not in ("key", "token", "key_name")}
    key_defaults.check_bounds(call, body)
    merged = keys.merged(call, old, body)
    if old.expires_at_ms is not None and merged.entity.expires_at_ms == old.expires_at_ms <= call.now_ms:
        fields.refuse("duration", "is needed: this key has expired, and the new one would have at once")
    keys.check_change(call, old, merged.entity)
    held = keys.held(call, merged.entity)
    after = msgspec.structs.replace(
        held,
        token=fresh.token,
        key_name=fresh.key_name,
        previous_tokens=[*old.previous_tokens, old.token][-PREVIOUS_MAX:],
        extra=rotation_times.rotated(call, held),
    )
    changes = [change(call.directory, KEY, "rotated", pending, after), *_end(call, old, after, grace)]
    if after.key_alias is not None:
        changes.append(aliases.reserve(call, after.key_alias, after.token, old.token))
    if old.key_alias is not None and after.key_alias != old.key_alias:
        changes += aliases.release(call.directory, old.key_alias, old.token)
    changes += jwt_mappings.moved(call, old.token, after.token)
    row = keys.made_row(call, after, spend=None)
    return Plan(row, changes, merged.unknown, merged.not_enforced, spend=[keys.spent(after, row)])


def _check_not_the_master_key(call: Call) -> None:
    """LiteLLM rotates it here, and encrypts what it keeps anew. Ours stands where the configuration
    says, and encrypts nothing.
    """
    named = call.params.get("key") or call.body.get("key")
    digest = KeyDigest(named) if isinstance(named, str) else None
    if call.body.get("new_master_key") is not None or (
        digest is not None and call.catalog.master_key.is_it(digest, call.now_ms)
    ):
        message = (
            "The master key stands where general_settings.master_key says (the environment, a secret manager): change it there. It is taken"
            " over without a restart, the one before stays good for TOLLGATE_MASTER_KEY_GRACE_S, and nothing is sealed with it"
        )
        raise RefusedError(errors.bad_request(message, "new_master_key"))


def due(directory: Directory, now_ms: int) -> list[Key]:
    """The keys whose time has come to be rotated by themselves, and that nobody is at."""
    rotating: list[Key] = directory.find("key", "rotates", "True")
    return [key for key in rotating if key.replaced_by is None and rotation_times.is_due(key, now_ms)]


def claim(call: Call) -> Plan:
    """This caller rotates the key now: others keep away for a while, and the new secret (`token`)
    stands for the old one already.
    """
    old, _ = keys.named_key(call)
    keys.need_present(old)
    if not rotation_times.is_due(old, call.now_ms):
        raise RefusedError(errors.conflict("This key"))
    fresh = msgspec.structs.replace(
        keys.new_key(call),
        replaced_by=old.token,
        expires_at_ms=rotation_times.pending_until(old, call.now_ms),
    )
    claimed = msgspec.structs.replace(old, extra=rotation_times.claimed(old, call.now_ms))
    changes = [
        change(call.directory, KEY, "rotating", old, claimed),
        change(call.directory, KEY, "created", None, fresh),
    ]
    return Plan({}, changes)


def _pending(call: Call, old: Key) -> Key | None:
    """The secret that `claim` made for this key, where the call is about one. Callers can't name
    one: the edge mints theirs.
    """
    found = call.directory.keys.get(KeyDigest(str(call.body.get("token"))))
    return found if found is not None and found.replaced_by == old.token and call.actor.key_sha256 is None else None


def _grace(call: Call) -> int | None:
    """When the old key ends; None: at once. A malformed period is refused: "no grace" would be a
    surprise.
    """
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
        before = [key for key in call.directory.find("key", "replaced_by", old.token) if key.token != after.token]
        return [change(call.directory, KEY, "deleted", old, None), *(c for k in before for c in keys.deletion(call, k))]
    until = grace if old.expires_at_ms is None else min(grace, old.expires_at_ms)
    retired = msgspec.structs.replace(
        generic.stamped(call, old), key_alias=None, expires_at_ms=until, replaced_by=after.token
    )
    return [change(call.directory, KEY, "rotated", old, retired)]
