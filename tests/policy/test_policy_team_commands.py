"""Each command on teams: LiteLLM's shapes, what lands in the facts, and every refusal."""

import pytest

from shared.entities import Team
from shared.facts import Caller
from tests.policy.world import NOW, World, digest, key, refusal, secret

A, B = digest("a"), digest("b")


def test_team_new_is_the_pages_sample() -> None:
    world = World()
    answer = world.call("/team/new", {"max_budget": 2})
    sample = {"admins": [], "members": [], "max_budget": 2.0, "models": [], "blocked": False}
    assert {name: answer[name] for name in sample} == sample
    assert answer["members_with_roles"] == [{"role": "admin", "user_id": "default_user_id"}]
    assert world.facts[0].action == "created" and world.facts[0].entity_id == answer["team_id"]
    assert world.directory.teams[answer["team_id"]].max_budget_picousd == 2 * 10**12


def test_team_ids() -> None:
    world = World()
    assert world.call("/team/new", {"team_id": "red team/β"})["team_id"] == "red team/β"
    answer = world.call("/team/new", {"team_id": "red team/β"})
    assert refusal(answer)[:2] == (400, "bad_request")
    assert answer.message == "Team id = red team/β already exists. Please use a different team id."
    assert world.call("/team/new", {"team_id": ""})["team_id"].startswith("id-")
    assert refusal(world.call("/team/new", {"team_id": "litellm-dashboard"}))[2] == "team_id"


TEAM_WRONG = [
    ("team_id", 1), ("max_budget", -1), ("max_budget", float("nan")), ("models", "x"), ("members_with_roles", [1]),
    ("members_with_roles", [{"role": "king", "user_id": "u"}]), ("members_with_roles", [{"role": "user"}]),
    ("members_with_roles", [{"role": "user", "user_id": 1}]), ("metadata", {"tags": [1]}), ("tags", [1]), ("admins", "x"),
    ("team_alias", 1), ("blocked", "x"), ("model_aliases", {"a": 1}), ("tpm_limit", "x"),
]  # fmt: skip


@pytest.mark.parametrize(("field", "value"), TEAM_WRONG)
def test_wrong_team_values_name_their_field(field: str, value: object) -> None:
    world = World(Team(team_id="t"))
    for route in ("/team/new", "/team/update"):
        status, _, param = refusal(
            world.call(route, {"team_id": "t" if route == "/team/update" else "n", field: value})
        )
        assert status == 400 and param is not None and param.split(".")[0] == field
    assert world.facts == []


def test_team_update_block_and_info() -> None:
    world = World(Team(team_id="t", models=["gpt"]), key("a", team_id="t"), key("b", team_id="t"))
    answer = world.call("/team/update", {"team_id": "t", "models": ["mini"], "tags": ["x"], "members": ["u"]})
    assert answer["team_id"] == "t" and answer["data"]["models"] == ["mini"]
    assert answer["data"]["metadata"] == {"tags": ["x"]}
    assert world.call("/team/block", {"team_id": "t"})["blocked"] is True
    assert world.decide(secret("a"), model="mini").refusal.code == "blocked_team"
    assert world.call("/team/unblock", {"team_id": "t"})["blocked"] is False
    assert [(f.kind, f.action) for f in world.facts] == [
        ("user", "created"), ("team", "updated"), ("team", "blocked"), ("team", "unblocked"),
    ]  # fmt: skip
    info = world.call("/team/info", query={"team_id": "t"})
    assert info["team_id"] == "t" and info["team_info"]["models"] == ["mini"] and len(info["keys"]) == 2
    own = world.call("/team/info", actor=Caller(key_sha256=A, team_id="t"))
    assert [k["token"] for k in own["keys"]] == [A], "a key of the team doesn't see its neighbours"
    stranger = Caller(key_sha256=digest("x"), user_id="v")
    assert refusal(world.call("/team/info", query={"team_id": "t"}, actor=stranger))[:2] == (403, "not_yours")
    for route in ("/team/update", "/team/block"):
        assert refusal(world.call(route, {"team_id": "no"}))[:2] == (404, "entity_not_found")
        assert refusal(world.call(route, {}))[:2] == (400, "bad_request")


def test_team_list_shows_ones_own() -> None:
    world = World(Team(team_id="t", members=["u"]), Team(team_id="s", organization_id="o"))
    assert [t["team_id"] for t in world.call("/team/list")] == ["t", "s"]
    assert [t["team_id"] for t in world.call("/team/list", query={"organization_id": "o"})] == ["s"]
    assert [t["team_id"] for t in world.call("/team/list", query={"user_id": "u"})] == ["t"]
    assert [t["team_id"] for t in world.call("/team/list", actor=Caller(user_id="u"))] == ["t"]
    assert world.call("/team/list", actor=Caller()) == []


def test_team_pages() -> None:
    world = World(*(Team(team_id=f"t{i}", team_alias=f"name {i}") for i in range(5)))
    page = world.call("/v2/team/list", query={"page": "2", "page_size": "2"})
    assert [team["team_id"] for team in page["teams"]] == ["t2", "t3"]
    assert (page["total"], page["page"], page["page_size"], page["total_pages"]) == (5, 2, 2, 3)
    assert [t["team_id"] for t in world.call("/v2/team/list", query={"team_alias": "name 4"})["teams"]] == ["t4"]
    assert world.call("/v2/team/list", actor=Caller())["teams"] == [] == world.call("/team/available")


def test_deleting_a_team_deletes_its_keys_first() -> None:
    world = World(Team(team_id="t"), Team(team_id="s"), key("a", team_id="t", key_alias="x"), key("b", team_id="s"))
    assert refusal(world.call("/team/delete", {"team_ids": ["t", "no"]}))[:2] == (404, "entity_not_found")
    assert world.facts == []
    assert world.call("/team/delete", {"team_ids": ["t", "t"]}) == {"deleted_teams": ["t"]}
    assert [(f.kind, f.action) for f in world.facts] == [("key", "deleted"), ("alias", "deleted"), ("team", "deleted")]
    assert set(world.directory.keys) == {B} and set(world.directory.teams) == {"s"}
    for body in ({}, {"team_ids": []}, {"team_ids": "t"}, {"team_ids": ["x"] * 101}):
        assert refusal(world.call("/team/delete", body))[0] == 400


def test_a_team_made_again_does_not_bring_keys_back() -> None:
    """A key generated while its team was being deleted is refused, and stays refused when the name
    is used again.
    """
    world = World(key("orphan", team_id="t"))
    assert world.decide(secret("orphan"), model="gpt").refusal.code == "unknown_team"
    world.call("/team/new", {"team_id": "t"})
    assert [(fact.kind, fact.action) for fact in world.facts] == [("key", "deleted"), ("team", "created")]
    assert world.decide(secret("orphan"), model="gpt").refusal.code == "unknown_key"


def test_a_team_of_a_name_that_was_deleted_takes_no_key_of_the_old_one_along() -> None:
    """One was rotated for it in the instant that it was deleted: the old key and the new are
    there.
    """
    old = key("old", team_id="s", replaced_by=digest("new"), expires_at_ms=NOW + 1000)
    w = World(old, key("new", team_id="s"))
    answer = w.call("/team/new", {"team_id": "s"})
    assert answer["team_id"] == "s" and set(w.directory.keys) == set()
    assert sorted(fact.action for fact in w.facts) == ["created", "deleted", "deleted"], "each once"
