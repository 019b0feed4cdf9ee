"""HTTP: one handler, one table of routes, one error boundary.

aiohttp's low-level server: no router, no middlewares, since every path is in `routes.TABLE`. Its handler is cancelled when
the client leaves; that is how a provider call ends with its client.
"""

import asyncio
import logging
import time
from collections.abc import Callable

import msgspec
import structlog
from aiohttp import web

from services.edge import admin, book, metrics, reading
from services.edge.answering import JSON, SAFE_HEADERS
from services.edge.exchange import Answer
from services.edge.pipeline import Pipeline, now_ms
from services.edge.routes import Route, find
from services.edge.upstream import Origin
from services.edge.whole import WholeAnswer
from shared import errors
from shared import grant as grants_
from shared.errors import Refusal, RefusedError, render
from shared.grant import Denial

log = structlog.get_logger()

_quiet = logging.getLogger("tollgate.aiohttp")
_quiet.setLevel(logging.CRITICAL)
"""For what aiohttp would log of broken connections: anybody can cause it. What is our fault, `handle` logs."""

LINE_BYTES_MAX = 8190
HEADERS_MAX = 100
HEADER_BYTES_MAX = 16_384
KEEPALIVE_S = 75
LINGERING_S = 2.0
"""For a client to read its refusal while the rest of its body is thrown away."""
MODEL_CREATED = 1677610602
"""LiteLLM's constant."""


_CLOSING = ("body_too_large", "unsupported_encoding", "unreadable_body", "malformed_http")
"""What is left of the request can't be told from the next one, or isn't worth reading."""


class _Connection(web.RequestHandler):
    """aiohttp's connection, with its own errors (a request that isn't HTTP) in OpenAI's shape, and without a log line each:
    anybody can cause them."""

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        if request.writer.output_size > 0:
            raise ConnectionError("too late for another answer")
        if status < 500:
            metrics.refused("malformed_http")
            return _refusal(errors.malformed_http(status))
        log.error("request_failed", exc_info=exc)
        return _refusal(errors.internal())


class _OpenAIServer(web.Server):
    def __call__(self) -> web.RequestHandler:
        return _Connection(self, loop=self._loop, **self._kwargs)


class Server:
    """
    Args:
        ledger: where the book's questions go: (origin, base path).
        stopping: whether connections should end after their present request.
        reason_not_ready: as the probes have it.
    """

    def __init__(
        self,
        pipeline: Pipeline,
        ledger: tuple[Origin, str],
        stopping: Callable[[], bool],
        reason_not_ready: Callable[[], str | None],
    ) -> None:
        self._pipeline = pipeline
        self._ledger = ledger
        self._stopping = stopping
        self._reason_not_ready = reason_not_ready
        self.running = 0
        self.idle = asyncio.Event()
        self.idle.set()

    def make(self) -> web.Server:
        bytes_max = self._pipeline.settings.edge_body_bytes_max
        loop = asyncio.get_running_loop()

        def request_factory(message, payload, protocol, writer, task):  # type: ignore[no-untyped-def]
            return web.BaseRequest(message, payload, protocol, writer, task, loop, client_max_size=bytes_max)

        return _OpenAIServer(
            self.handle,  # type: ignore[arg-type]  # a WholeAnswer has all that aiohttp asks of a response
            request_factory=request_factory,
            handler_cancellation=True,
            access_log=None,
            keepalive_timeout=KEEPALIVE_S,
            max_line_size=LINE_BYTES_MAX,
            max_headers=HEADERS_MAX,
            max_field_size=HEADER_BYTES_MAX,
            lingering_time=LINGERING_S,
            auto_decompress=False,  # reading.py does, and stops a bomb at once: this would go on unpacking while it lingers
            logger=_quiet,
        )

    async def handle(self, request: web.BaseRequest) -> Answer:
        """The error boundary: a RefusedError becomes its answer; anything else is logged and answered without a word of it."""
        if self.running >= self._pipeline.settings.edge_requests_max:
            return _refusal(errors.overloaded())
        self.running += 1
        self.idle.clear()
        response: Answer
        try:
            response = await self._dispatch(request)
        except RefusedError as no:
            metrics.refused(no.refusal.code)
            response = _instead(request, no)
        except ConnectionError:
            response = WholeAnswer(499, "", b"")  # nobody is there to read it: aiohttp finds that out and closes
        except Exception:
            log.exception("request_failed", path=request.path[:200])
            response = _instead(request, RefusedError(errors.internal()))
        finally:
            self.running -= 1
            if self.running == 0:
                self.idle.set()
        if self._stopping():
            response.force_close()
        return response

    async def _dispatch(self, request: web.BaseRequest) -> Answer:
        route = find(request.path)
        if route is None:
            raise RefusedError(errors.not_found(request.method, request.path))
        if request.method not in route.methods:
            raise RefusedError(errors.method_not_allowed(request.method, request.path))
        if route.kind == "llm":
            return await self._pipeline.serve(request, route)
        if route.kind == "models":
            return await self._models(request, route)
        if route.kind == "admin":
            pipeline = self._pipeline
            return await admin.serve(request, route, pipeline.bus_client, pipeline.grants, pipeline.settings)
        if route.kind == "book":
            return await book.serve(request, self._pipeline.upstream, *self._ledger)
        return self._health(route)

    async def _models(self, request: web.BaseRequest, route: Route) -> web.Response:
        """The models this caller may use, in OpenAI's shape."""
        started = time.perf_counter()
        head = reading.head(request)
        decision = await self._pipeline.grants.decide(head.digest, head.shape, route.name, "")
        if isinstance(decision, Denial):
            await self._pipeline.refuse(decision.refusal, route, head, decision.caller)
        outcome = grants_.apply(decision, grants_.Ask([], {}), now_ms(), float)
        if isinstance(outcome, Refusal):
            await self._pipeline.refuse(outcome, route, head, decision.caller)
        data = [
            {"id": name, "object": "model", "created": MODEL_CREATED, "owned_by": "openai"} for name in decision.models
        ]
        metrics.of_route(route.name).note_answered(time.perf_counter() - started)
        return _json({"data": data, "object": "list"})

    def _health(self, route: Route) -> web.Response:
        """LiteLLM's shapes (contract §14.3)."""
        if route.name != "/health/readiness":
            if self._stopping():
                return _json({"status": "shutting_down"}, 503)
            return _json("I'm alive!")
        reason = self._reason_not_ready()
        if reason is None:
            return _json({"status": "healthy", "db": "connected"})
        return _json({"status": "unhealthy", "db": "Not connected", "reason": reason}, 503)


def _json(value: object, status: int = 200) -> web.Response:
    return web.Response(body=msgspec.json.encode(value), status=status, content_type=JSON, headers=dict(SAFE_HEADERS))


def _instead(request: web.BaseRequest, no: RefusedError) -> Answer:
    """The refusal as the answer, unless a part of another is out already: then the connection is cut."""
    if request.writer.output_size == 0:
        response = _refusal(no.refusal)
        call_id = no.call_id or reading.call_id(request)
        if call_id is not None:
            response.headers["x-litellm-call-id"] = call_id
        if no.request_id is not None:
            response.headers["x-tollgate-request-id"] = no.request_id
        return response
    if request.transport is not None:
        request.transport.abort()
    return WholeAnswer(499, "", b"")


def _refusal(refusal: Refusal) -> web.Response:
    headers = dict(SAFE_HEADERS)
    if refusal.retry_after_s is not None:
        headers["Retry-After"] = str(refusal.retry_after_s)
    response = web.Response(body=render(refusal), status=refusal.status, content_type=JSON, headers=headers)
    if refusal.code in _CLOSING:
        response.force_close()
    return response
