"""Requests, however they are cut and whatever they ask: the same with ours and with aiohttp's."""

import asyncio
import socket
from typing import Any

import pytest

from tests.edge.http.http_kit import GET, HEAD, Asked, chunked, closed, echo, post

Serve = Any

BODY = b"GET / HTTP/1.1\r\n\r\n0\r\n\r\n"  # what a wrong idea of the framing would take for something else
SHAPES = {
    "length": (post(BODY), b"POST /a [] " + BODY),
    "chunked": (chunked(BODY[:3], BODY[3:4], BODY[4:]), b"POST /a [] " + BODY),
    "extensions": (
        HEAD + b"Transfer-Encoding: chunked\r\n\r\n3;a=b;c\r\nabc\r\n1;x\r\nd\r\n0;e\r\nTrailer: t\r\nOther: u\r\n\r\n",
        b"POST /a [] abcd",
    ),
    "bare": (b"GET /p%20q/%C3%A9?x=%20&y HTTP/1.1\r\nHost:\r\nX-Empty:\r\nY: z \t\r\n\r\n", "GET /p q/é [x=%20&y] ".encode()),
}  # fmt: skip


# ── cuts ──


@pytest.mark.parametrize("shape", SHAPES)
async def test_a_request_cut_in_two_anywhere_is_the_same_request(serve: Serve, shape: str) -> None:
    data, wanted = SHAPES[shape]
    server = await serve(echo)
    caller = await server.connect()
    for cut in range(1, len(data)):
        await caller.send(data[:cut])
        for _ in range(3):
            await asyncio.sleep(0)
        await caller.send(data[cut:])
        answer = await caller.answer()
        assert (answer.status, answer.body) == (200, wanted), cut


@pytest.mark.parametrize("shape", SHAPES)
async def test_a_request_byte_by_byte_is_the_same_request(serve: Serve, shape: str) -> None:
    data, wanted = SHAPES[shape]
    server = await serve(echo)
    caller = await server.connect()
    caller.writer.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    for byte in data:
        await caller.send(bytes([byte]))
        await asyncio.sleep(0.0002)
    assert (await caller.answer()).body == wanted


async def test_requests_in_one_segment_are_answered_in_order_and_one_at_a_time(serve: Serve) -> None:
    async def slow(asked: Asked) -> tuple[int, bytes]:
        body = await asked.body()
        await asyncio.sleep(0.002)
        return 200, asked.path.encode() + body

    server = await serve(slow)
    caller = await server.connect()
    data = wanted = b""
    for n in range(12):
        path, body = b"/%d" % n, b"x" * n * 50
        data += (GET, post(body), chunked(body, b"y"))[n % 3].replace(b"/a", path, 1)
        wanted += path + (b"", body, body + b"y")[n % 3]
    await caller.send(data)
    got = b"".join([(await caller.answer()).body for _ in range(12)])
    assert got == wanted
    assert server.most_running == 1


@pytest.mark.parametrize("cut", [1, 20, 29, 30, 31, 60, 100, 120])
async def test_pipelined_requests_cut_anywhere_stay_apart(serve: Serve, cut: int) -> None:
    data = post(b"first") + GET + chunked(b"third") + post(b"", b"Connection: close")
    server = await serve(echo)
    for at in range(cut % 7, len(data), 7):
        caller = await server.connect()
        await caller.send(data[:at])
        await asyncio.sleep(0.001)
        await caller.send(data[at:])
        bodies = [(await caller.answer()).body for _ in range(4)]
        assert bodies == [b"POST /a [] first", b"GET /a [] ", b"POST /a [] third", b"POST /a [] "], at
        assert await closed(caller)


@pytest.mark.parametrize("shape", SHAPES)
async def test_a_request_cut_anywhere_behind_one_that_is_being_handled_waits_whole(serve: Serve, shape: str) -> None:
    data, wanted = SHAPES[shape]
    go = asyncio.Event()

    async def wait(asked: Asked) -> tuple[int, bytes]:
        if asked.path == "/first":
            await go.wait()
        return await echo(asked)

    server = await serve(wait)
    caller = await server.connect()
    for cut in range(1, len(data), 3):
        await caller.send(b"GET /first HTTP/1.1\r\nHost: h\r\n\r\n" + data[:cut])
        await asyncio.sleep(0.002)
        await caller.send(data[cut:])
        await asyncio.sleep(0.002)
        go.set()
        assert (await caller.answer()).body == b"GET /first [] "
        assert (await caller.answer()).body == wanted, cut
        go.clear()


async def test_a_flood_of_pipelined_requests_is_answered_with_little_parsed_ahead(serve: Serve) -> None:
    """More than anything holds at once; the client reads while it sends."""
    number, most = 20_000, 0

    async def look(asked: Asked) -> tuple[int, bytes]:
        nonlocal most
        if server.is_ours:
            found = server.connection()
            most = max(most, len(found._queue) * 1_000 + len(found._held))
        return 204, b""

    server = await serve(look)
    caller = await server.connect()
    caller.writer.write(GET * number)
    for _ in range(number):
        assert (await caller.head()).status == 204
    assert most < 600 * 1_000 + 400_000


# ── what a handler sees ──


@pytest.mark.parametrize(
    ("target", "path", "query"),
    [
        (b"/", "/", ""),
        (b"/v1/chat/completions", "/v1/chat/completions", ""),
        (b"/a?b=c&d=%20", "/a", "b=c&d=%20"),
        (b"/a?b?c", "/a", "b?c"),
        (b"//a", "//a", ""),
        (b"/a/../b/./c", "/a/../b/./c", ""),
        (b"/a;b=c/d:e@f!$&'()*,~", "/a;b=c/d:e@f!$&'()*,~", ""),
        (b"/a+b", "/a+b", ""),
        (b"/%E2%82%AC", "/€", ""),
        (b"/%00", "/\0", ""),
        (b"/a#b", "/a", ""),
        (b"/a?b#c", "/a", "b"),
        (b"http://h/a?b", "/a", "b"),
        (b"http://u@h:1/a%20b", "/a b", ""),
    ],
)
async def test_the_path_is_decoded_and_the_query_is_not(serve: Serve, target: bytes, path: str, query: str) -> None:
    seen: list[tuple[str, str]] = []

    async def look(asked: Asked) -> tuple[int, bytes]:
        seen.append((asked.path, asked.query))
        return 200, b""

    server = await serve(look)
    caller = await server.connect()
    await caller.send(b"GET " + target + b" HTTP/1.1\r\nHost: h\r\n\r\n")
    assert (await caller.answer()).status == 200
    assert seen == [(path, query)]


@pytest.mark.parametrize(
    ("target", "path", "canonical"),
    [
        (b"/v1/models", "/v1/models", True),
        (b"/v1%2fmodels", "/v1%2Fmodels", True),
        (b"/v1/model%73", "/v1/models", False),
        (b"/%761/models", "/v1/models", False),
        (b"/a%20b", "/a b", True),
        (b"/a%2Bb+c", "/a+b+c", False),
        (b"/a/../b", "/a/../b", False),
        (b"/a/%2e%2E/b", "/a/../b", False),
        (b"/a/.", "/a/.", False),
        (b"/.well-known/x", "/.well-known/x", True),
        (b"/m/openai%2Fgpt", "/m/openai%2Fgpt", True),
        (b"/%e2%82%ac", "/\u20ac", True),
        (b"/%ff", "/\ufffd", False),
        (b"/%", "/%", False),
        (b"/%25", "/%", True),
        (b"/%zz", "/%zz", False),
        (b"http://h/a%2Fb?c", "/a%2Fb", True),
    ],
)
async def test_a_path_has_one_way_to_be_written(ours: Serve, target: bytes, path: str, canonical: bool) -> None:
    seen: list[Any] = []

    async def look(asked: Asked) -> tuple[int, bytes]:
        seen.append(asked.inner)
        return 200, b""

    server = await ours(look)
    caller = await server.connect()
    await caller.send(b"GET " + target + b" HTTP/1.1\r\nHost: h\r\n\r\n")
    assert (await caller.answer()).status == 200
    assert (seen[0].path, seen[0].canonical) == (path, canonical)


async def test_no_path_is_the_root(ours: Serve) -> None:
    """To aiohttp it is no path."""
    server = await ours(echo)
    for target, seen in ((b"http://h", b"GET / [] "), (b"http://h?q", b"GET / [q] ")):
        caller = await server.connect()
        await caller.send(b"GET " + target + b" HTTP/1.1\r\nHost: h\r\n\r\n")
        assert (await caller.answer()).body == seen


async def test_headers_are_found_by_name_the_first_of_several_and_as_text(serve: Serve) -> None:
    async def look(asked: Asked) -> tuple[int, bytes]:
        assert asked.remote == "127.0.0.1"
        assert asked.header("x-one") == "1"
        assert asked.header("x-padded") == "a b"
        assert asked.header("x-empty") == ""
        assert asked.header("x-absent") is None
        assert asked.header("x-text") == "é\udcff"
        return 200, b"seen"

    server = await serve(look)
    caller = await server.connect()
    await caller.send(
        b"GET / HTTP/1.1\r\nHOST: h\r\nX-ONE: 1\r\nx-One: 2\r\nX-Padded: \t a b \t \r\nX-Empty:\r\nX-Text: \xc3\xa9\xff\r\n\r\n"
    )
    assert (await caller.answer()).body == b"seen"


@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "HEAD"])
async def test_methods_and_head_has_no_body(serve: Serve, method: str) -> None:
    server = await serve(echo)
    caller = await server.connect()
    for _ in range(2):
        await caller.send(GET.replace(b"GET", method.encode()))
        if method == "HEAD":
            assert int((await caller.head()).headers["content-length"]) > 0
        else:
            assert (await caller.answer()).body == method.encode() + b" /a [] "


async def test_options_of_everything(serve: Serve) -> None:
    server = await serve(echo)
    caller = await server.connect()
    await caller.send(b"OPTIONS * HTTP/1.1\r\nHost: h\r\n\r\n")
    assert (await caller.answer()).body == b"OPTIONS * [] "


# ── answers ──


async def test_an_answer_has_a_length_a_date_and_what_the_handler_said(serve: Serve) -> None:
    server = await serve(echo)
    caller = await server.connect()
    await caller.send(GET)
    headers = (await caller.answer()).headers
    assert (headers["content-length"], headers["x-kind"]) == ("10", "whole")
    assert headers["date"].endswith(" GMT") and "connection" not in headers


@pytest.mark.parametrize("status", [204, 304])
async def test_no_content_has_none(serve: Serve, status: int) -> None:
    async def nothing(asked: Asked) -> tuple[int, bytes]:
        return status, b""

    server = await serve(nothing)
    caller = await server.connect()
    await caller.send(GET + GET)
    for _ in range(2):
        answer = await caller.head()
        assert answer.status == status and "transfer-encoding" not in answer.headers
        assert answer.headers.get("content-length", "0") == "0" or status == 304


async def test_a_status_nobody_named(serve: Serve) -> None:
    async def odd(asked: Asked) -> tuple[int, bytes]:
        return 499, b"odd"

    server = await serve(odd)
    caller = await server.connect()
    await caller.send(GET)
    answer = await caller.answer()
    assert (answer.status, answer.body) == (499, b"odd")


@pytest.mark.parametrize(
    ("version", "sent", "stays", "says"),
    [
        (b"1.1", b"", True, None),
        (b"1.1", b"Connection: keep-alive\r\n", True, None),
        (b"1.1", b"Connection: close\r\n", False, "close"),
        (b"1.1", b"Connection: Close, foo\r\n", False, "close"),
        (b"1.0", b"", False, None),
        (b"1.0", b"Connection: keep-alive\r\n", True, "keep-alive"),
        (b"1.0", b"Connection: close\r\n", False, None),
    ],
)
@pytest.mark.parametrize("streamed", [False, True])
async def test_the_connection_stays_where_the_client_wants_it_to(
    serve: Serve, version: bytes, sent: bytes, stays: bool, says: str | None, streamed: bool
) -> None:
    async def either(asked: Asked) -> Any:
        if not streamed:
            return 200, b"body"
        out = await asked.stream()
        await out.write(b"bo")
        await out.write(b"")
        await out.write(b"dy")
        await out.end()
        return out

    server = await serve(either)
    caller = await server.connect()
    await caller.send(b"GET / HTTP/" + version + b"\r\nHost: h\r\n" + sent + b"\r\n")
    if streamed and version == b"1.0":
        head = await caller.head()
        assert "transfer-encoding" not in head.headers
        if server.is_ours or not stays:  # aiohttp's has no end at all otherwise
            assert await asyncio.wait_for(caller.reader.read(), 10) == b"body", "the end of the connection ends it"
        return
    answer = await caller.answer()
    assert answer.body == b"body"
    if server.is_ours or version == b"1.1":
        assert answer.headers.get("connection") == (says if version == b"1.1" or stays else "close")
    if stays:
        await caller.send(GET)
        assert (await caller.answer()).status == 200
    else:
        await caller.send(b"x")
        assert await closed(caller)


async def test_a_streams_head_goes_out_before_its_body_and_each_piece_at_once(serve: Serve) -> None:
    go = asyncio.Event()

    async def slow(asked: Asked) -> Any:
        out = await asked.stream()
        for piece in (b"one", b"two"):
            await go.wait()
            go.clear()
            await out.write(piece)
        await out.end()
        return out

    server = await serve(slow)
    caller = await server.connect()
    await caller.send(GET + GET)
    for _ in range(2):
        head = await caller.head()
        assert (head.status, head.headers["transfer-encoding"], head.headers["x-kind"]) == (200, "chunked", "stream")
        for piece in (b"one", b"two"):
            go.set()
            assert await caller.chunk() == piece
        assert await caller.chunk() == b""


async def test_a_stream_for_head_and_without_content_has_no_body(serve: Serve) -> None:
    async def some(asked: Asked) -> Any:
        out = await asked.stream(204 if asked.method == "GET" else 200)
        await out.write(b"x" if asked.method == "HEAD" else b"")
        await out.end()
        return out

    server = await serve(some)
    caller = await server.connect()
    await caller.send(GET.replace(b"GET", b"HEAD") + GET + GET)
    assert [(await caller.head()).status for _ in range(3)] == [200, 204, 204]


# ── other protocols ──


@pytest.mark.parametrize("protocol", [b"h2c", b"websocket", b"x"])
@pytest.mark.parametrize("shape", ["length", "chunked", "bare"])
async def test_an_upgrade_is_declined_by_an_answer_and_its_body_is_a_body(
    ours: Serve, protocol: bytes, shape: str
) -> None:
    """aiohttp often leaves the request behind it unanswered."""
    data, wanted = SHAPES[shape]
    upgrade = b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: " + protocol + b"\r\nHTTP2-Settings: AAMA\r\n"
    line, _, rest = data.partition(b"\r\n")
    server = await ours(echo)
    for cut in (0, len(data) - 1, len(data) // 2):
        caller = await server.connect()
        whole = line + b"\r\n" + upgrade + rest
        await caller.send(whole[: cut or len(whole)])
        await asyncio.sleep(0.002)
        await caller.send((whole[cut:] if cut else b"") + GET)
        assert (await caller.answer()).body == wanted
        assert (await caller.answer()).body == b"GET /a [] "


async def test_no_tunnel_is_made(ours: Serve) -> None:
    """aiohttp answers too, and then waits for a body."""
    server = await ours(echo)
    said = await server.said(b"CONNECT h:1 HTTP/1.1\r\nHost: h\r\n\r\nGET / HTTP/1.1\r\n\r\n")
    assert said.startswith(b"HTTP/1.1 200 OK\r\n") and said.endswith(b"CONNECT h:1 [] ")
    assert server.begun == 1
