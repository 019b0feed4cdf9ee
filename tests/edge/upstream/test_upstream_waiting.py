"""More requests than connections: they wait in order, and what goes wrong with one costs the others
nothing. Counters stay exact.
"""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from services.edge.upstream import Client, Deadlines, UpstreamError
from tests.edge.upstream.upstream_kit import OK, QUICK, Peer, Server, answers, call, until

Make = Callable[..., Any]
Ours = Callable[..., Client]


class Gate:
    """A server that answers only when told, and notes in which order requests came."""

    def __init__(self) -> None:
        self.order: list[bytes] = []
        self.tickets = asyncio.Semaphore(0)

    async def __call__(self, peer: Peer) -> None:
        while True:
            head, _ = await peer.request()
            self.order.append(head.split()[1])
            await self.tickets.acquire()
            await peer.send(OK)


async def numbered(client: Any, server: Server, number: int, deadlines: Deadlines = QUICK) -> bytes:
    response = await client.send(server.origin, "POST", f"/{number}", [], b"", deadlines)
    return await response.read(10)


async def line(client: Any, server: Server, length: int) -> list[asyncio.Task[bytes]]:
    """So many calls, begun one after the other."""
    calls = []
    for number in range(length):
        calls.append(asyncio.create_task(numbered(client, server, number)))
        await asyncio.sleep(0.01)
    return calls


async def test_more_requests_than_connections_wait_in_order(make: Make) -> None:
    gate = Gate()
    client = make(connections_per_origin_max=2)
    async with Server(gate) as server, asyncio.timeout(5):
        calls = await line(client, server, 8)
        await until(lambda: len(gate.order) == 2)
        assert gate.order == [b"/0", b"/1"]
        if isinstance(client, Client):
            assert (client.open, client.waiting) == (2, 6)
        for _ in range(8):
            gate.tickets.release()
            await asyncio.sleep(0.01)
        assert await asyncio.gather(*calls) == [b"ok"] * 8
        assert gate.order == [b"/%d" % number for number in range(8)]
        assert server.connections == 2


async def test_a_cancelled_waiter_leaves_the_line_and_takes_nothing_with_it(make: Make) -> None:
    gate = Gate()
    client = make(connections_per_origin_max=1)
    async with Server(gate) as server, asyncio.timeout(5):
        calls = await line(client, server, 4)
        calls[1].cancel()
        await asyncio.sleep(0)
        for _ in range(4):
            gate.tickets.release()
        assert await calls[0] == b"ok"
        with pytest.raises(asyncio.CancelledError):
            await calls[1]
        assert await asyncio.gather(*calls[2:]) == [b"ok"] * 2
        assert gate.order == [b"/0", b"/2", b"/3"]
        if isinstance(client, Client):
            assert (client.open, client.idle, client.waiting) == (1, 1, 0)


@pytest.mark.parametrize("keep", [True, False], ids=["connection", "slot"])
async def test_a_waiter_cancelled_in_the_tick_it_is_served_passes_it_on(ours: Ours, keep: bool) -> None:
    finish = asyncio.Event()

    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(OK[:-1])
        await finish.wait()
        await peer.send(OK[-1:])
        await answers(OK)(peer)

    client = ours(connections_per_origin_max=1, requests_per_connection_max=10 if keep else 1)
    async with Server(script) as server, asyncio.timeout(5):
        first = await client.send(server.origin, "POST", "/", [], b"", QUICK)
        second = asyncio.create_task(call(client, server))
        third = asyncio.create_task(call(client, server))
        while client.waiting < 2:
            await asyncio.sleep(0)
        assert await first.next_chunk() == b"o"
        served = next(iter(client._pools.values())).waiters[0]
        finish.set()
        assert await first.next_chunk() == b"k"
        assert served.done() and not second.done()  # given, and not yet taken
        second.cancel()
        assert await third == b"ok"
        with pytest.raises(asyncio.CancelledError):
            await second
        assert (client.waiting, client.created) == (0, 1 if keep else 2)


async def test_waiting_counts_into_the_connect_deadline_and_the_line_is_bounded(ours: Ours) -> None:
    gate = Gate()
    client = ours(connections_per_origin_max=1, waiting_per_origin_max=1)
    async with Server(gate) as server, asyncio.timeout(5):
        holder = asyncio.create_task(numbered(client, server, 0))
        await until(lambda: gate.order == [b"/0"])
        waiter = asyncio.create_task(numbered(client, server, 1, Deadlines(connect_ms=80)))
        await asyncio.sleep(0.01)
        with pytest.raises(UpstreamError) as caught:
            await numbered(client, server, 2)
        assert (caught.value.kind, caught.value.safe_to_retry) == ("connect", True)
        with pytest.raises(UpstreamError) as caught:
            await waiter
        assert (caught.value.kind, caught.value.safe_to_retry, client.waiting) == ("timeout", True, 0)
        gate.tickets.release()
        assert await holder == b"ok"


async def test_a_failed_connection_gives_its_slot_to_the_next_in_line(ours: Ours) -> None:
    async def script(peer: Peer) -> None:
        await peer.request()
        await asyncio.sleep(0.01)
        if peer.number % 2:
            peer.reset()
        else:
            await peer.send(OK)

    client = ours(connections_per_origin_max=1, requests_per_connection_max=1)
    async with Server(script) as server:
        results = await asyncio.gather(*(call(client, server) for _ in range(6)), return_exceptions=True)
    assert [result if isinstance(result, bytes) else getattr(result, "kind", None) for result in results] == [
        "reset",
        b"ok",
    ] * 3


async def test_refused_connections_give_back_slots_and_waiters_go_on(ours: Ours) -> None:
    client = ours(connections_per_origin_max=2)
    async with Server(answers(OK)) as server:
        origin = server.origin
    sends = (client.send(origin, "POST", "/", [], b"", QUICK) for _ in range(10))
    results = await asyncio.gather(*sends, return_exceptions=True)
    assert {result.kind for result in results} == {"connect"}
    assert (client.open, client.waiting, client._pools) == (0, 0, {})


async def test_close_ends_busy_waiting_and_idle_alike(ours: Ours) -> None:
    gate = Gate()
    client = ours(connections_per_origin_max=2)
    async with Server(gate) as server, Server(answers(OK)) as other, asyncio.timeout(5):
        await call(client, other)
        calls = [asyncio.create_task(numbered(client, server, number)) for number in range(6)]
        await until(lambda: len(gate.order) == 2)
        await client.close()
        results = await asyncio.gather(*calls, return_exceptions=True)
        assert all(isinstance(result, UpstreamError) for result in results)
        assert (client.open, client.idle, client.waiting) == (0, 0, 0)


async def test_a_storm_of_calls_and_cancellations_leaves_the_counters_true(ours: Ours) -> None:
    client = ours(connections_per_origin_max=5, requests_per_connection_max=7)

    async def script(peer: Peer) -> None:
        for turn in range(50):
            await peer.request()
            await peer.send(OK[:20])
            await asyncio.sleep(0.001 * ((turn + peer.number) % 4))
            await peer.send(OK[20:] if (turn * peer.number) % 11 else OK[20:] + b"junk")

    patient = Deadlines(*[60_000] * 4)  # whoever waits behind 400 others on a busy machine
    async with Server(script) as server, asyncio.timeout(60):
        tasks = []
        for number in range(400):
            tasks.append(asyncio.create_task(call(client, server, patient)))
            if number % 3 == 0:
                tasks[number // 2].cancel()
            if number % 5 == 0:
                await asyncio.sleep(0.001)
            pool = client._pools.get(server.origin)
            assert pool is None or client.open == pool.open <= 5
        results = await asyncio.gather(*tasks, return_exceptions=True)
        assert {type(result) for result in results} <= {bytes, asyncio.CancelledError}
        assert results.count(b"ok") > 200
        await until(lambda: client.waiting == 0 and client.open == client.idle)
        assert client.open == sum(len(pool.connections) for pool in client._pools.values())
