"""A wait that ends with its event, its time or its task; and never hides the last."""

import asyncio
import time

import pytest

from shared.waiting import set_within


async def test_it_says_whether_the_event_came() -> None:
    event = asyncio.Event()
    assert not await set_within(event, 0)
    started = time.monotonic()
    assert not await set_within(event, 0.05)
    assert time.monotonic() - started >= 0.04
    asyncio.get_running_loop().call_later(0.01, event.set)
    assert await set_within(event, 30)
    assert await set_within(event, 0), "it is set already"
    assert time.monotonic() - started < 10


async def test_a_cancellation_that_comes_with_the_event_is_one() -> None:
    event, went_on = asyncio.Event(), False

    async def waiting() -> None:
        nonlocal went_on
        await set_within(event, 30)
        went_on = True

    task = asyncio.create_task(waiting())
    await asyncio.sleep(0.01)
    event.set()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert not went_on
