"""When retention runs: every so often, or by a cron expression; in one ledger at a time, under a
lock of its own.
"""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import structlog
from cronsim import CronSim, CronSimError

from services.ledger import retention, retention_run
from services.ledger.checkpoints import NotOurBookError
from services.ledger.database import DATABASE_ERRORS, Database
from services.ledger.lock import raise_if_cancelled
from services.ledger.retention import Terms
from services.ledger.telling import Teller
from shared.bus import BusError
from shared.settings import SettingsError
from shared.waiting import set_within

log = structlog.get_logger()

AGAIN_S = 300.0
"""After a run that couldn't be done."""


class Schedule:
    """
    Args:
        interval: LiteLLM's form, `1d`; without either, daily.
        cron: five fields, UTC; goes before the interval.
    Raises SettingsError.
    """

    def __init__(self, interval: str, cron: str) -> None:
        self._days = retention.days("maximum_spend_logs_retention_interval", interval) or 1
        self._cron = cron.strip()
        if self._cron:
            try:
                next(CronSim(self._cron, datetime(2026, 1, 1, tzinfo=UTC)))
            except (CronSimError, StopIteration, OverflowError):
                raise SettingsError(
                    f"maximum_spend_logs_cleanup_cron: {self._cron[:60]!r} is no cron expression"
                ) from None

    def next(self, now: datetime, last: datetime | None) -> datetime:
        if self._cron:
            return next(CronSim(self._cron, now))
        return now if last is None else last + timedelta(days=self._days)


class Retention:
    def __init__(
        self, database: Database, teller: Teller, terms: Terms, schedule: Schedule, stopping: asyncio.Event,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC), before_drops: Callable[[], Awaitable[None]] | None = None,
    ) -> None:  # fmt: skip
        self._before_drops = before_drops
        self._database = database
        self._teller = teller
        self.terms = terms
        self._schedule = schedule
        self._stopping = stopping
        self._clock = clock
        self.last_at: datetime | None = None

    async def run(self) -> None:
        while not self._stopping.is_set():
            due = self._schedule.next(self._clock(), self.last_at)
            if await set_within(self._stopping, max(0.0, (due - self._clock()).total_seconds())):
                return
            try:
                dropped = await retention_run.run(
                    self._database, self.terms, self._clock(), self._note, self._before_drops
                )
                self.last_at = self._clock()
                if dropped:
                    log.info("retention_ran", dropped=dropped)
            except (BusError, NotOurBookError, *DATABASE_ERRORS) as error:
                raise_if_cancelled()
                log.warning("retention_interrupted", error=type(error).__name__, detail=str(error)[:200])
                if await set_within(self._stopping, AGAIN_S):
                    return

    async def _note(self, action: str, after: dict[str, Any]) -> None:
        await self._teller.tell("retention", "run", action, after)
