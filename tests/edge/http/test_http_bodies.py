"""Bodies that come slowly, early, late, too many, or that nobody wants."""

import asyncio
import time
from typing import Any

import pytest

from services.edge.http import connection, outgoing
from tests.edge.fakes import until
from tests.edge.http.http_kit import GET, HEAD, Asked, chunked, closed, echo, post

Serve = Any
MB = 1024 * 1024


async def test_pieces_reach_the_handler_as_they_come(serve: Serve) -> None:
    seen: asyncio.Queue[bytes] = asyncio.Queue()

    async def each(asked: Asked) -> tuple[int, bytes]:
        while piece := await asked.chunk():
            seen.put_nowait(piece)
        return 200, b"all"

    server = await serve(each)
    caller = await server.connect()
    await caller.send(HEAD + b"Content-Length: 9\r\n\r\n")
    for piece in (b"one", b"two", b"six"):
        await caller.send(piece)
        assert await asyncio.wait_for(seen.get(), 10) == piece
    assert (await caller.answer()).body == b"all"


@pytest.mark.parametrize("expect", [b"100-continue", b"100-Continue"])
async def test_a_client_that_waits_is_told_to_send_when_the_body_is_wanted(serve: Serve, expect: bytes) -> None:
    go = asyncio.Event()

    async def later(asked: Asked) -> tuple[int, bytes]:
        await go.wait()
        return 200, await asked.body()

    server = await serve(later)
    caller = await server.connect()
    for _ in range(2):
        go.clear()
        await caller.send(HEAD + b"Expect: " + expect + b"\r\nContent-Length: 5\r\n\r\n")
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(caller.reader.readexactly(1), 0.02)
        go.set()
        assert await caller.reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
        await caller.send(b"hello")
        assert (await caller.answer()).body == b"hello"


async def test_a_client_that_does_not_wait_after_all_is_not_told(serve: Serve) -> None:
    server = await serve(echo)
    caller = await server.connect()
    await caller.send(post(b"hello", b"Expect: 100-continue"))
    assert (await caller.answer()).status == 200


async def test_an_answer_before_the_body_came_keeps_the_connection_if_it_comes_soon(serve: Serve) -> None:
    async def early(asked: Asked) -> tuple[int, bytes]:
        return 200, asked.path.encode()

    server = await serve(early)
    caller = await server.connect()
    body = b"GET /smuggled HTTP/1.1\r\nHost: h\r\n\r\n" * 10
    for data in (post(body), chunked(body), chunked(body, body)):
        for cut in (data.index(b"\r\n\r\n") + 4, len(data) - 20, len(data) - 1):
            await caller.send(data[:cut])
            assert (await caller.answer()).body == b"/a"
            await caller.send(data[cut:] + GET.replace(b"/a", b"/next"))
            assert (await caller.answer()).body == b"/next"
    assert server.begun == 18


async def test_an_answer_before_the_body_came_ends_the_connection_if_it_never_comes(serve: Serve) -> None:
    async def early(asked: Asked) -> tuple[int, bytes]:
        return 200, b"early"

    server = await serve(early)
    caller = await server.connect()
    await caller.send(HEAD + b"Content-Length: 100\r\n\r\nx")
    assert (await caller.answer()).body == b"early"
    before = time.monotonic()
    assert await closed(caller)
    assert time.monotonic() - before < 1


async def test_an_early_answer_is_read_by_a_client_that_sends_all_first(serve: Serve) -> None:
    async def early(asked: Asked) -> tuple[int, bytes]:
        return 413, b"too much"

    server = await serve(early)
    caller = await server.connect()
    await caller.send(HEAD + b"Content-Length: %d\r\nConnection: close\r\n\r\n" % (20 * MB))
    for _ in range(20):
        await caller.send(bytes(MB))
    assert (await caller.answer()).body == b"too much"


async def test_what_is_thrown_away_is_bounded(ours: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    """aiohttp's is bounded by time alone."""
    monkeypatch.setattr(connection, "LINGERING_BYTES_MAX", MB)
    monkeypatch.setattr(connection, "LINGERING_S", 60)

    async def early(asked: Asked) -> tuple[int, bytes]:
        return 413, b""

    server = await ours(early)
    for close in (b"", b"Connection: close\r\n"):
        caller = await server.connect()
        sent = 0
        try:
            await caller.send(HEAD + close + b"Content-Length: %d\r\n\r\n" % (100 * MB))
            while sent < 100 * MB:
                await caller.send(bytes(MB))
                sent += MB
        except ConnectionError:
            pass
        assert sent < 30 * MB


@pytest.mark.parametrize("framing", ["length", "chunked"])
async def test_a_body_nobody_takes_stops_the_sender_and_then_goes_on(serve: Serve, framing: str) -> None:
    go = asyncio.Event()

    async def late(asked: Asked) -> tuple[int, bytes]:
        await go.wait()
        size = 0
        while piece := await asked.chunk():
            size += len(piece)
        return 200, b"%d" % size

    server = await serve(late)
    caller = await server.connect()
    size, sent = 40 * MB, 0
    data = HEAD + b"Content-Length: %d\r\n\r\n" % size if framing == "length" else chunked(end=b"")
    await caller.send(data)

    async def send() -> None:
        nonlocal sent
        while sent < size:
            await caller.send(bytes(MB) if framing == "length" else b"100000\r\n" + bytes(MB) + b"\r\n")
            sent += MB
        if framing == "chunked":
            await caller.send(b"0\r\n\r\n")

    sending = asyncio.create_task(send())
    stuck = -1
    while stuck != sent or not sent:
        stuck = sent
        await asyncio.sleep(0.1)
    assert sent < 20 * MB
    if server.is_ours:
        request = server.connection()._request
        assert request.buffered_bytes <= outgoing.BUFFERED_BYTES_HIGH + 256 * 1024
    go.set()
    await sending
    assert (await caller.answer()).body == b"%d" % size


@pytest.mark.parametrize("at_once", [True, False])
async def test_what_waits_behind_a_request_is_bounded(serve: Serve, at_once: bool) -> None:
    go = asyncio.Event()

    async def wait(asked: Asked) -> tuple[int, bytes]:
        await go.wait()
        return 200, b"%d" % len(await asked.body())

    server = await serve(wait)
    caller = await server.connect()
    caller.writer.write(GET)
    if not at_once:
        await until(lambda: server.running)
    caller.writer.write(post(bytes(20 * MB)) + GET)
    await until(lambda: server.running)
    await asyncio.sleep(0.2)
    if server.is_ours:
        found = server.connection()
        assert len(found._held) <= outgoing.HELD_BYTES_HIGH + 256 * 1024
        assert sum(r.buffered_bytes for r in found._queue) <= 256 * 1024
    assert caller.writer.transport.get_write_buffer_size() > 0
    go.set()
    assert [(await caller.answer()).body for _ in range(3)] == [b"0", b"%d" % (20 * MB), b"0"]
