"""One client's connection: bytes in, requests to the handler, answers out.

Where a connection is, and who owns it:

    idle → head → busy → (lingering) → idle … → closed          (any state → closed)

- *idle*: nothing of a request is here. Closed after `IDLE_S`; earlier where the edge stops
  (`Listener.drain`).
- *head*: the first byte of a request came, its head isn't whole. Refused and closed after `HEAD_S`.
- *busy*: it belongs to the one request in `_request` and the handler's run in `_task`: from when
  the head was whole until the answer is written (and the client has taken what doesn't fit our
  buffers). The request's body may still be coming.
- *lingering*: the answer is out, and the client goes on sending: thrown away, for `LINGERING_S` and
  `LINGERING_BYTES_MAX` at most, so that it can read the answer instead of being reset. If the
  connection may be used again, this ends well with the body's end (*idle*); if not, our half is
  closed already, so that the client sees the end.
- *closed*: `connection_lost` has been called. A handler that still runs has been cancelled.

One request at a time. What arrives behind a request that is complete waits unparsed in `_held`;
reading stops when that is too much. But the parser can't be stopped in the middle of what it is
given: so it is given slices, and requests that were in the same slice wait parsed in `_queue`. The
latest request whose head is whole and whose body isn't, is `_receiving`: it alone is fed. So bytes
are parsed only while there is no request, or the current one is the one that is receiving.

The client has left when the socket says so: EOF is not told from the end of the connection, as
nobody who waits for an answer closes his half. While reading is paused (a body nobody takes, too
much pipelined) it isn't noticed before something is written.

The input is over (`_over`: not parsed any more) after a request that asked to close, after an
answer that closes, and when it isn't HTTP. In the last case the client is told so (`_malformed`),
after the answers to all requests that came before.
"""

import asyncio
import select
import socket
from typing import cast

from services.edge.http.answer import Answer, WholeAnswer
from services.edge.http.budget import CONNECTION_BYTES, REFUSALS_MAX
from services.edge.http.incoming import Incoming
from services.edge.http.outgoing import BUFFERED_BYTES_HIGH, ConnectionListener
from services.edge.http.request import Request

IDLE_S = 75.0
HEAD_S = 30.0
"""From the first byte of a request to the last of its head."""
HEAD_STOPPING_S = 2.0
LINGERING_S = 2.0
"""For a client to read its refusal while the rest of its body is thrown away."""
LINGERING_BYTES_MAX = 64 * 1024 * 1024

STALL_S = 120.0
"""How long a client may take to read what is more than the flat share covers, or all of it once the
connection is closing.
"""
STALL_SHORT_S = 5.0
"""The same while the budget of bytes is nearly used up."""

SLICE_BYTES = 16_384
"""The parser's portion: bounds what is parsed ahead of a request that is being handled."""


class ClientConnection(Incoming):
    """See the module."""

    __slots__ = ("_cancelled", "_lingering", "_lingering_bytes", "_refused", "_running", "_serving", "_task", "_waker")

    def __init__(self, listener: ConnectionListener, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(listener, loop)
        self._refused = False
        """Whether there was no room for it."""
        self._task: asyncio.Task[None] | None = None
        """From the first request to the end of the connection: a task for each request would cost
        one several times as much.
        """
        self._waker: asyncio.Future[None] | None = None
        """What the task waits for between two requests."""
        self._running = self._serving = self._cancelled = False
        """Whether there is a request to serve, whether its handler has begun, and whether the task
        was cancelled.
        """
        self._lingering: asyncio.TimerHandle | None = None
        self._lingering_bytes = 0

    # ── asyncio's events ──

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._transport.set_write_buffer_limits(
            high=CONNECTION_BYTES
        )  # what it doesn't read beyond its flat share is weighed
        self._since = self._loop.time()
        peer = transport.get_extra_info("peername")
        self._remote = str(peer[0]) if peer else None
        tcp = transport.get_extra_info("socket")
        if tcp is not None:  # already closed again
            tcp.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            tcp.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)  # a client that vanished is noticed in the end
        self._listener.opened(self)
        if not self._budget.open(self.account, self._remote):
            self._turn_away()

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
        self._wake()
        if not self._running:
            self._request = self._receiving = None
            self._gone()

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
            idle_s = self._listener.drain_idle_s
            if waited_s >= (IDLE_S if idle_s is None else idle_s) and self._is_quiet():
                self.close()
        elif waited_s >= (HEAD_STOPPING_S if self._listener.stopping else HEAD_S):
            self._refuse(408)

    # ── requests, one after the other ──

    def _feed(self, data: bytes) -> None:
        """To the parser, up to the end of a slice in which a request ends. Only in the states that
        the module names.
        """
        for at in range(0, len(data), SLICE_BYTES):
            self._parse(data[at : at + SLICE_BYTES])  # of bytes a slice that is all of them is no copy
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

    def _begin(self) -> None:
        """With the next request, if it is here."""
        if self._queue:
            self._request = self._queue.popleft()
            self._budget.busy(self.account)
            self._running = True
            if self._task is None:
                self._task = self._loop.create_task(self._work())
            self._wake()
        elif self._malformed is not None:
            self._refuse(self._malformed)

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

    def _wake(self) -> None:
        waker, self._waker = self._waker, None
        if waker is not None and not waker.done():
            waker.set_result(None)

    async def _work(self) -> None:
        """The connection's one task: each request from its head to the last byte of its answer. It
        is only ever cancelled because the client leaves.
        """
        try:
            while self._transport is not None:
                if not self._running:
                    self._waker = self._loop.create_future()
                    await self._waker
                    continue
                request = self._request
                assert request is not None
                self._serving = True
                try:
                    self._answer(request, await self._listener.handler(request))
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
                if self._running:  # the next one was here already: other connections have their turn
                    await asyncio.sleep(0)
        finally:
            self._task = None

    def _answer(self, request: Request, answer: Answer) -> None:
        if self._request_bytes:
            self._let_go()  # from here on it is the transport's
        if isinstance(answer, WholeAnswer) and not request.answered:
            keep_alive = self.begin(request, closing=answer.closing)
            self.write(answer.render(keep_alive=keep_alive, minor=request.minor, head_only=request.method == "HEAD"))
        elif isinstance(answer, WholeAnswer) or not answer.ended:
            self.abort()  # half of another answer is out

    def _finished(self, request: Request) -> None:
        self._running = self._serving = False
        if self._request_bytes:
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
        self._listener.closed(self)

    def _broken(self) -> None:
        if self._lingering is not None:
            self.close()

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
        """Nothing waits in the socket that the loop hasn't reported yet: closing would reset it."""
        tcp = self._transport.get_extra_info("socket") if self._transport is not None else None
        if tcp is None or tcp.fileno() < 0:  # closed under us
            return True
        poll = select.poll()
        poll.register(tcp.fileno(), select.POLLIN)
        return not poll.poll(0)

    def _leave(self) -> None:
        """The client has gone, or has to go."""
        self._over = True
        if self._running and not self._cancelled:
            self._cancelled = True
            assert self._task is not None
            self._task.cancel()
            if not self._serving:  # it will never begin, nor end
                self._running = False

    def _refuse(self, status: int) -> None:
        """To what isn't a request."""
        self._over = True
        answer = self._listener.malformed(status)
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
