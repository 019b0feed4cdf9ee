"""`/spend/logs/v2` and `/spend/logs/ui`: calls, filtered and in pages.

With `count=false` (ours) and by time, what a page costs doesn't grow with the book: nothing is
counted, and it is looked for in the days where it begins, each of which is a table of its own.
"""

from collections.abc import Iterator, Mapping
from datetime import UTC, date, datetime, timedelta
from typing import Any, NamedTuple

from aiohttp import web

from services.ledger import answers, params, sanitize
from services.ledger.answers import Handler
from services.ledger.api import Api
from services.ledger.asking import Scope, scope_of
from services.ledger.book_sql import of_days
from services.ledger.facts_in import place
from services.ledger.params import refuse
from services.ledger.queries import LogKey
from services.ledger.statement import Statement, of_scope
from shared.money import picousd_from_usd

SORTS = {
    "startTime": "id", "endTime": "ended_at_ms", "spend": "cost_picousd", "total_tokens": "input_tokens + output_tokens",
    "request_duration_ms": "ended_at_ms - at_ms", "model": "model", "ttft_ms": "first_byte_at_ms - at_ms",
}  # fmt: skip
EQUAL = {
    "user_id": "user_id", "team_id": "team_id", "session_id": "session_id", "model": "coalesce(upstream_model, model)",
    "model_id": "deployment_id", "model_group": "model", "key_alias": "key_alias", "end_user": "customer_id", "error_code": "error_code",
}  # fmt: skip
"""Parameter → what must be equal to it."""
DEPTH_MAX = 100_000
"""Rows that pages reach; deeper, narrow the range or use `cursor`."""
VIEWER = "proxy_admin_viewer"
SESSION_DAYS = 31
NOT_KEPT = ("error_message", "span_type", "used_client_oauth_token", "group_by_session", "session_cursor")
"""LiteLLM's parameters about what the book doesn't have: asked for, they must not be answered as if
they weren't.
"""


SPANS_DAYS = (2, 14, 100)
"""How far it is looked for at first, from where a page begins."""

_BOOK = f"{of_days('$1', '$2')} AS request_book"


class Page(NamedTuple):
    sql: str
    count_sql: str
    """Empty: nobody asks how many there are."""
    arguments: list[Any]
    """First and last day, and more."""
    page: int
    size: int
    from_end: bool | None = None
    """By time alone, from the range's beginning, or (true) from its end; None: in another order, or
    from the middle of it.
    """
    begins: date | None = None
    """The day of the cursor."""

    def spans(self) -> Iterator[list[Any]]:
        """Arguments for the days to look at, one after the other until there is enough; the last
        are all of them.
        """
        first, last, *more = self.arguments
        if self.from_end is not None:
            if self.begins is not None:
                first, last = (first, min(last, self.begins)) if self.from_end else (max(first, self.begins), last)
            for days in SPANS_DAYS:
                if last - first >= timedelta(days=days):
                    step = timedelta(days=days - 1)
                    yield [last - step, last, *more] if self.from_end else [first, first + step, *more]
        yield [first, last, *more]


def handlers(api: Api) -> dict[str, Handler]:
    def of(route: str) -> Handler:
        async def handler(request: web.Request) -> web.StreamResponse:
            scope = scope_of(await api.identify(request, route))
            return await answer(request.query, scope)

        return handler

    async def answer(query: Mapping[str, str], scope: Scope) -> web.StreamResponse:
        asked = build(query, scope)
        report = api.book()
        total = int((await report.fetch(asked.count_sql, *asked.arguments))[0][0]) if asked.count_sql else None
        found: list[Any] = []
        if total is None or (asked.page - 1) * asked.size < total:
            for arguments in asked.spans():
                found = await report.fetch(asked.sql, *arguments)
                if len(found) == asked.size:
                    break
        keys = [LogKey(*row.values()) for row in found]
        data = [row async for rows in report.log_rows(keys) for row in rows]
        return answers.json_answer(
            {
                "data": data, "total": total, "page": asked.page, "page_size": asked.size,
                "total_pages": None if total is None else -(-total // asked.size),
                "next_cursor": str(keys[-1].id) if len(keys) == asked.size else None,
            }
        )  # fmt: skip

    async def one(request: web.Request) -> web.StreamResponse:
        caller = await api.identify(request, "/spend/logs/ui/{request_id}")
        scope = scope_of(caller)
        question = params.logs({"request_id": request.match_info["request_id"]})
        keys, _ = await api.book().log_keys(scope, question)
        async for rows in api.book().log_rows(keys[:1]):
            # A viewer sees everybody's calls, but nobody's words.
            content = {} if caller.role == VIEWER else await api.book().content(keys[0])
            return answers.json_answer({**rows[0], **content})
        return answers.json_answer({"detail": {"message": "No such request"}}, status=404)

    async def session(request: web.Request) -> web.StreamResponse:
        """The calls of one session, the oldest first, of the last SESSION_DAYS where no dates are
        given.
        """
        scope = scope_of(await api.identify(request, "/spend/logs/session/ui"))
        if not params.text(request.query, "session_id"):
            refuse("session_id", "is needed")
        today = datetime.now(UTC).date()
        asked = {
            "start_date": f"{today - timedelta(days=SESSION_DAYS)}", "end_date": f"{today}", "sort_order": "asc", **request.query,
        }  # fmt: skip
        return await answer(asked, scope)

    return {
        "/spend/logs/session/ui": session,
        "/spend/logs/v2": of("/spend/logs/v2"),
        "/spend/logs/ui": of("/spend/logs/ui"),
        "/spend/logs/ui/{request_id}": one,
    }


def build(query: Mapping[str, str], scope: Scope) -> Page:
    """Raises RefusedError."""
    made = Statement()
    first, last = _instant(query, "start_date", end=False), _instant(query, "end_date", end=True)
    if first > last:
        refuse("start_date", "must not be after end_date")
    for name in NOT_KEPT:
        if query.get(name):
            refuse(name, "isn't kept in the book, so nothing can be found by it")
    made.arguments += [_day(first), _day(last)]
    where = [
        f"id >= {made.add(_low_id(first))}::uuid", f"id <= {made.add(_high_id(last))}::uuid",
    ]  # fmt: skip
    where += of_scope(made, scope, "request_book")
    key = params.key_digest(params.text(query, "api_key"))
    if key is not None:
        where.append(f"key_sha256 = {made.add(key)}")
    for name, column in EQUAL.items():
        value = params.text(query, name)
        if value is not None:
            where.append(f"{column} = {made.add(value)}")
    for name in ("request_id", "search"):
        value = params.text(query, name)
        if value is not None:
            own = place(value)
            given = made.add(value)
            same = [f"response_id = {given}", f"litellm_call_id = {given}"]
            if own is not None:
                same.append(f"id = {made.add(own[0])}::uuid")
            if name == "search":
                same += [f"user_id = {given}", f"customer_id = {given}", f"key_alias = {given}"]
            where.append(f"({' OR '.join(same)})")
    for name, sign in (("min_spend", ">="), ("max_spend", "<=")):
        value = params.text(query, name)
        if value is not None:
            where.append(f"cost_picousd {sign} {made.add(_picousd(name, value))}::bigint")
    status = params.text(query, "status_filter")
    if status is not None:
        if status not in ("success", "failure"):
            refuse("status_filter", "must be success or failure")
        where.append("outcome = 'success'" if status == "success" else "outcome <> 'success'")
    hit = params.text(query, "cache_hit_filter")
    if hit is not None:
        if hit not in ("hit", "miss"):
            refuse("cache_hit_filter", "must be hit or miss")
        where.append(
            f"(spend_logs_metadata::jsonb ->> 'cache_hit') IS {'NOT ' if hit == 'hit' else ''}DISTINCT FROM 'true'"
        )
    condition = " AND ".join(where)
    return _ordered(query, made, condition)


def _ordered(query: Mapping[str, str], made: Statement, condition: str) -> Page:
    sort_by, order = params.text(query, "sort_by") or "startTime", params.text(query, "sort_order") or "desc"
    counted = params.text(query, "count") or "true"
    if counted not in ("true", "false"):
        refuse("count", "must be true or false")
    if sort_by not in SORTS:
        refuse("sort_by", f"must be one of {', '.join(SORTS)}")
    if order not in ("asc", "desc"):
        refuse("sort_order", "must be asc or desc")
    page = params.integer(query, "page", 1, 1, 1_000_000)
    size = params.integer(query, "page_size", 50, 1, 1000)
    count = f"SELECT count(*) FROM {_BOOK} WHERE {condition}" if counted == "true" else ""  # noqa: S608
    arguments = list(made.arguments)
    cursor, begins = params.text(query, "cursor"), None
    if cursor is not None:
        found = place(cursor)
        if found is None or sort_by != "startTime":
            refuse("cursor", "is next_cursor of the page before, sorted by startTime")
        # As a literal: it is a UUID, and the count has the other arguments alone.
        condition += f" AND id {'<' if order == 'desc' else '>'} '{found[0]}'::uuid"
        page, begins = 1, found[1]
    offset = (page - 1) * size
    if offset > DEPTH_MAX:
        refuse("page", f"goes deeper than {DEPTH_MAX} rows: narrow the range, or go on by cursor")
    by_time = sort_by == "startTime"  # as the primary key has it: its order is what NULLS LAST isn't
    by = f"id {order}" if by_time else f"{SORTS[sort_by]} {order} NULLS LAST, id {order}"
    sql = f"SELECT day, id, provisional FROM {_BOOK} WHERE {condition} ORDER BY {by} LIMIT {size} OFFSET {offset}"  # noqa: S608
    return Page(sql, count, arguments, page, size, order == "desc" if by_time and page == 1 else None, begins)


def _instant(query: Mapping[str, str], name: str, *, end: bool) -> int:
    """Unix ms of `YYYY-MM-DD HH:MM:SS` (UTC), or of a day: its first, or its last millisecond."""
    value = params.text(query, name)
    if value is None:
        refuse(name, "is needed, like 2026-11-23 00:00:00")
    try:
        instant = datetime.fromisoformat(value)
        instant = instant if instant.tzinfo is not None else instant.replace(tzinfo=UTC)
        if end:
            instant += timedelta(days=1, milliseconds=-1) if params.is_day(value) else timedelta(milliseconds=999)
        return sanitize.bounded(int(instant.timestamp() * 1000), 0, sanitize.MS_MAX)
    except (ValueError, OverflowError):
        refuse(name, "must be like 2026-11-23 00:00:00")


def _day(ms: int) -> date:
    return datetime.fromtimestamp(ms / 1000, UTC).date()


def _low_id(ms: int) -> str:
    return f"{ms:012x}" + "0" * 20


def _high_id(ms: int) -> str:
    return f"{ms:012x}" + "f" * 20


def _picousd(name: str, value: str) -> int:
    try:
        return picousd_from_usd(value)
    except ValueError:
        refuse(name, "must be an amount in USD")
