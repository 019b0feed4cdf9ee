"""`general_settings.enable_jwt_auth`, `litellm_jwtauth`, and the `JWT_*` variables. Field names are
LiteLLM's.
"""

from collections.abc import Mapping
from typing import Any

import msgspec

from shared.settings import SettingsError


class RoleMapping(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    role: str
    """As the token says it."""
    internal_role: str
    """proxy_admin, team or internal_user."""


class ScopeMapping(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    scope: str
    models: list[str] | None = None
    """None: no limit."""
    routes: list[str] | None = None


class LitellmRole(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    jwt_role: str
    litellm_role: str
    """proxy_admin, proxy_admin_viewer, internal_user, internal_user_viewer."""


class RolePermissions(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`general_settings.role_permissions`."""

    role: str
    models: list[str] | None = None
    routes: list[str] | None = None


class Issuer(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One of several identity providers."""

    issuer: str
    jwks_url: str | None = None
    """None: found by the issuer's `.well-known/openid-configuration`."""
    audience: str | list[str] | None = None
    disable_audience_validation: bool = False
    team_id_jwt_field: str | None = None
    team_ids_jwt_field: str | None = None
    user_id_jwt_field: str | None = None
    user_email_jwt_field: str | None = None
    user_roles_jwt_field: str | None = None
    roles_jwt_field: str | None = None
    org_id_jwt_field: str | None = None
    end_user_id_jwt_field: str | None = None


class ClaimRules(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """`general_settings.litellm_jwtauth`: where a token says who somebody is. Every claim's name
    may be a path with dots.
    """

    admin_jwt_scope: str = "litellm_proxy_admin"
    """Who has this scope is a proxy_admin on `admin_allowed_routes`."""
    admin_allowed_routes: tuple[str, ...] = (
        "management_routes",
        "spend_tracking_routes",
        "global_spend_tracking_routes",
        "info_routes",
    )
    team_id_jwt_field: str | None = None
    """The claim with the one team's id."""
    team_ids_jwt_field: str | None = None
    """The claim with a list of teams: the first that may use the model is taken."""
    team_alias_jwt_field: str | None = None
    team_id_default: str | None = None
    """For tokens that name no team."""
    team_id_upsert: bool = False
    """A team that isn't known yet is made."""
    team_allowed_routes: tuple[str, ...] = (
        "openai_routes",
        "info_routes",
        "mcp_routes",
        "/v1/messages",
        "/v1/messages/count_tokens",
    )
    org_id_jwt_field: str | None = None
    org_alias_jwt_field: str | None = None
    user_id_jwt_field: str | None = None
    user_email_jwt_field: str | None = None
    user_allowed_email_domain: str | None = None
    """Somebody of another domain isn't made a user."""
    user_roles_jwt_field: str | None = None
    user_allowed_roles: list[str] | None = None
    """With `user_roles_jwt_field`: who has none of them is refused."""
    user_id_upsert: bool = False
    """A user that isn't known yet is made."""
    end_user_id_jwt_field: str | None = None
    agent_id_jwt_field: str | None = None
    public_allowed_routes: tuple[str, ...] = ("public_routes",)
    enforce_rbac: bool = False
    """Who has no role by the rules here is refused."""
    roles_jwt_field: str | None = None
    object_id_jwt_field: str | None = None
    """The claim with the id that `role_mappings` makes a team's or a user's."""
    role_mappings: list[RoleMapping] | None = None
    scope_mappings: list[ScopeMapping] | None = None
    enforce_scope_based_access: bool = False
    enforce_team_based_model_access: bool = False
    """A call needs a team that may use its model."""
    jwt_litellm_role_map: list[LitellmRole] | None = None
    sync_user_role_and_teams: bool = False
    """A user's role and teams follow the token."""
    upsert_sso_user_to_team: bool = False
    team_claim_fallback: bool = False
    """A token's teams that aren't known are passed over, and `team_id_default` taken."""
    fallback_to_db_teams: bool = False
    """A token that names no team: the teams its user is a member of."""
    virtual_key_claim_field: str | None = None
    """The claim that says which virtual key's rights count, by the mapping that an admin made of it
    (`/jwt/key/mapping/new`).
    """
    jwt_client_id_field: str | None = None
    """The old name of `virtual_key_claim_field`."""
    virtual_key_mapping_cache_ttl: float = 300
    """Not needed: a key that changes is known on every edge at once."""
    unregistered_jwt_client_behavior: str = "fallback_team_mapping"
    """fallback_team_mapping, or reject: when there is no mapping."""
    public_key_ttl: float = 600
    """Seconds after which an identity provider's keys are fetched again."""
    public_key_stale_ttl: float = 3600
    """Seconds for which they go on being used while it is down."""
    leeway: float = 0
    """Seconds by which clocks may differ, at most 300."""
    issuers: list[Issuer] | None = None
    custom_validate: str | None = None
    """`my_file.my_function`, the file beside config.yaml: gets a verified token's claims, and lets
    in with True alone.
    """
    oidc_userinfo_endpoint: str | None = None
    oidc_userinfo_enabled: bool = False
    """What the provider says of the person (asked with their token) goes before the token's
    claims.
    """
    oidc_userinfo_cache_ttl: float = 300
    """Seconds after which it is asked again."""
    routing_overrides: dict[str, Any] | None = None

    @property
    def key_claim(self) -> str | None:
        return self.virtual_key_claim_field or self.jwt_client_id_field


NOT_ACTED_ON = ("routing_overrides", "agent_id_jwt_field")
"""They protect, or change who somebody is: set, they refuse the start, as passing over them would
let in whom they keep out.
"""


class JwtAuth(msgspec.Struct, frozen=True, kw_only=True):
    """What a verifier and policy need to know."""

    rules: ClaimRules
    key_urls: list[str]
    """`JWT_PUBLIC_KEY_URL`: a JWKS or a discovery document each. None, and no `rules.issuers`:
    every token is refused.
    """
    audiences: list[str]
    issuers: list[str]
    role_permissions: list[RolePermissions] = []


def read(general_settings: dict[str, Any], environ: Mapping[str, str]) -> JwtAuth | None:
    """None where tokens aren't accepted. Raises SettingsError, naming the place."""
    if general_settings.get("enable_jwt_auth") is not True:
        return None
    at = "general_settings.litellm_jwtauth"
    given = general_settings.get("litellm_jwtauth") or {}
    rules = _converted(given, ClaimRules, at)
    for name in NOT_ACTED_ON:
        if getattr(rules, name):
            raise SettingsError(f"{at}.{name}: not supported, and it can't be left out without changing who is let in")
    if rules.oidc_userinfo_enabled and not rules.oidc_userinfo_endpoint:
        raise SettingsError(f"{at}.oidc_userinfo_enabled needs oidc_userinfo_endpoint")
    if not 0 <= rules.leeway <= 300:
        raise SettingsError(f"{at}.leeway must be 0 to 300 seconds")
    if rules.unregistered_jwt_client_behavior not in ("fallback_team_mapping", "reject"):
        raise SettingsError(f"{at}.unregistered_jwt_client_behavior must be fallback_team_mapping or reject")
    if (rules.user_roles_jwt_field is None) != (rules.user_allowed_roles is None):
        raise SettingsError(f"{at}: user_roles_jwt_field and user_allowed_roles must both be set")
    if rules.object_id_jwt_field is not None and not rules.role_mappings:
        raise SettingsError(f"{at}.object_id_jwt_field needs role_mappings")
    if rules.scope_mappings and not rules.enforce_scope_based_access:
        raise SettingsError(f"{at}.scope_mappings needs enforce_scope_based_access: true")
    for mapping in rules.role_mappings or []:
        if mapping.internal_role not in ("proxy_admin", "team", "internal_user"):
            raise SettingsError(f"{at}.role_mappings: internal_role must be proxy_admin, team or internal_user")
    urls, audiences, issuers = (
        _listed(environ.get(name)) for name in ("JWT_PUBLIC_KEY_URL", "JWT_AUDIENCE", "JWT_ISSUER")
    )
    for issuer in rules.issuers or []:
        if issuer.audience is None and not issuer.disable_audience_validation:
            raise SettingsError(
                f"{at}.issuers: {issuer.issuer} needs an audience, or disable_audience_validation: true"
            )
    endpoint = [rules.oidc_userinfo_endpoint] if rules.oidc_userinfo_endpoint else []
    for url in (*urls, *endpoint, *(each.jwks_url for each in rules.issuers or [] if each.jwks_url is not None)):
        if not url.startswith(("https://", "http://127.0.0.1", "http://localhost")) and not _internal(url):
            raise SettingsError(f"enable_jwt_auth: {url[:100]} is no https address")
    if urls and not audiences and not issuers and general_settings.get("allow_any_audience") is not True:
        raise SettingsError(
            "enable_jwt_auth: set JWT_AUDIENCE or JWT_ISSUER (else a token made for any other service of this identity provider"
            " is accepted), or general_settings.allow_any_audience: true"
        )
    permissions = general_settings.get("role_permissions") or []
    if not isinstance(permissions, list):
        raise SettingsError("general_settings.role_permissions must be a list")
    found = [_converted(each, RolePermissions, "general_settings.role_permissions") for each in permissions]
    return JwtAuth(rules=rules, key_urls=urls, audiences=audiences, issuers=issuers, role_permissions=found)


def _converted(value: Any, kind: Any, at: str) -> Any:
    try:
        return msgspec.convert(value, kind, strict=True)
    except msgspec.ValidationError as error:
        raise SettingsError(f"{at}: {error}") from None


def _listed(text: str | None) -> list[str]:
    return [each for part in (text or "").split(",") if (each := part.strip())]


def _internal(url: str) -> bool:
    """Inside a cluster people do use http; a name without a dot, or below a cluster's domain, leads
    nowhere else.
    """
    host = url.removeprefix("http://").partition("/")[0].partition(":")[0]
    return (
        url.startswith("http://") and bool(host) and ("." not in host or host.endswith((".svc", ".local", ".internal")))
    )
