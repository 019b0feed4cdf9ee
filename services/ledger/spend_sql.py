# ruff: noqa: S608
"""A question about spend as one SQL statement. Pure.

Texts of the asker go into arguments, never into the statement (hence the noqa above); what is put together are names from tables.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

from services.ledger import spans
from services.ledger.asking import Scope
from services.ledger.spend_query import DIMENSIONS, ROWS_MAX, Plan, SpendQuery, admitted_only
from services.ledger.spend_sources import (
    SUMS,
    TAG_GRAINS,
    Kept,
    Statement,
    bucket_of,
    cube_rows,
    live_rows,
    log_rows,
    positions,
    rollup_rows,
    rows_by_tag,
    tag_keys,
)

_NOT_NOTHING = "sum(requests) <> 0 OR sum(spend_picousd) <> 0"


def build(
    query: SpendQuery,
    plan: Plan,
    scope: Scope,
    kept: Kept,
    *,
    admitted: bool = False,
    wanted: Sequence[str] = SUMS,
) -> tuple[str, list[Any]]:
    """Columns of the answer: bucket, other, one a dimension (`d0` ...), those wanted. At most ROWS_MAX + 1 rows."""
    made = Statement()
    admitted = admitted or admitted_only(query)
    keys = tag_keys(query, plan, scope)
    if query.bucket != "none" and keys and set(query.group_by) == set(keys):
        top_first = _top_first(made, query, plan, scope, kept, wanted)
        if top_first:
            return top_first, made.arguments
    source = {"rollup": rollup_rows, "cube": cube_rows, "log": log_rows}[plan.source]
    rows = source(made, query, plan, scope, kept, admitted)
    bucket = "NULL::timestamptz" if query.bucket == "none" else bucket_of(made, query)
    named = [DIMENSIONS[name] for name in query.group_by]
    dims = "".join(f", {column} AS d{n}" for n, column in enumerate(named))
    by = "".join(f", d{n}" for n in range(len(named)))
    sums, summed = _sums(wanted), ", ".join(f"sum({name}) AS {name}" for name in wanted)
    if not named:
        return (
            f"WITH source AS ({rows}) SELECT {bucket} AS bucket, false AS other, {sums} FROM source GROUP BY 1"
            f" HAVING {_NOT_NOTHING} ORDER BY 1 LIMIT {ROWS_MAX + 1}",
            made.arguments,
        )
    top = made.add(query.top)
    shown = "".join(f", CASE WHEN rank <= {top} THEN d{n} END AS d{n}" for n in range(len(named)))
    return (
        f"WITH source AS ({rows}),"
        f" summed AS (SELECT {bucket} AS bucket{dims}, {summed} FROM source GROUP BY 1{positions(2, len(named))}"
        f" HAVING {_NOT_NOTHING}),"
        f" weighed AS (SELECT *, sum(spend_picousd) OVER w AS weight, sum(requests) OVER w AS calls FROM summed"
        f" WINDOW w AS (PARTITION BY {by[2:]})),"
        f" ranked AS (SELECT *, dense_rank() OVER (ORDER BY weight DESC, calls DESC{by}) AS rank FROM weighed)"
        f" SELECT bucket, rank > {top} AS other{shown}, {sums} FROM ranked GROUP BY 1, 2{positions(3, len(named))}"
        f" ORDER BY 1, 2, sum(spend_picousd) DESC, sum(requests) DESC{positions(3, len(named))} LIMIT {ROWS_MAX + 1}",
        made.arguments,
    )


def _sums(wanted: Sequence[str]) -> str:
    """As they are answered: numbers that the driver reads at once (a numeric costs it a hundred times as much), money as its digits."""
    return ", ".join(f"sum({name}){'::text' if name == 'spend_picousd' else '::bigint'} AS {name}" for name in wanted)


def _top_first(made: Statement, query: SpendQuery, plan: Plan, scope: Scope, kept: Kept, wanted: Sequence[str]) -> str:
    """By tag (and team) and bucket: who is among the top is found from the coarsest sums; only theirs are then read by bucket, and the
    others are what is left of everything. Empty: the cube has nothing of the range."""
    pieces = spans.cover(query.first, query.end, kept.spans, TAG_GRAINS.get(plan.grain, ()))
    if not pieces:
        return ""
    keys = tuple(query.group_by)
    number = range(len(keys))
    by, ids, columns = (", ".join(names) for names in ([f"d{n}" for n in number], keys, wanted))
    words = " ".join(f"LEFT JOIN spend_word {name}_word ON {name}_word.id = s.{name}" for name in keys)
    sums = ", ".join(f"sum({name}) AS {name}" for name in wanted)
    bucket = bucket_of(made, query)
    kept_bucket = "at" if query.bucket == "day" else bucket  # what is kept is by the day already, or by more
    coarse = rows_by_tag(made, query, spans.cover(query.first, query.end, kept.spans, TAG_GRAINS["month"]), keys)
    fine = rows_by_tag(made, query, pieces, keys)
    # A call counts once for each of its tags, whatever its team.
    whole = rows_by_tag(made, query, pieces, ("tag",)) if "team" not in query.filters else fine
    same = [f"coalesce(t.d{n}, '') = coalesce(l.d{n}, '') AND (t.d{n} IS NULL) = (l.d{n} IS NULL)" for n in number]
    parts = {
        "live AS MATERIALIZED": f"SELECT {bucket} AS bucket, {', '.join(f'{DIMENSIONS[name]} AS d{n}' for n, name in enumerate(keys))},"
        f" {sums} FROM ({live_rows(made, query, scope, kept)}) AS l GROUP BY 1{positions(2, len(keys))}",
        "weights AS": f"SELECT {ids}, sum(spend_picousd) AS weight, sum(requests) AS calls"
        f" FROM ({' UNION ALL '.join(coarse)}) AS p GROUP BY {ids}",
        "named AS": f"SELECT {', '.join(f'{name}_word.value AS d{n}, s.{name}' for n, name in enumerate(keys))}, weight, calls"
        f" FROM weights s {words} UNION ALL SELECT {', '.join(f'd{n}, NULL' for n in number)}, spend_picousd, requests FROM live",
        "top AS MATERIALIZED": f"SELECT {by}, {', '.join(f'max({key}) AS {key}' for key in keys)} FROM named GROUP BY {by}"
        f" HAVING sum(calls) <> 0 OR sum(weight) <> 0 ORDER BY sum(weight) DESC, sum(calls) DESC, {by} LIMIT {made.add(query.top)}",
        "shown AS MATERIALIZED": f"SELECT bucket, {by}, {sums} FROM (SELECT {kept_bucket} AS bucket, {by}, {columns}"
        f" FROM ({' UNION ALL '.join(fine)}) AS f JOIN top USING ({ids})"
        f" UNION ALL SELECT l.bucket, {', '.join(f'l.d{n}' for n in number)}, {columns} FROM live l JOIN top t ON {' AND '.join(same)}"
        f") AS s GROUP BY bucket, {by} HAVING {_NOT_NOTHING}",
        "every AS": f"SELECT {kept_bucket} AS bucket, {sums} FROM ({' UNION ALL '.join(whole)}) AS w GROUP BY 1"
        f" UNION ALL SELECT bucket, {sums} FROM live GROUP BY bucket"
        f" UNION ALL SELECT bucket, {', '.join(f'-sum({name})' for name in wanted)} FROM shown GROUP BY bucket",
        "others AS": f"SELECT bucket, {sums} FROM every GROUP BY bucket HAVING {_NOT_NOTHING}",
        "answer AS": f"SELECT bucket, false AS other, {by}, {columns} FROM shown"
        f" UNION ALL SELECT bucket, true, {', '.join('NULL' for _ in number)}, {columns} FROM others",
    }
    return (
        f"WITH {', '.join(f'{name} ({part})' for name, part in parts.items())}"
        f" SELECT bucket, other, {by}, {_sums(wanted).replace('sum(', '(')} FROM answer AS a"
        f" ORDER BY bucket, other, a.spend_picousd DESC, a.requests DESC, {by} LIMIT {ROWS_MAX + 1}"
    )


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
