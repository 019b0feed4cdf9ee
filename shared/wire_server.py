"""Where a broker listens, and who we are there: read from a URL."""

from typing import NamedTuple
from urllib.parse import unquote, urlsplit


class Server(NamedTuple):
    host: str
    port: int
    user: str | None
    password: str | None
    tls: bool = False
    """Whether it must be TLS, whatever the server says: nobody in between can talk us out of it."""


def server_of(url: str) -> Server:
    parts = urlsplit(url if "://" in url else f"nats://{url}")
    user = unquote(parts.username) if parts.username else None
    password = unquote(parts.password) if parts.password else None
    if parts.scheme not in ("nats", "tls") or not parts.hostname:
        return Server("", 0, None, None)  # can't be connected to: the library decides what it makes of it
    return Server(parts.hostname, parts.port or 4222, user, password, parts.scheme == "tls")
