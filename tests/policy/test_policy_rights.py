"""Who may touch whose rows, and what nobody but those above them may loosen."""

from typing import Any

import pytest

from shared.entities import Key, Organization, Project, Team, User
from shared.errors import Refusal
from shared.facts import Caller
from tests.policy.test_policy_organizations import MINTED, refused
from tests.policy.world import MASTER_KEY, World, digest, key

# Who may touch whose rows.

WEAKER = [
    ("permissions", {"hide_secrets": False}), ("allowed_routes", ["/chat"]), ("disable_global_guardrails", True),
    ("modify_guardrails", True), ("metadata", {"guardrails": {"modify_guardrails": True}}), ("max_budget", 100),
    ("models", []), ("models", ["gpt", "mini"]), ("guardrails", []), ("metadata", {}), ("allowed_ips", None),
    ("enforced_params", []), ("team_id", None), ("user_id", "other"), ("duration", "-1"), ("blocked", False),
    ("max_budget", None), ("project_id", None), ("soft_budget", 4), ("budget_duration", "1s"), ("organization_id", None),
    ("rpm_limit", 11), ("rpm_limit", None), ("tpm_limit", None), ("max_parallel_requests", 9),
    ("model_rpm_limit", {"mini": 1}), ("model_rpm_limit", {"gpt": 9}), ("metadata", {"guardrails": ["banned_keywords"], "x": 1}),
    ("allowed_cache_controls", ["ttl", "no-cache"]), ("allowed_cache_controls", []),
]  # fmt: skip


@pytest.mark.parametrize(("field", "value"), WEAKER)
def test_a_users_own_key_can_not_be_made_weaker_by_them(field: str, value: Any) -> None:
    made = key(
        "a", user_id="u", team_id="t", models=["gpt"], blocked=True, expires_at_ms=2_000_000_000_000, created_by="admin",
        metadata={"guardrails": ["banned_keywords"], "max_request_size_mb": 1, "denied_passthrough_routes": ["/x"]},
        max_budget_picousd=5 * 10**12, organization_id="o",
        extra={
            "allowed_ips": ["10.0.0.1"], "enforced_params": ["user"], "project_id": "p", "rpm_limit": 10, "tpm_limit": 10,
            "max_parallel_requests": 3, "model_rpm_limit": {"gpt": 3}, "allowed_cache_controls": ["ttl"],
        },
    )  # fmt: skip
    world = World(made, Team(team_id="t"), Project(project_id="p"), Organization(organization_id="o"))
    answer = world.call("/key/update", {"key": digest("a"), field: value}, actor=Caller(user_id="u"))
    assert isinstance(answer, Refusal) and answer.status == 403, (field, value)
    assert world.facts == []
    assert isinstance(world.call("/key/update", {"key": digest("a"), field: value}), dict), "an admin may"


@pytest.mark.parametrize("route", ["/key/update", "/key/delete", "/key/block", "/key/regenerate"])
@pytest.mark.parametrize(
    ("who", "allowed"),
    [
        ("stranger", set()),
        ("owner", {"/key/update", "/key/delete", "/key/regenerate"}),
        ("member", set()),
        ("team_admin", {"/key/update", "/key/delete", "/key/block", "/key/regenerate"}),
    ],
)
def test_who_may_touch_a_key(route: str, who: str, allowed: set[str]) -> None:
    roles = [{"role": "user", "user_id": "member"}, {"role": "admin", "user_id": "team_admin"}]
    world = World(Team(team_id="t", members_with_roles=roles), key("a", user_id="owner", team_id="t"))
    body = {"key": digest("a"), "keys": [digest("a")], "token": digest("n"), "key_name": "sk-..."}
    answer = world.call(route, body, actor=Caller(user_id=who))
    assert isinstance(answer, dict) == (route in allowed), answer
    assert bool(world.facts) == (route in allowed)


def test_a_team_lets_its_members_do_what_it_says() -> None:
    roles = [{"role": "user", "user_id": "m"}]
    world = World(Team(team_id="t", members_with_roles=roles), key("a", team_id="t"))
    member = Caller(user_id="m")
    assert isinstance(world.call("/key/generate", {**MINTED, "team_id": "t"}, actor=member), Refusal)
    answer = world.call("/team/permissions_update", {"team_id": "t", "team_member_permissions": ["/key/generate"]})
    assert answer["team_member_permissions"] == ["/key/generate"]
    assert world.call("/key/generate", {**MINTED, "team_id": "t"}, actor=member)["team_id"] == "t"
    assert isinstance(world.call("/key/delete", {"keys": [digest("a")]}, actor=member), Refusal)
    assert MASTER_KEY not in str(answer)


def test_a_maker_may_choose_models_and_rates_again_but_not_drop_a_check() -> None:
    made = key(
        "a",
        user_id="u",
        created_by="u",
        models=["gpt"],
        extra={"guardrails": ["banned_keywords"], "enforced_params": ["user"], "rpm_limit": 1},
    )
    world, maker = World(made), Caller(user_id="u")
    for field, value in (("guardrails", []), ("enforced_params", []), ("guardrails", None)):
        answer = world.call("/key/update", {"key": digest("a"), field: value}, actor=maker)
        assert isinstance(answer, Refusal) and answer.param == field
    answer = world.call("/key/update", {"key": digest("a"), "models": ["mini"], "rpm_limit": 2}, actor=maker)
    assert answer["models"] == ["mini"]
    regenerated = {"key": digest("a"), "token": digest("n"), "key_name": "sk-...", "guardrails": []}
    assert isinstance(world.call("/key/regenerate", regenerated, actor=maker), Refusal)


TEAMS_WEAKER = [
    ("models", []), ("guardrails", []), ("max_budget", None), ("max_budget", 9), ("organization_id", None), ("blocked", False),
    ("organization_id", "other"), ("modify_guardrails", True), ("rpm_limit", None), ("metadata", {}), ("enforced_params", []),
    ("disable_global_guardrails", True),
]  # fmt: skip


@pytest.mark.parametrize(("field", "value"), TEAMS_WEAKER)
@pytest.mark.parametrize("route", ["/team/update", "/project/update"])
def test_a_team_admin_loosens_neither_team_nor_project(route: str, field: str, value: Any) -> None:
    strict: dict[str, Any] = {
        "models": ["gpt"],
        "max_budget_picousd": 5 * 10**12,
        "blocked": True,
        "metadata": {"guardrails": ["banned_keywords"], "max_request_size_mb": 1},
        "extra": {
            "guardrails": ["banned_keywords"],
            "enforced_params": ["user"],
            "modify_guardrails": False,
            "rpm_limit": 1,
        },
    }
    roles = [{"role": "admin", "user_id": "boss"}]
    team = Team(team_id="t", organization_id="o", members_with_roles=roles, **strict)
    project = Project(project_id="p", team_id="t", **strict)
    world = World(team, project, Organization(organization_id="o"), Organization(organization_id="other"))
    body = {"team_id": "t", field: value} if route == "/team/update" else {"project_id": "p", field: value}
    if route == "/project/update" and field == "organization_id":
        return
    answer = world.call(route, body, actor=Caller(user_id="boss"))
    assert isinstance(answer, Refusal) and answer.status == 403, (field, value, answer)
    assert isinstance(world.call(route, body), dict)


def test_nobody_makes_keys_with_more_than_they_have() -> None:
    world = World(User(user_id="u", max_budget_picousd=5 * 10**12), Organization(organization_id="o"))
    user = Caller(user_id="u")
    refused(world.call("/key/generate", {**MINTED, "max_budget": 6}, actor=user), 400, "max_budget")
    answer = world.call("/key/generate", {**MINTED, "organization_id": "o"}, actor=user)
    assert isinstance(answer, Refusal) and answer.param == "organization_id"
    assert world.call("/key/generate", {**MINTED, "max_budget": 5}, actor=user)["max_budget"] == 5
    stored = world.directory.keys[digest("n")]
    assert isinstance(stored, Key)


def test_a_keys_project_is_its_teams() -> None:
    world = World(Team(team_id="t"), Team(team_id="u"), Project(project_id="p", team_id="t"), key("a", team_id="t"))
    refused(world.call("/key/generate", {**MINTED, "project_id": "p", "team_id": "u"}), 400, "project_id")
    assert world.call("/key/update", {"key": digest("a"), "project_id": "p"})["project_id"] == "p"
    refused(world.call("/key/update", {"key": digest("a"), "team_id": "u"}), 400, "project_id")


def test_an_organisations_admin_makes_users_there_and_no_admins() -> None:
    members = [{"user_id": "chief", "user_role": "org_admin"}]
    world = World(Organization(organization_id="o", members=members), Organization(organization_id="other"))
    chief = Caller(user_id="chief", role="org_admin")
    body = {"auto_create_key": False, "organizations": ["o"]}
    for wrong in ({"organizations": ["o", "other"]}, {"organizations": []}, {"user_role": "proxy_admin"}):
        assert isinstance(world.call("/user/new", {**body, **wrong}, actor=chief), Refusal), wrong
    made = world.call("/user/new", {**body, "user_id": "new"}, actor=chief)
    assert made["user_id"] == "new"
    listed = world.call("/user/list", actor=chief)
    assert [user["user_id"] for user in listed["users"]] == ["new"]
    assert isinstance(world.call("/user/info", query={"user_id": "new"}, actor=chief), dict)
    assert isinstance(world.call("/user/info", query={"user_id": "x"}, actor=chief), Refusal)
