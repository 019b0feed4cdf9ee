"""Subjects: one token an entity, whatever its id; and who may use which."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared import subjects

TOKEN = re.compile(r"[A-Za-z0-9_~-]+")


@pytest.mark.parametrize("plain", ["a", "A-b_9", "0" * 64, "x" * 80])
def test_a_plain_id_is_its_own_token(plain: str) -> None:
    assert subjects.control("key", plain) == f"control.key.{plain}"


@pytest.mark.parametrize("odd", ["", "a.b", "*", ">", "a b", "ä", "x" * 81, "a\n", "~a", "a\r\nPUB x 0", "\x00", "$JS"])
def test_any_other_id_is_replaced_by_a_digest(odd: str) -> None:
    token = subjects.control("key", odd).removeprefix("control.key.")
    assert re.fullmatch(r"~[0-9a-f]{40}", token)


@given(st.text(max_size=100), st.text(max_size=100))
def test_ids_never_share_a_subject_and_never_leave_their_kind(one: str, other: str) -> None:
    subject = subjects.control("team", one)
    kind, _, token = subject.removeprefix("control.").partition(".")
    assert kind == "team" and TOKEN.fullmatch(token)
    assert (subjects.control("team", other) == subject) == (one == other)


def test_names() -> None:
    assert subjects.traffic(3) == "traffic.3"
    assert subjects.inbox_prefix("edge") == "_INBOX_edge"


def matches(pattern: str, subject: str) -> bool:
    """NATS's rule: `*` is one token, `>` one or more at the end."""
    ours, theirs = pattern.split("."), subject.split(".")
    for i, token in enumerate(ours):
        if token == ">":
            return len(theirs) > i
        if i >= len(theirs) or token not in ("*", theirs[i]):
            return False
    return len(ours) == len(theirs)


def allowed(service: str, subject: str, *, publish: bool) -> bool:
    permissions = subjects.PERMISSIONS[service]
    return any(matches(p, subject) for p in (permissions.publish if publish else permissions.subscribe))


SERVICES = ["edge", "policy", "moderation", "ledger"]


@pytest.mark.parametrize(
    ("subject", "publishers"),
    [
        ("control.key.x", {"policy"}),
        ("traffic.0", {"edge"}),
        (subjects.POLICY_DECIDE, {"edge", "ledger"}),
        (subjects.POLICY_ADMIN, {"edge"}),
        (subjects.POLICY_NOTE, {"edge", "ledger"}),
        (subjects.MODERATION_SCREEN, {"edge"}),
        (subjects.MODERATION_COUNT, {"edge", "ledger"}),
        (subjects.MODERATION_SERVICES, {"edge"}),
        ("$JS.API.STREAM.DELETE.CONTROL", set()),
        ("$JS.API.STREAM.PURGE.CONTROL", set()),
        ("$JS.API.STREAM.PURGE.TRAFFIC", {"ledger"}),
        ("$JS.API.STREAM.MSG.DELETE.CONTROL", set()),
        ("$SYS.REQ.SERVER.PING", set()),
        ("_INBOX_edge.x", {"policy", "moderation"}),
        ("_INBOX_ledger.x", {"policy", "edge", "moderation"}),
        ("edge.identity.x", {"ledger"}),
        ("_INBOX_policy.x", {"ledger"}),
        ("_INBOX_moderation.x", set()),
        ("_R_.x.y", {"policy", "moderation", "edge", "ledger"}),
        (subjects.LEDGER_SPENT, {"policy"}),
        ("feed.control.key.x", set()),
    ],
)
def test_who_may_publish(subject: str, publishers: set[str]) -> None:
    assert {service for service in SERVICES if allowed(service, subject, publish=True)} == publishers


@pytest.mark.parametrize(
    ("subject", "listeners"),
    [
        (subjects.POLICY_DECIDE, {"policy"}),
        (subjects.MODERATION_SCREEN, {"moderation"}),
        ("control.key.x", set()),  # through a JetStream consumer, into its inbox
        ("feed.control.key.x", {"edge"}),
        ("traffic.0", set()),
        ("_INBOX_edge.x", {"edge"}),
        ("_INBOX_policy.x", {"policy"}),
        ("_INBOX.x", set()),
        ("$SYS.ACCOUNT.x", set()),
    ],
)
def test_who_may_listen(subject: str, listeners: set[str]) -> None:
    assert {service for service in SERVICES if allowed(service, subject, publish=False)} == listeners


def test_a_door_is_used_by_those_who_may_publish_there_and_by_nobody_else() -> None:
    for door in subjects.DOORS:
        users = {service for service in SERVICES if allowed(service, door.name or door.subject, publish=not door.feed)}
        assert users == ({*door.users, door.owner} if door.name else set(door.users)), door


@pytest.mark.parametrize("subject", ["_INBOX_edge.a.1", "_INBOX.x", "_R_.abc.1"])
def test_an_inbox(subject: str) -> None:
    assert subjects.is_inbox(subject.encode())


@pytest.mark.parametrize(
    "subject",
    ["", "control.key.x", "$JS.API.STREAM.PURGE.CONTROL", "traffic.0", "x._INBOX_edge.1", "_R", "policy.admin"],
)
def test_no_inbox(subject: str) -> None:
    assert not subjects.is_inbox(subject.encode())


@pytest.mark.parametrize(("edge", "shard"), [("edge-0", 0), ("edge-1", 1), ("edge-5", 1), ("tollgate-edge-12", 0)])
def test_a_numbered_edge_has_the_shard_of_its_number(edge: str, shard: int) -> None:
    assert subjects.shard_of(edge, 4) == shard


def test_an_edges_shard_is_the_same_after_a_restart_and_one_there_is() -> None:
    assert {subjects.shard_of(f"host:{port}", 8) for port in range(200)} == set(range(8))
    assert subjects.shard_of("host:4000", 8) == subjects.shard_of("host:4000", 8)
    assert subjects.shard_of("anything", 1) == 0


def test_every_question_has_its_door() -> None:
    """A subject that is answered but has no row in DOORS can't be asked from another account."""
    asked = {value for name, value in vars(subjects).items() if name.startswith(("POLICY_", "MODERATION_"))}
    assert asked == {door.subject for door in subjects.DOORS if door.subject.startswith(("policy.", "moderation."))}
