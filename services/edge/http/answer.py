"""What a handler answers: a head, rendered once, with a body in one piece or as it comes.

Both take headers as rendered lines, each ending in CRLF, checked to be free of CR and LF by who
made them; without Content-Length, Transfer-Encoding, Date and Connection, which are added here.
"""

import time
from email.utils import formatdate
from http import HTTPStatus

from services.edge.http.request import Request

_STATUS_LINES = {int(status): f"HTTP/1.1 {int(status)} {status.phrase}\r\n" for status in HTTPStatus}
_BODILESS = frozenset((204, 304))
_date = (0, "")


def date_header() -> str:
    """The Date header's value, made once a second."""
    global _date
    now = int(time.time())
    if _date[0] != now:
        _date = (now, formatdate(now, usegmt=True))
    return _date[1]


class WholeAnswer:
    """An answer in one piece, which goes out in one write once the handler has returned it."""

    __slots__ = ("body", "closing", "headers", "status")

    def __init__(self, status: int, headers: str, body: bytes) -> None:
        self.status = status
        self.headers = headers
        self.body = body
        self.closing = False
        """Whether the connection ends with this."""

    def render(self, *, keep_alive: bool, minor: int, head_only: bool) -> bytes:
        """`minor`: of the request's HTTP version. `head_only`: it answers HEAD."""
        status = self.status
        length = "" if status in _BODILESS else f"Content-Length: {len(self.body)}\r\n"
        head = _head(status, length, self.headers, keep_alive, minor)
        return head if head_only or not length else head + self.body


class StreamAnswer:
    """An answer whose body comes bit by bit: `start`, any number of `write`, `end`, then the
    handler returns it.

    Each raises ConnectionError when the client has gone, and waits while the client reads more
    slowly than we write. What was started and never ended is cut off, so that half an answer
    doesn't look like a whole one.
    """

    __slots__ = ("_bodiless", "_chunked", "_request", "closing", "ended", "headers", "status")

    def __init__(self, status: int, headers: str) -> None:
        self.status = status
        self.headers = headers
        self.closing = False
        """Whether the connection ends with this. Before `start` the client is told so, too."""
        self.ended = False
        self._request: Request | None = None
        self._chunked = self._bodiless = False

    async def start(self, request: Request) -> None:
        """The head goes out."""
        connection = request.connection
        self._request = request
        self._bodiless = request.method == "HEAD" or self.status in _BODILESS
        self._chunked = request.minor == 1 and self.status not in _BODILESS
        if not self._chunked and not self._bodiless:
            self.closing = True  # HTTP/1.0 knows one end of such a body: the connection's
        keep_alive = connection.begin(request, closing=self.closing)
        framing = "Transfer-Encoding: chunked\r\n" if self._chunked else ""
        connection.write(_head(self.status, framing, self.headers + request.more_lines, keep_alive, request.minor))

    async def write(self, data: bytes) -> None:
        if not self.put(data):
            await self.drained()

    def put(self, data: bytes) -> bool:
        """As `write`, but waits for nobody. False: the client reads too slowly; wait until it has
        (`drained`) before more is put.
        """
        request = self._request
        assert request is not None, "not started"
        if not data or self._bodiless:
            return True
        if request.tape is not None:
            request.tape.add(data)
        connection = request.connection
        connection.write(b"%x\r\n%b\r\n" % (len(data), data) if self._chunked else data)
        return not connection.writing_paused

    async def drained(self) -> None:
        request = self._request
        assert request is not None, "not started"
        await request.connection.drain()

    async def end(self) -> None:
        """The client now knows that this was all. A second call does nothing."""
        request = self._request
        assert request is not None, "not started"
        if self.ended:
            return
        if self._chunked and not self._bodiless:
            request.connection.write(b"0\r\n\r\n")
        self.ended = True


Answer = WholeAnswer | StreamAnswer


def _head(status: int, framing: str, headers: str, keep_alive: bool, minor: int) -> bytes:
    connection = "" if keep_alive else "Connection: close\r\n"
    if keep_alive and minor == 0:
        connection = "Connection: keep-alive\r\n"
    line = _STATUS_LINES.get(status) or f"HTTP/1.1 {status} \r\n"
    return f"{line}{framing}Date: {date_header()}\r\n{connection}{headers}\r\n".encode("utf-8", "replace")
