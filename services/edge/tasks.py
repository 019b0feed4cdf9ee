"""Work that outlives its request (settling a call whose client left), held so that it is neither
lost nor forgotten.
"""

import asyncio
from collections.abc import Coroutine
from typing import Any

import structlog

log = structlog.get_logger()


class Tasks:
    def __init__(self) -> None:
        self._running: set[asyncio.Task[None]] = set()

    def start(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._running.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._running.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("background_task_failed", exc_info=error)

    async def finish(self, timeout_s: float) -> None:
        """Wait for what runs, at most so long."""
        if self._running:
            await asyncio.wait(self._running, timeout=timeout_s)
