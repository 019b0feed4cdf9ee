"""Whatever a server sends, however it is cut, and however it ends: a response or an UpstreamError,
soon, and nothing left.
"""

import asyncio
import gzip
import itertools

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from services.edge.upstream import Client, Deadlines, UpstreamError
from tests.edge.upstream.upstream_kit import LOOPS, OK, Peer, Server

SOON = Deadlines(connect_ms=1_000, first_byte_ms=60, idle_ms=60, total_ms=2_000)
STATUS = [b"200 OK"] * 12 + [b"204 No", b"304 x", b"500 x", b"100 x", b"101 Up", b"199 x", b"999 x", b"abc"]
FRAMING = [b"", b"Content-Length: 5\r\n", b"Content-Length: 30\r\n"] + [b"Transfer-Encoding: chunked\r\n"] * 3
FIELDS = [
    b"X: y\r\n", b"X-Empty:\r\n", b"Connection: close\r\n", b"Connection: upgrade\r\nUpgrade: x\r\n", b"Y: z\r\n",
    b"Content-Encoding: gzip\r\n", b"Content-Encoding: deflate\r\n", b"Content-Encoding: br\r\n",
    b"Content-Length: 5\r\n", b"Transfer-Encoding: gzip, chunked\r\n", b"Content-Length: 99999999999999999999999\r\n",
]  # fmt: skip
WORDS = [
    b"0\r\n\r\n", b"0\r\n", b"5\r\nhello\r\n", b"5\r\nhello\r\n", b"5;e=v\r\nhello\r\n", b"ffffffffffffffffff\r\n",
    b"-1\r\n", b"hello", b"hello", gzip.compress(b"hello"), OK, b"X-Long: " + b"x" * 3_000, b"T: x\r\n" * 300,
    b"\r\n", b"\n", b"\r", b" folded\r\n", b"X: \0\r\n", b": no name\r\n", b"HTTP/3.7 200 x\r\n", b"x" * 2_000,
]  # fmt: skip
HEADS = st.builds(
    lambda minor, status, framing, fields: b"HTTP/1.%d %b\r\n%b%b\r\n" % (minor, status, framing, b"".join(fields)),
    st.sampled_from([1, 1, 1, 0]),
    st.sampled_from(STATUS),
    st.sampled_from(FRAMING),
    st.lists(st.sampled_from(FIELDS), max_size=2),
)
WILD = st.lists(st.one_of(st.sampled_from(WORDS), st.binary(max_size=20)), max_size=6).map(b"".join)
BYTES = st.one_of(*[st.builds(bytes.__add__, HEADS, WILD)] * 5, WILD)
METHODS = st.sampled_from(["POST", "POST", "POST", "HEAD"])
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
@given(answer=BYTES, cuts=st.lists(st.integers(0, 200), max_size=4), end=ENDS, method=METHODS, streamed=st.booleans())
def test_any_bytes_end_in_a_response_or_an_error(
    loop: str, answer: bytes, cuts: list[int], end: str, method: str, streamed: bool
) -> None:
    borders = [0, *sorted(min(cut, len(answer)) for cut in cuts), len(answer)]
    pieces = [answer[start:stop] for start, stop in itertools.pairwise(borders) if start < stop]

    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(*pieces)
        if end == "rst":
            peer.reset()
        elif end == "stay":
            await peer.gone(1)

    async def main() -> None:
        client = Client(response_head_bytes_max=2_500)
        async with Server(script) as server, asyncio.timeout(3):
            for _ in range(2):
                await one(client, server, method, streamed)
                assert client.open == client.idle and client.waiting == 0
            await client.close()
            assert (client.open, client.idle, client.waiting, client._pools) == (0, 0, 0, {})

    problems: list[object] = []
    with asyncio.Runner(loop_factory=LOOPS[loop]) as runner:
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
            await peer.send(*(answer[start:stop] for start, stop in itertools.pairwise(borders)))

    async def main() -> None:
        client = Client()
        async with Server(script) as server, asyncio.timeout(3):
            for _ in range(2):
                response = await client.send(server.origin, "POST", "/", [], b"{}", Deadlines())
                assert await response.read(1000) == b"".join(chunks)
            assert client.created == 1
            await client.close()

    with asyncio.Runner(loop_factory=LOOPS[loop]) as runner:
        runner.run(main())
