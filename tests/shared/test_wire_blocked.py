"""The loop stood still, and everything came meanwhile: nothing of it is taken for silence, on
asyncio's loop and on uvloop.

On uvloop, timers that are due run before the socket is read, where the loop stood still in a
socket's event, or was stopped while it waited.
"""

import asyncio
import select
import socket
import time
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest
import uvloop

from shared.wire import Wire
from shared.wire_connection import SUSPECT_S, WireError
from tests.support.broker import Broker


def nothing() -> None:
    pass


async def stand_still(
    wire: Wire, seconds: float, first: Callable[[], None] = nothing, *, answered: bool = True
) -> None:
    """In a socket's event, as reading does: for so long, and until the broker's answer is there."""
    assert wire._connection is not None and wire._connection._transport is not None
    loop, done, poll = asyncio.get_running_loop(), asyncio.Event(), select.poll()
    poll.register(wire._connection._transport.get_extra_info("socket").fileno(), select.POLLIN)
    ours, other = socket.socketpair()
    with ours, other:

        def stand() -> None:
            first()
            time.sleep(seconds)
            assert not answered or poll.poll(30_000)
            done.set()

        loop.add_reader(ours, stand)
        other.send(b"x")
        await done.wait()
        loop.remove_reader(ours)


Test = Callable[[Wire, Broker], Coroutine[Any, Any, None]]
Run = Callable[[Test], None]
INFO = "$JS.API.INFO"
"""The broker itself answers it, however still we stand."""


@pytest.fixture(params=[asyncio.SelectorEventLoop, uvloop.new_event_loop])
def run(request: pytest.FixtureRequest, tmp_path: Path) -> Run:
    def one(test: Test) -> None:
        async def connected(broker: Broker) -> None:
            wire = Wire(broker.url, "edge")
            assert await wire.start()
            await test(wire, broker)
            await wire.close()

        with Broker(tmp_path) as broker, asyncio.Runner(loop_factory=request.param) as runner:
            runner.run(connected(broker))

    return one


def test_an_answer_that_came_while_the_loop_stood_still_is_an_answer(
    run: Run,
) -> None:
    async def test(wire: Wire, broker: Broker) -> None:
        asked = wire.request(INFO, b"", 0.2)
        await stand_still(wire, 0.4)
        assert b"account_info_response" in await asked

    run(test)


def test_a_connection_is_not_given_up_for_a_loop_that_stood_still(
    run: Run,
) -> None:
    async def test(wire: Wire, broker: Broker) -> None:
        await wire.subscribe("silence", "", lambda *_: None)
        connection = wire._connection
        broker.pause()
        with pytest.raises(WireError, match="timeout"):
            await wire.request("silence", b"", 0.05)
        await stand_still(wire, SUSPECT_S + 0.5, broker.resume)
        await asyncio.sleep(0.1)
        assert wire._connection is connection and wire.is_connected

    run(test)


def test_silence_that_lasts_is_told_a_moment_after_a_loop_that_stood_still(
    run: Run,
) -> None:
    async def test(wire: Wire, broker: Broker) -> None:
        await wire.subscribe("silence", "", lambda *_: None)
        asked = wire.request("silence", b"", 0.1)
        await stand_still(wire, 0.3, answered=False)
        with pytest.raises(WireError, match="timeout"):
            await asyncio.wait_for(asked, 10)

    run(test)
