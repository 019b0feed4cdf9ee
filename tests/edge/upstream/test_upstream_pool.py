"""Which connection serves which request: reuse, limits, back-pressure. Counters are exact at each
step.
"""

import asyncio
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest

from services.edge.upstream import Client, Deadlines, Response, UpstreamError
from services.edge.upstream.connection import BUFFERED_BYTES_HIGH, UpstreamConnection
from tests.edge.upstream.upstream_kit import OK, QUICK, Peer, Server, answers, call, until

Make = Callable[..., Any]
Ours = Callable[..., Client]


# ── reuse ──


async def test_one_connection_serves_one_request_after_the_other(make: Make) -> None:
    client = make()
    async with Server(answers(OK)) as server:
        for _ in range(10):
            assert await call(client, server) == b"ok"
        assert server.connections == 1
        if isinstance(client, Client):
            assert (client.open, client.idle, client.created, client.reused) == (1, 1, 1, 9)


async def test_the_last_used_connection_is_used_first(ours: Ours) -> None:
    served: list[int] = []

    async def script(peer: Peer) -> None:
        while True:
            await peer.request()
            served.append(peer.number)
            await asyncio.sleep(0.02 * peer.number)
            await peer.send(OK)

    client = ours()
    async with Server(script) as server:
        await asyncio.gather(*(call(client, server) for _ in range(3)))
        served.clear()
        await call(client, server)
        await call(client, server)
        assert len(set(served)) == 1 and client.idle == 3
        assert served[0] == 3  # the slowest came back last


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok",
        b"HTTP/1.1 200 OK\r\nConnection: x, Close\r\nContent-Length: 2\r\n\r\nok",
        b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok",
        b"HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
    ],
)
async def test_a_connection_that_the_server_wont_keep_is_not_reused(make: Make, answer: bytes) -> None:
    client = make()
    async with Server(answers(answer)) as server:  # the server itself leaves it open
        for _ in range(3):
            assert await call(client, server) == b"ok"
        assert server.connections == 3
        if isinstance(client, Client):
            assert (client.open, client.idle) == (0, 0)


async def test_http_1_0_with_keep_alive_is_reused(make: Make) -> None:
    client = make()
    async with Server(answers(b"HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 2\r\n\r\nok")) as server:
        for _ in range(3):
            assert await call(client, server) == b"ok"
        assert server.connections == 1


@pytest.mark.parametrize("extra", [b"x", b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil", b"\r\nHTTP"])
@pytest.mark.parametrize("later", [False, True], ids=["with the answer", "later"])
async def test_bytes_after_a_response_never_become_the_next_ones(ours: Ours, extra: bytes, later: bool) -> None:
    """Ours only: aiohttp 3.14 hands an answer that came unasked to the next request."""

    async def script(peer: Peer) -> None:
        while True:
            await peer.request()
            await (peer.send(OK, extra) if later else peer.send(OK + extra))

    client = ours()
    async with Server(script) as server:
        for _ in range(3):
            assert await call(client, server) == b"ok"
            await until(lambda: (client.open, client.idle) == (0, 0))
        assert server.connections == 3


async def test_a_server_that_closes_an_idle_connection_takes_it_out_of_the_pool(make: Make) -> None:
    client = make()
    async with Server(answers(OK, close=True)) as server:
        for _ in range(3):
            assert await call(client, server) == b"ok"
            await (
                until(lambda: client.open == client.idle == 0) if isinstance(client, Client) else asyncio.sleep(0.05)
            )
        assert server.connections == 3


async def test_a_close_that_the_loop_has_not_reported_yet_is_seen_before_writing(ours: Ours) -> None:
    close, closed = threading.Event(), threading.Event()

    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(OK)
        await asyncio.to_thread(close.wait, 5)
        if peer.number == 1:
            peer.writer.close()
            await peer.writer.wait_closed()
            closed.set()

    started: asyncio.Queue[Any] = asyncio.Queue()
    loop = asyncio.get_running_loop()
    stop = threading.Event()

    def elsewhere() -> None:
        async def main() -> None:
            async with Server(script) as server:
                loop.call_soon_threadsafe(started.put_nowait, server)
                await asyncio.to_thread(stop.wait, 10)

        asyncio.run(main())

    thread = threading.Thread(target=elsewhere)
    thread.start()
    try:
        client = ours()
        server = await started.get()
        assert await call(client, server) == b"ok"
        time.sleep(0.06)  # our loop stands still while the server closes
        close.set()
        closed.wait(2)
        assert client.idle == 1
        assert await call(client, server) == b"ok"
        assert (server.connections, client.created, client.reused) == (2, 2, 0)
    finally:
        close.set()
        stop.set()
        await asyncio.to_thread(thread.join, 5)


async def test_a_kept_connection_that_was_closed_under_a_request_costs_nobody_a_call(ours: Ours) -> None:
    requests = 0

    async def script(peer: Peer) -> None:
        nonlocal requests
        await peer.request()
        requests += 1
        await peer.send(OK)
        await peer.request()
        requests += 1  # the connection ends, without a byte of a response

    client = ours()
    async with Server(script) as server:
        for _ in range(3):
            assert await call(client, server) == b"ok"
        assert (requests, server.connections, client.open) == (5, 3, 1)


@pytest.mark.parametrize("said", [b"", b"HTTP/1.1 200 OK\r\n"])
async def test_a_connection_lost_under_its_first_request_or_in_a_response_is_not_tried_again(
    ours: Ours, said: bytes
) -> None:
    requests = 0

    async def script(peer: Peer) -> None:
        nonlocal requests
        if said:
            await peer.request()
            await peer.send(OK)
        await peer.request()
        requests += 1  # who knows what it did with it
        await peer.send(said)

    client = ours()
    async with Server(script) as server:
        if said:
            assert await call(client, server) == b"ok"
        with pytest.raises(UpstreamError) as caught:
            await call(client, server)
        error = caught.value
        assert (error.kind, error.safe_to_retry, error.nothing_came) == ("reset", False, not said)
        await asyncio.sleep(0.02)
        assert (requests, server.connections, client.open) == (1, 1, 0)


async def test_connections_end_by_requests_by_age_and_by_idleness(ours: Ours) -> None:
    async with Server(answers(OK)) as server:
        by_requests = ours(requests_per_connection_max=3)
        for _ in range(7):
            await call(by_requests, server)
        assert by_requests.created == 3

        by_age = ours(connection_age_s_max=0.05)
        await call(by_age, server)
        await asyncio.sleep(0.07)
        await call(by_age, server)  # used once more, perhaps, but not kept
        assert by_age.idle == 0 or by_age.created == 2

        by_idleness = ours(idle_seconds_max=0.08)
        await call(by_idleness, server)
        assert by_idleness.idle == 1
        await until(lambda: by_idleness.open == 0)
        assert not by_idleness._pools


async def test_no_more_than_the_limit_stays_idle(ours: Ours) -> None:
    client = ours(idle_connections_max=2)
    async with Server(answers(OK)) as server:
        await asyncio.gather(*(call(client, server) for _ in range(5)))
        assert (client.created, client.idle, client.open) == (5, 2, 2)


async def test_origins_do_not_share_connections(ours: Ours) -> None:
    client = ours()
    async with Server(answers(OK)) as one, Server(answers(OK)) as other:
        await call(client, one)
        await call(client, other)
        assert (client.created, client.reused) == (2, 0)


# ── back-pressure ──


@pytest.mark.parametrize("tls", [False, True], ids=["plain", "tls"])
async def test_a_slow_reader_stops_the_server(make: Make, authority: Any, tls: bool) -> None:
    size = 50_000_000 if not tls else 12_000_000
    sent = 0

    async def script(peer: Peer) -> None:
        nonlocal sent
        await peer.request()
        peer.writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size)
        piece = bytes(100_000)
        while sent < size:
            peer.writer.write(piece)
            await peer.writer.drain()
            sent += len(piece)
        await peer.gone(10)

    client = make(ssl_context=authority.client())
    context = authority.server("127.0.0.1") if tls else None
    async with Server(script, tls=context) as server, asyncio.timeout(20):
        deadlines = Deadlines(idle_ms=5_000, total_ms=20_000)
        response = await client.send(server.origin, "POST", "/", [], b"", deadlines)
        held = -1
        while held != sent:  # until it stands still
            held = sent
            await asyncio.sleep(0.15)
        assert 0 < held < 11_000_000  # what the sockets' buffers take, and no more
        total = 0
        for _ in range(5):
            if isinstance(client, Client):
                assert response.buffered_bytes <= BUFFERED_BYTES_HIGH + 256 * 1024
            total += len(await response.next_chunk())
            await asyncio.sleep(0.01)
        while chunk := await response.next_chunk():
            total += len(chunk)
        assert total == size
        if isinstance(client, Client):
            assert client.idle == 1


async def test_a_paused_connection_that_completes_is_read_again_when_idle(ours: Ours) -> None:
    """Else the server's close would go unseen."""
    size = 2 * BUFFERED_BYTES_HIGH

    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size + bytes(size))

    client = ours()
    async with Server(script) as server:
        response = await client.send(server.origin, "POST", "/", [], b"", QUICK)
        await asyncio.sleep(0.05)
        assert len(await response.read(size)) == size
        await until(lambda: client.open == 0)


async def test_an_origin_may_be_given_again_after_its_pool_was_forgotten(ours: Ours) -> None:
    client = ours()
    async with Server(answers(OK, close=True)) as server:
        for _ in range(2):
            assert await call(client, server) == b"ok"
            await until(lambda: not client._pools)


# ── the end of a request that is still leaving when its answer is complete ──


class FakeTransport:
    """Takes everything, sends nothing."""

    aborted = False

    def get_extra_info(self, name: str) -> None:
        return None

    def is_closing(self) -> bool:
        return self.aborted

    def write(self, data: bytes) -> None:
        pass

    def abort(self) -> None:
        self.aborted = True


class Pool:
    def __init__(self) -> None:
        self.events: list[str] = []

    def released(self, connection: UpstreamConnection) -> None:
        self.events.append("released")

    def closed(self, connection: UpstreamConnection) -> None:
        self.events.append("closed")


@pytest.mark.parametrize("leaves", [True, False])
async def test_a_connection_is_released_when_its_request_has_left_and_not_before(
    leaves: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("services.edge.upstream.connection.DRAIN_S", 0.05)
    loop, owner = asyncio.get_running_loop(), Pool()
    connection = UpstreamConnection(owner, loop, 65_536)
    connection.connection_made(FakeTransport())
    response = Response(loop, 1.0, loop.time() + 10, headless_body=False)
    connection.start(response, b"head", b"body", loop.time() + 5)
    connection.pause_writing()
    connection.data_received(OK)
    assert await response.read(10) == b"ok"
    assert owner.events == []
    if leaves:
        connection.resume_writing()
        assert owner.events == ["released"]
        connection.close()
    await asyncio.sleep(0.1)
    assert owner.events == (["released", "closed"] if leaves else ["closed"])
