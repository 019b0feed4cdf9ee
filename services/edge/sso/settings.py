"""Which identity provider, by LiteLLM's environment variables. Pure."""

from collections.abc import Mapping
from typing import Any

import msgspec

from shared.decoding import UNREADABLE
from shared.secrets.value import Secret
from shared.settings import SettingsError

_TRUE = frozenset({"true", "1", "yes"})
WITHOUT_EFFECT = {
    "GENERIC_CLIENT_STATE": "each login has a state of its own; one that is always the same protects nobody",
    "GENERIC_CLIENT_USE_PKCE": "every login uses PKCE",
    "PKCE_STRICT_CACHE_MISS": "what PKCE needs travels sealed with the browser: there is no cache to miss",
    "GENERIC_INCLUDE_CLIENT_ID": "the token endpoint is always told the client id",
    "GENERIC_USER_EXTRA_ATTRIBUTES": "nothing reads more of somebody than id, e-mail, name, role and groups",
    "MICROSOFT_SERVICE_PRINCIPAL_ID": "groups and roles are those of the token's `groups` and `roles` claims",
}
"""Variables of LiteLLM's that change nothing here, and why."""
ROLES = ("proxy_admin", "proxy_admin_viewer", "internal_user", "internal_user_viewer")
"""The highest first."""


class Provider(msgspec.Struct, frozen=True, kw_only=True):
    """An OpenID Connect provider and how its claims are named."""

    name: str
    client_id: str
    client_secret: Secret
    authorization_endpoint: str
    token_endpoint: str
    userinfo_endpoint: str
    issuer: str | None = None
    """None: not looked at (the token comes from the token endpoint itself, over TLS)."""
    scope: str = "openid email profile"
    user_id_claim: str = "sub"
    email_claim: str = "email"
    name_claim: str = "name"
    """Empty, or not among the claims: first and last name."""
    first_name_claim: str = "first_name"
    last_name_claim: str = "last_name"
    role_claim: str = "role"
    source_claim: str = ""
    """Which of the providers behind this one somebody comes from; empty: it isn't asked."""
    groups_claim: str = "groups"
    groups_endpoint: str = ""
    """Whom to ask for somebody's groups where the token says that they are too many for it
    (Microsoft's above 200); empty: nobody.
    """
    headers: dict[str, str] = {}
    access_claims: bool = False
    """Whether the access token's claims count too, below what the id token and the userinfo say."""


class SsoSettings(msgspec.Struct, frozen=True, kw_only=True):
    provider: Provider | None = None
    """None: no single sign-on."""
    missing: tuple[str, ...] = ()
    """Variables that the chosen provider needs and that aren't set."""
    base_url: str | None = None
    """`PROXY_BASE_URL`, or `general_settings.proxy_base_url`: what the provider sends people back
    to; None: the address they came to.
    """
    admin_id: str | None = None
    """`PROXY_ADMIN_ID`: this user is a proxy_admin."""
    email_domains: tuple[str, ...] = ()
    """`ALLOWED_EMAIL_DOMAINS`: nobody else, and nobody without an e-mail address."""
    role_groups: dict[str, list[str]] = {}
    """`GENERIC_ROLE_MAPPINGS_ROLES`: role → the groups that give it."""
    role_groups_claim: str = ""
    default_role: str = "internal_user_viewer"
    admin_only: bool = False
    """`ui_access_mode: admin_only`: only admins may come in."""
    restricted_group: str | None = None
    """`ui_access_mode: {type: restricted_sso_group}`: only members of this group."""
    restricted_group_claim: str = "groups"
    password_login: bool = True
    """By UI_USERNAME and UI_PASSWORD, or the master key."""
    user_passwords: bool = True
    """By the password that a user set who was invited."""
    session_s: int = 24 * 3600
    """`LITELLM_UI_SESSION_DURATION`."""
    logout_url: str | None = None
    """`PROXY_LOGOUT_URL`: where a logout ends."""
    disabled: bool = False
    """`DISABLE_ADMIN_UI`."""
    without_effect: dict[str, str] = {}
    """Those of WITHOUT_EFFECT that are set."""


def read(environ: Mapping[str, str], general: dict[str, Any], litellm: dict[str, Any]) -> SsoSettings:
    """Raises SettingsError for what is half set or can't be enforced."""
    provider, missing = _provider(environ)
    mode = general.get("ui_access_mode")
    restricted = mode if isinstance(mode, dict) else {}
    if isinstance(mode, str) and mode not in ("all", "admin_only"):
        raise SettingsError("general_settings.ui_access_mode must be all, admin_only or a mapping")
    if restricted and restricted.get("type") != "restricted_sso_group":
        raise SettingsError("general_settings.ui_access_mode.type must be restricted_sso_group")
    defaults = litellm.get("default_internal_user_params") or {}
    role = environ.get("GENERIC_ROLE_MAPPINGS_DEFAULT_ROLE") or defaults.get("user_role") or "internal_user_viewer"
    if role not in ROLES:
        raise SettingsError(f"default_internal_user_params.user_role must be one of {', '.join(ROLES)}")
    groups = _groups(environ.get("GENERIC_ROLE_MAPPINGS_ROLES"))
    sso_alone = provider is not None and general.get("disable_password_login_when_sso_enabled") is True
    # What only an identity provider says can't be seen of who comes by a password.
    users_may = not sso_alone and not restricted
    return SsoSettings(
        provider=provider,
        missing=missing,
        base_url=(environ.get("PROXY_BASE_URL") or general.get("proxy_base_url") or "").rstrip("/") or None,
        admin_id=environ.get("PROXY_ADMIN_ID") or None,
        email_domains=tuple(
            each.strip().lower() for each in (environ.get("ALLOWED_EMAIL_DOMAINS") or "").split(",") if each.strip()
        ),
        role_groups=groups,
        role_groups_claim=environ.get("GENERIC_ROLE_MAPPINGS_GROUP_CLAIM") or "groups",
        default_role=role,
        admin_only=mode == "admin_only",
        restricted_group=restricted.get("restricted_sso_group"),
        restricted_group_claim=restricted.get("sso_group_jwt_field") or "groups",
        password_login=not sso_alone and general.get("disable_env_credential_login") is not True,
        user_passwords=users_may,
        session_s=_duration(environ.get("LITELLM_UI_SESSION_DURATION") or "24h"),
        logout_url=environ.get("PROXY_LOGOUT_URL") or None,
        disabled=environ.get("DISABLE_ADMIN_UI", "").lower() in _TRUE,
        without_effect={name: why for name, why in WITHOUT_EFFECT.items() if environ.get(name)},
    )


def _provider(environ: Mapping[str, str]) -> tuple[Provider | None, tuple[str, ...]]:
    for chosen, needed, made in (
        ("GOOGLE_CLIENT_ID", ("GOOGLE_CLIENT_SECRET",), _google),
        ("MICROSOFT_CLIENT_ID", ("MICROSOFT_CLIENT_SECRET", "MICROSOFT_TENANT"), _microsoft),
        (
            "GENERIC_CLIENT_ID",
            (
                "GENERIC_CLIENT_SECRET", "GENERIC_AUTHORIZATION_ENDPOINT", "GENERIC_TOKEN_ENDPOINT", "GENERIC_USERINFO_ENDPOINT",
            ),
            _generic,
        ),
    ):  # fmt: skip
        if environ.get(chosen):
            missing = tuple(name for name in needed if not environ.get(name))
            return (None, missing) if missing else (made(environ), ())
    return None, ()


def _google(environ: Mapping[str, str]) -> Provider:
    return Provider(
        name="google",
        client_id=environ["GOOGLE_CLIENT_ID"],
        client_secret=Secret(environ["GOOGLE_CLIENT_SECRET"]),
        authorization_endpoint="https://accounts.google.com/o/oauth2/v2/auth",
        token_endpoint="https://oauth2.googleapis.com/token",  # noqa: S106 - an address
        userinfo_endpoint="https://openidconnect.googleapis.com/v1/userinfo",
        issuer="https://accounts.google.com",
    )


def _microsoft(environ: Mapping[str, str]) -> Provider:
    at = f"https://login.microsoftonline.com/{environ['MICROSOFT_TENANT']}/oauth2/v2.0"
    return Provider(
        name="microsoft",
        client_id=environ["MICROSOFT_CLIENT_ID"],
        client_secret=Secret(environ["MICROSOFT_CLIENT_SECRET"]),
        authorization_endpoint=at + "/authorize",
        token_endpoint=at + "/token",
        userinfo_endpoint="https://graph.microsoft.com/oidc/userinfo",
        groups_endpoint="https://graph.microsoft.com/v1.0/me/transitiveMemberOf?$select=id&$top=999",
        scope="openid email profile User.Read",  # the last one for the groups
        user_id_claim="oid",
        role_claim="roles",
    )


def _generic(environ: Mapping[str, str]) -> Provider:
    def named(name: str, default: str) -> str:
        return environ.get(name) or default

    for name in ("AUTHORIZATION", "TOKEN", "USERINFO"):
        url = environ[f"GENERIC_{name}_ENDPOINT"]
        if not url.startswith(("https://", "http://127.0.0.1", "http://localhost")):
            raise SettingsError(f"GENERIC_{name}_ENDPOINT must be an https address")
    return Provider(
        name="generic",
        client_id=environ["GENERIC_CLIENT_ID"],
        client_secret=Secret(environ["GENERIC_CLIENT_SECRET"]),
        authorization_endpoint=environ["GENERIC_AUTHORIZATION_ENDPOINT"],
        token_endpoint=environ["GENERIC_TOKEN_ENDPOINT"],
        userinfo_endpoint=environ["GENERIC_USERINFO_ENDPOINT"],
        scope=named("GENERIC_SCOPE", "openid email profile"),
        user_id_claim=named("GENERIC_USER_ID_ATTRIBUTE", "preferred_username"),
        email_claim=named("GENERIC_USER_EMAIL_ATTRIBUTE", "email"),
        name_claim=environ.get("GENERIC_USER_DISPLAY_NAME_ATTRIBUTE", ""),
        first_name_claim=named("GENERIC_USER_FIRST_NAME_ATTRIBUTE", "first_name"),
        last_name_claim=named("GENERIC_USER_LAST_NAME_ATTRIBUTE", "last_name"),
        role_claim=named("GENERIC_USER_ROLE_ATTRIBUTE", "role"),
        source_claim=named("GENERIC_USER_PROVIDER_ATTRIBUTE", "provider"),
        headers=_headers(environ.get("GENERIC_SSO_HEADERS")),
        access_claims=environ.get("GENERIC_INCLUDE_TOKEN_CLAIMS", "").lower() in _TRUE,
    )


def _headers(text: str | None) -> dict[str, str]:
    """`Name=value, Other=value`."""
    pairs = (each.partition("=") for each in (text or "").split(",") if "=" in each)
    return {name.strip(): value.strip() for name, _, value in pairs}


def _groups(text: str | None) -> dict[str, list[str]]:
    if not text:
        return {}
    try:
        found = msgspec.json.decode(text, type=dict[str, list[str]])
    except UNREADABLE:
        raise SettingsError("GENERIC_ROLE_MAPPINGS_ROLES must be a JSON object of lists of groups") from None
    unknown = next((role for role in found if role not in ROLES), None)
    if unknown is not None:
        raise SettingsError(f"GENERIC_ROLE_MAPPINGS_ROLES: {unknown[:40]!r} is none of {', '.join(ROLES)}")
    return found


_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}


def _duration(text: str) -> int:
    number, unit = text[:-1], text[-1:]
    if not number.isdigit() or unit not in _UNITS or not 60 <= int(number) * _UNITS[unit] <= 30 * 86400:
        raise SettingsError("LITELLM_UI_SESSION_DURATION must be a minute to 30 days, such as 24h")
    return int(number) * _UNITS[unit]
