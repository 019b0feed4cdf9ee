"""Every sink from its own position on: read, send, and only then move. At least once; what is sent again has the same ids.

A new sink begins at the book's end of that moment. A target that is away is tried again, with pauses that grow; nothing else waits for it.
"""

import asyncio
import random
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any

import msgspec
import structlog

from services.ledger import metrics
from services.ledger.database import DATABASE_ERRORS, Connection, Database
from services.ledger.lock import raise_if_cancelled
from services.ledger.sinks import choose, targets
from services.ledger.sinks.choose import Chosen, Sink
from services.ledger.sinks.targets import SinkError, SinkTarget
from shared import subjects
from shared.outbound import Outbound

log = structlog.get_logger()

LOOK_S = 5.0
"""How often the choice is looked at again."""
IDLE_S = 0.5
BATCHES = 20
ROWS = 100
"""Sent at a time."""
PAUSE_S_MIN = 0.5
PAUSE_S_MAX = 60.0

_ENTITIES = """
SELECT DISTINCT ON (kind, entity_id) kind, entity_id, after FROM audit_log
WHERE kind IN ('key', 'team') ORDER BY kind, entity_id, n DESC
"""
_BEGIN = """
INSERT INTO sink_position (sink, shard, batch)
SELECT $1, s.shard, s.n FROM (
    SELECT -1 AS shard, 0::bigint AS n UNION ALL SELECT shard, chain_n FROM stream_position WHERE stream = $2
) AS s
WHERE NOT EXISTS (SELECT FROM sink_position WHERE sink = $1 AND shard = -1)
"""
"""Once a sink: where it begins. Shards that come later, it reads from their first batch."""
_POSITIONS = "SELECT s.shard, coalesce(k.batch, 0) AS batch FROM stream_position s LEFT JOIN sink_position k ON k.sink = $1 AND k.shard = s.shard WHERE s.stream = $2"  # noqa: E501
_ROWS = "SELECT * FROM request_log WHERE shard = $1 AND batch > $2 AND batch <= $3 ORDER BY batch, id"
_END = "SELECT max(n) FROM (SELECT n FROM batch_log WHERE shard = $1 AND n > $2 ORDER BY n LIMIT $3) AS ahead"
_MOVE = """
INSERT INTO sink_position (sink, shard, batch) VALUES ($1, $2, $3)
ON CONFLICT (sink, shard) DO UPDATE SET batch = excluded.batch, updated_at = now()
"""

Make = Callable[[Sink], SinkTarget]


class Sinks:
    """Runs in one ledger at a time, under a lock of its own."""

    def __init__(self, database: Database, config: Sequence[Sink], make: Make, stopping: asyncio.Event) -> None:
        self._database = database
        self._config = config
        self._make = make
        self._stopping = stopping
        self._running: dict[Sink, asyncio.Task[None]] = {}
        self.chosen = Chosen([], frozenset(), frozenset())

    async def run(self) -> None:
        try:
            while not self._stopping.is_set():
                try:
                    await self._look()
                except DATABASE_ERRORS as error:
                    raise_if_cancelled()
                    log.warning("sinks_interrupted", error=type(error).__name__, detail=str(error)[:200])
                await self._wait(LOOK_S)
        finally:
            for task in self._running.values():
                task.cancel()
            await asyncio.gather(*self._running.values(), return_exceptions=True)

    async def _look(self) -> None:
        """Which sinks there are now; start and end what runs for them."""
        connection = await self._database.writer()
        try:
            entities = (
                []
                if not await connection.fetchval("SELECT EXISTS (SELECT FROM audit_log WHERE kind IN ('key', 'team'))")
                else (await connection.fetch(_ENTITIES))
            )
            self.chosen = choose.choose(self._config, [sink for row in entities for sink in _of(dict(row))])
        finally:
            connection.terminate()
        for sink in [sink for sink in self._running if sink not in self.chosen.sinks or self._running[sink].done()]:
            task = self._running.pop(sink)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
        for sink in self.chosen.sinks:
            if sink not in self._running:
                self._running[sink] = asyncio.create_task(self._feed(sink))

    async def _feed(self, sink: Sink) -> None:
        pause_s = PAUSE_S_MIN
        connection: Connection | None = None
        try:
            while not self._stopping.is_set():
                try:
                    connection = connection or await self._database.writer()
                    await connection.execute(_BEGIN, sink.id, subjects.TRAFFIC_STREAM)
                    moved = await self._step(connection, sink, self._make(sink))
                    pause_s = PAUSE_S_MIN
                    if not moved:
                        await self._wait(IDLE_S)
                except SinkError as error:
                    metrics.SINK_FAILURES.labels(sink.name).inc()
                    pause_s = PAUSE_S_MAX if error.lasting else min(PAUSE_S_MAX, pause_s * 2)
                    log.warning(
                        "sink_refused", sink=sink.name, scope=sink.scope, reason=str(error)[:200], again_in_s=pause_s
                    )
                    await self._wait(pause_s * (0.5 + random.random() / 2))
                except DATABASE_ERRORS as error:
                    raise_if_cancelled()
                    log.warning("sink_interrupted", sink=sink.name, error=type(error).__name__)
                    if connection is not None:
                        connection.terminate()
                    connection = None
                    await self._wait(PAUSE_S_MIN)
        finally:
            if connection is not None:
                connection.terminate()

    async def _step(self, connection: Connection, sink: Sink, target: SinkTarget) -> bool:
        moved = False
        for position in await connection.fetch(_POSITIONS, sink.id, subjects.TRAFFIC_STREAM):
            until = await connection.fetchval(_END, position["shard"], position["batch"], BATCHES)
            if until is None:
                continue
            rows = await connection.fetch(_ROWS, position["shard"], position["batch"], until)
            mine = [row for row in map(dict, rows) if choose.gets(sink, row, self.chosen)]
            for start in range(0, len(mine), ROWS):
                await target.send(mine[start : start + ROWS])
                metrics.SINK_ROWS.labels(sink.name).inc(len(mine[start : start + ROWS]))
            await connection.execute(_MOVE, sink.id, position["shard"], until)
            moved = True
        return moved

    async def _wait(self, seconds: float) -> None:
        with suppress(TimeoutError):
            await asyncio.wait_for(self._stopping.wait(), seconds)


def _of(row: Mapping[str, Any]) -> list[Sink]:
    if row["after"] is None:
        return []
    after = msgspec.json.decode(row["after"])
    metadata = after.get("metadata") if isinstance(after, dict) else None
    logging = metadata.get("logging") if isinstance(metadata, dict) else None
    return choose.of_entity(row["kind"], row["entity_id"], logging)


def maker(environ: Mapping[str, str], ours: Outbound, theirs: Outbound) -> Make:
    """
    Args:
        ours: for targets the operator named: the file's.
        theirs: for those that keys and teams name: no private addresses.
    """
    return lambda sink: targets.make(sink, environ, ours if sink.from_file else theirs)
