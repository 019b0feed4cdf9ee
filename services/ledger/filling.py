"""Tables of sums are filled from request_log here, after the recorders and apart from them: their
position in each shard's batches moves in the transaction that adds the rows of those batches, so
nothing is counted twice or forgotten.
"""

import time
from collections.abc import Sequence
from datetime import date, timedelta

from services.ledger import batch_chain
from services.ledger.database import QUERIES, Connection
from services.ledger.facts_in import midnight
from services.ledger.retention import next_month
from shared import subjects

STEP_ROWS_MIN = 500
STEP_ROWS_MAX = 20_000
"""Of request_log in one transaction, and one batch more at most."""
STEP_S = 1.5
"""What a step should take: what comes meanwhile is added up anew for each question. And on a
machine too busy for more, a step never runs into the writer's time limit again and again.
"""
STEP_SETTINGS = "SET LOCAL work_mem = '64MB'"
"""Sums of a step, or of a period, are sorted in it."""
NEWEST_SETTINGS = "SET LOCAL enable_sort = off; SET LOCAL enable_nestloop = off"
"""The planner knows nothing of the newest rows yet and takes a step's for one or two: it would sort
texts where it could hash them in a fraction of the time, or compare each row with each (a step of
some thousand then ran into its time limit). What must be in order is sorted all the same, and what
an index is for is asked in a subquery of its own. Of calls of many days the provisional ones are
few rows of many tables, and looked up one by one.
"""


def step_rows(limit: int, rows: int, took_s: float) -> int:
    """The limit of the next step, after one of so many rows. Less, but for all it had, says nothing
    of a full one.
    """
    if rows < limit and took_s <= STEP_S:
        return limit
    return min(STEP_ROWS_MAX, max(STEP_ROWS_MIN, int(rows * STEP_S / max(took_s, 0.001))))


class Filling:
    """
    Args:
        position: the table (shard, batch) that says how far `tables` are.
        tables: partitioned by month.
        add: what adds rows to them; $1 shard, $2 and $3 first and last batch, $4 and $5 first and
            last day of their rows (the other partitions aren't looked at).
    """

    def __init__(self, position: str, tables: Sequence[str], add: str) -> None:
        self._position, self._tables, self._add = position, tables, add
        self._months: set[date] = set()
        self._step_rows = STEP_ROWS_MAX
        self.more = False
        """Whether the last steps left batches behind."""
        self.rows = 0
        """That were added, since this was last set."""

    async def catch_up(self, connection: Connection) -> int:
        """One step in every shard. Returns how many batches were added."""
        self.more = False
        shards = await connection.fetch(QUERIES["filling_shards"], subjects.TRAFFIC_STREAM)
        return sum([await self._step(connection, row["shard"], row["chain_n"]) for row in shards])

    def slow_down(self) -> None:
        """After a step that failed."""
        self._step_rows = max(STEP_ROWS_MIN, self._step_rows // 2)

    async def _step(self, connection: Connection, shard: int, end: int) -> int:
        known = await connection.fetchval(of(self._position, "filling_known"), shard)
        if known is None:
            await connection.execute(of(self._position, "filling_start"), shard)
            known = 0
        ahead = await connection.fetchrow(QUERIES["filling_next"], shard, known, min(self._step_rows, STEP_ROWS_MAX))
        if ahead is None or ahead["batch"] is None:
            return 0
        until, rows = ahead["batch"], ahead["rows"]
        started = time.monotonic()
        self.more |= until < end
        days = await self._days(connection, shard, known + 1, until)
        await self._ensure_months(connection, days)
        async with connection.transaction():
            if (await hold(connection, self._position)).get(shard) != known:
                return 0  # another ledger did it
            first, last = min(days), max(days)
            near = last - first <= timedelta(days=2)
            await connection.execute(f"{STEP_SETTINGS}; {NEWEST_SETTINGS}" if near else STEP_SETTINGS)
            await connection.execute(self._add, shard, known + 1, until, first, last)
            await connection.execute(of(self._position, "filling_move"), shard, until)
        self._step_rows = step_rows(self._step_rows, rows, time.monotonic() - started)
        self.rows += rows
        return int(until - known)

    async def _days(self, connection: Connection, shard: int, first: int, last: int) -> set[date]:
        """Of some batches' rows. No batch is without rows."""
        found: set[date] = set()
        for row in await connection.fetch(QUERIES["filling_ids"], shard, first, last):
            found |= batch_chain.days(row["ids"])
        return found

    async def _ensure_months(self, connection: Connection, days: set[date]) -> None:
        """Before the transaction, so that the locks a new partition takes are held for a moment
        only.
        """
        for month in sorted({day.replace(day=1) for day in days} - self._months):
            first, after = (midnight(day).isoformat() for day in (month, next_month(month)))
            for table in self._tables:
                await connection.execute(QUERIES["ensure_partition"], table, f"{month:%Y%m}", first, after)
            self._months.add(month)


async def hold(connection: Connection, position: str) -> dict[int, int]:
    """Be alone with the sums until the transaction ends. Returns the batches they have, by
    shard.
    """
    return {row["shard"]: row["batch"] for row in await connection.fetch(of(position, "filling_hold"))}


def of(position: str, query: str) -> str:
    """A query about one of these positions."""
    return QUERIES[query].replace("@POSITION@", position)
