"""The client: a pool of connections for each origin, and `send`.

Slots: `open` counts connections from the moment one is wanted (connecting) to its `close`. A slot
or a connection that becomes free goes straight to the first in the waiting line, so nobody
overtakes; a waiter that was cancelled in the same tick passes on what it was given. The last used
connection is used first: the others get the chance to grow old and go.

Before a kept connection is used it is asked whether the peer has closed it meanwhile (`is_quiet`,
unless it was used a moment ago). This keeps the race with a server's keep-alive timeout small. The
rest of the race is a kept connection that ends, without a byte of a response, under the request
written to it: the server had closed it, and the request goes once more, on another connection (RFC
9112 §9.3.1 lets a client do so where it knows the connection to be stale). On a connection that
never served before, nobody can know that, and a completion isn't idempotent:
`UpstreamError("reset", nothing_came=True)`.

The hot path of `send` has no task, no closure and no `wait_for`: take a connection, write, await
one future.
"""

import asyncio
import socket
import ssl
from collections import deque

from services.edge.upstream.connection import UpstreamConnection
from services.edge.upstream.origin import Deadlines, Origin, UpstreamError
from services.edge.upstream.request import render_head
from services.edge.upstream.response import Response
from services.edge.upstream.tls import context
from shared.outbound import Guard

STALE_MAX = 2
"""How often a request goes once more because its kept connection turned out to be closed."""
FRESH_S = 0.05
"""A connection idle for less isn't asked again whether it is still open."""


class Client:
    """Use and close it in one event loop. The counters are plain numbers, to be read at any
    time.
    """

    def __init__(
        self,
        *,
        connections_per_origin_max: int = 512,
        idle_connections_max: int = 256,
        idle_seconds_max: float = 15,
        requests_per_connection_max: int = 10_000,
        connection_age_s_max: float = 600,
        response_head_bytes_max: int = 65_536,
        waiting_per_origin_max: int = 2_048,
        ssl_context: ssl.SSLContext | None = None,
    ) -> None:
        self.connections_per_origin_max = connections_per_origin_max
        self.idle_connections_max = idle_connections_max
        """Per origin."""
        self.idle_seconds_max = idle_seconds_max
        self.requests_per_connection_max = requests_per_connection_max
        self.connection_age_s_max = connection_age_s_max
        self.response_head_bytes_max = response_head_bytes_max
        self.waiting_per_origin_max = waiting_per_origin_max
        self._contexts: dict[bool | str | None, ssl.SSLContext] = {} if ssl_context is None else {None: ssl_context}
        """As many as the configuration names."""
        self._pools: dict[Origin, _Pool] = {}
        self.sweeper: asyncio.TimerHandle | None = None
        self.closed = False
        self.open = 0
        """Connections, connecting ones included."""
        self.idle = 0
        self.waiting = 0
        """Requests in line for a connection."""
        self.reused = 0
        """Requests sent on a connection that had served before."""
        self.created = 0
        """Connections made."""

    async def send(
        self,
        origin: Origin,
        method: str,
        target: str,
        headers: list[tuple[str, str]] | bytes,
        body: bytes,
        deadlines: Deadlines,
        within_ms: int | None = None,
    ) -> Response:
        """One request; returns when the response's head is there, whatever its status.

        `headers`: pairs, or a block from `render_headers`; host, content-length and what else
        belongs to the hop are set here. ValueError, before anything is written, for what can't be
        sent. UpstreamError for everything that goes wrong later. Cancelling it closes the
        connection.

        Args:
            within_ms: for all of it, where that is less than `deadlines.total_ms`.
        """
        pool = self._pools.get(origin) or _Pool(self, origin, asyncio.get_running_loop())
        head = render_head(method, target, pool.host_line, headers, len(body))
        loop = pool.loop
        now = loop.time()
        total_ms = deadlines.total_ms
        total_at = now + (total_ms if within_ms is None or within_ms > total_ms else within_ms) / 1000
        connection = pool.take(now)
        error: UpstreamError | None = None
        for again in range(STALE_MAX, -1, -1):
            if connection is None:
                connection = await pool.acquire(min(now + deadlines.connect_ms / 1000, total_at))
                now = loop.time()
            kept = connection.served > 0
            if kept:
                self.reused += 1
            response = Response(loop, deadlines.idle_ms / 1000, total_at, headless_body=method == "HEAD")
            connection.start(response, head, body, now + deadlines.first_byte_ms / 1000)
            waiter = response.waiter
            assert waiter is not None
            try:
                await waiter
            except BaseException:
                response.abort()
                raise
            if response.status:
                return response
            error = response.error
            assert error is not None
            if not (kept and error.nothing_came and again) or self.closed:
                break
            connection, now = None, loop.time()
        assert error is not None
        raise error.again()

    async def close(self) -> None:
        """Closes every connection, busy ones too; whoever waits or reads gets an UpstreamError."""
        self.closed = True
        if self.sweeper is not None:
            self.sweeper.cancel()
            self.sweeper = None
        for pool in list(self._pools.values()):
            pool.close()
        await asyncio.sleep(0)  # the loop closes aborted sockets in its next round

    # ── for the pools ──

    def tls(self, verify: bool | str | None = None) -> ssl.SSLContext:
        """Of an origin that says so itself; None: the context given, or the system's trust with
        verification of host names. Made once.
        """
        found = self._contexts.get(verify)
        if found is None:
            found = self._contexts[verify] = context(verify)
        return found

    def sweep_later(self, loop: asyncio.AbstractEventLoop) -> None:
        """Idle connections are looked over as long as there are any."""
        if self.sweeper is None and not self.closed:
            self.sweeper = loop.call_later(self.idle_seconds_max / 4 + 0.01, self._sweep, loop)

    def remember(self, pool: "_Pool") -> None:
        self._pools[pool.origin] = pool

    def forget(self, pool: "_Pool") -> None:
        if self._pools.get(pool.origin) is pool:
            del self._pools[pool.origin]

    def _sweep(self, loop: asyncio.AbstractEventLoop) -> None:
        self.sweeper = None
        for pool in list(self._pools.values()):
            pool.sweep(loop.time())
        if self.idle:
            self.sweep_later(loop)


class _Pool:
    """One origin's connections. The client knows it while it has any, or somebody wants one."""

    def __init__(self, client: Client, origin: Origin, loop: asyncio.AbstractEventLoop) -> None:
        self.client = client
        self.origin = origin
        self.loop = loop
        self.host_line = f"host: {origin.authority}\r\n".encode()
        self.connections: set[UpstreamConnection] = set()
        self.idle: list[UpstreamConnection] = []
        """The last used at the end."""
        self.open = 0
        self.wanted = 0
        """Requests in `acquire`."""
        self.waiters: deque[asyncio.Future[UpstreamConnection | None]] = deque()

    def take(self, now: float) -> UpstreamConnection | None:
        """An idle connection that is good for one more request, out of the pool; None if there is
        none.
        """
        client = self.client
        while self.idle:
            connection = self.idle.pop()
            client.idle -= 1
            idle_s = now - connection.idle_since
            fresh = idle_s < FRESH_S or (idle_s < client.idle_seconds_max and connection.is_quiet())
            if fresh and connection.alive():
                return connection
            connection.close()
        return None

    async def acquire(self, by: float) -> UpstreamConnection:
        """A connection, fresh or handed on, not closed. Waits in line when all slots are taken."""
        where = self.origin.authority
        self.wanted += 1
        self.client.remember(self)
        try:
            async with asyncio.timeout_at(by):
                return await self._connection()
        except TimeoutError:
            raise UpstreamError("timeout", f"no connection to {where} in time", safe_to_retry=True) from None
        except ssl.SSLError as error:
            raise UpstreamError("tls", f"no TLS with {where}: {error}", safe_to_retry=True) from error
        except (OSError, UnicodeError) as error:  # UnicodeError: a name that can't be a DNS name
            raise UpstreamError("connect", f"can't connect to {where}: {error}", safe_to_retry=True) from error
        finally:
            self.wanted -= 1
            self._forget_if_unused()

    async def _connection(self) -> UpstreamConnection:
        client = self.client
        while True:
            if self.open < client.connections_per_origin_max:
                self.open += 1
                client.open += 1
                return await self._connect()
            if len(self.waiters) >= client.waiting_per_origin_max:
                text = f"too many requests wait for a connection to {self.origin.authority}"
                raise UpstreamError("connect", text, safe_to_retry=True)
            connection = await self._wait()
            if connection is None:
                return await self._connect()
            if connection.alive():
                return connection
            connection.close()

    async def _connect(self) -> UpstreamConnection:
        """Fills a slot that is already counted; the connection's `close` gives it back."""
        connection = UpstreamConnection(self, self.loop, self.client.response_head_bytes_max)
        self.connections.add(connection)
        origin = self.origin
        try:
            if self.client.closed:
                raise UpstreamError("connect", "the client is closed", safe_to_retry=True)
            tls = self.client.tls(origin.verify) if origin.scheme == "https" else None
            name = origin.host if tls else None
            hosts = [origin.host] if origin.guard is None else await self._permitted(origin.guard)
            for last, host in enumerate(hosts, 1):
                try:
                    await self.loop.create_connection(
                        lambda: connection, host, origin.port, ssl=tls, server_hostname=name
                    )
                    break
                except ConnectionError:
                    if last == len(hosts):
                        raise
            if not connection.alive():
                raise UpstreamError("reset", "the upstream closed a new connection at once", safe_to_retry=True)
        except BaseException:
            connection.close()
            raise
        self.client.created += 1
        return connection

    async def _permitted(self, guard: Guard) -> list[str]:
        """The addresses of the origin's name. Looked at here, where the connection goes to just
        these: a name may stand for another later.
        """
        found = await self.loop.getaddrinfo(self.origin.host, self.origin.port, type=socket.SOCK_STREAM)
        addresses = list(dict.fromkeys(str(each[4][0]) for each in found))
        if not addresses or not all(map(guard.permits, addresses)):
            text = f"{self.origin.authority} is in a private network (TOLLGATE_EDGE_MODEL_NETWORKS says which may be called)"
            raise UpstreamError("connect", text, safe_to_retry=True)
        return addresses

    async def _wait(self) -> UpstreamConnection | None:
        """In line until a connection is handed on, or a slot (None: it is counted for whoever takes
        it).
        """
        waiter: asyncio.Future[UpstreamConnection | None] = self.loop.create_future()
        self.waiters.append(waiter)
        self.client.waiting += 1
        try:
            return await waiter
        except BaseException:
            if waiter.done() and not waiter.cancelled():  # cancelled in the tick in which it was served
                connection = waiter.result()
                if connection is None:
                    self._slot_free()
                elif not connection.closed:
                    self.released(connection)
            elif waiter in self.waiters:
                self.waiters.remove(waiter)
            raise
        finally:
            self.client.waiting -= 1

    def _next_waiter(self) -> asyncio.Future[UpstreamConnection | None] | None:
        while self.waiters:
            waiter = self.waiters.popleft()
            if not waiter.done():
                return waiter
        return None

    def _slot_free(self) -> None:
        if (waiter := self._next_waiter()) is not None:
            waiter.set_result(None)
            return
        self.open -= 1
        self.client.open -= 1
        self._forget_if_unused()

    def _forget_if_unused(self) -> None:
        if not self.open and not self.wanted:
            self.client.forget(self)

    # ── for the connections ──

    def released(self, connection: UpstreamConnection) -> None:
        client = self.client
        now = self.loop.time()
        if (
            client.closed
            or connection.served >= client.requests_per_connection_max
            or now - connection.born >= client.connection_age_s_max
        ):
            connection.close()
        elif self.waiters and (waiter := self._next_waiter()) is not None:
            waiter.set_result(connection)
        elif len(self.idle) >= client.idle_connections_max:
            connection.close()
        else:
            connection.idle_since = now
            self.idle.append(connection)
            client.idle += 1
            if client.sweeper is None:
                client.sweep_later(self.loop)

    def closed(self, connection: UpstreamConnection) -> None:
        self.connections.discard(connection)
        if connection in self.idle:
            self.idle.remove(connection)
            self.client.idle -= 1
        self._slot_free()

    # ── for the client ──

    def sweep(self, now: float) -> None:
        """Closes what has been idle too long, the oldest first, and what is too old."""
        client = self.client
        for connection in list(self.idle):
            if (
                now - connection.idle_since >= client.idle_seconds_max
                or now - connection.born >= client.connection_age_s_max
            ):
                connection.close()

    def close(self) -> None:
        for connection in list(self.connections):
            connection.abandon()
