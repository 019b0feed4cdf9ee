"""The spend cube: sums by every mix of tag, key, team, user, organisation, model, deployment and
provider, by the hour and coarser.

It is filled from request_log, after the recorders and apart from them: its position in each shard's
batches moves in the transaction that adds their rows. So nothing is counted twice or forgotten,
recording doesn't wait for it, and `spend_query` makes up for what it hasn't got yet by reading the
batches after its position.

    spend_calls            hour x who and what x set of tags    added to by every step, like the next two
    spend_tag              day x tag                            and five days, months; and `every`: all tags of a day together
    spend_tag_team         day x tag x team
    spend_tag_team_span    five days and months of it
    spend_period           days and months of spend_calls, without tags
    spend_running          running totals of these three that hold: a month's up to five days of it, a year's up to a month

Five days, months and all of spend_period are made when a period is over ("folded", spend_span):
most calls then add to few rows. A stretch of folded ones is the difference of two running totals. A
call that comes late undoes both: its periods are answered from the finer sums (`spans.cover`) until
they are folded again.
"""  # noqa: W505

import asyncio
import time
from collections import Counter
from datetime import UTC, date, datetime, timedelta

import structlog

from services.ledger import batch_chain, metrics, spans
from services.ledger.database import DATABASE_ERRORS, QUERIES, Connection, Database
from services.ledger.facts_in import midnight
from services.ledger.lock import raise_if_cancelled
from services.ledger.retention import next_month
from shared import subjects
from shared.waiting import set_within

log = structlog.get_logger()

STEP_ROWS_MIN = 500
STEP_ROWS_MAX = 20_000
"""Of request_log in one transaction, and one batch more at most."""
STEP_S = 1.5
"""What a step should take: what comes meanwhile is added up anew for each question. And on a
machine too busy for more, a step never runs into the writer's time limit again and again.
"""
LAG_ROWS = 4_000
"""May come before the next step begins: a question reads them (and what comes within a step)."""
PAUSE_S_MIN = 0.25
PAUSE_S_MAX = 5.0
"""Between steps that leave nothing behind: adding ten thousand rows costs hardly more than adding a
hundred.
"""
SHARE = 0.03
"""Of the time, that steps may take, as long as nothing above is passed by that."""
TABLES = ("spend_calls", "spend_tag", "spend_tag_team", "spend_tag_team_span", "spend_period")
SUMS = (
    "requests", "successes", "failures", "input_tokens", "output_tokens", "cached_tokens", "cache_write_tokens", "unpriced",
    "flagged", "spend_picousd",
)  # fmt: skip
STEP_SETTINGS = "SET LOCAL work_mem = '64MB'"
"""Sums of a step, or of a period, are sorted in it."""
NEWEST_SETTINGS = "SET LOCAL enable_sort = off; SET LOCAL enable_nestloop = off"
"""The planner knows nothing of the newest rows yet and takes a step's for one or two: it would sort
texts where it could hash them in a fraction of the time, or compare each row with each (a step of
some thousand then ran into its time limit). What must be in order is sorted all the same, and what
an index is for is asked in a subquery of its own. Of calls of many days the provisional ones are
few rows of many tables, and looked up one by one.
"""
FOLD_AFTER = timedelta(hours=2)
"""The end of a period: calls that were opened within it have mostly ended."""
FOLD_TIMEOUT_S = 600.0
FOLD_PAUSE_S = 5.0
FOLD_PAUSE_S_MAX = 3600.0
FOLD_PAUSE_SHARE = 6
"""After a period that couldn't be folded: at least so many times as long as was spent on it."""


def filled(query: str) -> str:
    """A query with the names of the sums in it."""
    return (
        query.replace("@ADD@", ", ".join(f"{name} = c.{name} + excluded.{name}" for name in SUMS))
        .replace("@SUMS@", ", ".join(f"sum({name}){'' if name == 'spend_picousd' else '::bigint'} AS {name}" for name in SUMS))
        .replace("@NAMES@", ", ".join(SUMS))
    )  # fmt: skip


COUNTED = ("cube_counted", "cube_words", "cube_sums")


def counted(where: str) -> str:
    """The beginning of every query about rows of request_log (spend_signed AS s), up to their
    sums.
    """
    return filled("\n".join(QUERIES[name] for name in COUNTED).replace("@WHERE@", where))


def add(where: str) -> str:
    """Add these rows to everything."""
    return counted(where) + filled("\n".join(QUERIES[name] for name in ("cube_groups", "cube_names", "cube_add")))


ADD = add("s.in_shard = $1 AND s.in_batch BETWEEN $2 AND $3 AND s.in_day BETWEEN $4 AND $5 AND s.day BETWEEN $4 AND $5")
"""$1 shard, $2 and $3 first and last batch, $4 and $5 first and last day of their rows (the other
partitions aren't looked at).
"""


def _folds(*names: str, part: str = "") -> list[str]:
    return [filled(QUERIES[name]).replace("@PART@", part) for name in names]


FOLDS = {
    "day": _folds("fold_day", "fold_every"),
    "five": _folds("fold_tags", "fold_team_days", part="day"),
    "month": _folds("fold_periods", "fold_tags", "fold_team_days", part="day"),
    "month_to": _folds("fold_periods", part="day") + _folds("fold_tags", "fold_teams", part="five"),
    "year_to": _folds("fold_periods", "fold_tags", "fold_teams", part="month"),
}
"""What is done for a period of each grain of spend_span, and of spans.RUNNING."""


def step_rows(limit: int, rows: int, took_s: float) -> int:
    """The limit of the next step, after one of so many rows. Less, but for all it had, says nothing
    of a full one.
    """
    if rows < limit and took_s <= STEP_S:
        return limit
    return min(STEP_ROWS_MAX, max(STEP_ROWS_MIN, int(rows * STEP_S / max(took_s, 0.001))))


def pause_s(rows: int, since_s: float, took_s: float) -> float:
    """After steps that left nothing behind and took so long. rows: that came within `since_s`."""
    lag_s = since_s * LAG_ROWS / rows if rows else PAUSE_S_MAX
    return min(PAUSE_S_MAX, lag_s, max(PAUSE_S_MIN, took_s / SHARE))


def fold_pause_s(failures: int, took_s: float) -> float:
    """How long nothing is folded: `failures` in a row, the last of which took so long. Steps wait
    while something is folded.
    """
    return min(FOLD_PAUSE_S_MAX, max(FOLD_PAUSE_S * 2.0 ** min(failures - 1, 16), took_s * FOLD_PAUSE_SHARE))


class Cube:
    """Runs in one ledger at a time, under a lock of its own."""

    def __init__(self, database: Database, stopping: asyncio.Event) -> None:
        self._database = database
        self._stopping = stopping
        self._months: set[date] = set()
        self._more = False
        """Whether the last step left batches behind."""
        self._rows = 0
        """That were added since the last pause."""
        self._step_rows = STEP_ROWS_MAX
        self._no_fold_before = 0.0
        """By the monotonic clock."""
        self._failures_in_a_row = 0
        self._failed: Counter[tuple[str, datetime]] = Counter()
        """Periods that couldn't be folded, and how often: they don't stand in the way of others."""

    async def run(self) -> None:
        connection: Connection | None = None
        paused = time.monotonic()
        try:
            while not self._stopping.is_set():
                started, self._more = time.monotonic(), False
                try:
                    if connection is None:
                        connection = await self._database.writer()
                    await self.catch_up(connection)
                    if not self._more:
                        self._more = await self.fold(connection, datetime.now(UTC))
                except DATABASE_ERRORS as error:
                    raise_if_cancelled()
                    self._more = False
                    self._step_rows = max(STEP_ROWS_MIN, self._step_rows // 2)
                    log.warning("cube_interrupted", error=type(error).__name__, detail=str(error)[:200])
                    if connection is not None:
                        connection.terminate()
                    connection = None
                if not self._more:
                    now = time.monotonic()
                    rest_s = pause_s(self._rows, now - paused, now - started)
                    paused, self._rows = now, 0
                    await set_within(self._stopping, rest_s)
        finally:
            if connection is not None:
                connection.terminate()

    async def catch_up(self, connection: Connection) -> int:
        """One step in every shard. Returns how many batches were added."""
        shards = await connection.fetch(QUERIES["cube_shards"], subjects.TRAFFIC_STREAM)
        return sum([await self._step(connection, row["shard"], row["chain_n"]) for row in shards])

    async def _step(self, connection: Connection, shard: int, end: int) -> int:
        await connection.execute(QUERIES["cube_start"], shard)
        known = await connection.fetchval("SELECT batch FROM spend_position WHERE shard = $1", shard)
        ahead = await connection.fetchrow(QUERIES["cube_next"], shard, known, min(self._step_rows, STEP_ROWS_MAX))
        if ahead is None or ahead["batch"] is None:
            return 0
        until, rows = ahead["batch"], ahead["rows"]
        started = time.monotonic()
        self._more |= until < end
        days = await self._days(connection, shard, known + 1, until)
        await self._ensure_months(connection, days)
        async with connection.transaction():
            if (await hold(connection)).get(shard) != known:
                return 0  # another ledger did it
            first, last = min(days), max(days)
            near = last - first <= timedelta(days=2)
            await connection.execute(f"{STEP_SETTINGS}; {NEWEST_SETTINGS}" if near else STEP_SETTINGS)
            await connection.execute(ADD, shard, known + 1, until, first, last)
            await connection.execute(QUERIES["cube_move"], shard, until)
        self._step_rows = step_rows(self._step_rows, rows, time.monotonic() - started)
        self._rows += rows
        metrics.CUBE_BATCHES.inc(until - known)
        return int(until - known)

    async def fold(self, connection: Connection, now: datetime) -> bool:
        """Fold one period that is over. False: there is none, or it must wait."""
        if time.monotonic() < self._no_fold_before:
            return False
        asked = (now - FOLD_AFTER, *self._failed_columns())
        due = await connection.fetchrow(QUERIES["fold_due"], *asked)
        if due is None:
            return False
        started = time.monotonic()
        try:
            async with connection.transaction():
                await connection.execute(f"SET LOCAL statement_timeout = {FOLD_TIMEOUT_S * 1000:.0f}")
                await connection.execute(STEP_SETTINGS)
                await hold(connection)
                # Asked again: who had the sums until now may have changed a day that a month would
                # be made from.
                again = await connection.fetchrow(QUERIES["fold_due"], *asked)
                if again is None:
                    return False
                grain, at = due = again
                await connection.execute(QUERIES["fold_clear"], grain, at)
                made = (spans.start(grain, at), spans.end(grain, at), grain, at)
                for query in FOLDS[grain]:
                    await connection.execute(query, *made, timeout=FOLD_TIMEOUT_S)
                done = "running_done" if grain in spans.RUNNING else "fold_done"
                await connection.execute(QUERIES[done], grain, at)
        except DATABASE_ERRORS:
            self._failures_in_a_row += 1
            self._failed[due["grain"], due["at"]] += 1
            ended = time.monotonic()
            self._no_fold_before = ended + fold_pause_s(self._failures_in_a_row, ended - started)
            raise
        self._failures_in_a_row = 0
        self._failed.pop((grain, at), None)
        return True

    def _failed_columns(self) -> tuple[list[str], list[datetime], list[int]]:
        return [grain for grain, _ in self._failed], [at for _, at in self._failed], list(self._failed.values())

    async def _days(self, connection: Connection, shard: int, first: int, last: int) -> set[date]:
        """Of some batches' rows. No batch is without rows."""
        found: set[date] = set()
        for row in await connection.fetch(QUERIES["cube_ids"], shard, first, last):
            found |= batch_chain.days(row["ids"])
        return found

    async def _ensure_months(self, connection: Connection, days: set[date]) -> None:
        """Before the transaction, so that the locks a new partition takes are held for a moment
        only.
        """
        for month in sorted({day.replace(day=1) for day in days} - self._months):
            first, after = (midnight(day).isoformat() for day in (month, next_month(month)))
            for table in TABLES:
                await connection.execute(QUERIES["ensure_partition"], table, f"{month:%Y%m}", first, after)
            self._months.add(month)


async def hold(connection: Connection) -> dict[int, int]:
    """Be alone with the sums until the transaction ends. Returns the batches they have, by
    shard.
    """
    return {row["shard"]: row["batch"] for row in await connection.fetch(QUERIES["cube_hold"])}
