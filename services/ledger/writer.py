"""The recorder: one stream (or one shard of it) into the book, in order, exactly once.

Theory. A session is one database connection and one consumer that begins at the position the
database has. It reads batches and posts them; while one is being posted the next is read and
decoded. Whatever goes wrong (database away, broker away, a hole in the consumer, another ledger
recording) ends the session, and the next one begins at the position the database then has: there is
nothing to repair, since rows and position are one transaction. A batch is retried for ever, with
pauses.

The session's first message is the one AT the position, if the broker still has it: its time of
storage must be the one the book remembers. If it isn't, or if the stream ends before the position,
then the stream was lost and rebuilt (or lost its end): the recorder goes back to its beginning.
What it reads twice is recognised by ids, so that costs time, not truth.
"""

import asyncio
import math
import time
from typing import Generic, Protocol, TypeVar

import structlog
from nats.aio.client import Client

from services.ledger import metrics
from services.ledger.book import Position, PositionMovedError, Tally
from services.ledger.database import DATABASE_ERRORS
from services.ledger.facts_in import Anomaly
from services.ledger.lock import raise_if_cancelled
from services.ledger.message import Message
from services.ledger.ordered_consumer import BUS_ERRORS, ConsumerError
from shared import streams
from shared.waiting import ended, set_within

log = structlog.get_logger()

PAUSE_S_MIN = 0.1
PAUSE_S_MAX = 2.0

T = TypeVar("T")


class AnyConsumer(Protocol):
    """See `ordered_consumer`, and `control_consumer`."""

    behind: int

    @property
    def waiting_bytes(self) -> int: ...
    async def open(self) -> None: ...
    async def close(self) -> None: ...
    async def wait(self) -> None: ...
    async def take(self, messages_max: int, bytes_max: int) -> list[Message]: ...
    async def pending(self) -> int: ...


class Poster(Protocol[T]):
    """What a recorder does with messages; the two streams differ in this."""

    stream: str
    subject: str
    label: str
    """For metrics and logs."""
    alone: bool
    """Whether every message of the stream has this subject: only then is a gap in the sequence a
    loss.
    """

    def consumer(self, client: Client, start_seq: int) -> AnyConsumer: ...

    async def connect(self) -> Tally:
        """Raises one of DATABASE_ERRORS."""
        ...

    async def read(self, messages: list[Message]) -> T:
        """Decode. Must not fail."""
        ...

    async def post(self, tally: Tally, batch: T, known: Position) -> None:
        """Raises PositionMovedError, or one of DATABASE_ERRORS."""
        ...


class Limits(Protocol):
    @property
    def batch_messages_max(self) -> int: ...
    @property
    def batch_bytes_max(self) -> int: ...
    @property
    def linger_ms(self) -> int: ...
    @property
    def gather_ms(self) -> int: ...


class Session:
    """What the side jobs (expire, trim) may look at while a recorder runs."""

    def __init__(self, consumer: AnyConsumer, position: Position) -> None:
        self.consumer = consumer
        self.position = position
        self.read_seq = position.seq
        """Sequence of the last message taken from the consumer; the book is behind it while a batch
        is under way.
        """
        self.read_at = -math.inf
        """When that was, by the monotonic clock, if that batch wasn't full: after a full one
        nothing is gathered.
        """
        self.taking = False
        """Whether messages are between the consumer and `read_seq`."""
        self.put_back = asyncio.Event()
        """Set when somebody put the position back (restore-traffic): this session can't go on."""

    @property
    def level(self) -> bool:
        """Whether everything taken from the consumer is in the book."""
        return not self.taking and self.read_seq == self.position.seq


class Writer(Generic[T]):
    """
    Args:
        stopping: when set, the batch under way is finished and `run` returns.
    """

    def __init__(self, client: Client, poster: Poster[T], limits: Limits, stopping: asyncio.Event) -> None:
        self._client = client
        self._poster = poster
        self.label = poster.label
        self._limits = limits
        self._stopping = stopping
        self._batch_seconds = metrics.BATCH_SECONDS.labels(poster.label)
        self.session: Session | None = None
        self.position: Position | None = None
        self.trouble: str | None = None
        """Why nothing is being recorded; None while it works."""

    async def run(self) -> None:
        """Record until `stopping` is set or this is cancelled. To be run by the holder of the
        lock.
        """
        pause_s = PAUSE_S_MIN
        recording = metrics.RECORDING.labels(self._poster.label)
        recording.set(1)
        try:
            while not self._stopping.is_set():
                before = self.position
                try:
                    await self._run_session()
                except PositionMovedError:
                    log.warning("position_moved", what=self._poster.label)
                except (ConsumerError, *BUS_ERRORS, *DATABASE_ERRORS) as error:
                    raise_if_cancelled()
                    self.trouble = f"{type(error).__name__}: {str(error)[:120]}"
                    metrics.RETRIES.labels(self._poster.label).inc()
                    log.warning("recording_interrupted", what=self._poster.label, reason=self.trouble)
                except Exception as error:
                    self.trouble = f"{type(error).__name__}: {str(error)[:120]}"
                    raise
                if self.position != before:
                    pause_s = PAUSE_S_MIN
                await set_within(self._stopping, pause_s)
                pause_s = min(PAUSE_S_MAX, pause_s * 2)
        finally:
            recording.set(0)

    async def _run_session(self) -> None:
        tally = await self._poster.connect()
        consumer: AnyConsumer | None = None
        try:
            known = await self._rewind_if_shorter(tally, await tally.position())
            self.position = known
            consumer = self._poster.consumer(self._client, known.seq)
            await consumer.open()
            self.session = Session(consumer, known)
            self.trouble = None
            await self._record(tally, self.session)
        finally:
            self.session = None
            tally.terminate()
            if consumer is not None:
                await consumer.close()

    async def _record(self, tally: Tally, session: Session) -> None:
        reading = asyncio.create_task(self._read(tally, session))
        stopping = asyncio.create_task(self._stopping.wait())
        put_back = asyncio.create_task(session.put_back.wait())
        try:
            while True:
                await asyncio.wait((reading, stopping, put_back), return_when=asyncio.FIRST_COMPLETED)
                if stopping.done():
                    return
                if put_back.done():
                    raise PositionMovedError
                batch, messages = reading.result()
                reading = asyncio.create_task(self._read(tally, session))
                await self._post(tally, session, batch, messages)
        finally:
            await ended(reading, stopping, put_back)

    async def _post(self, tally: Tally, session: Session, batch: T, messages: list[Message]) -> None:
        started = time.monotonic()
        await self._poster.post(tally, batch, session.position)
        session.position = self.position = Position(messages[-1].seq, messages[-1].at_ns)
        self._batch_seconds.observe(time.monotonic() - started)

    async def _read(self, tally: Tally, session: Session) -> tuple[T, list[Message]]:
        """The next batch, decoded, and its messages."""
        limits = self._limits
        while True:
            await session.consumer.wait()
            if session.consumer.behind == 0 and session.consumer.waiting_bytes < limits.batch_bytes_max // 4:
                gathered_s = session.read_at + limits.gather_ms / 1000 - time.monotonic()
                await asyncio.sleep(max(limits.linger_ms / 1000, gathered_s))
            session.taking = True
            messages = await session.consumer.take(limits.batch_messages_max, limits.batch_bytes_max)
            session.read_at = time.monotonic() if len(messages) < limits.batch_messages_max else -math.inf
            if session.read_seq == session.position.seq:
                messages = await self._check_first(tally, session.position, messages)
            if messages:
                session.read_seq = messages[-1].seq
            session.taking = False
            if messages:
                return await self._poster.read(messages), messages

    async def _check_first(self, tally: Tally, known: Position, messages: list[Message]) -> list[Message]:
        """Is this the stream the position belongs to, and does it go on right behind it?"""
        first = messages[0]
        if first.seq == known.seq:
            if first.at_ns != known.message_at_ns:
                await self._rewind(tally, known, f"message {known.seq} isn't the one recorded")
            return messages[1:]
        if self._poster.alone and first.seq > known.seq + 1:
            detail = f"messages {known.seq + 1} to {first.seq - 1} were gone before they were recorded"
            log.error("stream_gap", what=self._poster.label, detail=detail)
            metrics.ANOMALIES.labels("gap").inc()
            await tally.anomaly(Anomaly("gap", first.seq, None, detail))
        return messages

    async def _rewind_if_shorter(self, tally: Tally, known: Position) -> Position:
        state = await streams.state(self._client, self._poster.stream)
        if state.last_seq >= known.seq:
            return known
        await self._rewind(tally, known, f"the stream ends at {state.last_seq}, before the position {known.seq}")
        raise AssertionError("unreachable")

    async def _rewind(self, tally: Tally, known: Position, detail: str) -> None:
        """Go back to the stream's beginning, and end this session."""
        log.error("stream_replaced", what=self._poster.label, detail=detail)
        metrics.ANOMALIES.labels("rewind").inc()
        await tally.rewind(known, Position(0, 0), Anomaly("rewind", known.seq, None, detail))
        raise ConsumerError("the stream was replaced")
