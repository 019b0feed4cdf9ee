"""The recorder under schedules nobody thought of, and on a real broker that is killed under
load.
"""

import asyncio
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
import structlog
import uvloop
from hypothesis import given, settings
from hypothesis import strategies as st

from services.edge import group_commit as recorder_
from services.edge.group_commit import GroupCommit
from services.edge.journal import Journal, JournalFullError
from services.edge.metrics import RecorderMetrics
from services.edge.publisher import Publisher
from tests.edge.broker import in_stream
from tests.edge.fakes import FakePublisher, numbers, until
from tests.support.broker import Broker

encode = msgspec.msgpack.encode

STEP = st.one_of(
    st.tuples(st.just("append"), st.integers(1, 12)),
    st.tuples(st.just("broker"), st.sampled_from(["ack", "ack", "lost", "refuse", "away", "crash"])),
    st.tuples(st.just("tries"), st.lists(st.sampled_from(["ack", "lost", "refuse", "away", "hold"]), max_size=4)),
    st.tuples(st.just("disk"), st.booleans()),
    st.tuples(st.just("wait"), st.sampled_from([0.0, 0.001, 0.006])),
    st.tuples(st.just("crash"), st.none()),
)


class FlakyJournal(Journal):
    broken = False

    def append(self, message_id: str, payload: bytes) -> None:
        if self.broken:
            raise JournalFullError("No space left on device")
        super().append(message_id, payload)


class Story:
    """One run of a schedule: what was appended, and whose waiter was told what."""

    def __init__(self, directory: Path, bytes_max: int) -> None:
        self.path, self.bytes_max = directory / "journal", bytes_max
        self.publisher = FakePublisher()
        self.count = 0
        self.told: set[int] = set()
        self.sent_since_start: list[int] = []
        self.waiters: list[asyncio.Task[None]] = []
        self.start()

    def start(self) -> None:
        self.journal = FlakyJournal(self.path, self.bytes_max)
        self.recorder = GroupCommit(self.publisher, self.journal, "traffic.0", 100, 30, RecorderMetrics())
        self.recorder.start()
        self.sent_since_start = []

    def append(self) -> None:
        number = self.count
        self.count += 1
        self.sent_since_start.append(number)
        batch = self.recorder.append(encode(number))

        async def wait() -> None:
            try:
                await batch.wait_durable()
            except TimeoutError:
                return
            self.told.add(number)

        self.waiters.append(asyncio.create_task(wait()))

    async def crash(self) -> None:
        await self.recorder.close()
        for waiter in self.waiters:
            waiter.cancel()
        await asyncio.gather(*self.waiters, return_exceptions=True)
        self.waiters = []
        journal = Journal(self.path, 0)
        kept = []
        offset = 0
        while (record := journal._read(offset)) is not None:
            kept.append(record[1])
            offset += 44 + len(record[1])
        journal.close()
        acked = [self.publisher.landed[message_id] for message_id in self.publisher.acked]
        assert self.told <= set(numbers(acked)) | set(numbers(kept)), "somebody was told too early"
        self.start()

    async def play(self, step: tuple[str, Any]) -> None:
        verb, value = step
        if verb == "append":
            for _ in range(value):
                self.append()
        elif verb == "broker":
            self.publisher.default = value
        elif verb == "tries":
            self.publisher.script = list(value)
        elif verb == "disk":
            self.journal.broken = value
        elif verb == "wait":
            await asyncio.sleep(value)
        else:
            await self.crash()

    async def end_well(self) -> None:
        self.publisher.script, self.publisher.default, self.journal.broken = [], "ack", False
        self.publisher.release.set()
        await asyncio.wait_for(self.recorder.flush(), 5)
        await until(lambda: self.journal.bytes_waiting == 0)
        await asyncio.gather(*self.waiters)
        landed = numbers(self.publisher.landed.values())
        assert len(landed) == len(set(landed)), "twice in the stream"
        assert self.told <= set(landed), "told durable, and lost"
        assert set(self.sent_since_start) <= set(landed), "dropped by a recorder that lived"
        assert self.recorder.healthy
        await self.recorder.close()


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    for name, seconds in [("RETRY_S", 0.002), ("SWEEP_S", 0.005), ("GIVE_WAY_S", 0.01)]:
        monkeypatch.setattr(recorder_, name, seconds)
    structlog.configure(processors=[lambda *_: (_ for _ in ()).throw(structlog.DropEvent)])
    yield
    structlog.reset_defaults()


@pytest.mark.usefixtures("impatient")
def test_whatever_happens_what_was_promised_is_kept_and_nothing_lands_twice() -> None:
    @given(steps=st.lists(STEP, max_size=25), bytes_max=st.sampled_from([0, 150, 100_000]))
    @settings(max_examples=200, deadline=None)
    def check(steps: list[tuple[str, Any]], bytes_max: int) -> None:
        async def run() -> None:
            with tempfile.TemporaryDirectory() as directory:
                story = Story(Path(directory), bytes_max)
                for step in steps:
                    await story.play(step)
                await story.end_well()

        uvloop.run(run())

    check()


# ── a real broker ──


async def test_a_broker_killed_under_load_loses_nothing_and_lands_nothing_twice(
    broker: Broker, publisher: Publisher, tmp_path: Path
) -> None:
    recorder = GroupCommit(
        publisher, Journal(tmp_path / "journal", 10_000_000), "traffic.0", 300, 5_000, RecorderMetrics()
    )
    recorder.start()
    sent, stop = 0, False

    async def load() -> list[asyncio.Future[None]]:
        nonlocal sent
        waiters = []
        while not stop:
            waiters.append(asyncio.ensure_future(recorder.append(encode(sent)).wait_durable()))
            sent += 1
            await asyncio.sleep(0.001)
        return waiters

    loading = asyncio.create_task(load())
    for _ in range(2):
        await asyncio.sleep(0.25)
        broker.kill()
        await asyncio.sleep(0.25)
        await asyncio.to_thread(broker.start)
    await asyncio.sleep(0.25)
    stop = True
    await asyncio.gather(*await loading)
    await recorder.flush()
    await until(lambda: recorder._journal.bytes_waiting == 0, 8)
    landed = numbers(await in_stream(broker))
    assert sorted(landed) == list(range(sent))
    await recorder.close()
