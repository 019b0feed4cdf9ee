"""Group commit: how facts leave the edge.

Theory. `append` puts an encoded fact into the open batch and returns the batch. At the end of that
turn of the loop the batch is published as one message; what is appended until its acknowledgement
comes rides in the next one: no timer, so a quiet edge pays one round trip and a busy one shares it.
While the message in flight is a small one (a quiet edge), a second may fly beside it: the end of a
short call needn't wait for the acknowledgement of its beginning. A batch goes through

    open → on wire → durable          the broker has acknowledged it, or the journal has fsynced it
         ↘ failed                     neither: kept in memory and tried again until one of them takes it

Rules.
- Order: while the journal holds anything, batches go behind it into the journal, and the drain
  sends the oldest first. While the drain gets on, batches wait for it a moment: one appended for
  each one drained would keep the journal for ever. Only a message that flew beside one that failed
  may overtake it.
- A batch keeps its message id through every try, so it lands in the stream once.
- Nothing is ever dropped. While a batch is failed, `healthy` is False and the pipeline opens
  nothing new (503), which bounds what waits in memory by the requests that were already running.
- Cancelling a waiter cancels only its wait: the batch belongs to the recorder.
"""  # noqa: W505

import asyncio
from collections import deque
from collections.abc import Coroutine
from functools import partial
from typing import Any

import structlog

from services.edge.journal import Journal, JournalFullError
from services.edge.metrics import RecorderMetrics
from services.edge.publisher import Publisher, PublishError
from shared.facts import MESSAGE_BYTES_MAX, pack
from shared.ids import new_id
from shared.waiting import ended

log = structlog.get_logger()

FLIGHTS_MAX = 2
SMALL_FACTS_MAX = 4
"""A message of at most so many facts is a quiet edge's."""
SWEEP_S = 0.25
DRAIN_LOOK_S = 0.05
RETRY_S = 0.2
"""Between two tries while neither broker nor journal takes a batch, and between two tries to
drain.
"""
GIVE_WAY_S = 0.1
"""How long a batch lets a drain that gets on go first."""


class FactBatch:
    """Facts that travel together, and who waits for them."""

    __slots__ = (
        "_durable_waiters",
        "_loop",
        "_wire_waiters",
        "durable",
        "facts",
        "id",
        "on_wire",
        "since",
        "size_bytes",
    )

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop  # asking for the running one is a system call in CPython 3.11
        self.id = new_id()
        self.facts: list[bytes] = []
        self.size_bytes = 0
        self.since = 0.0
        """Loop time of its first fact."""
        self.on_wire = False
        self.durable = False
        self._wire_waiters: list[asyncio.Future[None]] = []
        self._durable_waiters: list[asyncio.Future[None]] = []

    def wait_on_wire(self) -> asyncio.Future[None]:
        """Done when the broker's socket or the journal has the facts. TimeoutError as with
        `wait_durable`.
        """
        future = self._loop.create_future()
        if self.on_wire:
            future.set_result(None)
        else:
            self._wire_waiters.append(future)
        return future

    def wait_durable(self) -> asyncio.Future[None]:
        """Done when broker or journal has them for good: for one waiter, who may cancel it.

        TimeoutError past the recorder's `wait_ms`; the facts are recorded all the same, later.
        """
        future = self._loop.create_future()
        if self.durable:
            future.set_result(None)
        else:
            self._durable_waiters.append(future)
        return future

    def time_out(self) -> None:
        """Send everybody home who still waits. The batch itself stays."""
        for waiters in (self._wire_waiters, self._durable_waiters):
            for future in waiters:
                if not future.done():
                    future.set_exception(TimeoutError())
            waiters.clear()

    def mark_on_wire(self) -> None:
        self.on_wire = True
        _wake(self._wire_waiters)

    def mark_durable(self) -> None:
        self.mark_on_wire()
        self.durable = True
        _wake(self._durable_waiters)


def _wake(waiters: list[asyncio.Future[None]]) -> None:
    for future in waiters:
        if not future.done():
            future.set_result(None)
    waiters.clear()


class GroupCommit:
    """
    Args:
        subject: the TRAFFIC subject of this edge's shard.
        publish_timeout_ms: for the broker's acknowledgement.
        wait_ms: how long anybody waits for a batch. One sweep looks after all of them: no timer a
            request.
    """

    def __init__(
        self,
        publisher: Publisher,
        journal: Journal,
        subject: str,
        publish_timeout_ms: int,
        wait_ms: int,
        metrics: RecorderMetrics,
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._time = self._loop.time
        self._wait_s = wait_ms / 1000
        self._publisher = publisher
        self._journal = journal
        self._subject = subject
        self._timeout_ms = publish_timeout_ms
        self._metrics = metrics
        self._waiting: deque[FactBatch] = deque([FactBatch(self._loop)])
        """The last one is open; those before it are full."""
        self._flying: dict[FactBatch, asyncio.Task[None]] = {}
        """Being published, or on their way into the journal."""
        self._idle = asyncio.Event()
        self._idle.set()
        self._rests = True
        """As `_idle` says: most facts find it busy already."""
        self._journal_lock = asyncio.Lock()
        self._delayed = False
        """A batch in flight didn't get through at the first try: nothing flies beside it."""
        self._drain_gets_on = False
        self._drained = asyncio.Event()
        """The journal holds nothing; only looked at while the drain gets on."""
        self._tasks: list[asyncio.Task[None]] = []
        self.healthy = True

    def start(self) -> None:
        self._tasks = [asyncio.create_task(self._drain()), asyncio.create_task(self._sweep())]
        self._launch_soon()

    def append(self, encoded_fact: bytes) -> FactBatch:
        """Hand over one fact. It will be recorded whatever happens to the caller."""
        batch, size_bytes = self._waiting[-1], len(encoded_fact)
        facts = batch.facts
        if batch.size_bytes + size_bytes > MESSAGE_BYTES_MAX and facts:
            batch = FactBatch(self._loop)
            facts = batch.facts
            self._waiting.append(batch)
        if not facts:
            batch.since = self._time()
            self._launch_soon()
            if self._rests:
                self._rests = False
                self._idle.clear()
        facts.append(encoded_fact)
        batch.size_bytes += size_bytes
        return batch

    async def flush(self) -> None:
        """Until everything appended so far is durable."""
        await self._idle.wait()

    @property
    def journal_bytes(self) -> int:
        """What waits in the journal."""
        return self._journal.bytes_waiting

    async def drained(self, timeout_s: float) -> bool:
        """Whether the journal is empty, at once or within `timeout_s`: what it holds is durable,
        but only this edge can send it.
        """
        deadline = self._time() + timeout_s
        while self._journal.bytes_waiting and self._time() < deadline:  # noqa: ASYNC110 - once, at the end of a process
            await asyncio.sleep(DRAIN_LOOK_S)
        return not self._journal.bytes_waiting

    async def close(self) -> None:
        """Flush first: what isn't durable is lost with the process."""
        tasks, self._tasks = [*self._tasks, *self._flying.values()], []
        await ended(*tasks)
        await self._publisher.close()
        self._journal.close()

    def _launch_soon(self) -> None:
        """At the end of this turn of the loop: what else is appended in it rides along."""
        self._loop.call_soon(self._launch)

    def _launch(self) -> None:
        while self._tasks and self._waiting[0].facts and self._may_fly():
            if len(self._waiting) == 1:
                self._waiting.append(FactBatch(self._loop))
            batch = self._waiting.popleft()
            task = self._loop.create_task(self._commit(batch))
            self._flying[batch] = task
            task.add_done_callback(partial(self._landed, batch))

    def _may_fly(self) -> bool:
        flying = self._flying
        if not flying:
            return True
        return (
            len(flying) < FLIGHTS_MAX
            and not self._delayed
            and self._journal.bytes_waiting == 0
            and len(next(iter(flying)).facts) <= SMALL_FACTS_MAX
        )

    def _landed(self, batch: FactBatch, _: asyncio.Task[None]) -> None:
        del self._flying[batch]
        if not self._flying:
            self._delayed = False
        if self._waiting[0].facts:
            self._launch()
        elif not self._flying:
            self._rests = True
            self._idle.set()

    async def _sweep(self) -> None:
        while True:
            await asyncio.sleep(SWEEP_S)
            too_old = self._time() - self._wait_s
            for batch in (*self._flying, *self._waiting):
                if batch.facts and batch.since < too_old:
                    batch.time_out()

    async def _commit(self, batch: FactBatch) -> None:
        """Until the batch is durable, one way or the other."""
        payload = pack(batch.facts)
        while True:
            if self._journal.bytes_waiting:
                self._delayed = True
                await self._give_way()
            if self._journal.bytes_waiting == 0 and await self._publish(batch.id, payload, batch):
                break
            self._delayed = True
            if await self._to_journal(batch.id, payload):
                self._metrics.journaled.inc(len(batch.facts))
                break
            if self.healthy:
                log.error("nothing_can_be_recorded", waiting=len(self._waiting))
            self.healthy = False
            self._metrics.healthy.set(0)
            await asyncio.sleep(RETRY_S)
        if not self.healthy:
            log.info("recording_again")
        self.healthy = True
        self._metrics.healthy.set(1)
        self._metrics.committed(len(batch.facts))
        batch.mark_durable()

    async def _publish(self, message_id: str, payload: bytes, batch: FactBatch | None = None) -> bool:
        try:
            await self._publisher.publish(
                self._subject, message_id, payload, batch.mark_on_wire if batch else _nothing, self._timeout_ms
            )
        except PublishError as error:
            self._metrics.publish_failures.inc()
            log.warning("publish_failed", error=str(error))
            return False
        except Exception:  # whatever it is, it must not cost the facts
            self._metrics.publish_failures.inc()
            log.exception("publish_failed")
            return False
        return True

    async def _give_way(self) -> None:
        if not self._drain_gets_on:
            return
        try:
            async with asyncio.timeout(GIVE_WAY_S):
                await self._drained.wait()
        except TimeoutError:
            pass

    async def _to_journal(self, message_id: str, payload: bytes) -> bool:
        async with self._journal_lock:
            try:
                await _finish(asyncio.to_thread(self._journal.append, message_id, payload))
            except JournalFullError as error:
                if self.healthy:  # said once: it is asked again many times a second
                    log.warning("journal_refuses", error=str(error))
                return False
            finally:
                self._metrics.journal_bytes.set(self._journal.bytes_waiting)
        return True

    async def _drain(self) -> None:
        """Send what the journal holds, oldest first, until it is empty; then look again."""
        while True:
            self._drain_gets_on = False
            if self._journal.bytes_waiting:
                try:
                    await self._drain_while_it_goes()
                except OSError as error:  # of the disk
                    log.error("journal_not_drained", error=error.strerror)
            await asyncio.sleep(RETRY_S)

    async def _drain_while_it_goes(self) -> None:
        self._drained.clear()
        while self._journal.bytes_waiting:
            record = await asyncio.to_thread(self._journal.oldest)
            if record is None:
                raise OSError(0, "a record is unreadable")
            if not await self._publish(*record):
                return
            self._drain_gets_on = True
            async with self._journal_lock:
                await _finish(asyncio.to_thread(self._journal.acknowledged))
                self._metrics.journal_bytes.set(self._journal.bytes_waiting)
        self._drained.set()


async def _finish(work: Coroutine[Any, Any, None]) -> None:
    """Let a journal write end even if we are cancelled, so that file and counters agree."""
    task = asyncio.create_task(work)
    try:
        await asyncio.shield(task)
    except asyncio.CancelledError:
        await asyncio.wait([task])
        raise


def _nothing() -> None:
    pass
