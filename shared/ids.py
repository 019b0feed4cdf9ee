"""Ids: minted by us, never taken from a provider. Each kind is a type of its own."""

import hashlib
import secrets
from typing import NewType

from uuid_utils import uuid7

RequestId = NewType("RequestId", str)
"""UUIDv7 as text. Its first 48 bits are Unix milliseconds, so the day of a request is a function of
its id.
"""

KeyDigest = NewType("KeyDigest", str)
"""SHA-256 of a credential, 64 lower-case hex digits. The raw credential is never stored, logged or
sent on the bus.
"""

DeploymentId = NewType("DeploymentId", str)
"""Names one entry of `model_list`: `model_info.id`, or a digest of the entry."""


def new_request_id() -> RequestId:
    return RequestId(str(uuid7()))


def new_id() -> str:
    """A time-ordered id for anything else (batches, edges, teams)."""
    return str(uuid7())


def digest_key(credential: str) -> KeyDigest:
    return KeyDigest(hashlib.sha256(credential.encode("utf-8", "surrogateescape")).hexdigest())


def new_virtual_key() -> str:
    """LiteLLM's format: `sk-` and 22 URL-safe characters (128 bits)."""
    return "sk-" + secrets.token_urlsafe(16)


def abbreviate_key(key: str) -> str:
    """What may be shown of a key: `sk-...` and its last four characters, nothing of a short one."""
    return f"sk-...{key[-4:]}" if len(key) >= 16 else "sk-..."
