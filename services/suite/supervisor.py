"""Starting in order, stopping in the reverse order."""

import asyncio
from collections.abc import Callable, Sequence

import structlog

from services.suite.process import Child, Program

log = structlog.get_logger()

START_S = 60.0
"""For one process to become ready."""


class Supervisor:
    """Keeps every program running.

    Args:
        stages: programs of one stage start together; the next stage starts when all of them are
            ready.
        on_change: called when a pid changed; it must not block or raise.
    """

    def __init__(self, stages: Sequence[Sequence[Program]], on_change: Callable[[], None]) -> None:
        self._stages = [[Child(program, on_change) for program in stage] for stage in stages]

    @property
    def children(self) -> list[Child]:
        return [child for stage in self._stages for child in stage]

    async def start(self) -> None:
        """Returns when all are ready. Raises StartError; what was started then still runs, until
        `stop`.
        """
        for stage in self._stages:
            for child in stage:
                child.start()
            async with asyncio.TaskGroup() as group:
                for child in stage:
                    group.create_task(child.until_ready(START_S))

    def reload(self) -> None:
        """The services read their configuration again."""
        for child in self.children:
            child.reload()

    async def stop(self, hurry: asyncio.Event) -> bool:
        """Stop stage by stage, the last first, so that what serves clients can still use what it
        needs to finish.

        Setting `hurry` kills what is left. False when something had to be killed.
        """
        clean = True
        for stage in reversed(self._stages):
            clean &= all(await asyncio.gather(*(child.stop(hurry) for child in stage)))
        return clean
