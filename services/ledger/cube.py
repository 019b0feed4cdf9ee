"""The spend cube: sums by every mix of tag, key, team, user, organisation, model, deployment and provider, by hour, day and month.

It is filled from request_log, after the recorders and apart from them: its position in each shard's batches moves in the transaction that
adds their rows. So nothing is counted twice or forgotten, recording doesn't wait for it, and `spend_query` makes up for what it
hasn't got yet by reading the batches after its position.
"""

import asyncio
from contextlib import suppress
from datetime import UTC, datetime

import structlog

from services.ledger import metrics
from services.ledger.database import DATABASE_ERRORS, QUERIES, Connection, Database
from services.ledger.lock import raise_if_cancelled
from shared import subjects

log = structlog.get_logger()

STEP_ROWS = 20_000
"""Of request_log in one transaction, and one batch more at most."""
IDLE_S = 0.25
TABLES = ("spend_hour", "spend_day", "spend_month")
SUMS = (
    "requests", "successes", "failures", "input_tokens", "output_tokens", "cached_tokens", "cache_write_tokens", "unpriced",
    "flagged", "spend_picousd",
)  # fmt: skip


def _add_query() -> str:
    added = ", ".join(f"{name} = c.{name} + excluded.{name}" for name in SUMS)
    """$1 shard, $2 and $3 first and last batch."""
    batches = QUERIES["cube_counted"].replace("@WHERE@", "s.in_shard = $1 AND s.in_batch BETWEEN $2 AND $3")
    parts = (batches, QUERIES["cube_groups"], QUERIES["cube_sums"], QUERIES["cube_add"])
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
        self._months: set[datetime] = set()

    async def run(self) -> None:
        connection: Connection | None = None
        try:
            while not self._stopping.is_set():
                rows = 0
                try:
                    if connection is None:
                        connection = await self._database.writer()
                    rows = await self.catch_up(connection)
                except DATABASE_ERRORS as error:
                    raise_if_cancelled()
                    log.warning("cube_interrupted", error=type(error).__name__, detail=str(error)[:200])
                    if connection is not None:
                        connection.terminate()
                    connection = None
                if rows == 0:
                    with suppress(TimeoutError):
                        await asyncio.wait_for(self._stopping.wait(), IDLE_S)
        finally:
            if connection is not None:
                connection.terminate()

    async def catch_up(self, connection: Connection) -> int:
        """One step in every shard. Returns how many batches were added."""
        shards = await connection.fetch(QUERIES["cube_shards"], subjects.TRAFFIC_STREAM)
        return sum([await self._step(connection, row["shard"]) for row in shards])

    async def _step(self, connection: Connection, shard: int) -> int:
        await connection.execute(QUERIES["cube_start"], shard)
        known = await connection.fetchval("SELECT batch FROM cube_position WHERE shard = $1", shard)
        until = await connection.fetchval(QUERIES["cube_next"], shard, known, STEP_ROWS)
        if until is None:
            return 0
        await self._ensure_months(connection, shard, known + 1, until)
        async with connection.transaction():
            held = await connection.fetchval(QUERIES["cube_hold"], shard)
            if held != known:
                return 0  # another ledger did it
            await connection.execute(QUERIES["cube_names"], shard, known + 1, until)
            await connection.execute(ADD, shard, known + 1, until)
            await connection.execute(QUERIES["cube_move"], shard, until)
        metrics.CUBE_BATCHES.inc(until - known)
        return int(until - known)

    async def _ensure_months(self, connection: Connection, shard: int, first: int, last: int) -> None:
        """Before the transaction, so that the locks a new partition takes are held for a moment only."""
        for row in await connection.fetch(QUERIES["cube_months"], shard, first, last):
            month = row["month"].astimezone(UTC)
            if month in self._months:
                continue
            after = month.replace(year=month.year + month.month // 12, month=month.month % 12 + 1)
            for table in TABLES:
                await connection.execute(
                    QUERIES["ensure_partition"], table, f"{month:%Y%m}", month.isoformat(), after.isoformat()
                )
            self._months.add(month)
