"""`rebuild`: every sum of the book computed again from its rows, compared with what is kept, and put right. Beside the running service.

    rebuild [--check] [--from DAY] [--to DAY] [--again]

A day at a time: one snapshot says what the sums are and what they should be; then the *difference* is added. Recorders only ever add too:
it doesn't matter what they added meanwhile, and nobody waits for anybody. A day is one transaction: a rebuild that was stopped goes on after the
last day done (`--again`: at the beginning). Days that retention has taken rows of can't be computed again, and stay.

    rollup                            by day, dimension and value (rollup.py)
    spend_hour, spend_day             the cube (cube.py), of the batches it has by now
    spend_month                       from spend_day
    spend_group                       who and what a group of the cube is

What is kept as last seen, and so can't differ, isn't compared: spend_name. Nor is what waits to happen: request_open, positions.
"""

import argparse
import asyncio
import os
import sys
from collections.abc import Callable, Sequence
from datetime import date, datetime, timedelta
from typing import Any, NamedTuple

from services.ledger import config, cube
from services.ledger.database import DATABASE_ERRORS, QUERIES, Connection, Database
from services.ledger.facts_in import midnight
from services.ledger.lock import LOCK_SPACE
from services.ledger.retention import next_month
from shared.config import ConfigError
from shared.money import PICOUSD_PER_USD
from shared.settings import SettingsError

DIFFERENCES_SHOWN_MAX = 100
TIMEOUT_S = 3600.0
"""Of a day."""
LOCK = 1_000_100
WHAT = "sums"
APPLY_ROWS = 5_000

_SUMS = ", ".join(cube.SUMS)
_ZEROS = " AND ".join(f"{name} = 0" for name in cube.SUMS)


class Difference(NamedTuple):
    """A row of a table of sums that isn't what the rows say."""

    table: str
    key: tuple[Any, ...]
    kept: tuple[int, ...] | None
    again: tuple[int, ...] | None

    @property
    def delta(self) -> tuple[int, ...]:
        width = len(self.kept or self.again or ())
        zeros = (0,) * width
        return tuple(a - k for a, k in zip(self.again or zeros, self.kept or zeros, strict=True))

    def __str__(self) -> str:
        kept, again = ("nothing" if each is None else "/".join(map(str, each)) for each in (self.kept, self.again))
        return f"{self.table} {' '.join(str(part) for part in self.key)}: kept {kept}, computed {again}"


class Asked(NamedTuple):
    check_only: bool = False
    first: date | None = None
    last: date | None = None
    again: bool = False


EVERYTHING = Asked()


def command(arguments: list[str]) -> int:
    """Exit status: 0 the same (or put right), 1 different, 2 could not be done."""
    parser = argparse.ArgumentParser(prog="rebuild", description="Compute the book's sums again from its rows.")
    parser.add_argument("--check", action="store_true", help="only compare")
    parser.add_argument("--from", dest="first", type=date.fromisoformat, help="first day")
    parser.add_argument("--to", dest="last", type=date.fromisoformat, help="last day")
    parser.add_argument(
        "--again", action="store_true", help="from the beginning, not from where the last one was stopped"
    )
    given = parser.parse_args(arguments)
    try:
        settings = asyncio.run(config.read(os.environ))
        asked = Asked(given.check, given.first, given.last, given.again)
        shown = _progress if sys.stderr.isatty() else _silent
        return asyncio.run(run(config.database(settings), asked, progress=shown))
    except (SettingsError, ConfigError, *DATABASE_ERRORS) as error:
        print(f"rebuild: {error}", file=sys.stderr)
        return 2


def _progress(day: date, done: int, days: int) -> None:
    print(f"\r{day}  {done}/{days} days", end="\n" if done == days else "", file=sys.stderr, flush=True)


def _silent(day: date, done: int, days: int) -> None:
    pass


async def run(
    database: Database, asked: Asked = EVERYTHING, progress: Callable[[date, int, int], None] = _silent
) -> int:
    connection = await database.writer(int(TIMEOUT_S * 1000))
    found = _Found()
    try:
        if not await connection.fetchval("SELECT pg_try_advisory_lock($1, $2)", LOCK_SPACE, LOCK):
            print("rebuild: one is running", file=sys.stderr)
            return 2
        work = _Rebuild(connection, found, asked.check_only)
        await work.all(asked, progress)
    finally:
        await connection.close(timeout=5)
    if found.count > DIFFERENCES_SHOWN_MAX:
        print(f"and {found.count - DIFFERENCES_SHOWN_MAX} more")
    if not found.count:
        print("the sums are what the rows say")
        return 0
    print(f"{found.count} sums differ" if asked.check_only else f"{found.count} sums differed, and were put right")
    return 1 if asked.check_only else 0


class _Found:
    def __init__(self) -> None:
        self.count = 0

    def tell(self, differences: Sequence[Difference]) -> None:
        for one in differences[: max(0, DIFFERENCES_SHOWN_MAX - self.count)]:
            print(one)
        self.count += len(differences)


class _Rebuild:
    def __init__(self, connection: Connection, found: _Found, check_only: bool) -> None:
        self._connection = connection
        self._found = found
        self._check_only = check_only

    async def all(self, asked: Asked, progress: Callable[[date, int, int], None]) -> None:
        days = [row["day"] for row in await self._connection.fetch(QUERIES["rebuild_days"], asked.first, asked.last)]
        reached = None
        if not (self._check_only or asked.again or asked.first):
            reached = await self._connection.fetchval(QUERIES["rebuild_reached"], WHAT)
        for done, day in enumerate(days, 1):
            if reached is None or day > reached:
                await self._day(day)
            progress(day, done, len(days))
        for month in sorted({day.replace(day=1) for day in days}):
            await self._month(month)
        if not self._check_only:
            await self._connection.execute(QUERIES["rebuild_end"], WHAT)

    async def _day(self, day: date) -> None:
        span = (midnight(day), midnight(day + timedelta(days=1)))
        async with self._connection.transaction(isolation="repeatable_read", readonly=True):
            rows = await self._connection.fetch(f"{QUERIES['rollup_again']}\n{QUERIES['rollup_differences']}", day)
            rollup = [
                Difference(
                    "rollup", (row["day"], row["dimension"], row["value"], row["scope"]), _numbers(row["kept"]), _numbers(row["again"])
                )
                for row in rows
            ]  # fmt: skip
            positions = await self._connection.fetch(QUERIES["rebuild_positions"])
            counted = (day, [row["shard"] for row in positions], [row["batch"] for row in positions])
            hours = await self._cube("spend_hour", _HOURS, *counted, *span)
            of_day = await self._cube("spend_day", _DAYS, *counted, *span)
            groups = await self._connection.fetch(_GROUPS, *counted)
        lost = [Difference("spend_group", (row["id"],), None, None) for row in groups]
        self._found.tell([*rollup, *hours, *of_day, *lost])
        if self._check_only:
            return
        async with self._connection.transaction():
            await self._add_rollup(rollup)
            if rollup:
                await self._connection.execute(QUERIES["rollup_clear"], day)
            if groups:
                await self._connection.executemany(_ADD_GROUP, [tuple(row.values()) for row in groups])
            for table, differences in (("spend_hour", hours), ("spend_day", of_day)):
                await self._add_cube(table, differences, span)
            await self._connection.execute(QUERIES["rebuild_move"], WHAT, day)

    async def _month(self, month: date) -> None:
        span = (midnight(month), midnight(next_month(month)))
        async with self._connection.transaction(isolation="repeatable_read", readonly=True):
            differences = await self._cube("spend_month", _MONTHS, *span)
        self._found.tell(differences)
        if not self._check_only:
            async with self._connection.transaction():
                await self._add_cube("spend_month", differences, span)

    async def _cube(self, table: str, query: str, *arguments: Any) -> list[Difference]:
        return [
            Difference(table, (row["at"], row["tags"], row["tag"], row["grp"]), _numbers(row["kept"]), _numbers(row["again"]))
            for row in await self._connection.fetch(query, *arguments)
        ]  # fmt: skip

    async def _add_rollup(self, differences: list[Difference]) -> None:
        for start in range(0, len(differences), APPLY_ROWS):
            some = differences[start : start + APPLY_ROWS]
            days, dimensions, values, scopes = zip(*(one.key for one in some), strict=True)
            *sums, spend = zip(*(one.delta for one in some), strict=True)
            dollars, rest = zip(*(divmod(picousd, PICOUSD_PER_USD) for picousd in spend), strict=True)
            await self._connection.execute(
                QUERIES["rollup_add"], scopes, dimensions, days, values, *sums, dollars, rest
            )

    async def _add_cube(self, table: str, differences: list[Difference], span: tuple[datetime, datetime]) -> None:
        for start in range(0, len(differences), APPLY_ROWS):
            some = differences[start : start + APPLY_ROWS]
            keys = zip(*(one.key for one in some), strict=True)
            sums = zip(*(one.delta for one in some), strict=True)
            await self._connection.execute(_ADD_CUBE.replace("@TABLE@", table), *keys, *sums)
        if differences:
            await self._connection.execute(_CLEAR_CUBE.replace("@TABLE@", table), *span)


def _numbers(found: list[Any] | None) -> tuple[int, ...] | None:
    return None if found is None or found[0] is None else tuple(int(number) for number in found)


def _array(alias: str) -> str:
    return f"ARRAY[{', '.join(f'{alias}.{name}' for name in cube.SUMS)}]::numeric[]"


def _differs(computed: str, table: str, since: str, until: str) -> str:
    """Sums computed, against those a table has of a span of time."""
    names = ", ".join(cube.SUMS)
    left, right = (f"({', '.join(f'{alias}.{name}' for name in cube.SUMS)})" for alias in ("k", "a"))
    return f"""
    SELECT at, tags, tag, grp, {_array("k")} AS kept, {_array("a")} AS again
    FROM ({computed}) AS a FULL JOIN (
        SELECT at, tags, tag, grp, {names} FROM {table} WHERE at >= {since} AND at < {until} AND NOT ({_ZEROS})
    ) AS k USING (at, tags, tag, grp)
    WHERE {left} IS DISTINCT FROM {right}
    """  # noqa: S608  (names of ours)


def _summed(period: str, source: str) -> str:
    added = ", ".join(
        f"sum({name})::{'numeric' if name == 'spend_picousd' else 'bigint'} AS {name}" for name in cube.SUMS
    )
    return f"SELECT date_trunc('{period}', at, 'UTC') AS at, tags, tag, grp, {added} FROM {source} GROUP BY 1, 2, 3, 4"  # noqa: S608


_COUNTED = QUERIES["cube_counted"].replace(
    "@WHERE@",
    "s.in_day = $1 AND EXISTS (SELECT FROM unnest($2::integer[], $3::bigint[]) AS p (shard, batch)"
    " WHERE p.shard = s.in_shard AND s.in_batch <= p.batch)",
)
"""$1 day, $2 shards, $3 up to which of their batches the cube has got."""
_NOT_ZERO = f"SELECT at, tags, tag, grp, {_SUMS} FROM sums WHERE NOT ({_ZEROS})"  # noqa: S608
_HOURS = f"{_COUNTED}\n{QUERIES['cube_sums']}\n{_differs(_NOT_ZERO, 'spend_hour', '$4', '$5')}"
_DAYS = (
    f"{_COUNTED}\n{QUERIES['cube_sums']}\n{_differs(_summed('day', f'({_NOT_ZERO}) AS n'), 'spend_day', '$4', '$5')}"
)
_MONTHS = _differs(
    _summed("month", "(SELECT * FROM spend_day WHERE at >= $1 AND at < $2) AS d"), "spend_month", "$1", "$2"
)
_GROUPS = f"""{_COUNTED}
SELECT DISTINCT ON (n.grp) n.grp AS id, n.key_sha256, n.team_id, n.user_id, n.organization_id, n.model, n.upstream_model, n.deployment_id,
    n.provider, n.call_type
FROM grouped n LEFT JOIN spend_group g ON g.id = n.grp
WHERE g.id IS NULL OR (g.key_sha256, g.team_id, g.user_id, g.organization_id, g.model, g.upstream_model, g.deployment_id, g.provider,
    g.call_type) IS DISTINCT FROM (n.key_sha256, n.team_id, n.user_id, n.organization_id, n.model, n.upstream_model, n.deployment_id,
    n.provider, n.call_type)
ORDER BY n.grp
"""  # noqa: S608
_ADD_GROUP = """
INSERT INTO spend_group (id, key_sha256, team_id, user_id, organization_id, model, upstream_model, deployment_id, provider, call_type)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)
ON CONFLICT (id) DO UPDATE SET key_sha256 = excluded.key_sha256, team_id = excluded.team_id, user_id = excluded.user_id,
    organization_id = excluded.organization_id, model = excluded.model, upstream_model = excluded.upstream_model,
    deployment_id = excluded.deployment_id, provider = excluded.provider, call_type = excluded.call_type
"""
_TYPES = [
    "timestamptz",
    "text",
    "text",
    "uuid",
    *("numeric" if name == "spend_picousd" else "bigint" for name in cube.SUMS),
]
_ADD_CUBE = f"""
INSERT INTO @TABLE@ AS c (at, tags, tag, grp, {_SUMS})
SELECT * FROM unnest({", ".join(f"${n}::{kind}[]" for n, kind in enumerate(_TYPES, 1))}) AS n ORDER BY 2, 3, 1, 4
ON CONFLICT (tags, tag, at, grp) DO UPDATE SET {", ".join(f"{name} = c.{name} + excluded.{name}" for name in cube.SUMS)}
"""  # noqa: S608
_CLEAR_CUBE = f"DELETE FROM @TABLE@ WHERE at >= $1 AND at < $2 AND {_ZEROS}"  # noqa: S608
