"""What an event loop's callbacks cost it."""

import asyncio
import gc
import time
from collections.abc import Iterator
from contextlib import contextmanager
from unittest import mock


@contextmanager
def callback_cpu() -> Iterator[list[float]]:
    """CPU seconds of each callback that asyncio's own loop runs in this thread meanwhile: others
    wait for no longer than the longest.
    """
    assert isinstance(asyncio.get_running_loop(), asyncio.BaseEventLoop), "uvloop's callbacks can't be measured"
    spent: list[float] = []
    run = asyncio.Handle._run

    def measured(handle: asyncio.Handle) -> None:
        begun = time.thread_time()
        run(handle)
        spent.append(time.thread_time() - begun)

    gc.collect()
    gc.freeze()  # what other tests left behind isn't looked through meanwhile
    try:
        with mock.patch.object(asyncio.Handle, "_run", measured):
            yield spent
    finally:
        gc.unfreeze()
