"""An answer without the content-encoding that nobody asked for (RFC 9110 §8.4: the recipient undoes it)."""

from collections.abc import AsyncIterator
from typing import Protocol

from services.edge.sources import Decoded
from services.edge.upstream import can_undo
from shared.outbound import OutboundError, Streamed


class Answered(Protocol):
    """A `shared.outbound.Streamed`, or one that was undone."""

    status: int
    headers: list[tuple[str, str]]

    def chunks(self) -> AsyncIterator[bytes]:
        """What comes next. Raises OutboundError."""


def undone(answer: Streamed) -> Answered:
    """What nobody can undo stays as it is."""
    encoding = dict(answer.headers).get("content-encoding", "").strip().lower()
    return _Undone(answer, encoding) if can_undo(encoding.encode()) else answer


class _Undone:
    def __init__(self, answer: Streamed, encoding: str) -> None:
        self.status = answer.status
        self.headers = [each for each in answer.headers if each[0] != "content-encoding"]
        self._decoded = Decoded(_Chunks(answer.chunks()), encoding.encode(), lambda: OutboundError("broken"))

    async def chunks(self) -> AsyncIterator[bytes]:
        while chunk := await self._decoded.next_chunk():
            yield chunk


class _Chunks:
    def __init__(self, chunks: AsyncIterator[bytes]) -> None:
        self._chunks = chunks

    async def next_chunk(self) -> bytes:
        return await anext(self._chunks, b"")
