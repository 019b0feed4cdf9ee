"""Pass-through endpoints that were made at run time: asked of policy at start, and again whenever
one changed.
"""

import asyncio
from collections.abc import Callable

import structlog

from shared import bus, subjects
from shared.bus import BusClient, BusError
from shared.config import ConfigError
from shared.outbound import Outbound
from shared.passthrough import Entries, Entry, entry_of
from shared.requests import ShownReply, ShownRequest
from shared.waiting import ended

log = structlog.get_logger()

KIND = "pass_through"
TIMEOUT_MS = 2_000
AGAIN_S = 2.0


class Named:
    """
    Args:
        outbound: for targets that somebody with a key named: not into private networks.
        seen_seq: the CONTROL sequence this edge knows of: policy answers at that or later.
    """

    def __init__(self, client: BusClient | None, outbound: Outbound | None, seen_seq: Callable[[], int]) -> None:
        self._client = client
        self.outbound = outbound
        self._seen_seq = seen_seq
        self.entries = Entries([])
        self._task: asyncio.Task[None] | None = None
        self._again = False

    def changed(self, subject: str) -> None:
        """A control fact on `subject`. Synchronous."""
        if subject.startswith(f"control.{KIND}."):
            self.start()

    def start(self) -> None:
        """Ask, until policy has answered."""
        self._again = True
        if self._client is not None and (self._task is None or self._task.done()):
            self._task = asyncio.get_running_loop().create_task(self._run())

    async def refresh(self) -> None:
        """Returns when what is known now is known here; or policy didn't answer (it is asked
        again).
        """
        self.start()
        if self._task is not None:
            await asyncio.wait([self._task], timeout=TIMEOUT_MS / 1000)

    async def close(self) -> None:
        if self._task is not None:
            await ended(self._task)
        if self.outbound is not None:
            await self.outbound.close()

    async def _run(self) -> None:
        while self._again:
            self._again = False
            if not await self._ask():
                self._again = True
                await asyncio.sleep(AGAIN_S)

    async def _ask(self) -> bool:
        assert self._client is not None
        question = ShownRequest(KIND, self._seen_seq())
        try:
            reply = await bus.ask(self._client, subjects.POLICY_SHOWN, question, ShownReply, TIMEOUT_MS, tries=2)
        except BusError as error:
            log.warning("endpoints_not_known", error=error.code)
            return False
        entries: list[Entry] = []
        for each in reply.entities:
            try:
                entries.append(entry_of({**each.get("given", {}), "id": each.get("id")}, "endpoint", None))
            except ConfigError as error:
                log.warning("endpoint_left_out", id=str(each.get("id"))[:80], reason=str(error))
        self.entries = Entries(entries)
        return True
