"""Threads for what would keep the loop from other calls: unpacking bodies, and walking large ones.

Not the default executor's: that one writes the journal and resolves names, and neither may wait
behind somebody's large body.
"""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Final, ParamSpec, TypeVar

THREADS: Final = 2
"""Of each kind of work."""

R = TypeVar("R")
P = ParamSpec("P")


class Threads:
    """
    Args:
        name: of the work, for whoever looks at a process.
    """

    def __init__(self, name: str) -> None:
        self._executor = ThreadPoolExecutor(THREADS, thread_name_prefix=name)

    async def run(self, work: Callable[P, R], *arguments: P.args, **named: P.kwargs) -> R:
        return await asyncio.get_running_loop().run_in_executor(self._executor, partial(work, *arguments, **named))
