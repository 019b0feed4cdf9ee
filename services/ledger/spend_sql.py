# ruff: noqa: S608
"""A question about spend as one SQL statement. Pure.

Texts of the asker go into arguments, never into the statement (hence the noqa above); what is put together are names from tables.
"""

from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

from services.ledger import spans
from services.ledger.asking import Scope
from services.ledger.spans import BASE, Piece, Span
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


class Kept(NamedTuple):
    """What the cube has, in the snapshot of the question."""

    spans: Sequence[Span]
    """Those with a day in the question's range."""
    live: Live | None


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
    kept: Kept,
    *,
    admitted: bool = False,
    wanted: Sequence[str] = SUMS,
) -> tuple[str, list[Any]]:
    """Columns of the answer: bucket, other, one a dimension (`d0` ...), those wanted. At most ROWS_MAX + 1 rows."""
    made = Statement()
    admitted = admitted or admitted_only(query)
    source = {"rollup": _rollup_rows, "cube": _cube_rows, "log": _log_rows}[plan.source]
    rows = source(made, query, plan, scope, kept, admitted)
    bucket = "NULL::timestamptz" if query.bucket == "none" else _bucket(made, query)
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
    rows = _cube_rows(made, query, Plan("cube", "day"), scope, kept, True)
    return (
        "SELECT value, min(day) AS first_day, max(day) AS last_day FROM ("
        f"SELECT tag AS value, (at AT TIME ZONE 'UTC')::date AS day FROM ({rows}) AS r WHERE tag IS NOT NULL"
        " GROUP BY 1, 2 HAVING sum(requests) > 0"
        f") AS d GROUP BY value ORDER BY value LIMIT {made.add(limit)}",
        made.arguments,
    )


def _bucket(made: Statement, query: SpendQuery) -> str:
    """Of a row's `at`."""
    return f"date_trunc('{query.bucket}', at, {made.add(query.zone.key)}::text)"


def _rollup_rows(made: Statement, query: SpendQuery, plan: Plan, scope: Scope, kept: Kept, admitted: bool) -> str:
    everything = "model" if admitted else "total"
    """Every admitted call has a model; of refused ones none is counted."""
    dimension = (*query.group_by, *query.filters, everything)[0]
    span = f"day >= {made.add(query.first.date())} AND day < {made.add(query.end.date())}"
    column = DIMENSIONS.get(dimension, "value")

    def rows(dimension: str, value: str, sign: str = "") -> str:
        sums = ", ".join(f"{sign}{name} AS {name}" for name in SUMS)
        return (
            f"SELECT day::timestamp AT TIME ZONE 'UTC' AS at, {value} AS {column}, {sums} FROM rollup"
            f" WHERE scope = '' AND dimension = '{dimension}' AND {span}"
        )

    found = rows(dimension, "value")
    if query.filters:
        return f"{found} AND value = ANY({made.add(list(query.filters[dimension]))}::text[])"
    if not query.group_by:
        return found
    # The rollups have no row for calls that have no team, no key ...: those are what is left of all calls.
    return f"{found} UNION ALL {rows(dimension, 'NULL', '-')} UNION ALL {rows(everything, 'NULL')}"


def _cube_rows(made: Statement, query: SpendQuery, plan: Plan, scope: Scope, kept: Kept, admitted: bool) -> str:
    dimensions = {*query.group_by, *query.filters}
    by_tag = "tag" in dimensions
    of_tags = by_tag and plan.grain != "hour" and scope.everything and dimensions <= {"tag", "team"}
    grains = (_TAG_GRAINS if of_tags else {} if by_tag else _GROUP_GRAINS).get(plan.grain, ())
    pieces = spans.cover(query.first, query.end, kept.spans, grains)
    if not pieces:
        found = _NOTHING
    elif of_tags:
        found = _tag_sums(made, query, pieces, ["tag", "team"] if "team" in dimensions else ["tag"])
    else:
        found = _group_sums(made, query, pieces, scope, by_tag, admitted)
    conditions = [*of_scope(made, scope, "r"), *(["r.model IS NOT NULL"] if admitted and not by_tag else [])]
    for name, values in query.filters.items():
        conditions.append(f"r.{DIMENSIONS[name]} = ANY({made.add(list(values))}::text[])")
    rows = found if kept.live is None else f"{found} UNION ALL {_live(made, kept.live, query, by_tag)}"
    where = f" WHERE {' AND '.join(conditions)}" if conditions else ""
    return f"SELECT r.* FROM ({rows}) AS r{where}"


_TAG_GRAINS = {"month": ("month", "five")}
_GROUP_GRAINS = {"month": ("month", "day"), "day": ("day",)}
_NOTHING = (
    f"SELECT NULL::timestamptz AS at, NULL::text AS tag, {', '.join(f'NULL::text AS {name}' for name in _GROUP_COLUMNS)},"
    f" {', '.join(f'0 AS {name}' for name in (*SUMS, *CACHE_SUMS))} WHERE false"
)


def _tag_sums(made: Statement, query: SpendQuery, pieces: Sequence[Piece], keys: list[str]) -> str:
    """Of the tables that know tags, or tags and teams, alone."""
    conditions = []
    for name in query.filters:
        values = made.add(list(query.filters[name]))
        conditions.append(f"{name} = ANY(ARRAY(SELECT id FROM spend_word WHERE value = ANY({values}::text[])))")
    rows = []
    for piece in pieces:
        table, where = (
            ("spend_tag_team", conditions) if len(keys) > 1 else ("spend_tag", ["grain = 'day'", *conditions])
        )
        if piece.grain != BASE:
            table = "spend_tag_team_span" if len(keys) > 1 else "spend_tag"
            where = [f"grain = '{piece.grain}'", *conditions]
        rows.append(_piece(made, table, piece, keys, where))
    team = "v.value" if len(keys) > 1 else "NULL::text"
    names = (f"{team} AS team_id" if column == "team_id" else f"NULL::text AS {column}" for column in _GROUP_COLUMNS)
    joined = "LEFT JOIN spend_word v ON v.id = s.team" if len(keys) > 1 else ""
    return (
        f"SELECT s.at, w.value AS tag, {', '.join(names)}, {_columns('s', (*SUMS, *CACHE_SUMS))}"
        f" FROM ({_together(made, query, rows, keys)}) AS s LEFT JOIN spend_word w ON w.id = s.tag {joined}"
    )


def _group_sums(
    made: Statement, query: SpendQuery, pieces: Sequence[Piece], scope: Scope, by_tag: bool, admitted: bool
) -> str:
    """Of the tables that know who called what: of calls with their tags, or of days and months without."""
    where = of_scope(made, scope, "g")
    for name, values in query.filters.items():
        if name != "tag":
            where.append(f"g.{DIMENSIONS[name]} = ANY({made.add(list(values))}::text[])")
    if admitted and not by_tag:
        where.append("g.model IS NOT NULL")
    groups = [f"grp IN (SELECT g.id FROM spend_group g WHERE {' AND '.join(where)})"] if where else []
    keys = ["grp", "tag"] if by_tag else ["grp"]
    rows = []
    for piece in pieces:
        if by_tag:
            rows.append(_piece(made, "spend_calls", piece, ["grp", _EACH_TAG], ["counts <> 1", *groups]))
        elif piece.grain == BASE:
            rows.append(_piece(made, "spend_calls", piece, keys, ["counts <> 2", *groups]))
        else:
            rows.append(_piece(made, "spend_period", piece, keys, [f"grain = '{piece.grain}'", *groups]))
    tag, joined = ("w.value", "LEFT JOIN spend_word w ON w.id = s.tag") if by_tag else ("NULL::text", "")
    return (
        f"SELECT s.at, {tag} AS tag, {_columns('g', _GROUP_COLUMNS)}, {_columns('s', (*SUMS, *CACHE_SUMS))}"
        f" FROM ({_together(made, query, rows, keys)}) AS s JOIN spend_group g ON g.id = s.grp {joined}"
    )


_EACH_TAG = "unnest(CASE WHEN tags = '{}' THEN '{0}' ELSE tags END) AS tag"


def _piece(made: Statement, table: str, piece: Piece, keys: Sequence[str], conditions: Sequence[str]) -> str:
    where = [f"at >= {made.add(piece.first)}", f"at < {made.add(piece.end)}", *conditions]
    return f"SELECT at, {', '.join((*keys, *SUMS, *CACHE_SUMS))} FROM {table} WHERE {' AND '.join(where)}"


def _together(made: Statement, query: SpendQuery, rows: Sequence[str], keys: Sequence[str]) -> str:
    """Pieces added up by numbers, before anything is looked up by them."""
    names = (*SUMS, *CACHE_SUMS)
    bucket = f"{made.add(query.first)}::timestamptz" if query.bucket == "none" else _bucket(made, query)
    sums = ", ".join(f"sum({name}) AS {name}" for name in names)
    return f"SELECT {bucket} AS at, {', '.join(keys)}, {sums} FROM ({' UNION ALL '.join(rows)}) AS p GROUP BY 1{_positions(2, len(keys))}"


def _live(made: Statement, live: Live, query: SpendQuery, by_tag: bool) -> str:
    first, end = made.add(query.first), made.add(query.end)
    batches = " OR ".join(
        f"(s.in_shard = {made.add(shard)} AND s.in_batch > {made.add(batch)})" for shard, batch in live.after
    )
    low, high = made.add(live.first_day), made.add(live.last_day)
    columns = ", ".join(
        "CASE WHEN s.outcome <> 'refused' THEN s.model END AS model" if name == "model" else f"s.{name}"
        for name in _GROUP_COLUMNS
    )
    admitted = " AND s.outcome <> 'refused'" if by_tag else ""
    return (
        f"SELECT s.id_at, {'k.tag' if by_tag else 'NULL'}, {columns}, s.sign,"
        " CASE WHEN s.outcome = 'success' THEN s.sign ELSE 0 END, CASE WHEN s.outcome = 'success' THEN 0 ELSE s.sign END,"
        " s.sign * s.input_tokens, s.sign * s.output_tokens, CASE WHEN s.cost_picousd IS NULL THEN s.sign ELSE 0 END,"
        " s.sign * coalesce(s.cost_picousd, 0)::numeric, s.sign * s.cached_tokens, s.sign * s.cache_write_tokens"
        f" FROM spend_signed s{_TAGS_OF_A_CALL if by_tag else ''}"
        f" WHERE ({batches}) AND s.in_day BETWEEN {low} AND {high} AND s.day BETWEEN {low} AND {high}"
        f" AND s.id_at >= {first} AND s.id_at < {end}{admitted}"
    )


_TAGS_OF_A_CALL = " CROSS JOIN LATERAL (SELECT DISTINCT unnest(s.tags) AS tag UNION ALL SELECT NULL WHERE cardinality(s.tags) = 0) AS k"


def _log_rows(made: Statement, query: SpendQuery, plan: Plan, scope: Scope, kept: Kept, admitted: bool) -> str:
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
    tags = _TAGS_OF_A_CALL.replace("s.tags", "b.tags") if by_tag else ""
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
    key = "IS NULL" if scope.key_sha256 is None else f"= {made.add(scope.key_sha256)}"
    return [f"{table}.key_sha256 {key}", f"{table}.user_id IS NULL"]


def _columns(table: str, names: Sequence[str]) -> str:
    return ", ".join(f"{table}.{name}" for name in names)
