"""Everything ends on its own term, a hold keeps it, and the book stays provable. On a real
PostgreSQL.
"""

import asyncio
import io
from collections.abc import Awaitable, Callable
from datetime import date, timedelta
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from services.ledger import cube, dump, retention, retention_run
from services.ledger.checkpoint import SigningKey
from services.ledger.checkpoints import Checkpoints, NotOurBookError
from services.ledger.cube import Cube
from services.ledger.retention import Terms
from services.policy import restore
from tests.ledger.ledger_kit import Book, Told, findings, now_ms, on, opened, post_control, settled, tamper
from tests.ledger.retention_kit import LATER, NOW, TODAY, Notes, at, days_left, fill, hold, run, tell


@pytest.fixture
def notes() -> Notes:
    return []


async def test_days_end_on_their_term_and_the_rest_is_whole(book: Book, capsys: Told, notes: Notes) -> None:
    await fill(book)
    await post_control(book, "a", "b")
    assert await run(book, Terms(), NOW, notes) == 0
    assert notes == [], "what is kept for ever is nobody's news"
    assert await run(book, Terms(spend=5), NOW, notes) == 2
    assert await days_left(book) == [0, 1, 5], "a day goes when all of it is older than the term"
    assert await findings(book, capsys) == []
    assert await book.rollups_agree()
    assert [action for action, _ in notes] == ["created", "updated"]
    drops = {drop["day"]: (drop["rows"], drop["unsound"]) for drop in notes[1][1]["drops"]}
    assert drops == {str(TODAY - timedelta(days=40)): (4, 0), str(TODAY - timedelta(days=6)): (3, 0)}
    await book.post(at(TODAY))
    assert await findings(book, capsys) == []
    assert (
        await book.value("SELECT sum(requests) FROM rollup WHERE scope = '' AND dimension = 'tag' AND value = 't40'")
        == 3
    ), "sums have a term of their own"


async def test_a_day_that_comes_back_late_ends_too(book: Book, capsys: Told, notes: Notes) -> None:
    await fill(book)
    await run(book, Terms(spend=5), NOW, notes)
    await book.post(*(at(TODAY - timedelta(days=40)) for _ in range(2)))
    assert await findings(book, capsys) == []
    assert await run(book, Terms(spend=5), NOW, notes) == 1
    assert await findings(book, capsys) == []
    assert await days_left(book) == [0, 1, 5]


async def test_rows_without_a_partition_of_their_own_age_like_the_others(
    book: Book, capsys: Told, notes: Notes
) -> None:
    early, late = opened(id=on(TODAY - timedelta(days=40)), expires_at_ms=1), opened(id=on(TODAY), expires_at_ms=1)
    await book.post(early, late)
    await book.tally.expire(await book.position(), now_ms(), now_ms(), 100)
    assert await book.value("SELECT count(*) FROM request_log_default") == 2
    await book.post(at(TODAY - timedelta(days=40)), at(TODAY))
    assert await run(book, Terms(spend=30), NOW, notes) >= 1
    assert await days_left(book) == [0]
    assert await findings(book, capsys) == []
    await book.post(settled(late))
    assert await findings(book, capsys) == []


@pytest.mark.parametrize(
    ("by", "value"), [("tag", "t40"), ("team", "team-a"), ("day", str(TODAY - timedelta(days=40)))]
)
async def test_a_hold_keeps_what_it_names_until_it_is_lifted(book: Book, notes: Notes, by: str, value: str) -> None:
    await fill(book)
    await hold(book, by, value)
    await run(book, Terms(spend=5), NOW, notes)
    assert 40 in await days_left(book)
    assert (6 in await days_left(book)) is (by == "team")
    await hold(book, by, value, after=False)
    await run(book, Terms(spend=5), NOW, notes)
    assert await days_left(book) == [0, 1, 5]


async def test_a_row_taken_before_retention_came_is_found_for_ever(book: Book, capsys: Told, notes: Notes) -> None:
    await fill(book)
    day = TODAY - timedelta(days=40)
    victim = await book.value("SELECT id FROM request_log WHERE day = $1 LIMIT 1", day)
    await tamper(book, f"DELETE FROM request_log WHERE id = '{victim}'")
    await run(book, Terms(spend=5), NOW, notes)
    found = await findings(book, capsys)
    assert len(found) == 1 and "1 rows of" in found[0] and "weren't what their batches say" in found[0]


@pytest.mark.parametrize(
    "forge", ["rows = rows - 1", "sha256 = sha256(sha256)", "day = day + 1", "spans = '{}'", "source = 'x'"]
)
async def test_a_forged_record_hides_nothing(book: Book, capsys: Told, notes: Notes, forge: str) -> None:
    await fill(book)
    await run(book, Terms(spend=5), NOW, notes)
    await tamper(book, f"UPDATE retention_drop SET {forge} WHERE rows = 4")
    assert await findings(book, capsys) != []


async def test_a_day_that_somebody_took_himself_is_no_drop(book: Book, capsys: Told, notes: Notes) -> None:
    """He knows how retention_drop is written, and its digest; but no control fact says that the day
    was due.
    """
    await fill(book)
    await run(book, Terms(spend=30), NOW, notes)
    assert await findings(book, capsys) == []

    async def silent(action: str, after: dict[str, Any]) -> None:
        pass

    await retention_run.run(book.database, Terms(spend=5), NOW, silent)
    assert [line.split(":")[0] for line in await findings(book, capsys)] == ["unannounced retention_drop n 2"]
    await tamper(book, "UPDATE retention_drop SET at_ms = 1 WHERE n = 2")
    assert [line.split(":")[0] for line in await findings(book, capsys)] == ["unannounced retention_drop n 2"]


async def test_nothing_is_dropped_that_no_checkpoint_covers(book: Book, capsys: Told, notes: Notes) -> None:
    await fill(book)

    async def note(action: str, after: dict[str, Any]) -> None:
        await tell(book, action, after)

    async def none() -> None:
        raise NotOurBookError("another key")

    with pytest.raises(NotOurBookError):
        await retention_run.run(book.database, Terms(spend=5), NOW, note, none)
    assert await days_left(book) == [0, 1, 5, 6, 40]
    key = SigningKey(Ed25519PrivateKey.generate())
    maker = Checkpoints(book.database, None, [key], 10, asyncio.Event())
    assert await retention_run.run(book.database, Terms(spend=5), NOW, note, maker.now) == 2
    await maker.now()
    assert await findings(book, capsys) == []
    await tamper(book, "DELETE FROM retention_drop WHERE n = 1")
    found = {line.split(":")[0] for line in await findings(book, capsys)}
    assert {"missing retention_drop n 1", "rewritten retention_drop n 2"} <= found


async def test_a_dropped_day_hides_no_other_row(book: Book, capsys: Told, notes: Notes) -> None:
    await fill(book)
    await run(book, Terms(spend=5), NOW, notes)
    victim = await book.value("SELECT id FROM request_log LIMIT 1")
    await tamper(book, f"DELETE FROM request_log WHERE id = '{victim}'")
    assert [line.split()[0] for line in await findings(book, capsys)] == ["missing"]


async def test_audit_rows_of_an_old_month_go_and_the_chain_goes_on(book: Book, capsys: Told, notes: Notes) -> None:
    month = TODAY.replace(day=1)
    await book.owner.fetchval(
        "SELECT ensure_partition('audit_log', $1, $2, $3)",
        f"{month:%Y%m}",
        str(month),
        str(retention.next_month(month)),
    )
    await post_control(book, "a", "b", "a", "c")
    assert await run(book, Terms(audit=365), NOW, notes) == 0
    assert await run(book, Terms(audit=365), LATER, notes) == 1
    assert await book.value("SELECT count(*) FROM audit_log") == 1, "what tells of the run"
    assert [row["n"] for row in await book.fetch("SELECT n FROM audit_kept ORDER BY n")] == [2, 3, 4, 5], (
        "the last of each"
    )
    assert await findings(book, capsys) == []
    await post_control(book, "d", "e")
    assert await findings(book, capsys) == []
    log = io.BytesIO()
    assert await dump.dump(book.database, log) == 7
    assert [entry.n for entry in restore.entries(log)] == [2, 3, 4, 5, 6, 7, 8], (
        "CONTROL can be rebuilt from what is kept"
    )
    await tamper(book, "UPDATE audit_log SET seq = 77")
    assert "changed" in {line.split()[0] for line in await findings(book, capsys)}


async def test_sums_end_on_their_term(book: Book, notes: Notes) -> None:
    await fill(book)
    sums = Cube(book.database, asyncio.Event())
    while await sums.catch_up(book.owner) or await sums.fold(book.owner, NOW):
        pass
    while await sums.latency.catch_up(book.owner):
        pass
    await run(book, Terms(rollup=365), NOW, notes)
    for table in ("spend_period", "latency_day"):
        assert await book.value(f"SELECT count(*) FROM {table}") > 0, table
    await run(book, Terms(rollup=365), LATER, notes)
    for table in (*cube.TABLES, "spend_span", "rollup", "latency_day"):
        assert await book.value(f"SELECT count(*) FROM {table}") == 0, table
    assert await days_left(book) == [0, 1, 5, 6, 40]


async def test_nothing_goes_that_nobody_is_told_of(book: Book) -> None:
    await fill(book)

    async def refuse(action: str, after: dict[str, Any]) -> None:
        raise OSError("policy is away")

    with pytest.raises(OSError, match="away"):
        await retention_run.run(book.database, Terms(spend=5), NOW, refuse)
    assert await days_left(book) == [0, 1, 5, 6, 40]


async def test_a_busy_table_is_left_for_later_and_writers_wait_a_moment_only(
    book: Book, notes: Notes, monkeypatch: pytest.MonkeyPatch
) -> None:
    await fill(book)
    for name, value in (("LOCK_TIMEOUT_MS", 100), ("PAUSE_S", 0.01), ("TRIES", 2)):
        monkeypatch.setattr(retention_run, name, value)
    async with book.owner.transaction():
        await book.owner.execute("LOCK TABLE request_log IN ACCESS SHARE MODE")
        assert await run(book, Terms(spend=5), NOW, notes) == 0
        assert len(await days_left(book)) == 5
    assert await run(book, Terms(spend=5), NOW, notes) == 2


async def test_a_row_that_comes_while_the_day_is_counted_isnt_lost(
    book: Book, capsys: Told, notes: Notes, monkeypatch: pytest.MonkeyPatch
) -> None:
    await fill(book)
    count: Callable[..., Awaitable[Any]] = retention_run._Run._count
    late = at(TODAY - timedelta(days=40), tags=["late"])

    async def counted(self: Any, day: date) -> Any:
        found = await count(self, day)
        if day == TODAY - timedelta(days=40):
            await book.post(late)
        return found

    monkeypatch.setattr(retention_run._Run, "_count", counted)
    assert await run(book, Terms(spend=5), NOW, notes) == 1
    assert 40 in await days_left(book)
    monkeypatch.undo()
    assert await run(book, Terms(spend=5), NOW, notes) == 1
    assert await findings(book, capsys) == []


async def test_autovacuum_is_kept_from_a_day_before_it_is_counted(
    book: Book, notes: Notes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It would be waited for a second with the locks of the day held; others keep theirs."""
    await fill(book)
    options: dict[date, Any] = {}
    count = retention_run._Run._count

    async def counted(self: Any, day: date) -> Any:
        for row in await book.fetch(
            "SELECT relname, reloptions FROM pg_class WHERE relname ~ '^request_log_[0-9]{8}$' AND reloptions IS NOT NULL"
        ):
            options[day] = (row["relname"], row["reloptions"])
        return await count(self, day)

    monkeypatch.setattr(retention_run._Run, "_count", counted)
    assert await run(book, Terms(spend=5), NOW, notes) == 2
    due = (TODAY - timedelta(days=40), TODAY - timedelta(days=6))
    assert options == {day: (f"request_log_{day:%Y%m%d}", ["autovacuum_enabled=false"]) for day in due}
