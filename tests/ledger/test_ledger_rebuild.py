"""Every sum is what the rows say, or is put right beside a running ledger. On a real PostgreSQL."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

import asyncpg
import pytest
from nats.aio.client import Client

from services.ledger import rebuild
from services.ledger.cube import POSITION, Cube
from services.ledger.filling import hold
from services.ledger.lock import LOCK_SPACE
from services.ledger.rebuild import Asked
from tests.ledger.ledger_kit import Book, Told, eventually, now_ms, opened, publish, refused, running, settled
from tests.ledger.retention_kit import at
from tests.ledger.servers import Nats

TODAY = datetime.now(UTC).date()


async def cubed(book: Book) -> None:
    cube = Cube(book.database, asyncio.Event())
    while await cube.catch_up(book.owner) or await cube.fold(book.owner, datetime.now(UTC)):
        pass
    while await cube.latency.catch_up(book.owner):
        pass


@pytest.fixture
async def full(book: Book) -> AsyncIterator[Book]:
    late = opened(expires_at_ms=1, tags=["late"])
    await book.post(late)
    await book.tally.expire(await book.position(), now_ms(), now_ms(), 100)
    await cubed(book)
    await book.post(settled(late), refused(tags=["x"]), settled(opened(price=None)))
    for back in (0, 1, 40):
        await book.post(*(at(TODAY - timedelta(days=back), tags=[f"t{back}", "all"]) for _ in range(3)))
    await cubed(book)
    yield book


async def sums(book: Book) -> dict[str, list[tuple[object, ...]]]:
    tables = {
        "rollup": "scope, dimension, day, value",
        "spend_hourly": "at, tags, tag, grp",
        "spend_tag": "grain, at, tag",
        "spend_tag_team": "at, tag, team",
        "spend_tag_team_span": "grain, at, tag, team",
        "spend_period": "grain, at, grp",
        "spend_span": "grain, at",
        "spend_running": "grain, at",
        "spend_group": "id",
        "latency_day": "dimension, value, day, bucket",
    }
    return {
        table: [tuple(row.values()) for row in await book.fetch(f"SELECT * FROM {table} ORDER BY {keys}")]
        for table, keys in tables.items()
    }


async def test_a_book_whose_sums_are_right_has_no_difference(full: Book, capsys: Told) -> None:
    assert await rebuild.run(full.database, Asked(check_only=True)) == 0
    await full.post(settled())  # the cube hasn't got it, and is compared with what it has
    assert await rebuild.run(full.database, Asked(check_only=True)) == 0


@pytest.mark.parametrize(
    ("change", "differences"),
    [
        ("UPDATE rollup SET requests = requests + 1 WHERE dimension = 'total'", 3),
        ("DELETE FROM rollup WHERE dimension = 'tag'", 8),
        ("UPDATE spend_calls SET spend_picousd = spend_picousd - 5 WHERE requests = 3", None),
        ("DELETE FROM spend_calls WHERE counts = 0", None),
        ("UPDATE spend_tag_team SET requests = requests + 1", None),
        ("DELETE FROM spend_tag", None),
        ("UPDATE spend_tag SET failures = 7 WHERE grain = 'month'", None),
        ("UPDATE spend_tag_team_span SET failures = 7 WHERE grain = 'five'", None),
        ("UPDATE spend_period SET failures = 7 WHERE grain = 'day'", None),
        ("DELETE FROM spend_period", None),
        ("UPDATE spend_tag SET failures = 7 WHERE grain = 'month_to'", None),
        ("UPDATE spend_tag_team_span SET failures = 7 WHERE grain = 'year_to'", None),
        ("UPDATE spend_period SET failures = 7 WHERE grain = 'month_to'", None),
        ("DELETE FROM spend_span", None),
        ("TRUNCATE spend_calls, spend_tag, spend_tag_team, spend_tag_team_span, spend_period, spend_span", None),
        (
            "INSERT INTO spend_calls SELECT at, grp, '{99}', gen_random_uuid(), 0, 1, 1, 0, 0, 0, 0, 0, 0, 0, 7 FROM spend_calls LIMIT 1",
            None,
        ),
        ("DELETE FROM spend_group", None),
        ("UPDATE latency_day SET took_ms = took_ms + 1 WHERE dimension = 'model'", 3),
        ("DELETE FROM latency_day WHERE dimension = 'user'", 3),
        (
            "INSERT INTO latency_day SELECT dimension, 'nobody', day, bucket, 1, 1, 0, 0 FROM latency_day WHERE dimension = 'user'",
            3,
        ),
        ("UPDATE spend_group SET team_id = 'somebody else'", None),
    ],
)
async def test_whatever_sum_is_wrong_is_told_and_put_right(
    full: Book, capsys: Told, change: str, differences: int | None
) -> None:
    before = await sums(full)
    await full.owner.execute(change)
    capsys.readouterr()
    assert await rebuild.run(full.database, Asked(check_only=True)) == 1
    told = capsys.readouterr().out
    if differences is not None:
        assert f"{differences} sums differ" in told
    assert await sums(full) != before, "checking changes nothing"
    assert await rebuild.run(full.database) == 0
    assert await rebuild.run(full.database, Asked(check_only=True)) == 0
    await cubed(full)
    assert await sums(full) == before


async def test_it_goes_on_where_it_was_stopped(full: Book, monkeypatch: pytest.MonkeyPatch) -> None:
    await full.owner.execute("DELETE FROM rollup")
    done: list[object] = []
    day = rebuild._Rebuild._day

    async def killed(self: rebuild._Rebuild, which: object) -> None:
        if len(done) == 1:
            raise asyncpg.ConnectionDoesNotExistError("killed")
        done.append(which)
        await day(self, which)

    monkeypatch.setattr(rebuild._Rebuild, "_day", killed)
    with pytest.raises(asyncpg.ConnectionDoesNotExistError):
        await rebuild.run(full.database)
    done.append("stopped")
    assert await rebuild.run(full.database) == 0
    assert [one for one in done if done.count(one) > 1] == [], "no day is done twice"
    assert len(done) == 4
    monkeypatch.undo()
    assert await rebuild.run(full.database, Asked(check_only=True)) == 0
    assert await full.value("SELECT count(*) FROM rebuild_position") == 0


async def test_days_whose_rows_are_gone_stay(full: Book) -> None:
    before = await full.spend("tag", "t40")
    await full.owner.execute(
        "INSERT INTO retention_drop (at_ms, source, day, rows) VALUES (1, 'request_log', $1, 3)",
        TODAY - timedelta(days=40),
    )
    await full.owner.execute(
        f"ALTER TABLE request_log DETACH PARTITION request_log_{TODAY - timedelta(days=40):%Y%m%d}"
    )
    assert await rebuild.run(full.database) == 0
    assert await full.spend("tag", "t40") == before


async def test_two_at_once_are_one(full: Book, capsys: Told) -> None:
    await full.owner.execute("SELECT pg_advisory_lock($1, $2)", LOCK_SPACE, rebuild.LOCK)
    assert await rebuild.run(full.database) == 2
    assert "one is running" in capsys.readouterr().err


async def test_recorders_do_not_wait_while_the_cube_is_compared(full: Book) -> None:
    await full.owner.execute("UPDATE rollup SET requests = requests + 1")
    other = await full.database.writer()
    async with other.transaction():
        await hold(other, POSITION)
        rebuilding = asyncio.create_task(rebuild.run(full.database))
        waiting = "SELECT count(*) FROM pg_locks JOIN pg_stat_activity USING (pid) WHERE NOT granted AND datname = current_database()"
        async with asyncio.timeout(8):  # less than anybody waits for a lock
            while not await other.fetchval(waiting):
                await asyncio.sleep(0.02)
            await full.post(at(TODAY - timedelta(days=40), tags=["all"]))
    await other.close()
    assert await rebuilding == 0
    assert await rebuild.run(full.database, Asked(check_only=True)) == 0


async def test_beside_a_ledger_that_records(nats_server: Nats, client: Client, book: Book) -> None:
    """Sums are wrong, rows keep coming, and nothing that was added meanwhile is lost or counted
    twice.
    """
    async with running(nats_server.url, book.url, batch_messages_max=2):
        sending = asyncio.create_task(_send(client))
        while not sending.done():
            await book.owner.execute("UPDATE rollup SET requests = requests + 1 WHERE dimension = 'tag'")
            await book.owner.execute("UPDATE spend_calls SET requests = requests - 1")
            assert await rebuild.run(book.database) == 0
        await sending

        async def recorded() -> bool:
            return (await book.spend())[0] == 400

        await eventually(recorded)
    assert await rebuild.run(book.database) == 0
    assert await rebuild.run(book.database, Asked(check_only=True)) == 0
    assert await book.spend("tag", "app") == (400, 400 * 13_500_000)


async def _send(client: Client) -> None:
    for _ in range(40):
        await publish(client, *(settled() for _ in range(10)))
