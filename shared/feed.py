"""The control feed for who folds it (policy): every control fact, in order, none missed.

An ephemeral push consumer without acks, checked here: its messages are numbered, so a gap is seen;
its heartbeats come twice a second, so silence is seen; after either, or after a reconnect, the feed
starts a new consumer behind the last fact it handled. `stale_ms` tells how long nothing was heard:
a follower must not trust what it derived once that is long.

Facts that were published as one atomic batch are applied together, so that whoever reads what is
derived from them never sees half of a change: the broker commits a batch whole, but stores and
delivers its messages one by one, the last with a mark. While `restore-control` writes history
again, what stands in between is nobody's present: the feed isn't caught up from the fact that says
so until the one that says that the history is whole, whatever others write meanwhile.

A stream that isn't the one we know (created at another time), or out of which somebody took
messages, is begun again from its present state; whatever was derived from the old one is forgotten
first. `shared.notices` is for who keeps only a cache.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import NamedTuple

import nats.errors
import structlog
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.aio.subscription import Subscription
from nats.js.api import AckPolicy, ConsumerConfig, DeliverPolicy

from shared import streams, subjects
from shared.losses import Losses
from shared.streams import StreamError, StreamState
from shared.waiting import ended, set_within

log = structlog.get_logger()

HEARTBEAT_S = 0.5
SILENCE_MS_MAX = 2_000
"""Then the consumer is presumed dead and a new one is made."""
LOOK_S = 1.0
"""Between two looks at the stream itself."""
INACTIVE_S = 30
"""The server removes an abandoned consumer after this."""
REBUILD = subjects.control("rebuild", "control")
"""The subject of the facts that say so: the last one tells who begins later, too."""
RESTORING = "Tollgate-Restoring"
"""Header of the fact on it after which history follows; the one without it ends that."""


class Told(NamedTuple):
    subject: str
    message: bytes
    seq: int


OnFacts = Callable[[list[Told]], None]
"""Those that stand or fall together, one at least. Synchronous: they are applied before the next
are looked at.
"""


class ControlFeed:
    """Follow `control.>`, beginning with the last fact of every subject.

    Args:
        on_facts: applies them.
        on_reset: called when the feed begins, and when the stream turns out to be another one, or
            purged: forget everything. After a mere gap nothing needs forgetting: the feed goes on
                behind the last fact it applied.
        ensure: makes the stream where it is missing; None: it is waited for.
    """

    def __init__(
        self,
        client: Client,
        on_facts: OnFacts,
        *,
        on_reset: Callable[[], None],
        ensure: Callable[[], Awaitable[object]] | None = None,
    ) -> None:
        self._client = client
        self._on_facts = on_facts
        self._on_reset = on_reset
        self._ensure = ensure
        self._subscription: Subscription | None = None
        self._left: Subscription | None = None
        """What it brings is of what was forgotten: nobody hears it any more."""
        self._expected_delivery = 1
        self._held: list[Told] = []
        """Of a batch whose last fact hasn't come."""
        self._held_batch: str | None = None
        self._nothing_waits = False
        """In the stream, after the last message that came."""
        self._restoring = False
        """Whether history is being written again."""
        self._known: StreamState | None = None
        """The stream as it was at the last look; None: begin from its present state."""
        self._losses = Losses()
        self._looked_at = 0.0
        self._heard_at = time.monotonic()
        self._broken = asyncio.Event()
        self._progress = asyncio.Condition()
        self._watcher: asyncio.Task[None] | None = None
        self.seq = 0
        """CONTROL sequence of the last fact applied (or the stream's last when the feed began)."""
        self.caught_up = False
        """Whether everything that was in the stream when the feed (re)began has been applied."""

    @property
    def stale_ms(self) -> float:
        """How long nothing was heard, heartbeats included."""
        return (time.monotonic() - self._heard_at) * 1000

    @property
    def restoring(self) -> bool:
        """Whether history is being written again: by a run that goes on, or that was stopped."""
        return self._restoring

    async def start(self) -> None:
        """Returns once the watcher runs; `caught_up` tells when the present is reached."""
        self._broken.set()
        self._watcher = asyncio.create_task(self._watch())

    async def close(self) -> None:
        if self._watcher is not None:
            await ended(self._watcher)
        await self._unsubscribe()

    def reconnected(self) -> None:
        """To be called when the connection is back: what happened meanwhile may have been
        missed.
        """
        self._broken.set()

    async def wait_for(self, seq: int, timeout_ms: int) -> bool:
        """Wait until the fact `seq` has been applied. False when it wasn't in time."""
        if self.seq >= seq:
            return True

        async def reached() -> None:
            async with self._progress:
                await self._progress.wait_for(lambda: self.seq >= seq)

        try:
            await asyncio.wait_for(reached(), timeout_ms / 1000)
        except TimeoutError:
            return False
        return True

    async def _watch(self) -> None:
        while True:
            broken = await set_within(self._broken, SILENCE_MS_MAX / 4000)
            if not broken and self.stale_ms < SILENCE_MS_MAX and not await self._is_other_stream():
                continue
            self._broken.clear()
            self.caught_up = False
            try:
                await self._restart()
            except (nats.errors.Error, OSError, TimeoutError) as error:
                log.warning("feed_not_started", error=type(error).__name__, detail=str(error)[:120])
                self._broken.set()
                await asyncio.sleep(0.2)

    async def _is_other_stream(self) -> bool:
        if time.monotonic() - self._looked_at < LOOK_S:
            return False
        self._looked_at = time.monotonic()
        try:
            await self._look()
        except (nats.errors.Error, OSError, TimeoutError):
            pass  # heartbeats tell whether the broker is there
        return self._known is None

    async def _look(self) -> StreamState:
        """The stream as it is now. One that we don't know is forgotten, and so is all that came
        from it.
        """
        applied = self.seq  # what comes while the answer is on its way may be newer than it
        try:
            state = await streams.state(self._client, subjects.CONTROL_STREAM)
        except StreamError as error:
            if error.code == streams.NOT_FOUND:
                self._forget("it is gone")
            raise
        known = self._known
        if known is not None:
            if state.created != known.created:
                self._forget(f"it was made at {state.created}, the one we knew at {known.created}")
            elif state.last_seq < applied:
                self._forget("facts were taken out of it")
        if self._known is None:
            self._losses.begin()
        if await self._losses.found(self._client, state, self.seq):
            self._forget("facts were taken out of it")
        return state

    def _forget(self, why: str) -> None:
        if self._known is not None:
            log.error("control_stream_replaced", why=why, known_seq=self.seq)
        self._known = None
        self.seq = 0
        self.caught_up = self._restoring = False
        self._held = []
        if self._subscription is not None:
            self._left, self._subscription = self._subscription, None
        self._on_reset()

    async def _restart(self) -> None:
        await self._unsubscribe()
        try:
            state = await self._look()
        except StreamError as error:
            if error.code == streams.NOT_FOUND and self._ensure is not None:
                await self._ensure()
            raise
        if self._known is None:
            self._forget("")
            policy, start = DeliverPolicy.LAST_PER_SUBJECT, None
        else:
            policy, start = DeliverPolicy.BY_START_SEQUENCE, self.seq + 1
        inbox = self._client.new_inbox()
        self._expected_delivery = 1
        self._held = []
        self._subscription = await self._client.subscribe(inbox, cb=self._receive)
        info = await self._client.jetstream(timeout=2).add_consumer(
            subjects.CONTROL_STREAM,
            ConsumerConfig(
                deliver_subject=inbox,
                filter_subject=subjects.CONTROL_ALL,
                deliver_policy=policy,
                opt_start_seq=start,
                ack_policy=AckPolicy.NONE,
                idle_heartbeat=HEARTBEAT_S,
                inactive_threshold=INACTIVE_S,
                mem_storage=True,
                num_replicas=1,
                max_deliver=1,
            ),
        )
        self._heard_at = self._looked_at = time.monotonic()
        self._known = state
        delivered = info.delivered.consumer_seq if info.delivered is not None else 0
        if not info.num_pending and delivered == 0:  # nothing to deliver: not now, and not on its way
            self.seq = max(self.seq, state.last_seq)
            self.caught_up = not self._restoring
        await self._notify()

    async def _receive(self, message: Msg) -> None:
        if self._subscription is None or message.sid != self._subscription._id:
            return  # of a consumer we have left
        self._heard_at = time.monotonic()
        if not message.reply.startswith("$JS.ACK."):
            await self._heartbeat(message)
            return
        position = message.metadata
        stream_seq, delivery = position.sequence.stream, position.sequence.consumer
        if delivery != self._expected_delivery:
            self._broken.set()
            return
        self._expected_delivery += 1
        # The server puts the fact's own subject into the message; the inbox is only where it was
        # delivered.
        headers = message.headers or {}
        self._losses.told(message.subject, stream_seq)
        batch = headers.get("Nats-Batch-Id")
        if self._held and batch != self._held_batch:
            self._apply()  # its last fact isn't in the stream any more: another has followed on that subject
        self._held.append(Told(message.subject, message.data, stream_seq))
        self._held_batch = batch
        self._nothing_waits = position.num_pending == 0
        if message.subject == REBUILD:
            self._restoring = RESTORING in headers
        if batch is None or "Nats-Batch-Commit" in headers:
            self._apply()
        await self._notify()

    def _apply(self) -> None:
        held, self._held = self._held, []
        self._on_facts(held)
        self.seq = held[-1].seq
        if self._restoring:
            self.caught_up = False
        elif self._nothing_waits:
            self.caught_up = True

    async def _heartbeat(self, message: Msg) -> None:
        """It comes when nothing else did for HEARTBEAT_S, and tells what should have come."""
        last = (message.headers or {}).get("Nats-Last-Consumer")
        if last is not None and int(last) != self._expected_delivery - 1:
            self._broken.set()
        elif self._held:  # what ended the batch has ended itself, as remembered answers do
            self._apply()
            await self._notify()

    async def _notify(self) -> None:
        async with self._progress:
            self._progress.notify_all()

    async def _unsubscribe(self) -> None:
        over = (self._subscription, self._left)
        self._subscription = self._left = None
        for subscription in over:
            if subscription is not None:
                try:
                    await subscription.unsubscribe()
                except nats.errors.Error:
                    pass  # the connection is gone, and the subscription with it
