"""Clients that leave, at every step and in every way: the handler is cancelled once, and nothing is
left.
"""

import asyncio
from typing import Any

import pytest

from tests.edge.fakes import Caller_, until
from tests.edge.http.http_kit import GET, HEAD, Asked, chunked, closed, echo, post, reset

Serve = Any
MB = 1024 * 1024


def leave(caller: Caller_, how: str) -> None:
    if how == "reset":
        reset(caller)
    elif how == "half-close":
        caller.writer.write_eof()
    else:
        caller.leave()


WAYS = pytest.mark.parametrize("how", ["close", "reset", "half-close"])


@WAYS
@pytest.mark.parametrize(
    "data", [b"", b"P", HEAD, b"\r\n", GET[:-1]], ids=["nothing", "a byte", "half", "crlf", "nearly"]
)
async def test_before_the_head_is_whole_no_handler_begins(serve: Serve, how: str, data: bytes) -> None:
    server = await serve(echo)
    caller = await server.connect()
    await caller.send(data)
    await asyncio.sleep(0.005)
    leave(caller, how)
    assert await closed(caller) if how == "half-close" else True
    await asyncio.sleep(0.01)
    assert server.begun == 0
    if server.is_ours:
        assert not server.listener.connections


@WAYS
@pytest.mark.parametrize("step", ["in the body", "while handled", "while handled, and more came", "in a stream"])
async def test_a_running_handler_is_cancelled_once(serve: Serve, how: str, step: str) -> None:
    reached = asyncio.Event()
    cleaned = 0

    async def slow(asked: Asked) -> Any:
        nonlocal cleaned
        try:
            if step == "in a stream":
                out = await asked.stream()
                await out.write(b"some")
            reached.set()
            if step == "in the body":
                await asked.body()
            await asyncio.sleep(60)
        finally:
            await asyncio.sleep(0)  # cleaning up takes its time
            await asyncio.sleep(0)
            cleaned += 1

    server = await serve(slow)
    caller = await server.connect()
    await caller.send(HEAD + b"Content-Length: 50\r\n\r\n{" if step == "in the body" else GET)
    await asyncio.wait_for(reached.wait(), 10)
    if step.endswith("came"):
        await caller.send(GET + post(b"x") + GET[:10])
        await asyncio.sleep(0.005)
    leave(caller, how)
    await until(lambda: server.running == 0)
    await asyncio.sleep(0.02)
    assert (server.begun, server.cancelled, cleaned) == (1, 1, 1)
    if server.is_ours:
        assert not server.listener.connections


@WAYS
async def test_a_writer_that_waits_for_a_client_is_cancelled_when_it_leaves(serve: Serve, how: str) -> None:
    written = 0

    async def flood(asked: Asked) -> Any:
        nonlocal written
        out = await asked.stream()
        while True:
            await out.write(bytes(65_536))
            written += 65_536

    server = await serve(flood)
    caller = await server.connect()
    caller.writer.transport.pause_reading()
    await caller.send(GET)
    stuck = -1
    while stuck != written or not written:
        stuck = written
        await asyncio.sleep(0.05)
    assert written < 20 * MB
    leave(caller, how)
    if how == "half-close" and not server.is_ours:
        caller.leave()  # aiohttp waits until the client has read
    await until(lambda: server.running == 0)
    if server.is_ours:
        assert server.cancelled == 1
    caller.leave()


async def test_a_whole_answer_that_a_client_does_not_read_ends_with_it(serve: Serve) -> None:
    async def large(asked: Asked) -> tuple[int, bytes]:
        return 200, bytes(20 * MB)

    server = await serve(large)
    caller = await server.connect()
    caller.writer.transport.pause_reading()
    await caller.send(GET + GET)
    await asyncio.sleep(0.1)
    assert server.begun == 1, "the next waits until the client has taken this one"
    reset(caller)
    await asyncio.sleep(0.02)
    if server.is_ours:
        assert not server.listener.connections


async def test_a_slow_reader_gets_all_of_it(serve: Serve) -> None:
    async def large(asked: Asked) -> Any:
        if asked.path == "/whole":
            return 200, b"x" * (5 * MB)
        out = await asked.stream()
        for _ in range(50):
            await out.write(b"y" * 100_000)
        await out.end()
        return out

    server = await serve(large)
    caller = await server.connect()
    await caller.send(GET.replace(b"/a", b"/whole") + GET + GET.replace(b"/a", b"/whole"))
    await asyncio.sleep(0.1)
    for body in (b"x" * (5 * MB), b"y" * 5_000_000, b"x" * (5 * MB)):
        assert (await caller.answer()).body == body
        await asyncio.sleep(0.02)


async def test_writing_to_a_client_that_has_gone_is_a_connection_error(serve: Serve) -> None:
    """Also before the handler is cancelled for it."""

    async def cut(asked: Asked) -> Any:
        out = await asked.stream()
        asked.inner.abort() if server.is_ours else asked.inner.transport.abort()
        for _ in range(3):
            await out.write(b"x")

    server = await serve(cut)
    caller = await server.connect()
    await caller.send(GET)
    await until(lambda: server.begun and server.running == 0)
    assert len(server.raised) + server.cancelled == 1


async def test_a_handler_may_shut_its_eyes_to_a_cancellation_for_a_moment(ours: Serve) -> None:
    """It answers into the void, once."""
    done = asyncio.Event()

    async def stubborn(asked: Asked) -> tuple[int, bytes]:
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            pass
        await asyncio.sleep(0.01)
        done.set()
        return 200, b"nobody"

    server = await ours(stubborn)
    caller = await server.connect()
    await caller.send(GET)
    await until(lambda: server.running)
    caller.leave()
    await asyncio.wait_for(done.wait(), 10)
    await asyncio.sleep(0)
    assert not server.listener.connections


async def test_one_that_comes_and_goes_in_one_moment_is_not_handled_or_cancelled(ours: Serve) -> None:
    async def slow(asked: Asked) -> tuple[int, bytes]:
        await asyncio.sleep(60)
        return 200, b""

    server = await ours(slow)
    for _ in range(50):
        caller = await server.connect()
        caller.writer.write(GET)
        caller.writer.write_eof()
    await asyncio.sleep(0.1)
    assert server.running == 0 and server.begun == server.cancelled
    assert not server.listener.connections


async def test_one_that_goes_before_its_handler_has_begun_leaves_nothing(ours: Serve) -> None:
    """In one turn of the loop, as when the whole request and the end are in the socket together."""
    server = await ours(echo)
    caller = await server.connect()
    await until(lambda: server.listener.connections)
    found = server.connection()
    found.data_received(GET)
    found.eof_received()
    found.abort()
    await until(lambda: not server.listener.connections)
    assert server.begun == 0
    assert await closed(caller)


async def test_what_a_half_closed_client_had_coming_is_delivered(serve: Serve) -> None:
    """Its answer was written already, and it reads slowly."""

    async def large(asked: Asked) -> tuple[int, bytes]:
        return 200, bytes(10 * MB)

    server = await serve(large)
    caller = await server.connect()
    await caller.send(GET)
    head = await caller.head()
    caller.writer.write_eof()
    await asyncio.sleep(0.05)
    assert len(await caller.reader.readexactly(int(head.headers["content-length"]))) == 10 * MB
    assert await closed(caller)


async def test_half_an_answer_is_cut_off(ours: Serve) -> None:
    async def half(asked: Asked) -> Any:
        out = await asked.stream()
        await out.write(b"half")
        if asked.path == "/another":
            return 500, b"another"
        if asked.path == "/unended":
            return out
        raise RuntimeError("the handler's own")

    server = await ours(half)
    asyncio.get_running_loop().set_exception_handler(lambda *_: None)
    for path in (b"/another", b"/unended", b"/raises"):
        said = await server.said(GET.replace(b"/a", path))
        assert not said or (said.startswith(b"HTTP/1.1 200") and not said.endswith(b"0\r\n\r\n")), said
        assert b"another" not in said and b"Traceback" not in said


async def test_a_request_behind_one_that_was_cut_is_never_handled(ours: Serve) -> None:
    async def cut(asked: Asked) -> tuple[int, bytes]:
        asked.inner.abort()
        return 200, b""

    server = await ours(cut)
    assert await server.said(GET + GET + chunked(b"x")) == b""
    assert server.begun == 1
