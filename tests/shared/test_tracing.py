"""W3C Trace Context: what is a traceparent, and what we say of ourselves."""

import pytest

from shared import tracing

GIVEN = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


@pytest.mark.parametrize(
    ("value", "read"),
    [
        (GIVEN, GIVEN),
        (f" {GIVEN} ", GIVEN),
        ("cc" + GIVEN[2:] + "-what-comes-later", GIVEN),
        ("cc" + GIVEN[2:], GIVEN),
        (GIVEN + "-more", None),
        ("ff" + GIVEN[2:], None),
        (GIVEN.upper(), None),
        (GIVEN[:-1], None),
        (f"00-{'0' * 32}-00f067aa0ba902b7-01", None),
        (f"00-4bf92f3577b34da6a3ce929d0e0e4736-{'0' * 16}-01", None),
        ("", None),
        (None, None),
        (5, None),
        (GIVEN + "\n", GIVEN),
        (GIVEN + "\nx", None),
    ],
)
def test_what_is_one(value: object, read: str | None) -> None:
    assert tracing.read(value) == read


def test_a_call_is_a_span_below_the_callers() -> None:
    id = "0199a1c2-7000-7000-8000-000000000001"
    told = tracing.child(GIVEN, id)
    assert tracing.read(told) == told and tracing.ids(told) == (tracing.ids(GIVEN)[0], tracing.span_id(id))
    assert told.endswith("-01") and tracing.span_id(id) == tracing.span_id(id.replace("-", ""))
    assert tracing.headers(GIVEN, "a=b", id) == [("traceparent", told), ("tracestate", "a=b")]
    assert tracing.headers(GIVEN, None, id) == [("traceparent", told)] and tracing.headers(None, "a=b", id) == []


def test_a_state_goes_on_as_it_is_or_not_at_all() -> None:
    assert tracing.state("rojo=00f067aa0ba902b7,congo=t61rcWkgMzE") == "rojo=00f067aa0ba902b7,congo=t61rcWkgMzE"
    assert [tracing.state(each) for each in (None, "", "x" * 513, "a=b\r\nx: y", "ä=b")] == [None] * 5
