"""A grant applied to one request: the table of what comes out."""

import itertools
import random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.admission import permit
from shared.errors import Refusal
from shared.facts import Caller
from shared.grant import Ask, Candidate, Grant, Permit, Rules, draw_order, merge_tags

NOW = 1_800_000_000_000


def granted(**fields: Any) -> Grant:
    return Grant(Caller(), "/chat/completions", "m", 7, ["control.key.x"], **fields)


def applied(
    grant: Grant, tags: list[str] | None = None, metadata: dict[str, Any] | None = None, now_ms: int = NOW
) -> Permit:
    result = permit(grant, Ask(tags or [], metadata or {}), now_ms, lambda: 0.5)
    assert isinstance(result, Permit), result
    return result


@pytest.mark.parametrize(
    ("grant", "tags", "code"),
    [
        ({}, [], None),
        ({"expires_at_ms": NOW + 1}, [], None),
        ({"expires_at_ms": NOW}, [], "expired_key"),
        ({"expires_at_ms": NOW - 1}, [], "expired_key"),
        ({"expires_at_ms": 0}, [], "expired_key"),
        ({"rules": Rules(reject_clientside_tags=True)}, [], None),
        ({"rules": Rules(reject_clientside_tags=True)}, ["a"], "clientside_tags_rejected"),
        ({"rules": Rules(reject_clientside_tags=True), "tags": ["k"]}, [], None),
        ({"rules": Rules(reject_clientside_tags=True), "expires_at_ms": NOW}, ["a"], "expired_key"),
    ],
)
def test_permit_or_refusal(grant: dict[str, Any], tags: list[str], code: str | None) -> None:
    result = permit(granted(**grant), Ask(tags, {}), NOW, lambda: 0.5)
    assert (result.code if isinstance(result, Refusal) else None) == code


@pytest.mark.parametrize(
    ("own", "asked", "merged"),
    [
        ([], [], []),
        (["k"], [], ["k"]),
        ([], ["r"], ["r"]),
        (["k", "t"], ["r"], ["r", "k", "t"]),
        (["k", "t"], ["t", "r", "t"], ["t", "r", "k"]),
    ],
)
def test_tags_of_request_key_and_team(own: list[str], asked: list[str], merged: list[str]) -> None:
    assert applied(granted(tags=own), asked).tags == merged


def test_the_request_s_metadata_goes_over_the_key_s_and_the_grant_stays_as_it_was() -> None:
    grant = granted(spend_logs_metadata={"a": 1, "b": {"x": 1}}, tags=["k"])
    permit = applied(grant, ["r"], {"b": 2, "c": 3})
    assert permit.spend_logs_metadata == {"a": 1, "b": 2, "c": 3}
    assert (grant.spend_logs_metadata, grant.tags) == ({"a": 1, "b": {"x": 1}}, ["k"])
    assert applied(grant).spend_logs_metadata == grant.spend_logs_metadata


def candidate(name: str, weight: float = 1.0, order: int = 0) -> Candidate:
    return Candidate(name, "openai", name, None, weight, order)


def test_candidates_go_by_order_first() -> None:
    some = [candidate("late", 100, 2), candidate("first", 0.001, -1), candidate("mid", 5, 0)]
    for seed in range(20):
        drawn = draw_order(some, random.Random(seed).random)
        assert [c.deployment_id for c in drawn] == ["first", "mid", "late"]


def test_equal_candidates_are_drawn_by_weight() -> None:
    draw = random.Random(1).random
    some = [candidate("a", 1), candidate("b", 3)]
    firsts = [draw_order(some, draw)[0].deployment_id for _ in range(8000)]
    assert 0.73 < firsts.count("b") / 8000 < 0.77


def test_a_candidate_without_weight_comes_last() -> None:
    draw = random.Random(1).random
    for some in itertools.permutations([candidate("none", 0), candidate("some", 0.5), candidate("more", 1e6)]):
        assert draw_order(list(some), draw)[-1].deployment_id == "none"


@given(
    st.lists(st.tuples(st.floats(0, 1e12), st.integers(-3, 3)), max_size=8),
    st.floats(0, 1, exclude_max=True),
)
def test_every_candidate_is_tried_once_whatever_is_drawn(some: list[tuple[float, int]], drawn: float) -> None:
    candidates = [candidate(str(i), weight, order) for i, (weight, order) in enumerate(some)]
    result = applied(granted(candidates=candidates))
    assert sorted(c.deployment_id for c in result.candidates) == sorted(c.deployment_id for c in candidates)
    ordered = draw_order(candidates, lambda: drawn)
    assert [c.order for c in ordered] == sorted(c.order for c in candidates)


@given(st.lists(st.text(max_size=3)), st.lists(st.text(max_size=3)))
def test_merged_tags_are_a_union_in_order(first: list[str], then: list[str]) -> None:
    merged = merge_tags(first, then)
    assert set(merged) == {*first, *then}
    assert len(merged) == len(set(merged))
    assert merged[: len(set(first))] == list(dict.fromkeys(first))
