"""`restore-traffic`: after the database was restored from an older backup: says so in a control
fact, and sees to it that the book gets back what it lacks.

    restore-traffic [--check] [--everything] [--wait SECONDS]

Recorders go on from the positions that the backup has, so a running ledger records by itself what
TRAFFIC still holds: recorded messages stay for TOLLGATE_TRAFFIC_KEEP_HOURS. This command tells,
shard by shard, from where to where that is, and what is lost because it was trimmed; writes the
fact (kind `restore`), by which `verify` knows why checkpoints are missing; and waits until the book
has it all. `--everything` goes back to the stream's first message instead, for a book that lost
rows or partitions: what it has is recognised by its ids. `--check` only tells.

The audit log comes back by itself: CONTROL keeps all of it.
"""

import argparse
import asyncio
import os
import sys
import time
from contextlib import suppress
from datetime import UTC, datetime
from typing import NamedTuple

from services.ledger import config
from services.ledger.book import Position, PositionMovedError, Tally
from services.ledger.database import DATABASE_ERRORS, QUERIES, Connection, Database
from services.ledger.ordered_consumer import BUS_ERRORS, ConsumerError, OrderedConsumer
from services.ledger.telling import LEDGER, Teller
from shared import bus, streams, subjects
from shared.bus import BusClient, BusError
from shared.clock import unix_ms
from shared.config import ConfigError
from shared.settings import SettingsError

LOOK_S = 2.0
POLL_S = 0.2
TRIES = 20


class Shard(NamedTuple):
    """What the broker has for a shard, and where the book is."""

    number: int
    position: Position
    first: Position | None
    """The first message from the position on; None: there is none."""
    pending: int
    """Messages after the position."""
    alone: bool

    @property
    def same(self) -> bool:
        """Whether the message at the position is the one that was recorded, or none was."""
        return self.position.seq == 0 or (self.first is not None and self.first == self.position)

    @property
    def lost(self) -> str | None:
        """Messages the book hasn't got and the broker neither; None: none, as far as can be
        told.
        """
        if self.same or self.first is None or self.first.seq <= self.position.seq:
            return None
        span = f"between {_at(self.position)} and {_at(self.first)}"
        if not self.alone:
            return f"what came {span} may be lost"
        count = self.first.seq - self.position.seq - 1
        return f"{count} messages from {span} are lost" if count else None

    def __str__(self) -> str:
        text = f"shard {self.number}: the book is at message {self.position.seq}"
        if self.position.seq:
            text += f" of {_at(self.position)}"
        text += f"; the broker has {self.pending} after it"
        if self.first is None and self.position.seq:
            text += "; the stream is a new one, or empty: recording begins at its first message"
        return text + (f"; {self.lost}" if self.lost else "")


def command(arguments: list[str]) -> int:
    """Exit status: 0 the book has it all, 1 something is lost, 2 could not be done."""
    parser = argparse.ArgumentParser(
        prog="restore-traffic", description="After a database was restored from an older backup."
    )
    parser.add_argument("--check", action="store_true", help="only tell what the broker still has")
    parser.add_argument("--everything", action="store_true", help="read all again that the broker has")
    parser.add_argument("--wait", type=float, default=600.0, help="seconds until the ledger has recorded it; 600")
    asked = parser.parse_args(arguments)
    try:
        return asyncio.run(_main(asked.check, asked.everything, asked.wait))
    except (SettingsError, ConfigError, ConsumerError, *BUS_ERRORS, *DATABASE_ERRORS) as error:
        print(f"restore-traffic: {type(error).__name__}: {error}", file=sys.stderr)
        return 2


async def _main(check_only: bool, everything: bool, wait_s: float) -> int:
    settings = await config.read(os.environ)
    client = await bus.connect_once("ledger", settings.nats_url)
    try:
        return await run(config.database(settings), client, check_only=check_only, everything=everything, wait_s=wait_s)
    finally:
        await bus.close(client)


async def run(database: Database, client: BusClient, *, check_only: bool, everything: bool, wait_s: float) -> int:
    connection = await database.writer()
    try:
        state = await streams.state(client, subjects.TRAFFIC_STREAM)
        shards = [await look(connection, client, number, state.shards) for number in range(state.shards)]
        for shard in shards:
            print(shard)
        lost = any(shard.lost for shard in shards)
        if check_only:
            return 1 if lost else 0
        rows = await connection.fetchval("SELECT count(*) FROM request_log")
        if not await _tell(connection, client, shards, everything):
            return 2
        if everything:
            for shard in shards:
                await _rewind(connection, shard)
        if not await _wait(connection, client, wait_s):
            print("restore-traffic: not all is recorded yet; a ledger must be running", file=sys.stderr)
            return 2
        came = await connection.fetchval("SELECT count(*) FROM request_log") - rows
        print(f"{came} rows came back")
        return 1 if lost else 0
    finally:
        await connection.close(timeout=5)


async def look(connection: Connection, client: BusClient, number: int, shards: int) -> Shard:
    """Raises ConsumerError, or one of BUS_ERRORS and DATABASE_ERRORS."""
    row = await connection.fetchrow(QUERIES["position"], subjects.TRAFFIC_STREAM, number)
    position = Position(0, 0) if row is None else Position(row["seq"], row["message_at_ns"])
    consumer = OrderedConsumer(client, subjects.TRAFFIC_STREAM, subjects.traffic(number), position.seq)
    await consumer.open()
    try:
        pending, first = consumer.behind, None
        if pending:
            async with asyncio.timeout(LOOK_S * 5):
                await consumer.wait()
                message = (await consumer.take(1, 1))[0]
            first = Position(message.seq, message.at_ns)
            pending -= first == position
        return Shard(number, position, first, pending, shards == 1)
    finally:
        await consumer.close()


async def _tell(connection: Connection, client: BusClient, shards: list[Shard], everything: bool) -> bool:
    """The checkpoints that were made after the backup, and aren't in it, are void from now on."""
    lost = await connection.fetchval(QUERIES["restore_first_lost"])
    last = await connection.fetchval("SELECT max(n) FROM checkpoint")
    after = {
        "checkpoint": (lost - 1) if lost is not None else (last or 0), "at_ms": unix_ms(), "everything": everything,
        "shards": [
            {"shard": shard.number, "from": shard.position.seq, "pending": shard.pending, "lost": shard.lost} for shard in shards
        ],
    }  # fmt: skip
    try:
        await Teller(client).tell("restore", "book", "created", after, LEDGER)
    except BusError as error:
        print(f"restore-traffic: policy didn't record it ({error.code}): nothing is changed", file=sys.stderr)
        return False
    return True


async def _rewind(connection: Connection, shard: Shard) -> None:
    tally = Tally(connection, subjects.TRAFFIC_STREAM, shard.number)
    for _ in range(TRIES):
        known = await tally.position()
        with suppress(PositionMovedError):
            await tally.rewind(known, Position(0, 0), None)
            return
    raise ConsumerError(f"shard {shard.number} is recorded too fast to go back: stop the ledger for a moment")


async def _wait(connection: Connection, client: BusClient, wait_s: float) -> bool:
    """Until the book has all that is in the stream by now. A shard's last message has its own
    sequence: positions stand at those.
    """
    state = await streams.state(client, subjects.TRAFFIC_STREAM)
    deadline = time.monotonic() + wait_s
    while True:
        shards = [await look(connection, client, number, state.shards) for number in range(state.shards)]
        if not any(shard.pending for shard in shards):
            return True
        if time.monotonic() > deadline:
            return False
        await asyncio.sleep(POLL_S)


def _at(position: Position) -> str:
    return datetime.fromtimestamp(position.message_at_ns / 1e9, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
