"""Organisations, projects, access groups, and what the configuration says of new keys."""

from typing import Any

from shared.entities import Key, Team
from shared.errors import Refusal
from shared.facts import Caller
from shared.grant import Denial, Grant
from tests.policy.world import CONFIG, World, digest, key, secret

MINTED = {"token": digest("n"), "key_name": "sk-...cdef"}


def refused(answer: Any, status: int, param: str | None) -> None:
    assert isinstance(answer, Refusal), answer
    assert (answer.status, answer.param) == (status, param)


def may(world: World, name: str, model: str) -> bool:
    return isinstance(world.decide(secret(name), model=model), Grant)


def test_an_organisations_models_bind_its_keys_and_its_teams() -> None:
    world = World(Team(team_id="t", organization_id="o"), key("team", team_id="t"), key("own", organization_id="o"))
    assert world.call("/organization/new", {"organization_id": "o", "models": ["mini"]})["models"] == ["mini"]
    for name in ("team", "own"):
        assert may(world, name, "mini") and not may(world, name, "gpt")
        denial = world.decide(secret(name), model="gpt")
        assert isinstance(denial, Denial) and denial.refusal.type == "org_model_access_denied"
        assert "control.organization.o" in denial.depends_on
    world.call("/organization/update", {"organization_id": "o", "models": None})
    assert may(world, "team", "gpt")
    refused(world.call("/organization/new", {"organization_id": "o"}), 400, "organization_id")
    refused(world.call("/organization/new", {"organization_id": "x", "models": ["misspelt"]}), 400, "models")
    refused(world.call("/organization/delete", {"organization_ids": ["o"]}), 400, "organization_ids")
    world.call("/team/delete", {"team_ids": ["t"]})
    world.call("/key/delete", {"keys": [digest("own")]})
    assert [o["organization_id"] for o in world.call("/organization/delete", {"organization_ids": ["o"]})] == ["o"]


def test_members_of_an_organisation() -> None:
    world = World()
    world.call("/organization/new", {"organization_id": "o"})
    ids = {"organization_id": "o"}
    answer = world.call("/organization/member_add", {**ids, "member": {"user_id": "u", "role": "internal_user"}})
    assert [(each["user_id"], each["user_role"]) for each in answer["members"]] == [("u", "internal_user")]
    refused(world.call("/organization/member_add", {**ids, "member": {"user_id": "u"}}), 400, "member")
    refused(world.call("/organization/member_add", {**ids, "member": {"user_id": "v", "role": "king"}}), 400, "role")
    answer = world.call("/organization/member_update", {**ids, "user_id": "u", "role": "org_admin"})
    assert answer["members"][0]["user_role"] == "org_admin"
    actor = Caller(user_id="u")
    assert world.call("/organization/info", query=ids, actor=actor)["organization_id"] == "o"
    stranger = world.call("/organization/info", query=ids, actor=Caller(user_id="x"))
    assert isinstance(stranger, Refusal) and stranger.status == 403
    assert world.call("/organization/list", actor=Caller(user_id="x")) == []
    assert world.call("/organization/member_delete", {**ids, "user_id": "u"})["members"] == []
    refused(world.call("/organization/member_delete", {**ids, "user_id": "u"}), 404, "user_id")


def test_a_project_stands_between_team_and_key() -> None:
    world = World(Team(team_id="t", metadata={"tags": ["team"]}))
    refused(world.call("/key/generate", {**MINTED, "project_id": "p"}), 400, "project_id")
    refused(world.call("/project/new", {"project_id": "p", "team_id": "nobody"}), 400, "team_id")
    world.call("/project/new", {"project_id": "p", "team_id": "t", "models": ["gpt"], "tags": ["project"]})
    world.call("/key/generate", {**MINTED, "team_id": "t", "project_id": "p", "tags": ["key"]})
    grant = world.decide(secret("n"), model="gpt")
    assert isinstance(grant, Grant) and grant.tags == ["key", "team", "project"]
    assert not may(world, "n", "mini")
    world.call("/project/update", {"project_id": "p", "blocked": True})
    denial = world.decide(secret("n"), model="gpt")
    assert isinstance(denial, Denial) and denial.rule == "project"
    world.call("/project/delete", {"project_ids": ["p"]})
    assert not may(world, "n", "gpt"), "a key of a project that is gone can't be used"


ACCESS = CONFIG.replace(
    "litellm_params: {model: openai/gpt-4o-mini",
    "model_info: {access_groups: [beta]}\n    litellm_params: {model: openai/gpt-4o-mini",
)


def test_an_access_group_means_its_models() -> None:
    world = World(key("a", models=["beta"]), text=ACCESS)
    assert may(world, "a", "mini") and not may(world, "a", "gpt")
    assert world.call("/key/generate", {**MINTED, "models": ["beta"]})["models"] == ["beta"]
    refused(world.call("/key/update", {"key": digest("n"), "models": ["gamma"]}), 400, "models")
    infos = world.call("/model/info")["data"]
    assert [(i["model_name"], i["model_info"]["access_groups"]) for i in infos if i["model_name"] == "mini"] == [
        ("mini", ["beta"])
    ]
    assert "api_key" not in str(infos)
    own = world.call("/model_group/info", actor=Caller(key_sha256=digest("a")))["data"]
    assert [group["model_group"] for group in own] == ["mini"]


def settings(**parts: Any) -> str:
    import json

    return CONFIG.replace(
        "litellm_settings:", "litellm_settings:\n" + "".join(f"  {n}: {json.dumps(v)}\n" for n, v in parts.items())
    )


def test_new_keys_have_what_the_configuration_says_and_no_more_than_it_allows() -> None:
    text = settings(
        default_key_generate_params={"max_budget": 5, "models": ["gpt"]},
        upperbound_key_generate_params={"max_budget": 10, "duration": "30d", "tpm_limit": 100},
    )
    world = World(text=text)
    made = world.call("/key/generate", MINTED)
    assert (made["max_budget"], made["models"], made["tpm_limit"]) == (5, ["gpt"], 100)
    assert made["expires"] is not None, "the most it may last"
    stored = world.directory.keys[digest("n")]
    assert isinstance(stored, Key)
    other = {"token": digest("o"), "key_name": "sk-..."}
    refused(world.call("/key/generate", {**other, "max_budget": 11}), 400, "max_budget")
    refused(world.call("/key/generate", {**other, "duration": "31d"}), 400, "duration")
    refused(world.call("/key/generate", {**other, "tpm_limit": 101}), 400, "tpm_limit")
    assert world.call("/key/generate", {**other, "max_budget": 10, "duration": "30d"})["max_budget"] == 10
    for field, value in (("max_budget", 11), ("max_budget", None), ("duration", "-1"), ("tpm_limit", 101)):
        refused(world.call("/key/update", {"key": digest("o"), field: value}), 400, field)
        rotated = {"key": digest("o"), "token": digest("p"), "key_name": "sk-..."}
        refused(world.call("/key/regenerate", {**rotated, field: value}), 400, field)
    assert world.call("/key/update", {"key": digest("o"), "max_budget": 9})["max_budget"] == 9


def test_who_may_make_which_keys() -> None:
    text = settings(
        key_generation_settings={
            "team_key_generation": {"allowed_team_member_roles": ["admin"], "required_params": ["tags"]},
            "personal_key_generation": {"allowed_user_roles": ["proxy_admin"]},
        }
    )
    team = Team(
        team_id="t", members_with_roles=[{"role": "admin", "user_id": "boss"}, {"role": "user", "user_id": "u"}]
    )
    world = World(team, text=text)
    boss, user = Caller(user_id="boss"), Caller(user_id="u")
    assert isinstance(world.call("/key/generate", MINTED, actor=user), Refusal)
    refused(world.call("/key/generate", {**MINTED, "team_id": "t"}, actor=user), 400, "team_id")
    refused(world.call("/key/generate", {**MINTED, "team_id": "t"}, actor=boss), 400, "tags")
    assert world.call("/key/generate", {**MINTED, "team_id": "t", "tags": ["x"]}, actor=boss)["team_id"] == "t"
