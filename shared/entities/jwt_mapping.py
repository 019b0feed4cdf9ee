"""Which key a token stands for, by a claim of it (`litellm_jwtauth.virtual_key_claim_field`).
Admins alone say so: a key's alias, which its owner chooses, must let nobody in."""

import hashlib
from typing import Any

import msgspec

from shared.entities import readers
from shared.entities.kind import EntityKind, column, who
from shared.ids import KeyDigest


class JwtMapping(msgspec.Struct, frozen=True, kw_only=True):
    id: str
    """That of `mapping_id`: so there is one for a claim, whoever makes it at the same time."""
    jwt_issuer: str | None = None
    """None: any issuer's, unless there is one for the token's own."""
    jwt_claim_name: str = ""
    jwt_claim_value: str = ""
    token: KeyDigest = KeyDigest("")
    """The key's; follows it through its rotations."""
    description: str | None = None
    is_active: bool = True
    created_at_ms: int = 0
    created_by: str | None = None
    updated_at_ms: int = 0
    updated_by: str | None = None
    extra: dict[str, Any] = {}


JWT_MAPPING = EntityKind(
    "jwt_mapping",
    JwtMapping,
    "id",
    "LiteLLM_JWTKeyMapping",
    JwtMapping(id=""),
    [
        column("jwt_issuer", readers.text),
        column("jwt_claim_name", readers.text),
        column("jwt_claim_value", readers.text),
        column("description", readers.prose),
        column("is_active", readers.flag),
        *who(),
    ],
    read_only=("key", "token"),
    indexes=("token",),
)


def mapping_id(issuer: str | None, name: str, value: str) -> str:
    whole = "\0".join((issuer or "", name, value))
    return hashlib.sha256(whole.encode("utf-8", "replace")).hexdigest()[:32]
