"""What a response is made of: the same cases for our client and for aiohttp's."""

import asyncio
import gzip
import tracemalloc
import zlib
from collections.abc import Callable
from typing import Any

import pytest

from services.edge.upstream import Client, UpstreamError
from tests.edge.upstream.upstream_kit import OK, QUICK, Peer, Server, answers

LENGTH = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nX-Empty:\r\nContent-Length: 11\r\n\r\nhello world"
CHUNKED = (
    b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nX-Empty: \r\nTransfer-Encoding: chunked\r\n\r\n"
    b'6;name=value;q="x;y"\r\nhello \r\n05\r\nworld\r\n0\r\nX-Trailer: t\r\nX-Other: u\r\n\r\n'
)
UNTIL_CLOSE = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nX-Empty:\r\n\r\nhello world"
FORMS = {"length": LENGTH, "chunked": CHUNKED, "until_close": UNTIL_CLOSE}
Make = Callable[..., Any]


async def call(client: Any, server: Server, limit_bytes: int = 1 << 20, method: str = "POST") -> tuple[Any, bytes]:
    async with asyncio.timeout(5):
        response = await client.send(server.origin, method, "/", [], b"", QUICK)
        return response, await response.read(limit_bytes)


@pytest.mark.parametrize("form", FORMS)
async def test_a_response_split_at_any_byte_is_the_same_response(make: Make, form: str) -> None:
    whole = FORMS[form]
    cuts = [(whole[:at], whole[at:]) for at in range(1, len(whole))]
    cuts.append(tuple(whole[at : at + 1] for at in range(len(whole))))
    turn = iter(cuts)

    async def script(peer: Peer) -> None:
        while True:
            await peer.request()
            await peer.send(*next(turn))
            if form == "until_close":
                return

    client = make()
    async with Server(script) as server:
        for cut in cuts:
            response, body = await call(client, server)
            assert body == b"hello world", cut
            assert response.status == 200
            assert response.header(b"content-type") == b"text/plain"
            assert response.header(b"x-empty") == b""
            assert response.header(b"x-trailer") is None
        assert server.connections == (len(cuts) if form == "until_close" else 1)


@pytest.mark.parametrize("reset", [False, True], ids=["fin", "rst"])
@pytest.mark.parametrize("form", FORMS)
async def test_a_response_cut_off_at_any_byte_is_an_error_and_never_a_hang(make: Make, form: str, reset: bool) -> None:
    whole = FORMS[form]
    head_bytes = whole.index(b"\r\n\r\n") + 4
    turn = iter(range(len(whole)))

    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(whole[: next(turn)])
        if reset:
            peer.reset()

    client = make()
    if form == "until_close" and reset and not isinstance(client, Client):
        pytest.skip("aiohttp takes a reset for the end of a body that ends with its connection")
    async with Server(script) as server:
        for length in range(len(whole)):
            if form == "until_close" and length >= head_bytes and not reset:
                _, body = await call(client, server)
                assert body == whole[head_bytes:length]
                continue
            with pytest.raises(UpstreamError) as caught:
                await call(client, server)
            assert (caught.value.kind, caught.value.safe_to_retry) == ("reset", False), length


async def test_interim_responses_are_skipped(make: Make) -> None:
    interim = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n"
    client = make()
    async with Server(answers(interim + OK)) as server:
        for _ in range(2):
            response, body = await call(client, server)
            assert (response.status, body, response.header(b"link")) == (200, b"ok", None)
        assert server.connections == 1


async def test_interim_responses_split_at_any_byte(ours: Callable[..., Client]) -> None:
    whole = b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n" + OK
    turn = iter(range(1, len(whole)))

    async def script(peer: Peer) -> None:
        for at in turn:
            await peer.request()
            await peer.send(whole[:at], whole[at:])

    client = ours()
    async with Server(script) as server:
        for _ in range(1, len(whole)):
            response, body = await call(client, server)
            assert (response.status, body, response.headers) == (200, b"ok", [(b"content-length", b"2")])


async def test_endless_interim_responses_end_at_the_head_limit(ours: Callable[..., Client]) -> None:
    async def script(peer: Peer) -> None:
        await peer.request()
        for _ in range(1000):
            await peer.send(b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n")

    client = ours(response_head_bytes_max=4096)
    async with Server(script) as server:
        with pytest.raises(UpstreamError) as caught:
            await call(client, server)
        assert caught.value.kind == "too_large"


@pytest.mark.parametrize(
    ("method", "answer"),
    [
        ("POST", b"HTTP/1.1 204 No Content\r\n\r\n"),
        ("POST", b"HTTP/1.1 304 Not Modified\r\nContent-Length: 11\r\n\r\n"),
        ("HEAD", b"HTTP/1.1 200 OK\r\nContent-Length: 11\r\n\r\n"),
        ("HEAD", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"),
    ],
)
async def test_a_response_without_a_body_ends_with_its_head(make: Make, method: str, answer: bytes) -> None:
    client = make()
    async with Server(answers(answer)) as server:
        for _ in range(2):
            response, body = await call(client, server, method=method)
            assert (response.status, body) == (int(answer.split()[1]), b"")


@pytest.mark.parametrize("split", [False, True])
@pytest.mark.parametrize(
    "head",
    [
        b"HTTP/1.1 200 OK\r\nX-Long: " + b"x" * 70_000 + b"\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nX-" + b"x" * 70_000 + b": y\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n" + b"X-Many: x\r\n" * 9_000 + b"Content-Length: 0\r\n\r\n",
    ],
    ids=["value", "name", "count"],
)
async def test_a_head_over_the_limit_is_refused(make: Make, head: bytes, split: bool) -> None:
    pieces = [head[at : at + 4000] for at in range(0, len(head), 4000)] if split else [head]
    client = make()
    async with Server(answers(*pieces)) as server:
        with pytest.raises(UpstreamError) as caught:
            await call(client, server)
        assert caught.value.kind in ("too_large", "protocol")  # aiohttp calls it a bad message


async def test_trailers_and_chunk_extensions_are_bounded(ours: Callable[..., Client]) -> None:
    start = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n"
    client = ours()
    for endless in (b"0\r\nX-Trailer: " + b"x" * 200_000, b"2;" + b"x" * 200_000, b"0\r\n" + b"T: x\r\n" * 400):
        async with Server(answers(start + endless)) as server:
            with pytest.raises(UpstreamError) as caught:
                await call(client, server)
            assert caught.value.kind == "too_large"
    assert client.open == 0


@pytest.mark.parametrize(
    "answer",
    [
        b"SSH-2.0-OpenSSH_9.2\r\n",
        b"HTTP/1.1 abc OK\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nno colon\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nok",
        b"HTTP/1.1 200 OK\r\nContent-Length: -2\r\n\r\nok",
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\nok\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nokay\r\n0\r\n\r\n",
    ],
)
async def test_what_is_not_http_is_a_protocol_error(make: Make, answer: bytes) -> None:
    client = make()
    async with Server(answers(answer)) as server:
        with pytest.raises(UpstreamError) as caught:
            await call(client, server)
        assert caught.value.kind == "protocol"


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 101 Switching\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n",
        b"HTTP/1.1 101 Switching\r\n\r\n",
        b"HTTP/1.1 000 Nothing\r\n\r\n",
        b"HTTP/1.1 199 Odd\r\nContent-Length: 2\r\n\r\nok",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\nok",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
    ],
)
async def test_what_we_never_asked_for_is_a_protocol_error(ours: Callable[..., Client], answer: bytes) -> None:
    client = ours()
    async with Server(answers(answer)) as server:
        with pytest.raises(UpstreamError) as caught:
            await call(client, server)
        assert caught.value.kind == "protocol"
    assert client.open == 0


TEXT = b"the quick brown fox " * 500
RAW_DEFLATE = zlib.compressobj(wbits=-zlib.MAX_WBITS)


@pytest.mark.parametrize(
    ("encoding", "body"),
    [
        (b"gzip", gzip.compress(TEXT)),
        (b"gzip", gzip.compress(TEXT[:4000]) + gzip.compress(TEXT[4000:])),
        (b"deflate", zlib.compress(TEXT)),
        (b"deflate", RAW_DEFLATE.compress(TEXT) + RAW_DEFLATE.flush()),
        (b"identity", TEXT),
    ],
    ids=["gzip", "two members", "zlib", "raw deflate", "identity"],
)
async def test_an_encoded_body_is_decoded_by_read(make: Make, encoding: bytes, body: bytes) -> None:
    head = b"HTTP/1.1 200 OK\r\nContent-Encoding: %b\r\nContent-Length: %d\r\n\r\n" % (encoding, len(body))
    client = make()
    async with Server(answers(head + body[:30], body[30:])) as server:
        _, text = await call(client, server, limit_bytes=len(TEXT))
        assert text == TEXT


@pytest.mark.parametrize(
    "body", [gzip.compress(TEXT)[:-9], b"not gzip", gzip.compress(TEXT) + b"tail"], ids=["cut off", "text", "followed"]
)
async def test_a_damaged_encoded_body_is_a_protocol_error(ours: Callable[..., Client], body: bytes) -> None:
    client = ours()
    async with Server(
        answers(b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
    ) as s:
        with pytest.raises(UpstreamError) as caught:
            await call(client, s)
        assert caught.value.kind == "protocol"


async def test_an_encoding_nobody_asked_for_is_refused_by_read_and_passed_on_by_chunks(
    ours: Callable[..., Client],
) -> None:
    client = ours()
    async with Server(answers(b"HTTP/1.1 200 OK\r\nContent-Encoding: br\r\nContent-Length: 2\r\n\r\nok")) as server:
        with pytest.raises(UpstreamError) as caught:
            await call(client, server)
        assert caught.value.kind == "protocol"
        response = await client.send(server.origin, "POST", "/", [], b"", QUICK)
        assert [chunk async for chunk in response.chunks()] == [b"ok"]


async def test_a_gzip_bomb_is_cut_off_at_the_limit(make: Make) -> None:
    bomb = gzip.compress(bytes(50_000_000))
    head = b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: %d\r\n\r\n" % len(bomb)
    client = make()
    async with Server(answers(head + bomb)) as server:
        tracemalloc.start()
        try:
            with pytest.raises(UpstreamError) as caught:
                await call(client, server, limit_bytes=1_000_000)
            assert caught.value.kind == "too_large"
            if isinstance(client, Client):
                assert tracemalloc.get_traced_memory()[1] < 5_000_000
        finally:
            tracemalloc.stop()


async def test_a_body_over_the_limit_is_refused_and_one_at_the_limit_is_not(make: Make) -> None:
    client = make()
    async with Server(answers(LENGTH)) as server:
        assert (await call(client, server, limit_bytes=11))[1] == b"hello world"
        with pytest.raises(UpstreamError) as caught:
            await call(client, server, limit_bytes=10)
        assert caught.value.kind == "too_large"


async def test_chunks_come_as_they_arrive(make: Make) -> None:
    go_on = asyncio.Event()

    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        for text in (b"one", b"two"):
            await go_on.wait()
            go_on.clear()
            await peer.send(b"3\r\n%b\r\n" % text)
        await peer.send(b"1\r\na\r\n1\r\nb\r\n0\r\n\r\n")

    client = make()
    async with Server(script) as server, asyncio.timeout(5):
        response = await client.send(server.origin, "POST", "/", [], b"", QUICK)  # the head alone is enough
        for text in (b"one", b"two"):
            go_on.set()
            assert await response.next_chunk() == text
        rest = b""
        while chunk := await response.next_chunk():
            rest += chunk
        assert rest == b"ab"
        assert await response.next_chunk() == b""


async def test_the_bytes_before_a_failure_are_read_before_it_is_raised(ours: Callable[..., Client]) -> None:
    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n", b"abc")

    client = ours()  # aiohttp drops them
    async with Server(script) as server, asyncio.timeout(5):
        response = await client.send(server.origin, "POST", "/", [], b"", QUICK)
        await asyncio.sleep(0.05)
        assert await response.next_chunk() == b"abc"
        with pytest.raises(UpstreamError):
            await response.next_chunk()
