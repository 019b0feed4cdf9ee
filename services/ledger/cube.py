"""The spend cube: sums by every mix of tag, key, team, user, organisation, model, deployment and provider, by hour, day and month.

It is filled from request_log, after the recorders and apart from them: its position in each shard's batches moves in the transaction that
adds their rows. So nothing is counted twice or forgotten, recording doesn't wait for it, and `spend_query` makes up for what it
hasn't got yet by reading the batches after its position.
"""

import asyncio
import time
from datetime import date

import structlog

from services.ledger import batch_chain, metrics
from services.ledger.database import DATABASE_ERRORS, QUERIES, Connection, Database
from services.ledger.facts_in import midnight
from services.ledger.lock import raise_if_cancelled
from services.ledger.retention import next_month
from shared import subjects
from shared.waiting import set_within

log = structlog.get_logger()

STEP_ROWS = 20_000
"""Of request_log in one transaction, and one batch more at most."""
PAUSE_S_MIN = 0.25
PAUSE_S_MAX = 5.0
"""Between steps that leave nothing behind: adding ten thousand rows costs hardly more than adding a hundred."""
SHARE = 0.03
"""Of the time, that steps may take, as long as that makes no pause longer than PAUSE_S_MAX."""
TABLES = ("spend_hour", "spend_day", "spend_month")
SUMS = (
    "requests", "successes", "failures", "input_tokens", "output_tokens", "cached_tokens", "cache_write_tokens", "unpriced",
    "flagged", "spend_picousd",
)  # fmt: skip


def _add_query() -> str:
    """$1 shard, $2 and $3 first and last batch, $4 and $5 first and last day of their rows (the other partitions aren't looked at)."""
    added = ", ".join(f"{name} = c.{name} + excluded.{name}" for name in SUMS)
    batches = QUERIES["cube_counted"].replace(
        "@WHERE@",
        "s.in_shard = $1 AND s.in_batch BETWEEN $2 AND $3 AND s.in_day BETWEEN $4 AND $5 AND s.day BETWEEN $4 AND $5",
    )
    parts = (batches, *(QUERIES[name] for name in ("cube_groups", "cube_names", "cube_sums", "cube_add")))
    return (
        "\n".join(parts)
        .replace("@ADD@", f"ON CONFLICT (tags, tag, at, grp) DO UPDATE SET {added}")
        .replace("@SUMS@", ", ".join(f"sum({name})" for name in SUMS))
    )


ADD = _add_query()


class Cube:
    """Runs in one ledger at a time, under a lock of its own."""

    def __init__(self, database: Database, stopping: asyncio.Event) -> None:
        self._database = database
        self._stopping = stopping
        self._months: set[date] = set()
        self._more = False
        """Whether the last step left batches behind."""

    async def run(self) -> None:
        connection: Connection | None = None
        try:
            while not self._stopping.is_set():
                started, self._more = time.monotonic(), False
                try:
                    if connection is None:
                        connection = await self._database.writer()
                    await self.catch_up(connection)
                except DATABASE_ERRORS as error:
                    raise_if_cancelled()
                    self._more = False
                    log.warning("cube_interrupted", error=type(error).__name__, detail=str(error)[:200])
                    if connection is not None:
                        connection.terminate()
                    connection = None
                if not self._more:
                    pause_s = min(PAUSE_S_MAX, max(PAUSE_S_MIN, (time.monotonic() - started) / SHARE))
                    await set_within(self._stopping, pause_s)
        finally:
            if connection is not None:
                connection.terminate()

    async def catch_up(self, connection: Connection) -> int:
        """One step in every shard. Returns how many batches were added."""
        shards = await connection.fetch(QUERIES["cube_shards"], subjects.TRAFFIC_STREAM)
        return sum([await self._step(connection, row["shard"], row["chain_n"]) for row in shards])

    async def _step(self, connection: Connection, shard: int, end: int) -> int:
        await connection.execute(QUERIES["cube_start"], shard)
        known = await connection.fetchval("SELECT batch FROM cube_position WHERE shard = $1", shard)
        until = await connection.fetchval(QUERIES["cube_next"], shard, known, STEP_ROWS)
        if until is None:
            return 0
        self._more |= until < end
        days = await self._days(connection, shard, known + 1, until)
        await self._ensure_months(connection, days)
        async with connection.transaction():
            held = await connection.fetchval(QUERIES["cube_hold"], shard)
            if held != known:
                return 0  # another ledger did it
            await connection.execute(ADD, shard, known + 1, until, min(days), max(days))
            await connection.execute(QUERIES["cube_move"], shard, until)
        metrics.CUBE_BATCHES.inc(until - known)
        return int(until - known)

    async def _days(self, connection: Connection, shard: int, first: int, last: int) -> set[date]:
        """Of some batches' rows. No batch is without rows."""
        found: set[date] = set()
        for row in await connection.fetch(QUERIES["cube_ids"], shard, first, last):
            found |= batch_chain.days(row["ids"])
        return found

    async def _ensure_months(self, connection: Connection, days: set[date]) -> None:
        """Before the transaction, so that the locks a new partition takes are held for a moment only."""
        for month in sorted({day.replace(day=1) for day in days} - self._months):
            first, after = (midnight(day).isoformat() for day in (month, next_month(month)))
            for table in TABLES:
                await connection.execute(QUERIES["ensure_partition"], table, f"{month:%Y%m}", first, after)
            self._months.add(month)
