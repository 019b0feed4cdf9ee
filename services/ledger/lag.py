"""How far the book is behind a stream, also while nothing can be recorded: that is when it
matters.
"""

import asyncio
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from nats.aio.client import Client

from services.ledger import metrics
from services.ledger.lock import Lock
from services.ledger.ordered_consumer import BUS_ERRORS
from services.ledger.writer import Writer
from shared import streams
from shared.waiting import set_within

CHECK_S = 1.0


class LagWatch:
    """Looks once a second. A standby reports 0: the one that records reports for all."""

    def __init__(
        self,
        client: Client,
        recorder: Writer[Any],
        lock: Lock,
        stream: str,
        label: str,
        stopping: asyncio.Event,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._client = client
        self._recorder = recorder
        self._lock = lock
        self._stream = stream
        self._stopping = stopping
        self._clock = clock
        self._messages = metrics.LAG_MESSAGES.labels(label)
        self._seconds = metrics.LAG_SECONDS.labels(label)
        self._level_at = clock()
        """When the book was last seen to have everything."""

    async def run(self) -> None:
        while not self._stopping.is_set():
            with suppress(*BUS_ERRORS):
                await self.look()
            await set_within(self._stopping, CHECK_S)

    async def look(self) -> None:
        position = self._recorder.position
        if position is None or not (self._lock.held or self._lock.trouble):
            self._level_at = self._clock()
            self._messages.set(0)
            self._seconds.set(0)
            return
        state = await streams.state(self._client, self._stream)
        position = self._recorder.position or position
        behind = max(0, state.last_seq - position.seq)
        self._messages.set(behind)
        if behind == 0:
            self._level_at = self._clock()
        # What waits was stored after the last message recorded, and after the book was level.
        since = max(self._level_at, position.message_at_ns / 1e9)
        self._seconds.set(max(0.0, self._clock() - since) if behind else 0)
