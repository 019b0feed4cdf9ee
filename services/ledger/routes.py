"""The ledger's HTTP API: path → handler, and the one place where a refusal becomes an answer."""

from collections.abc import Callable
from typing import Any

import msgspec
import structlog
from aiohttp import web

from services.ledger import (
    answers,
    audit_summary,
    checkpoint_api,
    daily_activity,
    export_api,
    guardrail_report,
    logs_page,
    metrics,
    open_api,
    questions,
    retention_api,
    spend_api,
    spend_calculate,
    spend_global,
    tags_api,
)
from services.ledger.answers import CUT_HEADER, Handler
from services.ledger.asking import ADMIN_ROLES, Asking, scope_of
from services.ledger.database import DATABASE_ERRORS
from services.ledger.export_api import Exporter
from services.ledger.report import LOGS_MAX, TAGS_MAX, Report
from services.ledger.retention import Terms
from services.ledger.spend_calculate import Prices
from services.ledger.telling import Teller
from shared import errors, routes, service
from shared.bus import BusClient
from shared.errors import Refusal, RefusedError
from shared.facts import Caller
from shared.service import Life

log = structlog.get_logger()

"""How many rows an answer was cut to; not there when it is whole."""
CONCURRENT_MAX = 64
"""Questions answered at a time; more are refused."""
HEADER_BYTES_MAX = 16_384
WRITERS = frozenset(("proxy_admin",))

EVERYTHING = Terms()


class Api:
    def __init__(
        self,
        life: Life,
        asking: Asking,
        report: Callable[[], Report | None],
        client: BusClient,
        prices: Prices,
        exporter: Exporter,
        terms: Terms = EVERYTHING,
        *,
        shows_audit: bool = True,
    ) -> None:
        self._shows_audit = shows_audit
        self._life = life
        self.client = client
        self.teller = Teller(client)
        self.prices = prices
        self.exporter = exporter
        self.terms = terms
        self.asking = asking
        self._report = report
        """None while there is no database yet."""
        self._running = 0

    def app(self) -> web.Application:
        app = web.Application(
            middlewares=[self._boundary],
            handler_args={"max_field_size": HEADER_BYTES_MAX},
            client_max_size=answers.BODY_BYTES_MAX,
        )
        handlers = self.handlers()
        for route in routes.of_surface("ledger"):
            for path in route.paths:
                for method in route.methods:
                    app.router.add_route(method, path.replace(":path}", ":.+}"), handlers[route.name])
        return app

    def handlers(self) -> dict[str, Handler]:
        """Each route of this service's surface, by its name in the table, and who answers it."""
        return {
            "/spend/tags": self.spend_tags,
            "/spend/logs": self.spend_logs,
            "/audit": self.audit,
            "/audit/{id}": self.audit_entry,
            **spend_api.handlers(self),
            **retention_api.handlers(self),
            **spend_global.handlers(self),
            **daily_activity.handlers(self),
            **spend_calculate.handlers(self),
            **logs_page.handlers(self),
            **export_api.handlers(self),
            **audit_summary.handlers(self),
            **checkpoint_api.handlers(self),
            **guardrail_report.handlers(self),
            **open_api.handlers(self),
            **tags_api.handlers(self),
        }

    async def spend_tags(self, request: web.Request) -> web.StreamResponse:
        caller = await self.identify(request, "/spend/tags")
        rows, cut = await self.book().tags(scope_of(caller), questions.days(request.query))
        return answers.json_answer(rows, {CUT_HEADER: str(TAGS_MAX)} if cut else {})

    async def spend_logs(self, request: web.Request) -> web.StreamResponse:
        caller = await self.identify(request, "/spend/logs")
        question, book, scope = questions.logs(request.query), self.book(), scope_of(caller)
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

    async def audit(self, request: web.Request) -> web.StreamResponse:
        await self._identify_admin(request)
        return answers.json_answer(await self.book().audit_page(questions.audit(request.query)))

    async def audit_entry(self, request: web.Request) -> web.StreamResponse:
        await self._identify_admin(request)
        fact_id = questions.text(request.match_info, "id") or ""
        entry = await self.book().audit_entry(fact_id)
        if entry is None:
            return answers.json_answer({"detail": {"message": f"Audit log with ID {fact_id} not found"}}, status=404)
        return answers.json_answer(entry)

    async def identify(self, request: web.Request, route: str) -> Caller:
        """The caller, allowed to take this route. Raises RefusedError."""
        return (await self.identified(request, route))[0]

    async def identified(self, request: web.Request, route: str) -> tuple[Caller, int]:
        """The same, and the CONTROL sequence at which they are that."""
        body = await answers.read_body(request)
        return await self.asking.identified(request.headers.get, route, request.method, request.raw_path, body)

    async def identify_admin(self, request: web.Request, route: str, *, write: bool = False) -> Caller:
        """Policy has the say; that only admins see the whole book, and only those who may write change it, is checked here once more."""
        caller = await self.identify(request, route)
        if route.startswith("/audit") and not self._shows_audit:
            raise RefusedError(errors.not_found(request.method, request.path))
        if caller.role not in (WRITERS if write else ADMIN_ROLES):
            raise RefusedError(errors.admin_only_route(route) if write else errors.admin_only(route, caller.role))
        return caller

    async def _identify_admin(self, request: web.Request) -> None:
        await self.identify_admin(request, "/audit")

    def book(self) -> Report:
        """Raises RefusedError while there is no database."""
        report = self._report()
        if report is None:
            raise RefusedError(errors.ledger_unavailable())
        return report

    @web.middleware
    async def _boundary(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        answer: web.StreamResponse
        if self._life.stopping.is_set():
            answer = _refusal(errors.shutting_down())
        elif self._running >= CONCURRENT_MAX:
            answer = _refusal(errors.overloaded())
        else:
            self._running += 1
            try:
                answer = await self._guarded(request, handler)
            finally:
                self._running -= 1
        resource = request.match_info.route.resource
        metrics.QUERIES.labels(resource.canonical if resource else "other", str(answer.status)).inc()
        return answer

    async def _guarded(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        try:
            return await handler(request)
        except RefusedError as error:
            return _refusal(error.refusal)
        except web.HTTPNotFound:
            return _refusal(errors.not_found(request.method, request.path))
        except web.HTTPMethodNotAllowed:
            return _refusal(errors.method_not_allowed(request.method, request.path))
        except DATABASE_ERRORS as error:
            log.warning("book_not_answering", error=type(error).__name__, detail=str(error)[:200])
            return _refusal(errors.ledger_unavailable())
        except Exception:
            log.exception("question_failed", path=request.path)
            return _refusal(errors.internal())


def _items(rows: list[dict[str, Any]]) -> bytes:
    return msgspec.json.encode(rows)[1:-1]


def _refusal(refusal: Refusal) -> web.Response:
    headers = {} if refusal.retry_after_s is None else {"Retry-After": str(refusal.retry_after_s)}
    if refusal.decision is not None:
        headers[errors.DECISION] = refusal.decision
    return web.Response(
        body=errors.render(refusal), status=refusal.status, headers=headers, content_type="application/json"
    )


async def serve(api: Api, host: str, port: int) -> web.AppRunner:
    runner = web.AppRunner(api.app(), access_log=None, shutdown_timeout=5)
    await runner.setup()
    await service.listen(runner, host, port, "ledger")
    return runner
