"""The book's transactions. Each moves (or holds) the stream's position and writes everything that
follows from it, or nothing.
"""

import hashlib
from collections import defaultdict
from collections.abc import Iterable
from datetime import date, timedelta
from typing import NamedTuple

import structlog

from services.ledger import batch_chain, facts_in, formats, posting, price, retention, rows, sanitize
from services.ledger.batch_chain import Made
from services.ledger.chain import Link
from services.ledger.database import DATA_ERRORS, QUERIES, Connection
from services.ledger.facts_in import Anomaly, Batch, EndedIn, OpenedIn
from services.ledger.posting import Known, Postings
from services.ledger.rollup import Rollup, SumChange
from services.ledger.rows import Share
from shared.money import PICOUSD_PER_USD

log = structlog.get_logger()

FIRST_DAY = date(2020, 1, 1)
DAYS_AHEAD_MAX = 32
"""Days outside get no partition of their own: their rows go to the default one."""
MADE_AHEAD_DAYS = 3
PRICES_KEPT_MAX = 4096

_ROW_COLUMNS = (*rows.COLUMNS, "shard", "batch")
_OPEN_COLUMNS = ("id", "shard", "expires_at_ms", "fact_sha256", "fact")


class PositionMovedError(Exception):
    """Somebody else has recorded from this stream. Read the position again."""


class Position(NamedTuple):
    seq: int
    message_at_ns: int
    """When the broker stored the message at `seq`; 0: none was recorded yet."""


class Written(NamedTuple):
    """What a transaction did, for the metrics."""

    rows: int
    opened: int
    outranked: int
    duplicates: int
    anomalies: list[Anomaly]


class Tally:
    """One shard of a stream in the book, over one connection. Not for use by two tasks at once."""

    def __init__(self, connection: Connection, stream: str, shard: int) -> None:
        self._connection = connection
        self._stream = stream
        self._shard = shard
        self._days: set[date] = set()
        """Partitions known to be there (or known to be the default one)."""
        self._prices: set[str] = set()
        """References whose prices are in their table."""

    def terminate(self) -> None:
        """Drop the connection; what wasn't committed is undone."""
        self._connection.terminate()

    async def position(self) -> Position:
        """Where to go on, and no fail-over takes it back.

        A commit that was interrupted while it waited for its standby is on the primary all the
        same, and read by the next session; but only once the standby has it may anything behind it
        be let go of.
        """
        await self._connection.execute(QUERIES["position_start"], self._stream, self._shard)
        row = await self._connection.fetchrow(QUERIES["position"], self._stream, self._shard)
        assert row is not None
        await self._connection.execute(QUERIES["position_safe"])
        return Position(row["seq"], row["message_at_ns"])

    async def rewind(self, known: Position, to: Position, anomaly: Anomaly | None) -> None:
        """Go back: what is read again is recognised by its ids.

        Args:
            anomaly: that the stream isn't the one `known` was read from; None: somebody asked for
                it, and the audit log says so.
        """
        async with self._connection.transaction():
            await self._move(to, await self._hold(known))
            if anomaly is not None:
                await self._write_anomalies([anomaly])

    async def anomaly(self, anomaly: Anomaly) -> None:
        await self._write_anomalies([anomaly])

    async def post(self, batch: Batch, known: Position, now_ms: int) -> Written:
        """Record a batch and move the position behind it.

        Raises PositionMovedError, or one of DATABASE_ERRORS: then nothing was written. A row that
        PostgreSQL refuses (none should be left that it can) becomes an anomaly, and the others go
        in.
        """
        to = Position(batch.last_seq, batch.last_at_ns)
        await self._add_prices(batch.ended.values())
        days = await self._ensure_days(batch, now_ms)
        async with self._connection.transaction():
            end = await self._hold(known)
            postings = posting.decide(batch, await self._look_up(batch))
            written = postings.rows
            try:
                async with self._connection.transaction():
                    await self._write(postings, end.n + 1)
            except DATA_ERRORS as error:
                log.error("batch_refused", stream=self._stream, error=type(error).__name__, detail=str(error)[:200])
                written = await self._write_apart(postings, end.n + 1)
            end = await self._chain(written, end, Made(batch.first_seq, batch.last_seq, now_ms))
            await self._move(to, end)
            await self._write_anomalies(postings.anomalies)
        self._days |= days
        return Written(
            len(written), len(postings.opened), len(postings.outranked), postings.duplicates, postings.anomalies
        )

    async def expire(self, known: Position, until_ms: int, now_ms: int, limit: int) -> int:
        """Close what was opened and should have ended by `until_ms`, with a provisional row each.
        Returns how many.

        Raises PositionMovedError when the book isn't where the caller thinks.
        """
        async with self._connection.transaction():
            end = await self._hold(known)
            batch = Batch(now_ms)
            # Deleted first, then looked at: another shard may be bringing the end of one of these
            # at this moment.
            found = await self._connection.fetch(QUERIES["open_expired"], self._shard, until_ms, limit)
            for row in found:
                batch.add_expired(str(row["id"]), row["fact_sha256"], row["fact"])
            await self._add_prices(batch.ended.values())
            if not found:
                return 0
            known_rows = await self._look_up(batch)
            fresh = [
                ended
                for ended in batch.ended.values()
                if ended.id not in known_rows.final and ended.id not in known_rows.provisional
            ]
            await self._write_rows(fresh, [], end.n + 1)
            await self._move(known, await self._chain(fresh, end, Made(0, 0, now_ms)))
            return len(fresh)

    async def open_count(self) -> int:
        return int(await self._connection.fetchval(QUERIES["open_count"], self._shard))

    async def _hold(self, known: Position) -> Link:
        """Lock the position until the transaction ends. Returns the end of the chain written from
        it.
        """
        held = await self._connection.fetchrow(QUERIES["position_hold"], self._stream, self._shard, known.seq)
        if held is None:
            raise PositionMovedError
        return Link(held["chain_n"], held["chain_sha256"])

    async def _move(self, to: Position, end: Link) -> None:
        """Of a position that is held."""
        await self._connection.execute(QUERIES["position_move"], self._stream, self._shard, *to, *end)

    async def _chain(self, written: list[EndedIn], end: Link, made: Made) -> Link:
        """Add the transaction's rows to the chain of batches. Returns its new end."""
        if not written:
            return end
        manifest = batch_chain.manifest([one.row for one in written])
        link = batch_chain.link(end, self._shard, made, len(written), manifest, formats.CURRENT)
        await self._connection.execute(
            QUERIES["batch_add"],
            self._shard, link.n, end.sha256, link.sha256, *made, len(written), manifest, formats.CURRENT,
        )  # fmt: skip
        return link

    async def _add_prices(self, ended: Iterable[EndedIn]) -> None:
        """Before the transaction: a price that no row names harms nobody, a row that names none
        would.
        """
        new = {one.row[rows.PRICE]: one for one in ended if one.row[rows.PRICE] not in self._prices}
        new.pop(None, None)
        if not new:
            return
        bodies = [rows.price_body(found) for one in new.values() if (found := facts_in.price_of(one)) is not None]
        await self._connection.execute(QUERIES["price_add"], [*map(price.digest_of, bodies)], bodies)
        if len(self._prices) > PRICES_KEPT_MAX:
            self._prices.clear()
        self._prices.update(new)

    async def _ensure_days(self, batch: Batch, now_ms: int) -> set[date]:
        """Before the transaction, so that the locks a new partition takes are held for a moment
        only.
        """
        last = facts_in.today(now_ms) + timedelta(days=DAYS_AHEAD_MAX)
        days = {ended.day for ended in batch.ended.values()} - self._days
        for day in sorted(days):
            if FIRST_DAY <= day <= last:
                await self._connection.execute(QUERIES["ensure_day"], day)
            else:
                log.warning("day_without_partition", day=day.isoformat())
        return days

    async def _look_up(self, batch: Batch) -> Known:
        """What the book has of the batch's requests. Those that end aren't open any more.

        In this order: whoever deletes the open entry first is seen by the other, who waits for that
        row and only then looks.
        """
        await self._end_open([ended.id for ended in batch.ended.values()])
        final: dict[str, bytes] = {}
        provisional: set[str] = set()
        ids_by_day: defaultdict[date, list[str]] = defaultdict(list)
        for ended in batch.ended.values():
            ids_by_day[ended.day].append(ended.id)
        unended = [opened for opened in batch.opened.values() if opened.id not in batch.ended]
        for opened in unended:
            ids_by_day[opened.day].append(opened.id)
        for day, ids in ids_by_day.items():
            for row in await self._connection.fetch(QUERIES["known"], day, ids):
                if row["provisional"]:
                    provisional.add(str(row["id"]))
                else:
                    final[str(row["id"])] = row["fact_sha256"]
        known_open: dict[str, bytes] = {}
        if unended:
            ids = [opened.id for opened in unended]
            known_open = {
                str(row["id"]): row["fact_sha256"] for row in await self._connection.fetch(QUERIES["open_known"], ids)
            }
        return Known(final, provisional, known_open)

    async def _end_open(self, ids: list[str]) -> None:
        if ids:
            await self._connection.execute(QUERIES["open_end"], ids)

    async def _write(self, postings: Postings, batch_n: int) -> None:
        await self._write_rows(postings.rows, postings.outranked, batch_n)
        await self._write_opened(postings.opened)

    async def _write_rows(self, ended: list[EndedIn], outranked: Iterable[EndedIn], batch_n: int) -> None:
        if not ended:
            return
        rollup = Rollup()
        for one in ended:
            rollup.add(one.row)
        for one in outranked:
            await self._take_out(rollup, one)
        await self._connection.copy_records_to_table(
            "request_log", records=[(*one.row, self._shard, batch_n) for one in ended], columns=_ROW_COLUMNS
        )
        await self._write_rollup(rollup.changes())

    async def _take_out(self, rollup: Rollup, ended: EndedIn) -> None:
        """A settlement came after its request had expired: the provisional row stays, but isn't
        counted any more.
        """
        row = await self._connection.fetchrow(QUERIES["provisional_share"], ended.day, ended.id)
        assert row is not None
        share = Share._make(row[name] for name in Share._fields)._replace(tags=tuple(row["tags"]))
        rollup.take_out(share, row["cost_picousd"], row["input_tokens"], row["output_tokens"])

    async def _write_rollup(self, changes: list[SumChange]) -> None:
        if not changes:
            return
        *columns, spend = zip(*changes, strict=True)
        # Of any size, and yet in 64 bits: whole dollars and the rest (an array of numerics takes
        # ten times as long to send).
        dollars, rest = zip(*(divmod(picousd, PICOUSD_PER_USD) for picousd in spend), strict=True)
        await self._connection.execute(QUERIES["rollup_add"], *columns, dollars, rest)

    async def _write_opened(self, opened: list[OpenedIn]) -> None:
        if opened:
            await self._connection.copy_records_to_table(
                "request_open",
                records=[(one.id, self._shard, one.expires_at_ms, one.sha256, one.raw) for one in opened],
                columns=_OPEN_COLUMNS,
            )

    async def _write_apart(self, postings: Postings, batch_n: int) -> list[EndedIn]:
        """Halve until the rows PostgreSQL refuses are alone; they become anomalies. Returns the
        others.
        """
        refused = await self._write_halves(postings.rows, {one.id for one in postings.outranked}, batch_n)
        refused_ids = {anomaly.subject_id for anomaly in refused}
        postings.anomalies.extend(refused)
        for one in postings.opened:
            try:
                async with self._connection.transaction():
                    await self._write_opened([one])
            except DATA_ERRORS as error:
                postings.anomalies.append(_rejected(one.seq, one.id, error, one.raw))
        return [one for one in postings.rows if one.id not in refused_ids]

    async def _write_halves(self, ended: list[EndedIn], outranked: set[str], batch_n: int) -> list[Anomaly]:
        if not ended:
            return []
        try:
            async with self._connection.transaction():
                await self._write_rows(ended, [one for one in ended if one.id in outranked], batch_n)
            return []
        except DATA_ERRORS as error:
            if len(ended) == 1:
                return [_rejected(ended[0].seq, ended[0].id, error, bytes(ended[0].raw))]
        half = len(ended) // 2
        return [
            *await self._write_halves(ended[:half], outranked, batch_n),
            *await self._write_halves(ended[half:], outranked, batch_n),
        ]

    async def _write_anomalies(self, anomalies: list[Anomaly]) -> None:
        if anomalies:
            await self._connection.executemany(
                QUERIES["anomaly_add"],
                [
                    (
                        self._stream, self._shard, a.seq, a.kind,
                        None if a.subject_id is None else sanitize.for_people(a.subject_id), sanitize.for_people(a.detail),
                        None if a.raw is None else hashlib.sha256(a.raw).digest(), a.raw,
                    )
                    for a in anomalies
                ],
            )  # fmt: skip


def _rejected(seq: int, request_id: str, error: Exception, raw: bytes) -> Anomaly:
    return Anomaly("rejected", seq, request_id, f"{type(error).__name__}: {str(error)[:300]}", raw)


async def make_days_ahead(connection: Connection, today: date) -> None:
    """The partitions of the next days, so that no batch has to wait for one."""
    for ahead in range(-1, MADE_AHEAD_DAYS + 1):
        await connection.execute(QUERIES["ensure_day"], today + timedelta(days=ahead))


async def make_months_ahead(connection: Connection, today: date) -> None:
    """The audit log's partitions of this month and the next."""
    month = today.replace(day=1)
    for _ in range(2):
        after = retention.next_month(month)
        await connection.execute(QUERIES["ensure_partition"], "audit_log", f"{month:%Y%m}", str(month), str(after))
        month = after
