"""Waiting for an event, but not for ever: what every loop does between two looks."""

import asyncio
from contextlib import suppress
from typing import Any


async def set_within(event: asyncio.Event, seconds: float) -> bool:
    """Whether it is set; after `seconds` at the latest.

    Unlike `asyncio.wait_for` (before Python 3.12) it doesn't swallow a cancellation that comes with
    the event, and needs no task.
    """
    with suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await event.wait()
    return event.is_set()


CANCELLED_AGAIN_S = 0.1


async def ended(task: "asyncio.Future[Any]", again_s: float = CANCELLED_AGAIN_S) -> None:
    """Cancelled, until it is: a cancellation that comes together with an answer of the broker is
    swallowed by the client's `asyncio.wait_for` (before Python 3.12), and a loop would go on.

    Args:
        again_s: until it is cancelled again; as long as it may need to end in order.
    """
    while not task.done():
        task.cancel()
        await asyncio.wait((task,), timeout=again_s)
    if not task.cancelled():
        task.exception()  # seen: nobody is told any more
