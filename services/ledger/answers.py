"""What the ledger's handlers are made of: bodies read, answers rendered."""

import csv
import io
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Any

import msgspec
from aiohttp import web

from shared import errors
from shared.decoding import UNREADABLE
from shared.errors import RefusedError

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
BODY_BYTES_MAX = 1024 * 1024
CUT_HEADER = "x-tollgate-rows-cut"
"""How many rows an answer has, where there are more."""


def json_answer(value: Any, headers: dict[str, str] | None = None, status: int = 200) -> web.Response:
    return web.Response(
        body=msgspec.json.encode(value), status=status, headers=headers, content_type="application/json"
    )


def csv_answer(columns: Sequence[str], rows: Iterable[Sequence[Any]], name: str) -> web.Response:
    """A text that begins like a formula gets an apostrophe: a tag is anybody's word, and
    spreadsheets run what begins with `=`.
    """
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(columns)
    for row in rows:
        writer.writerow(["'" + cell if isinstance(cell, str) and cell[:1] in FORMULA else cell for cell in row])
    headers = {"Content-Disposition": f'attachment; filename="{name}"'}
    return web.Response(body=text.getvalue().encode(), headers=headers, content_type="text/csv", charset="utf-8")


FORMULA = ("=", "+", "-", "@", "\t", "\r")


async def read_body(request: web.Request) -> bytes:
    """Kept by the request, so that it may be read again. Raises RefusedError."""
    if not request.body_exists:
        return b""
    try:
        return await request.read()
    except web.HTTPRequestEntityTooLarge:
        raise RefusedError(errors.bad_request(f"The body is larger than {BODY_BYTES_MAX} bytes")) from None
    except (ConnectionError, web.RequestPayloadError):
        raise RefusedError(errors.bad_request("The body could not be read")) from None


async def json_body(request: web.Request) -> dict[str, Any]:
    """The body, an object. An empty one is {}. Raises RefusedError."""
    raw = await read_body(request)
    if not raw.strip():
        return {}
    try:
        value = msgspec.json.decode(raw)
    except UNREADABLE as error:
        raise RefusedError(errors.bad_request(f"The body is no JSON: {str(error)[:200]}")) from None
    if not isinstance(value, dict):
        raise RefusedError(errors.bad_request("The body must be a JSON object"))
    return value
