"""When a key is rotated by itself: `auto_rotate`, `rotation_interval`, and what is kept in the key
between two rotations. Pure.

In a key's `extra`: `key_rotation_at` (the next one), `last_rotation_at` and `rotation_count` as
LiteLLM shows them, and `rotation_claim` while a replica is at it.
"""

from datetime import datetime
from typing import Any

import msgspec

from services.policy.plan import Call
from shared.entities import Key, iso
from shared.entities import readers as fields

CLAIM_MS = 120_000
"""How long others keep away from a key that is being rotated; twice as long after each failure."""
CLAIM_MS_MAX = 3_600_000
PENDING_MS = 86_400_000
"""How long a new secret that never became the key stands for it: somebody may have read it."""


def planned(call: Call, before: Key, after: Key) -> Key:
    """With the instant of the next rotation, where one is wanted. Raises RefusedError naming the
    field.
    """
    wanted, interval = after.extra.get("auto_rotate"), after.extra.get("rotation_interval")
    if not wanted:
        if "key_rotation_at" not in after.extra:
            return after
        return _with(after, key_rotation_at=None, rotation_claim=None)
    if interval is None:
        fields.refuse("rotation_interval", "is needed with auto_rotate")
    if before.extra.get("auto_rotate") and before.extra.get("rotation_interval") == interval:
        return after
    reason = call.catalog.undeliverable(after)
    if reason is not None:
        fields.refuse("auto_rotate", reason)
    return _with(after, key_rotation_at=_next(interval, call.now_ms))


def is_due(key: Key, now_ms: int) -> bool:
    """Whether it is time, and nobody is at it. What is blocked or over stays as it is."""
    if not key.rotates or key.blocked or (key.expires_at_ms is not None and key.expires_at_ms <= now_ms):
        return False
    claim = key.extra.get("rotation_claim")
    if isinstance(claim, dict) and claim.get("until_ms", 0) > now_ms:
        return False
    at = key.extra.get("key_rotation_at")
    return at is None or datetime.fromisoformat(str(at)).timestamp() * 1000 <= now_ms


def claimed(key: Key, now_ms: int) -> dict[str, Any]:
    """The key's `extra` while somebody rotates it."""
    tries = int((key.extra.get("rotation_claim") or {}).get("tries", 0))
    until = now_ms + min(CLAIM_MS << min(tries, 16), CLAIM_MS_MAX)
    return {**key.extra, "rotation_claim": {"until_ms": until, "tries": tries + 1}}


def pending_until(key: Key, now_ms: int) -> int:
    end = now_ms + PENDING_MS
    return end if key.expires_at_ms is None else min(end, key.expires_at_ms)


def rotated(call: Call, key: Key) -> dict[str, Any]:
    """The `extra` of a key that has just got another secret, whoever gave it."""
    extra = {name: value for name, value in key.extra.items() if name != "rotation_claim"}
    extra |= {"rotation_count": int(extra.get("rotation_count", 0)) + 1, "last_rotation_at": iso(call.now_ms)}
    if extra.get("auto_rotate"):
        extra["key_rotation_at"] = _next(str(extra["rotation_interval"]), call.now_ms)
    return extra


def _next(interval: str, now_ms: int) -> str | None:
    return iso(fields.end_of("rotation_interval", interval, now_ms))


def _with(key: Key, **changed: Any) -> Key:
    extra = {name: value for name, value in {**key.extra, **changed}.items() if value is not None}
    return msgspec.structs.replace(key, extra=extra)
