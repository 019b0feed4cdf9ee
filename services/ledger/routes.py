"""The ledger's HTTP API: path → handler, and the one place where a refusal becomes an answer."""

import asyncpg
import structlog
from aiohttp import web

from services.ledger import (
    activity_global,
    activity_keys,
    answers,
    audit_api,
    checkpoint_api,
    daily_activity,
    export_api,
    guardrail_report,
    latency_report,
    logs_page,
    metrics,
    open_api,
    retention_api,
    spend_api,
    spend_calculate,
    spend_global,
    spend_logs,
    tag_users,
    tags_api,
)
from services.ledger.answers import Handler
from services.ledger.api import Api
from services.ledger.database import DATABASE_ERRORS, READ_TIMEOUT_MS
from shared import errors, routes, service
from shared.errors import Refusal, RefusedError
from shared.service import Life

log = structlog.get_logger()

CONCURRENT_MAX = 64
"""Questions answered at a time; more are refused."""
HEADER_BYTES_MAX = 16_384


def handlers(api: Api) -> dict[str, Handler]:
    """Each route of this service's surface, by its name in the table, and who answers it."""
    return {
        **spend_logs.handlers(api),
        **audit_api.handlers(api),
        **spend_api.handlers(api),
        **retention_api.handlers(api),
        **spend_global.handlers(api),
        **daily_activity.handlers(api),
        **activity_keys.handlers(api),
        **activity_global.handlers(api),
        **spend_calculate.handlers(api),
        **logs_page.handlers(api),
        **export_api.handlers(api),
        **checkpoint_api.handlers(api),
        **guardrail_report.handlers(api),
        **latency_report.handlers(api),
        **open_api.handlers(api),
        **tags_api.handlers(api),
        **tag_users.handlers(api),
    }


class _Boundary:
    """Around every handler: how many run at a time, and what becomes of what they raise."""

    def __init__(self, life: Life) -> None:
        self._life = life
        self._running = 0

    @web.middleware
    async def middleware(self, request: web.Request, handler: Handler) -> web.StreamResponse:
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
        except asyncpg.QueryCanceledError as error:
            log.warning("question_too_long", path=request.path, detail=str(error)[:200])
            return _refusal(errors.question_too_long(READ_TIMEOUT_MS // 1000))
        except DATABASE_ERRORS as error:
            log.warning("book_not_answering", error=type(error).__name__, detail=str(error)[:200])
            return _refusal(errors.ledger_unavailable())
        except Exception:
            log.exception("question_failed", path=request.path)
            return _refusal(errors.internal())


def _refusal(refusal: Refusal) -> web.Response:
    headers = {} if refusal.retry_after_s is None else {"Retry-After": str(refusal.retry_after_s)}
    if refusal.decision is not None:
        headers[errors.DECISION] = refusal.decision
    return web.Response(
        body=errors.render(refusal), status=refusal.status, headers=headers, content_type="application/json"
    )


def _app(api: Api, life: Life) -> web.Application:
    app = web.Application(
        middlewares=[_Boundary(life).middleware],
        handler_args={"max_field_size": HEADER_BYTES_MAX},
        client_max_size=answers.BODY_BYTES_MAX,
    )
    by_name = handlers(api)
    for route in routes.of_surface("ledger"):
        for path in route.paths:
            for method in route.methods:
                app.router.add_route(method, path.replace(":path}", ":.+}"), by_name[route.name])
    return app


async def serve(api: Api, life: Life, host: str, port: int) -> web.AppRunner:
    runner = web.AppRunner(_app(api, life), access_log=None, shutdown_timeout=5)
    await runner.setup()
    await service.listen(runner, host, port, "ledger")
    return runner
