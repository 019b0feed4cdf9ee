"""Deadlines, resets, cancellation: how an exchange ends when it doesn't end well."""

import asyncio
import socket
from collections.abc import Callable

import pytest

from services.edge.upstream import Client, Deadlines, Origin, UpstreamError
from tests.edge.upstream.upstream_kit import HEAD, OK, QUICK, Make, Peer, Server, answers, call, refused

AT_ONCE_S = 0.25
"""A few ms, in truth; the rest is for a busy machine."""


# ── deadlines ──


async def test_silence_before_the_head_ends_at_the_first_byte_deadline(make: Make) -> None:
    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(b"HTTP/1.1 200 O")  # a started head isn't a head
        await peer.gone(1)

    async with Server(script) as server:
        error = await refused(make(), server, Deadlines(first_byte_ms=80))
        assert (error.kind, error.safe_to_retry) == ("timeout", False)


async def test_silence_in_the_body_ends_at_the_idle_deadline(make: Make) -> None:
    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(HEAD + b"some")
        await peer.gone(1)

    async with Server(script) as server:
        assert (await refused(make(), server, Deadlines(idle_ms=80))).kind == "timeout"


async def test_a_slow_body_is_read_as_long_as_it_moves(make: Make) -> None:
    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 12\r\n\r\n")
        for _ in range(12):
            await asyncio.sleep(0.03)
            await peer.send(b"x")

    async with Server(script) as server:
        assert await call(make(), server, Deadlines(idle_ms=250)) == b"x" * 12  # 360 ms in all


async def test_a_body_that_drips_ends_at_the_total_deadline(make: Make) -> None:
    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(HEAD)
        for _ in range(100):
            await peer.send(b"x")
            await asyncio.sleep(0.02)

    async with Server(script) as server:
        started = asyncio.get_running_loop().time()
        assert (await refused(make(), server, Deadlines(idle_ms=100, total_ms=200))).kind == "timeout"
        assert 0.15 < asyncio.get_running_loop().time() - started < 1.5


async def test_time_in_which_nobody_reads_is_not_the_upstreams(ours: Callable[..., Client]) -> None:
    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\na")
        await asyncio.sleep(0.25)
        await peer.send(b"b")

    async with Server(script) as server:
        response = await ours().send(server.origin, "POST", "/", [], b"", Deadlines(idle_ms=180))
        assert await response.next_chunk() == b"a"
        await asyncio.sleep(0.2)
        assert await response.next_chunk() == b"b"


async def test_the_first_byte_deadline_ends_with_the_head(ours: Callable[..., Client]) -> None:
    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\na")
        await asyncio.sleep(0.35)
        await peer.send(b"b")

    async with Server(script) as server:
        response = await ours().send(server.origin, "POST", "/", [], b"", Deadlines(first_byte_ms=200))
        await asyncio.sleep(0.3)
        assert await response.read(10) == b"ab"


async def test_a_response_that_nobody_reads_is_closed_at_the_total_deadline(ours: Callable[..., Client]) -> None:
    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(HEAD)
        await peer.gone(1)

    client = ours()
    async with Server(script) as server:
        response = await client.send(server.origin, "POST", "/", [], b"", Deadlines(total_ms=200))
        await asyncio.sleep(0.3)
        assert client.open == 0
        with pytest.raises(UpstreamError):
            await response.next_chunk()


async def test_an_earlier_deadline_replaces_a_pending_later_one_on_a_kept_connection(
    ours: Callable[..., Client],
) -> None:
    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(OK)
        await peer.request()
        await peer.gone(1)

    client = ours()
    async with Server(script) as server:
        assert await call(client, server, Deadlines(first_byte_ms=60_000)) == b"ok"
        assert (await refused(client, server, Deadlines(first_byte_ms=80))).kind == "timeout"
        assert client.created == 1


async def test_connecting_ends_at_the_connect_deadline(make: Make) -> None:
    full = socket.socket()
    full.bind(("127.0.0.1", 0))
    full.listen(0)
    fillers = [socket.socket() for _ in range(4)]
    for filler in fillers:
        filler.setblocking(False)
        filler.connect_ex(full.getsockname())
    try:
        origin = Origin("http", "127.0.0.1", full.getsockname()[1])
        client = make()
        with pytest.raises(UpstreamError) as caught:
            await client.send(origin, "POST", "/", [], b"", Deadlines(connect_ms=80))
        assert caught.value.kind == "timeout"
        assert caught.value.safe_to_retry or not isinstance(client, Client)
    finally:
        for each in (full, *fillers):
            each.close()


async def test_a_tls_handshake_without_an_answer_ends_at_the_connect_deadline(ours: Callable[..., Client]) -> None:
    async def script(peer: Peer) -> None:
        await peer.gone(1)

    client = ours()
    async with Server(script) as server:
        origin = Origin("https", "127.0.0.1", server.port)
        with pytest.raises(UpstreamError) as caught:
            await client.send(origin, "POST", "/", [], b"", Deadlines(connect_ms=100))
        assert (caught.value.kind, caught.value.safe_to_retry, client.open) == ("timeout", True, 0)


# ── resets ──


async def test_nobody_listening_is_a_connect_error_and_safe_to_retry(make: Make) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        client = make()
        with pytest.raises(UpstreamError) as caught:
            await client.send(Origin("http", "127.0.0.1", unused.getsockname()[1]), "POST", "/", [], b"", QUICK)
    assert caught.value.kind == "connect"
    assert caught.value.safe_to_retry or not isinstance(client, Client)


async def test_a_name_that_does_not_resolve_is_a_connect_error(make: Make) -> None:
    client = make()
    hosts = ["no-such-host.invalid"]
    if isinstance(client, Client):
        hosts.append("a" * 70 + ".invalid")  # aiohttp: UnicodeError
    for host in hosts:
        with pytest.raises(UpstreamError) as caught:
            await client.send(Origin("http", host, 80), "POST", "/", [], b"", QUICK)
        assert caught.value.kind == "connect"


@pytest.mark.parametrize("step", ["accepted", "head read", "request read", "in the head", "in the body", "in a chunk"])
async def test_a_reset_at_any_step_is_an_error_that_is_not_safe_to_retry(make: Make, step: str) -> None:
    async def script(peer: Peer) -> None:
        if step == "head read":
            await peer.reader.readuntil(b"\r\n\r\n")
        elif step != "accepted":
            await peer.request()
        if step == "in the head":
            await peer.send(b"HTTP/1.1 200 OK\r\nContent-")
        elif step == "in the body":
            await peer.send(HEAD, b"some")
        elif step == "in a chunk":
            await peer.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"5\r\nab")
        peer.reset()

    client = make()
    async with Server(script) as server:
        error = await refused(client, server, body=b"x" * 500_000)
        assert error.kind in ("reset", "connect")
        if isinstance(client, Client) and step != "accepted":
            assert (error.kind, error.safe_to_retry) == ("reset", False)
        if isinstance(client, Client):
            assert client.open == 0
        assert server.connections == 1  # not repeated


# ── cancellation ──


@pytest.mark.parametrize("step", ["sending", "head", "body", "read"])
async def test_cancelling_closes_the_connection_at_once(make: Make, step: str) -> None:
    reached, gone = asyncio.Event(), asyncio.Event()

    async def script(peer: Peer) -> None:
        if step == "sending":
            await peer.reader.readexactly(10)
            reached.set()
            peer.reader._limit = 1  # type: ignore[attr-defined]  # stop reading: the client's writing is paused
            await asyncio.sleep(0.05)
            await peer.gone(1)
        else:
            await peer.request()
            if step != "head":
                await peer.send(HEAD + b"some")
            reached.set()
            await peer.gone(1)
        gone.set()

    client = make()
    async with Server(script) as server:

        async def work() -> None:
            body = b"x" * (20_000_000 if step == "sending" else 2)
            response = await client.send(server.origin, "POST", "/", [], body, QUICK)
            if step == "body":
                while await response.next_chunk():
                    pass
            await response.read(1 << 20)

        task = asyncio.create_task(work())
        await reached.wait()
        await asyncio.sleep(0.02)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        if isinstance(client, Client):
            assert client.open == 0
        async with asyncio.timeout(AT_ONCE_S if step != "sending" else 1):
            await gone.wait()


async def test_cancelling_a_tls_handshake_closes_the_connection_at_once(ours: Callable[..., Client]) -> None:
    reached, gone = asyncio.Event(), asyncio.Event()

    async def script(peer: Peer) -> None:
        await peer.reader.readexactly(10)
        reached.set()
        await peer.gone(1)
        gone.set()

    client = ours()
    async with Server(script) as server:
        send = client.send(Origin("https", "127.0.0.1", server.port), "POST", "/", [], b"", QUICK)
        task = asyncio.create_task(send)
        await reached.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert client.open == 0
        async with asyncio.timeout(AT_ONCE_S):
            await gone.wait()


async def test_abort_closes_now_wakes_the_reader_and_may_be_repeated(ours: Callable[..., Client]) -> None:
    gone = asyncio.Event()

    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(HEAD)
        await peer.gone(1)
        gone.set()

    client = ours()
    async with Server(script) as server:
        response = await client.send(server.origin, "POST", "/", [], b"", QUICK)
        reader = asyncio.create_task(response.next_chunk())
        await asyncio.sleep(0)
        response.abort()
        response.abort()
        assert client.open == 0
        with pytest.raises(UpstreamError) as caught:
            await reader
        assert caught.value.kind == "reset"
        async with asyncio.timeout(AT_ONCE_S):
            await gone.wait()


async def test_leaving_the_chunks_early_closes_the_connection(ours: Callable[..., Client]) -> None:
    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(HEAD + b"some")
        await peer.gone(1)

    client = ours()
    async with Server(script) as server:
        response = await client.send(server.origin, "POST", "/", [], b"", QUICK)
        chunks = response.chunks()
        assert await anext(chunks) == b"some"
        await chunks.aclose()  # type: ignore[attr-defined]
        assert client.open == 0


async def test_aborting_a_complete_response_leaves_its_connection_alone(ours: Callable[..., Client]) -> None:
    client = ours()
    async with Server(answers(OK)) as server:
        first = await client.send(server.origin, "POST", "/", [], b"", QUICK)
        while client.idle != 1:
            await asyncio.sleep(0)
        second = asyncio.create_task(client.send(server.origin, "POST", "/", [], b"", QUICK))
        await asyncio.sleep(0)
        first.abort()
        assert await (await second).read(10) == b"ok"
        assert client.created == 1
