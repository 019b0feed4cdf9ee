"""HTTP: one handler, one table of routes, one error boundary.

No router, no middlewares, since every path is in `routes.TABLE`. The handler is cancelled when the client leaves; that is how
a provider call ends with its client.
"""

import time
from collections.abc import Callable

import msgspec
import structlog

from services.edge import admin, answering, book, metrics, reading
from services.edge.http import Answer, Listener, Request, WholeAnswer
from services.edge.pipeline import Pipeline, now_ms
from services.edge.routes import Route, find
from services.edge.upstream import Origin
from shared import errors
from shared import grant as grants_
from shared.errors import Refusal, RefusedError, render
from shared.grant import Denial

log = structlog.get_logger()

MODEL_CREATED = 1677610602
"""LiteLLM's constant."""


_CLOSING = ("body_too_large", "unsupported_encoding", "unreadable_body", "malformed_http")
"""What is left of the request can't be told from the next one, or isn't worth reading."""


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

    def listener(self) -> Listener:
        return Listener(self.handle, _malformed)

    async def handle(self, request: Request) -> Answer:
        """The error boundary: a RefusedError becomes its answer; anything else is logged and answered without a word of it.

        Where a part of another answer is out already, the connection is cut instead (http/connection.py).
        """
        if self.running >= self._pipeline.settings.edge_requests_max:
            return _refusal(errors.overloaded())
        self.running += 1
        answer: Answer
        try:
            answer = await self._dispatch(request)
        except RefusedError as no:
            metrics.refused(no.refusal.code)
            answer = _refusal(no.refusal, no.call_id or reading.call_id(request), no.request_id)
        except ConnectionError:
            answer = WholeAnswer(499, "", b"")  # nobody is there to read it
        except Exception:
            log.exception("request_failed", path=request.path[:200])
            answer = _refusal(errors.internal(), reading.call_id(request))
        finally:
            self.running -= 1
        if self._stopping():
            answer.closing = True
        return answer

    async def _dispatch(self, request: Request) -> Answer:
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

    async def _models(self, request: Request, route: Route) -> WholeAnswer:
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

    def _health(self, route: Route) -> WholeAnswer:
        """LiteLLM's shapes (contract §14.3)."""
        if route.name != "/health/readiness":
            if self._stopping():
                return _json({"status": "shutting_down"}, 503)
            return _json("I'm alive!")
        reason = self._reason_not_ready()
        if reason is None:
            return _json({"status": "healthy", "db": "connected"})
        return _json({"status": "unhealthy", "db": "Not connected", "reason": reason}, 503)


def _json(value: object, status: int = 200) -> WholeAnswer:
    return answering.own(msgspec.json.encode(value), status)


def _malformed(status: int) -> WholeAnswer:
    """To what isn't HTTP; not logged, as anybody can cause it."""
    metrics.refused("malformed_http")
    return _refusal(errors.malformed_http(status))


def _refusal(refusal: Refusal, call_id: str | None = None, request_id: str | None = None) -> WholeAnswer:
    lines = ""
    if refusal.retry_after_s is not None:
        lines = f"Retry-After: {refusal.retry_after_s}\r\n"
    if call_id is not None:
        lines += f"x-litellm-call-id: {call_id}\r\n"
    if request_id is not None:
        lines += f"x-tollgate-request-id: {request_id}\r\n"
    answer = answering.own(render(refusal), refusal.status, lines)
    answer.closing = refusal.code in _CLOSING
    return answer
