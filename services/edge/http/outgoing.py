"""A connection's way out, and what it holds: bytes to a client that may read slowly, and the
account of what it makes us keep.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Any, Protocol

from services.edge.http.answer import Answer, WholeAnswer
from services.edge.http.budget import CONNECTION_BYTES, Account, Budget
from services.edge.http.request import Request

REQUEST_BYTES = 1024
"""What a parsed request that waits behind another one weighs."""
BUFFERED_BYTES_HIGH = 256 * 1024
"""Of a body. Reading stops above this and goes on when it was taken. One socket read (≤ 256 kB) may
come on top.
"""
HELD_BYTES_HIGH = 64 * 1024
"""The same for what waits behind the request that is being handled."""


class ConnectionListener(Protocol):
    """What a connection needs of its listener."""

    handler: Callable[[Request], Awaitable[Answer]]
    malformed: Callable[[int], WholeAnswer]
    budget: Budget
    stopping: bool
    drain_idle_s: float | None

    def opened(self, connection: Any) -> None: ...

    def closed(self, connection: Any) -> None:
        """Transport and handler are gone. Called once."""


class Outgoing(asyncio.Protocol):
    """See the module; states and their changes are connection.py's."""

    __slots__ = (
        "_barren_bytes", "_budget", "_drained", "_held", "_in_head", "_keep_alive", "_listener", "_loop", "_over", "_queue",
        "_reading_paused", "_request", "_request_bytes", "_stalled_at", "_transport", "_unread_bytes", "_waiting_bytes", "account",
        "writing_paused",
    )  # fmt: skip

    def __init__(self, listener: ConnectionListener, loop: asyncio.AbstractEventLoop) -> None:
        self._listener = listener
        self._budget = listener.budget
        self._loop = loop
        self._transport: asyncio.Transport | None = None
        self.account = Account(self.abort)
        """What it holds of the budget: a flat share, and these three."""
        self._waiting_bytes = 0
        """Of what arrived and nobody has taken."""
        self._request_bytes = 0
        """Of what the present request made us hold."""
        self._unread_bytes = 0
        """Of what the client doesn't read."""
        self._request: Request | None = None
        self._queue: deque[Request] = deque()
        self._held = b""
        self._barren_bytes = 0
        """Since the last head's end or piece of a body."""
        self._in_head = self._over = self._reading_paused = False
        self._keep_alive = False
        """As the present request's answer said."""
        self.writing_paused = False
        self._stalled_at: float | None = None
        """Since when we wait for the client to read."""
        self._drained: asyncio.Future[None] | None = None

    def begin(self, request: Request, *, closing: bool) -> bool:
        """An answer's first bytes follow. Whether the connection goes on after it; ConnectionError
        when the client has gone.
        """
        assert request is self._request and not request.answered, "a request has one answer"
        if self._transport is None or self._transport.is_closing():
            raise ConnectionResetError("the client has gone")
        request.answered = True
        self._keep_alive = request.keep_alive and not closing and not self._listener.stopping
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

    # ── what it holds ──

    def hold(self, size_bytes: int, *, force: bool = False) -> bool:
        """The present request makes us hold so much more, until it is over. False: there is no room
        for it.
        """
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

    def _let_go(self) -> None:
        """Of what the request made us hold."""
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
        raise NotImplementedError

    # ── the transport ──

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

    def abort(self) -> None:
        """At once: what is written and hasn't left is dropped, and the handler is cancelled."""
        self._over = True
        if self._transport is not None:
            self._transport.abort()

    def close(self) -> None:
        """As soon as what is written has left."""
        self._over = True
        if self._transport is not None:
            self._stalled_at = self._stalled_at or self._loop.time()
            self._transport.close()
