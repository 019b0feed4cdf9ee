"""Edges tell each other which deployments rest; the ledger that tells people listens. A notice is a
hint: what is missed isn't told.
"""

from collections import Counter
from typing import Any

import msgspec

from shared import subjects
from shared.bus import BusClient
from shared.decoding import UNREADABLE
from shared.requests import RestNotice

KNOWN_MAX = 1_000
"""Deployments that rested since the last look."""


class Rests:
    def __init__(self) -> None:
        self._times: Counter[str] = Counter()

    async def follow(self, client: BusClient) -> Any:
        """Returns the subscription."""
        return await client.subscribe(subjects.EDGE_RESTS, cb=self._heard)

    async def _heard(self, message: Any) -> None:
        try:
            notice = msgspec.msgpack.decode(message.data, type=RestNotice)
        except UNREADABLE:
            return
        if notice.seconds > 0 and (notice.deployment_id in self._times or len(self._times) < KNOWN_MAX):
            self._times[notice.deployment_id] += 1

    def taken(self) -> dict[str, int]:
        """Since the last time: deployment → how often."""
        times, self._times = self._times, Counter()
        return dict(times)
