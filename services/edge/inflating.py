"""Undoing a request's content-encoding: bounded by what comes out, linear in what goes in, and not
on the event loop.

A body of a few kilobytes may hold gigabytes, or a hundred thousand empty members. So it is unpacked
in steps of so much output, in threads (threads.py), and between two steps the loop asks whether
there is room for more. What unpacks to little is done at once: a thread would cost more.
"""

import zlib
from collections.abc import Callable

from services.edge.threads import Threads

ENCODINGS = ("gzip", "x-gzip", "deflate")
AT_ONCE_BYTES = 65_536
"""Of output, on the loop: some 0.2 ms."""
STEP_BYTES = 1024 * 1024
"""Of output, in a thread, before the loop looks again."""
INPUT_BYTES = 65_536
"""Handed to zlib at a time: what it leaves of it (at a member's end) is copied."""
MEMBERS_MAX = 4096
"""Of gzip, in one body; the tools that make many put 64 kB into each."""

_threads = Threads("inflate")


class InflatingError(Exception):
    """The body isn't what its content-encoding says. The message is for the client."""


class TooLargeError(Exception):
    """More would come out than is allowed."""


class NoRoomError(Exception):
    """There is no room for what comes out."""


class Inflater:
    """One body. `step` is called until it is `done`, by one thread at a time."""

    def __init__(self, data: bytes, encoding: str, bytes_max: int) -> None:
        self._data = data
        self._at = 0
        self._is_deflate = encoding == "deflate"
        self._room = bytes_max
        self._members = 0
        self._inner: zlib._Decompress | None = None
        self._rest = b""
        """Of the input, not yet taken by zlib."""
        self.done = not data

    def step(self, output_max: int) -> bytes:
        """Some more output, hardly more than `output_max` bytes. Raises InflatingError,
        TooLargeError.
        """
        out, size = [], 0
        try:
            while not self.done and size < output_max:
                piece = self._piece(min(output_max - size, self._room + 1))
                size += len(piece)
                self._room -= len(piece)
                if self._room < 0:
                    raise TooLargeError
                if piece:
                    out.append(piece)
        except zlib.error:
            raise InflatingError("The request body could not be decompressed") from None
        return out[0] if len(out) == 1 else b"".join(out)

    def _piece(self, output_max: int) -> bytes:
        if not self._rest:
            self._rest = self._data[self._at : self._at + INPUT_BYTES]
            self._at += len(self._rest)
        if self._inner is None:
            self._inner = self._begin(self._rest)
        inner = self._inner
        piece = inner.decompress(self._rest, output_max)
        if inner.eof:
            self._rest = inner.unused_data
            self._inner = None
        else:
            self._rest = inner.unconsumed_tail
        if not self._rest and self._at >= len(self._data):
            if inner.eof:
                self.done = True
            elif len(piece) < output_max:
                raise InflatingError("The compressed request body ends early")
        return piece

    def _begin(self, data: bytes) -> "zlib._Decompress":
        self._members += 1
        if self._members > MEMBERS_MAX:
            raise InflatingError(f"The compressed request body has more than {MEMBERS_MAX} members")
        if not self._is_deflate:
            return zlib.decompressobj(16 + zlib.MAX_WBITS)
        # With zlib's wrapper, as the RFC says, or without, as some send it.
        return zlib.decompressobj(zlib.MAX_WBITS if data[0] & 0x0F == 8 else -zlib.MAX_WBITS)


async def inflate(data: bytes, encoding: str, bytes_max: int, hold: Callable[[int], bool]) -> bytes:
    """The body, unpacked. Raises InflatingError, TooLargeError, NoRoomError.

    Args:
        hold: asked for each step's bytes before the next step is made; False ends it.
    """
    inflater = Inflater(data, encoding, bytes_max)
    pieces: list[bytes] = []
    step = AT_ONCE_BYTES if len(data) <= AT_ONCE_BYTES else 0
    if step:
        pieces.append(_held(inflater.step(step), hold))
    while not inflater.done:
        pieces.append(_held(await _threads.run(inflater.step, STEP_BYTES), hold))
    if len(pieces) == 1:
        return pieces[0]
    return await _threads.run(b"".join, pieces)


def _held(piece: bytes, hold: Callable[[int], bool]) -> bytes:
    if not hold(len(piece)):
        raise NoRoomError
    return piece
