"""A head that was read before isn't read again, and means what the parser would have made of it."""

import asyncio
from typing import Any

import pytest

from services.edge.http import Budget, Listener, Request, WholeAnswer
from services.edge.http.connection import ClientConnection
from services.edge.http.incoming import HEAD_BYTES_MAX
from tests.edge.http.http_kit import GET, HEAD

FIELDS = (b"X-Kind: known", b"Authorization: Bearer sk-1")


def post(body: bytes, *fields: bytes, last: bytes = b"X-Last: a") -> bytes:
    """With a field behind the length."""
    before = b"".join(field + b"\r\n" for field in fields)
    return HEAD + before + b"Content-Length: %d\r\n%b\r\n\r\n" % (len(body), last) + body


FIRST = post(b"first body", *FIELDS)
START, REST = FIRST[: FIRST.index(b"10\r\n")], b"\r\nX-Last: a\r\n\r\n"


def said_length(digits: bytes, body: bytes) -> bytes:
    return START + digits + REST + body


SECOND = {
    "the same": FIRST,
    "longer": post(b"x" * 4000, *FIELDS),
    "empty": post(b"", *FIELDS),
    "like a head": post(b"\r\n\r\nContent-Length: 3\r\n\r\nabc", *FIELDS),
    "two at once": FIRST + post(b"another", *FIELDS),
    "and the start of one": FIRST + FIRST[:20],
    "another field": post(b"first body", *FIELDS, b"X-More: 1"),
    "another value behind": post(b"first body", *FIELDS, last=b"X-Last: b"),
    "another field behind": post(b"first body", *FIELDS, last=b"X-Last: a\r\nX-More: 1"),
    "one field less": post(b"first body", FIELDS[0]),
    "another value": post(b"first body", FIELDS[0], b"Authorization: Bearer sk-2"),
    "other case": FIRST.replace(b"X-Kind", b"x-kind"),
    "zeros": said_length(b"00010", b"first body"),
    "a plus": said_length(b"+10", b"first body"),
    "hexadecimal": said_length(b"0xa", b"first body"),
    "white space": said_length(b"10 ", b"first body"),
    "other digits": said_length("١٠".encode(), b"first body"),
    "no digits": said_length(b"", b"first body"),
    "a list": said_length(b"10, 10", b"first body"),
    "endless": said_length(b"1" * 30, b"first body"),
    "a second length": FIRST.replace(b"\r\n\r\nfirst", b"\r\nContent-Length: 3\r\n\r\nfirst"),
    "chunked": FIRST.replace(b"\r\n\r\nfirst", b"\r\nTransfer-Encoding: chunked\r\n\r\nfirst"),
    "bare line feeds": FIRST.replace(b"\r\n", b"\n"),
    "lines before it": b"\r\n" + FIRST,
    "bytes behind it": FIRST + b"\r\n",
    "too short": FIRST[:-3],
    "without a body": GET,
}  # fmt: skip


class Client:
    """A transport in memory: what is sent arrives at once, and is served within TURNS of the
    loop.
    """

    TURNS = 20

    def __init__(self) -> None:
        self.came = b""
        self.heads: list[object] = []
        self._closed = False
        listener = Listener(self._tell, lambda status: WholeAnswer(status, "", b"malformed"), Budget())
        self._connection = ClientConnection(listener, asyncio.get_running_loop())
        self._connection.connection_made(self)

    async def _tell(self, request: Request) -> WholeAnswer:
        self.heads.append(request.head)
        body = b""
        while piece := await request.next_chunk():
            body += piece
        said = (
            request.method,
            request.target,
            request.fields,
            request.minor,
            request.keep_alive,
            request.content_length,
            body,
        )
        return WholeAnswer(200, "", repr(said).encode())

    async def send(self, data: bytes) -> bytes:
        """What is answered, but for its date."""
        self.came = b""
        self._connection.data_received(data)
        for _ in range(self.TURNS):
            await asyncio.sleep(0)
        return b"\r\n".join(line for line in self.came.split(b"\r\n") if not line.startswith(b"Date: "))

    async def leave(self) -> None:
        self._connection.connection_lost(None)
        await asyncio.sleep(0)
        await asyncio.sleep(0)

    # ── the transport ──

    def write(self, data: bytes) -> None:
        self.came += data

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return default

    def set_write_buffer_limits(self, high: int) -> None:
        pass

    def is_closing(self) -> bool:
        return self._closed

    def close(self) -> None:
        self._closed = True

    abort = close

    def can_write_eof(self) -> bool:
        return False

    def pause_reading(self) -> None:
        pass

    resume_reading = pause_reading


@pytest.mark.parametrize("shape", SECOND)
async def test_what_follows_a_request_means_the_same_as_alone(shape: str) -> None:
    alone, behind = Client(), Client()
    await behind.send(FIRST)
    assert await behind.send(SECOND[shape]) == await alone.send(SECOND[shape])
    await alone.leave()
    await behind.leave()


async def test_a_head_is_parsed_once() -> None:
    client = Client()
    for body in (b"one", b"the second", b"", b"x" * 3000):
        assert repr(body).encode() in await client.send(post(body, *FIELDS))
    assert client.heads[0] is not None and client.heads == [client.heads[0]] * 4
    await client.leave()


async def test_line_ends_between_requests_do_not_add_up() -> None:
    """Some clients send them behind a body: they only count up to the next request."""
    client = Client()
    for _ in range(2 * HEAD_BYTES_MAX // 10_000):
        assert b"first body" in await client.send(FIRST)
        await client.send(b"\r\n" * 5_000)
    await client.leave()


async def test_a_head_too_large_to_be_kept_is_parsed_again() -> None:
    client = Client()
    for _ in range(2):
        assert b"b'body'" in await client.send(post(b"body", b"X-Large: " + b"x" * 3000))
    assert client.heads == [None, None]
    await client.leave()
