"""Several ledgers on one book, one of them killed or stopped, and ledgers whose PostgreSQL goes
away: each request is recorded once.
"""

import asyncio
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import asyncpg
import pytest
from nats.aio.client import Client

from services.ledger import lock
from services.ledger.config import LedgerSettings
from services.ledger.database import Database
from services.ledger.expire import Expirer
from services.ledger.streams import TrafficPoster
from services.ledger.writer import Writer
from shared import subjects
from tests.ledger.ledger_kit import Book, eventually, now_ms, opened, publish, running, settled
from tests.ledger.processes import Process, recorded, recording, two
from tests.ledger.servers import Nats, Postgres
from tests.support.pace import at_pace


@pytest.mark.alone
async def test_two_ledgers_one_killed_each_request_once(
    nats_server: Nats, client: Client, book: Book, tmp_path: Path
) -> None:
    """5,000 requests; the ledger that records is killed in the middle; the other takes over."""
    with two(nats_server.url, book.url, tmp_path) as ledgers:
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
        assert asyncio.get_running_loop().time() - killed_at < at_pace(5)
        await recorded(book, 5_000)
        assert await book.value("SELECT count(*) FROM request_log") == 5_000
        assert await book.spend() == (5_000, 5_000 * 13_500_000)
        assert await book.value("SELECT count(*) FROM request_open") == 0
        assert await book.anomalies() == []
        assert await book.rollups_agree()
        survivor = next(ledger for ledger in ledgers if ledger is not victim)
        survivor.process.terminate()
        assert await asyncio.to_thread(survivor.process.wait, 20) == 0


async def test_a_stopped_holder_loses_the_lock_and_writes_nothing_when_it_wakes(
    nats_server: Nats, client: Client, book: Book, tmp_path: Path
) -> None:
    with two(nats_server.url, book.url, tmp_path) as ledgers:
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
    """Stands before PostgreSQL. To the first question it adds what PostgreSQL says when it dies,
    and doesn't close the connection yet.
    """

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

        async def works() -> object:
            return ledger.ledger._works

        ((_, recorder), *_) = await eventually(works)
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


async def test_ledgers_share_the_shards_and_one_takes_over_what_a_killed_one_had(
    nats_server: Nats, client: Client, book: Book, tmp_path: Path
) -> None:
    with two(nats_server.url, book.url, tmp_path, TOLLGATE_TRAFFIC_SHARDS="4") as ledgers:
        first, second = ledgers
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
        assert asyncio.get_running_loop().time() - killed_at < at_pace(7)  # 5 s, and 2 for a busy machine
        assert await second.shards() == set(range(4))
        assert await book.value("SELECT count(*) FROM request_log") == sent
        assert await book.anomalies() == []


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


class Lost:
    """A connection that the server has closed."""

    def add_termination_listener(self, told: Callable[[object], None]) -> None:
        told(self)


async def test_work_that_swallows_a_cancellation_ends_with_its_lock(monkeypatch: pytest.MonkeyPatch) -> None:
    """As the broker's client does when an answer comes at that moment: the lock was never tried for
    again, and nobody recorded the shard.
    """
    monkeypatch.setattr(lock, "IN_ORDER_S", 0.01)
    swallowed = False

    async def work() -> None:
        nonlocal swallowed
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            swallowed = True
        await asyncio.sleep(60)

    nobody: Any = None
    connection: Any = Lost()
    await asyncio.wait_for(lock.Lock(nobody, 1, "work", asyncio.Event())._hold(connection, work), 10)
    assert swallowed
