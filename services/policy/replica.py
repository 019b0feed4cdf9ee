"""This replica's copy of the directory, kept by the control feed, and whether it may be trusted right now."""

import asyncio
import time

import structlog
from nats.aio.client import Client

from services.policy import metrics
from services.policy.directory import Directory
from shared.bus import UNREADABLE, BusError
from shared.facts import decode_control
from shared.feed import ControlFeed

log = structlog.get_logger()

STALE_MS_MAX = 5_000
"""When nothing was heard from the feed for so long, what we know may have been revoked."""
CATCH_UP_MS_MAX = 500
"""How long a question waits for this replica to reach the sequence it asks for."""
POLL_S = 0.01


class Replica:
    """The directory changes only inside `_fold`, between two awaits of everything else."""

    def __init__(self, client: Client) -> None:
        self.directory = Directory()
        self.feed = ControlFeed(client, self._fold, from_last=True, on_reset=self.directory.clear)

    def reason_not_ready(self) -> str | None:
        if self.feed.stale_ms > STALE_MS_MAX:
            return "nothing heard from the control feed"
        return None if self.feed.caught_up else "catching up with the control stream"

    def has_reached(self, seq: int) -> bool:
        """Whether this replica is trustworthy, and at `seq` or later."""
        return self.feed.seq >= seq and self.reason_not_ready() is None

    async def reach(self, seq: int) -> None:
        """Return once this replica is trustworthy and at `seq` or later. Raises BusError("behind")."""
        if self.has_reached(seq):
            return
        deadline = time.monotonic() + CATCH_UP_MS_MAX / 1000
        await self.feed.wait_for(seq, CATCH_UP_MS_MAX)
        while not self.has_reached(seq):
            if time.monotonic() >= deadline:
                raise BusError("behind")
            await asyncio.sleep(POLL_S)

    def _fold(self, subject: str, message: bytes, seq: int) -> None:
        """Never raises: the feed goes on. What can't be read takes no right away: the last good entity stays, loudly."""
        try:
            self.directory.apply(subject, decode_control(message), seq)
        except UNREADABLE:
            self.directory.unreadable(subject, seq)
            metrics.unreadable()
            log.error("fact_not_readable", subject=subject, seq=seq)
