"""What a member of a team has of their own there: limits, spend, keys; and that it ends with
them.
"""

from typing import Any

from shared.entities import Team, User
from shared.errors import Refusal
from shared.facts import Caller
from tests.policy.world import World, digest, key, secret

BOSS, MEMBER = Caller(user_id="boss"), Caller(user_id="member")
PATH = {"team_id": "t", "user_id": "member"}
RESET = "/team/{team_id}/member/{user_id}/reset_spend"


def world() -> World:
    member = {"role": "user", "user_id": "member", "max_budget_in_team": 5.0, "rpm_limit": 3}
    w = World(
        Team(
            team_id="t",
            team_alias="T",
            members_with_roles=[{"role": "admin", "user_id": "boss"}, member],
            extra={"team_member_budget": 2.0},
        ),
        User(user_id="member", user_email="m@example.com", teams=["t"]),
        key("in", team_id="t", user_id="member", key_alias="in", previous_tokens=[digest("was")]),
        key("other", team_id="other", user_id="member"),
        key("personal", user_id="member"),
        key("bosses", team_id="t", user_id="boss"),
    )
    w.spent = {digest("in"): 3 * 10**12, digest("was"): 10**12, digest("personal"): 9 * 10**12}
    return w


def reset(w: World, actor: Caller, to: Any, path: dict[str, str] = PATH) -> Any:
    return w.call(RESET, {"reset_to": to}, actor=actor, params=path)


def test_what_a_member_spent_in_the_team_is_set_and_stays_set() -> None:
    w = world()
    assert reset(w, BOSS, 1) == {
        "team_id": "t",
        "user_id": "member",
        "spend": 1.0,
        "previous_spend": 4.0,
        "max_budget": 5.0,
    }
    w.spent[digest("in")] += 10**12
    assert reset(w, BOSS, 0)["previous_spend"] == 2.0, "counted from what it was set to"
    w.call("/team/member_update", {"team_id": "t", "user_id": "member", "rpm_limit": 9})
    assert reset(w, BOSS, 0)["previous_spend"] == 0.0, "another change of the member leaves it"
    plan = w.plan("/team/{team_id}/members/me", params={"team_id": "t"}, actor=MEMBER)
    (shown,) = plan.spend
    assert set(shown.values) == {digest("in"), digest("was")}
    assert shown.offset_picousd == -5 * 10**12


def test_nobody_sets_their_own_spend_or_more_than_it_is() -> None:
    w = world()
    assert reset(w, BOSS, 0, {"team_id": "t", "user_id": "boss"}).status == 403
    assert reset(w, MEMBER, 0).status == 403
    for wrong in (5, -1, None, "x", float("nan")):
        assert reset(w, BOSS, wrong).param == "reset_to"
    assert reset(w, BOSS, 0, {"team_id": "t", "user_id": "nobody"}).status == 404
    assert not w.facts


def test_a_members_own_limits_go_and_the_teams_hold_again() -> None:
    w = world()
    answer = w.call("/team/{team_id}/member/{user_id}/reset_budget", {}, params=PATH, actor=BOSS)
    assert (answer["max_budget"], answer["budget_source"]) == (2.0, "team_default")
    assert w.directory.teams["t"].members_with_roles[1] == {"role": "user", "user_id": "member"}


def test_who_they_are_in_a_team_is_theirs_to_ask() -> None:
    w = world()
    row = w.call("/team/{team_id}/members/me", params={"team_id": "t"}, actor=MEMBER)
    assert row == {
        "user_id": "member", "team_id": "t", "team_alias": "T", "role": "user", "user_email": "m@example.com", "spend": None,
        "budget_id": None, "litellm_budget_table": {"max_budget": 5.0, "tpm_limit": None, "rpm_limit": 3},
    }  # fmt: skip
    for actor, team in ((Caller(user_id="somebody"), "t"), (MEMBER, "other"), (MEMBER, "nothing")):
        refused = w.call("/team/{team_id}/members/me", params={"team_id": team}, actor=actor)
        assert isinstance(refused, Refusal) and refused.status == 404, "there or not"
    assert w.call("/team/{team_id}/members/me", params={"team_id": "t"}, actor=Caller(team_id="t")).status == 400


def test_who_leaves_a_team_leaves_their_keys_of_it_behind() -> None:
    w = world()
    w.call("/team/member_delete", {"team_id": "t", "user_id": "member"}, actor=BOSS)
    assert [(f.kind, f.action) for f in w.facts] == [
        ("key", "deleted"), ("alias", "deleted"), ("user", "updated"), ("team", "updated"),
    ]  # fmt: skip
    assert w.decide(secret("in"), model="gpt").refusal.code == "unknown_key"
    for name in ("personal", "bosses"):
        assert w.decide(secret(name), model="gpt").caller.key_sha256 == digest(name)


def test_who_is_added_again_before_their_leaving_is_wholly_known_is_written_again() -> None:
    """A replica folds fact by fact: it may have seen the team without them, and not yet them
    without the team.
    """
    w = World(Team(team_id="t"), User(user_id="ann", teams=["t"]))
    plan = w.plan("/team/member_add", {"team_id": "t", "member": {"role": "user", "user_id": "ann"}})
    assert {each.subject for each in plan.changes} == {"control.user.ann", "control.team.t"}, "so one of the two loses"
    assert [each.after["teams"] for each in plan.changes if each.kind == "user"] == [["t"]]
