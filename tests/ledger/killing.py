"""A ledger and its PostgreSQL, killed at random moments while facts come in: for a test with a few
kills, and `make prove` with a hundred.
"""

import asyncio
import random
import signal
import sys
import time
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path

import asyncpg
import nats.errors
from nats.aio.client import Client

from services.ledger import rebuild, verify
from services.ledger.database import DATABASE_ERRORS, Database
from services.ledger.rebuild import Asked
from shared import streams, subjects
from tests.ledger.ledger_kit import control, opened, publish, publish_control, settled
from tests.ledger.processes import Process
from tests.ledger.servers import Nats, Postgres

START_S = 60.0
FACTS = 20
"""Calls in a message."""
PAUSE_S = 0.1
"""Between two messages' worth: the whole book is compared after every kill, so it may not become
large.
"""


class Sent:
    """What was published, and acknowledged by the broker."""

    def __init__(self) -> None:
        self.calls = 0
        self.controls = 0
        self.done = asyncio.Event()
        self.going = asyncio.Event()
        """Not while the book is compared: it would only grow by what nobody kills."""
        self.going.set()

    async def send(self, client: Client) -> None:
        """Until `done`: calls opened and settled, some settled in the same message, and a control
        fact now and then.
        """
        while not self.done.is_set():
            await self.going.wait()
            calls = [opened(tags=[f"t{n % 3}"]) for n in range(FACTS)]
            await until_stored(partial(publish, client, *calls))
            await until_stored(partial(publish, client, *(settled(call) for call in calls)))
            self.calls += FACTS
            if self.calls % (FACTS * 10) == 0:
                await until_stored(partial(publish_control, client, control(entity_id=f"t{self.calls}")))
                self.controls += 1
            await asyncio.sleep(PAUSE_S)


async def until_stored(publishing: Callable[[], Awaitable[int]]) -> None:
    """As an edge does it: what the broker didn't confirm in time goes again, and is the same
    fact.
    """
    while True:
        try:
            await publishing()
            return
        except nats.errors.TimeoutError:
            await asyncio.sleep(PAUSE_S)


async def started(server: Postgres) -> None:
    """Again on its data: what a killed postmaster left behind may need a moment to go."""
    deadline = time.monotonic() + START_S
    while True:
        server.start()
        assert server.process is not None
        while server.process.poll() is None:
            try:
                await (await asyncpg.connect(server.url("postgres"), timeout=2)).close()
                return
            except (OSError, asyncpg.PostgresError, TimeoutError):
                await asyncio.sleep(0.05)
        assert time.monotonic() < deadline, "PostgreSQL doesn't start again"
        await asyncio.sleep(0.2)


async def agree(url: str, what: str) -> None:
    """Rows, sums and chains, in one snapshot each."""
    database = Database(url)
    assert await verify.run(database) == 0, f"{what}: verify"
    assert await rebuild.run(database, Asked(check_only=True)) == 0, f"{what}: rebuild --check"


async def kill(directory: Path, nats: Nats, client: Client, kills: int, seed: int) -> Sent:
    """Raises AssertionError where anything disagrees. Returns what was sent, all of which is in the
    book then.
    """
    draw, sent = random.Random(seed), Sent()
    (directory / "postgres").mkdir()
    server = Postgres(directory / "postgres")
    server.start()
    await server.ready()
    url = await server.new_database()
    ledger = Process(nats.url, url, directory / "ledger.log")
    await ledger.ready()
    sending = asyncio.create_task(sent.send(client))
    try:
        recorded = 0
        for number in range(kills):
            try:
                recorded = await _records(url, recorded)
            except TimeoutError:
                log = (directory / "ledger.log").read_text()[-3000:]
                raise AssertionError(f"seed {seed}, kill {number}: nothing is recorded ({sending}):\n{log}") from None
            await asyncio.sleep(draw.uniform(0, 1))
            victim = draw.choice(("ledger", "postgres", "both"))
            if victim != "postgres":
                ledger.process.kill()
                ledger.process.wait()
            if victim != "ledger":
                server.stop(signal.SIGKILL)
                await started(server)
            if victim != "postgres":
                ledger = Process(nats.url, url, directory / "ledger.log")
            sent.going.clear()
            await agree(url, f"seed {seed}, kill {number} of {victim}")
            sent.going.set()
            print(f"kill {number + 1} of {kills}: {victim}, {sent.calls} calls", file=sys.stderr, flush=True)
        sent.done.set()
        await sending
        await _level(client, url)
        await agree(url, f"seed {seed}, at the end")
        await _all_there(url, sent)
    finally:
        sent.done.set()
        sending.cancel()
        await asyncio.gather(sending, return_exceptions=True)
        ledger.process.kill()
        ledger.process.wait()
        server.stop(signal.SIGQUIT)
    return sent


async def _records(url: str, before: int) -> int:
    """Waits until the ledger has recorded more of TRAFFIC than that: it is killed at work, not
    while it starts. Returns how far it is.

    Raises TimeoutError.
    """
    deadline = time.monotonic() + START_S
    while True:
        try:
            connection = await asyncpg.connect(url, timeout=5)
            seq = await connection.fetchval(
                "SELECT max(seq) FROM tollgate.stream_position WHERE stream = $1", subjects.TRAFFIC_STREAM
            )
            await connection.close()
            if (seq or 0) > before:
                return int(seq)
        except DATABASE_ERRORS:
            pass
        if time.monotonic() > deadline:
            raise TimeoutError
        await asyncio.sleep(0.02)


async def _level(client: Client, url: str) -> None:
    """Until the positions stand at the streams' ends, and the cube at the batches'."""
    deadline = time.monotonic() + START_S
    while True:
        ends = {
            stream: (await streams.state(client, stream)).last_seq
            for stream in (subjects.TRAFFIC_STREAM, subjects.CONTROL_STREAM)
        }
        try:
            connection = await asyncpg.connect(url, server_settings={"search_path": "tollgate"}, timeout=5)
            at = {
                row["stream"]: row["seq"] for row in await connection.fetch("SELECT stream, seq FROM stream_position")
            }
            behind = await connection.fetchval(
                "SELECT count(*) FROM batch_log b WHERE n > coalesce((SELECT batch FROM spend_position c WHERE c.shard = b.shard), 0)"
            )
            await connection.close()
            if all(at.get(stream) == seq for stream, seq in ends.items()) and not behind:
                return
        except DATABASE_ERRORS:
            pass
        assert time.monotonic() < deadline, "the book isn't level with the streams"
        await asyncio.sleep(0.1)


async def _all_there(url: str, sent: Sent) -> None:
    connection = await asyncpg.connect(url, server_settings={"search_path": "tollgate"})
    counted = {
        "calls": await connection.fetchval("SELECT count(*) FROM request_log WHERE NOT provisional"),
        "ids": await connection.fetchval("SELECT count(DISTINCT id) FROM request_log"),
        "open": await connection.fetchval("SELECT count(*) FROM request_open"),
        "requests": await connection.fetchval("SELECT sum(requests) FROM rollup WHERE dimension = 'total'"),
        "cube": await connection.fetchval("SELECT sum(requests) FROM spend_calls"),
        "controls": await connection.fetchval("SELECT count(*) FROM audit_log WHERE kind = 'team'"),
        "anomalies": await connection.fetchval("SELECT count(*) FROM anomalies"),
    }
    await connection.close()
    wanted = {
        **dict.fromkeys(("calls", "ids", "requests", "cube"), sent.calls),
        "open": 0,
        "controls": sent.controls,
        "anomalies": 0,
    }
    assert counted == wanted
