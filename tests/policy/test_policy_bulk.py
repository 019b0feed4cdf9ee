"""Many of one change in one call: each item stands or falls by itself."""

from shared.entities import Team, User
from shared.facts import Caller
from tests.policy.world import World, digest, key, refusal

OWNER = Caller(user_id="u")


def test_of_many_keys_each_stands_or_falls_by_itself() -> None:
    world = World(key("a", user_id="u", key_alias="taken"), key("b", user_id="u"), key("c"))
    items = [
        {"key": digest("a"), "metadata": {"x": 1}}, {"key": digest("b"), "key_alias": "taken"}, {"key": digest("b"), "models": ["gpt"]},
        {"key": digest("b"), "models": ["mini"]}, {"key": digest("c"), "max_budget": 1}, {"key": digest("nobody")}, {"max_budget": 1},
    ]  # fmt: skip
    answer = world.call("/key/bulk_update", {"keys": items}, actor=OWNER)
    assert [each["key"] for each in answer["successful_updates"]] == [digest("a"), digest("b")]
    assert answer["successful_updates"][1]["key_info"]["models"] == ["gpt"]
    reasons = [each["failed_reason"] for each in answer["failed_updates"]]
    assert answer["total_requested"] == 7 and len(reasons) == 5
    for reason, part in zip(
        reasons, ("already exists", "another item", "not allowed", "not allowed", "must name"), strict=True
    ):
        assert part in reason, reason
    assert [each["key_info"] is None for each in answer["failed_updates"]] == [False, False, True, True, True]
    assert {fact.entity_id for fact in world.facts} == {digest("a"), digest("b")}
    assert refusal(world.call("/key/bulk_update", {"keys": []}))[2] == "keys"


def test_many_users_and_many_members() -> None:
    world = World(User(user_id="u"), User(user_id="v"), Team(team_id="t"))
    answer = world.call("/user/bulk_update", {"all_users": True, "user_updates": {"max_budget": 3}})
    assert (answer["total_requested"], answer["successful_updates"], answer["failed_updates"]) == (2, 2, 0)
    assert world.directory.users["v"].max_budget_picousd == 3 * 10**12
    wrong = [{"user_id": "u", "user_role": "king"}, {"user_id": "w"}]
    results = world.call("/user/bulk_update", {"users": wrong})["results"]
    assert [each["success"] for each in results] == [False, False] and "user_role" in results[0]["error"]
    members = [{"role": "user", "user_id": "u"}, {"role": "king", "user_id": "v"}, {"role": "user", "user_id": "u"}, 3]
    answer = world.call("/team/bulk_member_add", {"team_id": "t", "members": members, "max_budget_in_team": 2})
    assert [each["success"] for each in answer["results"]] == [True, False, False, False]
    assert world.directory.teams["t"].members_with_roles == [{"role": "user", "user_id": "u", "max_budget_in_team": 2}]
    answer = world.call("/team/bulk_member_add", {"team_id": "t", "all_users": True})
    assert [each["user_id"] for each in answer["results"]] == ["v"] and answer["successful_additions"] == 1
