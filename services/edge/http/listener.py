"""Listening, the sweep of all connections, and the end.

Who is in `connections`: every one from `connection_made` until both its transport and its handler's
task are gone. So when the set is empty, no code of any request runs any more, and whatever was to
be written is with the kernel.

The deadlines between requests (idle) and for a head are looked at once in `SWEEP_S`, for all
connections together: a connection only notes when it began to wait.

The end has three steps, for the caller to pace:

    stop    nobody new comes in; every answer from now on is the last of its connection, and says so
    drain   connections end: when their request is over, or when they have been idle for so long that nobody will use them again
    close   what is left is cut off: handlers are cancelled, transports aborted

No request may be lost in it, and HTTP/1.1 has no word for "I close" but an answer's. A request may
be on its way while we close: its client finds out that nobody reads it, and mustn't send it again
by itself. So an idle connection that wasn't told is kept for longer than clients keep theirs, and
the port is closed only after every handshake that was under way (shut.py).
"""  # noqa: W505

import asyncio
import os
import socket
from collections.abc import Awaitable, Callable
from typing import Any

from services.edge.http.answer import Answer, WholeAnswer
from services.edge.http.budget import Budget
from services.edge.http.connection import ClientConnection
from services.edge.http.request import Request
from services.edge.http.shut import shut
from services.edge.http.tls import EVERY_S, HANDSHAKE_S, Certificate

BACKLOG = 1024
SWEEP_S = 1.0
SWEEP_DRAINING_S = 0.1
HANDSHAKES_S = 0.5
"""For handshakes under way (TLS ones too) to end, from when no new one begins."""


class Listener:
    """
    Args:
        handler: answers a request. What it raises cuts the connection.
        malformed: a status → what is said to bytes that aren't a request, or don't become one in
            time, or have no room (503).
        budget: of what all connections together may hold.
        certificate: TLS is spoken with it; None: nobody does.
    """

    def __init__(
        self,
        handler: Callable[[Request], Awaitable[Answer]],
        malformed: Callable[[int], WholeAnswer],
        budget: Budget | None = None,
        certificate: Certificate | None = None,
    ) -> None:
        self.handler = handler
        self.malformed = malformed
        self.budget = budget or Budget()
        self._certificate = certificate
        self._tls: dict[str, Any] = {}
        """For whoever makes a connection of a socket."""
        if certificate is not None:
            self._tls = {"ssl": certificate.context, "ssl_handshake_timeout": HANDSHAKE_S}
        self.stopping = False
        self.drain_idle_s: float | None = None
        """Once it drains: how long a connection is kept idle."""
        self.connections: set[ClientConnection] = set()
        self._loop = asyncio.get_running_loop()
        self._looked_at = self._loop.time()
        self._servers: list[asyncio.Server] = []
        self._accepting: set[asyncio.Future[Any]] = set()
        self._sweeper: asyncio.TimerHandle | None = None
        self._closing: asyncio.TimerHandle | None = None
        self._deaf = asyncio.Event()
        self._empty: asyncio.Event = asyncio.Event()
        self._empty.set()

    async def listen(self, host: str, port: int, *, reuse_port: bool = False) -> None:
        """OSError when it can't."""
        self._servers.append(
            await self._loop.create_server(
                self._connection, host, port, reuse_port=reuse_port or None, backlog=BACKLOG, **self._tls
            )
        )

    async def listen_on(self, listening: socket.socket) -> None:
        """A socket that is bound already."""
        self._servers.append(
            await self._loop.create_server(self._connection, sock=listening, backlog=BACKLOG, **self._tls)
        )

    def stop(self) -> None:
        """A second call does nothing."""
        if self.stopping:
            return
        self.stopping = True
        for server in self._servers:
            for each in server.sockets:
                shut(each)
        self._closing = self._loop.call_later(HANDSHAKES_S, self._stop_listening)

    async def drain(self, within_s: float, idle_s: float = 0.0) -> bool:
        """Whether every connection came to its end in time.

        Args:
            idle_s: how long a connection that wasn't told of the end is kept without a request,
                from its last answer on.
        """
        self.stop()
        await self._unheard()
        self.drain_idle_s = idle_s
        if self._sweeper is not None:
            self._sweeper.cancel()
        self._sweep()
        try:
            await asyncio.wait_for(self._empty.wait(), within_s)
        except TimeoutError:
            return False
        return True

    async def close(self, within_s: float = 1.0) -> None:
        """`within_s`: for the cancelled handlers to end."""
        self.stop()
        self._stop_listening()
        await self._unheard()
        self.drain_idle_s = 0.0
        for connection in list(self.connections):
            connection.abort()
        try:
            await asyncio.wait_for(self._empty.wait(), within_s)
        except TimeoutError:
            pass
        if self._sweeper is not None:
            self._sweeper.cancel()
            self._sweeper = None

    # ── for the connections ──

    def opened(self, connection: ClientConnection) -> None:
        self.connections.add(connection)
        self._empty.clear()
        if self._sweeper is None:
            self._sweeper = self._loop.call_later(SWEEP_S, self._sweep)

    def closed(self, connection: ClientConnection) -> None:
        self.connections.discard(connection)
        if not self.connections:
            self._empty.set()

    # ── the rest ──

    def _stop_listening(self) -> None:
        """Whose connection the kernel has accepted already is served like the others: closing the
        socket would reset it.
        """
        if self._closing is not None:
            self._closing.cancel()
            self._closing = None
        for server in self._servers:
            listening = [socket.socket(fileno=os.dup(each.fileno())) for each in server.sockets]
            server.close()
            for each in listening:
                with each:
                    self._accept_all(each)
        self._servers.clear()
        self._deaf.set()

    async def _unheard(self) -> None:
        """Nobody listens any more, and whoever was accepted is among the connections."""
        await self._deaf.wait()
        await asyncio.gather(*self._accepting, return_exceptions=True)

    def _accept_all(self, listening: socket.socket) -> None:
        listening.setblocking(False)
        for _ in range(BACKLOG):
            try:
                accepted, _ = listening.accept()
            except OSError:  # none left; or none can be taken
                return
            accepted.setblocking(False)
            task = asyncio.ensure_future(self._loop.connect_accepted_socket(self._connection, accepted, **self._tls))
            self._accepting.add(task)
            task.add_done_callback(self._accepting.discard)

    def _connection(self) -> ClientConnection:
        """Asked for before the handshake, so that a renewed certificate is this connection's
        already.
        """
        if self._certificate is not None and (now := self._loop.time()) - self._looked_at >= EVERY_S:
            self._looked_at = now
            self._certificate.refresh()
        return ClientConnection(self, self._loop)

    def _sweep(self) -> None:
        pause_s = SWEEP_S if self.drain_idle_s is None else SWEEP_DRAINING_S
        self._sweeper = self._loop.call_later(pause_s, self._sweep) if self.connections else None
        now = self._loop.time()
        for connection in list(self.connections):
            connection.sweep(now)
