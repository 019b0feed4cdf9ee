"""A call that is over is gone at once, however it ended: nothing of it waits for the collector,
which comes late and makes memory grow under load (failed calls once left 13 kB each)."""

import asyncio
import gc
from collections.abc import Awaitable, Callable, Iterator

import pytest

from services.edge.account import Account
from services.edge.attempts import Attempts
from services.edge.upstream import Response, UpstreamError
from tests.edge.conftest import Start
from tests.edge.fakes import STREAM_HEAD, Script, always, chunk, completion, delta, response
from tests.edge.harness import Edge, dead_url, silent

CALLS = 3
WHOLE = response(completion())
STREAM = STREAM_HEAD + chunk(delta("some"))

PROVIDERS: dict[str, tuple[Script, bool]] = {
    "answers": (always(WHOLE), False),
    "refuses": (always(response(b"{}", "503 Busy")), False),
    "is silent": (silent, False),
    "breaks before a byte": (always(b"", close=True), False),
    "breaks in the head": (always(b"HTTP/1.1 200 OK\r\ncontent-le", close=True), False),
    "breaks in the body": (always(WHOLE[:-10], close=True), False),
    "says what isn't HTTP": (always(b"\x00\x01\x02\r\n\r\n", close=True), False),
    "changes the protocol": (always(b"HTTP/1.1 101 Switching\r\n\r\n", close=True), False),
    "breaks a stream": (always(STREAM, close=True), True),
    "breaks a stream's framing": (always(STREAM, b"zz\r\n", close=True), True),
}


Left = Callable[[], Awaitable[list[object]]]


def parts_of_calls() -> list[object]:
    return [each for each in gc.get_objects() if isinstance(each, Account | Attempts | Response | UpstreamError)]


@pytest.fixture
def left() -> Iterator[Left]:
    """Without the collector: what of a test's calls is still alive, a few rounds of the loop after
    the last.
    """
    gc.collect()
    gc.disable()
    others = parts_of_calls()  # a failed test's are kept for its report

    async def wait() -> list[object]:
        for _ in range(20):
            await asyncio.sleep(0.002)
            found = [each for each in parts_of_calls() if not any(each is other for other in others)]
            if not found:
                break
        return found

    yield wait
    gc.enable()


@pytest.mark.parametrize("how", PROVIDERS)
async def test_a_call_whose_provider_does_this_leaves_nothing(start: Start, left: Left, how: str) -> None:
    script, streaming = PROVIDERS[how]
    edge = await start(script, timeout_s=0.1)
    for _ in range(CALLS):
        await edge.chat(stream=streaming)
    assert len(edge.settled()) == CALLS
    assert await left() == []


async def test_a_provider_that_cannot_be_reached_leaves_nothing(start: Start, left: Left) -> None:
    edge = await start(dead_url())
    for _ in range(CALLS):
        assert (await edge.chat()).status == 502
    assert await left() == []


@pytest.mark.parametrize("streaming", [False, True])
async def test_a_client_that_leaves_leaves_nothing(start: Start, left: Left, streaming: bool) -> None:
    edge: Edge = await start(always(STREAM) if streaming else silent)
    for number in range(CALLS):
        async with await edge.connect() as caller:
            await caller.chat(stream=streaming)
            await asyncio.sleep(0.02)
        for _ in range(100):
            if len(edge.settled()) > number:
                break
            await asyncio.sleep(0.01)
    assert len(edge.settled()) == CALLS
    assert await left() == []
