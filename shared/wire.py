"""The bus's hot verbs spoken directly: ask, answer, and publish with an acknowledgement, over a
connection of its own.

Every request waits for its facts, and many for a decision or a verdict, so this is the hottest
place on the bus; the client library's queues and tasks cost more than the round trips themselves.
What it knows of the NATS protocol: CONNECT with user and password or a signature (nkeys,
credentials files), SUB, UNSUB, PUB, HPUB, TLS, and what a server sends. Everything else (streams,
consumers) stays with the library (`shared.bus`), which also stands in for this while it is away.
The same tests run against both.

Theory. Bytes go out once in a turn of the loop, whatever was asked in it: one system call for many
messages. A question is a token under our inbox; its future is done by the answer, by its deadline,
or by the connection's end, whichever comes first, and a token is never used twice, so a late answer
finds nobody. Subscriptions outlive connections: they are said again on the next one.
"""

import asyncio
import random
import secrets
import ssl
from collections.abc import Callable

import structlog

from shared import subjects
from shared.waiting import ended, set_within
from shared.wire_connection import (
    CONNECT_TIMEOUT_S,
    INBOX_SID,
    PING_S,
    RECONNECT_S,
    BrokerConnection,
    OnMessage,
    Subscription,
    WireError,
    message_of,
)
from shared.wire_server import Server, server_of

log = structlog.get_logger()


class Wire:
    """
    Args:
        url: comma-separated `nats://user:password@host:port`, or `tls://...`. Each wire begins with
            any of them, so that many spread.
        service: whose inbox answers come to.
        tls: how a server that wants TLS is spoken to; None: it isn't.
        nkey_file: see BusSettings.
    """

    def __init__(self, url: str, service: str, tls: ssl.SSLContext | None = None, nkey_file: str = "") -> None:
        self._servers = [server_of(part) for part in url.split(",")]
        random.shuffle(self._servers)
        self._tls = tls
        self._nkey_file = nkey_file
        self._service = service
        self._inbox = f"{subjects.inbox_prefix(service)}.{secrets.token_hex(8)}"
        self._subscriptions: dict[int, Subscription] = {}
        self._last_sid = INBOX_SID
        self._tokens = 0
        self._connection: BrokerConnection | None = None
        self._keeper: asyncio.Task[None] | None = None

    async def start(self) -> bool:
        """Connect. False when none of the servers takes us. One that is away may be back: then
        connecting goes on for ever.
        """
        away = False
        for server in self._servers:
            try:
                self._connection = await self._connect(server)
                break
            except (OSError, TimeoutError) as error:
                away, reason = True, str(error)[:100]
            except WireError as error:
                reason = str(error)[:100]
        if self._connection is None and not away:
            log.warning("wire_not_used", reason=reason)
            return False
        self._keeper = asyncio.create_task(self._stay_connected())
        return True

    async def close(self) -> None:
        """What was written before goes out; nothing more comes in."""
        if self._keeper is not None:
            await ended(self._keeper)
        if self._connection is not None:
            self._connection.close()

    def use(self, url: str) -> None:
        """The servers of the next connections."""
        self._servers = [server_of(part) for part in url.split(",")]

    @property
    def is_connected(self) -> bool:
        return self._connection is not None and not self._connection.lost.is_set()

    def request(
        self,
        subject: str,
        payload: bytes,
        timeout_s: float,
        *,
        headers: bytes = b"",
        on_wire: Callable[[], None] | None = None,
        future: "asyncio.Future[bytes] | None" = None,
    ) -> "asyncio.Future[bytes]":
        """Ask; the future has the answer's payload, or a WireError. Raises WireError when it can't
        even be sent.

        Args:
            headers: a whole NATS header block, or nothing.
            on_wire: called once the bytes are handed to the socket.
            future: to be done instead of a new one.
        """
        connection = self._connection
        if connection is None or connection.lost.is_set():
            raise WireError("unreachable")
        self._tokens += 1
        token = b"%d" % self._tokens
        reply = f"{self._inbox}.{self._tokens}"
        return connection.ask(
            token, message_of(subject, reply, headers, payload), len(headers) + len(payload), timeout_s, on_wire, future
        )

    def flush(self) -> None:
        """What was asked and sent so far goes out now."""
        if self._connection is not None:
            self._connection.flush()

    def send(self, subject: bytes, payload: bytes) -> None:
        """Publish without waiting, for answers: lost when the connection is. Raises WireError
        (unreachable, too_large).
        """
        connection = self._connection
        if connection is None or connection.lost.is_set():
            raise WireError("unreachable")
        connection.send(len(payload), b"PUB %b %d\r\n%b\r\n" % (subject, len(payload), payload))

    async def subscribe(self, subject: str, queue: str, on_message: OnMessage) -> int:
        """Returns the subscription's number, once the server knows of it (or the connection was
        lost: then it will).
        """
        self._last_sid = sid = self._last_sid + 1
        subscription = self._subscriptions[sid] = Subscription(subject, queue, on_message)
        if (connection := self._connection) is not None:
            connection.subscribe(sid, subscription)
            await connection.round_trip(CONNECT_TIMEOUT_S)
        return sid

    async def unsubscribe(self, sid: int) -> None:
        """Returns when everything the server had sent for it has been handed over."""
        connection = self._connection
        if connection is not None and sid in self._subscriptions:
            connection.unsubscribe(sid)
            await connection.round_trip(CONNECT_TIMEOUT_S)
        self._subscriptions.pop(sid, None)

    async def _stay_connected(self) -> None:
        """Whenever the connection breaks, make another, for ever: the servers in turn."""
        turn = 0
        while True:
            if self._connection is not None and not await set_within(self._connection.lost, PING_S):
                self._connection.ping()
                continue
            await asyncio.sleep(RECONNECT_S)
            turn += 1
            try:
                self._connection = await self._connect(self._servers[turn % len(self._servers)])
            except (OSError, TimeoutError, WireError):
                continue
            self._connection.subscribe_all()  # what was wanted while it was being made

    async def _connect(self, server: Server) -> "BrokerConnection":
        loop = asyncio.get_running_loop()
        async with asyncio.timeout(CONNECT_TIMEOUT_S):
            _, connection = await loop.create_connection(
                lambda: BrokerConnection(
                    server, f"{self._service}-wire", self._inbox, self._subscriptions, self._tls, self._nkey_file
                ),
                server.host,
                server.port,
            )
            try:
                await connection.ready
            except BaseException:
                connection.close()
                raise
        return connection
