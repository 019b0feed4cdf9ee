"""Whatever a server sends, however it is cut, and however it ends: a response or an UpstreamError, soon, and nothing left."""

import asyncio
import gzip

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from upstream_kit import LOOPS, OK, Peer, Server

from services.edge.upstream import Client, Deadlines, UpstreamError

SOON = Deadlines(connect_ms=1_000, first_byte_ms=60, idle_ms=60, total_ms=150)
WORDS = [
    b"HTTP/1.1 200 OK\r\n", b"HTTP/1.0 200 OK\r\n", b"HTTP/1.1 204 No\r\n", b"HTTP/1.1 100 Continue\r\n\r\n",
    b"HTTP/1.1 101 Up\r\n", b"HTTP/1.1 304 x\r\n", b"HTTP/1.1 999 x\r\n", b"HTTP/3.7 200 x\r\n", b"HTTP/1.1 ",
    b"Content-Length: 5\r\n", b"Content-Length: 0\r\n", b"Content-Length: 99999999999999999999999\r\n",
    b"Transfer-Encoding: chunked\r\n", b"Transfer-Encoding: gzip, chunked\r\n", b"Connection: close\r\n",
    b"Connection: upgrade\r\nUpgrade: x\r\n", b"Content-Encoding: gzip\r\n", b"Content-Encoding: deflate\r\n",
    b"Content-Encoding: br\r\n", b" folded\r\n", b"X: \0\r\n", b": no name\r\n", b"X-Empty:\r\n", b"\r\n", b"\n", b"\r",
    b"0\r\n\r\n", b"0\r\n", b"5\r\nhello\r\n", b"5;e=v\r\nhello\r\n", b"ffffffffffffffffff\r\n", b"-1\r\n", b"hello",
    gzip.compress(b"hello"), OK, b"X-Long: " + b"x" * 70_000, b"T: x\r\n" * 300,
]  # fmt: skip
START = st.sampled_from([b"", b"HTTP/1.1 200 OK\r\n", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n"])
BYTES = st.builds(
    lambda start, words: start + b"".join(words),
    START,
    st.lists(st.one_of(st.sampled_from(WORDS), st.binary(max_size=20)), max_size=10),
)
ENDS = st.sampled_from(["fin", "fin", "rst", "stay"])


async def one(client: Client, server: Server, method: str, streamed: bool) -> None:
    try:
        response = await client.send(server.origin, method, "/", [], b"{}", SOON)
        assert 200 <= response.status <= 999
        if streamed:
            while await response.next_chunk():
                pass
        else:
            assert len(await response.read(10_000)) <= 10_000
        assert response.complete and response.connection is None
    except UpstreamError as error:
        assert not error.safe_to_retry or error.kind == "reset"  # closed before we wrote


@pytest.mark.parametrize("loop", LOOPS)
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    answer=BYTES, cuts=st.lists(st.integers(0, 200), max_size=4), end=ENDS, head=st.booleans(), streamed=st.booleans()
)
def test_any_bytes_end_in_a_response_or_an_error(
    loop: str, answer: bytes, cuts: list[int], end: str, head: bool, streamed: bool
) -> None:
    borders = [0, *sorted(min(cut, len(answer)) for cut in cuts), len(answer)]
    pieces = [answer[start:stop] for start, stop in zip(borders, borders[1:], strict=False) if start < stop]

    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(*pieces)
        if end == "rst":
            peer.reset()
        elif end == "stay":
            await peer.gone(1)

    async def main() -> None:
        client = Client()
        async with Server(script) as server, asyncio.timeout(3):
            for _ in range(2):
                await one(client, server, "HEAD" if head else "POST", streamed)
                assert client.open == client.idle and client.waiting == 0
            await client.close()
            assert (client.open, client.idle, client.waiting, client._pools) == (0, 0, 0, {})

    problems: list[object] = []
    with asyncio.Runner(loop_factory=LOOPS[loop]) as runner:  # type: ignore[arg-type]
        runner.get_loop().set_exception_handler(lambda _, context: problems.append(context))
        runner.run(main())
    assert not problems, problems


BODY = st.lists(st.binary(min_size=1, max_size=40), max_size=5)


@pytest.mark.parametrize("loop", LOOPS)
@settings(max_examples=60, deadline=None)
@given(chunks=BODY, cuts=st.lists(st.integers(0, 400), max_size=8), trailers=st.booleans())
def test_a_valid_body_is_itself_however_it_is_cut(
    loop: str, chunks: list[bytes], cuts: list[int], trailers: bool
) -> None:
    answer = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    answer += b"".join(b"%x\r\n%b\r\n" % (len(chunk), chunk) for chunk in chunks)
    answer += b"0\r\n" + (b"T: x\r\n" if trailers else b"") + b"\r\n"
    borders = [0, *sorted(min(cut, len(answer)) for cut in cuts), len(answer)]

    async def script(peer: Peer) -> None:
        for _ in range(2):
            await peer.request()
            await peer.send(*(answer[start:stop] for start, stop in zip(borders, borders[1:], strict=False)))

    async def main() -> None:
        client = Client()
        async with Server(script) as server, asyncio.timeout(3):
            for _ in range(2):
                response = await client.send(server.origin, "POST", "/", [], b"{}", Deadlines())
                assert await response.read(1000) == b"".join(chunks)
            assert client.created == 1
            await client.close()

    with asyncio.Runner(loop_factory=LOOPS[loop]) as runner:  # type: ignore[arg-type]
        runner.run(main())
