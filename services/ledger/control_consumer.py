"""CONTROL in order from a given place, none missed, none twice: an ordered consumer of a stream
that lives in policy's account.

There the ledger may make no consumer: it reads page by page. What the broker stored is dense, so a
page that doesn't follow the last message breaks the consumer like a hole in a consumer's numbers.
"""

import asyncio
from collections import deque

from nats.aio.client import Client

from services.ledger.message import Message, first_of
from shared import history

POLL_S = 0.2


class ControlConsumer:
    """
    Args:
        start_seq: where to begin; the first message may come later, when that one is gone.
    """

    def __init__(self, client: Client, start_seq: int) -> None:
        self._client = client
        self._next_seq = max(1, start_seq)
        self._waiting: deque[Message] = deque()
        self.waiting_bytes = 0
        self.behind = 0
        """Messages the broker still has for us, by its last word."""

    async def open(self) -> None:
        """Raises one of BUS_ERRORS."""
        await self._read()

    async def close(self) -> None:
        """The broker keeps nothing of us."""

    async def wait(self) -> None:
        """Until a message is here. Raises one of BUS_ERRORS. Cancelling it loses nothing."""
        while not self._waiting:
            await self._read()
            if not self._waiting:
                await asyncio.sleep(POLL_S)

    async def take(self, messages_max: int, bytes_max: int) -> list[Message]:
        """What is here, at least one message once `wait` has returned."""
        taken, size = first_of(self._waiting, messages_max, bytes_max)
        self.waiting_bytes -= size
        return taken

    async def pending(self) -> int:
        """Messages that `take` hasn't returned. Raises one of BUS_ERRORS."""
        if not self._waiting:
            await self._read()
        return self.behind + len(self._waiting)

    async def _read(self) -> None:
        page = await history.read(self._client, self._next_seq)
        for seq, at_ns, subject, data in page.messages:
            self._waiting.append(Message(seq, at_ns, subject, data))
            self.waiting_bytes += len(data)
            self._next_seq = seq + 1
        self.behind = page.pending
