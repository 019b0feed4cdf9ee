"""The whole ledger on a real nats-server and PostgreSQL: from the streams into the book, through a
broker's restarts and losses.
"""

import asyncio

import pytest
from nats.aio.client import Client

from services.ledger import ordered_consumer as consumer_module
from services.ledger.ordered_consumer import ConsumerError, OrderedConsumer
from services.ledger.trim import Trimmer
from shared import streams, subjects
from tests.ledger.ledger_kit import Book, Running, eventually, now_ms, opened, packed, publish, running, settled
from tests.ledger.processes import recorded
from tests.ledger.servers import Nats


async def test_from_the_stream_into_the_book(nats_server: Nats, client: Client, book: Book) -> None:
    call = opened(tags=["live"])
    async with running(nats_server.url, book.url):
        await publish(client, call)
        await publish(client, settled(call))
        await recorded(book, 1)
    assert await book.spend("tag", "live") == (1, 13_500_000)
    assert await book.value("SELECT count(*) FROM request_open") == 0
    assert await book.value("SELECT stream_seq FROM request_log") == 2
    assert (await book.position()).seq == 2


async def test_what_was_published_while_no_ledger_ran_is_recorded_once(
    nats_server: Nats, client: Client, book: Book
) -> None:
    for _ in range(3):
        await publish(client, settled())
    async with running(nats_server.url, book.url):
        await recorded(book, 3)
    await publish(client, settled())
    async with running(nats_server.url, book.url):
        await recorded(book, 4)
    assert await book.value("SELECT count(*) FROM request_log") == 4
    assert await book.anomalies() == []


async def test_more_messages_than_one_request_brings(nats_server: Nats, client: Client, book: Book) -> None:
    js = client.jetstream(timeout=10)
    for _ in range(12):
        await asyncio.gather(*(js.publish("traffic.0", packed(settled())) for _ in range(100)))
    async with running(nats_server.url, book.url, batch_messages_max=70):
        await recorded(book, 1_200)
    assert await book.value("SELECT count(*) FROM request_log") == 1_200


async def test_an_unended_call_expires_and_a_late_settlement_wins(
    nats_server: Nats, client: Client, book: Book
) -> None:
    call = opened(expires_at_ms=now_ms() + 300)
    async with running(nats_server.url, book.url):
        await publish(client, call)

        async def outcome() -> str | None:
            return await book.value("SELECT outcome FROM request_book")

        async def expired() -> bool:
            return await outcome() == "expired"

        async def settled_() -> bool:
            return await outcome() == "success"

        await eventually(expired)
        assert now_ms() >= call.expires_at_ms
        await publish(client, settled(call))
        await eventually(settled_)
    assert await book.spend() == (1, 13_500_000)
    assert await book.rollups_agree()


async def test_nothing_expires_while_its_end_may_be_in_the_stream(
    nats_server: Nats, client: Client, book: Book
) -> None:
    """The end is in the stream, unread, when the ledger starts long after the call should have
    ended.
    """
    call = opened(expires_at_ms=now_ms() + 500)
    await publish(client, call)
    for _ in range(30):
        await publish(client, settled())
    await publish(client, settled(call))
    await asyncio.sleep(0.6)
    async with running(nats_server.url, book.url, batch_messages_max=1, expire_check_ms=1):
        await recorded(book, 31)
    assert await book.value("SELECT count(*) FROM request_log WHERE provisional") == 0


async def test_nothing_expires_while_the_broker_is_away(nats_server: Nats, client: Client, book: Book) -> None:
    call = opened(expires_at_ms=now_ms() + 1_000)
    async with running(nats_server.url, book.url) as ledger:
        await publish(client, call)

        async def is_open() -> bool:
            return bool(await book.value("SELECT count(*) FROM request_open"))

        await eventually(is_open)
        nats_server.kill()
        await asyncio.sleep(1.6)
        assert await is_open()
        assert ledger.life.reason_not_ready() == "the bus is unreachable"
        nats_server.start()

        async def expired() -> bool:
            return await book.value("SELECT outcome FROM request_book") == "expired"

        await eventually(expired)


async def test_the_broker_restarted_mid_way(nats_server: Nats, client: Client, book: Book) -> None:
    async with running(nats_server.url, book.url):
        await publish(client, settled())
        await recorded(book, 1)
        nats_server.kill()
        await asyncio.sleep(0.3)
        nats_server.start()

        async def published() -> bool:
            try:
                return bool(await publish(client, settled()))
            except Exception:
                return False

        await eventually(published)
        await recorded(book, 2)
    assert await book.anomalies() == []


async def test_a_stream_that_was_lost_and_rebuilt_is_read_from_its_beginning(
    nats_server: Nats, client: Client, book: Book
) -> None:
    calls = [settled() for _ in range(5)]
    async with running(nats_server.url, book.url):
        for call in calls:
            await publish(client, call)
        await recorded(book, 5)
    await client.jetstream().delete_stream(subjects.TRAFFIC_STREAM)
    await streams.ensure_traffic(client, 64 * 1024**2)
    # Shorter than the position: noticed at once. One of them is known.
    await publish(client, settled())
    await publish(client, calls[4])
    async with running(nats_server.url, book.url):
        await recorded(book, 6)
    assert await book.anomalies() == ["rewind"]
    await client.jetstream().delete_stream(subjects.TRAFFIC_STREAM)
    await streams.ensure_traffic(client, 64 * 1024**2)
    # As long as the position and longer: known by the time of the message at the position.
    for _ in range(9):
        await publish(client, settled())
    async with running(nats_server.url, book.url):
        await recorded(book, 15)
    assert await book.anomalies() == ["rewind", "rewind"]
    assert await book.value("SELECT count(*) FROM request_log") == 15


async def test_messages_removed_before_they_were_recorded_are_an_anomaly(
    nats_server: Nats, client: Client, book: Book
) -> None:
    async with running(nats_server.url, book.url):
        await publish(client, settled())
        await recorded(book, 1)
    for _ in range(4):
        await publish(client, settled())
    await client.jetstream().purge_stream(subjects.TRAFFIC_STREAM, seq=4)
    async with running(nats_server.url, book.url):
        await recorded(book, 3)
    assert await book.anomalies() == ["gap"]
    assert await book.value("SELECT detail FROM anomalies") == "messages 2 to 3 were gone before they were recorded"


async def test_recorded_messages_are_trimmed_but_the_last_one_stays(
    nats_server: Nats, client: Client, book: Book
) -> None:
    async with running(nats_server.url, book.url, traffic_keep_hours=0.0) as ledger:
        for _ in range(6):
            await publish(client, settled())
        await recorded(book, 6)
        assert await trimmer(client, ledger, keep_hours=24).look() is None
        state = await streams.state(client, subjects.TRAFFIC_STREAM)
        assert (state.first_seq, state.last_seq) == (1, 6)
        assert await trimmer(client, ledger, keep_hours=0).look() == 6
        state = await streams.state(client, subjects.TRAFFIC_STREAM)
        assert (state.first_seq, state.last_seq) == (6, 6)
    await publish(client, settled())
    async with running(nats_server.url, book.url):
        await recorded(book, 7)
    assert await book.anomalies() == []


async def test_a_half_full_stream_is_trimmed_whatever_its_age(nats_server: Nats, client: Client, book: Book) -> None:
    await client.jetstream().delete_stream(subjects.TRAFFIC_STREAM)
    await streams.ensure_traffic(client, streams.BYTES_MIN_PER_SHARD)
    async with running(nats_server.url, book.url) as ledger:
        one = trimmer(client, ledger, keep_hours=24)
        await publish(client, settled())
        await recorded(book, 1)
        assert await one.look() is None
        for n in range(6):
            await publish(client, settled(opened(spend_logs_metadata={"pad": "x" * 400_000})))
            await recorded(book, 2 + n)
        assert await one.look() == 7


def trimmer(client: Client, ledger: Running, keep_hours: float) -> Trimmer:
    _, recorder = ledger.ledger._works[0]
    return Trimmer(client, recorder, "TRAFFIC", "traffic.0", keep_hours, asyncio.Event(), now_ms)


async def test_the_reading_breaks_when_its_consumer_is_gone(nats_server: Nats, client: Client) -> None:
    consumer = OrderedConsumer(client, subjects.TRAFFIC_STREAM, "traffic.0", 1)
    await consumer.open()
    await publish(client, settled())
    await consumer.wait()
    assert [message.seq for message in await consumer.take(10, 10**6)] == [1]
    assert await consumer.pending() == 0
    await client.jetstream().delete_consumer(subjects.TRAFFIC_STREAM, consumer._consumer)
    with pytest.raises(ConsumerError):
        await asyncio.wait_for(consumer.wait(), 10)
    await consumer.close()


async def test_a_slow_reader_stops_the_asking_not_the_consumer(
    nats_server: Nats, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(consumer_module, "REQUEST_MESSAGES", 5)
    monkeypatch.setattr(consumer_module, "WAITING_BYTES_MAX", 1)
    for _ in range(20):
        await publish(client, settled())
    consumer = OrderedConsumer(client, subjects.TRAFFIC_STREAM, "traffic.0", 1)
    await consumer.open()
    await asyncio.sleep(0.3)
    assert len(consumer._waiting) == 5
    seen: list[int] = []
    async with asyncio.timeout(10):
        while len(seen) < 20:
            await consumer.wait()
            seen += [message.seq for message in await consumer.take(2, 10**6)]
    assert seen == list(range(1, 21))
    await consumer.close()


async def test_several_shards_each_with_its_recorder(nats_server: Nats, client: Client, book: Book) -> None:
    async with running(nats_server.url, book.url, traffic_shards=3):
        for shard in (0, 1, 2, 2):
            await publish(client, settled(), subject=subjects.traffic(shard))
        await recorded(book, 4)
        positions = await book.fetch("SELECT shard, seq FROM stream_position WHERE stream = 'TRAFFIC' ORDER BY shard")
        assert [tuple(row.values()) for row in positions] == [(0, 1), (1, 2), (2, 4)]
    assert await book.anomalies() == []
