"""An answer in one piece, written in one piece: head and body in a single write, rendered without a header map.

aiohttp's server asks little of what a handler returns: `prepare`, `write_eof` and `keep_alive`. A full web.Response costs a
fifth of a small request's time; this costs a twentieth. Used on the hot path alone; errors, pages and streams are aiohttp's own.
"""

import time
from email.utils import formatdate
from http import HTTPStatus
from typing import Any

from aiohttp import web

_STATUS_LINES = {int(status): f"HTTP/1.1 {int(status)} {status.phrase}\r\n" for status in HTTPStatus}
_date = (0, "")


def date_header() -> str:
    """The Date header's value, made once a second."""
    global _date
    now = int(time.time())
    if _date[0] != now:
        _date = (now, formatdate(now, usegmt=True))
    return _date[1]


class WholeAnswer:
    """
    Args:
        headers: rendered lines, each ending in CRLF, checked to be free of CR and LF by who made them. Without Content-Length,
            Date and Connection, which are added here.
    """

    __slots__ = ("_body", "_closing", "_headers", "_writer", "keep_alive", "status")

    def __init__(self, status: int, headers: str, body: bytes) -> None:
        self.status = status
        self._headers = headers
        self._body = body
        self._closing = False
        self._writer: Any = None
        self.keep_alive: bool | None = None

    def force_close(self) -> None:
        self._closing = True

    async def prepare(self, request: web.BaseRequest) -> None:
        """Writes everything. Raises ConnectionError when the client has gone."""
        transport = request.transport
        if transport is None or transport.is_closing():
            raise ConnectionResetError("the client has gone")
        keep_alive = self.keep_alive = request.keep_alive and not self._closing
        connection = ""
        if not keep_alive:
            connection = "Connection: close\r\n"
        elif request.version.minor == 0:
            connection = "Connection: keep-alive\r\n"
        status = _STATUS_LINES.get(self.status) or f"HTTP/1.1 {self.status} \r\n"
        length = len(self._body)
        head = f"{status}Content-Length: {length}\r\nDate: {date_header()}\r\n{connection}{self._headers}\r\n"
        transport.write(head.encode("latin-1", "replace") + self._body)
        self._writer = request._payload_writer

    async def write_eof(self) -> None:
        """Waits while the client reads more slowly than we write."""
        await self._writer.drain()
