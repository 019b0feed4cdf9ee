"""HTTP: one handler, the table of routes, one error boundary.

No router, no middlewares: every path is in the table of routes, and each surface has one handler (surfaces/). A handler is
cancelled when the client leaves; that is how a provider call ends with its client.
"""

import structlog

from services.edge import answering, metrics, reading
from services.edge.http import Answer, Listener, Request, WholeAnswer
from services.edge.parts import Parts
from services.edge.surfaces import SURFACES
from shared import errors, routes
from shared.errors import Refusal, RefusedError, render
from shared.routes import Match

log = structlog.get_logger()

_CLOSING = ("body_too_large", "unsupported_encoding", "unreadable_body", "malformed_http")
"""What is left of the request can't be told from the next one, or isn't worth reading."""


class Server:
    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self.running = 0

    def listener(self) -> Listener:
        return Listener(self.handle, _malformed)

    async def handle(self, request: Request) -> Answer:
        """The error boundary: a RefusedError becomes its answer; anything else is logged and answered without a word of it.

        Where a part of another answer is out already, the connection is cut instead (http/connection.py).
        """
        if self.running >= self._parts.pipeline.settings.edge_requests_max:
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
        if self._parts.stopping():
            answer.closing = True
        return answer

    async def _dispatch(self, request: Request) -> Answer:
        found = routes.find(request.method, request.path)
        if isinstance(found, Match):
            return await SURFACES[found.route.surface](self._parts, request, found)
        if found:
            raise RefusedError(errors.method_not_allowed(request.method, request.path))
        raise RefusedError(errors.not_found(request.method, request.path))


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
