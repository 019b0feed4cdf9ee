"""`/spend/tags` and `/spend/logs` in the page's own forms."""

from functools import partial
from typing import Any

import msgspec
import structlog
from aiohttp import web

from services.ledger import answers, params
from services.ledger.answers import CUT_HEADER, Handler
from services.ledger.api import Api
from services.ledger.asking import scope_of
from services.ledger.database import DATABASE_ERRORS
from services.ledger.queries import LOGS_MAX, TAGS_MAX
from services.ledger.spend_query import FILTER_VALUES_MAX

log = structlog.get_logger()


def handlers(api: Api) -> dict[str, Handler]:
    return {"/spend/tags": partial(_tags, api), "/spend/logs": partial(_logs, api)}


async def _tags(api: Api, request: web.Request) -> web.StreamResponse:
    caller = await api.identify(request, "/spend/tags")
    asked, names = params.days(request.query), params.words(request.query, "tags", FILTER_VALUES_MAX)
    rows, cut = await api.book().tags(scope_of(caller), asked, names)
    return answers.json_answer(rows, {CUT_HEADER: str(TAGS_MAX)} if cut else {})


async def _logs(api: Api, request: web.Request) -> web.StreamResponse:
    caller = await api.identify(request, "/spend/logs")
    question, book, scope = params.logs(request.query), api.book(), scope_of(caller)
    if question.summarize:
        return answers.json_answer(await book.days(scope, question))
    keys, cut = await book.log_keys(scope, question)
    chunks = book.log_rows(keys)
    first: list[dict[str, Any]] = await anext(chunks, [])
    if len(keys) <= len(first):
        return answers.json_answer(first)
    answer = web.StreamResponse(headers={"Content-Type": "application/json"})
    if cut:
        answer.headers[CUT_HEADER] = str(LOGS_MAX)
    await answer.prepare(request)
    try:
        await answer.write(b"[" + _items(first))
        async for rows in chunks:
            if rows:
                await answer.write(b"," + _items(rows))
        await answer.write_eof(b"]")
    except DATABASE_ERRORS as error:
        log.warning("answer_cut_off", error=type(error).__name__, detail=str(error)[:200])
        if request.transport is not None:
            request.transport.abort()  # half an answer must not look like a whole one
    return answer


def _items(rows: list[dict[str, Any]]) -> bytes:
    return msgspec.json.encode(rows)[1:-1]
