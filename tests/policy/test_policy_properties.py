"""Generated junk: every command answers with a plan of valid facts or a 4xx, and a refusal changes
nothing.
"""

from typing import Any

import msgspec
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from services.policy.admin import ANSWER_BYTES_MAX
from services.policy.commands import COMMANDS
from services.policy.plan import Plan
from shared.entities import KINDS, Team
from shared.errors import Refusal
from shared.facts import Caller
from tests.policy.world import World, digest, key

NAMES = sorted(
    {*(name for kind in KINDS.values() for name in (*kind.fields, *kind._ours)), "team_ids", "member", "role", "x"}
)
KNOWN = ["t", "s", "prod", digest("a"), digest("b"), digest("c"), "30d", "-1", "gpt", "*", "default", ""]

scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(max_size=20),
    st.sampled_from(KNOWN),
    st.binary(max_size=3),
)
values = st.recursive(
    scalars,
    lambda inner: st.one_of(
        st.lists(inner, max_size=4), st.dictionaries(st.text(max_size=8) | st.sampled_from(NAMES), inner, max_size=4)
    ),
    max_leaves=12,
)
bodies = st.dictionaries(st.sampled_from(NAMES) | st.text(max_size=10), values, max_size=8)
queries = st.dictionaries(
    st.sampled_from(
        ["key", "team_id", "page", "size", "sort_by", "sort_order", "status", "user_id", "search", "key_hash"]
    ),
    st.text(max_size=12) | st.sampled_from([*KNOWN, "1", "10", "asc", "active", "true"]),
)
actors = st.sampled_from([
    Caller(key_sha256=digest("a"), user_id="u", role="proxy_admin"),
    Caller(key_sha256=digest("a"), user_id="u", team_id="t"),
    Caller(),
])  # fmt: skip


def world() -> World:
    return World(Team(team_id="t", members=["u"]), Team(team_id="s"), key("a", key_alias="prod", team_id="t"), key("b"))


def state(w: World) -> Any:
    d = w.directory
    return {kind: dict(table) for kind, table in d.tables.items()}, dict(d._seqs)


def check(route: str, body: dict[str, Any], query: dict[str, str], actor: Caller) -> None:
    w = world()
    before = state(w)
    plan = w.plan(route, body, query=query, actor=actor)
    assert state(w) == before, "a command changed the directory itself"
    if isinstance(plan, Refusal):
        assert 400 <= plan.status < 500 and plan.message
        return
    assert isinstance(plan, Plan)
    assert len(msgspec.json.encode(plan.answer)) < ANSWER_BYTES_MAX
    subjects = [change.subject for change in plan.changes]
    assert len(set(subjects)) == len(subjects), "one fact a subject in a batch"
    for change in plan.changes:
        assert change.before is not None or change.after is not None
        if change.after is not None:
            over_the_wire = msgspec.json.decode(msgspec.json.encode(change.after))
            assert msgspec.convert(over_the_wire, KINDS[change.kind].struct) == msgspec.convert(
                change.after, KINDS[change.kind].struct
            )
    w.call(route, body, query=query, actor=actor)
    owners = [k.key_alias for k in w.directory.keys.values() if k.key_alias is not None]
    assert len(set(owners)) == len(owners), "two keys with one alias"
    assert all(w.directory.alias_owner(alias) is not None for alias in owners), "an alias without its reservation"


fast = settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])


@fast
@given(st.sampled_from(sorted(COMMANDS)), bodies, queries, actors)
def test_any_command_with_junk(route: str, body: dict, query: dict, actor: Caller) -> None:
    check(route, body, query, actor)


@fast
@given(bodies)
def test_generate_with_junk(body: dict) -> None:
    check("/key/generate", {**body, "token": digest("c"), "key_name": "sk-..."}, {}, Caller(role="proxy_admin"))


@fast
@given(bodies)
def test_updates_with_junk(body: dict) -> None:
    check("/key/update", {**body, "key": digest("a")}, {}, Caller(role="proxy_admin"))
    check("/team/update", {**body, "team_id": "t"}, {}, Caller(role="proxy_admin"))


@fast
@given(st.text(max_size=30) | st.none(), st.text(max_size=30), st.text(max_size=30), st.text(max_size=5))
def test_decide_with_junk(credential: str | None, route: str, model: str, shape: str) -> None:
    w = world()
    for name in (route, "/chat/completions"):
        w.decide(credential, name, model, credential_shape=shape)


@fast
@given(st.lists(st.text("ab*\n", max_size=3), min_size=1, max_size=4), st.text("ab\n", max_size=8))
def test_patterns_agree_with_a_plain_regex(pieces: list[str], name: str) -> None:
    import re

    from services.policy.model_access import _matches

    pattern = "*".join([*pieces, ""])
    expected = re.fullmatch(".*".join(map(re.escape, pattern.split("*"))), name, re.S) is not None
    assert _matches(pattern, name) == expected
