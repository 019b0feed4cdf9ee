"""Clients that leave, and records that cannot be kept: at every step, one end and nothing goes on
for nobody.
"""

import asyncio
import time

import pytest

from shared.billing import Usage
from shared.facts import Settled
from tests.edge.conftest import Start
from tests.edge.fakes import (
    DONE,
    STREAM_HEAD,
    USAGE_EVENT,
    Peer,
    always,
    chunk,
    completion,
    delta,
    response,
    until,
)
from tests.edge.harness import Edge, full_backlog, stream, told

pytestmark = pytest.mark.usefixtures("impatient")
COST = 10 * 1_000_000 + 5 * 2_000_000
GONE_WITHIN_S = 0.1


# ── clients that leave ──


async def left(edge: Edge) -> Settled:
    _, settled = await told(edge)
    assert (settled.outcome, settled.status, settled.error_code) == ("client_gone", 499, "client_gone")
    return settled


async def test_a_client_that_leaves_before_opened_is_on_the_wire(start: Start) -> None:
    edge = await start(always(response(completion())))
    edge.publisher.default = "away"
    async with await edge.connect() as caller:
        await caller.chat()
        await until(lambda: edge.publisher.tries)
        caller.leave()
        await until(lambda: edge.server.running == 0)
    edge.publisher.default = "ack"
    settled = await left(edge)
    assert (settled.usage, settled.cost_picousd, settled.attempts) == (Usage(), 0, 0)
    assert edge.providers[0].connections == 0


async def test_a_client_that_leaves_while_connecting(start: Start) -> None:
    with full_backlog() as url:
        edge = await start(url)
        async with await edge.connect() as caller:
            await caller.chat()
            await until(lambda: edge.facts())
            await asyncio.sleep(0.05)
            caller.leave()
            await until(lambda: edge.server.running == 0)
        await left(edge)


@pytest.mark.parametrize("where", ["waiting for the head", "in the body", "in a stream", "in a slow stream"])
async def test_a_client_that_leaves_ends_the_providers_work_at_once(start: Start, where: str) -> None:
    reached, gone_at = asyncio.Event(), 0.0

    async def script(peer: Peer) -> None:
        nonlocal gone_at
        await peer.request()
        if where == "in the body":
            await peer.send(response(completion())[:-5])
        elif where == "in a stream":
            await peer.send(STREAM_HEAD, chunk(delta("three words here")))
        reached.set()
        if where == "in a slow stream":
            await peer.send(STREAM_HEAD)
            try:
                while True:
                    await peer.send(chunk(delta("word ")))
                    await asyncio.sleep(0.01)
            except ConnectionError:
                pass
        await peer.gone()
        gone_at = time.monotonic()

    edge = await start(script)
    async with await edge.connect() as caller:
        await caller.chat(stream="stream" in where)
        if "stream" in where:
            await caller.head()
            await caller.chunk()
        await asyncio.wait_for(reached.wait(), 10)
        left_at = time.monotonic()
        caller.leave()
        await until(lambda: gone_at)
    assert gone_at - left_at < GONE_WITHIN_S
    settled = await left(edge)
    assert settled.usage.source == "lower_bound"
    assert settled.usage.input_tokens == 2
    if where == "in a stream":
        assert settled.usage.output_tokens == 3


async def test_a_client_that_leaves_while_its_end_is_recorded_leaves_that_end(start: Start) -> None:
    edge = await start(always(response(completion())))
    edge.publisher.script = ["ack", "hold"]
    async with await edge.connect() as caller:
        await caller.chat()
        await until(lambda: len(edge.publisher.tries) == 2)
        caller.leave()
        await until(lambda: edge.server.running == 0)
    edge.publisher.release.set()
    _, settled = await told(edge)
    assert (settled.outcome, settled.cost_picousd) == ("success", COST)


async def test_a_client_that_stops_reading_slows_the_provider_down_and_nothing_grows(start: Start) -> None:
    sent = 0

    async def script(peer: Peer) -> None:
        nonlocal sent
        await peer.request()
        await peer.send(STREAM_HEAD)
        piece = chunk(delta("x" * 50_000))
        while sent < 100_000_000:
            peer.writer.write(piece)
            await peer.writer.drain()
            sent += len(piece)

    edge = await start(script)
    async with await edge.connect() as caller:
        caller.writer.transport.pause_reading()
        await caller.chat(stream=True)
        await until(lambda: sent)
        stuck = -1
        while stuck != sent:
            stuck = sent
            await asyncio.sleep(0.1)
        assert sent < 30_000_000
        caller.leave()
    await left(edge)


# ── when nothing can be recorded ──


async def test_an_answer_whose_end_never_becomes_durable_is_cut_off_and_recorded_later(start: Start) -> None:
    edge = await start(always(response(completion())), wait_ms=100)
    edge.publisher.script, edge.publisher.default = ["ack"], "refuse"
    async with await edge.connect() as caller:
        await caller.chat()
        with pytest.raises((asyncio.IncompleteReadError, ConnectionError)):
            await caller.answer()
    edge.publisher.default = "ack"
    assert (await told(edge))[1].outcome == "success"


async def test_a_stream_whose_end_never_becomes_durable_has_no_done(start: Start) -> None:
    edge = await start(stream(delta("Hi"), USAGE_EVENT, DONE), wait_ms=100)
    edge.publisher.script, edge.publisher.default = ["ack"], "refuse"
    async with await edge.connect() as caller:
        await caller.chat(stream=True)
        await caller.head()
        assert await caller.chunk() == delta("Hi")
        with pytest.raises((asyncio.IncompleteReadError, ConnectionError)):
            await caller.chunk()
    edge.publisher.default = "ack"
    await told(edge)


async def test_a_call_that_cannot_be_opened_is_refused_and_never_reaches_the_provider(start: Start) -> None:
    edge = await start(always(response(completion())), wait_ms=1_500)
    edge.publisher.default = "away"
    answer = await edge.chat()
    assert (answer.status, answer.headers["retry-after"]) == (503, "1")
    answer.error()
    await until(lambda: not edge.recorder.healthy)
    before = time.monotonic()
    assert (await edge.chat()).status == 503
    assert time.monotonic() - before < 1, "once it is known, at once"
    edge.publisher.default = "ack"
    _, settled = await told(edge)
    assert (settled.outcome, settled.status, settled.cost_picousd) == ("edge_error", 503, 0)
    assert edge.providers[0].connections == 0
    await until(lambda: edge.recorder.healthy)
    assert (await edge.chat()).status == 200
