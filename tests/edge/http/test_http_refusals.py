"""What isn't HTTP is refused, never handled: 400 and the connection ends. The same with ours and
with aiohttp's.
"""

import asyncio
from typing import Any

import pytest

from services.edge.http import connection
from tests.edge.http.http_kit import GET, HEAD, Asked, chunked, closed, echo, post

Serve = Any
LINE = b"GET /a HTTP/1.1\r\n"
TE = HEAD + b"Transfer-Encoding: chunked\r\n"

NOT_HTTP = {
    "words": b"hello\r\n\r\n",
    "tls": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(200),
    "http/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "http/3": b"GET / HTTP/3.0\r\nHost: h\r\n\r\n",
    "no such version": b"GET / HTTP/1.7\r\nHost: h\r\n\r\n",
    "lower-case method": b"get / HTTP/1.1\r\nHost: h\r\n\r\n",
    "no such method": b"FETCH / HTTP/1.1\r\nHost: h\r\n\r\n",
    "relative target": b"GET a HTTP/1.1\r\nHost: h\r\n\r\n",
    "no host in the target": b"GET http:///a HTTP/1.1\r\nHost: h\r\n\r\n",
    "space in the target": b"GET /a b HTTP/1.1\r\nHost: h\r\n\r\n",
    "control character in the target": b"GET /a\x01 HTTP/1.1\r\nHost: h\r\n\r\n",
    "no host": b"GET / HTTP/1.1\r\nX: y\r\n\r\n",
    "two hosts": LINE + b"Host: h\r\nHost: h\r\n\r\n",
    "two content types": LINE + b"Host: h\r\nContent-Type: a\r\ncontent-type: b\r\n\r\n",
    "folded": LINE + b"Host: h\r\nA: b\r\n folded\r\n\r\n",
    "folded with a tab": LINE + b"Host: h\r\nA: b\r\n\tfolded\r\n\r\n",
    "space before the first field": LINE + b" Host: h\r\n\r\n",
    "space before the colon": LINE + b"Host : h\r\n\r\n",
    "no colon": LINE + b"Host: h\r\nX\r\n\r\n",
    "no name": LINE + b"Host: h\r\n: x\r\n\r\n",
    "name with a space": LINE + b"Host: h\r\nA b: x\r\n\r\n",
    "name with a bracket": LINE + b"Host: h\r\nA(b: x\r\n\r\n",
    "name beyond ascii": LINE + b"Host: h\r\n\xc3\xa9: x\r\n\r\n",
    "nul in a value": LINE + b"Host: h\r\nA: b\0c\r\n\r\n",
    "control character in a value": LINE + b"Host: h\r\nA: b\x01c\r\n\r\n",
    "bare lf in a value": LINE + b"Host: h\r\nA: b\nC: d\r\n\r\n",
    "bare cr in a value": LINE + b"Host: h\r\nA: b\rC: d\r\n\r\n",
    "bare lf after the line": b"GET / HTTP/1.1\nHost: h\r\n\r\n",
    "bare lf at the end": LINE + b"Host: h\r\n\n",
    "length of letters": HEAD + b"Content-Length: x\r\n\r\n",
    "length with a sign": HEAD + b"Content-Length: +5\r\n\r\nhello",
    "length below zero": HEAD + b"Content-Length: -5\r\n\r\n",
    "length in hex": HEAD + b"Content-Length: 0x5\r\n\r\nhello",
    "empty length": HEAD + b"Content-Length:\r\n\r\nhello",
    "lengths in a list": HEAD + b"Content-Length: 5, 5\r\n\r\nhello",
    "two words of length": HEAD + b"Content-Length: 5 5\r\n\r\nhello",
    "two lengths": HEAD + b"Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello!",
    "the same length twice": HEAD + b"Content-Length: 5\r\nContent-Length: 5\r\n\r\nhello",
    "length past 64 bits": HEAD + b"Content-Length: 99999999999999999999\r\n\r\n",
    "length and chunks": HEAD + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "chunks and length": TE + b"Content-Length: 5\r\n\r\n0\r\n\r\n",
    "chunked twice": TE + b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "chunked not last": HEAD + b"Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n",
    "chunked, chunked": HEAD + b"Transfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n",
    "gzip alone": HEAD + b"Transfer-Encoding: gzip\r\n\r\n",
    "identity": HEAD + b"Transfer-Encoding: identity\r\n\r\n",
    "quoted chunked": HEAD + b'Transfer-Encoding: "chunked"\r\n\r\n0\r\n\r\n',
    "xchunked": HEAD + b"Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
    "vertical tab before chunked": HEAD + b"Transfer-Encoding: \x0bchunked\r\n\r\n0\r\n\r\n",
}  # fmt: skip


@pytest.mark.parametrize("what", NOT_HTTP)
async def test_what_http_does_not_allow_is_refused_and_never_handled(serve: Serve, what: str) -> None:
    data = NOT_HTTP[what]
    server = await serve(echo)
    for cut in (len(data), len(data) // 2, 3):
        caller = await server.connect()
        await caller.send(data[:cut])
        await asyncio.sleep(0.001)
        await caller.send(data[cut:] + GET)
        assert (await caller.answer()).status == 400
        assert await closed(caller)
    assert server.begun == 0


@pytest.mark.parametrize("coding", [b"gzip, chunked", b"identity, chunked", b"chunked;q=1"])
async def test_a_coding_besides_chunked_is_refused(ours: Serve, coding: bytes) -> None:
    """aiohttp takes the first two for chunked."""
    server = await ours(echo)
    assert (await server.said(HEAD + b"Transfer-Encoding: " + coding + b"\r\n\r\n0\r\n\r\n")).startswith(
        b"HTTP/1.1 400 "
    )
    assert server.begun == 0


@pytest.mark.parametrize("header", ["Authorization", "x-api-key", "X-LITELLM-API-KEY"])
async def test_two_credentials_are_refused_and_one_sent_twice_is_one(ours: Serve, header: str) -> None:
    """aiohttp takes the first; whatever stands before or after us may take the other."""
    server = await ours(echo)
    lines = f"{header}: Bearer sk-a\r\n{header.lower()}: Bearer sk-%s\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"
    assert (await server.said(HEAD + (lines % "b").encode())).startswith(b"HTTP/1.1 400 ")
    assert server.begun == 0
    assert (await server.said(HEAD + (lines % "a").encode())).startswith(b"HTTP/1.1 200 ")


@pytest.mark.parametrize(
    "data",
    [
        TE.replace(b"1.1", b"1.0") + b"\r\n0\r\n\r\n",
        GET.replace(b"1.1", b"2.0"),
        GET.replace(b"1.1", b"0.9"),
        b"GET /\r\n\r\n",
        HEAD + b"Transfer-Encoding:\r\n\r\n",
    ],
)
async def test_chunks_in_http_1_0_and_other_versions_are_refused(ours: Serve, data: bytes) -> None:
    """aiohttp answers them, or waits."""
    server = await ours(echo)
    assert (await server.said(data)).startswith(b"HTTP/1.1 400 ")
    assert server.begun == 0


BROKEN = {
    "no size": b"zz\r\nhello\r\n",
    "size below zero": b"-1\r\nhello\r\n",
    "size in 0x": b"0x5\r\nhello\r\n",
    "space before the size": b" 5\r\nhello\r\n",
    "space behind the size": b"5 \r\nhello\r\n",
    "size past 64 bits": b"f" * 17 + b"\r\n",
    "no line end behind the size": b"5\nhello\r\n",
    "no line end behind the chunk": b"5\r\nhelloXX",
    "bare lf behind the chunk": b"5\r\nhello\n0\r\n\r\n",
    "chunk too long": b"5\r\nhello!\r\n0\r\n\r\n",
    "trailer without a colon": b"5\r\nhello\r\n0\r\nX\r\n\r\n",
    "nul in a trailer": b"5\r\nhello\r\n0\r\nX: \0\r\n\r\n",
}


@pytest.mark.parametrize("what", BROKEN)
async def test_a_broken_body_reaches_its_handler_as_one_and_ends_the_connection(ours: Serve, what: str) -> None:
    """aiohttp lets its handler wait for the rest."""
    server = await ours(echo)
    caller = await server.connect()
    await caller.send(TE + b"\r\n")
    await asyncio.sleep(0.005)
    await caller.send(BROKEN[what] + GET)
    answer = await caller.answer()
    assert (answer.status, answer.body) == (400, b"broken")
    assert await closed(caller)
    assert server.begun == 1 and len(server.raised) == 1


@pytest.mark.parametrize("what", BROKEN)
async def test_a_broken_body_in_one_segment_with_its_head_is_no_request(ours: Serve, what: str) -> None:
    """aiohttp hands it to its handler."""
    server = await ours(echo)
    caller = await server.connect()
    await caller.send(TE + b"\r\n" + BROKEN[what] + GET)
    assert (await caller.answer()).status == 400
    assert await closed(caller)
    assert server.begun == 0


async def test_what_comes_before_garbage_is_answered_first(ours: Serve) -> None:
    """aiohttp forgets the requests that came in one read with the garbage."""
    server = await ours(echo)
    caller = await server.connect()
    await caller.send(GET + post(b"x") + b"garbage\r\n\r\n" + GET)
    assert [(await caller.answer()).status for _ in range(3)] == [200, 200, 400]
    assert await closed(caller)
    assert server.begun == 2


async def test_what_comes_after_the_last_request_is_ignored(ours: Serve) -> None:
    """aiohttp answers 400, and may forget the request."""
    server = await ours(echo)
    caller = await server.connect()
    await caller.send(post(b"x", b"Connection: close"))
    await caller.send(GET)
    assert (await caller.answer()).headers["connection"] == "close"
    assert await closed(caller)
    assert server.begun == 1


# ── limits ──


def edge_of(what: str, size: int) -> bytes:
    """A request in which one thing is so large."""
    if what == "target":
        return b"GET /" + b"x" * (size - 1) + b" HTTP/1.1\r\nHost: h\r\n\r\n"
    if what == "value":
        return LINE + b"Host: h\r\nX: " + b"x" * (size - 1) + b"\r\n\r\n"
    if what == "name":
        return LINE + b"Host: h\r\n" + b"x" * (size - 1) + b":y\r\n\r\n"
    if what == "names":
        return LINE + b"Host: h\r\n" + b"".join(b"X%d: y\r\n" % i for i in range(size - 1)) + b"\r\n"
    if what == "mixed":
        lines = b"".join(b"X%d: y\r\nX%d: z\r\n" % (i, i) for i in range(size // 2 - 1))
        return LINE + b"Host: h\r\n" + lines + b"Y: y\r\n" * (size % 2 + 1) + b"\r\n"
    return LINE + b"Host: h\r\n" + b"".join(b"X: %d\r\n" % i for i in range(size - 1)) + b"\r\n"


async def limited(server: Any, what: str, good: int, over: int, refused: set[int]) -> None:
    for step in (1_000_000, 1_000):
        caller = await server.connect()
        for size in (good, over):
            data = edge_of(what, size)
            for at in range(0, len(data), step):
                caller.writer.write(data[at : at + step])
                await asyncio.sleep(0)
            assert (await caller.answer()).status in ({200} if size == good else refused)
        assert await closed(caller)


@pytest.mark.parametrize(
    ("what", "good", "over"),
    [
        ("target", 8190, 8191),
        ("value", 16_384, 16_385),
        ("name", 16_384, 16_385),
        ("fields", 100, 101),
        ("names", 100, 101),
        ("mixed", 100, 101),
    ],
)
async def test_limits_are_where_they_are(ours: Serve, what: str, good: int, over: int) -> None:
    await limited(await ours(echo), what, good, over, {414 if what == "target" else 431})


@pytest.mark.parametrize(
    ("what", "good", "over"),
    [("target", 8190, 8191), ("value", 16_370, 16_400), ("name", 16_370, 16_400), ("fields", 100, 101)],
)
async def test_limits_are_where_aiohttp_has_them_give_or_take_a_few_bytes(
    serve: Serve, what: str, good: int, over: int
) -> None:
    await limited(await serve(echo), what, good, over, {400, 414, 431})


ENDLESS = {
    "target": (b"GET /", 414),
    "name": (LINE, 431),
    "value": (LINE + b"X: ", 431),
    "trailer": (TE + b"\r\n0\r\nX: ", 400),
    "chunk extension": (TE + b"\r\n5;", 400),
    "empty lines": (b"", 400),
}
"""Where it is, and what it is answered with."""


@pytest.mark.parametrize("where", ENDLESS)
async def test_what_never_ends_is_cut_off_early(ours: Serve, where: str) -> None:
    """aiohttp reads chunk extensions and empty lines for ever."""
    server = await ours(echo)
    caller = await server.connect()
    start, status = ENDLESS[where]
    await caller.send(start)
    piece = (b"\r\n" if where == "empty lines" else b"xx") * 1_000
    refused = asyncio.create_task(caller.answer())
    for _ in range(60):
        caller.writer.write(piece)
        await asyncio.sleep(0.001)
        if refused.done():  # who goes on too long is reset in the end
            break
    assert (await refused).status == status
    assert await closed(caller)
    assert server.running == 0


async def test_many_fields_of_the_largest_size_are_too_much_together(ours: Serve) -> None:
    """aiohttp takes 1.6 MB of them."""
    server = await ours(echo)
    caller = await server.connect()
    await caller.send(LINE + b"Host: h\r\n" + b"".join(b"X: " + b"x" * 16_000 + b"\r\n" for _ in range(7)) + b"\r\n")
    assert (await caller.answer()).status == 431


async def test_a_refused_client_that_goes_on_sending_can_read_why(ours: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    """aiohttp closes at once: what is on its way then resets the connection, and the refusal may be
    lost.
    """
    monkeypatch.setattr(connection, "LINGERING_S", 60.0)
    server = await ours(echo)
    caller = await server.connect()
    await caller.send(b"garbage\r\n\r\n")
    for _ in range(50):
        await caller.send(b"x" * 10_000)
        await asyncio.sleep(0.001)
    assert (await caller.answer()).status == 400


async def test_a_chunk_is_no_head(serve: Serve) -> None:
    """Many small pieces of body are no endless head."""

    async def count(asked: Asked) -> tuple[int, bytes]:
        return 200, b"%d" % len(await asked.body())

    server = await serve(count)
    caller = await server.connect()
    await caller.send(chunked(*[b"x"] * 60_000))
    assert (await caller.answer()).body == b"60000"
