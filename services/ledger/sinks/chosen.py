"""Which sinks keys and teams have chosen, followed through the audit log: each fact once, in order."""

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
        self._begun: set[str] | None = None
        self.chosen = Chosen([], frozenset(), frozenset())

    async def look(self, connection: Any) -> None:
        """Follow what was decided since. Raises one of DATABASE_ERRORS; then the same is looked at again."""
        if self._begun is None:
            self._begun = {row["sink"] for row in await connection.fetch(QUERIES["sink_begun"])}
        followed = self._n if self._n is not None else await connection.fetchval(QUERIES["sink_followed"], _FOLLOWED)
        if self._n is None:
            for row in await connection.fetch(QUERIES["sink_entities"], followed or 0):
                self._take(row)
            self.chosen = choose.choose(self._config, self._of)
            if followed is None:
                followed = 0
        rows = await connection.fetch(QUERIES["sink_facts"], followed)
        news: dict[str, int] = {}
        """Sink -> since when it is chosen."""
        for row in rows:
            for sink in self._take(row):
                news[sink.id] = row["at_ms"]
        last = max((row["n"] for row in rows), default=followed)
        chosen = choose.choose(self._config, self._of)
        async with connection.transaction():
            ids = {sink.id for sink in chosen.sinks}
            for sink_id in ids - self._begun:
                since_ms = news.get(sink_id, self._since_ms)
                await connection.execute(QUERIES["sink_begin"], sink_id, subjects.TRAFFIC_STREAM, since_ms)
            if gone := self._begun - ids:
                await connection.execute(QUERIES["sink_end"], list(gone))
            if last != self._n:
                await connection.execute(QUERIES["sink_move"], _FOLLOWED, -1, last)
        self._begun = ids
        self._n = last
        self.chosen = chosen

    def _take(self, row: Mapping[str, Any]) -> list[Sink]:
        """Returns those that weren't there before."""
        at = (row["kind"], row["entity_id"])
        before = {sink.id for sink in self._of.pop(at, ())}
        after = None if row["after"] is None else msgspec.json.decode(row["after"])
        metadata = after.get("metadata") if isinstance(after, dict) else None
        if not choose.says(metadata):
            return []
        found = self._of[at] = choose.of_entity(*at, metadata, turned_off=self._turned_off)
        return [sink for sink in found if sink.id not in before]
