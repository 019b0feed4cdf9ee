"""Which sinks keys and teams have chosen, followed through the audit log: each fact once, in
order.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from services.ledger.database import QUERIES
from services.ledger.sinks import choose
from services.ledger.sinks.choose import Chosen, Sink
from shared import subjects

_FOLLOWED = "audit_log"
"""Whose position is that of the audit log itself."""


class Choice:
    """
    Args:
        config: the file's sinks.
        since_ms: from when on they are told, where they are new.
        turned_off: whether keys' and teams' sinks get no prompts where they don't say.
    """

    def __init__(self, config: Sequence[Sink], since_ms: int, *, turned_off: bool = False) -> None:
        self._turned_off = turned_off
        self._config = config
        self._since_ms = since_ms
        self.forget()

    def forget(self) -> None:
        """Another ledger may have gone on meanwhile."""
        self._of: dict[tuple[str, str], list[Sink]] = {}
        self._n: int | None = None
        self._begun: set[str] = set()
        self.chosen = Chosen([], frozenset(), frozenset())

    async def look(self, connection: Any) -> None:
        """Follow what was decided since. Raises one of DATABASE_ERRORS: then nothing is followed,
        and the same is looked at again.
        """
        of, begun, followed = dict(self._of), self._begun, self._n
        if followed is None:
            begun = {row["sink"] for row in await connection.fetch(QUERIES["sink_begun"])}
            followed = await connection.fetchval(QUERIES["sink_followed"], _FOLLOWED) or 0
            for row in await connection.fetch(QUERIES["sink_entities"], followed):
                self._take(of, row)
        rows = await connection.fetch(QUERIES["sink_facts"], followed)
        if not rows and self._n is not None:
            return
        news: dict[str, int] = {}
        """Sink -> since when it is chosen."""
        for row in rows:
            for sink in self._take(of, row):
                news[sink.id] = row["at_ms"]
        last = max((row["n"] for row in rows), default=followed)
        chosen = choose.choose(self._config, of)
        ids = {sink.id for sink in chosen.sinks}
        async with connection.transaction():
            for sink_id in ids - begun:
                since_ms = news.get(sink_id, self._since_ms)
                await connection.execute(QUERIES["sink_begin"], sink_id, subjects.TRAFFIC_STREAM, since_ms)
            if gone := begun - ids:
                await connection.execute(QUERIES["sink_end"], list(gone))
            await connection.execute(QUERIES["sink_move"], _FOLLOWED, -1, last)
        self._of, self._begun, self._n, self.chosen = of, ids, last, chosen

    def _take(self, of: dict[tuple[str, str], list[Sink]], row: Mapping[str, Any]) -> list[Sink]:
        """Returns those that weren't there before."""
        at = (row["kind"], row["entity_id"])
        before = {sink.id for sink in of.pop(at, ())}
        after = None if row["after"] is None else msgspec.json.decode(row["after"])
        metadata = after.get("metadata") if isinstance(after, dict) else None
        if not choose.says(metadata):
            return []
        found = of[at] = choose.of_entity(*at, metadata, turned_off=self._turned_off)
        return [sink for sink in found if sink.id not in before]
