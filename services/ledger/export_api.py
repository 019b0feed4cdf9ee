"""`/export`: the book's days into the place that the operator named (TOLLGATE_EXPORT_URL): at an administrator's word, or by schedule.

Where to isn't for a caller to say: it would be a way to write anywhere the ledger can.
"""

import asyncio
import os
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING, Any

import structlog
from aiohttp import web

from services.ledger import answers, export, questions
from services.ledger.answers import Handler
from services.ledger.database import DATABASE_ERRORS, Database
from services.ledger.export_target import TargetError, open_target
from services.ledger.questions import refuse
from services.ledger.retention_loop import Schedule
from services.ledger.telling import LEDGER, Teller
from shared import errors
from shared.bus import BusError
from shared.errors import RefusedError
from shared.facts import Caller
from shared.waiting import set_within

if TYPE_CHECKING:
    from services.ledger.routes import Api

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
            self._task.cancel()
            await self.wait()


def handlers(api: "Api") -> dict[str, Handler]:
    async def show(request: web.Request) -> web.StreamResponse:
        await api.identify_admin(request, "/export")
        return answers.json_answer({"configured": bool(api.exporter.url), **api.exporter.status})

    async def start(request: web.Request) -> web.StreamResponse:
        caller = await api.identify_admin(request, "/export", write=True)
        body = await answers.json_body(request)
        for name in body:
            if name not in ("from", "until", "format"):
                refuse(str(name)[:80], "isn't known; there are from, until and format")
        if not api.exporter.url:
            raise RefusedError(errors.bad_request("No place to export to: the operator sets TOLLGATE_EXPORT_URL"))
        form = body.get("format")
        if form is not None and form not in export.FORMATS:
            refuse("format", f"must be one of {', '.join(export.FORMATS)}")
        texts = {name: body[name] for name in ("from", "until") if body.get(name) is not None}
        for name, value in texts.items():
            if not isinstance(value, str):
                refuse(name, "must be a day like 2026-11-23")
        first, last = (
            questions.day(texts, "from"),
            questions.day(texts, "until") or datetime.now(UTC).date() - timedelta(days=1),
        )
        if first is not None and first > last:
            refuse("from", "must not be after until")
        if api.exporter.running:
            raise RefusedError(errors.conflict("An export is running: this one"))
        try:
            await api.exporter.start(first, last, form, caller)
        except BusError:
            raise RefusedError(errors.policy_unavailable()) from None
        return answers.json_answer(api.exporter.status, status=202)

    return {"/export": show, "POST /export": start}
