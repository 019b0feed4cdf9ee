"""Questions to the book. Read-only, every statement bounded in time, every answer in rows."""

from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, date, datetime, timedelta
from typing import Any, NamedTuple
from uuid import UUID
from zoneinfo import ZoneInfo

import asyncpg

from services.ledger import batch_chain, price_bodies, responses, spend_query, spend_sql
from services.ledger.asking import Scope
from services.ledger.database import QUERIES, Pool
from services.ledger.facts_in import EPOCH, midnight, place
from services.ledger.params import AuditQuestion, Days, LogsQuestion, audit_cursor, refuse
from services.ledger.spans import Span
from services.ledger.spend_query import ROWS_MAX, Plan, SpendQuery
from services.ledger.spend_sources import Kept, Live
from services.ledger.statement import SUMS
from shared import payloads, subjects
from shared.requests import SpentBy

TAGS_MAX = 10_000
LOGS_MAX = 10_000
CHUNK_ROWS = 500
ACQUIRE_TIMEOUT_S = 2.0
COUNTS_KEPT = 256
BATCHES_KEPT = 2_048
WINDOWS_DAYS = (2, 31)
MICROSECOND = timedelta(microseconds=1)
SPAN_MAX = timedelta(days=31)
"""How long before a question's range a period may begin that has a day in it."""


class LogKey(NamedTuple):
    day: date
    id: UUID
    provisional: bool


class _Owner(NamedTuple):
    """Whose rows: scope and filters together."""

    key_sha256: str | None
    user_id: str | None
    without_key: bool
    without_user: bool


class Report:
    """Every method raises one of DATABASE_ERRORS when the book can't be asked, or not in time."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self._counted: dict[str, tuple[int | None, int, int]] = {}
        """Question about the audit log → (its first entry, the last that was counted, how many)."""
        self._batch_days: dict[bytes, set[date] | None] = {}
        """Hash of a batch → the days of its rows; of batches that the cube hadn't got."""

    async def tags(self, scope: Scope, days: Days, names: Sequence[str] = ()) -> tuple[list[dict[str, Any]], bool]:
        """Spend by tag, most first; whether there are more than TAGS_MAX. `names`: these alone,
        where there are any.
        """
        first, end = _instants(days)
        filters = {"tag": tuple(names)} if names else {}
        query = SpendQuery(
            first, end, ZoneInfo("UTC"), "none", ("tag",), filters, TAGS_MAX + 2, previous=False, csv=False
        )
        found = await self.of_cube(first, end, lambda kept: spend_sql.build(query, Plan("cube", "year"), scope, kept))
        rows = [
            {"value": row["d0"], "requests": row["requests"], "spend_picousd": row["spend_picousd"]}
            for row in found
            if row["d0"] is not None and row["requests"] > 0
        ]
        return [responses.tag(row) for row in rows[:TAGS_MAX]], len(rows) > TAGS_MAX

    async def tag_rows(self, scope: Scope, days: Days, names: list[str] | None) -> tuple[list[Any], bool]:
        """Tags with their first and last day, by name; whether there are more than TAGS_MAX.
        `names`: these alone.
        """
        if scope.everything:
            rows = await self.fetch(QUERIES["tag_rows"], days.first, days.last, names, TAGS_MAX + 1)
        else:
            first, end = _instants(days)
            rows = await self.of_cube(
                first, end, lambda kept: spend_sql.tag_days(first, end, scope, kept, names, TAGS_MAX + 1)
            )
        return rows[:TAGS_MAX], len(rows) > TAGS_MAX

    async def spent(self, wanted: list[SpentBy]) -> list[int]:
        """What each of these spent, in pico-USD. Raises ValueError for a day that is none."""
        together: dict[tuple[str, str], set[str]] = {}
        for each in wanted:
            together.setdefault((each.dimension, each.since), set()).update(each.values)
        sums: dict[tuple[str, str, str], int] = {}
        for (dimension, since), values in together.items():
            first = date.fromisoformat(since) if since else None
            for row in await self.fetch(QUERIES["spent"], dimension, list(values), first):
                sums[dimension, since, row["value"]] = int(row["spend_picousd"])
        return [sum(sums.get((each.dimension, each.since, value), 0) for value in set(each.values)) for each in wanted]

    async def days(self, scope: Scope, question: LogsQuestion) -> list[dict[str, Any]]:
        """Spend a day. Both days of the question must be given."""
        first, last = question.days
        assert first is not None
        assert last is not None
        owner = _owner(scope, question)
        if owner is None:
            return responses.days(first, last, [])
        if owner == _Owner(None, None, False, False):
            rows = await self.fetch(QUERIES["spend_days"], first, last)
            return responses.days(
                first, last, ((r["day"], r["dimension"], r["value"], int(r["spend_picousd"])) for r in rows)
            )
        entries: list[tuple[date, str, str, int]] = []
        for row in await self.fetch(QUERIES["spend_days_of"], first, last, *owner):
            day, key_sha256, user_id, model, spend = row.values()
            for dimension, value in (("total", ""), ("key", key_sha256), ("user", user_id), ("model", model)):
                if value is not None:
                    entries.append((day, dimension, value, int(spend)))
        return responses.days(first, last, entries)

    async def log_keys(self, scope: Scope, question: LogsQuestion) -> tuple[list[LogKey], bool]:
        """Which rows answer the question, newest first; whether there are more than LOGS_MAX.
        `log_rows` brings them.
        """
        owner = _owner(scope, question)
        if owner is None:
            return [], False
        limit = LOGS_MAX + 1
        if question.request_id is not None:
            return await self._named(question.request_id, owner, limit)
        rows: list[Any] = []
        for first in _windows(question.days):
            rows = await self.fetch(QUERIES["logs_newest"], first, question.days.last, *owner, limit)
            if len(rows) >= limit:
                break
        return [LogKey(*row.values()) for row in rows[:LOGS_MAX]], len(rows) > LOGS_MAX

    async def _named(self, name: str, owner: "_Owner", limit: int) -> tuple[list[LogKey], bool]:
        """Calls by an id: ours says its day; that of a provider or a client is looked for in the
        last days first, since most calls that are asked for are young, and each day is a table of
        its own."""
        own = place(name)
        if own is not None:
            rows = await self.fetch(QUERIES["logs_own"], own[1], own[0], *owner)
            if rows:
                return [LogKey(*rows[0].values())], False
        for first in _windows(Days(None, None)):
            rows = await self._any_day(QUERIES["logs_named"], name, first or date.min, limit, *owner)
            if rows:
                keys = {row["id"]: LogKey(*row.values()) for row in reversed(rows)}  # of a call, its final row
                found = sorted(keys.values(), key=lambda key: key.id, reverse=True)
                return found[:LOGS_MAX], len(found) > LOGS_MAX
        return [], False

    async def _any_day(self, query: str, *arguments: Any) -> list[Any]:
        """By a plan that is made once: planning for every day's table takes longer than looking
        into all of them.
        """
        async with (
            self._pool.acquire(timeout=ACQUIRE_TIMEOUT_S) as connection,
            connection.transaction(readonly=True),
        ):
            await connection.execute("SET LOCAL plan_cache_mode = force_generic_plan")
            return list(await connection.fetch(query, *arguments))

    async def log_rows(self, keys: list[LogKey]) -> AsyncIterator[list[dict[str, Any]]]:
        """The rows, in the order of the keys, some at a time: nothing is held open while a slow
        reader reads.
        """
        for start in range(0, len(keys), CHUNK_ROWS):
            chunk = keys[start : start + CHUNK_ROWS]
            ids: defaultdict[date, list[UUID]] = defaultdict(list)
            for key in chunk:
                ids[key.day].append(key.id)
            found = {}
            for day, day_ids in ids.items():
                for row in await self.fetch(QUERIES["logs_rows"], day, day_ids):
                    found[row["id"], row["provisional"]] = row
            rows = [found[key.id, key.provisional] for key in chunk if (key.id, key.provisional) in found]
            yield [responses.spend_log(row) for row in await price_bodies.resolved(self.fetch, rows)]

    async def content(self, key: LogKey) -> dict[str, Any]:
        """Prompt and answer of a call, where they are kept, in the fields that LiteLLM's row has
        for them.
        """
        rows = await self.fetch(QUERIES["payload_one"], key.day, key.id)
        if not rows:
            return {}
        row = rows[0]
        return payloads.shown(row["request"], row["answer"], row["cut"], stream=row["stream"])

    async def audit_page(self, question: AuditQuestion) -> dict[str, Any]:
        kinds = None if question.table_name is None else responses.kinds_of(question.table_name)
        arguments = (
            kinds, question.changed_by, question.changed_by_api_key, question.action, question.object_id,
            question.from_ms, question.to_ms, question.object_team_id, question.object_key_hash, question.search,
        )  # fmt: skip
        total = await self._audit_total(arguments)
        rows = await self._audit_rows(question, arguments, total)
        shown = rows[: question.page_size]
        goes_on = len(rows) > len(shown) and question.sort_column == "at_ms"
        return {
            "audit_logs": [responses.audit_entry(row) for row in shown],
            "total": total,
            "page": question.page if question.after is None else None,
            "page_size": question.page_size,
            "total_pages": -(-total // question.page_size),
            "next_cursor": audit_cursor(shown[-1]) if goes_on else None,
        }

    async def _audit_rows(self, question: AuditQuestion, arguments: tuple[Any, ...], total: int) -> list[Any]:
        """The page's, and one more where another page follows. What can't be read has no time, and
        goes last.
        """
        select, wanted = QUERIES["audit_count"].replace("count(*)", "*", 1), question.page_size + 1
        order, beyond = ("DESC", "<") if question.descending else ("ASC", ">")
        if question.after is None:
            offset = (question.page - 1) * question.page_size
            ordered = f"ORDER BY {question.sort_column} {order} NULLS LAST, n {order} LIMIT $11 OFFSET $12"
            return list(await self.fetch(f"{select}\n{ordered}", *arguments, wanted, offset)) if offset < total else []
        at_ms, n = question.after
        rows: list[Any] = []
        if at_ms is not None:
            ordered = f"AND (at_ms, n) {beyond} ($11, $12) ORDER BY at_ms {order} NULLS LAST, n {order} LIMIT $13"
            rows += await self.fetch(f"{select}\n{ordered}", *arguments, at_ms, n, wanted)
        if len(rows) < wanted:
            ordered = f"AND at_ms IS NULL AND ($11::bigint IS NULL OR n {beyond} $11) ORDER BY n {order} LIMIT $12"
            rows += await self.fetch(
                f"{select}\n{ordered}", *arguments, n if at_ms is None else None, wanted - len(rows)
            )
        return rows

    async def _audit_total(self, arguments: tuple[Any, ...]) -> int:
        """How many entries answer a question. Entries are only ever added at the end, or go by
        whole months at the beginning: what was counted before is counted on, not again."""
        first, last = (await self.fetch("SELECT min(n), max(n) FROM audit_log"))[0]
        key = repr(arguments)
        known = self._counted.pop(key, None)
        if known is None or known[0] != first:
            known = (first, 0, 0)
        more = 0
        if last is not None and last > known[1]:
            more = int(
                (await self.fetch(f"{QUERIES['audit_count']}\nAND n > $11 AND n <= $12", *arguments, known[1], last))[
                    0
                ][0]
            )
        found = (first, last or 0, known[2] + more)
        if len(self._counted) >= COUNTS_KEPT:
            del self._counted[next(iter(self._counted))]
        self._counted[key] = found
        return found[2]

    async def audit_entry(self, fact_id: str) -> dict[str, Any] | None:
        rows = await self.fetch(QUERIES["audit_entry"], fact_id)
        return responses.audit_entry(rows[0]) if rows else None

    async def sums(
        self, query: SpendQuery, scope: Scope, wanted: Sequence[str] = SUMS, *, admitted: bool = False
    ) -> list[Any]:
        """Rows alone, without a total: see spend_sql.build. What isn't among the usual SUMS comes
        from cube or log. `admitted`: without refused calls, also where those could be counted.
        """
        plan = spend_query.plan(query, everything=scope.everything and tuple(wanted) == SUMS)
        async with self._snapshot() as connection:
            kept = await self._kept_for(connection, query, [plan])
            sql, arguments = spend_sql.build(query, plan, scope, kept, admitted=admitted, wanted=wanted)
            rows = await connection.fetch(sql, *arguments)
        if len(rows) > ROWS_MAX:
            refuse("start_date", f"gives more than {ROWS_MAX} sums: narrow the range, or filter")
        return list(rows)

    async def spend(self, query: SpendQuery, scope: Scope) -> tuple[str, list[Any], Any]:
        """Where the answer is from, its rows, and the total. Of one snapshot: the sums, and what
        they don't hold yet.
        """
        admitted = spend_query.admitted_only(query)
        total = query._replace(group_by=(), bucket="none")
        plans = [
            spend_query.plan(one, everything=scope.everything) for one in (query, total)
        ]  # refused before a connection is taken
        async with self._snapshot() as connection:
            kept = await self._kept_for(connection, query, plans)
            found = []
            for one, plan in zip((query, total), plans, strict=True):
                sql, arguments = spend_sql.build(one, plan, scope, kept, admitted=admitted)
                found.append(await connection.fetch(sql, *arguments))
        rows, totals = found
        if len(rows) > ROWS_MAX:
            refuse("group_by", f"gives more than {ROWS_MAX} rows: narrow the range, filter, or ask for a smaller top")
        return plans[0].source, rows, totals[0] if totals else None

    async def of_cube(
        self, first: datetime, end: datetime, statement: Callable[[Kept], tuple[str, list[Any]]]
    ) -> list[Any]:
        """Rows of a statement about what the cube has between two instants, made when that is
        known.
        """
        async with self._snapshot() as connection:
            sql, arguments = statement(await self._kept(connection, first, end))
            return list(await connection.fetch(sql, *arguments))

    async def _kept_for(self, connection: Any, query: SpendQuery, plans: Sequence[Plan]) -> Kept:
        """Nothing where nobody asks the cube."""
        if all(plan.source != "cube" for plan in plans):
            return Kept((), None)
        return await self._kept(connection, query.first, query.end)

    async def _kept(self, connection: Any, first: datetime, end: datetime) -> Kept:
        """What the cube has between two instants, and what it hasn't got yet."""
        found = await connection.fetch(QUERIES["spans"], first - SPAN_MAX, end)
        positions = await connection.fetch(QUERIES["cube_positions"], subjects.TRAFFIC_STREAM)
        after = [(row["shard"], row["batch"]) for row in positions]
        batches = await connection.fetch(QUERIES["cube_behind"], [shard for shard, _ in after], [n for _, n in after])
        low, high = first.date(), (end - MICROSECOND).date()
        days = {day for day in await self._days_of(connection, batches) if low <= day <= high}
        if days:  # the planner takes the newest rows for one or two, and would sort them by their texts
            await connection.execute("SET LOCAL enable_sort = off")
        return Kept([Span(*row.values()) for row in found], Live(after, sorted(days)) if days else None)

    async def _days_of(self, connection: Any, batches: Sequence[Any]) -> set[date]:
        """Of these batches' rows. A batch's hash says what is in it: it is looked at once."""
        known = {row["sha256"]: self._batch_days.get(row["sha256"]) for row in batches}
        new = [row for row in batches if known[row["sha256"]] is None]
        if new:
            shards, numbers = [row["shard"] for row in new], [row["n"] for row in new]
            for row in await connection.fetch(QUERIES["batch_ids"], shards, numbers):
                known[row["sha256"]] = batch_chain.days(row["ids"])
            self._batch_days = dict(list(known.items())[-BATCHES_KEPT:])
        return {day for days in known.values() for day in days or ()}

    @asynccontextmanager
    async def _snapshot(self) -> AsyncIterator[Any]:
        try:
            async with (
                self._pool.acquire(timeout=ACQUIRE_TIMEOUT_S) as connection,
                connection.transaction(isolation="repeatable_read", readonly=True),
            ):
                yield connection
        except asyncpg.InvalidParameterValueError as error:
            if "time zone" not in str(error):
                raise
            refuse("time_zone", "must be an IANA name like Europe/Berlin; the database doesn't know this one")

    async def fetch(self, query: str, *arguments: Any) -> list[Any]:
        async with self._pool.acquire(timeout=ACQUIRE_TIMEOUT_S) as connection:
            return await connection.fetch(query, *arguments)


def _instants(days: Days) -> tuple[datetime, datetime]:
    """From and before; what isn't given, or is out of the world of ids (from 1970 on), is as far
    away as anything can be.
    """
    return (
        midnight(max(EPOCH, days.first or EPOCH)),
        midnight(date(9999, 1, 1) if days.last is None or days.last.year > 9998 else days.last + timedelta(days=1)),
    )


def _windows(days: Days) -> list[date | None]:
    """First days to look from, one after the other, until there is enough; the last is the
    question's own.
    """
    today = datetime.now(UTC).date()
    ends = [today - timedelta(days=back) for back in WINDOWS_DAYS]
    return [*(day for day in ends if days.first is None or day > days.first), days.first]


def _owner(scope: Scope, question: LogsQuestion) -> _Owner | None:
    """None: the question is about somebody the asker may not see."""
    key, user = question.key_sha256, question.user_id
    if scope.everything:
        return _Owner(key, user, False, False)
    if scope.user_id is not None:
        return _Owner(key, scope.user_id, False, False) if user in (None, scope.user_id) else None
    if key not in (None, scope.key_sha256) or user is not None:
        return None
    return _Owner(scope.key_sha256, None, scope.key_sha256 is None, True)
