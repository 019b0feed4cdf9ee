"""What an edge tells people of itself: its facts go to the journal, or nowhere. By alerts.py, once
a minute at most.
"""

import asyncio
from collections.abc import Callable

from services.edge.alerts import Alerts

EVERY_S = 5.0
AFTER_S = 10.0
"""A broker that restarts takes less."""


class Watch:
    """
    Args:
        journal_bytes: what waits in the journal.
        healthy: whether facts can be recorded at all.
        seconds: a clock that only goes forward.
    """

    def __init__(
        self,
        alerts: Alerts,
        name: str,
        journal_bytes: Callable[[], float],
        healthy: Callable[[], bool],
        seconds: Callable[[], float],
    ) -> None:
        self._alerts = alerts
        self._name = name
        self._journal_bytes = journal_bytes
        self._healthy = healthy
        self._seconds = seconds
        self._since: dict[str, float] = {}
        self._told: set[str] = set()

    async def run(self) -> None:
        while True:
            self.look()
            await asyncio.sleep(EVERY_S)

    def look(self) -> None:
        waiting = self._journal_bytes()
        self._note(
            "journal_in_use",
            waiting > 0,
            f"Edge {self._name} writes its facts to its journal: the broker doesn't take them ({waiting / 1e6:.1f} MB wait). None is lost",
        )
        self._note(
            "facts_not_recorded",
            not self._healthy(),
            f"Edge {self._name} refuses calls: neither broker nor journal takes its facts",
        )

    def _note(self, kind: str, is_so: bool, text: str) -> None:
        """Once an episode, when it has lasted a while; and when it is over."""
        now = self._seconds()
        if not is_so:
            self._since.pop(kind, None)
            if kind in self._told:
                self._told.discard(kind)
                self._alerts.tell(f"{kind}_over", self._name, f"Edge {self._name}: {kind} is over")
            return
        since = self._since.setdefault(kind, now)
        if now - since >= AFTER_S and kind not in self._told:
            self._told.add(kind)
            self._alerts.tell(kind, self._name, text)
