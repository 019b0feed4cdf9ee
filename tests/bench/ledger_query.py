"""How fast the book answers, over a year of calls.

    python -m tests.bench.ledger_query [--calls 10000000] [--changes 1000000] [--runs 40] [--keep
    DIR] [--fill] [--ingest 3650]

The book is made first (tests/bench/ledger_fill.py), or found in DIR, where an earlier run with
`--keep` has left it (`--fill`: only make it). Then each question is asked `--runs` times, as the
HTTP API asks it, of a pool of the ledger's own; told is the 95th of a hundred, in ms. A first round
is for the caches. `--ingest`: once more while a ledger records so many calls a second (5 tags each,
who calls what as often as in the book) into the same book, where they stay. Exit status 1 where a
line of the table isn't met (`--calls` of the default alone counts), or one is over twice it while
ingesting.
"""

import argparse
import asyncio
import json
import math
import multiprocessing
import signal
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import asyncpg

from services.ledger import params, spend_query
from services.ledger.asking import Scope
from services.ledger.cube import TABLES
from services.ledger.database import Database
from services.ledger.migrate import migrate
from services.ledger.queries import Report
from shared import bus, subjects
from tests.bench import ledger_ingest
from tests.bench.ledger_fill import DAYS, fill
from tests.bench.machine import cpu_s, tree
from tests.ledger.ledger_kit import make_streams
from tests.ledger.processes import Process
from tests.ledger.servers import Nats, Postgres

FULL = 10_000_000
EVERYTHING = Scope(everything=True)
INGEST_WARM_UP_S = 10.0
LINES_MS = {
    "spend by tag, 30 days": 50, "by tag, team and day, 30 days": 200, "a year by month": 100, "a year by month and tag": 100,
    "one request by id": 5, "an audit page": 10,
}  # fmt: skip


async def p95(ask: Callable[[], Awaitable[Any]], runs: int, server: int) -> tuple[float, float]:
    """And the CPU of a question in ms, PostgreSQL's and ours: what to go by on a machine that does
    other things too. Infinite: questions ran into their time limit.
    """
    took = []
    cpu = 0.0
    for number in range(runs + 2):
        if number == 2:
            cpu = cpu_s(tree(server)) + time.process_time()
        started = time.perf_counter()
        try:
            await ask()
            took.append((time.perf_counter() - started) * 1000)
        except asyncpg.QueryCanceledError:
            took.append(math.inf)
    cpu_ms = (cpu_s(tree(server)) + time.process_time() - cpu) / runs * 1000
    took = sorted(took[2:])
    return took[min(len(took) - 1, int(len(took) * 0.95))], cpu_ms


def questions_of(report: Report, request_id: str, today: date) -> dict[str, Callable[[], Awaitable[Any]]]:
    now = datetime(today.year, today.month, today.day, 12, tzinfo=UTC)

    def spend(**asked: Any) -> Callable[[], Awaitable[Any]]:
        query = spend_query.parse(asked, now)
        return lambda: report.spend(query, EVERYTHING)

    async def one() -> None:
        keys, _ = await report.log_keys(EVERYTHING, params.logs({"request_id": request_id}))
        assert [rows async for rows in report.log_rows(keys)], "the call is there"

    year = {"start_date": f"{today - timedelta(days=DAYS - 1)}", "end_date": f"{today - timedelta(days=1)}"}
    tenant = Scope(user_id="user-7")
    month = params.Days(today - timedelta(days=30), today)
    return {
        "spend by tag, 30 days": spend(since="30d", group_by="tag"),
        "by tag, team and day, 30 days": spend(since="30d", group_by="tag,team", bucket="day"),
        "a year by month": spend(**year, bucket="month"),
        "a year by month and tag": spend(**year, bucket="month", group_by="tag"),
        "one request by id": one,
        "an audit page": lambda: report.audit_page(params.audit({})),
        "/spend/tags, 30 days": lambda: report.tags(EVERYTHING, month),
        "/spend/tags of a user, 30 days": lambda: report.tags(tenant, month),
        "a user's spend by team and model": lambda: report.spend(
            spend_query.parse({"since": "30d", "by": "team,model"}, now), tenant
        ),
    }


@asynccontextmanager
async def ingesting(url: str, directory: Path, rate: int) -> AsyncIterator[None]:
    """A ledger of its own process records `rate` calls a second meanwhile."""
    directory.mkdir()
    with Nats(directory) as nats:
        client = await bus.connect("bench", nats.url)
        await make_streams(client, 8 * 1024**3)
        ledger = Process(nats.url, url, directory / "ledger.log", TOLLGATE_LOG_LEVEL="warning")
        edge = multiprocessing.get_context("spawn").Process(target=publish, args=(nats.url, rate), daemon=True)
        edge.start()
        try:
            await asyncio.sleep(INGEST_WARM_UP_S)
            yield
            assert ledger.process.poll() is None, (directory / "ledger.log").read_text()[-2000:]
            assert edge.is_alive(), "nothing was published any more"
        finally:
            edge.terminate()
            ledger.process.terminate()
            ledger.process.wait(20)
            await client.close()


def publish(url: str, rate: int) -> None:
    asyncio.run(_publish(url, rate))


async def _publish(url: str, rate: int) -> None:
    client = await bus.connect("bench-edge", url)
    js = client.jetstream(timeout=30)
    started = time.monotonic()
    for number, message in enumerate(ledger_ingest.messages(1_000_000_000, "book")):
        await js.publish(subjects.traffic(0), message)
        calls = (number + 1) * ledger_ingest.FACTS_PER_MESSAGE / 2
        await asyncio.sleep(max(0.0, started + calls / rate - time.monotonic()))


class Book:
    """The year of calls, in a directory of its own or one that is kept."""

    def __init__(self, directory: Path, kept: bool, wanted: argparse.Namespace) -> None:
        self._wanted, self._kept, self._note = wanted, kept, directory / "filled.json"
        (directory / "postgres").mkdir(exist_ok=True, parents=True)
        self.postgres = Postgres(directory / "postgres")

    async def open(self) -> tuple[str, date]:
        """Its database, made where it isn't there, and the day after its last call."""
        self.postgres.start(
            shared_buffers=self._wanted.shared_buffers,
            max_wal_size="8GB",
            fsync="off",
            full_page_writes="off",
            wal_level="minimal",
            max_wal_senders="0",
        )
        await self.postgres.ready()
        if self._note.exists():
            note = json.loads(self._note.read_text())
            assert (note["calls"], note["changes"]) == (self._wanted.calls, self._wanted.changes), f"there is {note}"
            url, today = self.postgres.url(note["database"]), date.fromisoformat(note["today"])
            await migrate(Database(url))
            return url, today
        url, today = await self.postgres.new_database(), datetime.now(UTC).date()
        await migrate(Database(url))
        connection = await asyncpg.connect(url)
        await fill(connection, url, self._wanted.calls, self._wanted.changes, today)
        await connection.close()
        if self._kept:
            note = {"calls": self._wanted.calls, "changes": self._wanted.changes, "today": f"{today}"}
            self._note.write_text(json.dumps({**note, "database": url.rpartition("/")[2]}))
        return url, today

    def close(self) -> None:
        self.postgres.stop(signal.SIGINT if self._kept else signal.SIGQUIT)


async def sizes(connection: Any) -> None:
    found = await connection.fetch(
        "SELECT t, (SELECT sum(pg_total_relation_size(inhrelid)) FROM pg_inherits WHERE inhparent = ('tollgate.' || t)::regclass)"
        " AS bytes, (SELECT sum(c.reltuples) FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid"
        " WHERE inhparent = ('tollgate.' || t)::regclass) AS rows"
        " FROM unnest($1::text[]) AS t",
        ["request_log", *TABLES, "audit_log"],
    )
    for row in found:
        print(f"{row['t']:20} {int(row['rows']):>12,} rows {int(row['bytes']) / 1e6:>10,.0f} MB")


async def ask(url: str, today: date, wanted: argparse.Namespace, server: int, times: float) -> int:
    """Every question. Returns how many took over `times` their line."""
    database = Database(url)
    await migrate(database)
    connection = await asyncpg.connect(url)
    request_id = str(
        await connection.fetchval(
            "SELECT id FROM tollgate.request_log WHERE day = $1 LIMIT 1", today - timedelta(days=9)
        )
    )
    await connection.close()
    pool = await database.readers(8)
    missed = 0
    print(f"{'question':34} {'p95 ms':>8} {'line':>6} {'CPU ms':>8}")
    for what, question in questions_of(Report(pool), request_id, today).items():
        (took, cpu_ms), line = await p95(question, wanted.runs, server), LINES_MS.get(what)
        missed += line is not None and took > line * times
        print(f"{what:34} {took:>8.1f} {line or '':>6} {cpu_ms:>8.1f}", flush=True)
    pool.terminate()
    return missed


async def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--calls", type=int, default=FULL)
    parser.add_argument("--changes", type=int, default=1_000_000)
    parser.add_argument("--runs", type=int, default=40)
    parser.add_argument("--shared-buffers", default="512MB")
    parser.add_argument("--keep", type=Path, help="directory of the book: made, or asked once more")
    parser.add_argument("--fill", action="store_true", help="make it, and ask nothing")
    parser.add_argument("--ingest", type=int, default=0, help="calls a second while it is asked once more")
    wanted = parser.parse_args()
    missed = 0
    with tempfile.TemporaryDirectory(prefix="tollgate-bench-") as name:
        book = Book(wanted.keep or Path(name), wanted.keep is not None, wanted)
        try:
            url, today = await book.open()
            if wanted.fill:
                return 0
            connection = await asyncpg.connect(url)
            await sizes(connection)
            await connection.close()
            assert book.postgres.process is not None
            server = book.postgres.process.pid
            missed = await ask(url, today, wanted, server, 1)
            if wanted.ingest:
                async with ingesting(url, Path(name) / "ledger", wanted.ingest):
                    print(f"\nwhile {wanted.ingest:,} calls a second are recorded")
                    missed += await ask(url, today, wanted, server, 2)
        finally:
            book.close()
    return 1 if missed and wanted.calls >= FULL else 0


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
