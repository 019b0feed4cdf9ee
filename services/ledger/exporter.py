"""The book's days into the place that the operator named (TOLLGATE_EXPORT_URL): one export at a
time, asked for or by schedule.
"""

import asyncio
import os
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from typing import Any

import structlog

from services.ledger import export
from services.ledger.database import DATABASE_ERRORS, Database
from services.ledger.export_target import TargetError, open_target
from services.ledger.retention_loop import Schedule
from services.ledger.telling import LEDGER, Teller
from shared.bus import BusError
from shared.facts import Caller
from shared.waiting import IN_ORDER_S, ended, set_within

log = structlog.get_logger()

AGAIN_S = 300.0


class Exporter:
    """One export at a time, of this ledger."""

    def __init__(
        self,
        database: Database,
        teller: Teller,
        url: str,
        form: str,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
        *,
        proof: bool = False,
    ) -> None:
        self._database = database
        self._teller = teller
        self.url = url
        self._form = form
        self._proof = proof
        self._clock = clock
        self._task: asyncio.Task[None] | None = None
        self.status: dict[str, Any] = {"state": "none"}

    @property
    def running(self) -> bool:
        return self._task is not None and not self._task.done()

    async def start(self, first: date | None, last: date, form: str | None, actor: Caller) -> None:
        """A fact first; then it runs by itself. Raises BusError."""
        asked = {"from": first.isoformat() if first else None, "until": last.isoformat(), "format": form or self._form}
        await self._teller.tell("export", "book", "created", asked, actor)
        self._task = asyncio.create_task(self.run(first, last, form or self._form))

    async def run(self, first: date | None, last: date, form: str) -> None:
        self.status = {"state": "running", "since": self._clock().isoformat(), "day": None, "rows": 0}

        def progress(day: str, count: int) -> None:
            self.status |= {"day": day, "rows": count}

        try:
            target = open_target(self.url, os.environ)
            done = await export.run(self._database, target, first, last, form, progress, proof=self._proof)
        except (TargetError, *DATABASE_ERRORS) as error:
            log.error("export_failed", error=type(error).__name__, detail=str(error)[:200])
            self.status |= {
                "state": "failed",
                "reason": str(error)[:200] if isinstance(error, TargetError) else type(error).__name__,
            }
            return
        self.status |= {"state": "done", "written": done.written, "kept": len(done.kept), "rows": done.rows}
        log.info("export_done", written=len(done.written), kept=len(done.kept), rows=done.rows)

    async def by_schedule(self, schedule: Schedule, stopping: asyncio.Event) -> None:
        """All whole days that aren't there yet, again and again."""
        last: datetime | None = None
        while not stopping.is_set():
            due = schedule.next(self._clock(), last)
            if await set_within(stopping, max(0.0, (due - self._clock()).total_seconds())):
                return
            try:
                if not self.running:
                    await self.start(None, self._clock().date() - timedelta(days=1), None, LEDGER)
                    await self.wait()
                last = self._clock()
            except BusError as error:
                log.warning("export_interrupted", error=error.code)
                if await set_within(stopping, AGAIN_S):
                    return

    async def wait(self) -> None:
        if self._task is not None:
            await asyncio.gather(self._task, return_exceptions=True)

    async def close(self) -> None:
        if self._task is not None:
            await ended(self._task, again_s=IN_ORDER_S)
