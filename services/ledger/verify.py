"""`verify`: is the book what was written? Every chain is computed again, and every row of
request_log compared with its batch.

    verify [--from DAY] [--to DAY] [--checkpoints DIR] [--keys FILE]
    verify --export DIR [--checkpoints DIR] [--keys FILE]        the files of an export, without the database

Reads one snapshot and writes nothing, so it may run beside the service; and it needs the database
alone, so it runs on a restored copy. Memory is bounded: chains come through a cursor, rows some
thousands at a time.

    changed      a row isn't what was written, or a chain's row isn't the one that the next follows
    missing      a row is gone
    added        a row nobody wrote
    moved        a row of request_log that stands under another batch than its own
    reordered    a chain's row that stands in another's place
    truncated    a chain ends before the end that stream_position has, or that a checkpoint says
    rewritten    a chain fits in itself, but a checkpoint has another hash of it: somebody computed it anew
    forged       a checkpoint or key that isn't signed as it should be
    forked       two checkpoints of one number
    unannounced  something that retention is said to have taken, and no control fact says so
    unknown      a batch was written by a newer program, in a format this one doesn't know

What retention dropped (retention_drop) is missed by nobody: the batches that named those rows stay,
and must name the very rows it says.

Who may write everything, and computes every hash again from the first change to the end, is found
by the checkpoints: he can't sign them. If he takes the newest of those away too, only copies
elsewhere tell: `--checkpoints DIR`.
"""  # noqa: W505

import argparse
import asyncio
import os
import sys
import uuid
from contextlib import aclosing
from datetime import date, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import asyncpg
import msgspec

from services.ledger import batch_chain, chain, config, formats, price, proofs, retention, sanitize, signing
from services.ledger.announced import Announced
from services.ledger.batch_chain import Made
from services.ledger.chain import EMPTY, Link
from services.ledger.checkpoint import AUDIT, DROPS, Heads, drop_link
from services.ledger.checkpoints import EMPTY as NO_DROPS
from services.ledger.config import LedgerSettings
from services.ledger.database import DATABASE_ERRORS, QUERIES, Connection, Database, ahead
from services.ledger.evidence import Chunk, Lost, Mismatch, Walk
from services.ledger.facts_in import midnight
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
_READ = slice(len(chain.COLUMNS) - len(chain.READ_COLUMNS), len(chain.COLUMNS))
"""Of a row of `verify_audit`, which are in the order of chain.COLUMNS."""


class Asked(msgspec.Struct, frozen=True):
    first: date | None = None
    last: date | None = None
    copies: Path | None = None
    trusted: list[str] | None = None
    own: list[str] = []

    @property
    def whole(self) -> bool:
        return self.first is None and self.last is None


EVERYTHING = Asked()


def command(arguments: list[str]) -> int:
    """Exit status: 0 nothing found, 1 something was, 2 could not be done."""
    parser = argparse.ArgumentParser(prog="verify", description="Is the book what was written?")
    parser.add_argument(
        "--from", dest="first", type=date.fromisoformat, help="only what was recorded on this day and after"
    )
    parser.add_argument("--to", dest="last", type=date.fromisoformat, help="... and until this day")
    parser.add_argument("--checkpoints", type=Path, help="a folder with copies of the checkpoints")
    parser.add_argument("--keys", type=Path, help="a saved /.well-known/tollgate-ledger-keys: who may sign checkpoints")
    parser.add_argument("--export", type=Path, help="check the files of an export instead of the database")
    given = parser.parse_args(arguments)
    try:
        if given.export is not None:
            from services.ledger import offline  # noqa: PLC0415

            return offline.check(given.export, given.checkpoints, given.keys)
        trusted = None if given.keys is None else proofs.trusted_keys(given.keys)
        settings = asyncio.run(config.read(os.environ))
        own = [] if trusted else asyncio.run(_own_keys(settings))
        asked = Asked(given.first, given.last, given.checkpoints, trusted, own)
        return asyncio.run(run(config.database(settings), asked))
    except (SettingsError, ConfigError, *DATABASE_ERRORS) as error:
        print(f"verify: {error}", file=sys.stderr)
        return 2


async def _own_keys(settings: LedgerSettings) -> list[str]:
    found = await signing.keys(
        settings.checkpoint_key, settings.checkpoint_old_keys, settings.data_dir, os.environ, make=False
    )
    return [key.id for key in found]


async def run(database: Database, asked: Asked = EVERYTHING) -> int:
    connection = await database.inspector()
    try:
        async with connection.transaction(isolation="repeatable_read", readonly=True):
            return await verify(connection, asked)
    finally:
        await connection.close(timeout=5)


async def verify(connection: Connection, asked: Asked = EVERYTHING) -> int:
    """In a transaction of one snapshot. Prints; returns the exit status."""
    drops = await connection.fetch(QUERIES["retention_drops"])
    retired = Retired(retention.read_drop(dict(row)) for row in drops)
    restores = [msgspec.json.decode(row["after"]) for row in await connection.fetch(QUERIES["verify_restores"])]
    held = await proofs.gather(connection, asked.copies, asked.trusted, asked.own, restores)
    verifier = Verifier(connection, retired, held.heads, asked)
    verifier.report(held.findings)
    await verifier.drops()
    await verifier.audit()
    for shard in await connection.fetch(QUERIES["verify_shards"], subjects.TRAFFIC_STREAM, timeout=TIMEOUT_S):
        await verifier.traffic(shard["shard"])
    if asked.whole:
        await verifier.rows_of_no_batch()
    await verifier.prices()
    if asked.whole:
        verifier.conclude()
    for remark in held.remarks:
        print(f"note      {remark}")
    print(verifier.summary(held.checkpoints))
    return 1 if verifier.found else 0


class Verifier:
    """Reads, prints what it finds as it goes, and counts."""

    def __init__(self, connection: Connection, retired: Retired, heads: Heads, asked: Asked = EVERYTHING) -> None:
        self._connection = connection
        self._retired = retired
        self._heads = heads
        self._asked = asked
        self._announced = Announced()
        self.found = 0
        self._audit_rows = self._batches = self._rows = 0
        self._prices: set[str] = set()
        """Digests that rows name."""

    def summary(self, checkpoints: int) -> str:
        read = f"{self._audit_rows} rows of audit_log, {self._batches} batches, {self._rows} rows of request_log"
        if checkpoints:
            read += f", {checkpoints} signed checkpoints"
        if self.found:
            more = max(0, self.found - FINDINGS_SHOWN_MAX)
            return f"{read}: {self.found} findings" + (f", {more} of them not shown" if more else "")
        return f"{read}: all as they were written"

    async def drops(self) -> None:
        """What retention took, in its order: read before what it explains."""
        head = NO_DROPS
        for row in await self._connection.fetch(QUERIES["checkpoint_drops"]):
            self._announced.drop(dict(row))
            head = drop_link(head, dict(row))
            self.report(self._heads.see(DROPS, "retention_drop", head.n, bytes.fromhex(head.sha256)))
        self.report(self._heads.conclude(DROPS, "retention_drop", 0, head.n))

    async def audit(self) -> None:
        gone = await self._connection.fetchrow(QUERIES["retention_audit_end"])
        begin = EMPTY if gone is None else Link(gone["n"], gone["sha256"])
        first, last = await self._span("verify_audit_span", *_days(self._asked))
        if not self._asked.whole:
            begin = await self._before("checkpoint_audit_row", first) or begin
        walk = Walk("audit_log", begin)
        self.report(self._heads.see(AUDIT, "audit_log", *begin))
        query = QUERIES["verify_audit"]
        async with aclosing(
            ahead(self._connection, query, first, last, rows=ROWS_AHEAD, timeout_s=TIMEOUT_S)
        ) as chunks:
            async for rows in chunks:
                if walk.rows == 0 and begin.n:
                    self._announced.since_ms = rows[0]["at_ms"] or 0
                for row in rows:
                    n, previous_sha256, sha256 = row[:3]
                    findings, sound = walk.step(n, previous_sha256, sha256, partial(_audit_digest, row))
                    findings += self._heads.see(AUDIT, "audit_log", n, sha256)
                    if findings:
                        self.report(findings)
                    if sound:
                        self._audit_columns(row)
        self._audit_rows = walk.rows
        if not walk.rows and begin.n:
            self._announced.since_ms = sanitize.MS_MAX
        if self._asked.last is None:
            self.report(walk.conclude(await self._kept_end(subjects.CONTROL_STREAM, 0, walk)))
            self.report(self._heads.conclude(AUDIT, "audit_log", begin.n, walk.end.n))

    async def traffic(self, shard: int) -> None:
        """One shard's batches, and the rows that name them."""
        name = f"batch_log shard {shard}"
        first, last = await self._span("verify_batch_span", shard, *_instants(self._asked))
        begin = EMPTY
        if not self._asked.whole:
            begin = await self._before("checkpoint_batch_row", first, shard) or begin
        walk, chunk = Walk(name, begin), Chunk()
        query = QUERIES["verify_batches"]
        async for row in self._connection.cursor(query, shard, first, last, prefetch=BATCHES_AHEAD, timeout=TIMEOUT_S):
            findings, sound = walk.step(
                row["n"], row["previous_sha256"], row["sha256"], partial(_batch_digest, shard, row)
            )
            self.report(findings)
            self.report(self._heads.see(f"shard {shard}", name, row["n"], row["sha256"]))
            if sound:
                self._expect(shard, chunk, row)
                self._retired.see(shard, row["n"], row["manifest"])
            if chunk.rows >= CHUNK_ROWS:
                await self._compare(shard, chunk)
                chunk = Chunk()
        if chunk.rows:
            await self._compare(shard, chunk)
        self._batches += walk.rows
        if self._asked.last is None:
            self.report(walk.conclude(await self._kept_end(subjects.TRAFFIC_STREAM, shard, walk)))
            self.report(self._heads.conclude(f"shard {shard}", name, 0, walk.end.n))

    async def rows_of_no_batch(self) -> None:
        query = QUERIES["verify_rows_of_no_batch"]
        async for row in self._connection.cursor(query, prefetch=ROWS_AHEAD, timeout=TIMEOUT_S):
            where = f"request_log shard {row['shard']} batch {row['batch']} id {row['id']}"
            more = f", as {row['rows'] - 1} more rows do" if row["rows"] > 1 else ""
            self.report([Mismatch("added", where, f"it names a batch that isn't there{more}")])

    async def prices(self) -> None:
        """Each price has the digest it is found by, and each that a row names is there. After the
        rows.
        """
        found = set()
        for row in await self._connection.fetch(QUERIES["price_all"], timeout=TIMEOUT_S):
            found.add(row["sha256"])
            if price.digest_of(row["body"]) != row["sha256"]:
                self.report([Mismatch("changed", f"price {row['sha256']}", "its body has another digest")])
        for digest in sorted(self._prices - found):
            self.report([Mismatch("missing", f"price {digest}", "rows of request_log name it")])

    def conclude(self) -> None:
        """What retention says it took, against the batches that named it and the facts that told of
        it; chains that are gone altogether.
        """
        for n, detail in self._retired.conclude():
            self.report([Mismatch("changed", f"retention_drop n {n}", detail)])
        self.report(self._announced.conclude())
        for name in self._heads.chains:
            self.report(self._heads.conclude(name, f"batch_log {name}", 0, 0))

    async def _span(self, query: str, *arguments: Any) -> tuple[int | None, int | None]:
        """First and last number to read; None: without a limit on that side."""
        if self._asked.whole:
            return None, None
        row = await self._connection.fetchrow(QUERIES[query], *arguments, timeout=TIMEOUT_S)
        assert row is not None
        if row["first"] is None:
            return (0, 0) if self._asked.last is not None else ((row["newest"] or 0) + 1, None)
        return row["first"], row["last"] if self._asked.last is not None else None

    async def _before(self, query: str, first: int | None, *shard: int) -> Link | None:
        """The row before the first one that is read: believed, or covered by a checkpoint."""
        if not first:
            return None
        found = await self._connection.fetchval(QUERIES[query], *shard, first - 1)
        return Link(first - 1, found) if found is not None else None

    def _expect(self, shard: int, chunk: Chunk, row: asyncpg.Record) -> None:
        if row["format"] in formats.FORMATS:
            chunk.expect(row["n"], row["manifest"], row["format"])
        else:
            where = f"batch_log shard {shard} n {row['n']}"
            self.report(
                [Mismatch("unknown", where, f"format {row['format']} is newer than this program: its rows aren't read")]
            )

    async def _compare(self, shard: int, chunk: Chunk) -> None:
        query = QUERIES["verify_rows"]
        async with aclosing(
            ahead(self._connection, query, shard, *chunk.span, rows=ROWS_AHEAD, timeout_s=TIMEOUT_S)
        ) as found:
            async for rows in found:
                for row in rows:
                    batch = row["batch"]
                    chunk.see(batch, row["id"].bytes, batch_chain.leaf_read(row, chunk.format_of(batch)))
                    if (digest := price.referred(row["price"])) is not None:
                        self._prices.add(digest)
        self._rows += chunk.rows
        wrong, lost, unnamed = chunk.conclude()
        self.report([Mismatch(kind, _where(shard, batch, row_id), _WHY[kind]) for kind, batch, row_id in wrong])
        for one in lost:
            if not self._retired.dropped(shard, one.batch, one.id):
                self.report([await self._lost(shard, one)])
        if unnamed:
            self.report([Mismatch("added", f"request_log shard {shard}", f"{unnamed} more rows")])

    async def _lost(self, shard: int, lost: Lost) -> Mismatch:
        """Is it gone, or does it stand elsewhere?"""
        where = _where(shard, lost.batch, lost.id)
        if self.found < FINDINGS_SHOWN_MAX:
            for row in await self._connection.fetch(QUERIES["verify_row"], uuid.UUID(bytes=lost.id), timeout=TIMEOUT_S):
                if batch_chain.leaf_read(row, lost.format) == lost.leaf:
                    return Mismatch("moved", where, f"it stands under shard {row['shard']} batch {row['batch']}")
        return Mismatch("missing", where)

    async def _kept_end(self, stream: str, shard: int, walk: Walk) -> Link | None:
        row = await self._connection.fetchrow(QUERIES["verify_end"], stream, shard)
        if row is None:
            return None if walk.rows else chain.EMPTY
        return Link(row["chain_n"], row["chain_sha256"])

    def _audit_columns(self, row: asyncpg.Record) -> None:
        """The columns that are there for queries must say what the message says."""
        fact = chain.read(row["message"])
        said = chain.read_columns(fact)
        if fact is not None and fact.kind == "retention":
            self._announced.fact(fact.action, fact.after)
        if row[_READ] != said:
            wrong = [name for name, value in zip(chain.READ_COLUMNS, said, strict=True) if row[name] != value]
            detail = f"{', '.join(wrong)}: not what its message says"
            self.report([Mismatch("changed", f"audit_log n {row['n']}", detail)])

    def report(self, findings: list[Mismatch]) -> None:
        for kind, where, detail in findings:
            self.found += 1
            if self.found <= FINDINGS_SHOWN_MAX:
                print(f"{kind:9} {where}{': ' if detail else ''}{detail}", flush=True)


_WHY = {"changed": "its cells aren't those its batch has the digest of", "added": "its batch was written without it"}


def _days(asked: Asked) -> tuple[date | None, date | None]:
    return asked.first, asked.last


def _instants(asked: Asked) -> tuple[int | None, int | None]:
    """The same as Unix ms: from, and before."""
    first = None if asked.first is None else _ms(asked.first)
    return first, None if asked.last is None else _ms(asked.last + timedelta(days=1))


def _ms(day: date) -> int:
    return int(midnight(day).timestamp() * 1000)


def _where(shard: int, batch: int, row_id: bytes) -> str:
    return f"request_log shard {shard} batch {batch} id {uuid.UUID(bytes=row_id)}"


def _audit_digest(row: asyncpg.Record, n: int, previous_sha256: bytes) -> bytes:
    return chain.digest(n, previous_sha256, row["seq"], row["subject"], row["message"])


def _batch_digest(shard: int, row: asyncpg.Record, n: int, previous_sha256: bytes) -> bytes:
    made = Made(row["first_seq"], row["last_seq"], row["at_ms"])
    previous = Link(n - 1, previous_sha256)
    return batch_chain.link(previous, shard, made, row["rows"], row["manifest"], row["format"]).sha256
