"""One client's connection: bytes in, requests to the handler, answers out.

Where a connection is, and who owns it:

    idle → head → busy → (lingering) → idle … → closed          (any state → closed)

- *idle*: nothing of a request is here. Closed after `IDLE_S`, or when the edge stops.
- *head*: the first byte of a request came, its head isn't whole. Refused and closed after `HEAD_S`.
- *busy*: it belongs to the one request in `_request` and the handler's `_task`: from when the head was whole until the answer
  is written (and the client has taken what doesn't fit our buffers). The request's body may still be coming.
- *lingering*: the answer is out, and the client goes on sending: thrown away, for `LINGERING_S` and `LINGERING_BYTES_MAX` at most,
  so that it can read the answer instead of being reset. If the connection may be used again, this ends well with the body's end
  (*idle*); if not, our half is closed already, so that the client sees the end.
- *closed*: `connection_lost` has been called. A handler that still runs has been cancelled.

One request at a time. What arrives behind a request that is complete waits unparsed in `_held`; reading stops when that is too
much. But the parser can't be stopped in the middle of what it is given: so it is given slices, and requests that were in the
same slice wait parsed in `_queue`. The latest request whose head is whole and whose body isn't, is `_receiving`: it alone is
fed. So bytes are parsed only while there is no request, or the current one is the one that is receiving.

The client has left when the socket says so: EOF is not told from the end of the connection, as nobody who waits for an answer
closes his half. While reading is paused (a body nobody takes, too much pipelined) it isn't noticed before something is written.

The input is over (`_over`: not parsed any more) after a request that asked to close, after an answer that closes, and when it
isn't HTTP. In the last case the client is told so (`_malformed`), after the answers to all requests that came before.

Framing is httptools' (llhttp, strict), with what it leaves open decided here: limits of heads and trailers (dropped); HTTP/1.0
and 1.1 only; a Host is needed in 1.1; a transfer-encoding other than chunked, or in 1.0, and the header fields of `_SINGLE`
twice are errors. An Upgrade is declined by answering as if it weren't there.
"""

import asyncio
import select
import socket
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Protocol, cast

import httptools

from services.edge.http.answer import Answer, WholeAnswer
from services.edge.http.budget import CONNECTION_BYTES, REFUSALS_MAX, Account, Budget
from services.edge.http.request import Request
from shared import credential

IDLE_S = 75.0
HEAD_S = 30.0
"""From the first byte of a request to the last of its head."""
HEAD_STOPPING_S = 2.0
LINGERING_S = 2.0
"""For a client to read its refusal while the rest of its body is thrown away."""
LINGERING_BYTES_MAX = 64 * 1024 * 1024

STALL_S = 120.0
"""How long a client may take to read some 48 kB of what is written, or all of it once the connection is closing."""
STALL_SHORT_S = 5.0
"""The same while the budget of bytes is nearly used up."""
REQUEST_BYTES = 1024
"""What a parsed request that waits behind another one weighs."""

TARGET_BYTES_MAX = 8190
HEADERS_MAX = 100
"""Fields in one request, trailers included."""
HEADER_BYTES_MAX = 16_384
"""Name and value."""
HEAD_BYTES_MAX = 65_536
"""Head, trailers, or what else is sent without a byte of a body; a slice more may come on top."""

SLICE_BYTES = 16_384
"""The parser's portion: bounds what is parsed ahead of a request that is being handled."""
BUFFERED_BYTES_HIGH = 256 * 1024
"""Of a body. Reading stops above this and goes on when it was taken. One socket read (≤ 256 kB) may come on top."""
HELD_BYTES_HIGH = 64 * 1024
"""The same for what waits behind the request that is being handled."""

_SINGLE = frozenset(
    (
        b"host", b"content-length", b"transfer-encoding", b"content-type", b"content-location", b"content-range",
        b"max-forwards", b"user-agent",
    )
)  # fmt: skip
"""Fields that may come once: two of them, and two readers might each believe another."""
_CREDENTIALS = frozenset(name.encode() for name in credential.HEADERS)
"""Two of one with different values, and two readers might each take another caller for the one who calls."""
_LISTS = frozenset((b"x-litellm-tags", b"accept-encoding", b"access-control-request-headers"))
"""Fields that are lists: several lines are one (RFC 9110 §5.3). Of others that come twice, the first stands."""


class Owner(Protocol):
    """What a connection needs of its listener."""

    handler: Callable[[Request], Awaitable[Answer]]
    malformed: Callable[[int], WholeAnswer]
    budget: Budget
    stopping: bool
    draining: bool

    def opened(self, connection: "Connection") -> None: ...

    def closed(self, connection: "Connection") -> None:
        """Transport and handler are gone. Called once."""


class _MalformedError(Exception):
    """Raised in the parser's callbacks: it stops, and `feed_data` raises."""


class Connection(asyncio.Protocol):
    """See the module."""

    __slots__ = (
        "_barren_bytes", "_budget", "_cancelled", "_declining", "_drained", "_fields", "_headers", "_held", "_in_head",
        "_keep_alive", "_lingering", "_lingering_bytes", "_loop", "_malformed", "_over", "_owner", "_parser", "_queue",
        "_reading_paused", "_receiving", "_refused", "_remote", "_request", "_request_bytes", "_serving", "_since", "_stalled_at",
        "_target", "_task", "_transport", "_unread_bytes", "_waiting_bytes", "account", "writing_paused",
    )  # fmt: skip

    def __init__(self, owner: Owner, loop: asyncio.AbstractEventLoop) -> None:
        self._owner = owner
        self._budget = owner.budget
        self.account = Account(self.abort)
        """What it holds of the budget: a flat share, and these three."""
        self._waiting_bytes = 0
        """Of what arrived and nobody has taken."""
        self._request_bytes = 0
        """Of what the present request made us hold."""
        self._unread_bytes = 0
        """Of what the client doesn't read."""
        self._refused = False
        """Whether there was no room for it."""
        self._loop = loop
        self._transport: asyncio.Transport | None = None
        self._remote: str | None = None
        self._since = 0.0
        """When it became idle, or the head in `_in_head` began."""

        self._parser: httptools.HttpRequestParser | None = httptools.HttpRequestParser(self)
        self._target = b""
        self._headers: dict[bytes, bytes] = {}
        self._fields = 0
        self._barren_bytes = 0
        """Since the last head's end or piece of a body."""
        self._in_head = self._declining = False

        self._queue: deque[Request] = deque()
        self._held = b""
        self._receiving: Request | None = None
        self._over = self._malformed = self._reading_paused = False

        self._request: Request | None = None
        self._task: asyncio.Task[None] | None = None
        self._serving = self._cancelled = False
        """Whether the task has begun, and whether it was cancelled."""
        self._keep_alive = False
        """As the present request's answer said."""
        self.writing_paused = False
        self._stalled_at: float | None = None
        """Since when we wait for the client to read."""
        self._drained: asyncio.Future[None] | None = None
        self._lingering: asyncio.TimerHandle | None = None
        self._lingering_bytes = 0

    # ── asyncio's events ──

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._since = self._loop.time()
        peer = transport.get_extra_info("peername")
        self._remote = str(peer[0]) if peer else None
        tcp = transport.get_extra_info("socket")
        if tcp is not None:  # already closed again
            tcp.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            tcp.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)  # a client that vanished is noticed in the end
        self._owner.opened(self)
        if not self._budget.open(self.account, self._remote):
            self._turn_away()
        elif self._owner.draining:
            self.close_if_idle()

    def data_received(self, data: bytes) -> None:
        request = self._request
        if self._lingering is not None:
            self._lingering_bytes += len(data)
            if self._lingering_bytes > LINGERING_BYTES_MAX:
                self.close()
        if self._over:
            return
        if request is None or request is self._receiving:
            self._feed(data)
            self._weigh()
        else:
            self._held += data
            self.flow()

    def eof_received(self) -> None:
        self._leave()  # and the transport closes itself, once what is written has left

    def connection_lost(self, exc: Exception | None) -> None:
        self._leave()
        self._transport = None
        self._parser = None  # it refers back here: no cycle for the collector to find
        self._queue.clear()
        self._held = b""
        if self._lingering is not None:
            self._lingering.cancel()
            self._lingering = None
        if self._refused:
            self._refused = False
            self._budget.refusing -= 1
        if self._task is None:
            self._request = self._receiving = None
            self._gone()

    def pause_writing(self) -> None:
        self.writing_paused = True
        self._stalled_at = self._stalled_at or self._loop.time()
        if self._transport is not None:
            unread = self._transport.get_write_buffer_size()
            self._budget.hold(self.account, unread - self._unread_bytes, force=True)
            self._unread_bytes = unread

    def resume_writing(self) -> None:
        self.writing_paused = False
        self._stalled_at = None
        self._budget.release(self.account, self._unread_bytes)
        self._unread_bytes = 0
        if self._drained is not None and not self._drained.done():
            self._drained.set_result(None)

    # ── for the answer ──

    def begin(self, request: Request, *, closing: bool) -> bool:
        """An answer's first bytes follow. Whether the connection goes on after it; ConnectionError when the client has gone."""
        assert request is self._request and not request.answered, "a request has one answer"
        if self._transport is None or self._transport.is_closing():
            raise ConnectionResetError("the client has gone")
        request.answered = True
        self._keep_alive = request.keep_alive and not closing and not self._owner.stopping
        return self._keep_alive

    def write(self, data: bytes) -> None:
        transport = self._transport
        if transport is None or transport.is_closing():
            raise ConnectionResetError("the client has gone")
        transport.write(data)

    async def drain(self) -> None:
        """Until the client has taken most of what was written. ConnectionError when it has gone."""
        while self.writing_paused:
            if self._transport is None or self._transport.is_closing():
                raise ConnectionResetError("the client has gone")
            self._drained = self._loop.create_future()
            try:
                await self._drained
            finally:
                self._drained = None

    def hold(self, size_bytes: int, *, force: bool = False) -> bool:
        """The present request makes us hold so much more, until it is over. False: there is no room for it."""
        if not self._budget.hold(self.account, size_bytes, force=force):
            return False
        self._request_bytes += size_bytes
        return True

    def recognised(self) -> None:
        """The present request is somebody's we know."""
        self._budget.recognise(self.account)

    def flow(self) -> None:
        """Stop or go on reading, by what waits here."""
        request = self._request
        self._weigh()
        full = len(self._held) > HELD_BYTES_HIGH
        if request is not None and not request.complete and request.buffered_bytes > BUFFERED_BYTES_HIGH:
            full = True
        if full is not self._reading_paused and self._transport is not None and not self._transport.is_closing():
            self._reading_paused = full
            if full:
                self._transport.pause_reading()
            else:
                self._transport.resume_reading()

    def abort(self) -> None:
        """At once: what is written and hasn't left is dropped, and the handler is cancelled."""
        self._over = True
        if self._transport is not None:
            self._transport.abort()

    # ── for the listener ──

    def sweep(self, now: float) -> None:
        if self._stalled_at is not None:
            patience_s = STALL_SHORT_S if self._budget.is_short and STALL_SHORT_S < STALL_S else STALL_S
            if now - self._stalled_at >= patience_s:
                self.abort()
        if self._request is not None or self._over:
            return
        waited_s = now - self._since
        if not self._in_head:
            if waited_s >= IDLE_S or self._owner.draining:
                self.close_if_idle()
        elif waited_s >= (HEAD_STOPPING_S if self._owner.stopping else HEAD_S):
            self._refuse(408)

    def close_if_idle(self) -> None:
        """A request that has arrived, but wasn't read yet, counts as one: it would be reset. Costs a system call."""
        if self._request is None and not self._in_head and not self._over and self._is_quiet():
            self.close()

    def close(self) -> None:
        """As soon as what is written has left."""
        self._over = True
        if self._transport is not None:
            self._stalled_at = self._stalled_at or self._loop.time()
            self._transport.close()

    # ── requests, one after the other ──

    def _feed(self, data: bytes) -> None:
        """To the parser, up to the end of a slice in which a request ends. Only in the states that the module names."""
        for at in range(0, len(data), SLICE_BYTES):
            self._parse(data if len(data) <= SLICE_BYTES else data[at : at + SLICE_BYTES])
            if self._lingering is not None and self._request is not None and self._request.complete:
                self._lingering.cancel()
                self._lingering = None
                self._next()
            elif self._request is None:
                self._begin()
            if self._over:
                return
            if self._request is not None and self._request is not self._receiving:
                self._held = data[at + SLICE_BYTES :]
                break
        if self._held or (self._request is not None and self._request.buffered_bytes > BUFFERED_BYTES_HIGH):
            self.flow()

    def _parse(self, data: bytes) -> None:
        parser = self._parser
        assert parser is not None
        self._barren_bytes += len(data)
        try:
            parser.feed_data(data)
        except httptools.HttpParserUpgrade as pause:
            self._decline_upgrade(data[pause.args[0] :])
        except httptools.HttpParserError:
            self._break()
        else:
            if self._barren_bytes > HEAD_BYTES_MAX:
                self._break()

    def _break(self) -> None:
        """The input can't be understood from here on."""
        if self._over:  # behind a request that asked to close: nobody's business
            return
        self._over = True
        request, self._receiving = self._receiving, None
        if request is not None and request is self._request:
            request.broken = True  # its handler says so
            request.wake()
            if self._lingering is not None:
                self.close()
        else:
            self._malformed = True
            if request is not None:
                self._queue.pop()

    def _decline_upgrade(self, rest: bytes) -> None:
        """httptools takes what follows such a head for another protocol. A new parser, told of the framing, reads it as the
        body it is."""
        request = self._receiving
        assert request is not None
        parser = self._parser = httptools.HttpRequestParser(self)
        if request.method == "CONNECT":
            framing = ""
        elif request.content_length is not None:
            framing = f"Content-Length: {request.content_length}\r\n"
        else:
            framing = "" if request.header("transfer-encoding") is None else "Transfer-Encoding: chunked\r\n"
        connection = "" if request.keep_alive else "Connection: close\r\n"
        parser.feed_data(f"POST / HTTP/1.1\r\n{framing}{connection}\r\n".encode())
        if rest and not self._over:
            self._parse(rest)

    def _begin(self) -> None:
        """With the next request, if it is here."""
        if self._queue:
            request = self._request = self._queue.popleft()
            self._budget.busy(self.account)
            self._task = self._loop.create_task(self._serve(request))
        elif self._malformed:
            self._refuse(400)

    def _next(self) -> None:
        """A request is over, and so is its body; the connection goes on."""
        self._request = None
        self._since = self._loop.time()
        self._budget.wait(self.account)
        self._begin()
        if self._over:
            return
        if self._held and self._request is self._receiving:  # there is none, or it waits for its body
            data, self._held = self._held, b""
            self._feed(data)
            self.flow()
        elif self._owner.draining:
            self.close_if_idle()

    async def _serve(self, request: Request) -> None:
        """The task of one request: from its head to the last byte of its answer."""
        self._serving = True
        try:
            answer = await self._owner.handler(request)
            self._let_go()  # from here on it is the transport's
            if isinstance(answer, WholeAnswer) and not request.answered:
                keep_alive = self.begin(request, closing=answer.closing)
                self.write(
                    answer.render(keep_alive=keep_alive, minor=request.minor, head_only=request.method == "HEAD")
                )
            elif isinstance(answer, WholeAnswer) or not answer.ended:
                self.abort()  # half of another answer is out
            elif answer.closing:
                self._keep_alive = False
            if self.writing_paused:
                await self.drain()
        except asyncio.CancelledError:
            self.close()
            raise
        except ConnectionError:
            self.abort()
        except Exception as error:
            self.abort()
            self._loop.call_exception_handler({"message": "a request's handler failed", "exception": error})
        finally:
            self._finished(request)

    def _finished(self, request: Request) -> None:
        self._task = None
        self._serving = False
        self._let_go()
        transport = self._transport
        if transport is None:
            self._request = self._receiving = None
            self._gone()
        elif transport.is_closing():
            self._over = True
        elif not request.complete:
            self._linger(request)
        elif not self._keep_alive:
            self.close()
        else:
            self._next()

    def _gone(self) -> None:
        self._budget.close(self.account)
        self._owner.closed(self)

    def _let_go(self) -> None:
        """Of what the request made us hold."""
        if self._request_bytes:
            self._budget.release(self.account, self._request_bytes)
            self._request_bytes = 0

    def _weigh(self) -> None:
        """What waits here goes on the account, as far as the flat share doesn't cover it."""
        request = self._request
        if not (self._held or self._queue or self._in_head or self._waiting_bytes) and (
            request is None or request.buffered_bytes <= CONNECTION_BYTES
        ):
            return
        weight = len(self._held) + len(self._queue) * REQUEST_BYTES
        if self._in_head:
            weight += self._barren_bytes
        if request is not None:
            weight += request.buffered_bytes
        more = max(0, weight - CONNECTION_BYTES) - self._waiting_bytes
        if more <= 0:
            if more:
                self._budget.release(self.account, -more)
                self._waiting_bytes += more
        elif self._budget.hold(self.account, more):
            self._waiting_bytes += more
        elif not self._over:
            self._overrun()

    def _overrun(self) -> None:
        """There is no room for what this client sends."""
        request = self._receiving
        if self._request is None:
            self._refuse(503)
        elif request is self._request:
            self._over = True
            self._receiving = None
            request.overrun = request.broken = True
            request.drop()
            request.wake()
            if self._lingering is not None:
                self.close()
        else:
            self.abort()  # more requests behind the one that is being handled than there is room for

    def _turn_away(self) -> None:
        """There is no room for one more connection."""
        if self._budget.refusing >= REFUSALS_MAX:
            self.abort()
            return
        self._budget.refusing += 1
        self._refused = True
        self._refuse(503)

    def _is_quiet(self) -> bool:
        """Nothing waits in the socket that the loop hasn't reported yet."""
        tcp = self._transport.get_extra_info("socket") if self._transport is not None else None
        if tcp is None or tcp.fileno() < 0:  # closed under us
            return True
        poll = select.poll()
        poll.register(tcp.fileno(), select.POLLIN)
        return not poll.poll(0)

    def _leave(self) -> None:
        """The client has gone, or has to go."""
        self._over = True
        task = self._task
        if task is not None and not self._cancelled:
            self._cancelled = True
            task.cancel()
            if not self._serving:  # it will never begin, nor end
                self._task = None

    def _refuse(self, status: int) -> None:
        """To what isn't a request."""
        self._over = True
        answer = self._owner.malformed(status)
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(answer.render(keep_alive=False, minor=1, head_only=False))
            self._linger(None)

    def _linger(self, request: Request | None) -> None:
        """The client may still be sending. `request`: whose body that is."""
        transport = self._transport
        assert transport is not None
        if request is None or not self._keep_alive or self._over:
            self._over = True
            self._held = b""
            try:
                if transport.can_write_eof():  # TLS has no half of a connection that could be closed
                    transport.write_eof()
            except (OSError, RuntimeError):  # reset meanwhile
                self.close()
        if request is not None:
            request.drop()
        self._lingering_bytes = 0
        self._lingering = self._loop.call_later(LINGERING_S, self.close)
        self.flow()

    # ── the parser's events; an exception stops it and `feed_data` raises ──

    def on_message_begin(self) -> None:
        self._in_head = True
        self._target = b""
        self._headers = {}
        self._fields = 0
        if self._request is None:
            self._since = self._loop.time()

    def on_url(self, part: bytes) -> None:
        self._target += part
        if len(self._target) > TARGET_BYTES_MAX:
            raise _MalformedError

    def on_header(self, name: bytes, value: bytes) -> None:
        self._fields += 1
        if self._fields > HEADERS_MAX or len(name) + len(value) > HEADER_BYTES_MAX:
            raise _MalformedError
        if not self._in_head:
            return  # a trailer
        name = name.lower()
        headers = self._headers
        if name not in headers:
            headers[name] = value
        elif name == b"x-forwarded-for":  # a proxy's own line after a client's: the last hop must not get lost
            headers[name] += b", " + value
        elif name in _SINGLE or (name in _CREDENTIALS and headers[name] != value):
            raise _MalformedError
        elif name in _LISTS:
            headers[name] = b"%b, %b" % (headers[name], value)

    def on_headers_complete(self) -> None:
        parser = self._parser
        assert parser is not None
        self._in_head = False
        self._barren_bytes = 0
        if self._declining:  # the same request, in a new parser
            self._declining = False
            return
        headers = self._headers
        version = parser.get_http_version()
        minor = 1 if version == "1.1" else 0
        coding = headers.get(b"transfer-encoding")
        if minor == 1:
            wrong = b"host" not in headers or (coding is not None and coding.strip(b" \t").lower() != b"chunked")
        else:
            wrong = version != "1.0" or coding is not None
        if wrong:
            raise _MalformedError
        method = parser.get_method().decode()
        keep_alive = parser.should_keep_alive()
        if parser.should_upgrade():
            self._declining = True
            keep_alive = keep_alive and method != "CONNECT"
        request = Request(self, self._loop, self._remote, method, self._target, headers, minor, keep_alive)
        self._receiving = request
        self._queue.append(request)

    def on_body(self, body: bytes) -> None:
        request = self._receiving
        assert request is not None
        self._barren_bytes = 0
        if not request.dropping:
            request.pieces.append(body)
            request.buffered_bytes += len(body)
            if request.waiter is not None:
                request.wake()

    def on_message_complete(self) -> None:
        request = self._receiving
        assert request is not None
        if self._declining:
            return
        self._barren_bytes = 0
        self._receiving = None
        request.complete = True
        if not request.keep_alive:
            self._over = True
        if request.waiter is not None:
            request.wake()
