"""What config.yaml says of tokens is taken at its word, or refused with a sentence."""

from typing import Any

import pytest

from shared.identity.settings import read
from shared.settings import SettingsError

ENVIRON = {"JWT_PUBLIC_KEY_URL": "https://idp.example/jwks", "JWT_AUDIENCE": "gateway"}


def of(rules: dict[str, Any] | None = None, environ: dict[str, str] | None = None, **general: Any) -> Any:
    return read({"enable_jwt_auth": True, "litellm_jwtauth": rules, **general}, ENVIRON if environ is None else environ)


def test_off_unless_switched_on() -> None:
    assert read({}, ENVIRON) is None and read({"enable_jwt_auth": False}, ENVIRON) is None


def test_defaults() -> None:
    found = of()
    assert found.rules.admin_jwt_scope == "litellm_proxy_admin" and found.audiences == ["gateway"]
    assert of({"jwt_client_id_field": "azp"}).rules.key_claim == "azp"


@pytest.mark.parametrize(
    ("rules", "environ", "general", "sentence"),
    [
        ({"team_id_jwt_feild": "x"}, None, {}, "team_id_jwt_feild"),
        ({"user_roles_jwt_field": "roles"}, None, {}, "must both be set"),
        ({"object_id_jwt_field": "oid"}, None, {}, "needs role_mappings"),
        ({"scope_mappings": [{"scope": "a"}]}, None, {}, "needs enforce_scope_based_access"),
        ({"role_mappings": [{"role": "a", "internal_role": "king"}]}, None, {}, "internal_role"),
        ({"routing_overrides": {"a": "b"}}, None, {}, "routing_overrides: not supported"),
        ({"agent_id_jwt_field": "agent"}, None, {}, "agent_id_jwt_field: not supported"),
        ({"oidc_userinfo_enabled": True}, None, {}, "needs oidc_userinfo_endpoint"),
        ({"oidc_userinfo_endpoint": "http://idp.example/me"}, None, {}, "no https address"),
        ({"leeway": 4000}, None, {}, "leeway"),
        ({"issuers": [{"issuer": "https://a.example"}]}, None, {}, "needs an audience"),
        ({"unregistered_jwt_client_behavior": "auto_register"}, None, {}, "unregistered_jwt_client_behavior"),
        ([], None, {}, "litellm_jwtauth"),
        ({}, {"JWT_PUBLIC_KEY_URL": "https://a.example/jwks"}, {}, "allow_any_audience"),
        ({}, {"JWT_PUBLIC_KEY_URL": "http://a.example/jwks", "JWT_AUDIENCE": "x"}, {}, "no https address"),
        ({}, None, {"role_permissions": {"role": "x"}}, "role_permissions"),
        ({}, None, {"role_permissions": [{"rolle": "x"}]}, "role_permissions"),
    ],
)
def test_what_is_wrong_is_said_with_its_place(
    rules: Any, environ: dict[str, str] | None, general: dict[str, Any], sentence: str
) -> None:
    with pytest.raises(SettingsError, match=sentence):
        of(rules, environ, **general) if rules != [] else of([1], environ)


def test_what_needs_no_acting_is_taken() -> None:
    """A key that changes is known on every edge at once: nothing is cached that
    `virtual_key_mapping_cache_ttl` could bound.
    """
    assert of({"virtual_key_mapping_cache_ttl": 10}).rules.virtual_key_mapping_cache_ttl == 10


def test_any_audience_only_when_said() -> None:
    assert of({}, {"JWT_PUBLIC_KEY_URL": "https://a.example/jwks"}, allow_any_audience=True).audiences == []
    assert of({}, {"JWT_PUBLIC_KEY_URL": "http://keycloak.auth.svc/jwks", "JWT_ISSUER": "i"}).issuers == ["i"]
