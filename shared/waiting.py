"""Waiting for an event, but not for ever: what every loop does between two looks."""

import asyncio
from collections.abc import Coroutine
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
IN_ORDER_S = 1.0
"""For work to roll back and close what it has."""


async def ended(*tasks: "asyncio.Future[Any]", again_s: float = CANCELLED_AGAIN_S) -> None:
    """Cancelled, until they are: a cancellation that comes together with an answer of the broker is
    swallowed by the client's `asyncio.wait_for` (before Python 3.12), and a loop would go on.

    Leaves none behind, also where it is cancelled itself: that is passed on when they have ended.

    Args:
        again_s: until they are cancelled again; as long as they may need to end in order.
    """
    no_longer_wanted: asyncio.CancelledError | None = None
    while running := [task for task in tasks if not task.done()]:
        for task in running:
            task.cancel()
        try:
            await asyncio.wait(running, timeout=again_s)
        except asyncio.CancelledError as error:
            no_longer_wanted = error
    for task in tasks:
        if not task.cancelled():
            task.exception()  # seen: nobody is told any more
    if no_longer_wanted is not None:
        raise no_longer_wanted


async def together(*works: Coroutine[Any, Any, None]) -> None:
    """Until all are done, or one fails: that is raised when the others have ended.

    Unlike `asyncio.TaskGroup`, which cancels each only once, it ends also those that swallowed it.
    """
    tasks = [asyncio.create_task(work) for work in works]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_EXCEPTION)
        failed = next((task for task in tasks if task.done() and not task.cancelled() and task.exception()), None)
    finally:
        await ended(*tasks, again_s=IN_ORDER_S)
    if failed is not None:
        failed.result()
