# ruff: noqa: S608 - what is put together are columns of a table here; the asker's texts are arguments
"""`/guardrails/report`: what guardrails did, from the book: how often each ran, stopped or changed
something or would have, failed; how long it took, and what it cost."""

from collections.abc import Mapping
from datetime import UTC, date, datetime
from typing import Any

from aiohttp import web

from services.ledger import answers, params
from services.ledger.answers import CUT_HEADER, Handler
from services.ledger.api import Api
from services.ledger.asking import Scope, scope_of
from services.ledger.book_sql import of_days
from services.ledger.params import refuse
from services.ledger.statement import Statement, of_scope
from shared.money import usd_from_picousd

ROUTE = "/guardrails/report"
DAYS, DAYS_MAX = 7, 31
ROWS_MAX = 5_000

_GUARDRAIL, _STAGE = "o.said->>'name'", "o.said->>'stage'"
BY = {"guardrail": _GUARDRAIL, "stage": _STAGE, "day": "b.day::text", "key": "b.key_sha256", "team": "b.team_id"}
"""Name in a question -> column."""
_ACTIONS = (
    ("blocked", "block"), ("redacted", "redact"), ("would_have_blocked", "would_block"), ("would_have_redacted", "would_redact"),
    ("errors", "error"),
)  # fmt: skip
_COUNTS = ", ".join(f"count(*) FILTER (WHERE o.said->>'action' = '{action}') AS {name}" for name, action in _ACTIONS)
_MS = "(o.said->>'duration_ms')::float8"


def statement(
    by: tuple[str, ...], wanted: Mapping[str, str], scope: Scope, first: date, last: date
) -> tuple[str, list[Any]]:
    """SQL and its arguments."""
    made = Statement()
    book = of_days(made.add(first), made.add(last))
    where = [
        "b.guardrail_outcomes::text <> '[]'",
        *of_scope(made, scope, "b"),
        *(f"{BY[name]} = {made.add(value)}" for name, value in wanted.items()),
    ]
    columns = ", ".join(f"{BY[name]} AS by_{name}" for name in by)
    positions = ", ".join(str(n + 1) for n in range(len(by)))
    return (
        f"SELECT {columns}, count(*) AS checks, {_COUNTS},"
        f" percentile_disc(ARRAY[0.5, 0.99]) WITHIN GROUP (ORDER BY {_MS}) AS took,"
        " coalesce(sum((o.said->>'cost_picousd')::bigint), 0)::bigint AS cost_picousd"
        f" FROM {book} AS b CROSS JOIN LATERAL json_array_elements(b.guardrail_outcomes) AS o(said)"
        f" WHERE {' AND '.join(where)} GROUP BY {positions} ORDER BY {positions} LIMIT {ROWS_MAX + 1}",
        made.arguments,
    )


def shown(row: Mapping[str, Any], by: tuple[str, ...]) -> dict[str, Any]:
    p50, p99 = row["took"] or (0.0, 0.0)
    return {
        **{name: row[f"by_{name}"] for name in by},
        "ran": row["checks"] - row["errors"],
        **{name: row[name] for name, _ in _ACTIONS},
        "p50_ms": round(p50, 3),
        "p99_ms": round(p99, 3),
        "cost_usd": usd_from_picousd(row["cost_picousd"]),
    }


def handlers(api: Api) -> dict[str, Handler]:
    async def report(request: web.Request) -> web.StreamResponse:
        caller = await api.identify(request, ROUTE)
        for name in request.query:
            if name not in ("start_date", "end_date", "by", *BY):
                refuse(name[:80], f"isn't a parameter of {ROUTE}; there are start_date, end_date, by, {', '.join(BY)}")
        first, last = params.recent_days(request.query, datetime.now(UTC).date(), usual=DAYS, most=DAYS_MAX)
        by = tuple(dict.fromkeys((request.query.get("by") or "guardrail").split(",")))
        for name in by:
            if name not in BY:
                refuse("by", f"can be {', '.join(BY)}; not {name[:80]!r}")
        wanted = {name: params.checked_text(name, request.query[name]) for name in BY if name in request.query}
        sql, arguments = statement(by, wanted, scope_of(caller), first, last)
        rows = await api.book().fetch(sql, *arguments)
        cut = {CUT_HEADER: str(ROWS_MAX)} if len(rows) > ROWS_MAX else {}
        found = [shown(row, by) for row in rows[:ROWS_MAX]]
        return answers.json_answer({"start_date": first, "end_date": last, "by": list(by), "guardrails": found}, cut)

    return {ROUTE: report}
