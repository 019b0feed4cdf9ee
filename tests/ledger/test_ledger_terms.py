"""Retention end to end, four hundred days from now, by a ledger's own clock; and a large day that
goes while others write. On real parts.
"""

import asyncio
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from nats.aio.client import Client

from services.ledger import app as app_module
from services.ledger import cube, retention_loop, retention_run
from services.ledger.book import Tally
from services.ledger.retention import Terms
from shared import streams, subjects
from shared.clock import unix_ms
from tests.ledger.ledger_kit import (
    Book,
    Policy,
    Told,
    control,
    eventually,
    findings,
    now_ms,
    post_to,
    publish,
    publish_control,
    running,
    settled,
)
from tests.ledger.retention_kit import at, tell
from tests.ledger.servers import Nats
from tests.ledger.signing import sign

AHEAD = timedelta(days=400)
TODAY = datetime.now(UTC).date()


async def test_everything_ends_on_its_term_400_days_from_now_and_what_is_held_stays(
    nats_server: Nats, client: Client, policy: Policy, book: Book, tmp_path: Path, capsys: Told, monkeypatch: pytest.MonkeyPatch
) -> None:  # fmt: skip
    made: dict[str, Any] = {
        "checkpoint_minutes": 0.05, "data_dir": str(tmp_path), "checkpoint_copies": str(tmp_path / "copies"), "traffic_keep_hours": 24.0,
    }  # fmt: skip
    terms = {"spend_logs_retention": "90d", "audit_logs_retention": "365d", "rollup_retention": "300d"}
    async with running(nats_server.url, book.url, **made):
        for back in (0, 0, 1, 3):
            await publish(client, at(TODAY - timedelta(days=back), tags=["kept" if back == 3 else "app"]))

        async def summed() -> bool:
            return bool(await book.value("SELECT sum(requests) FROM spend_calls") == 4)

        await eventually(summed)
        for back in (0, 1, 3):
            day = TODAY - timedelta(days=back)
            await book.owner.fetchval(
                "SELECT ensure_partition('request_payload', $1, $2, $3)",
                f"{day:%Y%m%d}",
                str(day),
                str(day + timedelta(days=1)),
            )
        await book.owner.execute(
            "INSERT INTO request_payload (day, id, at_ms, kept, stream, request, answer, cut)"
            " SELECT day, id, at_ms, true, false, '', '', '{}' FROM request_log"
        )
        after = {"by": "tag", "value": "kept"}
        await publish_control(client, control(kind="hold", entity_id="case-12", after=after))

        async def held_now() -> bool:
            return bool(await book.value("SELECT count(*) FROM audit_log WHERE kind = 'hold'"))

        await eventually(held_now)
    clock = unix_ms
    monkeypatch.setattr(app_module, "unix_ms", lambda: clock() + int(AHEAD.total_seconds() * 1000))
    retention_class = retention_loop.Retention.__init__

    def ahead(self: Any, *arguments: Any, **named: Any) -> None:
        retention_class(self, *arguments, **{**named, "clock": lambda: datetime.now(UTC) + AHEAD})

    monkeypatch.setattr(retention_loop.Retention, "__init__", ahead)
    async with running(nats_server.url, book.url, **made, **terms):

        async def gone() -> bool:
            days = [row["day"] for row in await book.fetch("SELECT DISTINCT day FROM request_log")]
            told = await book.value("SELECT count(*) FROM audit_log WHERE kind = 'retention' AND action = 'updated'")
            return days == [TODAY - timedelta(days=3)] and told > 0

        await eventually(gone, "spend rows", 30)

        async def trimmed() -> bool:
            state = await streams.state(client, subjects.TRAFFIC_STREAM)
            return state.first_seq == state.last_seq

        await eventually(trimmed, "TRAFFIC", 30)
    held = [row["day"] for row in await book.fetch("SELECT day FROM request_payload")]
    assert held == [TODAY - timedelta(days=3)], "payloads: what is held stays"
    for table in (*cube.TABLES, "spend_span", "rollup"):
        assert await book.value(f"SELECT count(*) FROM {table}") == 0, table
    assert await book.value("SELECT count(*) FROM retention_drop WHERE source = 'audit_log'") == 1
    assert await book.value("SELECT count(*) FROM audit_log WHERE kind = 'hold'") == 0
    assert [row["kind"] for row in await book.fetch("SELECT kind FROM audit_kept WHERE kind = 'hold'")] == ["hold"]
    assert await findings(book, capsys, copies=tmp_path / "copies") == []
    assert await book.value("SELECT count(*) FROM retention_drop WHERE source = 'request_log' AND rows > 0") == 2


async def test_a_large_day_goes_in_a_moment_and_nobody_waits_for_it(book: Book, capsys: Told) -> None:
    await drop_beside_inserts(book, 10_000, 1_000)
    assert await findings(book, capsys) == []


class Drop(NamedTuple):
    """How a day went, in seconds."""

    gone_s: float
    """Until it was gone for everybody, and its locks with it."""
    whole_s: float
    """Until its files were removed as well, which holds nobody up."""
    longest_insert_s: float


async def drop_beside_inserts(book: Book, rows: int, batch: int) -> Drop:
    """A day of so many rows goes while another shard's batches come in, none of which may wait for
    a lock longer than a second.
    """
    day = TODAY - timedelta(days=40)
    for _ in range(rows // batch):
        await book.post(tuple(at(day) for _ in range(batch)))
    await sign(book)
    connection = await book.database.writer()
    await connection.execute("SET lock_timeout = '1s'")
    other = Tally(connection, subjects.TRAFFIC_STREAM, 1)
    longest, done, whole, gone = [0.0], asyncio.Event(), [0.0], [0.0]
    partition = f"tollgate.request_log_{day:%Y%m%d}"

    async def insert() -> None:
        while not done.is_set():
            started = time.monotonic()
            await post_to(other, settled(), settled())
            longest[0] = max(longest[0], time.monotonic() - started)

    async def note(action: str, after: dict[str, Any]) -> None:
        await tell(book, action, after)

    call = retention_run._Run._call

    async def timed(self: Any, *arguments: Any) -> bool:
        started = time.monotonic()
        watching = asyncio.create_task(watch(started))
        went = await call(self, *arguments)
        whole[0] = max(whole[0], time.monotonic() - started)
        assert went
        await watching
        return went

    async def watch(started: float) -> None:
        """As another sees it."""
        while await book.value("SELECT to_regclass($1)", partition) is not None:
            await asyncio.sleep(0.002)
        gone[0] = time.monotonic() - started

    retention_run._Run._call = timed  # type: ignore[method-assign, assignment]
    inserting = asyncio.create_task(insert())
    try:
        assert await retention_run.run(book.database, Terms(spend=5), datetime.now(UTC), note) == 1
        await asyncio.sleep(0.2)
    finally:
        retention_run._Run._call = call  # type: ignore[method-assign]
        done.set()
        await inserting
        other.terminate()
    assert now_ms() > 0
    return Drop(gone[0], whole[0], longest[0])
