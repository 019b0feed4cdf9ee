"""One request to somebody else, one whole answer, inside a deadline and a bound."""

import asyncio
import socket
from collections.abc import Mapping
from urllib.parse import urlsplit

import aiohttp
import msgspec
from aiohttp.abc import AbstractResolver, ResolveResult

from shared.outbound.addresses import Guard
from shared.outbound.settings import OutboundSettings

ANSWER_BYTES_MAX = 8 * 1024 * 1024
CONNECTIONS_MAX = 64


class OutboundError(Exception):
    """No answer, or none that can be used. `code` says why; the message never holds more of the address than its host.

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


class Outbound:
    """
    Args:
        guard: which addresses may be asked. One Outbound for targets the operator named, another for those callers name.
        connections_max: at once, to all targets together; more wait within their own deadline.
    """

    def __init__(self, settings: OutboundSettings, guard: Guard, *, connections_max: int = CONNECTIONS_MAX) -> None:
        self._settings = settings
        self._guard = guard
        self._connections_max = connections_max
        self._session: aiohttp.ClientSession | None = None

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
        try:
            target = urlsplit(url)
            host, scheme = target.hostname or "", target.scheme.lower()
            _ = target.port
        except ValueError:
            raise OutboundError("bad_address") from None
        if scheme not in ("http", "https") or not host or target.username or target.password or not url.isprintable():
            raise OutboundError("bad_address", host[:255])
        try:
            async with asyncio.timeout(deadline_ms / 1000):
                proxy = self._settings.proxy_for(scheme, host)
                if proxy is not None or _is_literal(host):
                    await self._check(host, target.port or (443 if scheme == "https" else 80))
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

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()

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
            connector = aiohttp.TCPConnector(
                ssl=self._settings.tls(), limit=self._connections_max, resolver=_Resolver(self._guard), ttl_dns_cache=10
            )
            self._session = aiohttp.ClientSession(
                connector=connector,
                trust_env=False,
                cookie_jar=aiohttp.DummyCookieJar(),
                timeout=aiohttp.ClientTimeout(total=None),
            )
        return self._session

    async def _check(self, host: str, port: int) -> None:
        """For what no resolver of ours sees: addresses written as numbers, and names that a proxy resolves."""
        if not self._guard.any_address:
            await _Resolver(self._guard).resolve(host, port)


class _RefusedAddressError(OSError):
    """The guard's no."""


class _Resolver(AbstractResolver):
    """Resolves a name once and lets through only what the guard permits; the connection goes to just that address."""

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


def _is_literal(host: str) -> bool:
    """Whether the host is written as a number, so that no name is resolved (`127.0.0.1`, `[::1]`)."""
    return ":" in host or host.replace(".", "").isdigit()
