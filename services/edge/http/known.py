"""A head that its connection has read before: clients send the same one with every request, but for
the length of the body.

The same bytes mean the same, so nothing is parsed again. Only whole requests that come by
themselves are looked at, and only the digits of the one Content-Length may differ. Everything else
goes to the parser.
"""

import asyncio
import re

from services.edge.http.request import Request, RequestConnection

HEAD_BYTES_MAX = 2048
"""Of what is kept for a connection (within budget.CONNECTION_BYTES)."""
_LENGTH_DIGITS_MAX = 10
_LENGTH = re.compile(rb"\r\ncontent-length:[ \t]*([0-9]{1,%d})\r\n" % _LENGTH_DIGITS_MAX, re.IGNORECASE)


class KnownHead:
    __slots__ = ("_after", "_before", "_headers", "_method", "_minor", "_target", "found")

    def __init__(self, before: bytes, after: bytes, request: Request) -> None:
        self._before, self._after = before, after
        """The digits of the body's length stand between them."""
        self._method, self._minor, self._target = request.method, request.minor, request.target
        self._headers = request.fields
        self.found: object = None
        """For the server: whose method and path these are."""

    def again(
        self, data: bytes, connection: RequestConnection, loop: asyncio.AbstractEventLoop, remote: str | None
    ) -> Request | None:
        """The request that `data` is, from its first byte to its last; None where that isn't this
        head with a whole body.
        """
        before, after = self._before, self._after
        if not data.startswith(before):
            return None
        start = len(before)
        end = data.find(b"\r", start, start + _LENGTH_DIGITS_MAX + 1)
        digits = data[start:end]
        if end < 0 or not (data.startswith(after, end) and digits.isdigit()):
            return None
        length, body_at = int(digits), end + len(after)
        if len(data) - body_at != length:
            return None
        request = Request(
            connection, loop, remote, self._method, self._target, self._headers, self._minor, True, length
        )
        request.head = self
        request.complete = True
        if length:
            request.pieces.append(data[body_at:])
            request.buffered_bytes = length
        return request


def learned(data: bytes, request: Request) -> KnownHead | None:
    """The head of a request that was read whole from `data`, and nothing else with it; None: it
    isn't one to be kept.
    """
    length = request.content_length
    if length is None or not request.keep_alive:
        return None
    head_bytes = len(data) - length
    if head_bytes > HEAD_BYTES_MAX or data.find(b"\r\n\r\n") != head_bytes - 4:
        return None
    found = _LENGTH.search(data, 0, head_bytes)
    if found is None:
        return None
    return KnownHead(data[: found.start(1)], data[found.end(1) : head_bytes], request)
