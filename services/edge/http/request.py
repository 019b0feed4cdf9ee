"""A request while it arrives: its head, and what of its body is here.

Its body is in one of three states:

    coming    more bytes are to come; they wait in `pieces` until the handler takes them, or are thrown away (`drop`)
    complete  everything has arrived, some may be unread
    broken    it isn't what its head said; what arrived before is still read first, then BrokenBodyError is raised
"""  # noqa: W505

import asyncio
import functools
import re
from typing import Protocol
from urllib.parse import unquote, unquote_to_bytes

from services.edge.http.budget import Account
from services.edge.paths import escaped, is_ambiguous

TARGETS_KEPT = 64
"""Clients ask for the same few; each is at most some 40 kB with all it comes to."""
_PLAIN_TARGET = re.compile(rb"/[-/._~0-9A-Za-z]*").fullmatch


class BrokenBodyError(Exception):
    """The client's framing of the body isn't valid."""


class OverBudgetError(BrokenBodyError):
    """There is no room for the body: it was cut off."""


class RequestConnection(Protocol):
    """What a request and its answer need of their connection."""

    writing_paused: bool
    account: Account

    def begin(self, request: "Request", *, closing: bool) -> bool: ...
    def write(self, data: bytes) -> None: ...
    async def drain(self) -> None: ...
    def flow(self) -> None: ...
    def abort(self) -> None: ...
    def hold(self, size_bytes: int, *, force: bool = False) -> bool: ...
    def recognised(self) -> None: ...


class Tape(Protocol):
    """Hears what goes out of a stream."""

    def add(self, data: bytes) -> None: ...


class Request:
    """Made by a connection when the head has arrived. One reader at a time."""

    __slots__ = (
        "_loop", "account", "answered", "broken", "buffered_bytes", "canonical", "complete", "connection",
        "content_length", "credential", "dropping", "fields", "head", "keep_alive", "method", "minor", "more_lines", "overrun", "path",
        "pieces", "query", "raw_path", "remote", "tape", "target", "told_to_send", "waiter",
    )  # fmt: skip

    def __init__(
        self,
        connection: RequestConnection,
        loop: asyncio.AbstractEventLoop,
        remote: str | None,
        method: str,
        target: bytes,
        headers: dict[bytes, bytes],
        minor: int,
        keep_alive: bool,
        content_length: int | None,
    ) -> None:
        """ValueError for a target that is no path and names no host."""
        self.connection = connection
        self.account: Account = connection.account
        """Of its connection (http/budget.py)."""
        self._loop = loop
        self.remote = remote
        """The client's address, without its port."""
        self.method = method
        self.target = target
        """As it was sent."""
        self.fields = headers
        """By their lower-case names, as they were sent, but for the body's length."""
        self.minor = minor
        """Of HTTP/1.x: 0 or 1."""
        self.path: str
        """Decoded, but for `/` inside a segment, which stays `%2F`."""
        self.raw_path: str
        """As it was sent."""
        self.canonical: bool
        """Whether the path was sent in the one way in which it is written: no other names
        anything.
        """
        self.keep_alive = keep_alive
        """Whether the client wants to send another."""
        self.raw_path, self.query, self.path, self.canonical = _named(target)
        self.content_length = content_length
        """In bytes, as declared."""
        self.pieces: list[bytes] = []
        self.buffered_bytes = 0
        self.complete = self.broken = self.overrun = self.dropping = self.told_to_send = False
        self.more_lines = ""
        """Rendered header lines for the answer, whoever makes it."""
        self.head: object = None
        """What stands for its head, on this connection; None: it isn't known to be the same as
        another's.
        """
        self.credential: object = None
        """For the server: what it found out about it."""
        self.tape: Tape | None = None
        self.answered = False
        """Something of an answer is out."""
        self.waiter: asyncio.Future[None] | None = None

    def header(self, name: str) -> str | None:
        """The first value of a header, by its lower-case name. Bytes that aren't UTF-8 come as lone
        surrogates.
        """
        value = self.fields.get(name.encode())
        return None if value is None else value.rstrip(b" \t").decode("utf-8", "surrogateescape")

    def field(self, name: bytes) -> bytes | None:
        """As `header`, undecoded."""
        return self.fields.get(name)

    def has_none_of(self, names: frozenset[bytes]) -> bool:
        """Whether none of these headers was sent."""
        return names.isdisjoint(self.fields)

    def headers(self) -> dict[str, str]:
        """All of them, by their lower-case names; bytes beyond ASCII as Latin-1."""
        return {name.decode("latin-1"): value.rstrip(b" \t").decode("latin-1") for name, value in self.fields.items()}

    def whole_body(self) -> bytes | None:
        """All of the body if it is here already, as it mostly is."""
        return self._take() if self.complete else None

    async def next_chunk(self) -> bytes:
        """What has arrived since the last call, joined, as soon as there is any; b"" at the end.
        BrokenBodyError.
        """
        while not self.pieces:
            if self.complete:
                return b""
            if self.broken:
                raise OverBudgetError if self.overrun else BrokenBodyError
            await self._more()
        return self._take()

    def abort(self) -> None:
        """Cut the connection: what is out must not look like a whole answer."""
        self.connection.abort()

    def hold(self, size_bytes: int, *, force: bool = False) -> bool:
        """What is kept for this request grows by so much, until it is over. False: there is no room
        for it (http/budget.py).

        `force`: it is here already, and stays.
        """
        return self.connection.hold(size_bytes, force=force)

    def recognised(self) -> None:
        """Policy knows who sent this: it doesn't share with strangers."""
        self.connection.recognised()

    # ── for the connection ──

    def drop(self) -> None:
        """Nobody will read the body."""
        self.dropping = True
        self.pieces.clear()
        self.buffered_bytes = 0

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
        if not self.complete:
            self.connection.flow()
        return chunk

    async def _more(self) -> None:
        if self.waiter is not None:
            raise RuntimeError("a request has one reader at a time")
        if not self.told_to_send:
            self.told_to_send = True
            if self.minor == 1 and (self.header("expect") or "").lower() == "100-continue" and not self.answered:
                self.connection.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        waiter = self.waiter = self._loop.create_future()
        try:
            await waiter
        finally:
            self.waiter = None


@functools.lru_cache(maxsize=TARGETS_KEPT)
def _named(target: bytes) -> tuple[str, str, str, bool]:
    """What a target names: path as sent, query, path decoded, and whether that was the one way to
    write it.
    """
    if _PLAIN_TARGET(target) and b"/." not in target:
        path = target.decode("ascii")
        return path, "", path, True
    raw_path, query = _split(target)
    return raw_path, query, *_decode(raw_path)


def _split(target: bytes) -> tuple[str, str]:
    """A request's target → its path and its query, as they were sent."""
    target = target.partition(b"#")[0]
    if (
        target[:1] != b"/" and b"://" in target
    ):  # the absolute form, as to a proxy; whose host it names doesn't matter here
        authority = re.split(rb"[/?]", target.partition(b"://")[2], maxsplit=1)[0]
        if not authority:
            raise ValueError("no host in the target")
        target = target.partition(b"://")[2][len(authority) :]
        target = target if target[:1] == b"/" else b"/" + target
    path, _, query = target.partition(b"?")
    return path.decode("latin-1"), query.decode("latin-1")


def _decode(raw: str) -> tuple[str, bool]:
    """A path as it was sent → the same decoded, and whether that was the one way to write it.

    Each path has one way to be written, so that whoever checks it and whoever acts on it can't see
    two: nothing is escaped that needn't be, and there are no dot segments. `/` inside a segment
    stays `%2F`. What isn't UTF-8 becomes U+FFFD.
    """
    segments, canonical = [], True
    for sent in raw.split("/"):
        try:
            segment = unquote_to_bytes(sent.encode("latin-1")).decode()
        except UnicodeDecodeError:
            segment, canonical = unquote(sent, errors="replace"), False
        if is_ambiguous(segment) or escaped(segment) != _ESCAPE.sub(_upper, sent):
            canonical = False
        segments.append(segment.replace("/", "%2F"))
    return "/".join(segments), canonical


def _upper(escape: re.Match[str]) -> str:
    return escape[0].upper()


_ESCAPE = re.compile("%[0-9a-fA-F]{2}")
