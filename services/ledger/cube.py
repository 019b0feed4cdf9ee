"""The spend cube: sums by every mix of tag, key, team, user, organisation, model, deployment and
provider, by the hour and coarser.

It is filled from request_log (filling.py): recording doesn't wait for it, and `spend_query` makes
up for what it hasn't got yet by reading the batches after its position.

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
from datetime import UTC, datetime, timedelta

import structlog

from services.ledger import latency, metrics, spans
from services.ledger.database import DATABASE_ERRORS, QUERIES, Connection, Database
from services.ledger.filling import STEP_SETTINGS, Filling, hold
from services.ledger.lock import raise_if_cancelled
from shared.waiting import set_within

log = structlog.get_logger()

LAG_ROWS = 4_000
"""May come before the next step begins: a question reads them (and what comes within a step)."""
PAUSE_S_MIN = 0.25
PAUSE_S_MAX = 5.0
"""Between steps that leave nothing behind: adding ten thousand rows costs hardly more than adding a
hundred.
"""
SHARE = 0.03
"""Of the time, that steps may take, as long as nothing above is passed by that."""
POSITION = "spend_position"
TABLES = ("spend_calls", "spend_tag", "spend_tag_team", "spend_tag_team_span", "spend_period")
SUMS = (
    "requests", "successes", "failures", "input_tokens", "output_tokens", "cached_tokens", "cache_write_tokens", "unpriced",
    "flagged", "spend_picousd",
)  # fmt: skip
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
"""As `Filling` has it."""


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
        self._sums = Filling(POSITION, TABLES, ADD)
        self.latency = Filling(latency.POSITION, latency.TABLES, latency.ADD)
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
                started, more = time.monotonic(), False
                try:
                    if connection is None:
                        connection = await self._database.writer()
                    more = await self._work(connection)
                except DATABASE_ERRORS as error:
                    raise_if_cancelled()
                    for filling in (self._sums, self.latency):
                        filling.slow_down()
                    log.warning("cube_interrupted", error=type(error).__name__, detail=str(error)[:200])
                    if connection is not None:
                        connection.terminate()
                    connection = None
                if not more:
                    now = time.monotonic()
                    rest_s = pause_s(self._sums.rows, now - paused, now - started)
                    paused, self._sums.rows = now, 0
                    await set_within(self._stopping, rest_s)
        finally:
            if connection is not None:
                connection.terminate()

    async def _work(self, connection: Connection) -> bool:
        """What is due, a part of it at a time: the sums first, which questions wait for. Returns
        whether there is more.
        """
        await self.catch_up(connection)
        if self._sums.more or await self.fold(connection, datetime.now(UTC)):
            return True
        await self.latency.catch_up(connection)
        return self.latency.more

    async def catch_up(self, connection: Connection) -> int:
        """One step in every shard. Returns how many batches were added."""
        added = await self._sums.catch_up(connection)
        metrics.CUBE_BATCHES.inc(added)
        return added

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
                await hold(connection, POSITION)
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
