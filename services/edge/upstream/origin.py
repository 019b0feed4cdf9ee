"""The words of this package: where a request goes, how long it may take, how it fails. No I/O."""

import ipaddress
import re
from typing import Literal, Self
from urllib.parse import urlsplit

from msgspec import Struct

from shared.outbound import Guard

Kind = Literal["connect", "tls", "timeout", "reset", "protocol", "too_large", "no_room"]
"""`no_room`: its reader may keep no more."""

_VISIBLE = re.compile(r"[!-~]*")
_HOST_NAME = re.compile(r"[a-z0-9_]([a-z0-9_.-]{0,251}[a-z0-9_.])?")
_PORTS = {"http": 80, "https": 443}


class UpstreamError(Exception):
    """No response, or only part of one. The text names the origin at most: no header, no body, no
    query.
    """

    def __init__(self, kind: Kind, text: str, *, safe_to_retry: bool = False, nothing_came: bool = False) -> None:
        super().__init__(text)
        self.kind = kind
        self.safe_to_retry = safe_to_retry
        """True only when not one byte of the request was written: nobody can have processed (or
        billed) it.
        """
        self.nothing_came = nothing_came
        """The connection ended without one byte of a response."""

    def again(self) -> "UpstreamError":
        """The same, to be raised. A kept error isn't raised itself: its traceback would hold the
        frames that hold its keeper, and such a cycle of a failed call (13 kB) waits for the
        collector."""
        return UpstreamError(self.kind, str(self), safe_to_retry=self.safe_to_retry, nothing_came=self.nothing_came)


class Deadlines(Struct, frozen=True):
    """How long each part of one exchange may take, in milliseconds. All are enforced; the earliest
    wins.
    """

    connect_ms: int = 5_000
    """Waiting in the pool's line, resolving the name, connecting and the TLS handshake,
    together.
    """
    first_byte_ms: int = 600_000
    """From having a connection to having the response's whole head; writing the request counts."""
    idle_ms: int = 300_000
    """The longest a reader of the body waits in silence. Time in which nobody reads doesn't
    count.
    """
    total_ms: int = 600_000
    """From `send` to the body's last byte."""


class Origin(Struct, frozen=True, cache_hash=True):
    """One server to talk to, and the pool's key: connections are shared by all requests to it and
    by no others.
    """

    scheme: str
    host: str
    """Lower case; an IPv6 address without brackets."""
    port: int
    guard: Guard | None = None
    """Which addresses its name may stand for, where somebody with a key named it; None: any."""
    verify: bool | str | None = None
    """Whose certificates it may have, as `tls.context` has it; None: as the client says."""

    @classmethod
    def parse(cls, url: str) -> tuple[Self, str]:
        """A base URL → (origin, base path without a slash at its end). ValueError says what is
        wrong, without the URL.

        A query or fragment is refused: it would be lost, as the caller appends paths to the base
        path.
        """
        if not _VISIBLE.fullmatch(url):
            raise ValueError("the URL has spaces, control or non-ASCII characters; percent-encode them")
        parts = urlsplit(url)
        if parts.scheme not in _PORTS:
            raise ValueError("the URL must start with http:// or https://")
        if "@" in parts.netloc:
            raise ValueError("the URL has a user name or password in it; credentials belong in a header")
        if "?" in url or "#" in url:
            raise ValueError("the URL has a query or a fragment; only scheme, host, port and path are taken")
        try:
            port = parts.port
        except ValueError:
            raise ValueError("the URL's port isn't a number up to 65535") from None
        if port == 0:
            raise ValueError("the URL's port is 0")
        host = parts.hostname or ""
        if not _is_host(host, bracketed="[" in parts.netloc):
            raise ValueError("the URL's host is neither a name nor an IP address")
        return cls(parts.scheme, host, port or _PORTS[parts.scheme]), parts.path.rstrip("/")

    @property
    def authority(self) -> str:
        """For the Host header and for messages."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == _PORTS[self.scheme] else f"{host}:{self.port}"


def _is_host(host: str, *, bracketed: bool) -> bool:
    if not bracketed:
        return _HOST_NAME.fullmatch(host) is not None
    try:
        return not ipaddress.IPv6Address(host).scope_id
    except ValueError:
        return False
