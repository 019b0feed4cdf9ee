"""Whatever a client sends, however it is cut and however it ends: answers, then perhaps a 4xx, or a
closed connection. Nothing is raised, nothing is left, and what the handler sees is what both
servers see."""

import asyncio
import itertools
import logging
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from services.edge.http import connection
from tests.edge.http.http_kit import GET, HEAD, LOOPS, Asked, Ours, Served, Theirs, chunked, post, reset

FIELDS = [
    b"X: y\r\n", b"X:\r\n", b"Connection: close\r\n", b"Connection: keep-alive\r\n", b"Connection: upgrade\r\nUpgrade: x\r\n",
    b"Expect: 100-continue\r\n", b"Host: h\r\n", b"Transfer-Encoding: chunked\r\n", b"Transfer-Encoding: gzip, chunked\r\n",
    b"Content-Length: 5\r\n", b"Content-Length: 30\r\n", b"Content-Length: 99999999999999999999999\r\n",
]  # fmt: skip
WORDS = [
    GET, GET, post(b"hello"), chunked(b"he", b"llo"), b"0\r\n\r\n", b"5\r\nhello\r\n", b"5;e=v\r\nhello\r\n", b"0\r\nT: x\r\n\r\n",
    b"ffffffffffffffffff\r\n", b"-1\r\n", b"hello", b"\r\n", b"\n", b"\r", b" folded\r\n", b"X: \0\r\n", b": no name\r\n",
    b"GET / HTTP/1.0\r\n", b"HEAD / HTTP/1.1\r\nHost: h\r\n\r\n", b"CONNECT h:1 HTTP/1.1\r\nHost: h\r\n\r\n", b"x" * 9_000,
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", b"X: y\r\n" * 120, b"OPTIONS * HTTP/1.1\r\nHost: h\r\n\r\n",
]  # fmt: skip
HEADS = st.builds(lambda fields: HEAD + b"".join(fields) + b"\r\n", st.lists(st.sampled_from(FIELDS), max_size=3))
WILD = st.lists(st.one_of(st.sampled_from(WORDS), st.sampled_from(FIELDS), HEADS, st.binary(max_size=20)), max_size=8)
GOOD = st.lists(
    st.one_of(
        st.just(GET),
        st.binary(max_size=40).map(post),
        st.lists(st.binary(min_size=1, max_size=20), max_size=4).map(lambda pieces: chunked(*pieces)),
        st.binary(max_size=40).map(lambda body: post(body, b"Expect: 100-continue")),
    ),
    max_size=6,
)
CUTS = st.lists(st.integers(0, 400), max_size=5)


async def feed(server: Served, data: bytes, cuts: list[int], end: str) -> bytes:
    caller = await server.connect()
    said = b""
    try:
        borders = [0, *sorted(min(cut, len(data)) for cut in cuts), len(data)]
        for start, stop in itertools.pairwise(borders):
            await caller.send(data[start:stop])
            await asyncio.sleep(0.0003)
        if end == "reset":
            reset(caller)
            return b""
        if end == "half-close":
            caller.writer.write_eof()
        async with asyncio.timeout(0.05 if end == "stay" else 3):
            while piece := await caller.reader.read(65536):
                said += piece
    except TimeoutError:
        assert end == "stay", "the server doesn't end it"
    except (OSError, RuntimeError):  # closed under us; the latter is how uvloop says so
        pass
    finally:
        caller.leave()
    return said


@pytest.mark.parametrize("loop", LOOPS)
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    words=WILD, cuts=CUTS, end=st.sampled_from(["stay", "half-close", "reset"]), how=st.sampled_from(["whole", "stream", "deaf"])
)  # fmt: skip
def test_any_bytes_end_in_answers_or_a_closed_connection(
    loop: str, words: list[bytes], cuts: list[int], end: str, how: str
) -> None:
    async def handler(asked: Asked) -> Any:
        if how == "deaf":
            return 200, b"deaf"
        if how == "whole":
            return 200, await asked.body()
        out = await asked.stream()
        while piece := await asked.chunk():
            await out.write(piece)
        await out.end()
        return out

    async def run() -> None:
        surprises: list[Any] = []
        asyncio.get_running_loop().set_exception_handler(lambda _, context: surprises.append(context))
        server = await Ours(handler).start()
        said = await feed(server, b"".join(words), cuts, end)
        assert said[:9] in (b"", b"HTTP/1.1 ") and b"HTTP/1.1 5" not in said
        again = await feed(server, GET.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"), [], "end")
        assert again.startswith(b"HTTP/1.1 200"), "it lives on"
        await server.end()
        await asyncio.sleep(0)
        assert not surprises, surprises
        assert server.begun - server.cancelled >= 0 and server.running == 0
        assert asyncio.all_tasks() == {asyncio.current_task()}

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(connection, "LINGERING_S", 0.02)
        with asyncio.Runner(loop_factory=LOOPS[loop]) as runner:
            runner.run(run())


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(requests=GOOD, cuts=CUTS, delay=st.booleans())
def test_good_requests_are_the_same_to_both_servers(requests: list[bytes], cuts: list[int], delay: bool) -> None:
    logging.getLogger("aiohttp").setLevel(logging.CRITICAL)

    async def run(kind: type[Served]) -> list[tuple[str, bytes]]:
        seen: list[tuple[str, bytes]] = []

        async def handler(asked: Asked) -> Any:
            if delay:
                await asyncio.sleep(0.001)
            seen.append((asked.method, await asked.body()))
            return 200, b""

        server = await kind(handler).start()
        data = b"".join(requests) + GET.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n")
        said = await feed(server, data, cuts, "end")
        await server.end()
        assert said.count(b"HTTP/1.1 200 OK") == len(requests) + 1
        return seen

    got = []
    for kind in (Ours, Theirs):
        with asyncio.Runner(loop_factory=LOOPS["uvloop"]) as runner:
            got.append(runner.run(run(kind)))
    assert got[0] == got[1]
    assert len(got[0]) == len(requests) + 1
