"""This replica's copy of the directory, kept by the control feed, and whether it may be trusted
right now.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable

import msgspec
import nats.errors
import structlog
from nats.aio.client import Client

from services.policy import metrics
from services.policy.directory import Directory
from shared import history, subjects
from shared.bus import BusError
from shared.decoding import UNREADABLE
from shared.facts import ControlFact, decode_control
from shared.feed import ControlFeed, Told
from shared.waiting import ended

log = structlog.get_logger()

STALE_MS_MAX = 5_000
"""When nothing was heard from the feed for so long, what we know may have been revoked."""
CATCH_UP_MS_MAX = 500
"""How long a question waits for this replica to reach the sequence it asks for."""
POLL_S = 0.01
READ_BACK_RETRY_S = 0.2


class Replica:
    """The directory changes only inside `_fold`, between two awaits of everything else."""

    def __init__(self, client: Client, ensure: Callable[[], Awaitable[object]] | None = None) -> None:
        self._client = client
        self.directory = Directory()
        self.feed = ControlFeed(client, self._fold, on_reset=self._reset, ensure=ensure)
        self._unread: dict[str, int] = {}
        """Subjects whose last fact can't be read, at its sequence, and whose earlier facts this
        replica hasn't seen: being read back.
        """
        self._reader: asyncio.Task[None] | None = None

    async def close(self) -> None:
        if self._reader is not None:
            await ended(self._reader)
        await self.feed.close()

    def reason_not_ready(self) -> str | None:
        if self.feed.stale_ms > STALE_MS_MAX:
            return "nothing heard from the control feed"
        if self._unread:
            return "reading back what an unreadable fact stands for"
        if self.feed.restoring:
            return "restore-control hasn't ended: if it was stopped, run it again"
        return None if self.feed.caught_up else "catching up with the control stream"

    def has_reached(self, seq: int) -> bool:
        """Whether this replica is trustworthy, and at `seq` or later."""
        return self.feed.seq >= seq and self.reason_not_ready() is None

    async def reach(self, seq: int) -> None:
        """Return once this replica is trustworthy and at `seq` or later. Raises
        BusError("behind").
        """
        if self.has_reached(seq):
            return
        deadline = time.monotonic() + CATCH_UP_MS_MAX / 1000
        await self.feed.wait_for(seq, CATCH_UP_MS_MAX)
        while not self.has_reached(seq):
            if time.monotonic() >= deadline:
                raise BusError("behind")
            await asyncio.sleep(POLL_S)

    def _fold(self, facts: list[Told]) -> None:
        for each in facts:
            self._fold_one(*each)

    def _fold_one(self, subject: str, message: bytes, seq: int) -> None:
        """Never raises: the feed goes on. A fact that can't be read takes nothing away and gives
        nothing: the last good one holds.
        """
        try:
            self.directory.apply(subject, read_fact(subject, message), seq)
            self._unread.pop(subject, None)
        except UNREADABLE:
            metrics.unreadable()
            log.error("fact_not_readable", subject=subject, seq=seq)
            if self.directory.expected_seq(subject) == 0:
                self._unread[subject] = seq
                if self._reader is None or self._reader.done():
                    self._reader = asyncio.create_task(self._read_back())
            elif subject in self._unread:
                self._unread[subject] = seq
            self.directory.unreadable(subject, seq)

    def _reset(self) -> None:
        self.directory.clear()
        self._unread.clear()

    async def _read_back(self) -> None:
        """A replica begins with the last fact of every subject; where that one can't be read, it
        needs the last that can.
        """
        while self._unread:
            subject, seq = next(iter(self._unread.items()))
            try:
                found = await self._last_readable(subject, seq)
            except (nats.errors.Error, OSError, TimeoutError) as error:
                log.warning("history_not_read", subject=subject, error=type(error).__name__)
                await asyncio.sleep(READ_BACK_RETRY_S)
                continue
            if self._unread.get(subject) == seq:  # nothing came meanwhile
                del self._unread[subject]
                if found is not None:
                    self.directory.apply(subject, found, seq)
                    self.directory.unreadable(subject, seq)  # and stays named as such
                log.error("fact_replaced_by_earlier", subject=subject, seq=seq, found=found is not None)

    async def _last_readable(self, subject: str, before: int) -> ControlFact | None:
        found: ControlFact | None = None
        page = await history.read(self._client, 1, subject)
        while page.messages:
            for stored in page.messages:
                if stored.seq < before:
                    try:
                        fact = read_fact(stored.subject, stored.data)
                        Directory().apply(subject, fact, stored.seq)
                        found = fact
                    except UNREADABLE:
                        pass
            if not page.pending:
                break
            page = await history.read(self._client, page.messages[-1].seq + 1, subject)
        return found


def read_fact(subject: str, message: bytes) -> ControlFact:
    """The fact, which must be about the entity whose subject it is on. Raises
    msgspec.DecodeError.
    """
    fact = decode_control(message)
    if subjects.control(fact.kind, fact.entity_id) != subject:
        raise msgspec.ValidationError("the fact isn't about its subject's entity")
    return fact
