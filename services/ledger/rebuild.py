# ruff: noqa: S608 - names of ours are put together; what is asked goes into arguments
"""`rebuild`: every sum of the book computed again from its rows, compared with what is kept, and
put right. Beside the running service.

    rebuild [--check] [--from DAY] [--to DAY] [--again]

A day at a time. Of `rollup` one snapshot says what the sums are and what they should be; then the
*difference* is added: recorders only ever add too, so it doesn't matter what they added meanwhile,
and nobody waits for anybody. The cube's sums of a day that differ are made anew, while the cube
waits. A rebuild that was stopped goes on after the last day done (`--again`: at the beginning).
Days that retention has taken rows of can't be computed again, and stay.

    rollup                                   by day, dimension and value (rollup.py)
    spend_calls, spend_tag, spend_tag_team   the cube (cube.py), of the batches it has by now
    what is folded of these                  from these
    spend_group                              who and what a group of the cube is
    latency_day                              how long calls took (latency.py), in its batches

What is kept as last seen, and so can't differ, isn't compared: spend_name. Nor is what waits to
happen: request_open, positions.
"""

import argparse
import asyncio
import os
import sys
from collections.abc import Callable, Sequence
from datetime import date, datetime, timedelta
from typing import Any, NamedTuple

from services.ledger import config, cube, filling, latency, spans
from services.ledger.database import DATABASE_ERRORS, QUERIES, Connection, Database
from services.ledger.facts_in import midnight
from services.ledger.lock import LOCK_SPACE
from shared.config import ConfigError
from shared.money import PICOUSD_PER_USD
from shared.settings import SettingsError

DIFFERENCES_SHOWN_MAX = 100
TIMEOUT_S = 3600.0
"""Of a day."""
LOCK = 1_000_100
WHAT = "sums"
APPLY_ROWS = 5_000


def _zeros(sums: Sequence[str]) -> str:
    return " AND ".join(f"{name} = 0" for name in sums)


_ZEROS = _zeros(cube.SUMS)


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
        self._folds: set[tuple[str, datetime]] = set()
        """Compared already, at an earlier one of their days: where a later day differs, they are
        undone with it.
        """

    async def all(self, asked: Asked, progress: Callable[[date, int, int], None]) -> None:
        days = [row["day"] for row in await self._connection.fetch(QUERIES["rebuild_days"], asked.first, asked.last)]
        reached = None
        if not (self._check_only or asked.again or asked.first):
            reached = await self._connection.fetchval(QUERIES["rebuild_reached"], WHAT)
        for done, day in enumerate(days, 1):
            if reached is None or day > reached:
                await self._day(day)
            progress(day, done, len(days))
        if not self._check_only:
            await self._connection.execute(QUERIES["rebuild_end"], WHAT)

    async def _day(self, day: date) -> None:
        span = (midnight(day), midnight(day + timedelta(days=1)))
        async with self._connection.transaction(isolation="repeatable_read", readonly=True):
            rows = await self._connection.fetch(f"{QUERIES['rollup_again']}\n{QUERIES['rollup_differences']}", day)
            rollup = [
                Difference(
                    "rollup", (row["day"], row["dimension"], row["value"]), _numbers(row["kept"]), _numbers(row["again"])
                )
                for row in rows
            ]  # fmt: skip
        self._found.tell(rollup)
        async with self._connection.transaction():
            await self._cube_day(day, span)
            await self._latency_day(day)
            if not self._check_only:
                # After what takes long: recorders wait for these rows until the transaction ends.
                await self._add_rollup(rollup)
                if rollup:
                    await self._connection.execute(QUERIES["rollup_clear"], day)
                await self._connection.execute(QUERIES["rebuild_move"], WHAT, day)

    async def _cube_day(self, day: date, span: tuple[datetime, datetime]) -> None:
        """In a transaction, and alone with the cube's sums until it ends."""
        held = await filling.hold(self._connection, cube.POSITION)
        rows = (day, list(held), list(held.values()))
        differences = [
            Difference(table, tuple(row["key"]), _numbers(row["kept"]), _numbers(row["again"]))
            for table, query in _BASE.items()
            for row in await self._connection.fetch(query, *rows, *span)
        ]
        groups = await self._connection.fetch(_GROUPS, *rows)
        differences += [Difference("spend_group", (str(row["id"]),), None, None) for row in groups]
        stale = []
        unknown = await self._connection.fetch(_UNKNOWN, *span)
        differences += [Difference("spend_span", (row["grain"], str(row["at"])), None, None) for row in unknown]
        folded = {(row["grain"], row["at"]) for row in await self._connection.fetch(_FOLDED, span[0])}
        for grain, at in sorted(folded - self._folds):
            wrong = [
                Difference(table, (grain, *row["key"]), _numbers(row["kept"]), _numbers(row["again"]))
                for table, query in _FOLDS[grain].items()
                for row in await self._connection.fetch(query, spans.start(grain, at), spans.end(grain, at), at)
            ]
            if wrong:
                stale.append((grain, at))
                differences += wrong
        self._folds |= folded
        self._found.tell(differences)
        if self._check_only:
            return
        if groups:
            await self._connection.executemany(_ADD_GROUP, [tuple(row.values()) for row in groups])
        if differences:
            await self._connection.execute(QUERIES["cube_clear"], *span)
            await self._connection.execute(_ADD, *rows)
        for grain, at in stale:
            await self._connection.execute(_END_TOTAL if grain in spans.RUNNING else _UNFOLD, grain, at)

    async def _latency_day(self, day: date) -> None:
        """As `_cube_day`."""
        held = await filling.hold(self._connection, latency.POSITION)
        rows = (day, list(held), list(held.values()))
        differences = [
            Difference("latency_day", tuple(row["key"]), _numbers(row["kept"]), _numbers(row["again"]))
            for row in await self._connection.fetch(_LATENCY, *rows)
        ]
        self._found.tell(differences)
        if differences and not self._check_only:
            await self._connection.execute(QUERIES["latency_clear"], day)
            await self._connection.execute(_LATENCY_ADD, *rows)

    async def _add_rollup(self, differences: list[Difference]) -> None:
        for start in range(0, len(differences), APPLY_ROWS):
            some = differences[start : start + APPLY_ROWS]
            days, dimensions, values = zip(*(one.key for one in some), strict=True)
            *sums, spend = zip(*(one.delta for one in some), strict=True)
            dollars, rest = zip(*(divmod(picousd, PICOUSD_PER_USD) for picousd in spend), strict=True)
            await self._connection.execute(QUERIES["rollup_add"], dimensions, days, values, *sums, dollars, rest)


def _numbers(found: list[Any] | None) -> tuple[int, ...] | None:
    return None if found is None or found[0] is None else tuple(int(number) for number in found)


def _differs(again: str, kept: str, keys: Sequence[str], sums: Sequence[str] = cube.SUMS) -> str:
    """Sums computed, against those that are kept: two queries with the same keys."""
    left, right = (", ".join(f"{alias}.{name}" for name in sums) for alias in ("k", "a"))
    key = f"ARRAY[{', '.join(f'{name}::text' for name in keys)}]"
    return f"""
    SELECT {key} AS key, ARRAY[{left}]::numeric[] AS kept, ARRAY[{right}]::numeric[] AS again
    FROM ({again}) AS a FULL JOIN (SELECT * FROM ({kept}) AS s WHERE NOT ({_zeros(sums)})) AS k USING ({", ".join(keys)})
    WHERE ({left}) IS DISTINCT FROM ({right})
    """


def _summed(source: str, keys: Sequence[str]) -> str:
    return cube.filled(f"SELECT {', '.join(keys)}, @SUMS@ FROM {source} GROUP BY {', '.join(keys)}")


_ROWS = (
    "s.in_day = $1 AND EXISTS (SELECT FROM unnest($2::integer[], $3::bigint[]) AS p (shard, batch)"
    " WHERE p.shard = s.in_shard AND s.in_batch <= p.batch)"
)
"""$1 day, $2 shards, $3 up to which of their batches the sums have got."""
_ADD = cube.add(_ROWS)
_COUNTED = cube.counted(_ROWS)
_OF_DAY = "at >= $4 AND at < $5"
_BOTH = f"""(
    SELECT at, grp, 'all' AS tags, 0 AS tag, {", ".join(cube.SUMS)} FROM sums
    UNION ALL SELECT at, grp, 'tag', unnest(CASE WHEN tags = '{{}}' THEN '{{0}}' ELSE tags END), {", ".join(cube.SUMS)} FROM sums
    WHERE counts = 0
) AS b"""
_NOT_ZERO = f"WHERE NOT ({_ZEROS})"
_BASE = {
    "spend_calls": _COUNTED + _differs(
        f"SELECT * FROM ({_summed(_BOTH, ('at', 'grp', 'tags', 'tag'))}) AS n {_NOT_ZERO}",
        f"SELECT * FROM spend_hourly WHERE {_OF_DAY}", ("at", "grp", "tags", "tag"),
    ),
    "spend_tag_team": _COUNTED + _differs(
        f"SELECT * FROM tagged {_NOT_ZERO}", f"SELECT * FROM spend_tag_team WHERE {_OF_DAY}", ("at", "tag", "team")
    ),
    "spend_tag": _COUNTED + _differs(
        f"SELECT * FROM ({_summed('tagged', ('at', 'tag'))}) AS n {_NOT_ZERO}",
        f"SELECT * FROM spend_tag WHERE grain = 'day' AND {_OF_DAY}", ("at", "tag"),
    ),
}  # fmt: skip
_LATENCY = latency.counted(_ROWS) + _differs(
    f"SELECT * FROM sums WHERE NOT ({_zeros(latency.SUMS)})",
    "SELECT * FROM latency_day WHERE day = $1",
    latency.KEYS,
    latency.SUMS,
)
_LATENCY_ADD = latency.add(_ROWS)
_UNKNOWN = """
SELECT grain, spend_period_of(grain, $1) AS at FROM unnest(ARRAY['day', 'five', 'month']) AS g (grain)
WHERE EXISTS (SELECT FROM spend_calls WHERE at >= $1 AND at < $2)
  AND NOT EXISTS (SELECT FROM spend_span s WHERE s.grain = g.grain AND s.at = spend_period_of(g.grain, $1))
"""
_FOLDED = """
SELECT grain, at FROM spend_span
WHERE folded AND grain = ANY(ARRAY['day', 'five', 'month']) AND at = spend_period_of(grain, $1)
UNION ALL SELECT grain, at FROM spend_running WHERE at = spend_period_of(CASE grain WHEN 'month_to' THEN 'five' ELSE 'month' END, $1)
"""


def _folded(source: str, table: str, grain: str, key: Sequence[str]) -> str:
    """$1 and $2 beginning and end of what is in the sums, $3 where they are kept."""
    again = f"SELECT * FROM ({_summed(f'{source} AND at >= $1 AND at < $2', key)}) AS n {_NOT_ZERO}"
    return _differs(again, f"SELECT * FROM {table} WHERE grain = '{grain}' AND at = $3", key)


_CALLS, _TAGS, _TEAMS = "spend_calls WHERE counts <> 2", "spend_tag WHERE grain = 'day'", "spend_tag_team WHERE true"
_FOLDS = {
    grain: {
        table: _folded(source, table, kept, keys)
        for table, source, kept, keys in (
            ("spend_period", calls, grain, ("grp",)),
            ("spend_tag", tags, "every" if grain == "day" else grain, ("at",) if grain == "day" else ("tag",)),
            ("spend_tag_team_span", teams, grain, ("tag", "team")),
        )
        if source
    }
    for grain, calls, tags, teams in (
        ("day", _CALLS, _TAGS, ""),
        ("five", "", _TAGS, _TEAMS),
        ("month", _CALLS, _TAGS, _TEAMS),
        ("month_to", _CALLS, _TAGS, _TEAMS),
        # Of twelve times as much: from the months, each of which is compared by itself.
        ("year_to", *(f"{table} WHERE grain = 'month'" for table in ("spend_period", "spend_tag", "spend_tag_team_span"))),
    )
}  # fmt: skip
_UNFOLD = "UPDATE spend_span SET folded = false WHERE grain = $1 AND at = $2"
_END_TOTAL = "DELETE FROM spend_running WHERE grain = $1 AND at = $2"
_GROUPS = f"""{_COUNTED}
SELECT n.grp AS id, n.key_sha256, n.team_id, n.user_id, n.organization_id, n.model, n.upstream_model, n.deployment_id,
    n.provider, n.call_type
FROM grouped n LEFT JOIN spend_group g ON g.id = n.grp
WHERE g.id IS NULL OR (g.key_sha256, g.team_id, g.user_id, g.organization_id, g.model, g.upstream_model, g.deployment_id, g.provider,
    g.call_type) IS DISTINCT FROM (n.key_sha256, n.team_id, n.user_id, n.organization_id, n.model, n.upstream_model, n.deployment_id,
    n.provider, n.call_type)
ORDER BY n.grp
"""
_ADD_GROUP = """
INSERT INTO spend_group (id, key_sha256, team_id, user_id, organization_id, model, upstream_model, deployment_id, provider, call_type)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)
ON CONFLICT (id) DO UPDATE SET key_sha256 = excluded.key_sha256, team_id = excluded.team_id, user_id = excluded.user_id,
    organization_id = excluded.organization_id, model = excluded.model, upstream_model = excluded.upstream_model,
    deployment_id = excluded.deployment_id, provider = excluded.provider, call_type = excluded.call_type
"""
