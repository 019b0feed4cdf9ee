"""Publishing facts over a connection of its own, spoken directly: four verbs of the NATS protocol.

Every request waits for its facts, so this is the hottest place on the bus; the client library's queues and tasks cost more
than the round trip itself. What it knows: CONNECT with user and password, SUB on one inbox, HPUB with a message id, and the
acknowledgements that come back. TLS, nkeys and everything else stay with the library (`publisher.NatsPublisher`), which is
used instead where a server asks for them, and which the same tests run against.
"""

import asyncio
import secrets
from collections.abc import Callable
from urllib.parse import unquote, urlsplit

import msgspec
import structlog

from services.edge.publisher import Ack, PublishError, decode_ack
from shared import subjects

log = structlog.get_logger()

CONNECT_TIMEOUT_S = 2.0
RECONNECT_S = 0.1
PING_S = 5.0
READ_BYTES_MAX = 4 * 1024 * 1024
"""Of one message from the server: far more than an acknowledgement."""


class _Info(msgspec.Struct):
    tls_required: bool = False
    auth_required: bool = False
    nonce: str | None = None
    headers: bool = False


class _Server(msgspec.Struct, frozen=True):
    host: str
    port: int
    user: str | None
    password: str | None


class LeanPublisher:
    """
    Args:
        url: comma-separated `nats://user:password@host:port`.
    """

    def __init__(self, url: str) -> None:
        self._servers = [_parse(part) for part in url.split(",")]
        self._inbox = f"{subjects.inbox_prefix('edge')}.{secrets.token_hex(8)}"
        self._connection: _Connection | None = None
        self._count = 0
        self._runner: asyncio.Task[None] | None = None

    async def start(self) -> bool:
        """Connect. False when the server wants what only the library can (TLS, nkeys), or can't be reached: use the library."""
        try:
            self._connection = await self._connect(self._servers[0])
        except (OSError, TimeoutError, PublishError) as error:
            log.info("lean_publisher_not_used", reason=str(error)[:100])
            return False
        self._runner = asyncio.create_task(self._stay_connected())
        return True

    async def close(self) -> None:
        if self._runner is not None:
            self._runner.cancel()
            await asyncio.gather(self._runner, return_exceptions=True)
        if self._connection is not None:
            self._connection.close()

    async def publish(
        self, subject: str, message_id: str, payload: bytes, on_wire: Callable[[], None], timeout_ms: int
    ) -> int:
        connection = self._connection
        if connection is None or connection.lost.is_set():
            raise PublishError("unreachable")
        self._count += 1
        token = str(self._count)
        head = b"NATS/1.0\r\nNats-Msg-Id: %b\r\n\r\n" % message_id.encode()
        line = f"HPUB {subject} {self._inbox}.{token} {len(head)} {len(head) + len(payload)}\r\n".encode()
        ack: Ack = await connection.ask(token, b"".join((line, head, payload, b"\r\n")), on_wire, timeout_ms / 1000)
        if ack.error is not None or ack.seq == 0:
            raise PublishError("refused")  # no stream, or a full one
        return ack.seq

    async def _stay_connected(self) -> None:
        """Whenever the connection breaks, make another, for ever: the servers in turn."""
        turn = 0
        while True:
            assert self._connection is not None
            try:
                async with asyncio.timeout(PING_S):
                    await self._connection.lost.wait()
            except TimeoutError:
                self._connection.ping()
                continue
            await asyncio.sleep(RECONNECT_S)
            turn += 1
            try:
                self._connection = await self._connect(self._servers[turn % len(self._servers)])
            except (OSError, TimeoutError, PublishError):
                continue

    async def _connect(self, server: _Server) -> "_Connection":
        loop = asyncio.get_running_loop()
        async with asyncio.timeout(CONNECT_TIMEOUT_S):
            _, connection = await loop.create_connection(
                lambda: _Connection(server, self._inbox), server.host, server.port
            )
            try:
                await connection.ready
            except BaseException:
                connection.close()
                raise
        return connection


class _Connection(asyncio.Protocol):
    """One TCP connection. Its mutable state is `_buffer` and `_waiting`; `lost` is set once, at its end."""

    def __init__(self, server: _Server, inbox: str) -> None:
        loop = asyncio.get_running_loop()
        self._loop = loop
        self._server = server
        self._inbox = inbox.encode()
        self._buffer = b""
        self._waiting: dict[str, asyncio.Future[bytes]] = {}
        self._transport: asyncio.Transport | None = None
        self._unanswered_pings = 0
        self.ready: asyncio.Future[None] = loop.create_future()
        self.lost = asyncio.Event()

    async def ask(self, token: str, command: bytes, on_wire: Callable[[], None], timeout_s: float) -> Ack:
        """Send, and wait for what comes back on the token's inbox."""
        transport = self._transport
        if transport is None:
            raise PublishError("unreachable")
        future: asyncio.Future[bytes] = self._loop.create_future()
        self._waiting[token] = future
        timer = self._loop.call_later(timeout_s, _time_out, future)
        try:
            transport.write(command)
            on_wire()
            return decode_ack(await future)
        except msgspec.DecodeError:
            raise PublishError("unreadable acknowledgement") from None
        finally:
            timer.cancel()
            del self._waiting[token]

    def ping(self) -> None:
        """Two without an answer, and the connection is taken for dead."""
        if self._transport is not None:
            self._unanswered_pings += 1
            if self._unanswered_pings > 2:
                self._transport.abort()
            else:
                self._transport.write(b"PING\r\n")

    def close(self) -> None:
        if self._transport is not None:
            self._transport.close()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport  # type: ignore[assignment]  # uvloop's transports don't inherit from asyncio's

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        self.lost.set()
        for future in self._waiting.values():
            if not future.done():
                future.set_exception(PublishError("connection lost"))
        if not self.ready.done():
            self.ready.set_exception(PublishError("connection lost"))

    def data_received(self, data: bytes) -> None:
        if self._buffer:
            data = self._buffer + data
        position = 0
        while (end := data.find(b"\r\n", position)) >= 0:
            line = data[position:end]
            if line.startswith((b"MSG ", b"HMSG ")):
                size = int(line.rsplit(b" ", 1)[1])
                if size > READ_BYTES_MAX:
                    self._fail("message too large")
                    return
                if len(data) < end + 2 + size + 2:
                    break
                self._message(line, data[end + 2 : end + 2 + size])
                position = end + 2 + size + 2
            else:
                self._control(line)
                position = end + 2
        self._buffer = data[position:] if position < len(data) else b""
        if len(self._buffer) > READ_BYTES_MAX + 65536:
            self._fail("line too long")

    def _message(self, line: bytes, payload: bytes) -> None:
        fields = line.split(b" ")
        token = fields[1].rsplit(b".", 1)[1].decode()
        future = self._waiting.get(token)
        if future is None or future.done():
            return
        if line[:1] == b"H":  # a status without a body: 503, nobody listens: no stream takes the subject
            future.set_exception(PublishError("no stream"))
        else:
            future.set_result(payload)

    def _control(self, line: bytes) -> None:
        verb = line[:4].upper()
        assert self._transport is not None
        if verb == b"PING":
            self._transport.write(b"PONG\r\n")
        elif verb == b"PONG":
            self._unanswered_pings = 0
            if not self.ready.done():
                self.ready.set_result(None)
        elif verb == b"INFO":
            if not self.ready.done():
                self._introduce(line[5:])
        elif verb == b"-ERR":
            self._fail(line.decode("ascii", "replace")[:100])

    def _introduce(self, info_json: bytes) -> None:
        assert self._transport is not None
        try:
            info = msgspec.json.decode(info_json, type=_Info)
        except msgspec.DecodeError:
            self._fail("unreadable INFO")
            return
        if info.tls_required or not info.headers:
            self._fail("the server wants TLS, or knows no headers")
            return
        options = {
            "verbose": False, "pedantic": False, "headers": True, "no_responders": True, "protocol": 1, "echo": False,
            "lang": "python", "version": "1", "name": "edge-facts", "user": self._server.user, "pass": self._server.password,
        }  # fmt: skip
        self._transport.write(b"CONNECT %b\r\nSUB %b.* 1\r\nPING\r\n" % (msgspec.json.encode(options), self._inbox))

    def _fail(self, why: str) -> None:
        if not self.ready.done():
            self.ready.set_exception(PublishError(why))
        else:
            log.warning("lean_publisher_error", error=why)
        if self._transport is not None:
            self._transport.close()


def _time_out(future: "asyncio.Future[bytes]") -> None:
    if not future.done():
        future.set_exception(PublishError("timeout"))


def _parse(url: str) -> _Server:
    parts = urlsplit(url if "://" in url else f"nats://{url}")
    user = unquote(parts.username) if parts.username else None
    password = unquote(parts.password) if parts.password else None
    if parts.scheme != "nats" or not parts.hostname:
        return _Server("", 0, None, None)  # can't be connected to: the library decides what it makes of it
    return _Server(parts.hostname, parts.port or 4222, user, password)
