"""Every sink from its own position on: read, send, and only then move. At least once; what is sent
again has the same ids.

A new sink begins with what happens after it was chosen; one that is chosen no longer loses its
position. A target that is away is tried again, with pauses that grow; nothing else waits for it.
However many sinks there are, they share a few connections, and one look at the book's end tells all
of them whether there is anything new.
"""

import asyncio
import random
from collections.abc import Awaitable, Callable, Mapping, Sequence

import structlog

from services.ledger import metrics, payload, price_bodies
from services.ledger.database import DATABASE_ERRORS, QUERIES, Database, Pool
from services.ledger.lock import raise_if_cancelled
from services.ledger.ordered_consumer import BUS_ERRORS
from services.ledger.sinks import records, targets
from services.ledger.sinks.choose import Chosen, Sink, gets
from services.ledger.sinks.chosen import Choice
from services.ledger.sinks.errors import SinkError
from services.ledger.sinks.targets import SinkTarget
from shared import subjects
from shared.clock import unix_ms
from shared.outbound import Outbound
from shared.sealing import Keyring
from shared.waiting import IN_ORDER_S, ended, set_within

log = structlog.get_logger()

IDLE_S = 0.5
BEHIND_S = 0.05
BATCHES = 20
ROWS = 100
"""Sent at a time."""
PAUSE_S_MIN = 0.5
PAUSE_S_MAX = 60.0
CONNECTIONS_MAX = 4
"""Of all sinks together."""

_TRIED = -2
"""Less a shard: where it keeps up to which batch a sink was tried. (-1 is no shard's.)"""

Make = Callable[[Sink], SinkTarget]
StreamEnd = Callable[[str], Awaitable[int]]
"""The sequence of a stream's last message. Raises one of BUS_ERRORS."""


class Sinks:
    """Runs in one ledger at a time, under a lock of its own.

    Args:
        config: the file's sinks. They begin with what happens after this object was made.
        stream_end: where a stream ends now.
        turned_off: whether keys' and teams' sinks get no prompts where they don't say.
        nameless: whether no sink is told whose a call was.
    """

    def __init__(
        self,
        database: Database,
        config: Sequence[Sink],
        make: Make,
        stream_end: StreamEnd,
        stopping: asyncio.Event,
        *,
        turned_off: bool = False,
        nameless: bool = False,
    ) -> None:
        self._nameless = nameless
        self._database = database
        self._make = make
        self._stream_end = stream_end
        self._stopping = stopping
        self._choice = Choice(config, unix_ms(), turned_off=turned_off)
        self._running: dict[Sink, asyncio.Task[None]] = {}
        self._head: dict[int, int] = {}
        """By shard, up to which batch may be sent: all that was chosen before these is known."""
        self._moved = asyncio.Event()
        """Set, and made anew, when the book has grown."""

    @property
    def chosen(self) -> Chosen:
        return self._choice.chosen

    async def run(self) -> None:
        self._choice.forget()
        self._head = {}
        pool = await self._database.workers(CONNECTIONS_MAX)
        try:
            while not self._stopping.is_set():
                try:
                    await self._look(pool)
                except (*DATABASE_ERRORS, *BUS_ERRORS) as error:
                    raise_if_cancelled()
                    log.warning("sinks_interrupted", error=type(error).__name__, detail=str(error)[:200])
                await set_within(self._stopping, IDLE_S)
        finally:
            tasks = [*self._running.values()]
            self._running.clear()
            await ended(*tasks, again_s=IN_ORDER_S)
            pool.terminate()

    async def _look(self, pool: Pool) -> None:
        """Where the book ends; and, before anything of it is sent, who had chosen what by then: a
        team's own sink is set, and acknowledged, before its first call, but the audit log may get
        it after the call's row."""
        head = {row["shard"]: row["chain_n"] for row in await pool.fetch(QUERIES["sink_head"], subjects.TRAFFIC_STREAM)}
        await self._reached(pool, subjects.CONTROL_STREAM)
        async with pool.acquire() as connection:
            await self._choice.look(connection)
        sinks = set(self.chosen.sinks)
        for sink in [sink for sink, task in self._running.items() if sink not in sinks or task.done()]:
            task = self._running.pop(sink)
            await ended(task, again_s=IN_ORDER_S)
        if head != self._head and any(sink.content for sink in sinks):
            await self._reached(pool, subjects.PAYLOAD_STREAM)  # a prompt is published before its call's end
        if head != self._head:
            self._head = head
            self._moved.set()
            self._moved = asyncio.Event()
        for sink in self.chosen.sinks:
            if sink not in self._running:
                self._running[sink] = asyncio.create_task(self._feed(pool, sink))

    async def _reached(self, pool: Pool, stream: str) -> None:
        """The book has what is in the stream at this moment; or the service stops."""
        wanted = await self._stream_end(stream)
        while not self._stopping.is_set() and await pool.fetchval(QUERIES["sink_behind"], stream, wanted):
            await set_within(self._stopping, BEHIND_S)

    async def _feed(self, pool: Pool, sink: Sink) -> None:
        pause_s = PAUSE_S_MIN
        known: dict[int, int] | None = None
        tried: dict[int, int] = {}
        while not self._stopping.is_set():
            try:
                if known is None:
                    rows = await pool.fetch(QUERIES["sink_positions"], sink.id)
                    known = {row["shard"]: row["batch"] for row in rows if row["shard"] >= 0}
                    tried = {_TRIED - row["shard"]: row["batch"] for row in rows if row["shard"] <= _TRIED}
                moved = self._moved
                behind = [shard for shard, last in self._head.items() if last > known.get(shard, 0)]
                for shard in behind:
                    known[shard] = await self._step(pool, sink, shard, known.get(shard, 0), tried)
                pause_s = PAUSE_S_MIN
                if not behind:
                    await set_within(moved, IDLE_S)
            except SinkError as error:
                metrics.SINK_FAILURES.labels(sink.name).inc()
                pause_s = PAUSE_S_MAX if error.lasting else min(PAUSE_S_MAX, pause_s * 2)
                log.warning(
                    "sink_refused", sink=sink.name, scope=sink.scope, reason=str(error)[:200], again_in_s=pause_s
                )
                await set_within(self._stopping, pause_s * (0.5 + random.random() / 2))
            except DATABASE_ERRORS as error:
                raise_if_cancelled()
                log.warning("sink_interrupted", sink=sink.name, error=type(error).__name__)
                known = None
                await set_within(self._stopping, PAUSE_S_MIN)

    async def _step(self, pool: Pool, sink: Sink, shard: int, known: int, tried: dict[int, int]) -> int:
        """Returns up to which batch all is sent. No connection is held while the target is waited
        for.

        Args:
            tried: by shard, up to which batch it was tried last: the same rows go again, however
                many came since, so that the target knows them by their idempotency key.
        """
        target = self._make(sink)
        async with pool.acquire() as connection:
            if tried.get(shard, 0) <= known:
                until = await connection.fetchval(QUERIES["sink_until"], shard, known, self._head[shard], BATCHES)
                if until is None:
                    return known
                await connection.execute(QUERIES["sink_move"], sink.id, _TRIED - shard, until)
                tried[shard] = until
            until = tried[shard]
            key = sink.owner if sink.scope == "key" else None
            team = sink.owner if sink.scope == "team" else None
            rows = await connection.fetch(QUERIES["sink_rows"], shard, known, until, key, team)
            mine = [row for row in map(dict, rows) if gets(sink, row, self.chosen)]
            mine = await price_bodies.resolved(connection.fetch, mine)
            if sink.content:
                await payload.attach(connection, mine)
        if self._nameless:
            mine = [{**row, **records.NAMELESS} for row in mine]
        for start in range(0, len(mine), ROWS):
            await target.send(mine[start : start + ROWS])
            metrics.SINK_ROWS.labels(sink.name).inc(len(mine[start : start + ROWS]))
        await pool.execute(QUERIES["sink_move"], sink.id, shard, until)
        return until


def maker(
    environ: Callable[[], Mapping[str, str]], ours: Outbound, theirs: Outbound, keyring: Keyring | None = None
) -> Make:
    """
    Args:
        keyring: opens what keys and teams had sealed.
        ours: for targets the operator named: the file's.
        theirs: for those that keys and teams name: no private addresses.
    """
    return lambda sink: targets.make(sink, environ(), ours if sink.from_file else theirs, keyring)
