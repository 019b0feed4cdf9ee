"""Waiting for an event, but not for ever: what every loop does between two looks."""

import asyncio
from contextlib import suppress


async def set_within(event: asyncio.Event, seconds: float) -> bool:
    """Whether it is set; after `seconds` at the latest.

    Unlike `asyncio.wait_for` (before Python 3.12) it doesn't swallow a cancellation that comes with
    the event, and needs no task.
    """
    with suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await event.wait()
    return event.is_set()
