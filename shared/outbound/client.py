"""One request to somebody else, one whole answer, inside a deadline and a bound."""

import asyncio
import socket
import ssl
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from urllib.parse import urlsplit

import aiohttp
import msgspec
from aiohttp.abc import AbstractResolver, ResolveResult
from multidict import CIMultiDict
from yarl import URL

from shared.outbound.addresses import Guard
from shared.outbound.settings import OutboundSettings

ANSWER_BYTES_MAX = 8 * 1024 * 1024
CONNECTIONS_MAX = 64


class OutboundError(Exception):
    """No answer, or none that can be used. `code` says why; the message never holds more of the
    address than its host.

    Codes: bad_address, refused_address (the guard's no), timeout, unreachable, broken, too_large.
    """

    def __init__(self, code: str, host: str = "") -> None:
        super().__init__(f"{code} ({host})" if host else code)
        self.code = code


class Answer(msgspec.Struct, frozen=True):
    status: int
    headers: Mapping[str, str]
    """Names in lower case; of a name that came twice, the last."""
    body: bytes


class Streamed:
    """An answer as it comes: of `Outbound.stream`, inside its block."""

    def __init__(self, response: aiohttp.ClientResponse, host: str) -> None:
        self._response = response
        self._host = host
        self.status = response.status
        self.headers = [
            (name.decode("latin-1").lower(), value.decode("latin-1")) for name, value in response.raw_headers
        ]
        """As sent, in order."""

    async def chunks(self) -> AsyncIterator[bytes]:
        """The body's own bytes. OutboundError where it breaks off."""
        try:
            async for chunk in self._response.content.iter_any():
                yield chunk
        except (TimeoutError, aiohttp.ServerTimeoutError):
            raise OutboundError("timeout", self._host) from None
        except (aiohttp.ClientError, OSError):
            raise OutboundError("broken", self._host) from None


class Outbound:
    """
    Args:
        guard: which addresses may be asked. One Outbound for targets the operator named, another
            for those callers name.
        connections_max: at once, to all targets together; more wait within their own deadline.
    """

    def __init__(self, settings: OutboundSettings, guard: Guard, *, connections_max: int = CONNECTIONS_MAX) -> None:
        self._settings = settings
        self._guard = guard
        self._connections_max = connections_max
        self._session: aiohttp.ClientSession | None = None
        self._raw_session: aiohttp.ClientSession | None = None

    async def send(
        self,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str] | None = None,
        body: bytes | None = None,
        deadline_ms: int,
        answer_bytes_max: int = ANSWER_BYTES_MAX,
    ) -> Answer:
        """Any status is an answer, 3xx too: redirects aren't followed. Raises OutboundError."""
        scheme, host, port = _address(url)
        try:
            async with asyncio.timeout(deadline_ms / 1000):
                proxy = self._settings.proxy_for(scheme, host)
                if proxy is not None or _is_literal(host):
                    await self._check(host, port or (443 if scheme == "https" else 80))
                return await self._ask(method, url, headers, body, proxy, answer_bytes_max, host)
        except TimeoutError:
            raise OutboundError("timeout", host) from None
        except _RefusedAddressError:
            raise OutboundError("refused_address", host) from None
        except (aiohttp.InvalidURL, ValueError):
            raise OutboundError("bad_address", host[:255]) from None
        except aiohttp.ClientConnectorError as error:
            refused = isinstance(error.os_error, _RefusedAddressError)
            raise OutboundError("refused_address" if refused else "unreachable", host) from None
        except (aiohttp.ClientError, OSError):
            raise OutboundError("broken", host) from None

    @asynccontextmanager
    async def stream(
        self,
        method: str,
        url: str,
        *,
        headers: Sequence[tuple[str, str]] = (),
        body: bytes | AsyncIterator[bytes] | None = None,
        deadline_ms: int,
        idle_ms: int,
        tls: ssl.SSLContext | None = None,
    ) -> AsyncIterator["Streamed"]:
        """The same for bodies of any size, both as they come: nothing is decoded, and no header is
        added but Host and the framing.

        Args:
            body: an iterator that raises ends the request unfinished.
            idle_ms: the longest silence, before the head and in the body.
            tls: whose certificates the other side may have; None: as the settings say.
        """
        scheme, host, port = _address(url)
        try:
            async with asyncio.timeout(deadline_ms / 1000):
                response = await self._begin(method, url, scheme, host, port, headers, body, idle_ms, tls)
                try:
                    yield Streamed(response, host)
                finally:
                    response.close()  # harmless where it was read to its end
        except TimeoutError:
            raise OutboundError("timeout", host) from None

    async def _begin(
        self,
        method: str,
        url: str,
        scheme: str,
        host: str,
        port: int | None,
        headers: Sequence[tuple[str, str]],
        body: bytes | AsyncIterator[bytes] | None,
        idle_ms: int,
        tls: ssl.SSLContext | None,
    ) -> aiohttp.ClientResponse:
        try:
            proxy = self._settings.proxy_for(scheme, host)
            if proxy is not None or _is_literal(host):
                await self._check(host, port or (443 if scheme == "https" else 80))
            return await self._open_raw().request(
                method,
                URL(url, encoded=True),
                headers=CIMultiDict(headers),
                data=body,
                proxy=proxy,
                ssl=True if tls is None else tls,  # True: the connector's
                allow_redirects=False,
                skip_auto_headers=("User-Agent", "Accept", "Accept-Encoding", "Content-Type"),
                timeout=aiohttp.ClientTimeout(total=None, sock_read=idle_ms / 1000, sock_connect=idle_ms / 1000),
            )
        except aiohttp.ServerTimeoutError:
            raise OutboundError("timeout", host) from None
        except _RefusedAddressError:
            raise OutboundError("refused_address", host) from None
        except (aiohttp.InvalidURL, ValueError):
            raise OutboundError("bad_address", host[:255]) from None
        except aiohttp.ClientConnectorError as error:
            refused = isinstance(error.os_error, _RefusedAddressError)
            raise OutboundError("refused_address" if refused else "unreachable", host) from None
        except (aiohttp.ClientError, OSError) as error:
            if isinstance(error, TimeoutError):
                raise
            raise OutboundError("broken", host) from None

    async def close(self) -> None:
        for session in (self._session, self._raw_session):
            if session is not None:
                await session.close()

    async def _ask(
        self,
        method: str,
        url: str,
        headers: Mapping[str, str] | None,
        body: bytes | None,
        proxy: str | None,
        answer_bytes_max: int,
        host: str,
    ) -> Answer:
        session = self._open()
        sent = session.request(method, url, headers=headers, data=body, proxy=proxy, allow_redirects=False)
        async with sent as response:
            parts, size = [], 0
            async for part in response.content.iter_any():
                size += len(part)
                if size > answer_bytes_max:
                    raise OutboundError("too_large", host)
                parts.append(part)
            lower = {name.lower(): value for name, value in response.headers.items()}
            return Answer(response.status, lower, b"".join(parts))

    def _open(self) -> aiohttp.ClientSession:
        """Made by the first request, inside the loop."""
        if self._session is None:
            self._session = self._made(auto_decompress=True)
        return self._session

    def _open_raw(self) -> aiohttp.ClientSession:
        if self._raw_session is None:
            self._raw_session = self._made(auto_decompress=False)
        return self._raw_session

    def _made(self, *, auto_decompress: bool) -> aiohttp.ClientSession:
        connector = aiohttp.TCPConnector(
            ssl=self._settings.tls(), limit=self._connections_max, resolver=_Resolver(self._guard), ttl_dns_cache=10
        )
        return aiohttp.ClientSession(
            connector=connector,
            trust_env=False,
            cookie_jar=aiohttp.DummyCookieJar(),
            timeout=aiohttp.ClientTimeout(total=None),
            auto_decompress=auto_decompress,
        )

    async def _check(self, host: str, port: int) -> None:
        """For what no resolver of ours sees: addresses written as numbers, and names that a proxy
        resolves.
        """
        if not self._guard.any_address:
            await _Resolver(self._guard).resolve(host, port)


class _RefusedAddressError(OSError):
    """The guard's no."""


class _Resolver(AbstractResolver):
    """Resolves a name once and lets through only what the guard permits; the connection goes to
    just that address.
    """

    def __init__(self, guard: Guard) -> None:
        self._guard = guard

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        loop = asyncio.get_running_loop()
        found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM, family=family)
        results = [
            ResolveResult(hostname=host, host=str(address[0]), port=port, family=kind, proto=proto, flags=0)
            for kind, _, proto, _, address in found
        ]
        if not all(self._guard.permits(each["host"]) for each in results):
            raise _RefusedAddressError(host)
        return results

    async def close(self) -> None:
        pass


def _address(url: str) -> tuple[str, str, int | None]:
    """(scheme, host, port as written). Raises OutboundError for what isn't a web address, and for
    one that names a user.
    """
    try:
        target = urlsplit(url)
        host, scheme, port = target.hostname or "", target.scheme.lower(), target.port
    except ValueError:
        raise OutboundError("bad_address") from None
    if scheme not in ("http", "https") or not host or target.username or target.password or not url.isprintable():
        raise OutboundError("bad_address", host[:255])
    return scheme, host, port


def _is_literal(host: str) -> bool:
    """Whether the host is written as a number, so that no name is resolved (`127.0.0.1`,
    `[::1]`).
    """
    return ":" in host or host.replace(".", "").isdigit()
