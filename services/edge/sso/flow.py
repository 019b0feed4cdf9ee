"""The code flow of OpenID Connect, as pure functions: PKCE S256, state, nonce, and who somebody is
in the end.

What has to survive from leaving to coming back travels with the browser, sealed (AES-GCM) and for
ten minutes: no edge keeps it, so any edge can take the answer.
"""

import base64
import contextlib
import hashlib
import hmac
from collections.abc import Callable, Mapping, Sequence
from typing import Any
from urllib.parse import urlencode

import msgspec
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from services.edge.sso.settings import ROLES, Provider, SsoSettings
from shared.identity.tokens import claim, string, strings

LOGIN_S = 600
TEXT_CHARACTERS_MAX = 256


class SsoError(Exception):
    """Somebody isn't let in. `status` and the message are for them."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class Attempt(msgspec.Struct, frozen=True):
    """One login on its way."""

    state: str
    nonce: str
    verifier: str
    redirect_uri: str
    expires_at_s: int
    return_to: str = "/ui"


class Person(msgspec.Struct, frozen=True):
    """Who came back."""

    user_id: str
    email: str | None
    name: str | None
    role: str | None
    """None: nothing the provider says gives one."""
    groups: list[str]
    source: str | None = None
    """The provider behind the provider, where it names one."""


def begin(redirect_uri: str, return_to: str, now_s: float, token: Callable[[], str]) -> Attempt:
    """`token`: unguessable text of 43 characters or more, a new one each time."""
    return Attempt(token(), token(), token(), redirect_uri, int(now_s) + LOGIN_S, inside(return_to))


def inside(path: str) -> str:
    """Where a login leads to afterwards: a path of the page, never elsewhere."""
    good = path.startswith("/ui") and "//" not in path and "\\" not in path
    return path[:TEXT_CHARACTERS_MAX] if good else "/ui"


def authorization_url(provider: Provider, attempt: Attempt) -> str:
    challenge = base64.urlsafe_b64encode(hashlib.sha256(attempt.verifier.encode()).digest()).rstrip(b"=").decode()
    asked = {
        "response_type": "code",
        "client_id": provider.client_id,
        "redirect_uri": attempt.redirect_uri,
        "scope": provider.scope,
        "state": attempt.state,
        "nonce": attempt.nonce,
        "code_challenge": challenge,
        "code_challenge_method": "S256",
    }
    return provider.authorization_endpoint + ("&" if "?" in provider.authorization_endpoint else "?") + urlencode(asked)


def seal(key: bytes, attempt: Attempt, nonce: bytes) -> str:
    """`key`: 32 bytes, the same on every edge. `nonce`: 12 bytes, never twice."""
    return base64.urlsafe_b64encode(nonce + AESGCM(key).encrypt(nonce, msgspec.json.encode(attempt), b"sso")).decode()


def unseal(keys: Sequence[bytes], text: str, now_s: float) -> Attempt:
    """Raises SsoError for what isn't ours, or is too old."""
    for key in keys:
        with contextlib.suppress(ValueError, InvalidTag, msgspec.DecodeError):
            raw = base64.urlsafe_b64decode(text.encode())
            attempt = msgspec.json.decode(AESGCM(key).decrypt(raw[:12], raw[12:], b"sso"), type=Attempt)
            break
    else:
        raise SsoError(400, "This login wasn't begun here. Start again.")
    if now_s >= attempt.expires_at_s:
        raise SsoError(400, "This login took too long. Start again.")
    return attempt


def check_answer(attempt: Attempt, query: Mapping[str, str]) -> str:
    """The code that came back. Raises SsoError."""
    if not hmac.compare_digest(query.get("state", "").encode(), attempt.state.encode()):
        raise SsoError(400, "The answer doesn't belong to this login. Start again.")
    if query.get("error"):
        what = "".join(c for c in query["error"][:100] if c.isalnum() or c in "_-. ")
        raise SsoError(401, f"OAuth error: {what}")
    code = query.get("code", "")
    if not code or len(code) > 4096:
        raise SsoError(401, "Result not returned by SSO provider.")
    return code


def check_id_token(provider: Provider, attempt: Attempt, claims: dict[str, Any], now_s: float) -> None:
    """Of a token that the token endpoint itself gave us over TLS (OpenID Connect Core 3.1.3.7).
    Raises SsoError.
    """
    audience = claims.get("aud")
    audiences = [audience] if isinstance(audience, str) else audience if isinstance(audience, list) else []
    authorized = claims.get("azp")
    expires = claims.get("exp")
    good = (
        provider.client_id in audiences
        and (authorized is None or len(audiences) == 1 or authorized == provider.client_id)
        and isinstance(claims.get("nonce"), str)
        and hmac.compare_digest(claims["nonce"].encode(), attempt.nonce.encode())
        and isinstance(expires, int | float)
        and now_s < expires + 60
        and (provider.issuer is None or claims.get("iss") == provider.issuer)
    )
    if not good:
        raise SsoError(401, "The identity provider's answer isn't for this login.")


def person(settings: SsoSettings, provider: Provider, claims: dict[str, Any], userinfo: dict[str, Any]) -> Person:
    """Who may come in, and as what. Raises SsoError.

    Args:
        claims: of the id token; userinfo goes before them, where both say the same thing.
    """
    if userinfo and claims and userinfo.get("sub") != claims.get("sub"):
        raise SsoError(401, "The identity provider's answer is about somebody else.")
    said = {**claims, **userinfo}
    user_id = string(claim(said, provider.user_id_claim)) or string(said.get("sub"))
    if user_id is None or len(user_id) > TEXT_CHARACTERS_MAX:
        raise SsoError(401, "The identity provider doesn't say who this is.")
    email = string(claim(said, provider.email_claim))
    _check_domain(settings, email, said)
    groups = strings_of(claim(said, settings.role_groups_claim or provider.groups_claim))
    if settings.restricted_group is not None:
        member_of = strings_of(claim(said, settings.restricted_group_claim))
        if settings.restricted_group not in member_of:
            raise SsoError(403, "You aren't in the group that may use this page.")
    role = _role(settings, provider, user_id, said, groups)
    _check_role(settings, role or settings.default_role)
    source = string(claim(said, provider.source_claim)) if provider.source_claim else None
    return Person(user_id, email, _name(provider, said), role, groups, source and source[:TEXT_CHARACTERS_MAX])


def check_known(settings: SsoSettings, email: str | None, role: str) -> None:
    """The same of a user who comes by a password. Raises SsoError."""
    _check_domain(settings, email, {})
    _check_role(settings, role)


def _check_role(settings: SsoSettings, role: str) -> None:
    if settings.admin_only and role not in ("proxy_admin", "proxy_admin_viewer"):
        raise SsoError(403, "Only admins may use this page.")


def _name(provider: Provider, said: dict[str, Any]) -> str | None:
    """As the provider calls somebody; else first and last name; else what identifies them there."""
    called = string(claim(said, provider.name_claim)) if provider.name_claim else None
    both = (string(claim(said, name)) for name in (provider.first_name_claim, provider.last_name_claim))
    found = called or " ".join(filter(None, both)) or string(said.get("sub"))
    return None if found is None else found[:TEXT_CHARACTERS_MAX]


def _check_domain(settings: SsoSettings, email: str | None, said: dict[str, Any]) -> None:
    if not settings.email_domains:
        return
    domain = (email or "").rpartition("@")[2].lower()
    if not domain or domain not in settings.email_domains or said.get("email_verified") is False:
        allowed = list(settings.email_domains)
        message = (
            f"The email domain={domain}, is not an allowed email domain={allowed}. Contact your admin to change this."
        )
        raise SsoError(401, message)


def _role(
    settings: SsoSettings, provider: Provider, user_id: str, said: dict[str, Any], groups: list[str]
) -> str | None:
    """The highest that anything gives: the admin's id, the role claim, the groups. Where roles go
    by groups, who is in none of them has the default: nobody keeps what a group gave.
    """
    if settings.admin_id is not None and user_id == settings.admin_id:
        return "proxy_admin"
    found = set(strings_of(claim(said, provider.role_claim)))
    found |= {role for role, of in settings.role_groups.items() if not set(of).isdisjoint(groups)}
    return next((role for role in ROLES if role in found), settings.default_role if settings.role_groups else None)


def strings_of(value: Any) -> list[str]:
    """Groups and roles: a list, or one (a group's name may have spaces)."""
    return [value] if isinstance(value, str) and value else strings(value)
