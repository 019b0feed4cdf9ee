"""What became of the last check of each deployment (`/health`): looked at again only when its time
is over.
"""

import asyncio
import math
from collections.abc import Awaitable, Callable
from typing import Any

import msgspec

from shared.ids import DeploymentId


class Checked(msgspec.Struct, frozen=True):
    """What became of one deployment's last check."""

    at_s: float
    """By a clock that only goes forward."""
    healthy: bool
    shown: dict[str, Any]
    at_ms: int = 0
    """Unix milliseconds."""
    took_s: float = 0.0


class Checks:
    """Of all deployments, in this process.

    Args:
        interval_s: how long a result stands.
        in_background: somebody checks again in time, so until then the last result stands.
    """

    def __init__(self, interval_s: float = 300.0, *, in_background: bool = False) -> None:
        self._interval_s = interval_s
        self._in_background = in_background
        self._done: dict[DeploymentId, Checked] = {}
        self._running: dict[DeploymentId, asyncio.Future[Checked]] = {}

    def known(self) -> list[Checked]:
        """The last of each deployment."""
        return list(self._done.values())

    async def of(
        self,
        id: DeploymentId,
        now_s: float,
        check: Callable[[], Awaitable[Checked]],
        *,
        again: bool = False,
        alone: bool = False,
    ) -> Checked:
        """The last result, while it stands; else of one check, however many ask for it.

        Args:
            again: the last result stands no longer.
            alone: nobody checks this one in the background.
        """
        found = self._done.get(id)
        stands_s = math.inf if self._in_background and not alone else self._interval_s
        if found is not None and not again and now_s - found.at_s < stands_s:
            return found
        running = self._running.get(id)
        if running is None:
            running = self._running[id] = asyncio.ensure_future(check())
            running.add_done_callback(lambda done: self._ended(id, done))
        return await asyncio.shield(running)

    def _ended(self, id: DeploymentId, done: "asyncio.Future[Checked]") -> None:
        self._running.pop(id, None)
        if not done.cancelled() and done.exception() is None:
            self._done[id] = done.result()
