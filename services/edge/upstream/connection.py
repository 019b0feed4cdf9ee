"""One connection and the exchange on it: bytes out, parser events in, one timer.

Who owns a connection, and when:

    connecting → busy ⇄ idle → closed          (any state → closed)

- *connecting*: the pool holds a slot for it; nobody may write.
- *busy*: it belongs to the one `Response` in `response`, from `start` until that response is
  complete or failed. Only the parser's callbacks and the timer touch the response; only the
  response's reader calls `arm`, `resume` and `close`.
- *idle*: it belongs to the pool. Whatever arrives now (bytes, EOF, an error) was not asked for, and
  closes it.
- *closed*: final. `close` is the one way there: synchronous, at once (the socket is aborted: unsent
  bytes are dropped), any number of times; it gives the slot back. It never waits for the peer.

From busy to idle leads one way: the parser saw the message's end, the peer will keep the
connection, not a byte came after the end, and the request has left (its last bytes may take
`DRAIN_S` longer). Everything else closes: a connection whose state isn't known exactly would hand
one caller's answer to another.

Requests are written without a task: what the transport doesn't take waits in `_unsent`, and
`resume_writing` goes on. So a response may come, and be read, while its request is still being
written.

The timer: a deadline is a number. The pending `call_at` is only replaced when the new deadline is
earlier; when it fires too early it re-arms itself. A busy client so pays for a timer about once in
`first_byte_ms`, not once a read.

Framing is httptools' (llhttp, strict), with what it leaves open decided here: a body until EOF ends
well only by a clean end (in TLS: close_notify); a transfer-encoding other than chunked, and 101,
are errors; 1xx are skipped, trailers dropped.
"""

import asyncio
import select
import socket
import ssl
from typing import Protocol, cast

import httptools

from services.edge.upstream.origin import Kind, UpstreamError
from services.edge.upstream.response import Response

BUFFERED_BYTES_HIGH = 256 * 1024
"""Reading stops above this and goes on when the reader has taken it. One socket read (≤ 256 kB) may
come on top.
"""
WRITE_PIECE_BYTES = 128 * 1024
"""Bodies up to this go out in one write with the head; larger ones in slices of this, as the
transport takes them.
"""
HEADERS_MAX = 256
"""Fields in one response, interim responses and trailers included."""
DRAIN_S = 1.0
"""How long after a response the transport may still hold the end of its request, before the
connection is given up.
"""
_EARLY_S = 0.001
"""Loops round timers to milliseconds."""


class ConnectionPool(Protocol):
    """What a connection needs of its pool."""

    def released(self, connection: "UpstreamConnection") -> None:
        """Its exchange is over and it may be used again."""

    def closed(self, connection: "UpstreamConnection") -> None:
        """Its slot is free. Called once."""


class UpstreamConnection(asyncio.Protocol):
    """See the module. `idle_since`, `born` and `served` are the pool's."""

    __slots__ = (
        "_barren_bytes", "_came", "_draining", "_head_bytes", "_head_bytes_max", "_headers", "_keep_alive", "_loop",
        "_parser", "_pool", "_reading_paused", "_timer", "_timer_at", "_transport", "_unsent", "_writing_paused",
        "born", "closed", "deadline", "idle_since", "response", "served",
    )  # fmt: skip

    def __init__(self, pool: ConnectionPool, loop: asyncio.AbstractEventLoop, head_bytes_max: int) -> None:
        self._pool = pool
        self._loop = loop
        self._head_bytes_max = head_bytes_max
        self._parser: httptools.HttpResponseParser | None = httptools.HttpResponseParser(self)
        self._transport: asyncio.Transport | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._timer_at = self.deadline = 0.0
        """`deadline` may be moved to later as it is: the timer re-arms itself."""
        self._unsent: memoryview | None = None
        self._writing_paused = self._reading_paused = self._keep_alive = self._draining = False
        self._headers: list[tuple[bytes, bytes]] = []
        self._head_bytes = self._barren_bytes = 0
        self._came = False
        self.response: Response | None = None
        self.closed = False
        self.born = self.idle_since = loop.time()
        self.served = 0

    # ── the exchange ──

    def start(self, response: Response, head: bytes, body: bytes, head_by: float) -> None:
        """Writes a request; from here on the response is fed. The caller has just checked that it
        is `alive`.
        """
        transport = self._transport
        assert transport is not None and self.response is None
        self.response = response
        response.connection = self
        response.waiter = self._loop.create_future()
        self.served += 1
        self._headers = []
        self._head_bytes = self._barren_bytes = 0
        self._keep_alive = self._came = False
        total_at = response.total_at
        self.arm(head_by if head_by < total_at else total_at)
        if len(body) <= WRITE_PIECE_BYTES:
            transport.write(head + body if body else head)
        else:
            self._unsent = memoryview(body)
            transport.write(head)
            self._write_on()

    def arm(self, at: float) -> None:
        """The exchange fails with `timeout` unless this is called again before `at` (the loop's
        clock).
        """
        self.deadline = at
        if self._timer is None or at < self._timer_at:
            if self._timer is not None:
                self._timer.cancel()
            self._timer_at = at
            self._timer = self._loop.call_at(at, self._rang)

    def resume(self) -> None:
        """The reader has taken what was buffered."""
        if self._reading_paused and self.alive():
            self._reading_paused = False
            cast(asyncio.Transport, self._transport).resume_reading()

    def alive(self) -> bool:
        """Neither we nor the transport have given it up; uvloop's says so before it calls
        `connection_lost`.
        """
        return not self.closed and self._transport is not None and not self._transport.is_closing()

    def close(self) -> None:
        if self.closed:
            return
        self.closed = True
        self.response = None
        self._unsent = None
        self._parser = None  # it refers back here: no cycle for the collector to find
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._transport is not None:
            self._transport.abort()
        self._pool.closed(self)

    def abandon(self) -> None:
        """The client closes: so does this, and a busy exchange fails."""
        self._fail(UpstreamError("reset", "the client was closed"))

    def is_quiet(self) -> bool:
        """While idle: nothing, most of all no EOF, waits in the socket that the loop hasn't
        reported yet. A system call.
        """
        tcp = self._transport.get_extra_info("socket") if self._transport is not None else None
        if tcp is None or tcp.fileno() < 0:  # closed under us
            return False
        poll = select.poll()
        poll.register(tcp.fileno(), select.POLLIN)
        return not poll.poll(0)

    def _fail(self, error: UpstreamError) -> None:
        response = self.response
        self.close()
        if response is not None:
            response.fail(error)

    def _finish(self, response: Response) -> None:
        self.response = None
        response.connection = None
        if not self._keep_alive or self._unsent is not None or not self.alive():
            self.close()
            return
        if self._reading_paused:
            self.resume()
        if self._writing_paused:
            self._draining = True
            self.arm(self._loop.time() + DRAIN_S)
        else:
            self._pool.released(self)

    def _rang(self) -> None:
        self._timer = None
        response = self.response
        if response is None and not self._draining:
            return
        now = self._loop.time() + _EARLY_S
        if now < self.deadline:
            self.arm(self.deadline)
        elif response is None:
            self.close()
        elif now >= response.total_at:
            self._fail(UpstreamError("timeout", "the exchange took longer than its total deadline"))
        elif response.status:
            self._fail(UpstreamError("timeout", "the upstream fell silent in the middle of its body"))
        else:
            self._fail(UpstreamError("timeout", "the upstream didn't answer in time"))

    def _write_on(self) -> None:
        while (rest := self._unsent) is not None and not self._writing_paused and self.alive():
            self._unsent = rest[WRITE_PIECE_BYTES:] if len(rest) > WRITE_PIECE_BYTES else None
            cast(asyncio.Transport, self._transport).write(rest[:WRITE_PIECE_BYTES])

    # ── asyncio's events ──

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        if self.closed:  # given up while connecting
            self._transport.abort()
            return
        self.born = self._loop.time()
        tcp = transport.get_extra_info("socket")
        if tcp is not None:  # already closed again
            tcp.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            tcp.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)  # a model may think for minutes behind a NAT

    def data_received(self, data: bytes) -> None:
        response, parser = self.response, self._parser
        if response is None or parser is None:
            self.close()
            return
        self._barren_bytes += len(data)
        self._came = True
        try:
            parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade) as error:
            self._keep_alive = False  # also for what came after a complete response
            if not response.complete:
                self._fail(_refusal(error))
                return
        if response.complete:
            self._finish(response)
        elif self._barren_bytes > self._head_bytes_max:
            self._fail(_too_large())
        elif response.buffered_bytes > BUFFERED_BYTES_HIGH and not self._reading_paused:
            self._reading_paused = True
            cast(asyncio.Transport, self._transport).pause_reading()

    def eof_received(self) -> None:
        response = self.response
        if response is not None and response.status and _is_until_eof(response.headers) and self._is_clean_end():
            response.complete = True
            response.connection = None
            self.close()
            response.wake()
        else:
            text = "the upstream closed the connection before its response ended"
            self._fail(UpstreamError("reset", text, nothing_came=not self._came))

    def _is_clean_end(self) -> bool:
        """Over TLS only after close_notify: else whoever cuts the connection cuts the answer.
        (asyncio reports both.)
        """
        tls = cast(asyncio.Transport, self._transport).get_extra_info("ssl_object")
        try:
            return tls is None or tls.read(1) == b""
        except ssl.SSLError:
            return False

    def connection_lost(self, exc: Exception | None) -> None:
        kind: Kind = "tls" if isinstance(exc, ssl.SSLError) else "reset"
        text = "the connection was lost before the response ended"
        self._fail(UpstreamError(kind, text, nothing_came=kind == "reset" and not self._came))

    def pause_writing(self) -> None:
        self._writing_paused = True

    def resume_writing(self) -> None:
        self._writing_paused = False
        if self.closed:
            return
        if self._draining:
            self._draining = False
            self._pool.released(self)
        else:
            self._write_on()

    # ── the parser's events; an exception stops it and comes out of `feed_data` ──

    def on_message_begin(self) -> None:
        response = self.response
        if response is None or response.complete:
            raise UpstreamError("protocol", "bytes after the response's end")

    def on_header(self, name: bytes, value: bytes) -> None:
        headers = self._headers
        headers.append((name.lower(), value))
        if len(headers) > HEADERS_MAX:
            raise _too_large()

    def on_headers_complete(self) -> None:
        parser, response = self._parser, self.response
        assert parser is not None and response is not None
        status = parser.get_status_code()
        headers = self._headers
        if status < 200 or self._barren_bytes > self._head_bytes_max:  # else it can't be too large
            self._head_bytes += sum(len(name) + len(value) + 4 for name, value in headers)
            if self._head_bytes > self._head_bytes_max:
                raise _too_large()
        if status < 200:
            if status < 100 or status == 101:
                raise UpstreamError("protocol", "the response's status isn't one that may come here")
            return  # interim; its headers count against the limits and are dropped at its end
        fields = dict(reversed(headers))  # of those that came twice, the first
        if b"transfer-encoding" in fields and any(
            name == b"transfer-encoding" and value.lower() != b"chunked" for name, value in headers
        ):
            raise UpstreamError("protocol", "the response has a transfer-encoding other than chunked")
        self._headers = []  # trailers go here
        self._barren_bytes = 0
        response.headers, response.fields = headers, fields
        response.status = status
        self.deadline = response.total_at  # later than the timer, which re-arms itself
        if response.headless_body:
            response.complete = (
                True  # the parser would wait for a body; it isn't asked again, and the connection closes
            )
            response.wake()
            raise UpstreamError("protocol", "the head of HEAD")
        response.wake()

    def on_body(self, body: bytes) -> None:
        response = self.response
        assert response is not None
        if not response.status:
            raise UpstreamError("protocol", "an interim response has a body")
        self._barren_bytes = 0
        response.pieces.append(body)
        response.buffered_bytes += len(body)
        if response.waiter is not None:
            response.wake()

    def on_message_complete(self) -> None:
        response, parser = self.response, self._parser
        assert response is not None and parser is not None
        if not response.status:
            self._headers.clear()
            return
        self._keep_alive = parser.should_keep_alive()
        response.complete = True
        if response.waiter is not None:
            response.wake()


def _too_large() -> UpstreamError:
    return UpstreamError("too_large", "the response's head or trailers are larger than allowed")


def _refusal(error: BaseException) -> UpstreamError:
    """Our own objection if a callback raised one, else the parser's."""
    if isinstance(error.__context__, UpstreamError):
        return error.__context__.again()
    return UpstreamError("protocol", f"the response isn't valid HTTP/1.1: {error}"[:200])


def _is_until_eof(headers: list[tuple[bytes, bytes]]) -> bool:
    """RFC 9112 §6.3, the last case: neither a length nor chunks say where the body ends."""
    return not any(name in (b"content-length", b"transfer-encoding") for name, _ in headers)
