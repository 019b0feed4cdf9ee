"""Invitations: who may make one, how long its link is good, and what becomes of the user."""

from typing import Any

import msgspec
import pytest

from services.policy.commands import run_vouched
from services.policy.commands.invitations import LASTS_MS
from services.policy.commands.sessions import PASSWORD
from services.policy.plan import Call, Plan
from shared.entities import Invitation, Team, User
from shared.entities import readers as fields
from shared.errors import Refusal
from shared.facts import Caller
from tests.policy.world import NOW, World, digest, key

SEALED = ["key-id", "d3JhcHBlZA==", "ZGF0YQ=="]
LINK = digest("link")
ACCEPT = {"token": LINK, "user_id": "ann", "sealed": SEALED}


@pytest.fixture
def w() -> World:
    roles = [{"role": "admin", "user_id": "boss"}, {"role": "user", "user_id": "ann"}]
    return World(
        User(user_id="ann", user_email="Ann@Example.com", user_role="proxy_admin", teams=["t"]),
        User(user_id="boss"),
        Team(team_id="t", members_with_roles=roles),
    )


def invited(w: World, **more: Any) -> Any:
    return w.call("/invitation/new", {"user_id": "ann", "token": LINK, "key_name": "sk-...abcd"}, **more)


def vouched(w: World, route: str, body: dict[str, Any], now_ms: int = NOW) -> Any:
    call = Call(w.directory, {}, body, Caller(), now_ms, w.new_id, w.catalog, route)
    plan = run_vouched(call)
    if not isinstance(plan, Plan):
        return plan
    for each in plan.changes:
        w.facts.append(w.fold(each.kind, each.entity_id, each.after, each.action, each.before))
    return plan.answer


def test_a_link_is_good_once(w: World) -> None:
    row = invited(w)
    assert (row["id"], row["user_id"], row["is_accepted"], row["accepted_at"]) == (LINK, "ann", False, None)
    assert vouched(w, "/sso/invitation", {"token": LINK})["user_id"] == "ann"
    w.hold(key("session", user_id="ann", metadata={fields.SESSION: "password"}), key("own", user_id="ann"))
    assert vouched(w, "/sso/accept", ACCEPT) == {"user_id": "ann"}
    assert w.directory.users["ann"].sealed == {PASSWORD: SEALED}
    assert digest("session") not in w.directory.keys, "who was signed in as them is so no longer"
    assert digest("own") in w.directory.keys
    assert w.call("/invitation/info", query={"invitation_id": LINK})["is_accepted"] is True
    for route, body in (("/sso/invitation", {"token": LINK}), ("/sso/accept", ACCEPT)):
        again = vouched(w, route, body)
        assert isinstance(again, Refusal) and again.status == 404


@pytest.mark.parametrize("late", [LASTS_MS, LASTS_MS + 1])
def test_a_link_ends(w: World, late: int) -> None:
    invited(w)
    assert isinstance(vouched(w, "/sso/accept", ACCEPT, NOW + late), Refusal)
    assert w.directory.users["ann"].sealed == {}
    assert vouched(w, "/sso/accept", ACCEPT, NOW + LASTS_MS - 1) == {"user_id": "ann"}


def test_only_the_newest_link_is_good(w: World) -> None:
    invited(w)
    w.call("/invitation/new", {"user_id": "ann", "token": digest("newer")})
    assert isinstance(vouched(w, "/sso/invitation", {"token": LINK}), Refusal)
    assert list(w.directory.tables["invitation"]) == [digest("newer")]


@pytest.mark.parametrize("how", ["/invitation/update", "/invitation/delete", "/user/delete"])
def test_a_link_that_was_taken_back_is_good_for_nothing(w: World, how: str) -> None:
    invited(w)
    bodies = {"/invitation/update": {"invitation_id": LINK, "is_accepted": True}, "/user/delete": {"user_ids": ["ann"]}}
    assert not isinstance(w.call(how, bodies.get(how, {"invitation_id": LINK})), Refusal)
    assert isinstance(vouched(w, "/sso/accept", ACCEPT), Refusal)
    if how == "/user/delete":
        w.call("/user/new", {"user_id": "ann", "auto_create_key": False})
        assert isinstance(vouched(w, "/sso/accept", ACCEPT), Refusal), "of somebody else of the same name"
        assert w.directory.users["ann"].sealed == {}


def test_an_accepted_link_does_not_come_back(w: World) -> None:
    invited(w)
    vouched(w, "/sso/accept", ACCEPT)
    again = w.call("/invitation/update", {"invitation_id": LINK, "is_accepted": False})
    assert isinstance(again, Refusal) and again.param == "is_accepted"


@pytest.mark.parametrize(
    "who",
    [
        Caller(user_id="boss", role="internal_user"),
        Caller(user_id="ann", role="org_admin"),
        Caller(user_id="v", role="proxy_admin_viewer"),
        Caller(),
    ],
)
def test_who_has_the_link_is_the_user_so_proxy_admins_alone_make_one(w: World, who: Caller) -> None:
    """A team's admin would become the proxy admin who is in their team."""
    refused = invited(w, actor=who)
    assert isinstance(refused, Refusal) and refused.status == 403
    invited(w)
    for route, body in (
        ("/invitation/update", {"invitation_id": LINK, "is_accepted": True}),
        ("/invitation/delete", {"invitation_id": LINK}),
    ):
        assert isinstance(w.call(route, body, actor=who), Refusal)
    assert isinstance(w.call("/invitation/info", query={"invitation_id": LINK}, actor=who), Refusal) == (
        who.role != "proxy_admin_viewer"
    )


def test_nobody_can_put_a_password_beside(w: World) -> None:
    """`sealed` is what edges send alone, and a password in the clear is taken nowhere."""
    for route in ("/user/new", "/user/update"):
        refused = w.call(route, {"user_id": "boss" if route == "/user/update" else "x", "password": "a good long one"})
        assert isinstance(refused, Refusal) and refused.param == "password"
    w.call("/user/update", {"user_id": "boss", "sealed": {PASSWORD: SEALED}, "user_alias": "Boss"})
    assert w.directory.users["boss"].sealed == {} and "sealed" not in w.directory.users["boss"].extra
    bulk = w.call("/user/bulk_update", {"users": [{"user_id": "boss", "password": "a good long one"}]})
    assert bulk["failed_updates"] == 1
    invited(w)
    vouched(w, "/sso/accept", ACCEPT)
    for route, query in (("/user/info", {"user_id": "ann"}), ("/v2/user/info", {"user_id": "ann"}), ("/user/list", {})):
        assert b"d3JhcHBlZA" not in msgspec.json.encode(w.call(route, query=query))


def test_signing_in_by_id_and_by_address(w: World) -> None:
    nobody = {"user_id": None, "sealed": None}
    assert vouched(w, "/sso/password", {"username": "ann"}) == nobody, "no password yet"
    invited(w)
    vouched(w, "/sso/accept", ACCEPT)
    for name in ("ann", "ann@example.com"):
        found = vouched(w, "/sso/password", {"username": name})
        assert (found["user_id"], found["user_role"], found["sealed"]) == ("ann", "proxy_admin", SEALED)
    assert vouched(w, "/sso/password", {"username": "bob"}) == nobody
    w.call("/user/delete", {"user_ids": ["ann"]})
    assert vouched(w, "/sso/password", {"username": "ann"}) == nobody
    session = {"user_id": "ann", "known": True, "token": digest("s"), "lasts_ms": 60_000}
    gone = vouched(w, "/sso/session", session)
    assert isinstance(gone, Refusal) and "ann" not in w.directory.users, "who is gone doesn't come back by a session"


def test_no_session_begins_by_a_password_that_was_replaced_meanwhile(w: World) -> None:
    """Digests take their time: who set another password ended all sessions before this one."""
    invited(w)
    vouched(w, "/sso/accept", ACCEPT)
    seen = vouched(w, "/sso/password", {"username": "ann"})["sealed"]
    session = {"user_id": "ann", "known": True, "sealed": seen, "token": digest("s"), "lasts_ms": 60_000}
    w.call("/invitation/new", {"user_id": "ann", "token": digest("newer")})
    vouched(w, "/sso/accept", {**ACCEPT, "token": digest("newer"), "sealed": ["key-id", "d3I=", "YW5vdGhlcg=="]})
    assert isinstance(vouched(w, "/sso/session", session), Refusal) and digest("s") not in w.directory.keys
    now = vouched(w, "/sso/password", {"username": "ann"})["sealed"]
    assert vouched(w, "/sso/session", {**session, "sealed": now})["user_id"] == "ann"


def test_odd_invitations(w: World) -> None:
    for body in (
        {"user_id": "nobody", "token": LINK},
        {"token": LINK},
        {"user_id": "ann"},
        {"user_id": 7, "token": LINK},
    ):
        refused = w.call("/invitation/new", body)
        assert isinstance(refused, Refusal) and refused.status == 400, body
    invited(w)
    assert isinstance(invited(w), Refusal), "one secret, one link"
    w.hold(key("taken"))
    assert isinstance(w.call("/invitation/new", {"user_id": "ann", "token": digest("taken")}), Refusal)
    for sent in ("nobody", "", None, 5):
        assert isinstance(w.call("/invitation/delete", {"invitation_id": sent}), Refusal)
    for sealed in (None, "text", [1, 2, 3]):
        assert isinstance(vouched(w, "/sso/accept", {**ACCEPT, "sealed": sealed}), Refusal)
    w.hold(Invitation(id=digest("orphan"), user_id="nobody", expires_at_ms=NOW + 9))
    assert isinstance(vouched(w, "/sso/invitation", {"token": digest("orphan")}), Refusal)
