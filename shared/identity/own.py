"""Who the operator's own function (`general_settings.custom_auth`) says is calling: as it returns
it, and as it travels to policy.

async def user_api_key_auth(request, api_key) -> UserAPIKeyAuth | str: ...      # LiteLLM's contract
"""

import hashlib
from collections.abc import Mapping
from datetime import UTC, datetime
from enum import Enum
from typing import Any

import msgspec

from shared.ids import KeyDigest

LABEL = "custom-auth-"
"""Before the digest that stands for such a caller: no client's credential has such a digest,
whatever it is.
"""
SHAPE = "own"
"""What kind of credential it is (DecideRequest.credential_shape)."""
BYTES_MAX = 16_384
NOT_BINDING = (
    "max_budget", "soft_budget", "model_max_budget", "tpm_limit", "rpm_limit", "max_parallel_requests", "team_max_budget",
    "team_tpm_limit", "team_rpm_limit", "end_user_max_budget", "user_tpm_limit", "user_rpm_limit",
)  # fmt: skip
"""What a function may return and nobody acts on yet."""


class Identity(msgspec.Struct, frozen=True, omit_defaults=True):
    """Field names are LiteLLM's. What the function didn't say is as it is for a key that says
    nothing.
    """

    token: str
    """Label of whoever it is: the same for the same caller."""
    user_id: str | None = None
    team_id: str | None = None
    team_alias: str | None = None
    org_id: str | None = None
    key_alias: str | None = None
    user_role: str | None = None
    models: list[str] = []
    team_models: list[str] = []
    allowed_routes: list[str] = []
    aliases: dict[str, str] = {}
    permissions: dict[str, Any] = {}
    metadata: dict[str, Any] = {}
    blocked: bool = False
    expires_at_ms: int | None = None


_TAKEN = tuple(field.name for field in msgspec.structs.fields(Identity) if field.name not in ("token", "expires_at_ms"))


class NoIdentityError(ValueError):
    """What was returned is nobody; the text says what is wrong with it, without any value."""


def read(returned: Any, credential: str) -> tuple[Identity, list[str]]:
    """(the identity, what it says and nobody acts on). Raises NoIdentityError.

    Args:
        returned: a `UserAPIKeyAuth`, a mapping of its fields, or anything with such attributes.
        credential: what the client sent.
    """
    if returned is None or isinstance(returned, bool | int | float | str | bytes | list | tuple):
        raise NoIdentityError("a UserAPIKeyAuth is needed")

    def get(name: str) -> Any:
        value = returned.get(name) if isinstance(returned, Mapping) else getattr(returned, name, None)
        return value.value if isinstance(value, Enum) else value

    given = {name: value for name in _TAKEN if (value := get(name)) is not None}
    about = next((str(each) for each in map(get, ("token", "api_key", "user_id")) if each), credential)
    given["token"] = LABEL + hashlib.sha256(about.encode("utf-8", "replace")).hexdigest()
    given["expires_at_ms"] = _end_ms(get("expires"))
    try:
        found = msgspec.convert(given, Identity)
        if len(encoded(found)) > BYTES_MAX:
            raise NoIdentityError(f"it is longer than {BYTES_MAX} bytes")
    except msgspec.ValidationError as error:
        raise NoIdentityError(str(error)[:200]) from None
    except (TypeError, ValueError, OverflowError, RecursionError):
        raise NoIdentityError("it holds something that is no string, number, list or mapping") from None
    return found, [name for name in NOT_BINDING if get(name) is not None]


def _end_ms(value: Any) -> int | None:
    """`expires`: a datetime (without a zone: UTC), or ISO 8601. Raises NoIdentityError: an end that
    can't be read isn't left out.
    """
    if value is None:
        return None
    try:
        end = value if isinstance(value, datetime) else datetime.fromisoformat(value)
        return int((end if end.tzinfo else end.replace(tzinfo=UTC)).timestamp() * 1000)
    except (TypeError, ValueError, OverflowError):
        raise NoIdentityError("expires is no instant") from None


def encoded(identity: Identity) -> bytes:
    return msgspec.json.encode(identity, order="deterministic")


def digest(told: bytes) -> KeyDigest:
    """Under which decisions about it are kept: another one as soon as anything of the identity
    changes.
    """
    return KeyDigest(LABEL + hashlib.sha256(told).hexdigest())
