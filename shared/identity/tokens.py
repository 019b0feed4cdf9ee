"""A token taken apart, and what its claims must say. Pure: the clock is an argument.

Stricter than the standard allows to be: one spelling of every part, no claim twice, nothing in the
header that would let a token bring its own key or change the rules it is judged by.
"""

import base64
import json
import re
from typing import Any, NoReturn

import msgspec

TOKEN_CHARACTERS_MAX = 8_192
CLAIMS_MAX = 256
REFUSED_HEADERS = ("crit", "b64", "jku", "x5u", "jwk", "x5c", "zip", "enc")
ALGORITHMS = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA")
_PART = re.compile(r"[A-Za-z0-9_-]+")


class TokenError(Exception):
    """A token is refused. `code` is ours and closed: malformed, algorithm, header, unknown_key,
    signature, expired, not_yet, audience, issuer, claims. The message never holds part of the
    token."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


class Token(msgspec.Struct, frozen=True):
    algorithm: str
    key_id: str | None
    claims: dict[str, Any]
    """Not to be believed before the signature is."""
    signed: bytes
    signature: bytes


def take_apart(text: str) -> Token:
    """Raises TokenError."""
    if len(text) > TOKEN_CHARACTERS_MAX:
        raise TokenError("malformed", f"the token is longer than {TOKEN_CHARACTERS_MAX} characters")
    parts = text.split(".")
    if len(parts) != 3:
        raise TokenError("malformed", "a token has three parts")
    header, claims = _object(parts[0], "header"), _object(parts[1], "claims")
    for name in REFUSED_HEADERS:
        if name in header:
            raise TokenError("header", f"the header's {name!r} isn't accepted")
    algorithm = header.get("alg")
    if algorithm not in ALGORITHMS:
        raise TokenError("algorithm", "the token's algorithm isn't accepted")
    kind = header.get("typ")
    if kind is not None and (not isinstance(kind, str) or kind.lower() not in ("jwt", "at+jwt", "application/at+jwt")):
        raise TokenError("header", "the header's 'typ' isn't a JWT's")
    key_id = header.get("kid")
    if key_id is not None and (not isinstance(key_id, str) or not 0 < len(key_id) <= 256):
        raise TokenError("header", "the header's 'kid' must be a string of 1 to 256 characters")
    signature = _bytes(parts[2], "signature")
    return Token(algorithm, key_id, claims, f"{parts[0]}.{parts[1]}".encode(), signature)


def claims_unverified(text: str) -> dict[str, Any]:
    """Of a token that came from the issuer itself, over TLS. Raises TokenError where it can't be
    read.
    """
    parts = text.split(".")
    if len(parts) != 3 or len(text) > 4 * TOKEN_CHARACTERS_MAX:
        raise TokenError("malformed", "a token has three parts")
    return _object(parts[1], "claims")


def check_claims(
    claims: dict[str, Any], *, now_s: float, leeway_s: float, audiences: list[str], issuers: list[str]
) -> None:
    """Raises TokenError.

    Args:
        audiences: one of them must be in `aud`; empty: not looked at.
        issuers: `iss` must be one of them; empty: not looked at.
    """
    expires, begins, issued = (_time(claims, name) for name in ("exp", "nbf", "iat"))
    if expires is None:
        raise TokenError("claims", "the claim 'exp' is missing")
    if now_s >= expires + leeway_s:
        raise TokenError("expired", "Token Expired")
    for name, at in (("nbf", begins), ("iat", issued)):
        if at is not None and now_s < at - leeway_s:
            raise TokenError("not_yet", f"the token isn't valid yet ({name})")
    if issuers and claims.get("iss") not in issuers:
        raise TokenError("issuer", "Invalid issuer")
    if audiences:
        sent = claims.get("aud")
        named = [sent] if isinstance(sent, str) else sent if isinstance(sent, list) else []
        if not any(isinstance(each, str) and each in audiences for each in named):
            raise TokenError("audience", "Invalid audience")


def ends_at_s(claims: dict[str, Any]) -> float:
    return float(claims["exp"])


def claim(claims: dict[str, Any], path: str | None) -> Any:
    """The claim at a path with dots (`resource_access.gateway.roles`); a claim whose own name has
    dots goes first (`kubernetes.io.namespace` of a service account's token)."""
    if not path:
        return None
    if path in claims:
        return claims[path]
    names = path.split(".")
    for count in range(len(names) - 1, 0, -1):
        inner = claims.get(".".join(names[:count]))
        found = claim(inner, ".".join(names[count:])) if isinstance(inner, dict) else None
        if found is not None:
            return found
    return None


def strings(value: Any) -> list[str]:
    """A claim that is a list, or one string with spaces between (as `scope` is); anything else says
    nothing.
    """
    if isinstance(value, str):
        return value.split()
    if isinstance(value, list):
        return [each for each in value if isinstance(each, str) and each]
    return []


def string(value: Any) -> str | None:
    """A claim that is one string, or a whole number; anything else says nothing."""
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    return value if isinstance(value, str) and value else None


def _time(claims: dict[str, Any], name: str) -> float | None:
    value = claims.get(name)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < 2**53:
        raise TokenError("claims", f"the claim {name!r} must be a number of seconds")
    return float(value)


def _bytes(part: str, named: str) -> bytes:
    """Base64url without padding, in its one spelling: else one token would have many digests."""
    if _PART.fullmatch(part) is None:
        raise TokenError("malformed", f"the token's {named} isn't base64url")
    try:
        raw = base64.urlsafe_b64decode(part + "=" * (-len(part) % 4))
    except ValueError:
        raise TokenError("malformed", f"the token's {named} isn't base64url") from None
    if base64.urlsafe_b64encode(raw).rstrip(b"=").decode() != part:
        raise TokenError("malformed", f"the token's {named} isn't base64url")
    return raw


def _object(part: str, named: str) -> dict[str, Any]:
    try:
        found = json.loads(_bytes(part, named).decode(), object_pairs_hook=_unique, parse_constant=_no_constant)
    except (ValueError, RecursionError):  # UnicodeDecodeError and JSONDecodeError included
        raise TokenError("malformed", f"the token's {named} can't be read") from None
    if not isinstance(found, dict):
        raise TokenError("malformed", f"the token's {named} isn't an object")
    return found


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs) or len(pairs) > CLAIMS_MAX:
        raise ValueError("a name stands twice")
    return found


def _no_constant(name: str) -> NoReturn:
    raise ValueError(name)
