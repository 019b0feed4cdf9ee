"""Collecting the records once a run is over: wait until the book has caught up, then read it
all.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any, NamedTuple

import asyncpg
import msgspec
import nats
import nats.errors
import nats.js.errors

from shared.facts import Opened
from shared.subjects import TRAFFIC_STREAM
from tests.chaos.records import BillLine, Book, Call, Records, RollupRow, Row
from tests.chaos.world import World

GRACE_S = 90.0
"""For journals to drain, the ledger to catch up, and what was opened to expire."""
POLL_S = 0.25

_ROWS = """
SELECT id::text, day, customer_id, provisional, outcome, status, input_tokens, output_tokens, usage_source, cost_picousd,
       key_sha256, tags, model, error_code
FROM tollgate.request_log WHERE route = '/chat/completions'
"""
_ROLLUPS = """
SELECT dimension, value, sum(requests)::bigint, sum(input_tokens)::bigint, sum(output_tokens)::bigint, sum(spend_picousd)::bigint
FROM tollgate.rollup WHERE scope = '' GROUP BY dimension, value
HAVING sum(requests) <> 0 OR sum(spend_picousd) <> 0 OR sum(input_tokens) <> 0 OR sum(output_tokens) <> 0
"""


class Backlog(NamedTuple):
    """What is still on its way into the book."""

    journal_bytes: int
    stream_messages: int
    open_requests: int

    @property
    def empty(self) -> bool:
        return self == (0, 0, 0)


async def backlog(world: World) -> Backlog:
    """Raises what asyncpg or nats raise while one of them is away."""
    client = await nats.connect(world.nats_url.split(","), allow_reconnect=False, connect_timeout=2)
    try:
        last_seq = (await client.jetstream(timeout=3).stream_info(TRAFFIC_STREAM)).state.last_seq
    finally:
        await client.close()
    seq, still_open = await query(
        world,
        lambda c: c.fetchrow(
            "SELECT (SELECT coalesce(max(seq), 0) FROM tollgate.stream_position WHERE stream = $1),"
            " (SELECT count(*) FROM tollgate.request_open)",
            TRAFFIC_STREAM,
        ),
    )
    return Backlog(world.journals(), last_seq - seq, still_open)


AWAY = (asyncpg.PostgresError, asyncpg.InterfaceError, nats.errors.Error, nats.js.errors.Error, OSError, TimeoutError)


async def caught_up(world: World, grace_s: float = GRACE_S) -> str:
    """Wait until nothing is on its way. Empty; or what is still left when the time is over."""
    deadline = time.monotonic() + grace_s
    left = "unknown"
    while time.monotonic() < deadline:
        try:
            found = await backlog(world)
            if found.empty:
                return ""
            left = str(found)
        except AWAY as error:
            left = f"{type(error).__name__}: {error}"
        await asyncio.sleep(POLL_S)
    return left


async def query(world: World, ask: Callable[[Any], Awaitable[Any]]) -> Any:
    connection = await asyncpg.connect(world.database_url, timeout=5, command_timeout=60)
    try:
        return await ask(connection)
    finally:
        await connection.close()


async def read_book(world: World) -> Book:

    async def ask(c: Any) -> Book:
        async with c.transaction(isolation="repeatable_read", readonly=True):
            rows = await c.fetch(_ROWS)
            still_open = await c.fetch("SELECT fact FROM tollgate.request_open")
            rollups = await c.fetch(_ROLLUPS)
            anomalies = await c.fetch("SELECT kind, subject_id, detail FROM tollgate.anomalies ORDER BY n")
        decode = msgspec.msgpack.Decoder(Opened).decode
        return Book(
            rows=[Row(**dict(zip(Row.__struct_fields__, row.values(), strict=True))) for row in rows],
            open_users=[decode(row["fact"]).customer_id or "?" for row in still_open],
            rollups=[RollupRow(**dict(zip(RollupRow.__struct_fields__, row.values(), strict=True))) for row in rollups],
            anomalies=[" ".join(map(str, row.values())) for row in anomalies],
        )

    return await query(world, ask)


def read_bill(world: World) -> list[BillLine]:
    decode = msgspec.json.Decoder(BillLine).decode
    return [decode(line) for line in world.bill_path.read_bytes().splitlines()]


async def collect(world: World, calls: list[Call], grace_s: float = GRACE_S) -> Records:
    """Wait for the book, and read all three records."""
    behind = await caught_up(world, grace_s)
    return Records(
        calls=calls,
        bill=read_bill(world),
        book=await read_book(world),
        behind=behind,
        double_failures=world.double_failures,
    )
