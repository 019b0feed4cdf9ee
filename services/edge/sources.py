"""Where an attempt's answer comes from: a provider's response as it is, undone of its encoding, or
a provider that plays.

All have what relay.py needs: status, headers, and bytes as they come.
"""

import zlib
from collections.abc import Callable, Iterator
from typing import Protocol

from services.edge.upstream import Response, UpstreamError, can_undo, window_bits

INFLATED_PIECE_BYTES = 256 * 1024
"""Of a compressed stream, decoded at once."""
DRAIN_S = 1.0


class Chunks(Protocol):
    async def next_chunk(self) -> bytes:
        """What arrived since the last call; b"" at the end. UpstreamError."""

    async def arrived(self, within_s: float) -> bool:
        """Whether `next_chunk` has something to say by then."""


class Source(Chunks, Protocol):
    status: int
    headers: list[tuple[bytes, bytes]]
    complete: bool

    def header(self, name: bytes) -> bytes | None: ...

    async def read(
        self, limit_bytes: int, hold: Callable[[int], bool] | None = None, held_from_bytes: int = 0
    ) -> bytes: ...

    def abort(self) -> None: ...


class Played:
    """The answer of a provider that needs no upstream."""

    def __init__(self, pieces: Iterator[bytes]) -> None:
        self._pieces = pieces
        self.status = 200
        self.headers: list[tuple[bytes, bytes]] = []
        self.complete = True

    def header(self, name: bytes) -> bytes | None:
        return None

    async def next_chunk(self) -> bytes:
        return next(self._pieces, b"")

    async def arrived(self, within_s: float) -> bool:
        return True

    async def read(
        self, limit_bytes: int, hold: Callable[[int], bool] | None = None, held_from_bytes: int = 0
    ) -> bytes:
        return b"".join(self._pieces)

    def abort(self) -> None:
        pass


class Decoded:
    """A stream that its provider compressed although nobody asked for that (RFC 9110 §8.4: the
    recipient undoes it).

    Args:
        broken: what is raised where the bytes aren't what the encoding says.
    """

    def __init__(self, chunks: Chunks, encoding: bytes, broken: Callable[[], Exception]) -> None:
        self._chunks = chunks
        self._encoding = encoding
        self._broken = broken
        self._inner: zlib._Decompress | None = None
        self._pending = b""

    async def arrived(self, within_s: float) -> bool:
        return bool(self._pending) or await self._chunks.arrived(within_s)

    async def next_chunk(self) -> bytes:
        while True:
            data = self._pending or await self._chunks.next_chunk()
            if not data:
                return b""
            if self._inner is None:
                self._inner = zlib.decompressobj(window_bits(self._encoding, data))
            try:
                piece = self._inner.decompress(data, INFLATED_PIECE_BYTES)
            except zlib.error:
                raise self._broken() from None
            self._pending = self._inner.unconsumed_tail
            if self._inner.eof:  # another member of gzip may follow
                self._pending, self._inner = self._inner.unused_data, None
            if piece:
                return piece


def chunks_of(source: Source) -> Chunks:
    """The bytes of a stream, whatever its content-encoding. UpstreamError `protocol` for one that
    nobody can undo.
    """
    encoding = (source.header(b"content-encoding") or b"identity").lower()
    if encoding == b"identity" or not isinstance(source, Response):
        return source
    if not can_undo(encoding):
        source.abort()
        raise UpstreamError("protocol", "the response has a content-encoding that wasn't asked for")

    def broken() -> UpstreamError:
        source.abort()
        return UpstreamError("protocol", "the body isn't what its content-encoding says")

    return Decoded(source, encoding, broken)


class Said:
    """An answer whose body was read already."""

    def __init__(self, source: Source, body: bytes) -> None:
        self._source = source
        self._body = body
        self.status = source.status
        self.headers = source.headers
        self.complete = True

    def header(self, name: bytes) -> bytes | None:
        return self._source.header(name)

    async def next_chunk(self) -> bytes:
        body, self._body = self._body, b""
        return body

    async def arrived(self, within_s: float) -> bool:
        return True

    async def read(
        self, limit_bytes: int, hold: Callable[[int], bool] | None = None, held_from_bytes: int = 0
    ) -> bytes:
        return self._body

    def abort(self) -> None:
        pass
