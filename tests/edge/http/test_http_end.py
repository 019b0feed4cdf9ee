"""Deadlines between requests, and the end of the server. Ours alone: aiohttp has none for a head,
and ends otherwise.
"""

import asyncio
import socket
import threading
import time
from typing import Any

import pytest

from services.edge.http import connection, listener
from tests.edge.fakes import until
from tests.edge.http.http_kit import GET, HEAD, Asked, closed, echo, post

Serve = Any
NEXT = GET.replace(b"/a", b"/next")


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listener, "SWEEP_S", 0.02)
    monkeypatch.setattr(connection, "IDLE_S", 0.2)
    monkeypatch.setattr(connection, "HEAD_S", 0.4)


# ── deadlines ──


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize("before", [b"", b"\r\n", GET, post(b"x")])
async def test_an_idle_connection_is_closed_without_a_word(ours: Serve, before: bytes) -> None:
    server = await ours(echo)
    caller = await server.connect()
    await caller.send(before)
    if len(before) > 2:
        await caller.answer()
    since = time.monotonic()
    assert await closed(caller)
    assert 0.15 < time.monotonic() - since < 2


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize("start", [b"GET /", GET[:-2], GET + GET[:20], HEAD + b"X: "])
async def test_a_head_that_comes_too_slowly_is_a_408(ours: Serve, start: bytes) -> None:
    """However busy the client is with it."""
    server = await ours(echo)
    caller = await server.connect()
    await caller.send(start)
    since = time.monotonic()
    if start.startswith(GET):
        await caller.answer()

    async def trickle() -> None:
        while True:
            caller.writer.write(b"x" if start != GET[:-2] else b"X: y\r\n")
            await asyncio.sleep(0.03)

    trickling = asyncio.create_task(trickle())
    answer = await caller.answer()
    trickling.cancel()
    assert answer.status == 408
    assert 0.3 < time.monotonic() - since < 3
    assert await closed(caller)


@pytest.mark.usefixtures("impatient")
async def test_neither_a_handler_nor_a_body_has_such_a_deadline(ours: Serve) -> None:
    async def slow(asked: Asked) -> tuple[int, bytes]:
        body = await asked.body()
        await asyncio.sleep(0.5)
        return 200, body

    server = await ours(slow)
    caller = await server.connect()
    await caller.send(HEAD + b"Content-Length: 10\r\n\r\n")
    for _ in range(10):
        await caller.send(b"x")
        await asyncio.sleep(0.06)
    assert (await caller.answer()).body == b"x" * 10


@pytest.mark.usefixtures("impatient")
async def test_the_deadline_for_a_head_behind_a_request_begins_when_that_is_over(ours: Serve) -> None:
    async def slow(asked: Asked) -> tuple[int, bytes]:
        await asyncio.sleep(0.5 if asked.method == "GET" else 0)
        return 200, b""

    server = await ours(slow)
    caller = await server.connect()
    await caller.send(GET + post(b"")[:10])
    assert (await caller.answer()).status == 200
    await asyncio.sleep(0.1)
    await caller.send(post(b"")[10:])
    assert (await caller.answer()).status == 200


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize("ending", ["streams on", "in one piece", "and closes"])
async def test_who_does_not_read_is_cut_off_in_the_end(
    ours: Serve, ending: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection, "STALL_S", 0.3)
    ended = asyncio.Event()

    async def much(asked: Asked) -> Any:
        try:
            if ending != "streams on":
                return 200, bytes(16 * 1024 * 1024)
            out = await asked.stream()
            while True:
                await out.write(bytes(65_536))
        finally:
            ended.set()

    server = await ours(much)
    caller = await server.connect()
    caller.writer.transport.pause_reading()
    close = b"Connection: close\r\n" if ending == "and closes" else b""
    since = time.monotonic()
    await caller.send(GET[:-2] + close + b"\r\n")
    await asyncio.wait_for(ended.wait(), 5)
    await until(lambda: not server.listener.connections)
    assert 0.25 < time.monotonic() - since < 3


async def test_the_sweep_stops_when_nobody_is_there(ours: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listener, "SWEEP_S", 0.01)
    server = await ours(echo)
    caller = await server.connect()
    await until(lambda: server.listener._sweeper)
    caller.leave()
    await until(lambda: server.listener._sweeper is None)
    assert (await (await server.connect()).reader.read(0)) == b""
    await until(lambda: server.listener._sweeper)


# ── the end ──


async def test_after_stop_nobody_new_comes_in_and_every_answer_says_close(ours: Serve) -> None:
    server = await ours(echo)
    idle, busy = await server.connect(), await server.connect()
    await busy.send(HEAD + b"Content-Length: 4\r\n\r\n")
    await idle.send(GET)
    assert "connection" not in (await idle.answer()).headers
    server.listener.stop()
    with pytest.raises(ConnectionError):
        await server.connect()
    await busy.send(b"body")
    await idle.send(GET)  # on its way: served, and told that it was the last
    for caller, body in ((busy, b"POST /a [] body"), (idle, b"GET /a [] ")):
        answer = await caller.answer()
        assert (answer.body, answer.headers["connection"]) == (body, "close")
        assert await closed(caller)


def streams_until(go: asyncio.Event, rest: bytes = b"") -> Any:
    """A stream that begins at once and ends, after `rest`, when it may; /next is answered whole."""

    async def stream(asked: Asked) -> Any:
        if asked.path == "/next":
            return 200, b"next"
        out = await asked.stream()
        await go.wait()
        if rest:
            await out.write(rest)
        await out.end()
        return out

    return stream


async def test_a_stream_that_was_begun_before_the_end_is_finished_and_so_is_what_was_pipelined(ours: Serve) -> None:
    go = asyncio.Event()

    server = await ours(streams_until(go, b"rest"))
    caller = await server.connect()
    await caller.send(GET + NEXT)
    await until(lambda: server.running)
    draining = asyncio.create_task(server.listener.drain(5))
    await asyncio.sleep(0.02)
    assert not draining.done()
    go.set()
    answer = await caller.answer()
    assert answer.body == b"rest" and "connection" not in answer.headers
    answer = await caller.answer()
    assert (answer.body, answer.headers["connection"]) == (b"next", "close")
    assert await closed(caller)
    assert await draining


async def test_drain_closes_what_is_idle_at_once_and_waits_for_the_rest(ours: Serve) -> None:
    let = asyncio.Event()

    async def slow(asked: Asked) -> tuple[int, bytes]:
        await let.wait()
        return 200, b"done"

    server = await ours(slow)
    idle, busy, begun = [await server.connect() for _ in range(3)]
    await busy.send(GET)
    await begun.send(GET[:20])
    await until(lambda: server.running)
    draining = asyncio.create_task(server.listener.drain(5))
    assert await closed(idle)
    let.set()
    await begun.send(GET[20:])  # a request that was on its way
    assert [(await caller.answer()).body for caller in (busy, begun)] == [b"done", b"done"]
    assert await draining
    assert not server.listener.connections


async def test_a_request_that_arrives_with_the_drain_is_served(ours: Serve) -> None:
    """A hundred clients that send as it happens: each is answered, or closed without having been
    heard.
    """
    server = await ours(echo)
    callers = [await server.connect() for _ in range(100)]
    for caller in callers:
        caller.writer.write(GET)
    assert await server.listener.drain(5)
    for caller in callers:
        assert (await caller.answer()).headers["connection"] == "close"


async def test_who_was_not_told_of_the_end_can_use_its_connection_once_more(ours: Serve) -> None:
    """A stream that began before the end has promised that the connection goes on; so has the
    answer before an idle one.
    """
    go = asyncio.Event()

    server = await ours(streams_until(go))
    streaming, idle, silent = [await server.connect() for _ in range(3)]
    await streaming.send(GET)
    await idle.send(NEXT)
    assert "connection" not in (await idle.answer()).headers
    await until(lambda: server.running)
    draining = asyncio.create_task(server.listener.drain(5, 0.5))
    await until(lambda: server.listener.drain_idle_s)
    go.set()
    assert "connection" not in (await streaming.answer()).headers
    await asyncio.sleep(0.1)  # sweeps go by
    for caller in (streaming, idle):
        await caller.send(NEXT)
        answer = await caller.answer()
        assert (answer.body, answer.headers["connection"]) == (b"next", "close")
        assert await closed(caller)
    assert not draining.done()
    assert await closed(silent), "idle for long enough"
    assert await draining


async def test_no_connection_that_was_made_is_reset_by_the_end(ours: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    """Clients that connect all the time, while the port closes: each is answered or wasn't let
    in.
    """
    server = await ours(echo)
    accept_all = server.listener._accept_all

    def accept_all_slowly(listening: socket.socket) -> None:
        accept_all(listening)
        time.sleep(0.05)  # between the last look into the queue and its end

    monkeypatch.setattr(server.listener, "_accept_all", accept_all_slowly)
    over, let_in = threading.Event(), list[socket.socket]()

    def calling() -> None:
        while not over.wait(0.002):
            tcp = socket.socket()
            tcp.settimeout(0.3)
            try:
                tcp.connect(("127.0.0.1", server.port))
            except OSError:
                tcp.close()
                continue
            let_in.append(tcp)
            tcp.sendall(GET)

    thread = asyncio.create_task(asyncio.to_thread(calling))
    try:
        await until(lambda: len(let_in) > 5)
        drained = await server.listener.drain(5, 0.3)
    finally:
        over.set()  # else a failure leaves a thread that nobody ends, and the whole run waits for it
    await thread
    assert drained
    for tcp in let_in:
        with tcp:
            assert tcp.recv(65_536).startswith(b"HTTP/1.1 200")


async def test_the_end_waits_for_whom_only_the_kernel_has_let_in(ours: Serve) -> None:
    server = await ours(echo)
    with socket.socket() as tcp:
        tcp.settimeout(1)
        tcp.connect(("127.0.0.1", server.port))  # blocks the loop: it hasn't heard of it
        tcp.sendall(GET)
        assert await server.listener.drain(5)
        assert tcp.recv(65_536).startswith(b"HTTP/1.1 200"), "the loop doesn't run any more"


async def test_nobody_is_let_in_while_handshakes_end(ours: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither refused nor let in: who tries again in a second is refused then."""
    monkeypatch.setattr(listener, "HANDSHAKES_S", 60)
    server = await ours(echo)
    server.listener.stop()
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(server.connect(), 0.2)


async def test_a_client_that_never_ends_its_head_does_not_hold_up_the_end(
    ours: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(listener, "SWEEP_S", 0.02)
    monkeypatch.setattr(connection, "HEAD_STOPPING_S", 0.1)
    server = await ours(echo)
    caller = await server.connect()
    await caller.send(GET[:20])
    await asyncio.sleep(0.01)
    since = time.monotonic()
    assert await server.listener.drain(5)
    assert time.monotonic() - since < 1.5


@pytest.mark.parametrize("where", ["handled", "body", "stream", "unread", "lingering"])
async def test_what_outlives_the_drain_is_cut(ours: Serve, monkeypatch: pytest.MonkeyPatch, where: str) -> None:
    monkeypatch.setattr(connection, "LINGERING_S", 60)
    cleaned = 0

    async def slow(asked: Asked) -> Any:
        nonlocal cleaned
        try:
            if where == "body":
                await asked.body()
            elif where == "stream":
                out = await asked.stream()
                await out.write(b"begun")
            elif where in ("unread", "lingering"):
                return 200, bytes(20_000_000 if where == "unread" else 0)
            await asyncio.sleep(60)
        finally:
            await asyncio.sleep(0.01)
            cleaned += 1

    server = await ours(slow)
    caller = await server.connect()
    caller.writer.transport.pause_reading()
    await caller.send(HEAD + b"Content-Length: 9\r\n\r\n" if where in ("body", "lingering") else GET)
    await until(lambda: server.begun)
    assert not await server.listener.drain(0.05)
    assert cleaned == (where in ("unread", "lingering"))
    await server.listener.close()
    assert cleaned == 1 and server.running == 0
    assert not server.listener.connections


async def test_a_handler_that_will_not_end_does_not_hold_up_the_end(ours: Serve) -> None:
    let = asyncio.Event()

    async def stubborn(asked: Asked) -> tuple[int, bytes]:
        while not let.is_set():
            try:
                await let.wait()
            except asyncio.CancelledError:
                pass
        return 200, b""

    server = await ours(stubborn)
    caller = await server.connect()
    await caller.send(GET)
    await until(lambda: server.running)
    since = time.monotonic()
    await server.listener.close(0.1)
    assert time.monotonic() - since < 1
    let.set()
    await until(lambda: not server.listener.connections)
