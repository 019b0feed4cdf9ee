# ruff: noqa: S608
"""Where the rows of a question about spend come from: rollups, the cube, the log; as SQL. Pure.

Texts of the asker go into arguments, never into the statement (hence the noqa above); what is put
together are names from tables.
"""

from collections.abc import Sequence
from datetime import UTC, date, timedelta
from typing import NamedTuple

from services.ledger import spans
from services.ledger.asking import Scope
from services.ledger.facts_in import midnight
from services.ledger.spans import BASE, Piece, Span
from services.ledger.spend_query import DIMENSIONS, Plan, SpendQuery
from services.ledger.statement import SUMS, Statement, of_scope

_GROUP_COLUMNS = (
    "key_sha256", "team_id", "user_id", "organization_id", "model", "upstream_model", "deployment_id", "provider", "call_type",
)  # fmt: skip
_ID_AT = "to_timestamp((('x' || translate(left(b.id::text, 13), '-', ''))::bit(48)::bigint) / 1000.0)"


class Live(NamedTuple):
    """Batches that the cube hasn't got."""

    after: Sequence[tuple[int, int]]
    """(shard, position of the cube): those after it."""
    days: Sequence[date]
    """Of their rows in the question's range, ascending; there are some."""


class Kept(NamedTuple):
    """What the cube has, in the snapshot of the question."""

    spans: Sequence[Span]
    """Those with a day in the question's range."""
    live: Live | None
    tags_from_rollup: bool = False
    """Whether what the live days have by tag is asked of the rollups, which recorders keep up."""

    def cover(self, query: SpendQuery, grains: Sequence[str]) -> list[Piece]:
        """Of the cube."""
        days = self.live.days if self.live is not None and self.tags_from_rollup else ()
        return spans.cover(query.first, query.end, self.spans, grains, [midnight(day) for day in days])


def positions(first: int, count: int) -> str:
    return "".join(f", {n}" for n in range(first, first + count))


def bucket_of(made: Statement, query: SpendQuery) -> str:
    """Of a row's `at`."""
    return f"date_trunc('{query.bucket}', at, {made.add(query.zone.key)}::text)"


def rollup_rows(made: Statement, query: SpendQuery, plan: Plan, scope: Scope, kept: Kept, admitted: bool) -> str:
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
    # The rollups have no row for calls that have no team, no key ...: those are what is left of all
    # calls.
    return f"{found} UNION ALL {rows(dimension, 'NULL', '-')} UNION ALL {rows(everything, 'NULL')}"


def cube_rows(made: Statement, query: SpendQuery, plan: Plan, scope: Scope, kept: Kept, admitted: bool) -> str:
    by_tag = "tag" in {*query.group_by, *query.filters}
    keys = tag_keys(query, plan, scope)
    grains = (spans.OF_TAGS if keys else {} if by_tag else spans.OF_GROUPS).get(plan.grain, ())
    pieces = kept.cover(query, grains)
    if not pieces:
        found = _nothing(made)
    elif keys:
        found = _tag_sums(made, query, pieces, keys)
    else:
        found = _group_sums(made, query, pieces, scope, by_tag, admitted, plan.grain in ("year", "month"))
    rows = f"SELECT * FROM ({found}) AS f"
    if "tag" in query.filters and not keys:
        rows += f" WHERE f.tag = ANY({made.add(list(query.filters['tag']))}::text[])"
    if kept.live is None:
        return rows
    return f"{rows} UNION ALL {live_rows(made, query, scope, kept, by_tag=by_tag, admitted=admitted)}"


def added_up(plan: Plan, kept: Kept) -> bool:
    """Whether `cube_rows` has one row for each bucket of each that is asked for."""
    return plan.source == "cube" and kept.live is None


def tag_keys(query: SpendQuery, plan: Plan, scope: Scope) -> list[str]:
    """Of the table that answers a question about tags, or tags and teams, alone; none where that
    isn't one.
    """
    asked = {*query.group_by, *query.filters}
    if (
        "tag" not in asked
        or plan.source != "cube"
        or plan.grain == "hour"
        or not scope.everything
        or asked - {"tag", "team"}
    ):
        return []
    return ["tag", "team"] if "team" in asked else ["tag"]


def live_rows(
    made: Statement, query: SpendQuery, scope: Scope, kept: Kept, *, by_tag: bool = True, admitted: bool = True
) -> str:
    """What the cube hasn't got yet; there is some."""
    assert kept.live is not None
    rows = f"SELECT * FROM ({_nothing(made)}) AS n UNION ALL {_live(made, kept, kept.live, query, by_tag)}"
    conditions = _conditions(made, query, scope) + (["r.model IS NOT NULL"] if admitted and not by_tag else [])
    return f"SELECT r.* FROM ({rows}) AS r WHERE {' AND '.join(conditions) or 'true'}"


def for_tags(kept: Kept, keys: Sequence[str], wanted: Sequence[str]) -> Kept:
    """For a question with these `tag_keys`: the calls that the cube lacks may be many times its
    tags.
    """
    from_rollup = kept.live is not None and list(keys) == ["tag"] and set(wanted) <= set(SUMS)
    return kept._replace(tags_from_rollup=from_rollup)


def _conditions(made: Statement, query: SpendQuery, scope: Scope) -> list[str]:
    """On rows `r`."""
    filters = [
        f"r.{DIMENSIONS[name]} = ANY({made.add(list(values))}::text[])" for name, values in query.filters.items()
    ]
    return [*of_scope(made, scope, "r"), *filters]


def _nothing(made: Statement) -> str:
    return (
        f"SELECT NULL::timestamptz AS at, NULL::text AS tag, {', '.join(f'NULL::text AS {name}' for name in _GROUP_COLUMNS)},"
        f" {', '.join(f'0 AS {name}' for name in made.sums)} WHERE false"
    )


def _tag_sums(made: Statement, query: SpendQuery, pieces: Sequence[Piece], keys: list[str]) -> str:
    """Of the tables that know tags, or tags and teams, alone. Added up by what is asked for."""
    by = [name for name in keys if name in query.group_by]
    value = {DIMENSIONS[name]: f"{name}_word.value" for name in by}
    names = ", ".join(f"{value.get(column, 'NULL::text')} AS {column}" for column in ("tag", *_GROUP_COLUMNS))
    rows = rows_by_tag(made, query, pieces, keys)
    return (
        f"SELECT s.at, {names}, {columns_of('s', made.sums)}"
        f" FROM ({together(made, rows, by, _bucketed(made, query))}) AS s {words_of(by)}"
    )


def rows_by_tag(
    made: Statement, query: SpendQuery, pieces: Sequence[Piece], keys: Sequence[str], more: Sequence[str] = ()
) -> list[str]:
    """One a piece. `more`: conditions on each."""
    if not pieces:
        return []  # an argument that nothing names has no type
    conditions = [*more]
    for name in query.filters:
        values = made.add(list(query.filters[name]))
        conditions.append(f"{name} = ANY(ARRAY(SELECT id FROM spend_word WHERE value = ANY({values}::text[])))")
    rows = []
    for piece in pieces:
        grain = [f"grain = '{'day' if piece.grain == BASE else piece.grain}'"]
        if len(keys) == 1:
            rows.append(_rows_of(made, "spend_tag", piece, keys, [*grain, *conditions]))
        elif piece.grain == BASE:
            rows.append(_rows_of(made, "spend_tag_team", piece, keys, conditions))
        else:
            rows.append(_rows_of(made, "spend_tag_team_span", piece, keys, [*grain, *conditions]))
    return rows


def rows_of_all_tags(made: Statement, query: SpendQuery, kept: Kept) -> list[str]:
    """What all tags have together, by the day at least; at least one. Only of days that are folded
    that is kept.
    """
    return [
        _rows_of(made, "spend_tag", piece, ["tag"], [f"grain = '{'day' if piece.grain == BASE else 'every'}'"])
        for piece in kept.cover(query, ("day",))
    ]


def _group_sums(
    made: Statement,
    query: SpendQuery,
    pieces: Sequence[Piece],
    scope: Scope,
    by_tag: bool,
    admitted: bool,
    coarse: bool,
) -> str:
    """Of the tables that know who called what: of calls with their tags, or of days and months
    without. Added up by a number for what is asked of who called what, which groups share; `coarse`
    sums, which are few, by its names: to number the groups would cost more.
    """
    own = of_scope(made, scope, "g")
    for name, values in query.filters.items():
        if name != "tag":
            own.append(f"g.{DIMENSIONS[name]} = ANY({made.add(list(values))}::text[])")
    # Of few groups each is looked up; of all, with a model or without, everything is read.
    groups = [f"grp IN (SELECT g.id FROM spend_group g WHERE {' AND '.join(own)})"] if own else []
    where = [*own, "g.model IS NOT NULL"] if admitted and not by_tag else own

    def bucketed(grain: str) -> str:
        """Of rows by the hour, day or month."""
        return "at" if grain == query.bucket else f"{_bucketed(made, query)} AS at"

    columns = [column for column in _GROUP_COLUMNS if column in {DIMENSIONS[name] for name in query.group_by}]
    rows = []
    for piece in pieces:
        if by_tag:
            rows.append(
                _rows_of(made, "spend_calls", piece, ["grp", _EACH_TAG], ["counts <> 1", *groups], bucketed("hour"))
            )
        elif piece.grain == BASE:
            rows.append(_rows_of(made, "spend_calls", piece, ["grp"], ["counts <> 2", *groups], bucketed("hour")))
        else:
            grain = [f"grain = '{piece.grain}'", *groups]
            rows.append(_rows_of(made, "spend_period", piece, ["grp"], grain, bucketed(piece.grain)))
    of_groups = "".join(f", g.{column}" for column in columns)
    of_groups += f" FROM spend_group g WHERE {' AND '.join(where) or 'true'}"
    if coarse and not by_tag:
        named = ", ".join(column if column in columns else f"NULL::text AS {column}" for column in _GROUP_COLUMNS)
        joined = f"JOIN (SELECT g.id AS grp{of_groups}) AS n USING (grp)"
        return (
            f"SELECT s.at, NULL::text AS tag, {named}, {columns_of('s', made.sums)}"
            f" FROM ({together(made, rows, columns, 'at', joined)}) AS s"
        )
    numbered = (
        f"SELECT g.id AS grp, dense_rank() OVER (ORDER BY {columns_of('g', columns) or 'true'}) AS alike{of_groups}"
    )
    named = ", ".join(f"n.{column}" if column in columns else f"NULL::text AS {column}" for column in _GROUP_COLUMNS)
    tag, joined = ("tag_word.value", words_of(["tag"])) if by_tag else ("NULL::text", "")
    keys = ["alike", "tag"] if by_tag else ["alike"]
    return (
        f"WITH numbered AS MATERIALIZED ({numbered})"
        f" SELECT s.at, {tag} AS tag, {named}, {columns_of('s', made.sums)}"
        f" FROM ({together(made, rows, keys, 'at', 'JOIN numbered USING (grp)')}) AS s"
        f" JOIN (SELECT DISTINCT {', '.join(['alike', *columns])} FROM numbered) AS n ON n.alike = s.alike {joined}"
    )


_EACH_TAG = "unnest(CASE WHEN tags = '{}' THEN '{0}' ELSE tags END) AS tag"


def _rows_of(
    made: Statement, table: str, piece: Piece, keys: Sequence[str], conditions: Sequence[str], at: str = "at"
) -> str:
    where = [f"at >= {made.add(piece.first)}", f"at < {made.add(piece.end)}", *conditions]
    sums = made.sums if piece.sign > 0 else [f"-{name} AS {name}" for name in made.sums]
    return f"SELECT {', '.join((at, *keys, *sums))} FROM {table} WHERE {' AND '.join(where)}"


def _bucketed(made: Statement, query: SpendQuery) -> str:
    """Of a row's `at`; all of them one where no buckets are asked for."""
    return f"{made.add(query.first)}::timestamptz" if query.bucket == "none" else bucket_of(made, query)


def together(made: Statement, rows: Sequence[str], keys: Sequence[str], bucket: str, joined: str = "") -> str:
    """Pieces added up by numbers, before anything is looked up by them."""
    columns = ", ".join((f"{bucket} AS at", *keys, whole_numbers(made.sums)))
    source = f"({' UNION ALL '.join(rows)}) AS p {joined}"
    return f"SELECT {columns} FROM {source} GROUP BY 1{positions(2, len(keys))}"


def _live(made: Statement, kept: Kept, live: Live, query: SpendQuery, by_tag: bool) -> str:
    """What the cube hasn't got yet; or of tags, all of its days."""
    if not kept.tags_from_rollup:
        return _calls_after(made, live, query, by_tag)
    days = f"{made.add(list(live.days))}::date[]"
    columns = ", ".join(f"NULL::text AS {name}" for name in _GROUP_COLUMNS)
    of_tags = (
        f"SELECT day::timestamp AT TIME ZONE 'UTC' AS at, value AS tag, {columns}, {', '.join(made.sums)} FROM rollup"
        f" WHERE scope = '' AND dimension = 'tag' AND day = ANY({days})"
    )
    if "tag" in query.filters:
        return f"{of_tags} AND value = ANY({made.add(list(query.filters['tag']))}::text[])"
    # The rollups have no row for calls without a tag.
    instants = f"{made.add([midnight(day) for day in live.days])}::timestamptz[]"
    untagged = (
        f"SELECT at, NULL::text, {columns}, {', '.join(made.sums)} FROM spend_tag"
        f" WHERE grain = 'day' AND tag = 0 AND at = ANY({instants})"
    )
    return f"{of_tags} UNION ALL {untagged} UNION ALL {_calls_after(made, live, query, True, untagged=True)}"


def _calls_after(made: Statement, live: Live, query: SpendQuery, by_tag: bool, *, untagged: bool = False) -> str:
    """Of the batches after the cube's positions; `untagged`: those without a tag alone."""
    first, end = made.add(query.first), made.add(query.end)
    batches = " OR ".join(
        f"(s.in_shard = {made.add(shard)} AND s.in_batch > {made.add(batch)})" for shard, batch in live.after
    )
    low, high = made.add(live.days[0]), made.add(live.days[-1])
    columns = ", ".join(
        "CASE WHEN s.outcome <> 'refused' THEN s.model END AS model" if name == "model" else f"s.{name}"
        for name in _GROUP_COLUMNS
    )
    admitted = " AND s.outcome <> 'refused'" if by_tag else ""
    if untagged:
        admitted += " AND s.tags = '{}'"
    tag, tags = ("k.tag", _TAGS_OF_A_CALL) if by_tag and not untagged else ("NULL", "")
    return (
        f"SELECT s.id_at, {tag}, {columns}, {', '.join(_OF_A_CALL[name] for name in made.sums)} FROM spend_signed s{tags}"
        f" WHERE ({batches}) AND s.in_day BETWEEN {low} AND {high} AND s.day BETWEEN {low} AND {high}"
        f" AND s.id_at >= {first} AND s.id_at < {end}{admitted}"
    )


_OF_A_CALL = {
    "requests": "s.sign", "successes": "CASE WHEN s.outcome = 'success' THEN s.sign ELSE 0 END",
    "failures": "CASE WHEN s.outcome = 'success' THEN 0 ELSE s.sign END", "input_tokens": "s.sign * s.input_tokens",
    "output_tokens": "s.sign * s.output_tokens", "unpriced": "CASE WHEN s.cost_picousd IS NULL THEN s.sign ELSE 0 END",
    "spend_picousd": "s.sign * coalesce(s.cost_picousd, 0)::numeric", "cached_tokens": "s.sign * s.cached_tokens",
    "cache_write_tokens": "s.sign * s.cache_write_tokens",
}  # fmt: skip
_TAGS_OF_A_CALL = (
    " LEFT JOIN LATERAL unnest(s.tags) WITH ORDINALITY AS k (tag, n) ON array_position(s.tags, k.tag) = k.n"
)
"""Each once, where it stands first; without one, NULL."""


def log_rows(made: Statement, query: SpendQuery, plan: Plan, scope: Scope, kept: Kept, admitted: bool) -> str:
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


def whole_numbers(names: Sequence[str]) -> str:
    """Sums; counts as numbers that are added up and sent quickly again (a sum of bigint is a
    numeric, and one in a UNION makes all of it so).
    """
    return ", ".join(f"sum({name}){'' if name == 'spend_picousd' else '::bigint'} AS {name}" for name in names)


def words_of(names: Sequence[str]) -> str:
    """Joins of `s` with what its numbers stand for: `<name>_word.value`."""
    return " ".join(f"LEFT JOIN spend_word {name}_word ON {name}_word.id = s.{name}" for name in names)


def columns_of(table: str, names: Sequence[str]) -> str:
    return ", ".join(f"{table}.{name}" for name in names)
