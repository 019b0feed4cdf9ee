"""`verify`: is the book what was written? Every chain is computed again, and every row of request_log compared with its batch.

Reads one snapshot and writes nothing, so it may run beside the service; and it needs the database alone, so it runs on a restored
copy. Memory is bounded: chains come through a cursor, rows some thousands at a time.

    changed    a row isn't what was written, or a chain's row isn't the one that the next follows
    missing    a row is gone
    added      a row nobody wrote
    moved      a row of request_log that stands under another batch than its own
    reordered  a chain's row that stands in another's place
    truncated  a chain ends before the end that stream_position has
    unknown    a batch was written by a newer program, in a format this one doesn't know

What retention dropped (retention_drop) is missed by nobody: the batches that named those rows stay, and must name the very rows it says.

Who may write everything, and computes every hash again from the first change to the end and in stream_position, can't be found by
this: that takes a copy of the chain's end (signed) elsewhere.
"""

import asyncio
import os
import sys
import uuid
from functools import partial

import asyncpg

from services.ledger import batch_chain, chain, config, formats, retention
from services.ledger.batch_chain import Made
from services.ledger.chain import EMPTY, Link
from services.ledger.database import DATABASE_ERRORS, QUERIES, Connection, Database
from services.ledger.evidence import Chunk, Finding, Lost, Walk
from services.ledger.retention import Retired
from shared import subjects
from shared.config import ConfigError
from shared.settings import SettingsError

FINDINGS_SHOWN_MAX = 200
TIMEOUT_S = 4 * 3600.0
"""Of one query or fetch."""
CHUNK_ROWS = 20_000
"""Of request_log at a time, and one batch more at most."""
BATCHES_AHEAD = 20
"""Fetched at once; each is 48 bytes a row."""
ROWS_AHEAD = 1_000


def command(arguments: list[str]) -> int:
    if arguments:
        print("verify: takes no arguments", file=sys.stderr)
        return 2
    return main()


def main() -> int:
    """Exit status: 0 nothing found, 1 something was, 2 could not be done."""
    try:
        settings = asyncio.run(config.read(os.environ))
        return asyncio.run(run(Database(settings.database_url)))
    except (SettingsError, ConfigError, *DATABASE_ERRORS) as error:
        print(f"verify: {error}", file=sys.stderr)
        return 2


async def run(database: Database) -> int:
    connection = await database.owner()
    try:
        async with connection.transaction(isolation="repeatable_read", readonly=True):
            drops = await connection.fetch(QUERIES["retention_drops"])
            verifier = Verifier(connection, Retired(retention.read_drop(dict(row)) for row in drops))
            await verifier.audit()
            for shard in await connection.fetch(QUERIES["verify_shards"], subjects.TRAFFIC_STREAM, timeout=TIMEOUT_S):
                await verifier.traffic(shard["shard"])
            await verifier.rows_of_no_batch()
            verifier.drops()
    finally:
        await connection.close(timeout=5)
    print(verifier.summary())
    return 1 if verifier.found else 0


class Verifier:
    """Reads, prints what it finds as it goes, and counts."""

    def __init__(self, connection: Connection, retired: Retired) -> None:
        self._connection = connection
        self._retired = retired
        self.found = 0
        self._audit_rows = self._batches = self._rows = 0

    def summary(self) -> str:
        read = f"{self._audit_rows} rows of audit_log, {self._batches} batches, {self._rows} rows of request_log"
        if self.found:
            more = max(0, self.found - FINDINGS_SHOWN_MAX)
            return f"{read}: {self.found} findings" + (f", {more} of them not shown" if more else "")
        return f"{read}: all as they were written"

    async def audit(self) -> None:
        begin = await self._connection.fetchrow(QUERIES["retention_audit_end"])
        walk = Walk("audit_log", EMPTY if begin is None else Link(begin["n"], begin["sha256"]))
        async for row in self._connection.cursor(QUERIES["verify_audit"], prefetch=ROWS_AHEAD, timeout=TIMEOUT_S):
            again = partial(_audit_link, row)
            findings, sound = walk.step(row["n"], row["previous_sha256"], row["sha256"], again)
            self._report(findings)
            if sound:
                self._audit_columns(row)
        self._audit_rows = walk.rows
        self._report(walk.conclude(await self._kept_end(subjects.CONTROL_STREAM, 0, walk)))

    async def traffic(self, shard: int) -> None:
        """One shard's batches, and the rows that name them."""
        walk = Walk(f"batch_log shard {shard}")
        chunk = Chunk()
        query = QUERIES["verify_batches"]
        async for row in self._connection.cursor(query, shard, prefetch=BATCHES_AHEAD, timeout=TIMEOUT_S):
            findings, sound = walk.step(
                row["n"], row["previous_sha256"], row["sha256"], partial(_batch_link, shard, row)
            )
            self._report(findings)
            if sound:
                self._expect(shard, chunk, row)
                self._retired.see(shard, row["n"], row["manifest"])
            if chunk.rows >= CHUNK_ROWS:
                await self._compare(shard, chunk)
                chunk = Chunk()
        if chunk.rows:
            await self._compare(shard, chunk)
        self._batches += walk.rows
        self._report(walk.conclude(await self._kept_end(subjects.TRAFFIC_STREAM, shard, walk)))

    async def rows_of_no_batch(self) -> None:
        query = QUERIES["verify_rows_of_no_batch"]
        async for row in self._connection.cursor(query, prefetch=ROWS_AHEAD, timeout=TIMEOUT_S):
            where = f"request_log shard {row['shard']} batch {row['batch']} id {row['id']}"
            more = f", as {row['rows'] - 1} more rows do" if row["rows"] > 1 else ""
            self._report([Finding("added", where, f"it names a batch that isn't there{more}")])

    def drops(self) -> None:
        """What retention says it took, against the batches that named it."""
        for n, detail in self._retired.conclude():
            self._report([Finding("changed", f"retention_drop n {n}", detail)])

    def _expect(self, shard: int, chunk: Chunk, row: asyncpg.Record) -> None:
        if row["format"] in formats.FORMATS:
            chunk.expect(row["n"], row["manifest"], row["format"])
        else:
            where = f"batch_log shard {shard} n {row['n']}"
            self._report(
                [Finding("unknown", where, f"format {row['format']} is newer than this program: its rows aren't read")]
            )

    async def _compare(self, shard: int, chunk: Chunk) -> None:
        query = QUERIES["verify_rows"]
        async for row in self._connection.cursor(query, shard, *chunk.span, prefetch=ROWS_AHEAD, timeout=TIMEOUT_S):
            leaf = batch_chain.leaf_read(row, chunk.format_of(row["batch"]))
            chunk.see(row["batch"], row["id"].bytes, leaf)
        self._rows += chunk.rows
        wrong, lost, unnamed = chunk.conclude()
        self._report([Finding(kind, _where(shard, batch, row_id), _WHY[kind]) for kind, batch, row_id in wrong])
        for one in lost:
            if not self._retired.dropped(shard, one.batch, one.id):
                self._report([await self._lost(shard, one)])
        if unnamed:
            self._report([Finding("added", f"request_log shard {shard}", f"{unnamed} more rows")])

    async def _lost(self, shard: int, lost: Lost) -> Finding:
        """Is it gone, or does it stand elsewhere?"""
        where = _where(shard, lost.batch, lost.id)
        if self.found < FINDINGS_SHOWN_MAX:
            for row in await self._connection.fetch(QUERIES["verify_row"], uuid.UUID(bytes=lost.id), timeout=TIMEOUT_S):
                if batch_chain.leaf_read(row, lost.format) == lost.leaf:
                    return Finding("moved", where, f"it stands under shard {row['shard']} batch {row['batch']}")
        return Finding("missing", where)

    async def _kept_end(self, stream: str, shard: int, walk: Walk) -> Link | None:
        row = await self._connection.fetchrow(QUERIES["verify_end"], stream, shard)
        if row is None:
            return None if walk.rows else chain.EMPTY
        return Link(row["chain_n"], row["chain_sha256"])

    def _audit_columns(self, row: asyncpg.Record) -> None:
        """The columns that are there for queries must say what the message says."""
        said = chain.read_columns(chain.read(row["message"]))
        wrong = [name for name, value in zip(chain.READ_COLUMNS, said, strict=True) if row[name] != value]
        if wrong:
            detail = f"{', '.join(wrong)}: not what its message says"
            self._report([Finding("changed", f"audit_log n {row['n']}", detail)])

    def _report(self, findings: list[Finding]) -> None:
        for kind, where, detail in findings:
            self.found += 1
            if self.found <= FINDINGS_SHOWN_MAX:
                print(f"{kind:9} {where}{': ' if detail else ''}{detail}", flush=True)


_WHY = {"changed": "its cells aren't those its batch has the digest of", "added": "its batch was written without it"}


def _where(shard: int, batch: int, row_id: bytes) -> str:
    return f"request_log shard {shard} batch {batch} id {uuid.UUID(bytes=row_id)}"


def _audit_link(row: asyncpg.Record, previous: Link) -> Link:
    return chain.link(previous, row["seq"], row["subject"], row["message"])


def _batch_link(shard: int, row: asyncpg.Record, previous: Link) -> Link:
    made = Made(row["first_seq"], row["last_seq"], row["at_ms"])
    return batch_chain.link(previous, shard, made, row["rows"], row["manifest"], row["format"])
