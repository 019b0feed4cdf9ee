"""`/export`: the book's days into the place that the operator named (TOLLGATE_EXPORT_URL), at an
administrator's word.

Where to isn't for a caller to say: it would be a way to write anywhere the ledger can.
"""

from datetime import UTC, datetime, timedelta

from aiohttp import web

from services.ledger import answers, export, params
from services.ledger.answers import Handler
from services.ledger.api import Api
from services.ledger.params import refuse
from shared import errors
from shared.bus import BusError
from shared.errors import RefusedError


def handlers(api: "Api") -> dict[str, Handler]:
    async def show(request: web.Request) -> web.StreamResponse:
        await api.identify_admin(request, "/export")
        return answers.json_answer({"configured": bool(api.exporter.url), **api.exporter.status})

    async def start(request: web.Request) -> web.StreamResponse:
        caller = await api.identify_admin(request, "/export", write=True)
        body = await answers.json_body(request)
        for name in body:
            if name not in ("from", "until", "format"):
                refuse(str(name)[:80], "isn't known; there are from, until and format")
        if not api.exporter.url:
            raise RefusedError(errors.bad_request("No place to export to: the operator sets TOLLGATE_EXPORT_URL"))
        form = body.get("format")
        if form is not None and (not isinstance(form, str) or form not in export.FORMATS):
            refuse("format", f"must be one of {', '.join(export.FORMATS)}")
        texts = {name: body[name] for name in ("from", "until") if body.get(name) is not None}
        for name, value in texts.items():
            if not isinstance(value, str):
                refuse(name, "must be a day like 2026-11-23")
        first, last = (
            params.day(texts, "from"),
            params.day(texts, "until") or datetime.now(UTC).date() - timedelta(days=1),
        )
        if first is not None and first > last:
            refuse("from", "must not be after until")
        if api.exporter.running:
            raise RefusedError(errors.conflict("An export is running: this one"))
        try:
            await api.exporter.start(first, last, form, caller)
        except BusError:
            raise RefusedError(errors.policy_unavailable()) from None
        return answers.json_answer(api.exporter.status, status=202)

    return {"/export": show, "POST /export": start}
