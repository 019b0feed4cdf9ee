"""`/guardrails/report` over a real book: counts, percentiles and costs as computed by hand, each
tenant its own.
"""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest

from shared.facts import GuardrailOutcome
from tests.ledger.ledger_kit import ALICE, BOB, ROBOT, Book, Running, on, opened, refused, settled

TODAY = datetime.now(UTC).date()
YESTERDAY = TODAY - timedelta(days=1)


def outcomes(name: str, *said: tuple[str, float], cost: int = 0) -> list[GuardrailOutcome]:
    return [GuardrailOutcome(name, "pre_call", action, ms, cost) for action, ms in said]


@pytest.fixture
async def filled(ledger: Running, book: Book) -> Running:
    await book.post(
        *(settled(opened(caller=ALICE), guardrail_outcomes=outcomes("hs", ("allow", float(ms)))) for ms in range(1, 101)),
        settled(
            opened(caller=ALICE),
            guardrail_outcomes=[*outcomes("hs", ("redact", 7.0)), *outcomes("lg", ("would_block", 90.0), cost=2_000_000)],
        ),
        settled(opened(caller=BOB), guardrail_outcomes=outcomes("lg", ("error", 500.0), cost=1_000_000)),
        settled(opened(id=on(YESTERDAY), caller=BOB), guardrail_outcomes=outcomes("lg", ("allow", 10.0), cost=3_000_000)),
        settled(opened(caller=BOB)),
        refused(caller=ALICE, guardrail_outcomes=outcomes("ban", ("block", 0.5))),
    )  # fmt: skip
    return ledger


async def report(ledger: Running, key: str = "sk-admin", **query: str) -> list[dict[str, Any]]:
    status, body, _ = await ledger.get(
        "/guardrails/report", key=key, **{"start_date": str(YESTERDAY), "end_date": str(TODAY), **query}
    )
    assert status == 200, body
    return list(body["guardrails"])


def row(guardrail: str, ran: int, p50: float, p99: float, cost: float = 0.0, **more: Any) -> dict[str, Any]:
    counts = dict.fromkeys(("blocked", "redacted", "would_have_blocked", "would_have_redacted", "errors"), 0)
    return {"guardrail": guardrail, "ran": ran, **counts, "p50_ms": p50, "p99_ms": p99, "cost_usd": cost, **more}


async def test_by_guardrail(filled: Running) -> None:
    assert await report(filled) == [
        row("ban", 1, 0.5, 0.5, blocked=1),
        row("hs", 101, 50.0, 99.0, redacted=1),
        row("lg", 2, 90.0, 500.0, pytest.approx(6e-6), would_have_blocked=1, errors=1),
    ]


async def test_by_day_and_key_and_filtered(filled: Running) -> None:
    rows = await report(filled, by="day,guardrail", guardrail="lg")
    assert [(r["day"], r["guardrail"], r["ran"], r["errors"]) for r in rows] == [
        (str(YESTERDAY), "lg", 1, 0), (str(TODAY), "lg", 1, 1),
    ]  # fmt: skip
    rows = await report(filled, by="key,guardrail", team=ALICE.team_id or "")
    assert {(r["key"], r["guardrail"]) for r in rows} == {(ALICE.key_sha256, name) for name in ("ban", "hs", "lg")}
    assert await report(filled, start_date=str(YESTERDAY), end_date=str(YESTERDAY), guardrail="hs") == []


async def test_each_sees_their_own(filled: Running) -> None:
    everything = await report(filled, by="guardrail,key")
    assert {r["key"] for r in everything} == {ALICE.key_sha256, BOB.key_sha256}
    (mine,) = await report(filled, key="sk-bob", by="guardrail,key")
    assert (mine["key"], mine["ran"], mine["errors"]) == (BOB.key_sha256, 1, 1)


async def test_a_key_without_a_user_doesnt_see_what_it_did_as_somebodys(filled: Running, book: Book) -> None:
    """By the rule of every other question about calls: a key was a user's once, and isn't any
    more.
    """
    was_bobs = msgspec.structs.replace(BOB, key_sha256=ROBOT.key_sha256)
    await book.post(
        settled(opened(caller=was_bobs), guardrail_outcomes=outcomes("bobs", ("allow", 1.0))),
        settled(opened(caller=ROBOT), guardrail_outcomes=outcomes("own", ("allow", 1.0))),
    )
    assert [one["guardrail"] for one in await report(filled, key="sk-robot")] == ["own"]


def wrong() -> Iterator[tuple[dict[str, str], str]]:
    yield {"by": "color"}, "by"
    yield {"colour": "red"}, "colour"
    yield {"team": "a\x00b"}, "team"
    yield {"start_date": str(TODAY - timedelta(days=60))}, "start_date"
    yield {"start_date": str(TODAY + timedelta(days=2)), "end_date": str(TODAY)}, "start_date"


@pytest.mark.parametrize(("query", "where"), list(wrong()))
async def test_what_is_wrong_is_named(ledger: Running, query: dict[str, str], where: str) -> None:
    status, body, _ = await ledger.get("/guardrails/report", key="sk-admin", **query)
    assert status == 400 and body["error"]["param"] == where, body
