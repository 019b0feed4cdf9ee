"""Close what was opened and never ended, with a provisional row each: counted, visible, its cost
unknown.

A request may only be given up when the book has everything that was in the stream when it should
have ended: up to the time of the last message recorded, or up to now when the broker says that
nothing is left. So nothing expires while the recorder lags or the broker is away. The position is
held while the rows are written: if it moved, somebody has recorded more, and the question is asked
again. A settlement that comes later still wins (see `posting`).
"""

import asyncio
import time
from collections.abc import Callable
from typing import Any

import structlog

from services.ledger import metrics
from services.ledger.book import PositionMovedError, Tally
from services.ledger.database import DATABASE_ERRORS
from services.ledger.lock import raise_if_cancelled
from services.ledger.ordered_consumer import BUS_ERRORS, ConsumerError
from services.ledger.streams import TrafficPoster
from services.ledger.writer import Session, Writer
from shared.waiting import set_within

log = structlog.get_logger()

EXPIRE_MAX = 1_000
"""In one transaction."""
COUNT_EVERY_S = 10.0


class Expirer:
    """Runs beside the recorder of its shard, in the same process."""

    def __init__(
        self,
        recorder: Writer[Any],
        poster: TrafficPoster,
        check_ms: int,
        slack_ms: int,
        stopping: asyncio.Event,
        now_ms: Callable[[], int],
    ) -> None:
        self._recorder = recorder
        self._poster = poster
        self._check_s = check_ms / 1000
        self._slack_ms = slack_ms
        self._stopping = stopping
        self._now_ms = now_ms
        self._tally: Tally | None = None
        self._counted_at = 0.0

    async def run(self) -> None:
        """Look every `check_ms` until `stopping` is set or this is cancelled."""
        try:
            while not self._stopping.is_set():
                if await set_within(self._stopping, self._check_s):
                    return
                try:
                    await self._look_back()
                    await self.look()
                except PositionMovedError:
                    continue
                except (ConsumerError, *BUS_ERRORS, *DATABASE_ERRORS) as error:
                    raise_if_cancelled()
                    log.warning("expire_interrupted", error=type(error).__name__, detail=str(error)[:120])
                    self._forget()
        finally:
            self._forget()

    async def look(self) -> int:
        """Close what is due. Returns how many."""
        session = self._recorder.session
        if session is None:
            return 0
        position = session.position
        until_ms = await self._recorded_until_ms(session)
        if self._recorder.session is not session or session.position != position:
            return 0
        if self._tally is None:
            self._tally = await self._poster.connect()
        expired = EXPIRE_MAX
        total = 0
        while expired == EXPIRE_MAX:
            expired = await self._tally.expire(position, until_ms - self._slack_ms, self._now_ms(), EXPIRE_MAX)
            total += expired
        if total:
            metrics.EXPIRED.inc(total)
            log.warning("requests_expired", count=total, shard=self._poster.shard)
        if time.monotonic() - self._counted_at > COUNT_EVERY_S:
            self._counted_at = time.monotonic()
            metrics.OPEN.labels(str(self._poster.shard)).set(await self._tally.open_count())
        return total

    async def _look_back(self) -> None:
        """On a quiet stream the recorder wouldn't notice that its position was put back; whoever
        records more only moves it on.
        """
        session = self._recorder.session
        if session is None or self._tally is None:
            return
        known = session.position
        if (await self._tally.position()).seq < known.seq and self._recorder.session is session:
            session.put_back.set()

    async def _recorded_until_ms(self, session: Session) -> int:
        """Everything the broker stored before this is in the book."""
        now_ms = self._now_ms()
        # Asked again after the broker's answer: meanwhile the recorder may have taken the very end
        # of one of these.
        if session.level and await session.consumer.pending() == 0 and session.level:
            return now_ms
        return session.position.message_at_ns // 1_000_000

    def _forget(self) -> None:
        tally, self._tally = self._tally, None
        if tally is not None:
            tally.terminate()
