"""Findings become a verdict by the stated precedence."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.moderation.inspection import Finding, replaced
from services.moderation.verdict import Result, compose, decide, merge
from shared.requests import Redaction

BLOCK = Result("b", [Finding(block=True, message="no", status=403)], 1.0)
REDACT = Result("r", [Finding(redactions=[Redaction(0, 1, 3, "[X]")])], 2.0)
ERROR = Result("e", None, 3.0)
ALLOW = Result("a", [], 4.0)
RANK = ["allow", "redact", "error", "block"]


def test_nothing_asked_is_allowed() -> None:
    verdict = decide([], "pre_call")
    assert (verdict.action, verdict.outcomes, verdict.redactions) == ("allow", [], [])


@pytest.mark.parametrize("results", list(itertools.product([BLOCK, REDACT, ERROR, ALLOW], repeat=3)))
def test_the_strongest_word_wins(results: tuple[Result, ...]) -> None:
    verdict = decide(list(results), "pre_call")
    assert verdict.action == max((i.action for i in results), key=RANK.index)
    assert [(o.name, o.action, o.duration_ms) for o in verdict.outcomes] == [
        (i.name, i.action, i.duration_ms) for i in results
    ]
    assert all(o.stage == "pre_call" for o in verdict.outcomes)


def test_of_two_that_block_the_first_speaks() -> None:
    other = Result("c", [Finding(block=True, message="other", status=400)])
    assert decide([ALLOW, BLOCK, other], "pre_call").message == "no"
    assert decide([other, BLOCK], "pre_call").message == "other"
    assert decide([ALLOW, BLOCK], "pre_call").status == 403


def test_a_block_carries_no_redactions() -> None:
    assert decide([REDACT, BLOCK], "pre_call").redactions == []


def test_an_error_still_carries_the_redactions_of_the_others() -> None:
    """Where `on_error` lets the text pass, it passes redacted."""
    verdict = decide([ERROR, REDACT], "pre_call")
    assert (verdict.action, verdict.redactions) == ("error", [Redaction(0, 1, 3, "[X]")])


def test_overlapping_spans_become_one_and_neighbours_stay_two() -> None:
    assert merge([Redaction(0, 5, 9, "B"), Redaction(0, 2, 6, "A"), Redaction(0, 9, 10, "C")]) == [
        Redaction(0, 2, 9, "A"),
        Redaction(0, 9, 10, "C"),
    ]
    assert merge([Redaction(0, 2, 3, "short"), Redaction(0, 2, 6, "long")]) == [Redaction(0, 2, 6, "long")]


spans = st.builds(
    lambda text, start, length: Redaction(text, start, start + length, f"{start}"),
    st.integers(0, 3),
    st.integers(0, 40),
    st.integers(1, 15),
)


@given(st.lists(spans, max_size=30))
def test_merged_spans_are_sorted_apart_and_cover_the_same(redactions: list[Redaction]) -> None:
    def covered(some: list[Redaction]) -> set[tuple[int, int]]:
        return {(r.text, i) for r in some for i in range(r.start, r.end)}

    merged = merge(redactions)
    assert covered(merged) == covered(redactions)
    for one, next_one in itertools.pairwise(merged):
        assert (one.text, one.end) <= (next_one.text, next_one.start)
    assert merge(merged) == merged
    assert merge(redactions[::-1]) == merged or len({(r.text, r.start, r.end) for r in redactions}) < len(redactions)


def texts_of(length: int) -> str:
    return "".join(chr(97 + i % 26) for i in range(length))


edits = st.lists(
    st.tuples(st.integers(0, 30), st.integers(1, 8), st.sampled_from(["", "[X]", "RE"])).map(
        lambda e: Redaction(0, e[0], e[0] + e[1], e[2])
    ),
    max_size=5,
).map(merge)


@given(edits, edits)
def test_two_rounds_of_redactions_are_one_of_the_first_text(first: list[Redaction], then: list[Redaction]) -> None:
    """Where no later span touches an earlier replacement: the very same text. Where one does:
    nothing hidden comes back.
    """
    text = texts_of(40)
    middle = replaced(text, first)
    then = [r for r in then if r.end <= len(middle)]
    both = compose(first, then)
    assert both == merge(both)
    touched, shift = False, 0
    for r in first:
        at = r.start + shift
        shift += len(r.replacement) - (r.end - r.start)
        touched = touched or any(t.start < at + len(r.replacement) and t.end > at for t in then)
    hidden = {i for r in first for i in range(r.start, r.end)}
    assert hidden <= {i for r in both for i in range(r.start, r.end)}
    inside = any(r.start < at_ < r.end for r in first for at_ in ())
    if not touched and not inside and all(r.replacement for r in first):
        assert replaced(text, both) == replaced(middle, then)
