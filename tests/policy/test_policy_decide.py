"""The decision, as tables of cases."""

import sys

import pytest

from services.policy import routes
from services.policy.decide import MASTER_KEY_LABEL
from shared import subjects
from shared.entities import Team, User
from shared.facts import Caller
from shared.grant import Denial, Grant
from shared.ids import digest_key
from shared.routes import TABLE
from tests.policy.world import CONFIG, MASTER_KEY, NOW, OF_ALL, World, digest, key, secret

OPEN = CONFIG.replace(f"  master_key: {MASTER_KEY}", "  {}")


def code(decision: Grant | Denial) -> str:
    return decision.refusal.code if isinstance(decision, Denial) else "granted"


KEY_CASES = [
    ("plain key", {}, "gpt", "granted"),
    ("blocked", {"blocked": True}, "gpt", "blocked_key"),
    ("expires this very instant", {"expires_at_ms": NOW}, "gpt", "expired_key"),
    ("expires in a millisecond", {"expires_at_ms": NOW + 1}, "gpt", "granted"),
    ("listed model", {"models": ["gpt"]}, "gpt", "granted"),
    ("other model", {"models": ["mini"]}, "gpt", "model_not_allowed"),
    ("unknown model, all allowed", {}, "gpt-9", "unknown_model"),
    ("unknown model, some allowed", {"models": ["gpt"]}, "gpt-9", "model_not_allowed"),
    ("star", {"models": ["*"]}, "gpt", "granted"),
    ("all-proxy-models", {"models": ["all-proxy-models"]}, "gpt", "granted"),
    ("no-default-models", {"models": ["no-default-models"]}, "gpt", "model_not_allowed"),
    ("all-team-models without a team", {"models": ["all-team-models"]}, "gpt", "model_not_allowed"),
    ("name pattern", {"models": ["mi*"]}, "mini", "granted"),
    ("name pattern, other", {"models": ["mi*"]}, "gpt", "model_not_allowed"),
    ("provider pattern", {"models": ["openai/*"]}, "mini", "granted"),
    ("provider pattern must cover every deployment", {"models": ["openai/*"]}, "gpt", "model_not_allowed"),
    ("alias", {"aliases": {"fast": "mini"}}, "fast", "granted"),
    ("alias to what isn't allowed", {"aliases": {"fast": "mini"}, "models": ["gpt"]}, "fast", "model_not_allowed"),
    ("alias to an allowed one", {"aliases": {"fast": "mini"}, "models": ["mini"]}, "fast", "granted"),
    ("no model", {}, "", "unknown_model"),
    ("a huge name", {}, "m" * 10_000, "bad_request"),
    ("route listed", {"allowed_routes": ["/chat/completions"]}, "gpt", "granted"),
    ("route listed with its v1", {"allowed_routes": ["/v1/chat/completions"]}, "gpt", "granted"),
    ("route prefix", {"allowed_routes": ["/chat"]}, "gpt", "granted"),
    ("prefix of a name is no prefix of a path", {"allowed_routes": ["/chat/comp"]}, "gpt", "key_route_not_allowed"),
    ("route star", {"allowed_routes": ["/chat/comp*"]}, "gpt", "granted"),
    ("route group", {"allowed_routes": ["llm_api_routes"]}, "gpt", "granted"),
    ("other route group", {"allowed_routes": ["info_routes", "management_routes"]}, "gpt", "key_route_not_allowed"),
]


@pytest.mark.parametrize(("fields", "model", "expected"), [c[1:] for c in KEY_CASES], ids=[c[0] for c in KEY_CASES])
def test_what_a_key_may_do(fields: dict, model: str, expected: str) -> None:
    world = World(key("a", **fields))
    decision = world.decide(secret("a"), model=model)
    assert code(decision) == expected
    assert decision.depends_on == [subjects.control("key", digest("a")), *OF_ALL]
    assert decision.caller.key_sha256 == digest("a")


TEAM_CASES = [
    ("plain team", {}, {}, "gpt", "granted"),
    ("blocked team", {"blocked": True}, {}, "gpt", "blocked_team"),
    ("team's models", {"models": ["gpt"]}, {}, "gpt", "granted"),
    ("not the team's model", {"models": ["mini"]}, {}, "gpt", "model_not_allowed"),
    ("key's list doesn't widen the team's", {"models": ["mini"]}, {"models": ["gpt"]}, "gpt", "model_not_allowed"),
    ("all-team-models", {"models": ["gpt"]}, {"models": ["all-team-models"]}, "gpt", "granted"),
    (
        "all-team-models, not the team's",
        {"models": ["gpt"]},
        {"models": ["all-team-models"]},
        "mini",
        "model_not_allowed",
    ),
    ("blocked key goes first", {"blocked": True}, {"blocked": True}, "gpt", "blocked_key"),
]


@pytest.mark.parametrize(
    ("team", "fields", "model", "expected"), [c[1:] for c in TEAM_CASES], ids=[c[0] for c in TEAM_CASES]
)
def test_what_a_team_changes(team: dict, fields: dict, model: str, expected: str) -> None:
    world = World(Team(team_id="t", team_alias="T", **team), key("a", team_id="t", **fields))
    decision = world.decide(secret("a"), model=model)
    assert code(decision) == expected
    assert decision.depends_on == [subjects.control("key", digest("a")), "control.team.t", *OF_ALL]
    assert decision.caller.team_alias == "T"


def test_a_key_does_not_outlive_its_team() -> None:
    decision = World(key("a", team_id="gone")).decide(secret("a"), model="gpt")
    assert code(decision) == "unknown_team"
    assert decision.depends_on == [subjects.control("key", digest("a")), "control.team.gone", *OF_ALL]


def test_denials_of_team_and_key_models_say_which() -> None:
    world = World(Team(team_id="t", models=["mini"]), key("a", team_id="t"), key("b", models=["mini"]))
    kinds = [world.decide(secret(name), model="gpt").refusal for name in ("a", "b")]
    assert [(r.status, r.type, r.param) for r in kinds] == [
        (403, "team_model_access_denied", "model"),
        (403, "key_model_access_denied", "model"),
    ]


def test_no_credential_and_unknown_ones() -> None:
    world = World()
    assert code(world.decide(None, model="gpt")) == "no_key"
    unknown = world.decide(secret("a"), model="gpt")
    assert code(unknown) == "unknown_key"
    assert unknown.depends_on == [subjects.control("key", digest("a")), *OF_ALL], "its creation must end the denial"
    assert code(world.decide("hello", model="gpt", credential_shape="other")) == "not_a_virtual_key"
    assert code(world.decide(MASTER_KEY + "x", model="gpt")) == "unknown_key"


def test_the_master_key_is_never_shown() -> None:
    grant = World().decide(MASTER_KEY, model="gpt")
    assert isinstance(grant, Grant)
    assert (grant.caller.key_sha256, grant.caller.user_id, grant.caller.role) == (
        MASTER_KEY_LABEL, "default_user_id", "proxy_admin",
    )  # fmt: skip
    assert str(digest_key(MASTER_KEY)) not in repr(grant)
    assert code(World().decide(MASTER_KEY, model="nope")) == "unknown_model"


ROUTES = {
    "llm": ["/chat/completions", "/completions", "/embeddings"],
    "info": ["/models", "/key/info", "/v2/key/info", "/key/list", "/team/info", "/team/list", "/user/info"],
    "keys": [*(f"/key/{v}" for v in ("generate", "update", "delete", "block", "unblock", "regenerate", "aliases"))],
    "own teams": ["/team/update", "/team/member_add", "/team/member_update", "/team/member_delete"],
    "manage": [
        *(f"/team/{verb}" for verb in ("new", "delete", "block", "unblock", "model/add", "model/delete")),
        *(f"/user/{verb}" for verb in ("new", "update", "delete")),
        *(f"/customer/{verb}" for verb in ("new", "update", "delete", "block", "unblock")),
    ],
    "all": ["/customer/info", "/customer/list"],
    "spend": ["/spend/tags", "/spend/logs"],
    "audit": ["/audit", "/audit/{id}"],
}
MATRIX = {
    "proxy_admin": set(ROUTES),
    "proxy_admin_viewer": {"info", "all", "spend", "audit"},
    "internal_user": {"llm", "info", "keys", "own teams", "spend"},
    "internal_user_viewer": {"info", "spend"},
    "nonsense": {"llm", "info", "keys", "own teams", "spend"},
}
CASES = [(group, route) for group, found in ROUTES.items() for route in found]


@pytest.mark.parametrize("role", MATRIX)
@pytest.mark.parametrize(("group", "route"), CASES)
def test_routes_by_role(group: str, route: str, role: str) -> None:
    world = World(key("a", user_id="u"), User(user_id="u", user_role=role))
    denied = "route_not_allowed" if group == "llm" else "admin_only"
    if (role, route) == ("proxy_admin_viewer", "/key/aliases"):
        group = "all"  # it changes nothing
    assert code(world.decide(secret("a"), route, "gpt")) == ("granted" if group in MATRIX[role] else denied)


@pytest.mark.parametrize(("group", "route"), CASES)
def test_the_master_key_may_call_everything_and_nobody_nothing(group: str, route: str) -> None:
    world = World(key("a"))
    assert code(world.decide(MASTER_KEY, route, "gpt")) == "granted"
    assert code(world.decide(None, route, "gpt")) == "no_key"


@pytest.mark.parametrize(("group", "route"), CASES)
def test_routes_of_an_open_gateway(group: str, route: str) -> None:
    world = World(key("a", models=["mini"]), text=OPEN)
    expected = "granted" if group in ("llm", "info") else "admin_only"
    assert code(world.decide(None, route, "gpt")) == expected
    anonymous = world.decide(secret("nobody"), route, "gpt")
    assert code(anonymous) == expected
    assert anonymous.depends_on[:2] == [subjects.control("key", digest("nobody")), "control.setting.>"]
    assert anonymous.caller.role == "internal_user" and anonymous.caller.key_sha256 is None
    if group == "llm":
        assert code(world.decide(secret("a"), route, "gpt")) == "model_not_allowed", "a known key keeps its own rights"


def test_a_route_nobody_has() -> None:
    world = World(key("a"))
    assert code(world.decide(MASTER_KEY, "/secret/door")) == "route_not_allowed"
    assert code(world.decide(secret("a"), "/secret/door")) == "route_not_allowed"


def test_every_row_of_the_table_has_a_role_that_may_call_it() -> None:
    for route in TABLE.rows:
        assert any(routes.may_call(route, role) for role in routes.MATRIX.values() if not role.everything) or (
            route.mutates or route.public or "GET" not in route.methods or route.surface in ("llm", "passthrough")
        ), route.name


def test_every_command_has_a_route() -> None:
    from services.policy.commands import COMMANDS
    from shared import routes

    assert set(COMMANDS) == {route.name for route in routes.of_surface("management")}


def test_grant_carries_candidates_prices_and_guardrails() -> None:
    grant = World(key("a", expires_at_ms=NOW + 9)).decide(secret("a"), model="gpt")
    assert isinstance(grant, Grant)
    assert [
        (c.provider, c.upstream_model, c.order, c.weight, c.price and c.price.input_picousd) for c in grant.candidates
    ] == [
        ("openai", "gpt-4o", 0, 1.0, 2_500_000),
        ("groq", "llama", 1, 2.0, 50_000),
    ]
    assert [(g.name, g.stages, g.on_error) for g in grant.guardrails] == [
        ("banned_keywords", ["pre_call", "post_call"], "block")
    ]
    assert grant.expires_at_ms == NOW + 9
    mini = World().decide(MASTER_KEY, model="mini")
    assert isinstance(mini, Grant)
    assert mini.candidates[0].price is not None and mini.candidates[0].price.source == "config"
    free = World().decide(MASTER_KEY, model="free")
    assert isinstance(free, Grant) and free.candidates[0].price is None, "unknown is unpriced, never zero"


def test_tags_and_spend_logs_metadata_fold_key_over_team() -> None:
    team = Team(team_id="t", metadata={"tags": ["b", "c"], "spend_logs_metadata": {"x": "team", "y": "team"}})
    world = World(team, key("a", team_id="t", metadata={"tags": ["a", "b"], "spend_logs_metadata": {"x": "key"}}))
    grant = world.decide(secret("a"), model="gpt")
    assert isinstance(grant, Grant)
    assert grant.tags == ["a", "b", "c"]
    assert grant.spend_logs_metadata == {"x": "key", "y": "team"}
    assert not grant.add_user_agent_tags and not grant.reject_clientside_tags


@pytest.mark.parametrize(
    "junk", [{"tags": "x"}, {"tags": [1, None, "ok"]}, {"tags": {"a": 1}}, {"spend_logs_metadata": [1]}]
)
def test_junk_metadata_counts_for_nothing(junk: dict) -> None:
    grant = World(key("a", metadata=junk)).decide(secret("a"), model="gpt")
    assert isinstance(grant, Grant)
    assert grant.tags in ([], ["ok"]) and grant.spend_logs_metadata == {}


def test_models_route_lists_what_may_be_used() -> None:
    team = Team(team_id="t", models=["gpt", "mini"])
    world = World(team, key("a", team_id="t", models=["mini", "free"]), key("b"))
    assert world.decide(secret("a"), "/models").models == ["mini"]
    assert world.decide(secret("b"), "/models").models == ["gpt", "mini", "free"]


def test_reject_clientside_tags_comes_from_general_settings() -> None:
    text = CONFIG + "  reject_clientside_metadata_tags: true\n"
    assert World(text=text).decide(MASTER_KEY, model="gpt").rules.reject_clientside_tags


def test_wildcard_deployments_serve_what_they_match() -> None:
    text = CONFIG.replace(
        "litellm_settings:",
        "  - model_name: openai/*\n    litellm_params: {model: openai/*, api_key: k}\nlitellm_settings:",
    )
    grant = World(text=text).decide(MASTER_KEY, model="openai/gpt-4o")
    assert isinstance(grant, Grant)
    assert [(c.upstream_model, c.price is not None) for c in grant.candidates] == [("gpt-4o", True)]
    assert code(World(text=text).decide(MASTER_KEY, model="groq/gpt-4o")) == "unknown_model"


def test_a_decision_takes_few_steps_however_many_keys_there_are() -> None:
    """Counted as calls of functions, C's too: 100 to 200 µs of a quiet core."""
    team = Team(team_id="t", models=["gpt"], metadata={"tags": ["x"]})

    def steps(keys: int) -> int:
        others = (key(str(n)) for n in range(keys))
        world = World(team, *others, key("a", team_id="t", metadata={"tags": ["a", "b"]}))
        world.decide(secret("a"), model="gpt")
        counted = [0]

        def count(_frame: object, event: str, _arg: object) -> None:
            counted[0] += event in ("call", "c_call")

        sys.setprofile(count)
        try:
            world.decide(secret("a"), model="gpt")
        finally:
            sys.setprofile(None)
        return counted[0]

    few = steps(2)
    assert few < 300, few
    assert steps(1000) == few


OWNED = """
model_list:
  - {model_name: gpt, litellm_params: {model: openai/gpt-4o, api_key: k}, model_info: {id: everybodys}}
  - {model_name: gpt, litellm_params: {model: openai/gpt-4o, api_key: k2}, model_info: {id: of-a, team_id: a}}
  - {model_name: a-only, litellm_params: {model: openai/o3, api_key: k3}, model_info: {id: a-only, team_id: a, team_public_model_name: best}}
  - {model_name: "p/*", litellm_params: {model: "openai/*", api_key: k4}, model_info: {id: pattern, team_id: a}}
general_settings: {master_key: sk-master-of-this-world}
router_settings: {fallbacks: [{gpt: [a-only]}]}
"""


def test_a_deployment_of_one_team_is_that_teams_alone() -> None:
    world = World(
        Team(team_id="a"), Team(team_id="b"), key("a", team_id="a"), key("b", team_id="b"), key("none"), text=OWNED
    )

    def ids(credential: str, model: str) -> list[str] | str:
        found = world.decide(credential, model=model)
        return found.refusal.code if isinstance(found, Denial) else [each.deployment_id for each in found.candidates]

    assert ids(secret("a"), "gpt") == ["everybodys", "of-a"]
    assert ids(secret("b"), "gpt") == ids(secret("none"), "gpt") == ["everybodys"]
    for model, id in (("a-only", "a-only"), ("best", "a-only"), ("p/x", "pattern")):
        assert ids(secret("a"), model) == ids(MASTER_KEY, model) == [id]
        assert ids(secret("b"), model) == ids(secret("none"), model) == "unknown_model", "as if it weren't there"
    mine, theirs = (world.decide(secret(name), model="gpt") for name in ("a", "b"))
    assert isinstance(mine, Grant) and isinstance(theirs, Grant)
    assert [each.model for each in mine.fallbacks] == ["a-only"] and not theirs.fallbacks
    lists = {name: world.decide(secret(name), "/models") for name in ("a", "b")}
    assert {name: each.models for name, each in lists.items() if isinstance(each, Grant)} == {
        "a": ["gpt", "a-only", "best"], "b": ["gpt"],
    }  # fmt: skip
    for name, shown in (("a", {"everybodys", "of-a", "a-only", "pattern"}), ("b", {"everybodys"})):
        actor = Caller(digest(name), team_id=name)
        assert {row["model_info"]["id"] for row in world.call("/model/info", actor=actor)["data"]} == shown
    assert len(world.call("/model/info")["data"]) == 5, "for an admin, each under each of its names"


def test_every_completion_goes_to_the_completion_model() -> None:
    world = World(key("any"), key("gpt-only", models=["gpt"]), text=CONFIG + "  completion_model: mini\n")

    def goes_to(name: str, route: str, model: str) -> object:
        found = world.decide(secret(name), route, model)
        return code(found) if isinstance(found, Denial) else found.candidates[0].upstream_model

    for route in ("/chat/completions", "/completions"):
        assert goes_to("any", route, "gpt") == goes_to("any", route, "nobody-serves-it") == "gpt-4o-mini"
        assert goes_to("gpt-only", route, "gpt") == "model_not_allowed", "what is asked in fact is what must be allowed"
    assert goes_to("any", "/embeddings", "gpt") == "gpt-4o"
