# ruff: noqa: S608 - what is put together are names of ours; the asker's texts are arguments
"""`/tag/summary`, `/tag/distinct`, `/tag/dau|wau|mau` and `/tag/user-agent/per-user-analytics`: who
uses what, by tag, as LiteLLM's pages ask (every call has its client as a tag, `User-Agent: ...`).

A user counts once a period, however many keys it has; and of one user a call counts once, however
many of the tags it has (LiteLLM counts it once for each).
"""

from collections.abc import Mapping
from datetime import UTC, date, datetime, timedelta
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

from aiohttp import web

from services.ledger import answers, params
from services.ledger.answers import CUT_HEADER, Handler
from services.ledger.api import Api
from services.ledger.asking import Scope, scope_of
from services.ledger.book_sql import of_days
from services.ledger.facts_in import EPOCH, midnight
from services.ledger.params import refuse
from services.ledger.responses import usd
from services.ledger.spend_query import DAYS_MAX, FILTER_VALUES_MAX, Plan, SpendQuery
from services.ledger.spend_sources import Kept, cube_rows, whole_numbers
from services.ledger.statement import Statement, of_scope
from shared.entities import USER

PERIODS = 7
"""Days, weeks or months in an answer."""
PERIOD_DAYS = {"/tag/dau": 1, "/tag/wau": 7, "/tag/mau": 30}
PER_USER_DAYS = 30
DISTINCT_MAX = 250
ROWS_MAX = 50_000
PAGE_SIZE, PAGE_SIZE_MAX, PAGE_MAX = 50, 1_000, 1_000_000
USER_AGENT = "User-Agent: "
_SUMS = ("requests", "successes", "failures", "input_tokens", "output_tokens", "spend_picousd")


class Tags(NamedTuple):
    """Which a question is about: of these names, or with this text in them; else all."""

    names: tuple[str, ...]
    part: str | None


def tags_of(request: web.Request) -> Tags:
    """Raises RefusedError."""
    names = tuple(
        dict.fromkeys(
            params.checked_text("tag_filters", name) for name in request.query.getall("tag_filters", []) if name
        )
    )
    if len(names) > FILTER_VALUES_MAX:
        refuse("tag_filters", f"can name {FILTER_VALUES_MAX} at most")
    return Tags(names, None if names else params.text(request.query, "tag_filter"))


def by_tag(
    first: date, after: date, tags: Tags, scope: Scope, kept: Kept, *, wanted: tuple[str, ...]
) -> tuple[str, list[Any]]:
    """Sums by tag, user and day, from `first` and before `after`; as a table expression, with its
    arguments.
    """
    filters = {"tag": tags.names} if tags.names else {}
    query = SpendQuery(
        midnight(first), midnight(after), ZoneInfo("UTC"), "day", ("tag", "user"), filters, 1, previous=False, csv=False
    )
    made = Statement(wanted)
    rows = cube_rows(made, query, Plan("cube", "day"), scope, kept, True)
    where = ["tag IS NOT NULL"]
    if tags.part is not None:
        where.append(f"position(lower({made.add(tags.part)}) IN lower(tag)) > 0")
    return (
        f"SELECT tag, user_id, (at AT TIME ZONE 'UTC')::date AS day, {', '.join(made.sums)} FROM ({rows}) AS r"
        f" WHERE {' AND '.join(where)}",
        made.arguments,
    )


def active(days: int, after: date, tags: Tags, scope: Scope, kept: Kept) -> tuple[str, list[Any]]:
    """How many users a tag had in each of the last PERIODS of so many days before `after`; `back`:
    0 is the last.
    """
    rows, arguments = by_tag(begins(days, after), after, tags, scope, kept, wanted=("requests",))
    # What a late end took back may have left a row with nothing in it.
    return (
        f"WITH used AS (SELECT tag, user_id, (${len(arguments) + 1}::date - 1 - day) / {days} AS back FROM ({rows}) AS d"
        " WHERE user_id IS NOT NULL GROUP BY 1, 2, 3 HAVING sum(requests) > 0)"
        f" SELECT tag, back, count(*)::bigint AS users FROM used GROUP BY tag, back"
        f" ORDER BY back {'ASC' if days == 1 else 'DESC'}, users DESC, tag LIMIT {ROWS_MAX + 1}",
        [*arguments, after],
    )


def begins(days: int, after: date) -> date:
    return after - timedelta(days=days * PERIODS)


def shown_period(row: Mapping[str, Any], days: int, after: date) -> dict[str, Any]:
    last = after - timedelta(days=1 + row["back"] * days)
    first = last - timedelta(days=days - 1)
    if days == 1:
        return {
            "tag": row["tag"],
            "active_users": row["users"],
            "date": f"{last}",
            "period_start": None,
            "period_end": None,
        }
    named = f"Week {{}} ({first:%b %d})" if days == 7 else f"Month {{}} ({first:%b})"
    return {
        "tag": row["tag"], "active_users": row["users"], "date": named.format(PERIODS - row["back"]),
        "period_start": f"{first}", "period_end": f"{last}",
    }  # fmt: skip


def summary(first: date, last: date, tags: Tags, scope: Scope, kept: Kept) -> tuple[str, list[Any]]:
    rows, arguments = by_tag(first, last + timedelta(days=1), tags, scope, kept, wanted=_SUMS)
    sums = whole_numbers(_SUMS)
    return (
        f"WITH used AS (SELECT tag, user_id, {sums} FROM ({rows}) AS d GROUP BY tag, user_id HAVING sum(requests) > 0)"
        f" SELECT tag, count(user_id)::bigint AS users, {sums} FROM used GROUP BY tag ORDER BY sum(requests) DESC, tag LIMIT {ROWS_MAX + 1}",
        arguments,
    )


def shown_summary(row: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "tag": row["tag"], "unique_users": row["users"], "total_requests": row["requests"],
        "successful_requests": row["successes"], "failed_requests": row["failures"],
        "total_tokens": row["input_tokens"] + row["output_tokens"], "total_spend": usd(row["spend_picousd"]),
    }  # fmt: skip


def distinct(scope: Scope, kept: Kept, after: date) -> tuple[str, list[Any]]:
    """Clients by how often they called, ever."""
    query = SpendQuery(
        midnight(EPOCH), midnight(after), ZoneInfo("UTC"), "none", ("tag",), {}, 1, previous=False, csv=False
    )
    made = Statement(("requests",))
    rows = cube_rows(made, query, Plan("cube", "year"), scope, kept, True)
    return (
        f"SELECT tag FROM ({rows}) AS r WHERE starts_with(tag, {made.add(USER_AGENT)})"
        f" GROUP BY tag HAVING sum(requests) > 0 ORDER BY sum(requests) DESC, tag LIMIT {DISTINCT_MAX}",
        made.arguments,
    )


def per_user(today: date, tags: Tags, scope: Scope, offset: int, limit: int) -> tuple[str, list[Any]]:
    """Of the calls themselves: sums by tag can't say which had several. `agent`: of the tags asked
    for, or of clients, the one a user had most; `of`: how many users there are.
    """
    made = Statement()
    book = of_days(made.add(today - timedelta(days=PER_USER_DAYS - 1)), made.add(today))
    if tags.names:
        asked = f"t = ANY({made.add(list(tags.names))}::text[])"
    elif tags.part is not None:
        asked = f"position(lower({made.add(tags.part)}) IN lower(t)) > 0"
    else:
        asked = f"starts_with(t, {made.add(USER_AGENT)})"
    where = ["b.outcome <> 'refused'", "b.user_id IS NOT NULL", "b.tags <> '{}'", *of_scope(made, scope, "b")]
    if tags.names or tags.part is not None:
        where.append("k.tag IS NOT NULL")
    return (
        "SELECT b.user_id, mode() WITHIN GROUP (ORDER BY k.tag) AS agent, count(*) AS requests,"
        " count(*) FILTER (WHERE b.outcome = 'success') AS successes, sum(b.input_tokens + b.output_tokens)::bigint AS tokens,"
        " coalesce(sum(b.cost_picousd), 0) AS spend_picousd, count(*) OVER () AS of"
        f" FROM {book} AS b LEFT JOIN LATERAL (SELECT t AS tag FROM unnest(b.tags) WITH ORDINALITY AS u (t, n) WHERE {asked}"
        f" ORDER BY n LIMIT 1) AS k ON true WHERE {' AND '.join(where)} GROUP BY b.user_id"
        f" ORDER BY successes DESC, b.user_id LIMIT {made.add(limit)} OFFSET {made.add(offset)}",
        made.arguments,
    )


def shown_user(row: Mapping[str, Any], email: str | None) -> dict[str, Any]:
    return {
        "user_id": row["user_id"], "user_email": email, "user_agent": row["agent"], "successful_requests": row["successes"],
        "failed_requests": row["requests"] - row["successes"], "total_requests": row["requests"], "total_tokens": row["tokens"],
        "spend": usd(row["spend_picousd"]),
    }  # fmt: skip


def handlers(api: Api) -> dict[str, Handler]:
    def answered(rows: list[Any], shown: list[dict[str, Any]]) -> web.Response:
        cut = {CUT_HEADER: str(ROWS_MAX)} if len(rows) > ROWS_MAX else {}
        return answers.json_answer({"results": shown[:ROWS_MAX]}, cut)

    def of_period(route: str) -> Handler:
        async def users(request: web.Request) -> web.StreamResponse:
            scope, tags, days = scope_of(await api.identify(request, route)), tags_of(request), PERIOD_DAYS[route]
            after = datetime.now(UTC).date() + timedelta(days=2)  # the last ends tomorrow, as LiteLLM's do
            rows = await api.book().of_cube(
                midnight(begins(days, after)), midnight(after), lambda kept: active(days, after, tags, scope, kept)
            )
            return answered(rows, [shown_period(row, days, after) for row in rows])

        return users

    async def summed(request: web.Request) -> web.StreamResponse:
        scope, tags = scope_of(await api.identify(request, "/tag/summary")), tags_of(request)
        for name in ("start_date", "end_date"):
            if not request.query.get(name):
                refuse(name, "is needed: YYYY-MM-DD")
        first, last = params.recent_days(request.query, datetime.now(UTC).date(), usual=1, most=DAYS_MAX)
        first, last = max(first, EPOCH), min(last, date(9998, 12, 31))
        if first > last:
            return answered([], [])
        rows = await api.book().of_cube(
            midnight(first), midnight(last + timedelta(days=1)), lambda kept: summary(first, last, tags, scope, kept)
        )
        return answered(rows, [shown_summary(row) for row in rows])

    async def clients(request: web.Request) -> web.StreamResponse:
        scope = scope_of(await api.identify(request, "/tag/distinct"))
        after = datetime.now(UTC).date() + timedelta(days=2)
        rows = await api.book().of_cube(midnight(EPOCH), midnight(after), lambda kept: distinct(scope, kept, after))
        return answers.json_answer({"results": [{"tag": row["tag"]} for row in rows]})

    async def people(request: web.Request) -> web.StreamResponse:
        caller, seq = await api.identified(request, "/tag/user-agent/per-user-analytics")
        page = params.integer(request.query, "page", 1, 1, PAGE_MAX)
        size = params.integer(request.query, "page_size", PAGE_SIZE, 1, PAGE_SIZE_MAX)
        ask = (datetime.now(UTC).date(), tags_of(request), scope_of(caller))
        sql, arguments = per_user(*ask, (page - 1) * size, size)
        rows = await api.book().fetch(sql, *arguments)
        if not rows and page > 1:  # a page behind the last says how many there are, too
            sql, arguments = per_user(*ask, 0, 1)
            total = sum(row["of"] for row in await api.book().fetch(sql, *arguments))
        else:
            total = rows[0]["of"] if rows else 0
        known = await api.asking.stored(USER, seq, [row["user_id"] for row in rows]) if rows else []
        emails = {user.user_id: user.user_email for user in known}
        return answers.json_answer(
            {
                "results": [shown_user(row, emails.get(row["user_id"])) for row in rows],
                "total_count": total, "page": page, "page_size": size, "total_pages": -(-total // size),
            }
        )  # fmt: skip

    return {
        **{route: of_period(route) for route in PERIOD_DAYS},
        "/tag/summary": summed,
        "/tag/distinct": clients,
        "/tag/user-agent/per-user-analytics": people,
    }
