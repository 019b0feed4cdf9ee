"""`/spend/query`: spend by every mix of dimensions and times."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from aiohttp import web
from multidict import MultiMapping

from services.ledger import answers, spend_query
from services.ledger.answers import Handler
from services.ledger.api import Api
from services.ledger.asking import Scope, scope_of
from services.ledger.questions import refuse
from services.ledger.spend_query import SpendQuery
from shared.money import format_usd, usd_from_picousd

COUNTS = ("requests", "successes", "failures", "input_tokens", "output_tokens", "unpriced")


def handlers(api: Api) -> dict[str, Handler]:
    async def by_url(request: web.Request) -> web.StreamResponse:
        return await _answer(api, request, asked_by_url(request.query))

    async def by_body(request: web.Request) -> web.StreamResponse:
        return await _answer(api, request, await answers.json_body(request))

    return {"/spend/query": by_url, "POST /spend/query": by_body}


def asked_by_url(query: MultiMapping[str]) -> dict[str, str]:
    """What is given several times are several values, where there may be such. Raises RefusedError."""
    found = {}
    for name in dict.fromkeys(query):
        values = query.getall(name)
        if len(values) > 1 and name not in (*spend_query.DIMENSIONS, "group_by", "by"):
            refuse(name[:80], "is given twice")
        found[name] = ",".join(values)
    return found


async def _answer(api: Api, request: web.Request, asked: Mapping[str, Any]) -> web.StreamResponse:
    caller = await api.identify(request, "/spend/query")
    query = spend_query.parse(asked, datetime.now(UTC))
    found = await result(api, query, scope_of(caller))
    if not query.csv:
        return answers.json_answer(found)
    columns = [*(["bucket"] if query.bucket != "none" else []), *query.group_by, "other", *COUNTS, "spend_usd"]
    rows = [[row.get(name) for name in columns] for row in found["data"]]
    return answers.csv_answer(columns, rows, "spend.csv")


async def result(api: Api, query: SpendQuery, scope: Scope) -> dict[str, Any]:
    """The question's answer as it is shown."""
    book = api.book()
    answer = await _period(book, query, scope)
    answer = {
        "time_zone": query.zone.key,
        "bucket": query.bucket,
        "group_by": list(query.group_by),
        "filters": {name: list(values) for name, values in query.filters.items()},
        **answer,
    }
    if query.previous:
        answer["previous"] = await _period(book, spend_query.before(query), scope)
    return answer


async def _period(book: Any, query: SpendQuery, scope: Scope) -> dict[str, Any]:
    source, rows, total = await book.spend(query, scope)
    return {
        "from": query.first.astimezone(query.zone).isoformat(),
        "to": query.end.astimezone(query.zone).isoformat(),
        "source": source,
        "total": _sums(total),
        "data": [_row(query, row) for row in rows],
    }


def _row(query: SpendQuery, row: Mapping[str, Any]) -> dict[str, Any]:
    shown: dict[str, Any] = {}
    if query.bucket != "none":
        at = row["bucket"].astimezone(query.zone)
        shown["bucket"] = at.isoformat() if query.bucket == "hour" else at.date().isoformat()
    for n, name in enumerate(query.group_by):
        shown[name] = row[f"d{n}"]
    if query.group_by:
        shown["other"] = row["other"]
    return shown | _sums(row)


def _sums(row: Mapping[str, Any] | None) -> dict[str, Any]:
    """Money as a decimal string, exact; `spend` is the nearest float, for those who are used to it."""
    picousd = int(row["spend_picousd"] or 0) if row is not None else 0
    counts = {name: int(row[name] or 0) if row is not None else 0 for name in COUNTS}
    return {**counts, "spend_usd": format_usd(picousd), "spend": usd_from_picousd(picousd)}
