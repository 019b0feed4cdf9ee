"""How long calls took is what the book says, whoever added it up, and each sees their own. On a
real PostgreSQL.
"""

import asyncio
import math
import random
from collections import defaultdict
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from services.ledger import rebuild
from services.ledger.cube import Cube
from services.ledger.latency import BOUNDS_MS
from services.ledger.latency_report import Durations
from services.ledger.rebuild import Asked
from services.ledger.retention import Terms
from tests.ledger.ledger_kit import ALICE, BOB, ROBOT, Book, Running, eventually, now_ms, on, opened, refused, settled
from tests.ledger.retention_kit import TODAY, run

YESTERDAY = TODAY - timedelta(days=1)


def took(ms: int, first: int | None = None, **fields: Any) -> Any:
    call = opened(**fields)
    return settled(call, ended_at_ms=call.at_ms + ms, first_byte_at_ms=None if first is None else call.at_ms + first)


async def fill(cube: Cube, book: Book) -> None:
    while await cube.latency.catch_up(book.owner):
        pass


async def kept(book: Book, dimension: str) -> dict[str, tuple[int, ...]]:
    rows = await book.fetch(
        "SELECT value, sum(calls)::int AS c, sum(took_ms)::int AS t, sum(first_calls)::int AS f, sum(first_ms)::int AS m"
        " FROM latency_day WHERE dimension = $1 GROUP BY value",
        dimension,
    )
    return {row["value"]: (row["c"], row["t"], row["f"], row["m"]) for row in rows}


async def test_a_bucket_is_the_same_in_the_database(book: Book) -> None:
    edges = [ms + step for ms in (0, *BOUNDS_MS) for step in (-1, 0, 1)]
    found = await book.fetch("SELECT ms, latency_bucket(ms) AS bucket FROM unnest($1::bigint[]) AS e (ms)", edges)
    assert {row["ms"]: row["bucket"] for row in found} == {ms: sum(bound <= ms for bound in BOUNDS_MS) for ms in edges}


async def test_every_answered_call_counts_once(book: Book) -> None:
    """Also one that had expired first; not what failed or was refused."""
    cube = Cube(book.database, asyncio.Event())
    late = opened(expires_at_ms=1)
    await book.post(late, opened(expires_at_ms=1))
    await book.tally.expire(await book.position(), now_ms(), now_ms(), 100)
    await fill(cube, book)
    assert await kept(book, "model") == {}
    await book.post(
        settled(late), took(100, 40, caller=BOB), took(7, caller=ROBOT), refused(), took(900, 0, model="other"),
        settled(outcome="provider_error", status=500),
    )  # fmt: skip
    await fill(cube, book)
    assert await kept(book, "model") == {"gpt": (3, 357, 1, 40), "other": (1, 900, 1, 0)}
    assert await kept(book, "user") == {"alice": (2, 1150, 1, 0), "bob": (1, 100, 1, 40)}
    assert await kept(book, "key") == {ROBOT.key_sha256: (1, 7, 0, 0)}
    assert await rebuild.run(book.database, Asked(check_only=True)) == 0


async def test_what_older_ledgers_recorded_and_added_up_is_in_it(book: Book) -> None:
    """They move the cube's position and know nothing of this one; so do the years before the
    migration.
    """
    cube = Cube(book.database, asyncio.Event())
    await book.post(*(took(100, id=on(TODAY - timedelta(days=back))) for back in (0, 1, 400)))
    await cube.catch_up(book.owner)
    await book.post(took(100))
    await cube.catch_up(book.owner)
    assert await kept(book, "model") == {}
    running = asyncio.create_task(cube.run())
    try:
        await eventually(lambda: kept(book, "model"), "the ledger's own loop adds it")
    finally:
        running.cancel()
    assert await kept(book, "model") == {"gpt": (4, 400, 0, 0)}
    assert await rebuild.run(book.database, Asked(check_only=True)) == 0


async def test_two_at_once_and_steps_of_one_batch_add_everything_once(
    book: Book, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("services.ledger.filling.STEP_ROWS_MAX", 1)
    draw = random.Random(5)
    for _ in range(8):
        await book.post(*(took(draw.randrange(3000), caller=draw.choice((ALICE, BOB))) for _ in range(3)))
    cubes = [Cube(book.database, asyncio.Event()) for _ in range(2)]
    connections = [await book.database.writer() for _ in cubes]
    try:
        for _ in range(12):
            await asyncio.gather(*(c.latency.catch_up(own) for c, own in zip(cubes, connections, strict=True)))
    finally:
        for own in connections:
            own.terminate()
    assert sum(calls for calls, *_ in (await kept(book, "user")).values()) == 24
    for each in cubes:
        await each.catch_up(book.owner)
    while await cubes[0].catch_up(book.owner):
        pass
    assert await rebuild.run(book.database, Asked(check_only=True)) == 0


async def test_it_goes_at_the_term_of_the_sums(book: Book) -> None:
    cube = Cube(book.database, asyncio.Event())
    await book.post(took(100), took(100, id=on(TODAY - timedelta(days=400))))
    await cube.catch_up(book.owner)
    await fill(cube, book)
    await run(book, Terms(spend=None, audit=None, payload=None, rollup=100), datetime.now(UTC), [])
    assert await kept(book, "model") == {"gpt": (1, 100, 0, 0)}


@pytest.fixture
async def filled(ledger: Running, book: Book) -> Running:
    await book.post(
        *(took(ms, ms // 2, caller=ALICE) for ms in range(1, 1001)),
        took(5000, caller=BOB, id=on(YESTERDAY), model="slow"), took(7000, caller=BOB, model="slow"), took(20, caller=ROBOT),
    )  # fmt: skip
    await eventually(lambda: book.value("SELECT sum(calls) = 1003 FROM latency_day WHERE dimension = 'model'"))
    return ledger


async def report(ledger: Running, key: str = "sk-admin", **query: str) -> dict[str, Any]:
    status, body, _ = await ledger.get("/latency/report", key=key, **query)
    assert status == 200, body
    return dict(body)


def shown(
    calls: int, mean: float, p50: float, p95: float, first: tuple[int, float | None] = (0, None)
) -> dict[str, Any]:
    return {
        "calls": calls, "mean_ms": mean, "p50_ms": p50, "p95_ms": p95,
        "first_byte_calls": first[0], "first_byte_mean_ms": first[1],
    }  # fmt: skip


async def test_by_day_and_model_as_counted_by_hand(filled: Running) -> None:
    found = await report(filled)
    yesterday = {"date": str(YESTERDAY), **shown(1, 5000, pytest.approx(6000), pytest.approx(6900))}
    assert found["data"][0] == yesterday
    assert found["data"][1]["date"] == str(TODAY)
    assert found["data"][1]["calls"] == 1002
    assert found["data"][1]["p50_ms"] == pytest.approx(500, rel=0.01)
    assert found["data"][1]["p95_ms"] == pytest.approx(950, rel=0.01)
    (gpt, slow) = found["models"]
    assert (gpt["model"], gpt["calls"], gpt["mean_ms"]) == ("gpt", 1001, 500.0)
    assert (gpt["first_byte_calls"], gpt["first_byte_mean_ms"]) == (1000, 250.0)
    assert slow == {"model": "slow", **shown(2, 6000, 7000, pytest.approx(9700))}
    assert found["total"]["calls"] == 1003
    assert found["calls_to_add"] == 0
    assert (await report(filled, model="slow"))["total"] == shown(2, 6000, 7000, pytest.approx(9700))


async def test_each_sees_their_own(filled: Running) -> None:
    mine = await report(filled, key="sk-bob")
    assert (mine["total"]["calls"], mine["total"]["mean_ms"], mine["models"]) == (2, 6000, [])
    assert "calls_to_add" not in mine, "it is about everybody's calls"
    robots = await report(filled, key="sk-robot")
    assert (robots["total"]["calls"], robots["total"]["mean_ms"]) == (1, 20)
    status, body, _ = await filled.get("/latency/report", key="sk-bob", model="gpt")
    assert (status, body["error"]["param"]) == (400, "model")


async def test_what_is_asked_wrongly_is_told(filled: Running) -> None:
    for wrong in ({"nonsense": "1"}, {"start_date": "2026-02-30"}, {"start_date": "2000-01-01"}, {"end_date": "x"}):
        status, body, _ = await filled.get("/latency/report", **wrong)
        assert (status, body["error"]["param"]) == (400, next(iter(wrong)))


@pytest.mark.parametrize("seed", range(5))
def test_a_percentile_is_within_its_bucket(seed: int) -> None:
    draw = random.Random(seed)
    times = sorted(int(draw.lognormvariate(6, 1.5)) for _ in range(draw.choice((1, 2, 500))))
    found, sums = Durations(), defaultdict(list)
    for ms in times:
        sums[sum(bound <= ms for bound in BOUNDS_MS)].append(ms)
    for bucket, values in sums.items():
        found.add(bucket, (len(values), sum(values), 0, 0))
    for percent in (50, 95):
        true = times[math.ceil(len(times) * percent / 100) - 1]
        bucket = sum(bound <= true for bound in BOUNDS_MS)
        low, high = (BOUNDS_MS[bucket - 1] if bucket else 0), (*BOUNDS_MS, math.inf)[bucket]
        said = found.percentile(percent)
        assert said is not None
        assert low <= said <= high, percent


def test_the_longest_have_no_end_and_nothing_has_no_percentile() -> None:
    found = Durations()
    assert found.shown() == {**dict.fromkeys(shown(0, 0, 0, 0)), "calls": 0, "first_byte_calls": 0}
    found.add(len(BOUNDS_MS), (2, 4_000_000, 0, 0))
    assert found.percentile(95) == 2_000_000
