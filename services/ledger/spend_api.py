"""`/spend/query`: spend by every mix of dimensions and times."""

import asyncio
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from aiohttp import web
from multidict import MultiMapping

from services.ledger import answers, spend_query
from services.ledger.answers import Handler
from services.ledger.api import Api
from services.ledger.asking import Scope, scope_of
from services.ledger.params import refuse
from services.ledger.spend_query import SpendQuery
from services.ledger.statement import SUMS
from shared.money import format_usd, usd_from_picousd

SUMS_SHOWN = (*SUMS[:-1], "spend_usd", "spend")
ROWS_AT_A_TIME = 1_000


def handlers(api: Api) -> dict[str, Handler]:
    async def by_url(request: web.Request) -> web.StreamResponse:
        return await _answer(api, request, asked_by_url(request.query))

    async def by_body(request: web.Request) -> web.StreamResponse:
        return await _answer(api, request, await answers.json_body(request))

    return {"/spend/query": by_url, "POST /spend/query": by_body}


def asked_by_url(query: MultiMapping[str]) -> dict[str, str]:
    """What is given several times are several values, where there may be such. Raises
    RefusedError.
    """
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
    columns = [*(["bucket"] if query.bucket != "none" else []), *query.group_by, "other", *SUMS_SHOWN[:-1]]
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
    sums = (0,) * len(SUMS) if total is None else [total[name] for name in SUMS]
    return {
        "from": query.first.astimezone(query.zone).isoformat(),
        "to": query.end.astimezone(query.zone).isoformat(),
        "source": source,
        "total": dict(zip(SUMS_SHOWN, _sums(*sums), strict=True)),
        "data": await _data(query, rows),
    }


async def _data(query: SpendQuery, rows: Sequence[Any]) -> list[dict[str, Any]]:
    """Rows of spend_sql.build as they are shown. There may be tens of thousands: the loop has
    others to serve meanwhile.
    """
    dimensions = len(query.group_by)
    names = (
        *(("bucket",) if query.bucket != "none" else ()), *((*query.group_by, "other") if dimensions else ()), *SUMS_SHOWN,
    )  # fmt: skip
    buckets: dict[int | None, tuple[str, ...]] = {None: ()}
    shown: list[dict[str, Any]] = []
    for number, row in enumerate(rows):
        if number % ROWS_AT_A_TIME == 0:
            await asyncio.sleep(0)
        at, other, *values, spend = row.values()
        bucket = buckets.get(at)
        if bucket is None:
            bucket = buckets[at] = (_bucket(query, at),)
        if dimensions:
            values.insert(dimensions, other)
        shown.append(dict(zip(names, (*bucket, *values, *_money(spend)), strict=True)))
    return shown


def _bucket(query: SpendQuery, at: int) -> str:
    if query.bucket == "hour":
        return spend_query.instant(at, query.zone).isoformat()
    return spend_query.day_of(at, query.zone)


def _sums(*sums: Any) -> tuple[Any, ...]:
    """Of SUMS, as SUMS_SHOWN."""
    *counts, spend = sums
    return (*counts, *_money(spend))


def _money(spend: Any) -> tuple[str, float]:
    """As a decimal string, exact; and as the nearest float, for those who are used to it."""
    picousd = int(spend)
    return format_usd(picousd), usd_from_picousd(picousd)
