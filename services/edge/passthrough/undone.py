"""An answer that is relayed, without a content-encoding that nobody asked for (RFC 9110 §8.4: the
recipient undoes it), and whose next bytes may be waited for twice.
"""

import asyncio
from collections.abc import AsyncIterator
from typing import Protocol

from services.edge.sources import Chunks, Decoded
from services.edge.upstream import can_undo
from shared.outbound import OutboundError, Streamed


class Answered(Protocol):
    """A `shared.outbound.Streamed`, or one that was undone."""

    status: int
    headers: list[tuple[str, str]]

    def chunks(self) -> AsyncIterator[bytes]:
        """What comes next. Raises OutboundError."""


class Undone:
    """What nobody can undo stays as it is. `drop` it at the end."""

    def __init__(self, answer: Streamed) -> None:
        encoding = dict(answer.headers).get("content-encoding", "").strip().lower().encode()
        is_undone = can_undo(encoding)
        self.status = answer.status
        self.headers = [each for each in answer.headers if not is_undone or each[0] != "content-encoding"]
        self._ahead = _Ahead(answer.chunks())
        self._chunks: Chunks = self._ahead
        if is_undone:
            self._chunks = Decoded(self._ahead, encoding, lambda: OutboundError("broken"))

    async def chunks(self) -> AsyncIterator[bytes]:
        """What comes next. Raises OutboundError."""
        while chunk := await self._chunks.next_chunk():
            yield chunk

    async def beginning(self, bytes_max: int) -> bytes:
        """As much of it as is worth reading; empty: it broke off."""
        body = b""
        try:
            async for chunk in self.chunks():
                body += chunk
                if len(body) > bytes_max:
                    break
        except OutboundError:
            return b""
        return body

    async def arrived(self, within_s: float) -> bool:
        """Whether `chunks` has something to say by then."""
        return await self._chunks.arrived(within_s)

    def let_go(self) -> None:
        """It isn't waited for any more: what comes goes on as it comes."""

    def drop(self) -> None:
        """Nobody waits any more."""
        self._ahead.drop()


class _Ahead:
    """The next chunk is fetched by a task where it is waited for without being taken."""

    def __init__(self, chunks: AsyncIterator[bytes]) -> None:
        self._chunks = chunks
        self._next: asyncio.Task[bytes] | None = None

    async def arrived(self, within_s: float) -> bool:
        if self._next is None:
            self._next = asyncio.ensure_future(self._fetched())
        done, _ = await asyncio.wait({self._next}, timeout=max(0.0, within_s))
        return bool(done)

    async def next_chunk(self) -> bytes:
        fetching, self._next = self._next, None
        return await self._fetched() if fetching is None else await fetching

    async def _fetched(self) -> bytes:
        return await anext(self._chunks, b"")

    def drop(self) -> None:
        fetching, self._next = self._next, None
        if fetching is not None and not fetching.cancel():
            fetching.exception()  # nobody else asks for it
