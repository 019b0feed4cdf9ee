"""Random attacks on a book, each undone by rolling back: for `test_ledger_tampering.py`, and a
thousand of them in `make prove`.

An attacker here may write everything in the database, knows every formula, and hasn't the key. Each
attack says what it did.
"""

import random
import uuid
from typing import Any

import asyncpg

from services.ledger import batch_chain, chain
from services.ledger.batch_chain import Made
from services.ledger.chain import EMPTY, Link
from services.ledger.database import Connection
from services.ledger.verify import Asked, verify
from shared.facts import encode_control
from tests.ledger.ledger_kit import control

EVIDENCE = ("request_log", "batch_log", "audit_log", "checkpoint", "checkpoint_key")
BYTES = {"batch_log": ("sha256", "previous_sha256", "manifest"), "audit_log": ("sha256", "previous_sha256", "message"),
         "request_log": ("fact_sha256",), "checkpoint": ("sha256",), "checkpoint_key": ("public_key",)}  # fmt: skip
NUMBERS = {"request_log": ("cost_picousd", "input_tokens", "status", "at_ms", "batch"), "batch_log": ("rows", "at_ms", "n", "last_seq"),
           "audit_log": ("seq", "at_ms", "n"), "checkpoint": ("n",), "checkpoint_key": ("number",)}  # fmt: skip


async def found(connection: Connection, draw: random.Random, asked: Asked) -> tuple[str, bool]:
    """What was done, and whether `verify` finds it."""
    transaction = connection.transaction(isolation="repeatable_read")
    await transaction.start()
    try:
        await connection.execute("SET LOCAL session_replication_role = replica")
        while True:
            done = await draw.choice(ATTACKS)(connection, draw)
            if done is not None:
                return done, await verify(connection, asked) == 1
    finally:
        await transaction.rollback()


async def _one(connection: Connection, table: str, draw: random.Random) -> Any:
    count = await connection.fetchval(f"SELECT count(*) FROM {table}")
    if not count:
        return None
    return await connection.fetchval(f"SELECT ctid FROM {table} OFFSET $1 LIMIT 1", draw.randrange(count))


async def flip(connection: Connection, draw: random.Random) -> str | None:
    """One bit of one cell."""
    table = draw.choice(EVIDENCE)
    column, ctid = draw.choice(BYTES[table]), await _one(connection, table, draw)
    if ctid is None:
        return None
    leaf = await connection.fetchrow(
        f"SELECT tableoid::regclass::text AS part, {column} AS cell FROM {table} WHERE ctid = $1", ctid
    )
    if leaf is None or not leaf["cell"]:
        return None
    cell = bytearray(leaf["cell"])
    cell[draw.randrange(len(cell))] ^= 1 << draw.randrange(8)
    await connection.execute(f"UPDATE {leaf['part']} SET {column} = $2 WHERE ctid = $1", ctid, bytes(cell))
    return f"flip {table}.{column}"


async def number(connection: Connection, draw: random.Random) -> str | None:
    table = draw.choice(list(NUMBERS))
    column = draw.choice(NUMBERS[table])
    ctid = await _one(connection, table, draw)
    if ctid is None:
        return None
    by = draw.choice((1, -1, 7, 1000))
    try:
        async with connection.transaction():
            done = await connection.execute(
                f"UPDATE {table} SET {column} = {column} + {by} WHERE ctid = $1 AND {column} IS NOT NULL", ctid
            )
    except asyncpg.PostgresError:
        return None
    return f"{done} {table}.{column} {by:+}" if not done.endswith(" 0") else None


async def drop(connection: Connection, draw: random.Random) -> str | None:
    table = draw.choice([name for name in EVIDENCE if name != "checkpoint_key"])
    ctid = await _one(connection, table, draw)
    if ctid is None:
        return None
    newest = "SELECT n = (SELECT max(n) FROM checkpoint) FROM checkpoint WHERE ctid = $1"
    if table == "checkpoint" and await connection.fetchval(newest, ctid):
        return None  # that takes copies elsewhere to be seen
    part = await connection.fetchval(f"SELECT tableoid::regclass::text FROM {table} WHERE ctid = $1 LIMIT 1", ctid)
    await connection.execute(f"DELETE FROM {part} WHERE ctid = $1", ctid)
    return f"drop from {table}"


async def swap(connection: Connection, draw: random.Random) -> str | None:
    """Two neighbours of a chain change places."""
    table, where = draw.choice((("audit_log", ""), ("batch_log", "shard = 0 AND ")))
    last = await connection.fetchval(f"SELECT max(n) FROM {table} WHERE {where} true")
    if last < 2:
        return None
    low = draw.randrange(1, last)
    high = draw.randrange(low + 1, last + 1)
    for old, new in ((low, 10**9), (high, low), (10**9, high)):
        await connection.execute(f"UPDATE {table} SET n = {new} WHERE {where} n = {old}")
    return f"swap {table} {low} {high}"


async def insert(connection: Connection, draw: random.Random) -> str | None:
    """A row that looks like another, with an id of its own."""
    table = draw.choice(("request_log", "audit_log"))
    row = await connection.fetchrow(f"SELECT * FROM {table} OFFSET $1 LIMIT 1", draw.randrange(3))
    assert row is not None
    cells = dict(row)
    if table == "request_log":
        cells["id"] = uuid.UUID(bytes=row["id"].bytes[:8] + draw.randbytes(8))
        cells["cost_picousd"] = draw.randrange(10**12)
        cells["batch"] = draw.choice((row["batch"], 1, 10**6))
    else:
        cells["n"] = await connection.fetchval("SELECT max(n) + 1 FROM audit_log") + draw.choice((0, 5))
    names = ", ".join(cells)
    marks = ", ".join(f"${n}" for n in range(1, len(cells) + 1))
    await connection.execute(f"INSERT INTO {table} ({names}) VALUES ({marks})", *cells.values())
    return f"insert {table}"


async def truncate(connection: Connection, draw: random.Random) -> str | None:
    """The end of a chain goes, and stream_position says that it never was."""
    if draw.random() < 0.5:
        last = await connection.fetchval("SELECT max(n) FROM audit_log")
        keep = draw.randrange(0, last)
        await connection.execute("DELETE FROM audit_log WHERE n > $1", keep)
        end = await connection.fetchval("SELECT sha256 FROM audit_log WHERE n = $1", keep) or EMPTY.sha256
        await connection.execute(
            "UPDATE stream_position SET chain_n = $1, chain_sha256 = $2 WHERE stream = 'CONTROL'", keep, end
        )
        return f"truncate audit_log to {keep}"
    last = await connection.fetchval("SELECT max(n) FROM batch_log WHERE shard = 0")
    keep = draw.randrange(0, last)
    await connection.execute("DELETE FROM request_log WHERE shard = 0 AND batch > $1", keep)
    await connection.execute("DELETE FROM batch_log WHERE shard = 0 AND n > $1", keep)
    end = await connection.fetchval("SELECT sha256 FROM batch_log WHERE shard = 0 AND n = $1", keep) or EMPTY.sha256
    await connection.execute(
        "UPDATE stream_position SET chain_n = $1, chain_sha256 = $2 WHERE stream = 'TRAFFIC' AND shard = 0", keep, end
    )
    return f"truncate batch_log to {keep}"


async def rewrite_traffic(connection: Connection, draw: random.Random) -> str | None:
    """A row's cost becomes another, and every hash after it is computed again, to the end."""
    row = await connection.fetchrow(
        "SELECT * FROM request_log WHERE shard = 0 ORDER BY batch, id OFFSET $1 LIMIT 1", draw.randrange(6)
    )
    assert row is not None
    await connection.execute(
        "UPDATE request_log SET cost_picousd = $2 WHERE id = $1", row["id"], draw.randrange(1, 10**12)
    )
    changed = await connection.fetchrow("SELECT * FROM request_log WHERE id = $1", row["id"])
    end = Link(
        row["batch"] - 1,
        await connection.fetchval("SELECT previous_sha256 FROM batch_log WHERE shard = 0 AND n = $1", row["batch"]),
    )
    for batch in await connection.fetch("SELECT * FROM batch_log WHERE shard = 0 AND n >= $1 ORDER BY n", row["batch"]):
        entries = batch_chain.entries(batch["manifest"])
        if row["id"].bytes in entries:
            leaf = batch_chain.leaf_read(changed, batch["format"])
            assert leaf is not None
            entries[row["id"].bytes] = leaf
        manifest = b"".join(entries) + b"".join(entries.values())
        made = Made(batch["first_seq"], batch["last_seq"], batch["at_ms"])
        link = batch_chain.link(end, 0, made, len(entries), manifest, batch["format"])
        await connection.execute(
            "UPDATE batch_log SET manifest = $2, previous_sha256 = $3, sha256 = $4 WHERE shard = 0 AND n = $1",
            batch["n"], manifest, end.sha256, link.sha256,
        )  # fmt: skip
        end = link
    await connection.execute(
        "UPDATE stream_position SET chain_sha256 = $1 WHERE stream = 'TRAFFIC' AND shard = 0", end.sha256
    )
    return f"rewrite batch_log from {row['batch']}"


async def rewrite_audit(connection: Connection, draw: random.Random) -> str | None:
    """A control fact becomes another, and so on."""
    last = await connection.fetchval("SELECT max(n) FROM audit_log")
    first = draw.randrange(1, last + 1)
    end = Link(first - 1, await connection.fetchval("SELECT previous_sha256 FROM audit_log WHERE n = $1", first))
    for row in await connection.fetch("SELECT * FROM audit_log WHERE n >= $1 ORDER BY n", first):
        message = (
            row["message"]
            if row["n"] > first
            else encode_control(control(entity_id="forged", after={"n": draw.randrange(10**9)}))
        )
        link = chain.link(end, row["seq"], row["subject"], message)
        cells = dict(zip(chain.READ_COLUMNS, chain.read_columns(chain.read(message)), strict=True))
        sets = ", ".join(f"{name} = ${n}" for n, name in enumerate(cells, 5))
        await connection.execute(
            f"UPDATE audit_log SET previous_sha256 = $2, sha256 = $3, message = $4, {sets} WHERE n = $1",
            row["n"], end.sha256, link.sha256, message, *cells.values(),
        )  # fmt: skip
        end = link
    await connection.execute("UPDATE stream_position SET chain_sha256 = $1 WHERE stream = 'CONTROL'", end.sha256)
    return f"rewrite audit_log from {first}"


ATTACKS = (flip, number, drop, swap, insert, truncate, rewrite_traffic, rewrite_audit)
