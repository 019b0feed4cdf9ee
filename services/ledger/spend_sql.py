# ruff: noqa: S608
"""A question about spend as one SQL statement. Pure.

Texts of the asker go into arguments, never into the statement (hence the noqa above); what is put together are names from tables.
"""

from collections.abc import Sequence
from datetime import UTC, date, timedelta
from typing import Any, NamedTuple

from services.ledger.asking import Scope
from services.ledger.spend_query import DIMENSIONS, ROWS_MAX, Plan, SpendQuery, admitted_only

SUMS = ("requests", "successes", "failures", "input_tokens", "output_tokens", "unpriced", "spend_picousd")
CACHE_SUMS = ("cached_tokens", "cache_write_tokens")
"""Only the cube has these beside."""
_GROUP_COLUMNS = (
    "key_sha256", "team_id", "user_id", "organization_id", "model", "upstream_model", "deployment_id", "provider", "call_type",
)  # fmt: skip
_ID_AT = "to_timestamp((('x' || translate(left(b.id::text, 13), '-', ''))::bit(48)::bigint) / 1000.0)"


class Live(NamedTuple):
    """Batches that the cube hasn't got."""

    after: Sequence[tuple[int, int]]
    """(shard, position of the cube): those after it."""
    first_day: date
    """Of their rows."""
    last_day: date


class Statement:
    """SQL and its arguments, growing together."""

    def __init__(self) -> None:
        self.arguments: list[Any] = []

    def add(self, value: Any) -> str:
        self.arguments.append(value)
        return f"${len(self.arguments)}"


def build(
    query: SpendQuery,
    plan: Plan,
    scope: Scope,
    live: Live | None,
    *,
    admitted: bool = False,
    wanted: Sequence[str] = SUMS,
) -> tuple[str, list[Any]]:
    """Columns of the answer: bucket, other, one a dimension (`d0` ...), those wanted. At most ROWS_MAX + 1 rows."""
    made = Statement()
    admitted = admitted or admitted_only(query)
    source = {"rollup": _rollup_rows, "cube": _cube_rows, "log": _log_rows}[plan.source]
    rows = source(made, query, plan, scope, live, admitted)
    bucket = "NULL::timestamptz"
    if query.bucket != "none":
        bucket = f"date_trunc('{query.bucket}', at, {made.add(query.zone.key)}::text)"
    named = [DIMENSIONS[name] for name in query.group_by]
    dims = "".join(f", {column} AS d{n}" for n, column in enumerate(named))
    keys = "".join(f", d{n}" for n in range(len(named)))
    sums = ", ".join(f"sum({name}) AS {name}" for name in wanted)
    if not named:
        return (
            f"WITH source AS ({rows}) SELECT {bucket} AS bucket, false AS other, {sums} FROM source GROUP BY 1"
            f" HAVING sum(requests) <> 0 OR sum(spend_picousd) <> 0 ORDER BY 1 LIMIT {ROWS_MAX + 1}",
            made.arguments,
        )
    top = made.add(query.top)
    shown = "".join(f", CASE WHEN rank <= {top} THEN d{n} END AS d{n}" for n in range(len(named)))
    return (
        f"WITH source AS ({rows}),"
        f" summed AS (SELECT {bucket} AS bucket{dims}, {sums} FROM source GROUP BY 1{_positions(2, len(named))}"
        " HAVING sum(requests) <> 0 OR sum(spend_picousd) <> 0),"
        f" weighed AS (SELECT *, sum(spend_picousd) OVER w AS weight, sum(requests) OVER w AS calls FROM summed"
        f" WINDOW w AS (PARTITION BY {keys[2:]})),"
        f" ranked AS (SELECT *, dense_rank() OVER (ORDER BY weight DESC, calls DESC{keys}) AS rank FROM weighed)"
        f" SELECT bucket, rank > {top} AS other{shown}, {sums} FROM ranked GROUP BY 1, 2{_positions(3, len(named))}"
        f" ORDER BY 1, 2, sum(spend_picousd) DESC, sum(requests) DESC{_positions(3, len(named))} LIMIT {ROWS_MAX + 1}",
        made.arguments,
    )


def _positions(first: int, count: int) -> str:
    return "".join(f", {n}" for n in range(first, first + count))


def _rollup_rows(
    made: Statement, query: SpendQuery, plan: Plan, scope: Scope, live: Live | None, admitted: bool
) -> str:
    dimension = (*query.group_by, *query.filters, "total")[0]
    where = [
        "scope = ''", f"dimension = {made.add(dimension)}", f"day >= {made.add(query.first.date())}",
        f"day < {made.add(query.end.date())}",
    ]  # fmt: skip
    if dimension in query.filters:
        where.append(f"value = ANY({made.add(list(query.filters[dimension]))}::text[])")
    column = DIMENSIONS.get(dimension, "value")

    def rows(value: str, sign: str = "") -> str:
        sums = ", ".join(f"{sign}{name} AS {name}" for name in SUMS)
        condition = " AND ".join(where)
        return (
            f"SELECT day::timestamp AT TIME ZONE 'UTC' AS at, {value} AS {column}, {sums} FROM rollup WHERE {condition}"
        )

    found = rows("value")
    if not query.group_by or query.filters:
        return found
    # The rollups have no row for calls that have no tag, no key ...: those are what is left of all calls.
    if dimension == "tag":
        rest = _cube(made, query, "spend_day", scope, live, ["none"], admitted)
        return f"{found} UNION ALL SELECT at, NULL, {', '.join(SUMS)} FROM ({rest}) AS rest"
    taken = rows("NULL", "-")
    if admitted:
        rest = _cube(made, query, "spend_day", scope, live, ["all"], admitted)
        return f"{found} UNION ALL {taken} UNION ALL SELECT at, NULL, {', '.join(SUMS)} FROM ({rest}) AS rest"
    where[1] = "dimension = 'total'"
    return f"{found} UNION ALL {taken} UNION ALL {rows('NULL')}"


def _cube_rows(made: Statement, query: SpendQuery, plan: Plan, scope: Scope, live: Live | None, admitted: bool) -> str:
    kinds = ["all"]
    if "tag" in query.filters:
        kinds = ["tag"]
    elif "tag" in query.group_by:
        kinds = ["tag", "none"]
    return _cube(made, query, plan.table, scope, live, kinds, admitted)


def _cube(
    made: Statement, query: SpendQuery, table: str, scope: Scope, live: Live | None, kinds: list[str], admitted: bool
) -> str:
    first, end, wanted = made.add(query.first), made.add(query.end), made.add(kinds)
    conditions = [*of_scope(made, scope, "r"), *(["r.model IS NOT NULL"] if admitted else [])]
    for name, values in query.filters.items():
        conditions.append(f"r.{DIMENSIONS[name]} = ANY({made.add(list(values))}::text[])")
    kept = (
        f"SELECT c.at, c.tags, CASE c.tags WHEN 'tag' THEN c.tag END AS tag, {_columns('g', _GROUP_COLUMNS)},"
        f" {_columns('c', (*SUMS, *CACHE_SUMS))}"
        f" FROM {table} c JOIN spend_group g ON g.id = c.grp WHERE c.at >= {first} AND c.at < {end} AND c.tags = ANY({wanted})"
    )
    rows = kept if live is None else f"{kept} UNION ALL {_live(made, live, first, end, wanted)}"
    where = f" WHERE {' AND '.join(conditions)}" if conditions else ""
    return f"SELECT r.* FROM ({rows}) AS r{where}"


def _live(made: Statement, live: Live, first: str, end: str, wanted: str) -> str:
    spans = " OR ".join(
        f"(s.in_shard = {made.add(shard)} AND s.in_batch > {made.add(batch)})" for shard, batch in live.after
    )
    low, high = made.add(live.first_day), made.add(live.last_day)
    columns = ", ".join(
        "CASE WHEN s.outcome <> 'refused' THEN s.model END AS model" if name == "model" else f"s.{name}"
        for name in _GROUP_COLUMNS
    )
    return (
        f"SELECT s.id_at, k.tags, CASE k.tags WHEN 'tag' THEN k.tag END, {columns}, s.sign,"
        " CASE WHEN s.outcome = 'success' THEN s.sign ELSE 0 END, CASE WHEN s.outcome = 'success' THEN 0 ELSE s.sign END,"
        " s.sign * s.input_tokens, s.sign * s.output_tokens, CASE WHEN s.cost_picousd IS NULL THEN s.sign ELSE 0 END,"
        " s.sign * coalesce(s.cost_picousd, 0)::numeric, s.sign * s.cached_tokens, s.sign * s.cache_write_tokens"
        " FROM spend_signed s CROSS JOIN LATERAL (SELECT 'all' AS tags, '' AS tag"
        " UNION ALL SELECT 'none', '' WHERE s.outcome <> 'refused' AND cardinality(s.tags) = 0"
        " UNION ALL SELECT 'tag', t FROM (SELECT DISTINCT unnest(s.tags) AS t) AS d WHERE s.outcome <> 'refused') AS k"
        f" WHERE ({spans}) AND s.in_day BETWEEN {low} AND {high} AND s.day BETWEEN {low} AND {high}"
        f" AND s.id_at >= {first} AND s.id_at < {end} AND k.tags = ANY({wanted})"
    )


def _log_rows(made: Statement, query: SpendQuery, plan: Plan, scope: Scope, live: Live | None, admitted: bool) -> str:
    low = query.first.astimezone(UTC).date()
    high = (query.end.astimezone(UTC) - timedelta(microseconds=1)).date()
    where = [
        f"b.day BETWEEN {made.add(low)} AND {made.add(high)}",
        f"{_ID_AT} >= {made.add(query.first)}", f"{_ID_AT} < {made.add(query.end)}",
        *of_scope(made, scope, "b"),
    ]  # fmt: skip
    if admitted:
        where.append("b.outcome <> 'refused'")
    by_tag = "tag" in query.group_by
    for name, values in query.filters.items():
        given = f"{made.add(list(values))}::text[]"
        if name != "tag":
            where.append(f"b.{DIMENSIONS[name]} = ANY({given})")
        else:
            where.append(f"k.tag = ANY({given})" if by_tag else f"b.tags && {given}")
    tags = (
        " CROSS JOIN LATERAL (SELECT DISTINCT unnest(b.tags) AS tag UNION ALL SELECT NULL WHERE cardinality(b.tags) = 0) AS k"
        if by_tag
        else ""
    )
    columns = ", ".join(
        f"k.tag AS {column}" if name == "tag" else f"b.{column}"
        for name, column in DIMENSIONS.items()
        if name != "tag" or by_tag
    )
    return (
        f"SELECT {_ID_AT} AS at, {columns}, 1 AS requests, (b.outcome = 'success')::int AS successes,"
        " (b.outcome <> 'success')::int AS failures, b.input_tokens, b.output_tokens, (b.cost_picousd IS NULL)::int AS unpriced,"
        " b.cached_tokens, b.cache_write_tokens,"
        f" coalesce(b.cost_picousd, 0)::numeric AS spend_picousd FROM request_book b{tags} WHERE {' AND '.join(where)}"
    )


def of_scope(made: Statement, scope: Scope, table: str) -> list[str]:
    """Conditions on a table of calls, or of their sums: which rows the asker may see."""
    if scope.everything:
        return []
    if scope.user_id is not None:
        return [f"{table}.user_id = {made.add(scope.user_id)}"]
    return [f"{table}.key_sha256 IS NOT DISTINCT FROM {made.add(scope.key_sha256)}::text", f"{table}.user_id IS NULL"]


def _columns(table: str, names: Sequence[str]) -> str:
    return ", ".join(f"{table}.{name}" for name in names)
