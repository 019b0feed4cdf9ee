"""A response while it arrives: its head, what of its body is here, and how it ended.

A response is in one of four states:

    waiting   no status yet                                   `send` waits
    open      status and headers; bytes come and are read     `connection` is ours
    complete  everything has arrived, some may be unread      the connection is back in the pool, or closed
    failed    `error` says why; what arrived before is still read first, then the error is raised
"""  # noqa: W505

import asyncio
import zlib
from collections.abc import AsyncIterator, Callable
from typing import Protocol

from services.edge.upstream.origin import Kind, UpstreamError


class ResponseConnection(Protocol):
    """What a response needs of its connection."""

    deadline: float

    def arm(self, at: float) -> None: ...
    def close(self) -> None: ...
    def resume(self) -> None: ...


class Response:
    """Made by `Client.send`. One reader at a time. Whoever holds it reads it to its end or calls
    `abort`.
    """

    __slots__ = (
        "_idle_s", "_loop", "buffered_bytes", "complete", "connection", "error", "fields", "headers",
        "headless_body",
        "pieces", "status", "total_at", "waiter",
    )  # fmt: skip

    def __init__(self, loop: asyncio.AbstractEventLoop, idle_s: float, total_at: float, *, headless_body: bool) -> None:
        self._loop = loop
        self._idle_s = idle_s
        self.total_at = total_at
        """By the loop's clock."""
        self.headless_body = headless_body
        """The answer to HEAD: its headers speak of a body that isn't there."""
        self.status = 0
        self.headers: list[tuple[bytes, bytes]] = []
        """As sent, in order, names in lower case."""
        self.fields: dict[bytes, bytes] = {}
        """By name; of several, the first."""
        self.pieces: list[bytes] = []
        self.buffered_bytes = 0
        self.complete = False
        self.error: UpstreamError | None = None
        self.connection: ResponseConnection | None = None
        """While the exchange lasts; None once complete or failed."""
        self.waiter: asyncio.Future[None] | None = None

    def header(self, name: bytes) -> bytes | None:
        """The first value of a header, by its lower-case name."""
        return self.fields.get(name)

    async def next_chunk(self) -> bytes:
        """What has arrived since the last call, joined, as soon as there is any; b"" at the end.

        These are the body's own bytes: a content-encoding isn't undone. Cancelling it closes the
        connection.
        """
        while not self.pieces:
            if self.error is not None:
                raise self.error.again()
            if self.complete:
                return b""
            await self._more()
        return self._take()

    async def arrived(self, within_s: float) -> bool:
        """Whether `next_chunk` has something to say by then: bytes, the end, or an error."""
        if self._has_news():
            return True
        waiting = self._loop.call_later(max(0.0, within_s), self.wake)
        try:
            await self._more()
        finally:
            waiting.cancel()
        return self._has_news()

    def _has_news(self) -> bool:
        return bool(self.pieces) or self.complete or self.error is not None

    async def chunks(self) -> AsyncIterator[bytes]:
        """`next_chunk` until the end. Leaving the loop early (with the iterator closed) closes the
        connection.
        """
        try:
            while chunk := await self.next_chunk():
                yield chunk
        finally:
            self.abort()

    async def read(
        self, limit_bytes: int, hold: Callable[[int], bool] | None = None, held_from_bytes: int = 0
    ) -> bytes:
        """The whole body, gzip and deflate undone. UpstreamError `too_large` past the limit,
        counted after decoding.

        Args:
            hold: told of each piece that is kept; False: no more may be (`no_room`).
            held_from_bytes: a body that is here already and smaller isn't worth telling.
        """
        encoding = self.fields.get(b"content-encoding", b"identity").lower()
        if self.complete and encoding == b"identity" and self.buffered_bytes <= limit_bytes:  # as it mostly is
            if hold is not None and self.buffered_bytes >= held_from_bytes and not hold(self.buffered_bytes):
                raise self._gave_up("no_room", "there is no room for more of the body")
            return self._take()
        inflate = None if encoding == b"identity" else self._inflater(encoding)
        pieces: list[bytes] = []
        size = 0
        while chunk := await self.next_chunk():
            if inflate is not None:
                try:
                    chunk = inflate.feed(chunk, limit_bytes - size)
                except zlib.error:
                    raise self._gave_up("protocol", "the body isn't what its content-encoding says") from None
            size += len(chunk)
            if size > limit_bytes:
                raise self._gave_up("too_large", f"the body is larger than {limit_bytes} bytes")
            if hold is not None and not hold(len(chunk)):
                raise self._gave_up("no_room", "there is no room for more of the body")
            pieces.append(chunk)
        if inflate is not None and not inflate.whole:
            raise self._gave_up("protocol", "the encoded body ends early")
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def abort(self) -> None:
        """Not interested any more: drops what is buffered and, if more is to come, closes the
        connection now.

        Idempotent, and harmless after the end. Whoever still reads gets UpstreamError `reset`.
        """
        self.pieces.clear()
        self.buffered_bytes = 0
        if (connection := self.connection) is not None:
            self.fail(UpstreamError("reset", "the response was aborted by its reader"))
            connection.close()

    # ── for the connection ──

    def fail(self, error: UpstreamError) -> None:
        """The exchange is over, unfinished."""
        self.connection = None
        self.error = error
        self.wake()

    def wake(self) -> None:
        waiter = self.waiter
        if waiter is not None:
            self.waiter = None
            if not waiter.done():
                waiter.set_result(None)

    # ── the rest ──

    def _take(self) -> bytes:
        pieces = self.pieces
        chunk = pieces[0] if len(pieces) == 1 else b"".join(pieces)
        self.pieces = []
        self.buffered_bytes = 0
        if self.connection is not None:  # more is to come
            self.connection.resume()
        return chunk

    async def _more(self) -> None:
        """Waits for bytes, the end, or a failure; not longer than the idle and total deadlines."""
        if self.waiter is not None:
            raise RuntimeError("a response has one reader at a time")
        connection = self.connection
        assert connection is not None  # neither complete nor failed
        waiter = self.waiter = self._loop.create_future()
        connection.arm(min(self._loop.time() + self._idle_s, self.total_at))
        try:
            await waiter
        except BaseException:
            self.waiter = None
            self.abort()
            raise
        if self.connection is not None:
            self.connection.deadline = self.total_at  # silence is only held against the upstream while somebody listens

    def _inflater(self, encoding: bytes) -> "_Inflater":
        if not can_undo(encoding):
            raise self._gave_up("protocol", "the response has a content-encoding that wasn't asked for")
        return _Inflater(encoding)

    def _gave_up(self, kind: Kind, text: str) -> UpstreamError:
        self.abort()
        return UpstreamError(kind, text)


def can_undo(encoding: bytes) -> bool:
    """Whether a content-encoding, in lower case, is one of those that are undone here."""
    return encoding in (b"gzip", b"x-gzip", b"deflate")


def window_bits(encoding: bytes, data: bytes) -> int:
    """For zlib, of a body that begins with this: deflate comes with zlib's wrapper, as the RFC
    says, or without.
    """
    if encoding != b"deflate":
        return 16 + zlib.MAX_WBITS
    return zlib.MAX_WBITS if data[0] & 0x0F == 8 else -zlib.MAX_WBITS


class _Inflater:
    """gzip (of one or more members) or deflate."""

    __slots__ = ("_encoding", "_inner", "whole")

    def __init__(self, encoding: bytes) -> None:
        self._encoding = encoding
        self._inner: zlib._Decompress | None = None
        self.whole = True
        """What came so far may be all: nothing at all, or a stream with its end."""

    def feed(self, data: bytes, room_bytes: int) -> bytes:
        """Decoded bytes, cut off one byte past the room: a bomb is never unpacked. zlib.error for
        garbage.
        """
        out: list[bytes] = []
        while data and room_bytes >= 0:
            if self._inner is None:
                self._inner = zlib.decompressobj(window_bits(self._encoding, data))
            piece = self._inner.decompress(data, room_bytes + 1)
            out.append(piece)
            room_bytes -= len(piece)
            self.whole = self._inner.eof
            if not self.whole:
                break
            data = self._inner.unused_data
            self._inner = None
        return b"".join(out)
