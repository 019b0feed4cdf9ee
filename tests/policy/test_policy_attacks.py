"""What somebody tries who wants more than they were given: another's rights by a key of theirs,
what stays after they left, what isn't theirs to see, and what is there at all."""

from typing import Any

import pytest

from shared.entities import Team, User
from shared.errors import Refusal
from shared.facts import Caller
from shared.grant import Denial, Grant
from tests.policy.attacks_kit import FRESH, PLAIN, by, world
from tests.policy.world import World, digest, key, secret

VICTIMS = ("root", "watcher", "victim", "nobody-yet")
TAKEN: dict[str, tuple[str, str, dict[str, Any]]] = {
    "a key made for them": ("boss", "/key/generate", {**FRESH, "team_id": "t"}),
    "by an organisation's admin": ("org-admin", "/key/generate", {**FRESH, "organization_id": "o"}),
    "a key that is said to be theirs": ("boss", "/key/update", {"key": digest("team")}),
    "a rotated one": ("boss", "/key/regenerate", {**FRESH, "key": digest("team")}),
    "a team's keys": ("boss", "/team/key/bulk_update", {"team_id": "t", "key_ids": [digest("team")]}),
}


@pytest.mark.parametrize("victim", VICTIMS)
@pytest.mark.parametrize("how", TAKEN)
def test_a_key_in_anothers_name_has_none_of_their_rights(how: str, victim: str) -> None:
    """Not today, and not once they have more of them."""
    w = world()
    actor, route, body = TAKEN[how]
    body = {**body, "update_fields": {"user_id": victim}} if "bulk" in route else {**body, "user_id": victim}
    answer = by(w, actor, route, body)
    assert not isinstance(answer, Refusal), answer
    taken = secret("fresh" if "token" in body else "team")
    w.hold(User(user_id="nobody-yet", user_role="proxy_admin"))

    grant = w.decide(taken, model="gpt")
    assert isinstance(grant, Grant) and (grant.caller.user_id, grant.caller.role) == (victim, PLAIN), (
        "it calls in their name"
    )
    for asked in ("/key/list", "/spend/logs", "/team/list"):
        seen = w.decide(taken, asked)
        assert isinstance(seen, Grant) and (seen.caller.user_id, seen.caller.role) == (None, PLAIN)
    for asked in ("/team/new", "/user/list", "/audit", "/model/new", "/organization/new"):
        seen = w.decide(taken, asked)
        assert isinstance(seen, Denial) or seen.caller.user_id is None, asked


def test_who_takes_their_own_key_back_has_their_rights_again() -> None:
    w = world()
    w.hold(User(user_id="member", user_role="proxy_admin_viewer"))
    by(w, "boss", "/key/regenerate", {**FRESH, "key": digest("team")})
    assert w.decide(secret("fresh"), "/key/list").caller.user_id is None
    w.call("/key/update", {"key": digest("fresh"), "metadata": {"x": 1}})
    assert w.decide(secret("fresh"), "/key/list").caller.user_id is None, (
        "an admin's change says nothing of who has the secret"
    )
    body = {"token": digest("mine"), "key_name": "sk-...cdef", "key": digest("fresh")}
    assert not isinstance(by(w, "member", "/key/regenerate", body), Refusal)
    caller = w.decide(secret("mine"), "/key/list").caller
    assert (caller.user_id, caller.role) == ("member", "proxy_admin_viewer")


def test_a_secret_in_its_grace_period_gains_nothing_by_its_users_rotation() -> None:
    w = world()
    w.hold(User(user_id="member", user_role="proxy_admin"))
    by(w, "boss", "/key/regenerate", {**FRESH, "key": digest("team")})
    body = {"token": digest("mine"), "key_name": "sk-...cdef", "key": digest("fresh"), "grace_period": "1h"}
    assert not isinstance(by(w, "member", "/key/regenerate", body), Refusal)
    assert w.decide(secret("mine"), "/key/list").caller.role == "proxy_admin"
    held_by_boss = w.decide(secret("fresh"), "/key/list").caller
    assert (held_by_boss.user_id, held_by_boss.role) == (None, PLAIN)


def test_a_key_that_is_said_to_be_ones_own_is_still_in_the_hands_of_who_had_it() -> None:
    w = world()
    w.hold(
        User(user_id="boss", user_role="proxy_admin_viewer"), key("of-boss", team_id="t", user_id="boss"),
        key("made", user_id="boss", team_id="t"),
    )  # fmt: skip
    by(w, "boss", "/key/update", {"key": digest("team"), "user_id": "boss"})
    assert w.decide(secret("team"), "/key/list").caller.role == PLAIN, "a member has its secret"
    by(w, "boss", "/key/update", {"key": digest("made"), "user_id": "root"})
    w.call(
        "/key/update",
        {"key": digest("made"), "user_id": "watcher"},
        actor=Caller(user_id="watcher", role="proxy_admin"),
    )
    assert w.decide(secret("made"), "/key/list").caller.role == PLAIN, "boss has its secret"
    assert w.decide(secret("of-boss"), "/key/list").caller.role == "proxy_admin_viewer"
    w.call("/key/update", {"key": digest("own"), "user_id": "root"})
    assert w.decide(secret("own"), "/key/list").caller.role == "proxy_admin", "what a proxy admin gives is given"


def test_nobody_says_of_a_key_that_it_is_their_own_by_a_field() -> None:
    w = world()
    by(
        w,
        "boss",
        "/key/generate",
        {**FRESH, "team_id": "t", "user_id": "root", "delegated": False, "extra": {"delegated": False}},
    )
    assert w.decide(secret("fresh"), "/key/list").caller.role == PLAIN
    by(w, "boss", "/key/update", {"key": digest("fresh"), "delegated": None})
    assert w.decide(secret("fresh"), "/key/list").caller.role == PLAIN


def test_the_first_key_of_a_user_made_by_an_organisations_admin_is_no_way_to_what_they_become() -> None:
    w = world()
    by(w, "org-admin", "/user/new", {**FRESH, "user_id": "new", "organizations": ["o"]})
    w.call("/user/update", {"user_id": "new", "user_role": "proxy_admin"})
    caller = w.decide(secret("fresh"), "/user/list").caller
    assert (caller.user_id, caller.role) == (None, PLAIN)


@pytest.mark.parametrize("route", ["/key/info", "/key/update", "/key/delete", "/key/regenerate"])
def test_who_made_a_teams_key_and_left_has_no_more_to_do_with_it(route: str) -> None:
    named = {"keys": [digest("service")]} if "delete" in route else {**FRESH, "key": digest("service")}
    more: dict[str, Any] = {"query": {"key": digest("service")}} if "info" in route else {}
    w = world()
    answer = by(w, "former", route, named, **more)
    assert isinstance(answer, Refusal) and answer.status == 403 and not w.facts
    w.hold(Team(team_id="t", members_with_roles=[{"role": "user", "user_id": "former"}]))
    assert not isinstance(by(w, "former", route, named, **more), Refusal), "while in the team they may"


def test_who_made_a_key_that_was_given_to_another_has_no_more_to_do_with_it() -> None:
    w = world()
    w.hold(key("given", user_id="victim", created_by="member"))
    for route in ("/key/update", "/key/regenerate"):
        assert isinstance(by(w, "member", route, {**FRESH, "key": digest("given")}), Refusal)


@pytest.mark.parametrize("member", [{"user_id": "victim"}, {"user_email": "victim@example.com"}])
def test_who_makes_somebody_a_member_learns_no_more_of_them_than_who_they_are(member: dict[str, str]) -> None:
    w = world()
    answer = by(w, "boss", "/team/member_add", {"team_id": "t", "member": {"role": "user", **member}})
    assert [each["user_id"] for each in answer["updated_users"]] == ["victim"]
    assert "of victim" not in str(answer) and "foreign" not in str(answer)
    w.call("/organization/member_add", {"organization_id": "o", "member": {"user_id": "victim"}})
    for route in ("/user/info", "/v2/user/info"):
        seen = by(w, "org-admin", route, query={"user_id": "victim"})
        assert not isinstance(seen, Refusal)
        assert "of victim" not in str(seen) and "foreign" not in str(seen), "only of what they administer"
    assert "of victim" not in str(by(w, "org-admin", "/user/list"))
    assert "of victim" in str(by(w, "victim", "/user/info")), "they themselves see all of it"


@pytest.mark.parametrize(
    ("route", "there", "not_there"),
    [
        ("/key/update", {"key_alias": "foreign"}, {"key_alias": "nothing"}),
        ("/key/delete", {"key_aliases": ["foreign"]}, {"key_aliases": ["nothing"]}),
        ("/key/regenerate", {**FRESH, "key": digest("foreign")}, {**FRESH, "key": digest("nothing")}),
        ("/project/update", {"project_id": "foreign"}, {"project_id": "nothing"}),
        ("/key/generate", {**FRESH, "project_id": "foreign"}, {**FRESH, "project_id": "nothing"}),
        ("/key/generate", {**FRESH, "project_id": "nobodys"}, {**FRESH, "project_id": "nothing"}),
        ("/key/generate", {**FRESH, "team_id": "foreign"}, {**FRESH, "team_id": "nothing"}),
        (
            "/key/generate",
            {**FRESH, "organization_id": "o", "team_id": "foreign", "permissions": {"x": True}},
            {**FRESH, "organization_id": "o", "team_id": "nothing", "permissions": {"x": True}},
        ),
        ("/key/update", {"key": digest("own"), "team_id": "foreign"}, {"key": digest("own"), "team_id": "nothing"}),
        ("/team/member_add", {"team_id": "foreign", "member": {}}, {"team_id": "nothing", "member": {}}),
    ],
)
def test_nobody_learns_what_is_there(route: str, there: dict[str, Any], not_there: dict[str, Any]) -> None:
    w = world()
    for who in ("member", "org-admin"):
        one, other = by(w, who, route, there), by(w, who, route, not_there)
        assert isinstance(one, Refusal) and one == other and one.status == 403, who


def test_an_organisations_admin_puts_no_key_into_anothers_team() -> None:
    w = world()
    for route, body in (
        ("/key/generate", {**FRESH, "organization_id": "o", "team_id": "foreign"}),
        ("/key/update", {"key": digest("team"), "team_id": "foreign"}),
        ("/key/regenerate", {**FRESH, "key": digest("team"), "team_id": "foreign"}),
    ):
        assert isinstance(by(w, "org-admin", route, body), Refusal) and not w.facts


def test_an_organisations_admin_learns_not_what_other_organisations_there_are() -> None:
    w = world()
    one, other = (
        by(w, "org-admin", "/organization/info", query={"organization_id": each}) for each in ("other", "nothing")
    )
    assert one == other and one.status == 403
    said = by(w, "org-admin", "/policy/explain", {"route": "/team/new", "method": "POST"})
    assert "control.organization.other" not in str(said) and said["settings"] == {}


@pytest.mark.parametrize(
    "where", [{"allowed_passthrough_routes": ["/x"]}, {"metadata": {"allowed_passthrough_routes": ["/x"]}}]
)
def test_endpoints_that_are_only_for_the_listed_are_listed_by_admins(where: dict[str, Any]) -> None:
    w = world()
    for route, body in (("/key/update", {"key": digest("own"), **where}), ("/key/generate", {**FRESH, **where})):
        assert by(w, "member", route, body).param == "allowed_passthrough_routes"
    assert by(w, "boss", "/team/update", {"team_id": "t", **where}).param == "allowed_passthrough_routes"
    assert not isinstance(w.call("/key/update", {"key": digest("own"), **where}), Refusal)
    assert w.decide(secret("own"), "/pass-through").passthrough_routes == ["/x"], "wherever it was set, it acts"


@pytest.mark.parametrize("route", ["/messages", "/responses", "/audio/speech", "/pass-through", "/chat/completions"])
def test_who_may_only_look_calls_no_model(route: str) -> None:
    w = World(User(user_id="watcher", user_role="proxy_admin_viewer"), key("a", user_id="watcher"))
    denial = w.decide(secret("a"), route, "gpt")
    assert isinstance(denial, Denial) and denial.rule == "role"
