"""A connection's way in: bytes to requests.

Framing is httptools' (llhttp, strict), with what it leaves open decided here: limits of heads and
trailers (dropped); HTTP/1.0 and 1.1 only; a Host is needed in 1.1; a transfer-encoding other than
chunked, or in 1.0, and the header fields of `_SINGLE` twice are errors. An Upgrade is declined by
answering as if it weren't there.
"""

import asyncio

import httptools

from services.edge.http.known import KnownHead, learned
from services.edge.http.outgoing import ConnectionListener, Outgoing
from services.edge.http.request import Request
from shared import credential

TARGET_BYTES_MAX = 8190
HEADERS_MAX = 100
"""Fields in one request, trailers included."""
HEADER_BYTES_MAX = 16_384
"""Name and value."""
HEAD_BYTES_MAX = 65_536
"""Head, trailers, or what else is sent without a byte of a body; a slice more may come on top."""

_SINGLE = frozenset(
    (
        b"host", b"content-length", b"transfer-encoding", b"content-type", b"content-location", b"content-range",
        b"max-forwards", b"user-agent",
    )
)  # fmt: skip
"""Fields that may come once: two of them, and two readers might each believe another."""
_CREDENTIALS = frozenset(name.encode() for name in credential.HEADERS)
"""Two of one with different values, and two readers might each take another caller for the one who
calls.
"""
_LISTS = frozenset((b"x-litellm-tags", b"accept-encoding", b"access-control-request-headers"))
"""Fields that are lists: several lines are one (RFC 9110 §5.3). Of others that come twice, the
first stands.
"""


class _MalformedError(Exception):
    """Raised in the parser's callbacks: it stops, and `feed_data` raises."""


MALFORMED, TARGET_TOO_LONG, HEAD_TOO_LARGE = 400, 414, 431
"""What such input is answered with (RFC 9110 §15.5, RFC 6585 §5)."""


class Incoming(Outgoing):
    """See the module; states and their changes are connection.py's."""

    __slots__ = (
        "_declining",
        "_fields_left",
        "_headers",
        "_known",
        "_malformed",
        "_parser",
        "_receiving",
        "_remote",
        "_since",
        "_target",
    )

    def __init__(self, listener: ConnectionListener, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(listener, loop)
        self._remote: str | None = None
        self._since = 0.0
        """When it became idle, or the head in `_in_head` began."""
        self._parser: httptools.HttpRequestParser | None = httptools.HttpRequestParser(self)
        self._target = b""
        self._headers: dict[bytes, bytes] = {}
        self._fields_left = HEADERS_MAX
        """Of those that have an entry in `_headers`."""
        self._receiving: Request | None = None
        self._known: KnownHead | None = None
        """Of the last request that came by itself."""
        self._declining = False
        self._malformed: int | None = None
        """The status that input which can't be understood is answered with."""

    def _parse(self, data: bytes) -> None:
        parser, known = self._parser, self._known
        assert parser is not None
        at_start = not (self._in_head or self._queue) and self._receiving is None
        if at_start and known is not None:
            request = known.again(data, self, self._loop, self._remote)
            if request is not None:
                self._barren_bytes = 0
                self._queue.append(request)
                return
        self._barren_bytes += len(data)
        try:
            parser.feed_data(data)
        except httptools.HttpParserUpgrade as pause:
            self._decline_upgrade(data[pause.args[0] :])
        except httptools.HttpParserError:
            self._break()
        else:
            if self._barren_bytes > HEAD_BYTES_MAX:
                self._break(HEAD_TOO_LARGE if self._in_head else MALFORMED)
            elif at_start and len(self._queue) == 1 and self._queue[0].complete:
                request = self._queue[0]
                self._known = request.head = learned(data, request)

    def _break(self, status: int = MALFORMED) -> None:
        """The input can't be understood from here on."""
        if self._over:  # behind a request that asked to close: nobody's business
            return
        self._over = True
        request, self._receiving = self._receiving, None
        if request is not None and request is self._request:
            request.broken = True  # its handler says so
            request.wake()
            self._broken()
        else:
            self._malformed = self._malformed or status
            if request is not None:
                self._queue.pop()

    def _decline_upgrade(self, rest: bytes) -> None:
        """httptools takes what follows such a head for another protocol. A new parser, told of the
        framing, reads it as the body it is."""
        request = self._receiving
        assert request is not None
        parser = self._parser = httptools.HttpRequestParser(self)
        if request.method == "CONNECT":
            framing = ""
        elif request.content_length is not None:
            framing = f"Content-Length: {request.content_length}\r\n"
        else:
            framing = "" if request.header("transfer-encoding") is None else "Transfer-Encoding: chunked\r\n"
        connection = "" if request.keep_alive else "Connection: close\r\n"
        parser.feed_data(f"POST / HTTP/1.1\r\n{framing}{connection}\r\n".encode())
        if rest and not self._over:
            self._parse(rest)

    def _broken(self) -> None:
        """The body of the present request isn't what its head said."""
        raise NotImplementedError

    # ── the parser's events; an exception stops it and `feed_data` raises ──

    def on_message_begin(self) -> None:
        self._in_head = True
        self._target = b""
        self._headers = {}
        self._fields_left = HEADERS_MAX
        if self._request is None:
            self._since = self._loop.time()

    def on_url(self, part: bytes) -> None:
        self._target += part
        if len(self._target) > TARGET_BYTES_MAX:
            self._malformed = TARGET_TOO_LONG
            raise _MalformedError

    def on_header(self, name: bytes, value: bytes) -> None:
        if len(name) + len(value) > HEADER_BYTES_MAX:
            self._malformed = HEAD_TOO_LARGE
            raise _MalformedError
        name = name.lower()
        headers = self._headers
        if name not in headers and self._in_head and len(headers) < self._fields_left:
            headers[name] = value
        else:
            self._on_further_header(name, value)

    def _on_further_header(self, name: bytes, value: bytes) -> None:
        """One that adds no name: it came before, or behind the body (a trailer). Or there are too
        many.
        """
        headers = self._headers
        self._fields_left -= 1
        if len(headers) > self._fields_left:
            self._malformed = HEAD_TOO_LARGE if self._in_head else MALFORMED
            raise _MalformedError
        if not self._in_head:
            return
        if name == b"x-forwarded-for":  # a proxy's own line after a client's: the last hop must not get lost
            headers[name] += b", " + value
        elif name in _SINGLE or (name in _CREDENTIALS and headers[name] != value):
            raise _MalformedError
        elif name in _LISTS:
            headers[name] = b"%b, %b" % (headers[name], value)

    def on_headers_complete(self) -> None:
        parser = self._parser
        assert parser is not None
        self._in_head = False
        self._barren_bytes = 0
        if self._declining:  # the same request, in a new parser
            self._declining = False
            return
        headers = self._headers
        version = parser.get_http_version()
        minor = 1 if version == "1.1" else 0
        coding = headers.get(b"transfer-encoding")
        if minor == 1:
            wrong = b"host" not in headers or (coding is not None and coding.strip(b" \t").lower() != b"chunked")
        else:
            wrong = version != "1.0" or coding is not None
        if wrong:
            raise _MalformedError
        method = parser.get_method().decode()
        keep_alive = parser.should_keep_alive()
        if parser.should_upgrade():
            self._declining = True
            keep_alive = keep_alive and method != "CONNECT"
        length = headers.pop(b"content-length", None)
        request = Request(
            self,
            self._loop,
            self._remote,
            method,
            self._target,
            headers,
            minor,
            keep_alive,
            None if length is None else int(length),
        )
        self._receiving = request
        self._queue.append(request)

    def on_body(self, body: bytes) -> None:
        request = self._receiving
        assert request is not None
        self._barren_bytes = 0
        if not request.dropping:
            request.pieces.append(body)
            request.buffered_bytes += len(body)
            if request.waiter is not None:
                request.wake()

    def on_message_complete(self) -> None:
        request = self._receiving
        assert request is not None
        if self._declining:
            return
        self._barren_bytes = 0
        self._receiving = None
        request.complete = True
        if not request.keep_alive:
            self._over = True
        if request.waiter is not None:
            request.wake()
