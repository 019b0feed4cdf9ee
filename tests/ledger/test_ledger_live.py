"""The whole ledger on a real nats-server and PostgreSQL: from the streams into the book, through restarts and losses."""

import asyncio
import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from urllib.parse import urlsplit

import aiohttp
import asyncpg
import pytest
from nats.aio.client import Client

from services.ledger import lock
from services.ledger import ordered_consumer as consumer_module
from services.ledger.config import LedgerSettings
from services.ledger.database import Database
from services.ledger.expire import Expirer
from services.ledger.ordered_consumer import ConsumerError, OrderedConsumer
from services.ledger.streams import TrafficPoster
from services.ledger.trim import Trimmer
from services.ledger.writer import Writer
from shared import streams, subjects
from tests.ledger.ledger_kit import Book, Running, eventually, now_ms, opened, packed, publish, running, settled
from tests.ledger.servers import Nats, Postgres
from tests.support.ports import free_port


async def recorded(book: Book, requests: int, seconds: float = 20) -> None:
    async def check() -> bool:
        return (await book.spend())[0] >= requests

    await eventually(check, f"{requests} requests in the book", seconds)


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
    """The end is in the stream, unread, when the ledger starts long after the call should have ended."""
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


async def test_two_ledgers_one_killed_each_request_once(
    nats_server: Nats, client: Client, book: Book, tmp_path: Path
) -> None:
    """5,000 requests; the ledger that records is killed in the middle; the other takes over."""
    ledgers = [Process(nats_server.url, book.url, tmp_path / f"{n}.log") for n in (1, 2)]
    try:
        for ledger in ledgers:
            await ledger.ready()
        calls = [opened() for _ in range(5_000)]
        killed = False
        for start in range(0, 5_000, 25):
            await publish(client, *calls[start : start + 25])
            await publish(client, *(settled(call) for call in calls[start : start + 25]))
            if not killed and start >= 2_000:
                killed = True
                await recorded(book, 500)
                victim = await recording(ledgers)
                victim.process.kill()
                killed_at = asyncio.get_running_loop().time()
                at_kill = (await book.spend())[0]
        await recorded(book, at_kill + 1)
        assert asyncio.get_running_loop().time() - killed_at < 5
        await recorded(book, 5_000)
        assert await book.value("SELECT count(*) FROM request_log") == 5_000
        assert await book.spend() == (5_000, 5_000 * 13_500_000)
        assert await book.value("SELECT count(*) FROM request_open") == 0
        assert await book.anomalies() == []
        assert await book.rollups_agree()
        survivor = next(ledger for ledger in ledgers if ledger is not victim)
        survivor.process.terminate()
        assert await asyncio.to_thread(survivor.process.wait, 20) == 0
    finally:
        for ledger in ledgers:
            ledger.process.kill()
            ledger.process.wait()


async def test_a_stopped_holder_loses_the_lock_and_writes_nothing_when_it_wakes(
    nats_server: Nats, client: Client, book: Book, tmp_path: Path
) -> None:
    ledgers = [Process(nats_server.url, book.url, tmp_path / f"{n}.log") for n in (1, 2)]
    try:
        for ledger in ledgers:
            await ledger.ready()
        await publish(client, settled())
        await recorded(book, 1)
        holder = await recording(ledgers)
        holder.process.send_signal(signal.SIGSTOP)
        await publish(client, settled())
        await recorded(book, 2, 7)  # 5 s, and 2 for a busy machine
        holder.process.send_signal(signal.SIGCONT)
        for _ in range(5):
            await publish(client, settled())
        await recorded(book, 7)
        assert await book.value("SELECT count(*) FROM request_log") == 7
        assert await book.anomalies() == []
    finally:
        for ledger in ledgers:
            ledger.process.kill()
            ledger.process.wait()


async def test_racing_recorders_without_any_lock_still_record_once(
    nats_server: Nats, client: Client, book: Book, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The lock keeps the order; the position in the transaction keeps the truth."""

    async def no_lock(self: lock.Lock, connection: object) -> None:
        return

    monkeypatch.setattr(lock.Lock, "_wait_for_lock", no_lock)
    async with running(nats_server.url, book.url), running(nats_server.url, book.url):
        for _ in range(60):
            await publish(client, *(settled() for _ in range(10)))
        await recorded(book, 600)
    assert await book.value("SELECT count(*) FROM request_log") == 600
    assert await book.anomalies() == []
    assert await book.rollups_agree()


async def test_the_database_restarted_mid_way(nats_server: Nats, client: Client, tmp_path: Path) -> None:
    directory = tmp_path / "own-postgres"
    directory.mkdir()
    own = Postgres(directory)
    own.start()
    await own.ready()
    book = Book(await own.new_database())
    try:
        async with running(nats_server.url, book.url) as ledger:
            await book.open()
            await publish(client, *(settled() for _ in range(20)))
            await recorded(book, 20)
            await book.close()
            own.stop(signal.SIGQUIT)  # as a crash
            for _ in range(5):
                await publish(client, *(settled() for _ in range(20)))

            async def says_so() -> bool:
                return "database" in (ledger.life.reason_not_ready() or "")

            await eventually(says_so)
            status, body, _ = await ledger.get("/spend/tags")
            assert (status, body["error"]["code"]) == (503, "503")
            own.start()
            await own.ready()
            await book.open()
            await recorded(book, 120)

            async def ready() -> bool:
                return ledger.life.reason_not_ready() is None

            await eventually(ready)
        assert await book.value("SELECT count(*) FROM request_log") == 120
        assert await book.rollups_agree()
    finally:
        await book.close()
        own.stop()


class LastWord:
    """Stands before PostgreSQL. To the first question it adds what PostgreSQL says when it dies, and doesn't close the connection yet."""

    FATAL = b"SFATAL\0VFATAL\0C57P01\0Mterminating connection due to unexpected postmaster exit\0\0"
    PARSED = b"1\0\0\0\4"

    def __init__(self, url: str) -> None:
        self._port = urlsplit(url).port
        self._tasks: set[asyncio.Task[None]] = set()
        self.said = False

    async def __aenter__(self) -> "LastWord":
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = int(self._server.sockets[0].getsockname()[1])
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        server_reader, server_writer = await asyncio.open_connection("127.0.0.1", self._port)
        for pair in ((reader, server_writer), (server_reader, writer)):
            self._tasks.add(asyncio.create_task(self._pass(*pair)))

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(65536):
            if not self.said and data.startswith(self.PARSED):
                self.said = True
                data += b"E" + (len(self.FATAL) + 4).to_bytes(4, "big") + self.FATAL
            writer.write(data)
        writer.close()


async def test_a_connection_that_heard_its_servers_last_word_is_a_lost_one(book: Book) -> None:
    """asyncpg has an error of its own for asking on it. It was nobody's, and the ledger ended."""
    stopping, working = asyncio.Event(), asyncio.Event()

    async def work() -> None:
        working.set()
        await stopping.wait()

    async with LastWord(book.url) as server:
        url = book.url.replace(f":{urlsplit(book.url).port}/", f":{server.port}/")
        held = asyncio.create_task(lock.Lock(Database(url), 77, "test", stopping).run(work))
        waiting = asyncio.create_task(working.wait())
        await asyncio.wait((held, waiting), timeout=10, return_when=asyncio.FIRST_COMPLETED)
        assert server.said and working.is_set() and not held.done()
        stopping.set()
        await asyncio.wait_for(held, 10)


@pytest.mark.parametrize("part", ["recorder", "expirer"])
async def test_work_that_lost_its_lock_in_a_transaction_ends(
    nats_server: Nats, client: Client, book: Book, monkeypatch: pytest.MonkeyPatch, part: str
) -> None:
    """The server is gone: ROLLBACK fails, and its error comes out where the cancellation should."""
    in_transaction, stopping = asyncio.Event(), asyncio.Event()

    async def cut_off(*_: object) -> None:
        in_transaction.set()
        try:
            await asyncio.sleep(60)
        finally:
            raise asyncpg.InterfaceError("connection is closed")

    async with running(nats_server.url, book.url) as ledger:
        poster = TrafficPoster(book.database, 7, 8, now_ms)
        _, recorder = ledger.ledger._works[0]
        if part == "recorder":
            work = Writer(client, poster, LedgerSettings(), stopping)
            monkeypatch.setattr(work, "_run_session", cut_off)
            task = asyncio.create_task(work.run())
        else:
            expirer = Expirer(recorder, poster, 1, 0, stopping, now_ms)
            monkeypatch.setattr(expirer, "look", cut_off)
            task = asyncio.create_task(expirer.run())
        await in_transaction.wait()
        task.cancel()
        done, _ = await asyncio.wait((task,), timeout=5)
        stopping.set()
        task.cancel()
        assert done
        assert task.cancelled()


async def test_a_ledger_waits_for_its_database(nats_server: Nats, client: Client, tmp_path: Path) -> None:
    directory = tmp_path / "own-postgres"
    directory.mkdir()
    own = Postgres(directory)
    own.start()
    await own.ready()
    url = await own.new_database()
    own.stop()
    log = tmp_path / "ledger.log"
    ledger = Process(nats_server.url, url, log)
    try:

        async def reason() -> str:
            return (await ledger.probe("/ready"))[1]

        async def waits() -> bool:
            return "database" in await reason()

        await eventually(waits)
        assert (await ledger.probe("/live"))[0] == 200
        early = Process(nats_server.url, url, tmp_path / "early.log")
        while (await early.probe("/live"))[0] != 200:
            await asyncio.sleep(0.05)
        early.process.terminate()
        assert await asyncio.to_thread(early.process.wait, 20) == 0, "a ledger that waits can be stopped"
        own.start()
        await own.ready()
        await ledger.ready()
        ledger.process.terminate()
        assert await asyncio.to_thread(ledger.process.wait, 20) == 0
    finally:
        ledger.process.kill()
        ledger.process.wait()
        own.stop()


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


async def test_ledgers_share_the_shards_and_one_takes_over_what_a_killed_one_had(
    nats_server: Nats, client: Client, book: Book, tmp_path: Path
) -> None:
    first, second = ledgers = [
        Process(nats_server.url, book.url, tmp_path / f"{n}.log", TOLLGATE_TRAFFIC_SHARDS="4") for n in (1, 2)
    ]
    try:
        await first.ready()
        await second.ready()

        async def halves() -> bool:
            return [len(await ledger.shards()) for ledger in ledgers] == [2, 2]

        await eventually(halves, "two shards each")
        assert await first.shards() | await second.shards() == set(range(4))
        sent = 0
        for killed in (False, True):
            if killed:
                first.process.kill()
                killed_at = asyncio.get_running_loop().time()
            for shard in (0, 1, 2, 3) * 5:
                await publish(client, settled(), subject=subjects.traffic(shard))
                sent += 1
            await recorded(book, sent)
        assert asyncio.get_running_loop().time() - killed_at < 7  # 5 s, and 2 for a busy machine
        assert await second.shards() == set(range(4))
        assert await book.value("SELECT count(*) FROM request_log") == sent
        assert await book.anomalies() == []
    finally:
        for ledger in ledgers:
            ledger.process.kill()
            ledger.process.wait()


@pytest.mark.parametrize(
    ("locks", "others", "held", "excess"),
    [(1, 0, 0, -1), (1, 1, 1, 0), (1, 1, 0, -1), (4, 0, 4, 0), (4, 1, 4, 2), (4, 1, 2, 0), (5, 1, 3, 0), (5, 1, 2, -1), (4, 7, 1, 0)],
)  # fmt: skip
def test_how_many_shards_a_ledger_holds_too_many(locks: int, others: int, held: int, excess: int) -> None:
    share = lock.Share(locks, lambda: True)
    share.held = held
    assert share.excess(others) == excess


@pytest.mark.parametrize(("others", "excess"), [(0, 0), (1, 2)])
def test_a_ledger_that_cannot_work_holds_no_shard_that_another_would_take(others: int, excess: int) -> None:
    share = lock.Share(2, lambda: False)
    share.held = 2
    assert share.excess(others) == excess


async def recording(ledgers: list["Process"]) -> "Process":
    """The one that holds TRAFFIC's lock."""
    found: list[Process] = []

    async def look() -> bool:
        found[:] = []
        for ledger in ledgers:
            if await ledger.shards():
                found.append(ledger)
        return len(found) == 1

    await eventually(look)
    return found[0]


class Process:
    """`python -m services.ledger` as its users start it."""

    def __init__(self, nats_url: str, database_url: str, log: Path, **more: str) -> None:
        """`more`: of its environment."""
        self._probe_port = free_port()
        env = {name: value for name, value in os.environ.items() if not name.startswith("TOLLGATE_")}
        env |= {
            "TOLLGATE_NATS_URL": nats_url,
            "TOLLGATE_DATABASE_URL": database_url,
            "TOLLGATE_DATA_DIR": str(log.parent),
            "TOLLGATE_LEDGER_PORT": str(free_port()),
            "TOLLGATE_LEDGER_PROBE_PORT": str(self._probe_port),
            **more,
        }
        with log.open("wb") as out:
            self.process = subprocess.Popen([sys.executable, "-m", "services.ledger"], env=env, stdout=out, stderr=out)

    async def probe(self, path: str) -> tuple[int, str]:
        try:
            async with (
                aiohttp.ClientSession() as http,
                http.get(
                    f"http://127.0.0.1:{self._probe_port}{path}", timeout=aiohttp.ClientTimeout(total=3)
                ) as answer,
            ):
                return answer.status, await answer.text()
        except (aiohttp.ClientError, TimeoutError):
            return 0, ""

    async def shards(self) -> set[int]:
        """Of TRAFFIC, which it records."""
        _, text = await self.probe("/metrics")
        return {int(shard) for shard in re.findall(r'recording\{stream="traffic\.(\d+)"\} 1\.0', text)}

    async def ready(self) -> None:
        async def check() -> bool:
            return (await self.probe("/ready"))[0] == 200

        await eventually(check, "ready", 30)
