"""A wait that ends with its event, its time or its task; and never hides the last."""

import asyncio
import time

import pytest

from shared import waiting
from shared.waiting import ended, set_within, together


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


async def test_a_task_that_swallows_a_cancellation_ends_all_the_same() -> None:
    swallowed, begun = 0, asyncio.Event()

    async def loops() -> None:
        nonlocal swallowed
        while True:
            begun.set()
            try:
                await asyncio.sleep(60)
            except asyncio.CancelledError:
                swallowed += 1
                if swallowed == 3:
                    raise

    task = asyncio.create_task(loops())
    await begun.wait()
    async with asyncio.timeout(10):
        await ended(task)
    assert task.cancelled() and swallowed == 3

    async def fails() -> None:
        raise ValueError("whatever")

    failed = asyncio.create_task(fails())
    await asyncio.sleep(0)
    await ended(failed)
    assert failed.done()


async def test_who_is_cancelled_while_it_ends_others_leaves_none_behind() -> None:
    let_go = asyncio.Event()

    async def takes_its_time() -> None:
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            pass
        await let_go.wait()

    tasks = [asyncio.create_task(takes_its_time()) for _ in range(2)]
    await asyncio.sleep(0)
    ending = asyncio.create_task(ended(*tasks, again_s=60))
    await asyncio.sleep(0)
    ending.cancel()
    async with asyncio.timeout(10):
        await asyncio.wait((ending,))
    assert ending.cancelled() and all(task.done() for task in tasks)


async def test_works_that_run_together_end_together_also_one_that_swallows_a_cancellation(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(waiting, "IN_ORDER_S", 0.01)
    ends: list[str] = []

    async def swallows() -> None:
        for _ in range(2):
            try:
                await asyncio.sleep(60)
            except asyncio.CancelledError:
                ends.append("swallowed")
        await asyncio.sleep(60)

    async def fails() -> None:
        await asyncio.sleep(0)
        raise ValueError("whatever")

    async with asyncio.timeout(10):
        with pytest.raises(ValueError, match="whatever"):
            await together(swallows(), fails())
        both = asyncio.create_task(together(swallows(), asyncio.sleep(60)))
        await asyncio.sleep(0.01)
        both.cancel()
        await asyncio.wait((both,))
    assert both.cancelled() and ends == ["swallowed"] * 4
    async with asyncio.timeout(10):
        await together(asyncio.sleep(0), asyncio.sleep(0.01))
