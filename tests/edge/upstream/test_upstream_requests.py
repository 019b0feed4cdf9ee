"""What goes out: origins, heads that nothing can break out of, large bodies."""

import asyncio
import hashlib
from collections.abc import Callable
from typing import Any

import pytest

from services.edge.upstream import Client, Deadlines, Origin, UpstreamError, render_headers
from services.edge.upstream.connection import WRITE_PIECE_BYTES
from tests.edge.upstream.upstream_kit import OK, QUICK, Peer, Server, answers

Make = Callable[..., Any]
SLOW = Deadlines(connect_ms=2_000, first_byte_ms=20_000, idle_ms=5_000, total_ms=20_000)


@pytest.mark.parametrize(
    ("url", "origin", "base"),
    [
        ("https://api.example.com/v1/", Origin("https", "api.example.com", 443), "/v1"),
        ("http://LocalHost:8080", Origin("http", "localhost", 8080), ""),
        ("http://[::1]:81/a/b", Origin("http", "::1", 81), "/a/b"),
        ("HTTPS://x", Origin("https", "x", 443), ""),
    ],
)
def test_a_base_url_is_an_origin_and_a_path(url: str, origin: Origin, base: str) -> None:
    assert Origin.parse(url) == (origin, base)
    assert hash(Origin.parse(url)[0]) == hash(origin)


@pytest.mark.parametrize(
    "url",
    [
        "",
        "api.example.com/v1",
        "ftp://x/",
        "//x",
        "http://",
        "http:///path",
        "http://user@x/",
        "http://user:geheim@x/",
        "http://x:99999/",
        "http://x:0/",
        "http://x:abc/",
        "http://x/?q=1",
        "http://x/#f",
        "http://x/a b",
        "http://x/\r\nHost: y",
        "http://bücher.example/",
        "http://[::1",
        "http://[fe80::1%eth0]/",
        "http://[abc]/",
        "http://.x/",
        "http://a,b/",
    ],
)
def test_anything_else_is_refused_with_a_sentence(url: str) -> None:
    with pytest.raises(ValueError) as caught:
        Origin.parse(url)
    assert "geheim" not in str(caught.value)
    assert len(str(caught.value)) > 10


def test_the_authority_leaves_default_ports_out_and_puts_brackets_around_ipv6() -> None:
    assert Origin("https", "x", 443).authority == "x"
    assert Origin("http", "x", 443).authority == "x:443"
    assert Origin("http", "::1", 80).authority == "[::1]"


async def test_the_head_is_complete_and_the_hops_headers_are_ours(ours: Callable[..., Client]) -> None:
    heads: list[bytes] = []

    async def script(peer: Peer) -> None:
        while True:
            head, body = await peer.request()
            heads.append(head + body)
            await peer.send(OK)

    pairs = [("X-A", "1"), ("Host", "evil"), ("Content-Length", "999"), ("Connection", "close"), ("TE", "trailers")]
    client = ours()
    async with Server(script) as server:
        for headers in (pairs, render_headers(pairs)):
            await (await client.send(server.origin, "POST", "/v1/x?y=z", headers, b"{}", QUICK)).read(10)
        await (await client.send(server.origin, "GET", "/", [("Accept-Encoding", "gzip")], b"", QUICK)).read(10)
        await (await client.send(server.origin, "POST", "/", [], b"", QUICK)).read(10)
        host = server.origin.authority.encode()
    assert heads[0] == heads[1]
    assert heads[0] == (
        b"POST /v1/x?y=z HTTP/1.1\r\nhost: " + host + b"\r\nX-A: 1\r\naccept-encoding: identity\r\n"
        b"content-length: 2\r\n\r\n{}"
    )
    assert heads[2] == b"GET / HTTP/1.1\r\nhost: " + host + b"\r\nAccept-Encoding: gzip\r\n\r\n"
    assert b"content-length: 0\r\n" in heads[3]


@pytest.mark.parametrize(
    "headers",
    [
        [("x", "a\r\ny: b")],
        [("x", "a\r\n\r\nGET / HTTP/1.1")],
        [("x", "a\nb")],
        [("x", "a\rb")],
        [("x", "a\0b")],
        [("x", "a\x7fb")],
        [("x\r\ny", "a")],
        [("x: y", "a")],
        [("x y", "a")],
        [("", "a")],
        [("x", "\u20ac")],
        b"x: y",
        b"x: y\r\n\r\n",
        b"x: y\nz: w\r\n",
        b"x: y\r\n folded\r\n",
        b"Host: evil\r\n",
        b"x: y\r\nTransfer-Encoding: chunked\r\n",
        b"content-length: 5\r\n",
        b"content-length : 5\r\n",
    ],
)
async def test_a_header_that_could_break_out_is_refused_before_anything_is_written(
    ours: Callable[..., Client], headers: Any
) -> None:
    client = ours()
    async with Server(answers(OK)) as server:
        with pytest.raises(ValueError):
            await client.send(server.origin, "POST", "/", headers, b"", QUICK)
        assert (server.connections, client.open) == (0, 0)


@pytest.mark.parametrize(
    ("method", "target"),
    [
        ("POST", "/a b"),
        ("POST", "/\r\nx: y"),
        ("POST", "x"),
        ("POST", ""),
        ("POST", "/\u00e9"),
        ("POST\r\n", "/"),
        ("post", "/"),
        ("", "/"),
        ("GET /x HTTP/1.1\r\n", "/"),
    ],
)
async def test_a_request_line_that_could_break_out_is_refused(
    ours: Callable[..., Client], method: str, target: str
) -> None:
    with pytest.raises(ValueError):
        await ours().send(Origin("http", "127.0.0.1", 9), method, target, [], b"", QUICK)


async def test_a_large_body_reaches_a_slow_reader_whole_and_is_not_copied_into_buffers(make: Make) -> None:
    body = bytes(range(256)) * (30_000_000 // 256)
    buffered: list[int] = []
    client = make()

    async def script(peer: Peer) -> None:
        head = await peer.reader.readuntil(b"\r\n\r\n")
        assert b"content-length: %d" % len(body) in head.lower()
        digest, left = hashlib.sha256(), len(body)
        while left:
            if left % 7 == 0 and isinstance(client, Client):
                await asyncio.sleep(0.002)
                for connection in next(iter(client._pools.values())).connections:
                    buffered.append(connection._transport.get_write_buffer_size())
            piece = await peer.reader.read(1 << 18)
            digest.update(piece)
            left -= len(piece)
        assert digest.digest() == hashlib.sha256(body).digest()
        await peer.send(OK)
        await peer.gone(20)

    async with Server(script) as server, asyncio.timeout(20):
        response = await client.send(server.origin, "POST", "/", [], body, SLOW)
        assert await response.read(10) == b"ok"
        if isinstance(client, Client):
            assert max(buffered) <= 2 * WRITE_PIECE_BYTES
            await asyncio.sleep(0.01)
            assert client.idle == 1  # and the connection is good for more


async def test_an_answer_that_comes_before_the_body_is_written_is_delivered(make: Make) -> None:
    answer = b"HTTP/1.1 413 Too Large\r\nContent-Length: 3\r\n\r\nbig"
    done = asyncio.Event()

    async def script(peer: Peer) -> None:
        await peer.reader.readuntil(b"\r\n\r\n")
        await peer.send(answer)
        await done.wait()

    client = make()
    async with Server(script) as server, asyncio.timeout(10):
        response = await client.send(server.origin, "POST", "/", [], bytes(30_000_000), SLOW)
        assert (response.status, await response.read(10)) == (413, b"big")
        if isinstance(client, Client):
            assert client.open == 0  # its request is unfinished: nobody else may have it
        done.set()


async def test_a_body_is_still_written_while_its_answer_streams(ours: Callable[..., Client]) -> None:
    async def script(peer: Peer) -> None:
        await peer.reader.readuntil(b"\r\n\r\n")
        await peer.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n")
        await peer.reader.readexactly(5_000_000)
        await peer.send(b"4\r\ndone\r\n0\r\n\r\n")
        await peer.gone(10)

    client = ours()
    async with Server(script) as server, asyncio.timeout(10):
        response = await client.send(server.origin, "POST", "/", [], bytes(5_000_000), SLOW)
        assert await response.read(10) == b"okdone"
        await asyncio.sleep(0.01)
        assert client.idle == 1


async def test_a_redirect_is_an_answer_and_not_followed(make: Make) -> None:
    client = make()
    async with Server(answers(b"HTTP/1.1 302 Found\r\nLocation: /x\r\nContent-Length: 0\r\n\r\n")) as server:
        response = await client.send(server.origin, "POST", "/", [], b"", QUICK)
        assert (response.status, response.header(b"location")) == (302, b"/x")
        assert await response.read(0) == b""


async def test_a_closed_client_refuses(ours: Callable[..., Client]) -> None:
    client = ours()
    async with Server(answers(OK)) as server:
        await client.close()
        with pytest.raises(UpstreamError) as caught:
            await client.send(server.origin, "POST", "/", [], b"", QUICK)
        assert (caught.value.kind, caught.value.safe_to_retry) == ("connect", True)
