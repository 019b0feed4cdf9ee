"""What an identity provider's claims make of somebody: a table of the rules."""

from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.policy.identity.claims import LABEL, label, resolve
from services.policy.identity.principal import Known, NotLetIn, Principal, Question
from shared import routes
from shared.entities import JwtMapping, Key, Team, User, mapping_id
from shared.identity.settings import ClaimRules, Issuer, read
from shared.ids import KeyDigest

TEAMS = {
    "a": Team(team_id="a", models=["m1"], members_with_roles=[{"role": "user", "user_id": "u1"}]),
    "b": Team(team_id="b", models=["m2"], team_alias="Team B"),
    "blocked": Team(team_id="blocked", blocked=True),
}
USERS = {
    "u1": User(user_id="u1", user_role="internal_user_viewer", models=["m9"]),
    "boss": User(user_id="boss", user_role="proxy_admin"),
}
NAMED = Key(token=KeyDigest("d" * 64), key_name="sk-...", key_alias="client-2", team_id="a", models=["m1"])
MAPPINGS = {
    each.id: each
    for issuer, value, token, active in (
        (None, "client-1", NAMED.token, True),
        ("theirs", "client-3", NAMED.token, True),
        (None, "off", NAMED.token, False),
        (None, "dangling", KeyDigest("e" * 64), True),
    )
    for each in [JwtMapping(id=mapping_id(issuer, "azp", value), token=token, is_active=active)]
}
CHAT = "/chat/completions"
EVERY_ROUTE = [row.name for row in routes.TABLE.rows]


def find(kind: str, name: str) -> Any:
    tables: dict[str, dict[str, Any]] = {"team": TEAMS, "user": USERS, "jwt_mapping": MAPPINGS}
    return tables[kind].get(name)


KNOWN = Known(
    find=find,
    teams_by_alias=lambda alias: [team for team in TEAMS.values() if team.team_alias == alias],
    teams_of_user=lambda user_id: [team for team in TEAMS.values() if team.role_of(user_id)],
    stands_for=lambda token: (NAMED if token == NAMED.token else None, [token]),
    may_use=lambda team, model: not team.models or model in team.models,
    organization_by_alias={"Ours": "org-1"}.get,
)


def ask(
    rules: dict[str, Any],
    claims: dict[str, Any],
    route: str = CHAT,
    model: str = "",
    team_id: str | None = None,
    **general: Any,
) -> Principal | NotLetIn:
    environ = {"JWT_PUBLIC_KEY_URL": "https://idp.example/jwks", "JWT_AUDIENCE": "x"}
    auth = read({"enable_jwt_auth": True, "litellm_jwtauth": rules, **general}, environ)
    assert auth is not None
    return resolve(auth, Question({"exp": 100, "sub": "s", **claims}, route, model, team_id), KNOWN, 5)


def let_in(*arguments: Any, **named: Any) -> Principal:
    found = ask(*arguments, **named)
    assert isinstance(found, Principal), found
    return found


def refused(*arguments: Any, **named: Any) -> str:
    found = ask(*arguments, **named)
    assert isinstance(found, NotLetIn), found
    return f"{found.refusal.status} {found.refusal.code}"


USER = {"user_id_jwt_field": "sub"}
TEAM = {"team_id_jwt_field": "org.team"}
TEAM_LIST = {"team_ids_jwt_field": "groups"}


def test_nobody_in_particular_is_a_user_without_rights_of_their_own() -> None:
    found = let_in({}, {})
    assert (found.role, found.key.user_id, found.team) == ("internal_user", None, None)
    assert found.key.token.startswith(LABEL) and found.key.expires_at_ms == 100_000


def test_the_same_person_has_the_same_label_whatever_the_token() -> None:
    one, two = ({"iss": "i", "sub": "s", "jti": n, "exp": n} for n in (1, 2))
    assert label(one) == label(two) != label({"iss": "j", "sub": "s"})


def test_a_known_user_has_their_role_and_models() -> None:
    found = let_in(USER, {"sub": "u1"})
    assert (found.role, found.key.user_id, found.model_lists) == ("internal_user_viewer", "u1", [["m9"]])
    assert "control.user." in " ".join(found.depends_on)


def test_an_unknown_user_is_made_where_that_is_configured() -> None:
    assert let_in(USER, {"sub": "new"}).upserts == []
    rules = {
        **USER,
        "user_id_upsert": True,
        "user_email_jwt_field": "email",
        "user_allowed_email_domain": "ours.example",
    }
    made = let_in(rules, {"sub": "new", "email": "n@ours.example"}).upserts
    assert [(e.after.user_id, e.after.user_email) for e in made if isinstance(e.after, User)] == [
        ("new", "n@ours.example")
    ]
    for email in ("n@theirs.example", "n@ours.example.evil", "n@notours.example", None):
        assert let_in(rules, {"sub": "new", "email": email}).upserts == []


def test_the_admins_scope() -> None:
    for scope in ("a litellm_proxy_admin b", ["litellm_proxy_admin"]):
        assert let_in({}, {"scope": scope}, "/key/list").role == "proxy_admin"
    assert let_in({"admin_jwt_scope": "root"}, {"scope": "root"}, "/key/list").role == "proxy_admin"
    assert let_in({}, {"scope": "litellm_proxy_admins"}).role == "internal_user"
    assert refused({}, {"scope": "litellm_proxy_admin"}) == "401 token_route_not_allowed"
    rules = {"admin_allowed_routes": ["openai_routes", "/key/list"]}
    assert let_in(rules, {"scope": "litellm_proxy_admin"}).role == "proxy_admin"
    assert refused(rules, {"scope": "litellm_proxy_admin"}, "/team/new") == "401 token_route_not_allowed"


def test_one_team() -> None:
    found = let_in(TEAM, {"org": {"team": "a"}}, model="m1")
    assert found.team is TEAMS["a"] and found.key.team_id == "a"
    assert let_in(TEAM, {"org.team": "a"}).team is TEAMS["a"]  # a claim whose own name has a dot
    assert let_in({"team_alias_jwt_field": "t"}, {"t": "Team B"}).team is TEAMS["b"]
    assert let_in({"team_id_default": "b"}, {}).team is TEAMS["b"]
    assert refused(TEAM, {"org": {"team": "nobody"}}) == "401 unknown_team"
    assert refused(TEAM, {"org": {"team": "a"}}, "/team/new") == "401 token_route_not_allowed"
    assert (
        let_in({**TEAM, "team_allowed_routes": ["/team/info"]}, {"org": {"team": "a"}}, "/team/info").team is TEAMS["a"]
    )


def test_an_unknown_team_is_made_where_that_is_configured() -> None:
    found = let_in({**TEAM, "team_id_upsert": True}, {"org": {"team": "new"}})
    assert found.key.team_id == "new" and [e.after.team_id for e in found.upserts if isinstance(e.after, Team)] == [
        "new"
    ]


def test_of_several_teams_the_first_that_may_use_the_model() -> None:
    claims = {"groups": ["nobody", "blocked", "a", "b"]}
    assert let_in(TEAM_LIST, claims, model="m2").team is TEAMS["b"]
    assert let_in(TEAM_LIST, claims, model="m1").team is TEAMS["a"]
    assert refused(TEAM_LIST, claims, model="m3") == "403 no_team_for_model"
    assert let_in(TEAM_LIST, claims, model="m2", team_id="b").team is TEAMS["b"]
    assert refused(TEAM_LIST, {"groups": ["a"]}, team_id="b") == "403 not_a_team_of_the_token"
    assert refused({}, {}, team_id="b") == "403 not_a_team_of_the_token"


def test_teams_by_other_ways() -> None:
    assert let_in({**USER, "fallback_to_db_teams": True}, {"sub": "u1"}).team is TEAMS["a"]
    fallback = {**TEAM_LIST, "team_claim_fallback": True, "team_id_default": "b"}
    assert let_in(fallback, {"groups": ["nobody"]}).team is TEAMS["b"]
    strict = {**TEAM, "enforce_team_based_model_access": True}
    assert refused(strict, {}, model="m1") == "403 no_team_for_model"
    assert let_in(strict, {}).team is None


def test_roles_of_the_token() -> None:
    rules = {
        "enforce_rbac": True, "roles_jwt_field": "realm.roles", "object_id_jwt_field": "oid",
        "role_mappings": [{"role": "ai-team", "internal_role": "team"}, {"role": "ai-user", "internal_role": "internal_user"},
                          {"role": "ai-root", "internal_role": "proxy_admin"}],
    }  # fmt: skip
    assert let_in(rules, {"realm": {"roles": ["x", "ai-team"]}, "oid": "a"}).team is TEAMS["a"]
    assert let_in(rules, {"realm": {"roles": ["ai-user"]}, "oid": "u1"}).key.user_id == "u1"
    assert let_in(rules, {"realm": {"roles": ["ai-root"]}, "oid": "u1"}, "/key/list").role == "proxy_admin"
    assert refused(rules, {"realm": {"roles": ["x"]}}) == "403 token_without_role"


def test_what_a_role_may() -> None:
    general = {"role_permissions": [{"role": "team", "models": ["m1"], "routes": ["openai_routes"]}]}
    assert let_in(TEAM, {"org": {"team": "a"}}, model="m1", **general).model_lists == [["m1"]]
    assert refused(TEAM, {"org": {"team": "a"}}, "/team/info", **general) == "403 role_route_not_allowed"


def test_scopes() -> None:
    rules = {
        "enforce_scope_based_access": True,
        "scope_mappings": [{"scope": "s1", "models": ["m1"]}, {"scope": "s2", "models": ["m2"]}, {"scope": "all"},
                           {"scope": "emb", "routes": ["/embeddings"]}],
    }  # fmt: skip
    assert let_in(rules, {"scope": "s1 s2"}).model_lists == [["m1", "m2"]]
    assert let_in(rules, {"scope": "s1 all"}).model_lists == []
    assert refused(rules, {"scope": "other"}) == "403 scope_not_allowed"
    assert refused(rules, {"scope": "emb"}) == "403 scope_not_allowed"
    assert let_in(rules, {"scope": "emb"}, "/embeddings").model_lists == []


def test_roles_that_are_needed_and_roles_that_are_given() -> None:
    need = {**USER, "user_roles_jwt_field": "roles", "user_allowed_roles": ["staff"]}
    assert let_in(need, {"roles": ["staff"]}).role == "internal_user"
    assert refused(need, {"roles": ["guest"]}) == "403 token_without_role"
    given = {**USER, "roles_jwt_field": "roles", "jwt_litellm_role_map": [
        {"jwt_role": "viewer", "litellm_role": "proxy_admin_viewer"}, {"jwt_role": "dev", "litellm_role": "internal_user"}]}  # fmt: skip
    assert let_in(given, {"sub": "u1", "roles": ["dev", "viewer"]}).role == "proxy_admin_viewer"


def test_a_token_may_stand_for_a_key() -> None:
    rules = {"virtual_key_claim_field": "azp"}
    found = let_in(rules, {"azp": "client-1"})
    assert found.key.token == "d" * 64 and found.key.expires_at_ms == 100_000 and found.team is TEAMS["a"]
    for unknown in ("unknown", "off", "client-2", "client-3"):  # an alias, which its owner chooses, is no mapping
        assert let_in(rules, {"azp": unknown}).key.token.startswith(LABEL)
    assert let_in(rules, {"azp": "client-3", "iss": "theirs"}).key.token == NAMED.token
    assert f"control.jwt_mapping.{mapping_id(None, 'azp', 'unknown')}" in let_in(rules, {"azp": "unknown"}).depends_on
    assert refused(rules, {"azp": "dangling"}) == "401 token_client_unknown", "the key is gone, and so is what it might"
    assert (
        refused({**rules, "unregistered_jwt_client_behavior": "reject"}, {"azp": "unknown"})
        == "401 token_client_unknown"
    )


def test_an_issuer_may_name_its_claims_otherwise() -> None:
    rules = {**USER, "issuers": [{"issuer": "other", "audience": "x", "user_id_jwt_field": "email"}]}
    claims = {"sub": "s", "email": "e@x"}
    assert let_in(rules, {**claims, "iss": "other"}).key.user_id == "e@x"
    assert let_in(rules, {**claims, "iss": "main"}).key.user_id == "s"


def test_what_is_kept_follows_the_token() -> None:
    """`sync_user_role_and_teams`: joined, left, role; `upsert_sso_user_to_team`: joined alone."""
    roles = [{"jwt_role": "dev", "litellm_role": "internal_user"}]
    rules = {**USER, **TEAM_LIST, "roles_jwt_field": "roles", "jwt_litellm_role_map": roles}
    claims = {"sub": "u1", "groups": ["b"], "roles": ["dev"]}
    assert let_in(rules, claims).upserts == []
    upserts = let_in({**rules, "sync_user_role_and_teams": True}, claims).upserts
    assert all(e.before in (USERS["u1"], TEAMS["a"], TEAMS["b"]) for e in upserts)
    after: dict[str, Any] = {getattr(e.after, "team_id", "user"): e.after for e in upserts}
    assert after["a"].role_of("u1") is None and after["b"].role_of("u1") == "user"
    assert (after["user"].user_role, after["user"].teams) == ("internal_user", ["b"])
    joined = let_in({**rules, "upsert_sso_user_to_team": True}, claims).upserts
    assert [getattr(e.after, "team_id", "user") for e in joined] == ["user", "b"]
    assert joined[0].after.teams == ["a", "b"]
    # a user and a team that the token is the first to name are made as they are in the end
    first = {**rules, "sync_user_role_and_teams": True, "user_id_upsert": True, "team_id_upsert": True}
    made = let_in(first, {"sub": "n", "groups": ["z"]}).upserts
    assert all(e.before is None for e in made) and len(made) == 2
    assert next(e.after for e in made if isinstance(e.after, Team)).role_of("n") == "user"
    assert next(e.after for e in made if isinstance(e.after, User)).teams == ["z"]


def test_the_organization_by_id_and_by_name() -> None:
    assert let_in({"org_id_jwt_field": "o"}, {"o": "org-7"}).key.organization_id == "org-7"
    assert let_in({"org_alias_jwt_field": "o"}, {"o": "Ours"}).key.organization_id == "org-1"
    assert refused({"org_alias_jwt_field": "o"}, {"o": "Theirs"}) == "401 unknown_organization"


def test_routes_that_are_open_to_every_token() -> None:
    assert refused(TEAM, {"org": {"team": "a"}}, "/team/new") == "401 token_route_not_allowed"
    rules = {**TEAM, "public_allowed_routes": ["/team/new"]}
    assert let_in(rules, {"org": {"team": "a"}}, "/team/new").team is TEAMS["a"]


def test_a_service_account_of_a_cluster() -> None:
    rules = {"user_id_jwt_field": "sub", "team_id_jwt_field": "kubernetes.io.namespace", "team_id_upsert": True}
    claims = {"sub": "system:serviceaccount:a:app", "kubernetes.io": {"namespace": "a", "pod": {"name": "p"}}}
    found = let_in(rules, claims)
    assert (found.key.user_id, found.key.team_id) == ("system:serviceaccount:a:app", "a")


def test_every_option_has_a_test() -> None:
    """Contract §4.2: each is named in a test of what it does, or of why it needn't do anything."""
    tests = Path(__file__).parents[1]
    named = "".join(path.read_text() for path in [Path(__file__), *(tests / "identity").glob("test_*.py")])
    options = [field.name for kind in (ClaimRules, Issuer) for field in msgspec.structs.fields(kind)]
    assert [name for name in options if f'"{name}"' not in named and f"{name}=" not in named] == []


@given(
    rules=st.fixed_dictionaries({}, optional={
        "user_id_jwt_field": st.just("sub"), "team_id_jwt_field": st.just("org.team"), "team_ids_jwt_field": st.just("groups"),
        "team_id_default": st.sampled_from(["a", "b"]), "team_id_upsert": st.booleans(), "user_id_upsert": st.booleans(),
        "admin_jwt_scope": st.just("root"), "virtual_key_claim_field": st.just("azp"), "end_user_id_jwt_field": st.just("c"),
        "jwt_litellm_role_map": st.just([{"jwt_role": "v", "litellm_role": "proxy_admin_viewer"}]), "roles_jwt_field": st.just("roles"),
        "team_allowed_routes": st.sampled_from([["openai_routes", "info_routes"], ["/team/info"]]),
    }),
    claims=st.fixed_dictionaries({"sub": st.sampled_from(["u1", "boss", "new"])}, optional={
        "org": st.sampled_from([{"team": "a"}, {"team": "b"}, {"team": "nobody"}]), "groups": st.lists(st.sampled_from(["a", "b", "x"])),
        "scope": st.sampled_from(["root", "other"]), "azp": st.sampled_from(["client-1", "client-2"]), "roles": st.just(["v"]),
        "c": st.just("x"),
    }),
    model=st.sampled_from(["", "m1", "m2", "m9"]),
)  # fmt: skip
def test_the_same_claims_are_the_same_principal_on_every_route(
    rules: dict[str, Any], claims: dict[str, Any], model: str
) -> None:
    """A route may be closed to somebody; it never makes somebody else of them. (The ledger's port
    asks policy the same question.)
    """
    found = [ask(rules, claims, route, model) for route in EVERY_ROUTE]
    assert len({msgspec.json.encode(each) for each in found if isinstance(each, Principal)}) <= 1


def test_the_customer_a_token_names() -> None:
    assert let_in({"end_user_id_jwt_field": "c"}, {"c": "customer-7"}).customer_id == "customer-7"


@pytest.mark.parametrize("odd", [None, 7, True, [], {}, [1, None], {"a": {}}, "", "x" * 10_000, "\0", [["a"]]])
@pytest.mark.parametrize("name", ["scope", "sub", "groups", "roles", "email", "azp", "org"])
def test_odd_claims_say_nothing_and_break_nothing(name: str, odd: Any) -> None:
    rules = {
        **USER, **TEAM, **TEAM_LIST, "roles_jwt_field": "roles", "user_email_jwt_field": "email", "user_id_upsert": True,
        "virtual_key_claim_field": "azp", "jwt_litellm_role_map": [{"jwt_role": "a", "litellm_role": "proxy_admin"}],
    }  # fmt: skip
    found = ask(rules, {"sub": "u1", name: odd})
    assert isinstance(found, Principal | NotLetIn)
    if isinstance(found, Principal):
        assert found.role != "proxy_admin"
        msgspec.json.encode(found)
