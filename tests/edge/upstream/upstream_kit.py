"""What the upstream client's tests share: a server that does exactly what a script says, and
aiohttp's client behind the same interface as ours, as the reference."""

import asyncio
import datetime
import ipaddress
import socket
import ssl
import struct
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import uvloop
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from services.edge.upstream import Deadlines, Origin, UpstreamError

LOOPS = {"asyncio": asyncio.SelectorEventLoop, "uvloop": uvloop.new_event_loop}
QUICK = Deadlines(connect_ms=2_000, first_byte_ms=2_000, idle_ms=2_000, total_ms=4_000)
OK = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"
HEAD = b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n"
Make = Callable[..., Any]
Script = Callable[["Peer"], Awaitable[None]]


class Peer:
    """The server's end of one connection."""

    def __init__(self, number: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.number = number
        self.reader, self.writer = reader, writer

    async def request(self) -> tuple[bytes, bytes]:
        """One whole request: head (with its empty line) and body."""
        head = await self.reader.readuntil(b"\r\n\r\n")
        length = 0
        for line in head.split(b"\r\n"):
            if line.lower().startswith(b"content-length:"):
                length = int(line.split(b":")[1])
        return head, await self.reader.readexactly(length)

    async def send(self, *pieces: bytes) -> None:
        """Each piece arrives on its own, as the client's loop has run in between."""
        for piece in pieces:
            if self.writer.is_closing():
                raise ConnectionResetError
            self.writer.write(piece)
            await self.writer.drain()
            for _ in range(4):
                await asyncio.sleep(0)

    def reset(self) -> None:
        """RST instead of FIN."""
        tcp = self.writer.get_extra_info("socket")
        if tcp is None:  # the client was faster
            return
        tcp.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.writer.transport.abort()

    async def gone(self, within_s: float) -> None:
        """Returns when the client has closed or reset; TimeoutError if it doesn't in time."""
        async with asyncio.timeout(within_s):
            try:
                while await self.reader.read(65536):
                    pass
            except (ConnectionError, ssl.SSLError):
                pass


class Server:
    """Runs the script for every connection; keeps what the scripts raised, so that the test fails
    with it.
    """

    def __init__(self, script: Script, tls: ssl.SSLContext | None = None, host: str = "127.0.0.1") -> None:
        self.script, self.tls, self.host = script, tls, host
        self.connections = 0
        self.failures: list[BaseException] = []
        self.tasks: set[asyncio.Task[Any]] = set()

    async def __aenter__(self) -> "Server":
        self.server = await asyncio.start_server(self._serve, "127.0.0.1", 0, ssl=self.tls)
        self.port = self.server.sockets[0].getsockname()[1]
        self.origin = Origin("https" if self.tls else "http", self.host, self.port)
        return self

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self.tasks.add(task)
        self.connections += 1
        try:
            await self.script(Peer(self.connections, reader, writer))
        except (ConnectionError, asyncio.IncompleteReadError, ssl.SSLError, asyncio.CancelledError):
            pass  # cancelled by the server's end: asyncio would report it
        except Exception as failure:
            self.failures.append(failure)
        finally:
            self.tasks.discard(task)
            writer.close()

    async def __aexit__(self, exc_type: type[BaseException] | None, *_: object) -> None:
        self.server.close()
        for task in list(self.tasks):
            task.cancel()
        await asyncio.gather(*self.tasks, return_exceptions=True)
        if self.failures and exc_type is None:
            raise self.failures[0]


def answers(*pieces: bytes, close: bool = False) -> Script:
    """Every request on every connection is answered with these pieces."""

    async def script(peer: Peer) -> None:
        while True:
            await peer.request()
            await peer.send(*pieces)
            if close:
                return

    return script


class Reference:
    """aiohttp's ClientSession with our interface."""

    def __init__(self, *, connections_per_origin_max: int = 512, ssl_context: ssl.SSLContext | None = None) -> None:
        self._limit = connections_per_origin_max
        self._tls = ssl_context
        self._session: aiohttp.ClientSession | None = None

    async def send(
        self, origin: Origin, method: str, target: str, headers: Any, body: bytes, deadlines: Deadlines
    ) -> "ReferenceResponse":
        if self._session is None:
            connector = aiohttp.TCPConnector(limit_per_host=self._limit, ssl=self._tls or True)
            self._session = aiohttp.ClientSession(connector=connector)
        timeout = aiohttp.ClientTimeout(
            total=deadlines.total_ms / 1000,
            connect=deadlines.connect_ms / 1000,
            sock_read=deadlines.idle_ms / 1000,
        )
        try:
            async with asyncio.timeout(deadlines.first_byte_ms / 1000):
                response = await self._session.request(
                    method,
                    f"{origin.scheme}://{origin.authority}{target}",
                    headers=headers,
                    data=body or None,
                    timeout=timeout,
                    allow_redirects=False,
                )
        except Exception as error:
            raise translated(error) from error
        return ReferenceResponse(response)

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()


class ReferenceResponse:
    def __init__(self, inner: aiohttp.ClientResponse) -> None:
        self._inner = inner
        self.status = inner.status
        self.headers = [(name.lower(), value) for name, value in inner.raw_headers]

    def header(self, name: bytes) -> bytes | None:
        return dict(reversed(self.headers)).get(name)

    async def next_chunk(self) -> bytes:
        try:
            return await self._inner.content.readany()
        except BaseException as error:
            self._inner.close()
            if not isinstance(error, Exception):
                raise
            raise translated(error) from error

    async def read(self, limit_bytes: int) -> bytes:
        whole = b""
        while chunk := await self.next_chunk():
            whole += chunk
            if len(whole) > limit_bytes:
                self.abort()
                raise UpstreamError("too_large", "")
        return whole

    def abort(self) -> None:
        self._inner.close()


def translated(error: Exception) -> UpstreamError:
    """aiohttp's errors in our words."""
    if isinstance(error, aiohttp.ClientPayloadError):
        # One class for a connection lost and for a body that breaks the rules; its cause tells
        # which.
        broken = isinstance(error.__cause__, aiohttp.http_exceptions.TransferEncodingError)
        return UpstreamError("protocol" if broken and "Not enough" not in str(error) else "reset", str(error))
    table: list[tuple[type[Exception], Any]] = [
        (TimeoutError, "timeout"),
        (aiohttp.ClientSSLError, "tls"),
        (aiohttp.ClientConnectorError, "connect"),
        (aiohttp.ServerDisconnectedError, "reset"),
        (aiohttp.ClientOSError, "reset"),
        (aiohttp.ClientResponseError, "protocol"),
        (aiohttp.ClientConnectionError, "reset"),
    ]
    for exception, kind in table:
        if isinstance(error, exception):
            return UpstreamError(kind, str(error))
    raise error


class Authority:
    """A certificate authority of our own, and what it signs."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "test authority")])
        self._root = self._sign(self._name, self._key.public_key(), x509.BasicConstraints(ca=True, path_length=None))

    def server(self, name: str) -> ssl.SSLContext:
        """A server's context whose certificate is for this DNS name or IP address."""
        key = ec.generate_private_key(ec.SECP256R1())
        try:
            alternative: x509.GeneralName = x509.IPAddress(ipaddress.ip_address(name))
        except ValueError:
            alternative = x509.DNSName(name)
        subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
        certificate = self._sign(subject, key.public_key(), x509.SubjectAlternativeName([alternative]))
        path = self._folder / f"{name}.pem"
        path.write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            )
            + certificate.public_bytes(serialization.Encoding.PEM)
        )
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(path)
        return context

    def client(self) -> ssl.SSLContext:
        """A client's context that trusts this authority alone."""
        return ssl.create_default_context(cadata=self.root)

    @property
    def root(self) -> str:
        """Its own certificate, PEM."""
        return self._root.public_bytes(serialization.Encoding.PEM).decode()

    def _sign(self, subject: x509.Name, key: Any, extension: x509.ExtensionType) -> x509.Certificate:
        now = datetime.datetime.now(datetime.UTC)
        builder = x509.CertificateBuilder().subject_name(subject).issuer_name(self._name).public_key(key)
        builder = builder.serial_number(x509.random_serial_number())
        builder = builder.not_valid_before(now - datetime.timedelta(hours=1))
        builder = builder.not_valid_after(now + datetime.timedelta(hours=1))
        return builder.add_extension(extension, critical=False).sign(self._key, hashes.SHA256())


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not condition():
            await asyncio.sleep(0.005)


async def call(client: Any, server: Any, deadlines: Deadlines = QUICK, body: bytes = b"{}") -> bytes:
    async with asyncio.timeout(5):
        response = await client.send(server.origin, "POST", "/", [], body, deadlines)
        return await response.read(1 << 20)


async def refused(client: Any, server: Any, deadlines: Deadlines = QUICK, body: bytes = b"{}") -> UpstreamError:
    with pytest.raises(UpstreamError) as caught:
        await call(client, server, deadlines, body)
    return caught.value
