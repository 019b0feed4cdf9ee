# ruff: noqa: S608
"""A question about spend as one SQL statement. Pure.

Texts of the asker go into arguments, never into the statement (hence the noqa above); what is put
together are names from tables.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

from services.ledger.asking import Scope
from services.ledger.facts_in import midnight
from services.ledger.spans import BASE, OF_TAGS, Piece, begin, end
from services.ledger.spend_query import DIMENSIONS, ROWS_MAX, Plan, SpendQuery, admitted_only
from services.ledger.spend_sources import (
    Kept,
    added_up,
    bucket_of,
    cube_rows,
    for_tags,
    live_rows,
    log_rows,
    positions,
    rollup_rows,
    rows_by_tag,
    rows_of_all_tags,
    tag_keys,
    whole_numbers,
    words_of,
)
from services.ledger.statement import SUMS, Statement

_NOT_NOTHING = "sum(requests) <> 0 OR sum(spend_picousd) <> 0"
_PERIODS = {"day": BASE, "month": "month"}
"""Bucket -> the grain that has one row for each of it."""
_SECONDS = "date_part('epoch', bucket)::bigint AS bucket"
"""The driver takes thirty times as long to read an instant as to read a number."""


def build(
    query: SpendQuery,
    plan: Plan,
    scope: Scope,
    kept: Kept,
    *,
    admitted: bool = False,
    wanted: Sequence[str] = SUMS,
) -> tuple[str, list[Any]]:
    """Columns of the answer: bucket (seconds since 1970; see spend_query.instant), other, one a
    dimension (`d0` ...), those wanted. At most ROWS_MAX + 1 rows.
    """
    made = Statement(wanted)
    admitted = admitted or admitted_only(query)
    keys = tag_keys(query, plan, scope)
    kept = for_tags(kept, keys, wanted)
    if keys and set(query.group_by) == set(keys):
        by_tag = _all_at_once if query.bucket == "none" else _top_first
        statement = by_tag(made, query, plan, scope, kept, wanted)
        if statement:
            return statement, made.arguments
    source = {"rollup": rollup_rows, "cube": cube_rows, "log": log_rows}[plan.source]
    rows = source(made, query, plan, scope, kept, admitted)
    whole = added_up(plan, kept) and bool(query.group_by)
    bucket = "NULL::timestamptz" if query.bucket == "none" else "at" if whole else bucket_of(made, query)
    if not query.group_by:
        return (
            f"WITH source AS ({rows}) SELECT {_SECONDS}, false AS other, {_sums(wanted)} FROM (SELECT *, {bucket} AS bucket FROM source) AS s"
            f" GROUP BY bucket HAVING {_NOT_NOTHING} ORDER BY s.bucket LIMIT {ROWS_MAX + 1}",
            made.arguments,
        )
    number, columns = range(len(query.group_by)), ", ".join(wanted)
    names, nobody = ", ".join(f"d{n}" for n in number), ", ".join("NULL" for _ in number)
    found = ", ".join(
        [f"{bucket} AS bucket", *(f"{DIMENSIONS[name]} AS d{n}" for n, name in enumerate(query.group_by))]
    )
    if whole:
        summed = f"SELECT {found}, {columns} FROM source WHERE requests <> 0 OR spend_picousd <> 0"
    else:
        summed = f"SELECT {found}, {whole_numbers(wanted)} FROM source GROUP BY 1{positions(2, len(number))} HAVING {_NOT_NOTHING}"
    return (
        f"WITH source AS ({rows}),"
        f" summed AS MATERIALIZED ({summed}),"
        f" top AS MATERIALIZED (SELECT {names}, sum(spend_picousd) AS weight FROM summed GROUP BY {names}"
        f" ORDER BY weight DESC, sum(requests) DESC, {names} LIMIT {made.add(query.top)}),"
        f" parted AS MATERIALIZED (SELECT *, NOT {_in_top(len(number))} AS other FROM summed),"
        f" answer AS (SELECT bucket, false AS other, {names}, {columns} FROM parted WHERE NOT other"
        f" UNION ALL SELECT bucket, true, {nobody}, {whole_numbers(wanted)} FROM parted WHERE other GROUP BY bucket)"
        f" {_answer(names, wanted, buckets=query.bucket != 'none')}",
        made.arguments,
    )


def _in_top(number: int) -> str:
    """Whether a row with so many dimensions is of `top`; also where one is nothing. To be selected,
    not a condition: so it is hashed, where the planner might look through the top for each row of
    those that it knows nothing of.
    """
    told_apart = ", ".join(f"coalesce(d{n}, ''), d{n} IS NULL" for n in range(number))
    return f"({told_apart}) IN (SELECT {told_apart} FROM top)"


def _answer(names: str, wanted: Sequence[str], *, buckets: bool) -> str:
    """Rows of `answer`, as they are answered. `buckets`: there are some, and `top` has the weight
    of each of those shown.
    """
    by = f"{_NEARLY_IN_ORDER}, a.bucket" if buckets else "a.bucket"
    sums = ", ".join(f"{name}{'::text' if name == 'spend_picousd' else '::bigint'} AS {name}" for name in wanted)
    return (
        f"SELECT {_SECONDS}, other, {names}, {sums} FROM answer AS a"
        f" ORDER BY {by}, other, a.spend_picousd DESC, a.requests DESC, {names} LIMIT {ROWS_MAX + 1}"
    )


_NEARLY_IN_ORDER = (
    "date_part('epoch', a.bucket) / 3600 + CASE WHEN other THEN 0.95"
    " ELSE 0.9 - 0.9 * least(1, greatest(least(a.spend_picousd, 9e18), 0)::bigint"
    " / (SELECT greatest(1, max(weight))::float8 FROM top)) END"
)
"""Bucket and spend as one number that is compared in no time: by the hour, and within it what was
spent the most first. Between equals the exact values decide. (By way of an integer: a numeric
becomes a float as a text that is read.)
"""


def _sums(wanted: Sequence[str]) -> str:
    """As they are answered: numbers that the driver reads at once (a numeric costs it a hundred
    times as much), money as its digits.
    """
    return ", ".join(f"sum({name}){'::text' if name == 'spend_picousd' else '::bigint'} AS {name}" for name in wanted)


class _ByTag:
    """Parts of a question by tag, or by tag and team, from the tables that know nothing else."""

    def __init__(self, made: Statement, query: SpendQuery, scope: Scope, kept: Kept, wanted: Sequence[str]) -> None:
        self._made, self._query, self._scope, self._kept = made, query, scope, kept
        self.keys = tuple(query.group_by)
        number = range(len(self.keys))
        self.by, self.ids, self.columns = (", ".join(names) for names in ([f"d{n}" for n in number], self.keys, wanted))
        self.sums = whole_numbers(wanted)
        self._words = words_of(self.keys)
        self._values = ", ".join(f"{name}_word.value AS d{n}" for n, name in enumerate(self.keys))

    def live(self, bucket: str) -> str:
        """What the cube hasn't got yet."""
        names = ", ".join(f"{DIMENSIONS[name]} AS d{n}" for n, name in enumerate(self.keys))
        rows = live_rows(self._made, self._query, self._scope, self._kept)
        return f"SELECT {bucket} AS bucket, {names}, {self.sums} FROM ({rows}) AS l GROUP BY 1{positions(2, len(self.keys))}"

    def pieces(self, grain: str) -> list[Piece]:
        """Of what is kept, as coarse as `grain` at most. None: there is nothing of the range."""
        return self._kept.cover(self._query, OF_TAGS.get(grain, ()))

    def rows(self, grain: str, keys: Sequence[str] = ()) -> list[str]:
        """SELECTs of these pieces."""
        return rows_by_tag(self._made, self._query, self.pieces(grain), keys or self.keys)

    def parted(self, grain: str) -> tuple[list[Piece], list[Piece]]:
        """These pieces: those with one row for each bucket of each that is asked for, and the
        others. What the cube hasn't got yet belongs to buckets of the latter alone.
        """
        bucket, live, pieces = self._query.bucket, self._kept.live, self.pieces(grain)
        whole = [piece for piece in pieces if piece.grain == _PERIODS.get(bucket)]
        shared = [piece for piece in pieces if piece not in whole]
        if not whole:
            return [], shared
        mixed = {begin(bucket, midnight(day)) for day in (live.days if live else ())}
        for piece in shared:
            at = begin(bucket, piece.first)
            while at < piece.end:
                mixed.add(at)
                at = end(bucket, at)
        alone = []
        for piece in whole:
            first = piece.first
            for at in sorted(at for at in mixed if piece.first <= at < piece.end):
                alone += [piece._replace(first=first, end=at)] if first < at else []
                first = min(piece.end, end(bucket, at))
                shared.append(piece._replace(first=at, end=first))
            alone += [piece._replace(first=first)] if first < piece.end else []
        return alone, shared

    def of_top(self, pieces: Sequence[Piece], bucket: str, *, together: bool) -> str:
        """Of these pieces what is `top`'s; `together`: added up. Days by tag and team are looked up
        pair by pair, as their index has them: that costs what is found, whatever else there is.
        (OFFSET 0: the planner would rather read every pair's.)
        """
        days = [piece for piece in pieces if piece.grain == BASE and len(self.keys) > 1]
        found = []
        for some, own, joined in (
            (days, [f"{key} = top.{key}" for key in self.keys], "top CROSS JOIN LATERAL ({} OFFSET 0) AS f"),
            (
                [piece for piece in pieces if piece not in days],
                [f"{key} = ANY(ARRAY(SELECT {key} FROM top))" for key in self.keys],
                f"({{}}) AS f JOIN top USING ({self.ids})",
            ),
        ):
            if rows := rows_by_tag(self._made, self._query, some, self.keys, own):
                columns = self.ids if together else self.by
                if some is days:
                    columns = columns.replace("tag", "f.tag").replace("team", "f.team")
                found.append(
                    f"SELECT {bucket} AS bucket, {columns}, {self.columns} FROM {joined.format(' UNION ALL '.join(rows))}"
                )
        if not together or not found:
            return " UNION ALL ".join(found)
        summed = f"SELECT bucket, {self.ids}, {self.sums} FROM ({' UNION ALL '.join(found)}) AS t GROUP BY bucket, {self.ids}"
        return f"SELECT bucket, {self.by}, {self.columns} FROM ({summed}) AS s JOIN top USING ({self.ids})"

    def whole(self, grain: str) -> list[str]:
        """SELECTs of what the tags asked for have together: a call counts once for each of its
        tags, whatever its team.
        """
        if self._query.filters:
            return self.rows(grain, ("tag",))
        return rows_of_all_tags(self._made, self._query, self._kept)

    def named(self, rows: Sequence[str], sums: str, names: str, cut: str = "") -> str:
        """What these rows add up to by tag (and team), and what those are called. `cut`: clauses
        that take some of the sums.
        """
        return (
            f"SELECT {self._values}, {', '.join(f's.{key}' for key in self.keys)}, {names}"
            f" FROM (SELECT {self.ids}, {sums} FROM ({' UNION ALL '.join(rows)}) AS p GROUP BY {self.ids}{cut}) AS s {self._words}"
        )

    def answer(self, parts: Mapping[str, str], wanted: Sequence[str]) -> str:
        """Of `shown` and `others`, which have a bucket; the latter no names."""
        return (
            f"WITH {', '.join(f'{name} ({part})' for name, part in parts.items())}, answer AS ("
            f"SELECT bucket, false AS other, {self.by}, {self.columns} FROM shown"
            f" UNION ALL SELECT bucket, true, {', '.join('NULL' for _ in self.keys)}, {self.columns} FROM others"
            f") {_answer(self.by, wanted, buckets=self._query.bucket != 'none')}"
        )


def _all_at_once(
    made: Statement, query: SpendQuery, plan: Plan, scope: Scope, kept: Kept, wanted: Sequence[str]
) -> str:
    """By tag (and team) without buckets: everything is added up by numbers once, then the top taken
    from it. Empty: the cube has nothing.
    """
    asked = _ByTag(made, query, scope, kept, wanted)
    rows = asked.rows(plan.grain)
    if not rows:
        return ""
    found = asked.named(rows, whole_numbers(wanted), asked.columns)
    if kept.live is not None:
        found = (
            f"SELECT {asked.by}, {whole_numbers(wanted)} FROM (SELECT {asked.by}, {asked.columns} FROM ({found}) AS k"
            f" UNION ALL SELECT {asked.by}, {asked.columns} FROM ({asked.live('NULL::timestamptz')}) AS l) AS b GROUP BY {asked.by}"
        )
    rest = ", ".join(
        f"(coalesce(sum({name}), 0) - (SELECT coalesce(sum({name}), 0) FROM shown)){'' if name == 'spend_picousd' else '::bigint'} AS {name}"
        for name in wanted
    )
    parts = {
        "every AS MATERIALIZED": f"SELECT {asked.by}, {asked.columns} FROM ({found}) AS f WHERE requests <> 0 OR spend_picousd <> 0",
        "shown AS MATERIALIZED": f"SELECT NULL::timestamptz AS bucket, * FROM every ORDER BY spend_picousd DESC, requests DESC, {asked.by}"
        f" LIMIT {made.add(query.top)}",
        "others AS": f"SELECT * FROM (SELECT NULL::timestamptz AS bucket, {rest} FROM every) AS r WHERE requests <> 0 OR spend_picousd <> 0",
    }  # fmt: skip
    return asked.answer(parts, wanted)


def _top_first(made: Statement, query: SpendQuery, plan: Plan, scope: Scope, kept: Kept, wanted: Sequence[str]) -> str:
    """By tag (and team) and bucket: who is among the top is found from the coarsest sums; only
    theirs are then read by bucket, and the others are what is left of everything. Empty: the cube
    has nothing of the range."""
    asked = _ByTag(made, query, scope, kept, wanted)
    if not asked.pieces(plan.grain):
        return ""
    # What is kept is by the day already, or by more.
    kept_bucket = "at" if query.bucket == "day" else bucket_of(made, query)
    by, ids, sums, columns = asked.by, asked.ids, asked.sums, asked.columns
    whole = asked.rows(plan.grain) if "team" in query.filters else asked.whole(plan.grain)
    weights = "sum(spend_picousd) AS weight, sum(requests) AS calls"
    count = made.add(query.top)
    top = f"ORDER BY {{}} LIMIT {count}"
    alone, shared = asked.parted(plan.grain)
    shown = [asked.of_top(alone, kept_bucket, together=False)]
    mixed = [asked.of_top(shared, kept_bucket, together=True)]
    coarse = asked.rows("year")
    if kept.live is None:
        # Only what may be among the top is called by its name, which decides between equals.
        cut = f" HAVING {_NOT_NOTHING} ORDER BY weight DESC, calls DESC FETCH FIRST {count} ROWS WITH TIES"
        named = asked.named(coarse, weights, "weight, calls", cut)
        best = f"SELECT {by}, {ids}, weight FROM ({named}) AS n {top.format(f'weight DESC, calls DESC, {by}')}"
        parts = {"top AS MATERIALIZED": best}
    else:
        named = asked.named(coarse, weights, "weight, calls")
        parts = {
            "live AS MATERIALIZED": asked.live(bucket_of(made, query)),
            "named AS": f"{named} UNION ALL SELECT {by}, {', '.join('NULL' for _ in asked.keys)}, spend_picousd, requests FROM live",
            "top AS MATERIALIZED": f"SELECT {by}, {', '.join(f'max({key}) AS {key}' for key in asked.keys)}, sum(weight) AS weight"
            f" FROM named GROUP BY {by} HAVING sum(calls) <> 0 OR sum(weight) <> 0 {top.format(f'sum(weight) DESC, sum(calls) DESC, {by}')}",
            "live_parted AS MATERIALIZED": f"SELECT *, {_in_top(len(asked.keys))} AS in_top FROM live",
        }
        mixed.append(f"SELECT bucket, {by}, {columns} FROM live_parted WHERE in_top")
        added = " UNION ALL ".join(filter(None, mixed))
        mixed = [f"SELECT bucket, {by}, {sums} FROM ({added}) AS s GROUP BY bucket, {by}"]
    shown += mixed
    every = [
        f"SELECT {kept_bucket} AS bucket, {sums} FROM ({' UNION ALL '.join(whole)}) AS w GROUP BY 1",
        f"SELECT bucket, {', '.join(f'-sum({name})' for name in wanted)} FROM shown GROUP BY bucket",
        *([f"SELECT bucket, {sums} FROM live GROUP BY bucket"] if kept.live is not None else []),
    ]
    parts |= {
        "shown AS MATERIALIZED": f"SELECT * FROM ({' UNION ALL '.join(filter(None, shown))}) AS s WHERE requests <> 0 OR spend_picousd <> 0",
        "others AS": f"SELECT bucket, {sums} FROM ({' UNION ALL '.join(every)}) AS e GROUP BY bucket HAVING {_NOT_NOTHING}",
    }
    return asked.answer(parts, wanted)


def tag_days(
    first: datetime, end: datetime, scope: Scope, kept: Kept, names: Sequence[str] | None, limit: int
) -> tuple[str, list[Any]]:
    """Tags (`value`) of the asker's own calls, and the first and last day of each, by name."""
    query = SpendQuery(
        first,
        end,
        ZoneInfo("UTC"),
        "day",
        ("tag",),
        {} if names is None else {"tag": tuple(names)},
        limit,
        False,
        False,
    )
    made = Statement()
    rows = cube_rows(made, query, Plan("cube", "day"), scope, kept, True)
    return (
        "SELECT value, min(day) AS first_day, max(day) AS last_day FROM ("
        f"SELECT tag AS value, (at AT TIME ZONE 'UTC')::date AS day FROM ({rows}) AS r WHERE tag IS NOT NULL"
        " GROUP BY 1, 2 HAVING sum(requests) > 0"
        f") AS d GROUP BY value ORDER BY value LIMIT {made.add(limit)}",
        made.arguments,
    )
