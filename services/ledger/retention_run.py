"""A run of retention: what is due goes, part by part, each with a record of what it was; a fact
before, and a fact after.

A day is compared with its batches and digested first, without any lock. Then, in one short
transaction, its partition is detached and dropped, unless rows have come meanwhile. A lock that
isn't got within LOCK_TIMEOUT_MS is given up and asked for again later: recording never waits longer
than that.
"""

import asyncio
import re
from collections.abc import Awaitable, Callable
from datetime import UTC, date, datetime, timedelta
from typing import Any, NamedTuple

import asyncpg
import msgspec
import structlog

from services.ledger import batch_chain, cube, facts_in, formats, latency, metrics, retention
from services.ledger.database import QUERIES, Connection, Database
from services.ledger.retention import DayDigest, Hold, Terms

log = structlog.get_logger()

LOCK_TIMEOUT_MS = 1_000
TRIES = 5
PAUSE_S = 0.5
CHUNK_ROWS = 20_000
WRITTEN_BEFORE = timedelta(hours=26)
"""How long before its id's day a row may have been written, by clocks that differ; and how long
after.
"""
WRITTEN_AFTER = timedelta(days=3)
ROLLUP_TABLES = (*cube.TABLES, "spend_hour", "spend_day", "spend_month")
"""The last three: of an older ledger, until they are gone."""
DELETE_ROWS = 10_000
DUE_TOLD_MAX = 4_000
"""Names in the fact before a run: `verify` looks there for what went."""

Note = Callable[[str, dict[str, Any]], Awaitable[None]]
"""Tell of it in a control fact: action, and what after. Raises when it isn't recorded: then nothing
is dropped.
"""


class Counted(NamedTuple):
    """What a day is, before it goes."""

    spans: dict[int, tuple[int, int]]
    digest: DayDigest
    unsound: int

    @property
    def spans_text(self) -> str:
        """As retention_drop has them."""
        return msgspec.json.encode({str(shard): span for shard, span in self.spans.items()}).decode()


async def run(
    database: Database,
    terms: Terms,
    now: datetime,
    note: Note,
    before_drops: Callable[[], Awaitable[None]] | None = None,
) -> int:
    """Drop what is due. Returns how many partitions went. Raises one of DATABASE_ERRORS, or what
    the callables raise.

    Args:
        before_drops: signs what there is: nothing goes that no checkpoint covers.
    """
    connection = await database.keeper()
    try:
        held = retention.holds([dict(row) for row in await connection.fetch(QUERIES["retention_holds"])])
        work = _Run(connection, terms, now, held, before_drops)
        due = await work.due()
        if due:
            await note(
                "created",
                {
                    "terms": msgspec.structs.asdict(terms),
                    "due": due[:DUE_TOLD_MAX],
                    "holds": [hold.id for hold in held],
                },
            )
            if before_drops is not None:
                await before_drops()
            await work.drop_all()
        await _tell(connection, note)
        return work.dropped
    finally:
        await connection.close(timeout=5)


async def _tell(connection: Connection, note: Note) -> None:
    rows = await connection.fetch(QUERIES["retention_untold"])
    if rows:
        told = [
            {"n": r["n"], "source": r["source"], "day": r["day"].isoformat(), "rows": r["rows"],
             "sha256": r["sha256"].hex() if r["sha256"] else None, "unsound": r["unsound"]}
            for r in rows
        ]  # fmt: skip
        await note("updated", {"drops": told, "last_n": rows[-1]["n"]})


class _Run:
    def __init__(
        self,
        connection: Connection,
        terms: Terms,
        now: datetime,
        held: list[Hold],
        cover: Callable[[], Awaitable[None]] | None = None,
    ) -> None:
        self._connection = connection
        self._terms = terms
        self._now = now.astimezone(UTC)
        self._held = held
        self._cover = cover
        self.dropped = 0

    async def due(self) -> list[str]:
        """Names of the partitions that are old enough."""
        today = self._now.date()
        found = []
        before = retention.due_before(today, self._terms.spend)
        found += [name for name, day in await self._partitions("request_log") if before is not None and day < before]
        if before is not None and await self._connection.fetch(QUERIES["retention_default_days"], before):
            found.append("request_log_default")
        for table, term in (
            ("audit_log", self._terms.audit),
            *((table, self._terms.rollup) for table in ROLLUP_TABLES),
        ):
            found += [
                name for name, month in await self._partitions(table) if retention.month_is_due(month, today, term)
            ]
        before = retention.due_before(today, self._terms.payload)
        found += [
            name for name, day in await self._partitions("request_payload") if before is not None and day < before
        ]
        return found

    async def drop_all(self) -> None:
        today = self._now.date()
        before = retention.due_before(today, self._terms.spend)
        if before is not None:
            for name, day in await self._partitions("request_log"):
                if day < before and not await self._is_held(day):
                    await self._drop_day(name, day)
            await self._drop_default(before)
            await self._connection.execute("DELETE FROM anomalies WHERE at < $1", facts_in.midnight(before))
        for name, month in await self._partitions("audit_log"):
            if retention.month_is_due(month, today, self._terms.audit):
                if any(hold.by == "day" and hold.value[:7] == f"{month:%Y-%m}" for hold in self._held):
                    break  # the log is a chain: what comes after must stay with it
                await self._drop_audit(name, month)
        await self._drop_derived(today)

    async def _drop_derived(self, today: date) -> None:
        before = retention.due_before(today, self._terms.rollup)
        if before is not None:
            # First, and with them the running totals they are in: no answer is the difference of
            # one that is gone and one that isn't.
            month = facts_in.midnight(before.replace(day=1))
            await self._connection.execute("DELETE FROM spend_span WHERE at < $1", month)
        for table in ROLLUP_TABLES:
            for name, first in await self._partitions(table):
                if retention.month_is_due(first, today, self._terms.rollup):
                    await self._drop(table, name, ("rollup", first, 0, None, "{}", 0))
        for table, keys in (
            ("rollup", "scope, dimension, day, value"),
            ("latency_day", ", ".join(latency.KEYS)),
        ):
            while before is not None:
                gone = await self._connection.execute(
                    f"DELETE FROM {table} WHERE ({keys}) IN (SELECT {keys} FROM {table} WHERE day < $1 LIMIT $2)",  # noqa: S608
                    before.replace(day=1),
                    DELETE_ROWS,
                )
                if gone == "DELETE 0":
                    break
        before = retention.due_before(today, self._terms.payload)
        for name, day in await self._partitions("request_payload"):
            if before is not None and day < before and not await self._is_held(day):
                await self._drop("request_payload", name, ("request_payload", day, 0, None, "{}", 0))

    async def _partitions(self, table: str) -> list[tuple[str, date]]:
        found = []
        for row in await self._connection.fetch(QUERIES["retention_partitions"], table):
            digits = re.search(r"_([0-9]{6})([0-9]{2})?$", row["name"])
            assert digits is not None
            found.append((row["name"], datetime.strptime(digits[1] + (digits[2] or "01"), "%Y%m%d").date()))
        return found

    async def _is_held(self, day: date) -> bool:
        if any(hold.by == "day" and hold.value == day.isoformat() for hold in self._held):
            return True
        by = {what: [hold.value for hold in self._held if hold.by == what] for what in ("tag", "team", "key")}
        return any(by.values()) and bool(await self._connection.fetchval(QUERIES["retention_held"], day, *by.values()))

    async def _count(self, day: date) -> Counted:
        """The day against its batches."""
        start = facts_in.midnight(day)
        since, until = start - WRITTEN_BEFORE, start + timedelta(days=1) + WRITTEN_AFTER
        asked = (day, int(since.timestamp() * 1000), int(until.timestamp() * 1000))
        before = {row["shard"]: row["until"] for row in await self._connection.fetch(QUERIES["retention_before"], day)}
        counted = Counted({}, DayDigest(), 0)
        for row in await self._connection.fetch(QUERIES["retention_spans"], *asked):
            after = max(row["low"] - 1, before.get(row["shard"], 0))
            if row["high"] > after:
                counted.spans[row["shard"]] = (after, row["high"])
                counted = counted._replace(
                    unsound=counted.unsound + await self._compare(day, row["shard"], after, row["high"], counted.digest)
                )
        return counted

    async def _compare(self, day: date, shard: int, after: int, until: int, digest: DayDigest) -> int:
        unsound = 0
        expected: dict[tuple[int, bytes], tuple[bytes, int]] = {}
        first = after + 1
        query = QUERIES["retention_batches"]
        async with self._connection.transaction(isolation="repeatable_read", readonly=True):
            async for batch in self._connection.cursor(query, shard, after, until, prefetch=20):
                found = retention.day_entries(batch["manifest"], day)
                digest.add(shard, found)
                for row_id, leaf in found.items():
                    expected[batch["n"], row_id] = (leaf, batch["format"])
                if len(expected) >= CHUNK_ROWS:
                    unsound += await self._unsound(day, shard, first, batch["n"], expected)
                    expected, first = {}, batch["n"] + 1
            return unsound + await self._unsound(day, shard, first, until, expected)

    async def _unsound(
        self, day: date, shard: int, first: int, last: int, expected: dict[tuple[int, bytes], tuple[bytes, int]]
    ) -> int:
        wrong = 0
        async for row in self._connection.cursor(QUERIES["retention_rows"], day, shard, first, last, prefetch=1000):
            leaf, number = expected.pop((row["batch"], row["id"].bytes), (None, formats.CURRENT))
            wrong += leaf is None or number not in formats.FORMATS or batch_chain.leaf_read(row, number) != leaf
        return wrong + len(expected)

    async def _drop_day(self, name: str, day: date) -> None:
        await self._connection.execute(QUERIES["retention_summarize"], name)  # what comes later is found by it
        counted = await self._count(day)
        digest = counted.digest
        record = ("request_log", day, digest.rows, digest.digest(), counted.spans_text, counted.unsound)
        await self._drop("request_log", name, record)

    async def _drop(self, table: str, name: str, record: tuple[Any, ...]) -> bool:
        """Look whether more has come, detach, write the record, drop: all or nothing, in a moment
        or later.
        """
        if await self._call(name, QUERIES["retention_drop"], table, name, self._at_ms(), *record):
            metrics.RETIRED.labels(table).inc()
            log.info("partition_dropped", partition=name, rows=record[2], unsound=record[5])
            return True
        return False

    async def _call(self, name: str, query: str, *arguments: Any) -> bool:
        """One of the owner's functions; a lock that isn't got in time is asked for again. Returns
        whether it went.
        """
        for attempt in range(1, TRIES + 1):
            try:
                async with self._connection.transaction():
                    await self._connection.execute(f"SET LOCAL lock_timeout = {LOCK_TIMEOUT_MS}")
                    if await self._connection.fetchval(query, *arguments):
                        self.dropped += 1
                        return True
                    log.warning("partition_still_written", partition=name)
                    return False
            except asyncpg.RaiseError as error:
                if self._cover is None or attempt == TRIES:
                    raise
                log.warning("partition_not_covered", partition=name, detail=str(error)[:100])
                await self._cover()
            except (asyncpg.LockNotAvailableError, asyncpg.DeadlockDetectedError):
                log.warning("partition_busy", partition=name, attempt=attempt)
                await asyncio.sleep(PAUSE_S * attempt)
        return False

    async def _drop_default(self, before: date) -> None:
        """Rows of days that have no partition: they move into a new default partition, but for
        those that are due.
        """
        due = [row["day"] for row in await self._connection.fetch(QUERIES["retention_default_days"], before)]
        due = [day for day in due if not await self._is_held(day)]
        if not due:
            return
        counted = [await self._count(day) for day in due]
        await self._call(
            "request_log_default", QUERIES["retention_drop_default"], self._at_ms(), due,
            [one.digest.rows for one in counted], [one.digest.digest() for one in counted],
            [one.spans_text for one in counted], [one.unsound for one in counted],
        )  # fmt: skip

    async def _drop_audit(self, name: str, month: date) -> None:
        """Facts may still come into it where clocks differ: then it is looked at again."""
        for _ in range(TRIES):
            ends = await self._connection.fetchrow(QUERIES["retention_audit_ends"], month, retention.next_month(month))
            assert ends is not None
            if ends["rows"] == 0:
                record: tuple[Any, ...] = ("audit_empty", month, 0, None, "{}", 0)
            elif ends["rows"] != ends["last"] - ends["first"] + 1:
                log.error("audit_not_dropped", partition=name, reason="its rows aren't consecutive")
                return
            else:
                last = await self._connection.fetchval("SELECT sha256 FROM audit_log WHERE n = $1", ends["last"])
                await self._connection.execute("SELECT retention_keep($1, $2)", ends["first"], ends["last"])
                spans = msgspec.json.encode({"n": [ends["first"], ends["last"]]}).decode()
                record = ("audit_log", month, ends["rows"], last, spans, 0)
            if await self._drop("audit_log", name, record):
                return

    def _at_ms(self) -> int:
        return int(self._now.timestamp() * 1000)
