"""Group commit: nothing is dropped, nobody is told too early, and everything comes out in order."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
import pytest_asyncio
from structlog.testing import capture_logs

from services.edge import group_commit as recorder_
from services.edge.group_commit import FactBatch, GroupCommit
from services.edge.journal import Journal, JournalFullError
from services.edge.metrics import RecorderMetrics
from tests.edge.fakes import FakePublisher, numbers, until

encode = msgspec.msgpack.encode
MB = 1_000_000


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recorder_, "RETRY_S", 0.005)
    monkeypatch.setattr(recorder_, "SWEEP_S", 0.01)


Make = Callable[..., GroupCommit]


@pytest_asyncio.fixture
async def make(tmp_path: Path) -> AsyncIterator[Make]:
    """A running recorder on the test's journal; a second call is a restart on it."""
    made: list[GroupCommit] = []

    def one(publisher: FakePublisher, *, journal: int | Journal = 10 * MB, wait_ms: int = 2_000) -> GroupCommit:
        where = Journal(tmp_path / "journal", journal) if isinstance(journal, int) else journal
        made.append(GroupCommit(publisher, where, "traffic.0", 100, wait_ms, RecorderMetrics()))
        made[-1].start()
        return made[-1]

    yield one
    for recorder in made:
        with contextlib.suppress(OSError):  # closed by the test
            await recorder.close()


def journaled(path: Path) -> list[int]:
    """What a journal holds, without taking anything out."""
    journal = Journal(path, 0)
    found = []
    while (record := journal._read(journal._drained)) is not None:
        found.append(record[1])
        journal._drained += 44 + len(record[1])
    journal.close()
    return numbers(found)


async def all_durable(batches: list[FactBatch]) -> None:
    await asyncio.gather(*(batch.wait_durable() for batch in batches))


async def test_a_quiet_edge_publishes_at_once(make: Make) -> None:
    publisher = FakePublisher()
    batch = make(publisher).append(encode(1))
    await batch.wait_durable()
    assert numbers(publisher.landed.values()) == [1]


async def test_facts_that_arrive_during_a_publish_ride_in_the_next_one(make: Make) -> None:
    publisher = FakePublisher("hold")
    recorder = make(publisher)
    batches = [recorder.append(encode(n)) for n in range(10)]
    await until(lambda: publisher.tries)
    batches += [recorder.append(encode(n)) for n in range(10, 50)]
    publisher.release.set()
    await all_durable(batches)
    assert [numbers([payload]) for payload in publisher.landed.values()] == [list(range(10)), list(range(10, 50))]
    assert publisher.most_running == 1, "one in flight"


async def test_on_the_wire_comes_before_durable(make: Make) -> None:
    publisher = FakePublisher("hold")
    batch = make(publisher).append(encode(1))
    await batch.wait_on_wire()
    assert batch.on_wire
    assert not batch.durable
    waiting = asyncio.ensure_future(batch.wait_durable())
    await asyncio.sleep(0.02)
    assert not waiting.done()
    publisher.release.set()
    await waiting


async def test_nobody_is_told_on_wire_while_the_broker_cannot_be_reached(make: Make) -> None:
    publisher = FakePublisher()
    publisher.default = "away"
    batch = make(publisher, journal=0).append(encode(1))
    await until(lambda: len(publisher.tries) > 2)
    assert not batch.on_wire
    publisher.default = "ack"
    await batch.wait_on_wire()


@pytest.mark.parametrize("word", ["lost", "refuse", "away", "crash"])
async def test_a_failed_publish_goes_to_the_journal_and_is_drained_with_the_same_id(make: Make, word: str) -> None:
    publisher = FakePublisher(word, word)
    batch = make(publisher).append(encode(1))
    await batch.wait_durable()
    await until(lambda: publisher.acked)
    assert len({message_id for message_id, _ in publisher.tries}) == 1
    assert len(publisher.tries) >= 3
    assert numbers(publisher.landed.values()) == [1], "lost once or twice, it is in the stream once"


async def test_without_a_journal_a_batch_is_tried_again_with_the_same_id(make: Make) -> None:
    publisher = FakePublisher("lost", "away", "refuse")
    await make(publisher, journal=0).append(encode(1)).wait_durable()
    assert len({message_id for message_id, _ in publisher.tries}) == 1
    assert numbers(publisher.landed.values()) == [1]


async def test_order_holds_through_the_journal_and_its_drain(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recorder_, "SMALL_FACTS_MAX", 0)  # as on a busy edge: one in flight
    publisher = FakePublisher()
    recorder = make(publisher)
    batches = []
    for n in range(120):
        publisher.default = "away" if 30 <= n < 60 else "ack"
        batches.append(recorder.append(encode(n)))
        if n % 3 == 0:
            await asyncio.sleep(0.001)
    await all_durable(batches)
    await until(lambda: recorder._journal.bytes_waiting == 0)
    await recorder.flush()
    assert numbers(publisher.landed.values()) == list(range(120))
    assert publisher.most_running == 1


async def test_a_small_message_has_company_in_flight_and_a_large_one_has_none(make: Make) -> None:
    publisher = FakePublisher("hold", "hold", "hold")
    recorder = make(publisher)
    small = recorder.append(encode(0))
    await until(lambda: len(publisher.tries) == 1)
    beside = [recorder.append(encode(n)) for n in range(1, 10)][-1]
    await until(lambda: len(publisher.tries) == 2)
    third = recorder.append(encode(10))
    await asyncio.sleep(0.02)
    assert len(publisher.tries) == 2
    publisher.release.set()
    await all_durable([small, beside, third])
    assert publisher.most_running == 2
    assert numbers(publisher.landed.values()) == list(range(11))


async def test_nothing_flies_beside_a_message_that_did_not_get_through(make: Make) -> None:
    publisher = FakePublisher()
    publisher.default = "refuse"
    recorder = make(publisher, journal=0)
    batches = [recorder.append(encode(0))]
    await until(lambda: len(publisher.tries) > 1)
    batches.append(recorder.append(encode(1)))
    await asyncio.sleep(0.02)
    assert len({message_id for message_id, _ in publisher.tries}) == 1
    publisher.default = "ack"
    await all_durable(batches)
    assert numbers(publisher.landed.values()) == [0, 1]


async def test_a_broker_that_is_back_drains_the_journal_under_load(
    make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A disk slower than the broker must not keep the edge on the journal, which would fill it in
    the end.
    """
    journal = Journal(tmp_path / "journal", 10 * MB)
    append = journal.append

    def slow(message_id: str, payload: bytes) -> None:
        time.sleep(0.004)
        append(message_id, payload)

    monkeypatch.setattr(journal, "append", slow)
    publisher = FakePublisher()
    publisher.default = "away"
    recorder = make(publisher, journal=journal)
    emptied = asyncio.Event()
    sent = 0

    async def load() -> None:
        nonlocal sent
        while not emptied.is_set():
            recorder.append(encode(sent))
            sent += 1
            await asyncio.sleep(0.0005)

    loading = asyncio.create_task(load())
    await asyncio.sleep(0.2)
    publisher.default = "ack"
    try:
        await until(lambda: journal.bytes_waiting == 0, 1.5)
    finally:
        emptied.set()
        await loading
    await recorder.flush()
    await until(lambda: len(numbers(publisher.landed.values())) == sent)
    assert numbers(publisher.landed.values()) == list(range(sent))


async def test_a_cancelled_waiter_takes_nothing_with_it(make: Make) -> None:
    publisher = FakePublisher("hold")
    recorder = make(publisher)
    batch = recorder.append(encode(1))
    leaving = asyncio.ensure_future(batch.wait_durable())
    staying = asyncio.ensure_future(batch.wait_durable())
    await until(lambda: publisher.tries)
    leaving.cancel()
    await asyncio.sleep(0)
    publisher.release.set()
    await staying
    assert numbers(publisher.landed.values()) == [1]
    await recorder.append(encode(2)).wait_durable()


async def test_who_waits_too_long_is_sent_home_and_the_fact_is_recorded_all_the_same(make: Make) -> None:
    publisher = FakePublisher()
    publisher.default = "away"
    recorder = make(publisher, journal=0, wait_ms=30)
    batch = recorder.append(encode(1))
    begun = time.monotonic()
    async with asyncio.timeout(
        5
    ) as too_long:  # without the recorder's own bound the test fails, instead of waiting for ever
        with pytest.raises(TimeoutError):
            await batch.wait_on_wire()
        with pytest.raises(TimeoutError):
            await batch.wait_durable()
    assert not too_long.expired() and time.monotonic() - begun < 2
    publisher.default = "ack"
    await recorder.flush()
    assert numbers(publisher.landed.values()) == [1]
    await batch.wait_durable()


async def test_with_neither_broker_nor_journal_it_says_so_and_recovers(make: Make) -> None:
    publisher = FakePublisher()
    publisher.default = "refuse"
    recorder = make(publisher, journal=0)
    assert recorder.healthy
    batches = [recorder.append(encode(0))]
    await until(lambda: not recorder.healthy)
    batches += [recorder.append(encode(n)) for n in range(1, 20)]
    publisher.default = "ack"
    await all_durable(batches)
    await until(lambda: recorder.healthy)
    assert numbers(publisher.landed.values()) == list(range(20))


async def test_a_full_journal_is_the_end_of_health_until_it_has_drained(make: Make, tmp_path: Path) -> None:
    publisher = FakePublisher()
    publisher.default = "away"
    recorder = make(publisher, journal=200)
    sent = 0
    with capture_logs() as logs:
        while recorder.healthy:
            recorder.append(encode(sent))
            sent += 1
            await asyncio.sleep(0.002)
            assert sent < 500
        await asyncio.sleep(0.05)  # tried again many times
    assert [line["event"] for line in logs if line["event"].startswith("journal")] == ["journal_refuses"]
    assert (tmp_path / "journal").stat().st_size <= 200
    publisher.default = "ack"
    await until(lambda: recorder.healthy)
    await recorder.flush()
    await until(lambda: recorder._journal.bytes_waiting == 0)
    assert numbers(publisher.landed.values()) == list(range(sent))


async def test_more_than_a_message_holds_goes_in_several(make: Make) -> None:
    publisher = FakePublisher("hold")
    recorder = make(publisher)
    facts = [encode(bytes([n]) * 400_000) for n in range(10)]
    batches = [recorder.append(fact) for fact in facts]
    publisher.release.set()
    await all_durable(batches)
    assert all(len(payload) <= MB + 5 for payload in publisher.landed.values())
    assert [fact for p in publisher.landed.values() for fact in msgspec.msgpack.decode(p)] == [
        bytes([n]) * 400_000 for n in range(10)
    ]


async def test_flush_returns_when_everything_appended_is_durable(make: Make) -> None:
    publisher = FakePublisher("hold")
    recorder = make(publisher)
    await recorder.flush()
    batch = recorder.append(encode(1))
    flushing = asyncio.create_task(recorder.flush())
    await asyncio.sleep(0.02)
    assert not flushing.done()
    publisher.release.set()
    await flushing
    assert batch.durable


async def test_a_disk_that_fails_while_draining_is_tried_again(
    make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recorder_, "UNREADABLE_WAIT_S", 0.005, raising=False)
    journal = Journal(tmp_path / "journal", 1000)
    publisher = FakePublisher("away")
    failures = 3
    for name in ("oldest", "acknowledged"):
        real = getattr(journal, name)

        def flaky(real: Callable[[], Any] = real) -> Any:
            nonlocal failures
            failures -= 1
            if failures >= 0:
                raise OSError(5, "Input/output error")
            return real()

        monkeypatch.setattr(journal, name, flaky)
    recorder = make(publisher, journal=journal)
    await recorder.append(encode(1)).wait_durable()
    await until(lambda: journal.bytes_waiting == 0)
    await recorder.append(encode(2)).wait_durable()
    assert numbers(publisher.landed.values()) == [1, 2]


async def test_a_restart_sends_what_the_predecessor_left(make: Make) -> None:
    publisher = FakePublisher()
    publisher.default = "away"
    first = make(publisher)
    await all_durable([first.append(encode(n)) for n in range(3)])
    await first.close()
    publisher.default = "ack"
    second = make(publisher)
    await second.append(encode(3)).wait_durable()
    await until(lambda: len(publisher.acked) == 2)
    assert numbers(publisher.landed.values()) == [0, 1, 2, 3]


async def test_a_stop_in_the_middle_of_a_journal_write_leaves_a_whole_record(
    make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    journal = Journal(tmp_path / "journal", 10_000)
    real, writing = journal.append, asyncio.Event()
    loop = asyncio.get_running_loop()

    def slow(message_id: str, payload: bytes) -> None:
        loop.call_soon_threadsafe(writing.set)
        time.sleep(0.05)
        real(message_id, payload)

    monkeypatch.setattr(journal, "append", slow)
    publisher = FakePublisher("away")
    recorder = make(publisher, journal=journal)
    recorder.append(encode(7))
    await writing.wait()
    await recorder.close()
    assert journaled(tmp_path / "journal") == [7]


class Flaky(Journal):
    """Refuses to append while `broken`."""

    broken = False

    def append(self, message_id: str, payload: bytes) -> None:
        if self.broken:
            raise JournalFullError("No space left on device")
        super().append(message_id, payload)
