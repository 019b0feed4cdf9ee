"""One connection of the wire: NATS's protocol on a socket, questions, and subscriptions."""

import asyncio
import ssl
from collections.abc import Callable
from typing import NamedTuple

import msgspec
import structlog

from shared import nkeys
from shared.decoding import UNREADABLE
from shared.settings import SettingsError
from shared.wire_server import Server

log = structlog.get_logger()

CONNECT_TIMEOUT_S = 2.0
RECONNECT_S = 0.1
PING_S = 2.0
SUSPECT_S = 1.0
"""For a server to answer a PING after somebody waited in vain: longer, and it is taken for frozen
or cut off; another one may be well.
"""
LATE_S = 0.05
"""A timer that comes so much later than it was due: the loop stood still, and what arrived
meanwhile may be unread. On uvloop timers that are due come first, where it stood still in a
socket's event or the process was stopped."""
READ_S = 0.01
"""For it to be read then."""
READ_BYTES_MAX = 8 * 1024 * 1024
"""Of one message from the server."""
UNSENT_BYTES_MAX = 16 * 1024 * 1024
"""What may wait for a broker that reads slowly; past that a question fails at once."""
INBOX_SID = 1

OnMessage = Callable[[bytes, bytes], None]
"""(reply subject, payload). Called from the socket's event: it must not block, nor raise."""


class WireError(Exception):
    """No answer. `code`: timeout, unreachable, no_responders, too_large."""

    def __init__(self, code: str) -> None:
        super().__init__(code)
        self.code = code


class _Info(msgspec.Struct):
    tls_required: bool = False
    tls_available: bool = False
    headers: bool = False
    nonce: str = ""
    max_payload: int = 1024 * 1024


class Subscription(NamedTuple):
    subject: str
    queue: str
    on_message: OnMessage


class BrokerConnection(asyncio.Protocol):
    """One TCP connection. `lost` is set once, at its end."""

    def __init__(
        self,
        server: Server,
        name: str,
        inbox: str,
        subscriptions: dict[int, Subscription],
        tls: ssl.SSLContext | None,
        nkey_file: str = "",
    ) -> None:
        loop = asyncio.get_running_loop()
        self._loop = loop
        self._server = server
        self._name = name
        self._inbox = inbox.encode()
        self._subscriptions = subscriptions
        self._tls = tls
        self._nkey_file = nkey_file
        self._nonce = ""
        """What the server wants signed; empty: nothing."""
        self._upgrade: asyncio.Task[None] | None = None
        self._parts: list[bytes] = []
        """Of a message that hasn't come whole; joined once it has."""
        self._have = self._need = 0
        self._out: list[bytes] = []
        self._on_wire: list[Callable[[], None]] = []
        self._waiting: dict[bytes, tuple[asyncio.Future[bytes], asyncio.TimerHandle]] = {}
        self._pongs: list[asyncio.Future[None]] = []
        self._transport: asyncio.Transport | None = None
        self._unanswered_pings = 0
        self._suspected = False
        self._introduced = False
        self._payload_bytes_max = 0
        self._said: set[int] = set()
        self.ready: asyncio.Future[None] = loop.create_future()
        self.lost = asyncio.Event()

    # ── what the wire asks for ──

    def ask(
        self,
        token: bytes,
        message: tuple[bytes, ...],
        payload_bytes: int,
        timeout_s: float,
        on_wire: Callable[[], None] | None,
        future: "asyncio.Future[bytes] | None",
    ) -> "asyncio.Future[bytes]":
        self.send(payload_bytes, *message)
        if on_wire is not None:  # somebody waits for just this
            self._on_wire.append(on_wire)
            self.flush()
        if future is None:
            future = self._loop.create_future()
        self._waiting[token] = future, self._loop.call_later(timeout_s, self._time_out, token)
        return future

    def send(self, payload_bytes: int, *message: bytes) -> None:
        transport = self._transport
        if transport is None:
            raise WireError("unreachable")
        if payload_bytes > self._payload_bytes_max:
            raise WireError("too_large")  # the server would close the connection on everybody
        if transport.get_write_buffer_size() > UNSENT_BYTES_MAX:
            raise WireError("unreachable")
        self._write(*message)

    def subscribe(self, sid: int, subscription: Subscription) -> None:
        if self._transport is not None and sid not in self._said:
            self._said.add(sid)
            self._write(f"SUB {subscription.subject} {subscription.queue} {sid}\r\n".encode())

    def subscribe_all(self) -> None:
        for sid, subscription in self._subscriptions.items():
            self.subscribe(sid, subscription)

    def unsubscribe(self, sid: int) -> None:
        if self._transport is not None:
            self._write(b"UNSUB %d\r\n" % sid)

    async def round_trip(self, timeout_s: float) -> None:
        """Until the server has read all that was written, and we all that it had sent by then; or
        the connection's end.
        """
        if self._transport is None:
            return
        future: asyncio.Future[None] = self._loop.create_future()
        self._pongs.append(future)
        self._write(b"PING\r\n")
        try:
            async with asyncio.timeout(timeout_s):
                await future
        except TimeoutError:
            pass

    def ping(self) -> None:
        """Two without an answer, and the connection is taken for dead."""
        if self._transport is not None:
            self._unanswered_pings += 1
            if self._unanswered_pings > 2:
                self._transport.abort()
            else:
                self._pongs.append(self._loop.create_future())
                self._write(b"PING\r\n")

    def close(self) -> None:
        transport = self._transport
        if transport is not None:
            self.flush()
            self._transport = None
            self.lost.set()
            transport.close()

    def _write(self, *data: bytes) -> None:
        if not self._out:
            self._loop.call_soon(self.flush)
        self._out += data

    def flush(self) -> None:
        out, self._out = self._out, []
        if out and self._transport is not None:
            if len(out) == 1:
                self._transport.write(out[0])
            elif any(len(part) >= LARGE_BYTES for part in out):
                self._transport.writelines(out)
            else:
                self._transport.write(b"".join(out))
            on_wire, self._on_wire = self._on_wire, []
            for tell in on_wire:
                tell()

    def _time_out(self, token: bytes) -> None:
        future, timer = self._waiting[token]
        if self._is_late(timer.when()):
            self._waiting[token] = future, self._loop.call_later(READ_S, self._give_up, token)
        else:
            self._give_up(token)

    def _is_late(self, due: float) -> bool:
        return self._loop.time() - due > LATE_S

    def _give_up(self, token: bytes) -> None:
        future, _ = self._waiting.pop(token)
        if not future.done():
            future.set_exception(WireError("timeout"))
        if self._transport is not None and not self._suspected:
            self._suspected = True
            pong: asyncio.Future[None] = self._loop.create_future()
            self._pongs.append(pong)
            self._write(b"PING\r\n")
            self._loop.call_later(SUSPECT_S, self._look_again, pong, self._loop.time() + SUSPECT_S)

    def _look_again(self, pong: "asyncio.Future[None]", due: float) -> None:
        if self._is_late(due):
            self._loop.call_later(READ_S, self._look_again, pong, self._loop.time() + READ_S)
            return
        self._suspected = False
        if not pong.done() and self._transport is not None:
            log.warning("wire_silent")
            self._transport.abort()

    # ── asyncio's events ──

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport  # type: ignore[assignment]  # uvloop's transports don't inherit from asyncio's

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        self.lost.set()
        waiting, self._waiting = self._waiting, {}
        for future, timer in waiting.values():
            timer.cancel()
            if not future.done():
                future.set_exception(WireError("unreachable"))
        for pong in self._pongs:
            if not pong.done():
                pong.set_result(None)
        if not self.ready.done():
            self.ready.set_exception(WireError("unreachable"))

    def data_received(self, data: bytes) -> None:
        if self._parts:
            self._parts.append(data)
            self._have += len(data)
            if self._have < self._need:
                return
            data = b"".join(self._parts)
            self._parts = []
        position = need = 0
        try:
            while (end := data.find(b"\r\n", position)) >= 0:
                if data.startswith((b"MSG ", b"HMSG "), position):
                    fields = data[position:end].split(b" ")
                    size = int(fields[-1])
                    if size > READ_BYTES_MAX:
                        raise ValueError("a message is too large")
                    body = end + 2
                    if len(data) < body + size + 2:
                        need = body + size + 2 - position
                        break
                    self._message(fields, data[body : body + size])
                    position = body + size + 2
                else:
                    self._control(data[position:end])
                    position = end + 2
        except (ValueError, IndexError, KeyError) as error:  # not the protocol
            self._fail(f"unreadable: {error}")
            return
        if position < len(data):
            self._parts = [data[position:] if position else data]
            self._have, self._need = len(self._parts[0]), need
            if not need and self._have > READ_BYTES_MAX + 65536:
                self._fail("a line is too long")

    def _message(self, fields: list[bytes], payload: bytes) -> None:
        sid = int(fields[2])
        has_headers = fields[0] == b"HMSG"
        if sid != INBOX_SID:
            if has_headers:
                payload = payload[int(fields[-2]) :]
            subscription = self._subscriptions.get(sid)
            if subscription is not None:
                subscription.on_message(fields[3] if len(fields) > (5 if has_headers else 4) else b"", payload)
            return
        found = self._waiting.pop(fields[1][len(self._inbox) + 1 :], None)
        if found is None:
            return  # too late
        future, timer = found
        timer.cancel()
        if future.done():
            return
        if has_headers:  # a status without a body: 503, nobody listens
            future.set_exception(WireError("no_responders"))
        else:
            future.set_result(payload)

    def _control(self, line: bytes) -> None:
        verb = line[:4].upper()
        if verb == b"PING":
            self._write(b"PONG\r\n")
        elif verb == b"PONG":
            self._unanswered_pings = 0
            if not self.ready.done():
                self.ready.set_result(None)
            elif self._pongs and not (pong := self._pongs.pop(0)).done():
                pong.set_result(None)
        elif verb == b"INFO":
            self._introduce(line[5:])
        elif not (self._introduced or verb == b"-ERR"):
            self._fail("it introduces itself as something else")
        elif verb == b"-ERR":
            text = line.decode("ascii", "replace")[:100]
            if "Permissions Violation" in text:  # of one message: the connection goes on
                log.error("wire_refused", error=text)
            else:
                self._fail(text)

    def _introduce(self, info_json: bytes) -> None:
        try:
            info = msgspec.json.decode(info_json, type=_Info)
        except UNREADABLE:
            self._fail("unreadable INFO")
            return
        self._introduced = True
        self._payload_bytes_max, self._nonce = info.max_payload, info.nonce
        if self.ready.done():
            return  # news of the cluster
        if not info.headers or (info.tls_required and self._tls is None):
            self._fail("the server wants TLS and none was asked for, or it knows no headers")
        elif self._server.tls and not (info.tls_required or info.tls_available):
            self._fail("TLS was asked for, and the server has none")
        elif info.tls_required or self._server.tls:
            self._upgrade = self._loop.create_task(self._start_tls())
        else:
            self._greet()

    async def _start_tls(self) -> None:
        """NATS introduces itself in the clear; everything after that is TLS."""
        transport = self._transport
        if transport is None or self._tls is None:
            return
        try:
            upgraded = await self._loop.start_tls(
                transport, self, self._tls, server_hostname=self._server.host, ssl_handshake_timeout=CONNECT_TIMEOUT_S
            )
        except (OSError, ssl.SSLError, TimeoutError) as error:  # CertificateError is an SSLError
            self._fail(f"TLS: {type(error).__name__}: {str(error)[:120]}")
            return
        if self._transport is None or upgraded is None:
            self._fail("closed while TLS began")
            return
        self._transport = upgraded
        self._greet()

    def _greet(self) -> None:
        options = {
            "verbose": False, "pedantic": False, "headers": True, "no_responders": True, "protocol": 1, "echo": True,
            "lang": "python", "version": "1", "name": self._name,
        }  # fmt: skip
        try:
            options |= self._who_we_are()
        except SettingsError as error:
            self._fail(str(error))
            return
        self._write(b"CONNECT %b\r\nSUB %b.* %d\r\n" % (msgspec.json.encode(options), self._inbox, INBOX_SID))
        self.subscribe_all()
        self._write(b"PING\r\n")

    def _who_we_are(self) -> dict[str, str]:
        """Raises SettingsError where the key's file can't be read any more."""
        if self._nkey_file and self._nonce:
            return {name: said for name, said in nkeys.login(self._nkey_file, self._nonce)._asdict().items() if said}
        said = {"user": self._server.user, "pass": self._server.password}
        return {name: word for name, word in said.items() if word is not None}

    def _fail(self, why: str) -> None:
        if not self.ready.done():
            self.ready.set_exception(WireError(why))
        else:
            log.warning("wire_failed", error=why)
        if self._transport is not None:
            self._transport.abort()


LARGE_BYTES = 16_384
"""A payload that isn't copied to stand behind its line: both are written by one system call."""


def message_of(subject: str, reply: str, headers: bytes, payload: bytes) -> tuple[bytes, ...]:
    if headers:
        line = f"HPUB {subject} {reply} {len(headers)} {len(headers) + len(payload)}\r\n".encode()
    else:
        line = f"PUB {subject} {reply} {len(payload)}\r\n".encode()
    if len(payload) >= LARGE_BYTES:
        return line + headers, payload, b"\r\n"
    return (b"".join((line, headers, payload, b"\r\n")),)
