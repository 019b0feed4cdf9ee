"""Periods of the cube that are over: folded into coarser sums and running totals, undone by a call
that comes late, made again. On a real PostgreSQL.
"""

import asyncio
import time
from datetime import UTC, date, datetime, timedelta

import asyncpg
import pytest

from services.ledger.cube import FOLD_PAUSE_S_MAX, POSITION, Cube
from services.ledger.filling import hold
from services.ledger.migrate import EARLIER_TEXTS, migrate
from tests.ledger.ledger_kit import Book
from tests.ledger.retention_kit import at
from tests.ledger.test_ledger_cube import cube as cube
from tests.ledger.test_ledger_cube import fill, same


async def test_what_is_over_is_folded_beside_the_steps_and_again_after_a_late_call(book: Book, cube: Cube) -> None:
    old = datetime.now(UTC).date() - timedelta(days=70)
    await book.post(at(old, tags=["a"]))
    running = asyncio.create_task(cube.run())
    months = "SELECT coalesce(sum(requests), 0) FROM spend_period WHERE grain = 'month'"
    try:
        for calls in (1, 2):
            async with asyncio.timeout(30):
                while await book.value(months) != calls:
                    await asyncio.sleep(0.05)
            assert await book.value("SELECT count(*) FROM spend_span WHERE folded") == 3
            if calls == 1:
                await book.post(at(old, tags=["late"]))
    finally:
        running.cancel()
    await same(book)


async def test_a_month_is_not_made_from_a_day_that_changed_while_it_waited(book: Book, cube: Cube) -> None:
    """Another has the sums (a rebuild, say), and undoes a day when the month was already next."""
    await book.post(at(datetime.now(UTC).date() - timedelta(days=70), tags=["a"]))
    await fill(book, cube)
    for _ in ("day", "five"):
        assert await cube.fold(book.owner, datetime.now(UTC))
    other = await book.database.writer()
    async with other.transaction():
        await hold(other, POSITION)
        folding = asyncio.create_task(cube.fold(book.owner, datetime.now(UTC)))
        waiting = "SELECT count(*) FROM pg_locks WHERE NOT granted AND pid = $1"
        async with asyncio.timeout(10):
            while not await other.fetchval(waiting, book.owner.get_server_pid()):
                await asyncio.sleep(0.02)
        await other.execute("UPDATE spend_span SET folded = false WHERE grain = 'day'")
        await other.execute("UPDATE spend_period SET requests = 7")
    await other.close()
    assert await folding
    while await cube.fold(book.owner, datetime.now(UTC)):
        pass
    assert await book.value("SELECT count(*) FROM spend_span WHERE folded") == 3
    await same(book)


async def test_a_period_that_cannot_be_folded_does_not_keep_the_others(
    book: Book, cube: Cube, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And a failure that passes is over in seconds, not in an hour."""
    today = datetime.now(UTC).date()
    for back in (71, 70):
        await book.post(at(today - timedelta(days=back), tags=["a"]))
    await fill(book, cube)
    bad, good = [row["at"] for row in await book.fetch("SELECT at FROM spend_span WHERE grain = 'day' ORDER BY at")]
    refusing = "ALTER TABLE spend_period_{0} ADD CONSTRAINT refusing CHECK (at <> '{1}')"
    await book.owner.execute(refusing.format(f"{bad:%Y%m}", bad.isoformat()))
    folded = "SELECT count(*) FROM spend_span WHERE grain = 'day' AND folded AND at = $1"
    for _ in range(2):
        monkeypatch.setattr(cube, "_no_fold_before", 0.0)
        with pytest.raises(asyncpg.CheckViolationError):
            while await cube.fold(book.owner, datetime.now(UTC)):
                pass
        assert not await cube.fold(book.owner, datetime.now(UTC)), "at once it isn't tried again"
    assert [await book.value(folded, day) for day in (bad, good)] == [0, 1]
    await book.owner.execute(f"ALTER TABLE spend_period_{bad:%Y%m} DROP CONSTRAINT refusing")
    assert cube._no_fold_before - time.monotonic() < FOLD_PAUSE_S_MAX / 10
    monkeypatch.setattr(cube, "_no_fold_before", 0.0)
    while await cube.fold(book.owner, datetime.now(UTC)):
        pass
    assert await book.value("SELECT count(*) FROM spend_span WHERE NOT folded") == 0
    await same(book)


async def test_days_that_were_folded_before_get_all_their_tags_together(book: Book, cube: Cube) -> None:
    """Migration 0015, with data, on a database whose 0013 was of the earlier text."""
    today = datetime.now(UTC).date()
    for back in (71, 70, 69):
        await book.post(at(today - timedelta(days=back), tags=["a", "b"]), at(today - timedelta(days=back), tags=[]))
    await fill(book, cube)
    while await cube.fold(book.owner, datetime.now(UTC)):
        pass
    await book.post(at(today - timedelta(days=69), tags=["late"]))
    await fill(book, cube)
    kept = "SELECT t.* FROM spend_tag t JOIN spend_span s USING (at) WHERE t.grain = 'every' AND s.grain = 'day' AND folded ORDER BY at"
    before = await book.fetch(kept)
    assert [row["requests"] for row in before] == [3, 3], "a call counts once for each of its tags"
    await book.owner.execute(
        "DROP TABLE spend_running; DROP FUNCTION spend_running_end CASCADE;"
        "DELETE FROM spend_tag WHERE grain NOT IN ('day', 'five', 'month'); ALTER TABLE spend_tag DROP CONSTRAINT spend_tag_grain_check;"
        "ALTER TABLE spend_tag ADD CONSTRAINT spend_tag_grain_check CHECK (grain IN ('day', 'five', 'month'));"
        "DELETE FROM schema_migration WHERE name IN ('0015_all_tags.sql', '0018_running_totals.sql')"
    )
    for name, texts in EARLIER_TEXTS.items():
        await book.owner.execute("UPDATE schema_migration SET sha256 = $2 WHERE name = $1", name, *texts)
    assert await migrate(book.database) == ["0015_all_tags.sql", "0018_running_totals.sql"]
    assert await book.fetch(kept) == before
    assert await migrate(book.database) == []
    await same(book)
    while await cube.fold(book.owner, datetime.now(UTC)):
        pass
    assert [row["requests"] for row in await book.fetch(kept)] == [3, 3, 4]
    await same(book)


async def test_a_running_total_ends_when_anything_in_it_changes(book: Book, cube: Cube) -> None:
    """Also by an older ledger, which knows nothing of them and only says that a period isn't folded
    any more.
    """
    year = datetime.now(UTC).year - 1
    days = [date(year, month, day) for month in (1, 2, 3) for day in (2, 8, 14)]
    for day in days:
        await book.post(at(day, tags=["a"]))

    async def totals() -> set[str]:
        while await cube.fold(book.owner, datetime.now(UTC)):
            pass
        return await kept()

    async def kept() -> set[str]:
        rows = await book.fetch("SELECT grain, (at AT TIME ZONE 'UTC')::date AS day FROM spend_running")
        return {f"{row['grain']} {row['day']:%m-%d}" for row in rows}

    await fill(book, cube)
    every = await totals()
    assert every == {f"month_to 0{m}-{day}" for m in (1, 2, 3) for day in ("01", "06", "11")} | {
        f"year_to 0{m}-01" for m in (1, 2, 3)
    }
    sums = "SELECT grain, requests FROM spend_tag WHERE grain LIKE '%_to' AND extract(month FROM at AT TIME ZONE 'UTC') = 2 ORDER BY at, grain"
    assert [tuple(row.values()) for row in await book.fetch(sums)] == [
        ("month_to", 1), ("year_to", 6), ("month_to", 2), ("month_to", 3),
    ]  # fmt: skip
    before = {
        "month_to 02-01",
        "year_to 01-01",
        *(name for name in every if name.startswith(("month_to 01", "month_to 03"))),
    }
    await book.post(at(date(year, 2, 9), tags=["late"]))  # a day that there wasn't
    await fill(book, cube)
    assert await kept() == before
    await same(book)
    assert await totals() == every
    await book.post(at(date(year, 2, 8), tags=["late"]))
    await fill(book, cube)
    assert await kept() == before
    assert await totals() == every
    await same(book)
    await book.owner.execute("DELETE FROM spend_span WHERE at < $1", datetime(year, 2, 1, tzinfo=UTC))
    assert await kept() == {name for name in every if name.startswith(("month_to 02", "month_to 03"))}, "retention"
