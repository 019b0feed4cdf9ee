"""HTTP: one handler, the table of routes, one error boundary.

No router, no middlewares: every path is in the table of routes, and each surface has one handler
(surfaces/). A handler is cancelled when the client leaves; that is how a provider call ends with
its client.
"""

from collections.abc import Awaitable, Callable
from urllib.parse import unquote

import msgspec
import structlog

from services.edge import answers, cors, metrics, paths, reading
from services.edge.http import Answer, Budget, Certificate, KnownHead, Listener, Request, WholeAnswer
from services.edge.http.budget import Slots
from services.edge.parts import Parts
from services.edge.surfaces import SURFACES, passthrough
from shared import credential, errors, routes
from shared.addresses import behind_proxies
from shared.errors import Refusal, RefusedError, render
from shared.passthrough import Entry
from shared.routes import Match

log = structlog.get_logger()

_CLOSING = ("body_too_large", "request_too_large", "unsupported_encoding", "unreadable_body", "malformed_http")
"""What is left of the request can't be told from the next one, or isn't worth reading."""

_NEVER_FULL = frozenset(path for row in routes.of_surface("health") for path in row.paths)


class Server:
    """
    Args:
        budget: of what clients can make this edge hold.
    """

    def __init__(self, parts: Parts, budget: Budget) -> None:
        self._parts = parts
        self._budget = budget
        self._seen = parts.grants.seen

    @property
    def running(self) -> int:
        """Requests being served."""
        return self._budget.running

    def listener(self, certificate: Certificate | None = None) -> Listener:
        return Listener(self.handle, _malformed, self._budget, certificate)

    async def handle(self, request: Request) -> Answer:
        """The error boundary: a RefusedError becomes its answer; anything else is logged and
        answered without a word of it.

        Where a part of another answer is out already, the connection is cut instead
        (http/connection.py).
        """
        budget, account = self._budget, request.account
        if self._parts.proxies:
            request.remote = behind_proxies(request.remote, request.header("x-forwarded-for"), self._parts.proxies)
        self._recognise(request)
        slots = self._slots(request.path) if "/ui" in request.path else budget.clients
        if not budget.enter(account, slots):
            if request.path in _NEVER_FULL:
                return await self._probe(request)
            metrics.refused("overloaded")
            return _refusal(errors.overloaded())
        answer: Answer
        origin = request.header("origin") if b"origin" in request.fields else None
        if origin is not None:
            request.more_lines = cors.lines(origin, self._parts.settings.edge_cors_origins)
        try:
            answer = await self._dispatched(request)
        except RefusedError as no:
            metrics.refused(no.refusal.code)
            in_body = self._parts.call_id_in_errors
            call_id = no.call_id or reading.call_id(request)
            answer = _refusal(no.refusal, call_id, no.request_id, in_body=in_body, wire=no.wire)
        except ConnectionError:
            answer = WholeAnswer(499, "", b"")  # nobody is there to read it
        except Exception:
            log.exception("request_failed", path=request.path[:200])
            answer = _refusal(errors.internal(), reading.call_id(request), in_body=self._parts.call_id_in_errors)
        finally:
            budget.leave(account)
        if origin is not None and isinstance(answer, WholeAnswer):
            answer.headers += request.more_lines
        # A stream's head has said already whether its connection goes on: a client that was told
        # so may have sent its next request.
        if isinstance(answer, WholeAnswer) and self._parts.stopping():
            answer.closing = True
        return answer

    def _slots(self, path: str) -> Slots:
        site = self._parts.site
        if site.moves:
            path = site.within(path)
        return self._budget.pages if path == "/ui" or path.startswith("/ui/") else self._budget.clients

    def _recognise(self, request: Request) -> None:
        """Whether this credential was granted something here lately: strangers share a small part
        of everything.
        """
        account = request.account
        memo = account.memo
        if type(memo) is reading.Credential and memo.is_of(request):
            request.credential = memo
            if account.known:
                return
        else:
            found = credential.find(request.header)
            memo = None if found is None else reading.Credential(request, found)
            request.credential = account.memo = memo
        if self._seen(None if memo is None else memo.digest):
            self._budget.recognise(account)
        else:
            self._budget.estrange(account)

    async def _probe(self, request: Request) -> Answer:
        """What an orchestrator asks by the clients' port is answered although there is no slot: it
        costs nothing.
        """
        try:
            answer = await self._dispatched(request)
        except RefusedError as no:
            answer = _refusal(no.refusal)
        return answer

    def _dispatched(self, request: Request) -> Awaitable[Answer]:
        """Whoever answers it, to be awaited."""
        parts = self._parts
        head = request.head
        if parts.site.moves:
            request.path, request.raw_path = parts.site.within(request.path), parts.site.within(request.raw_path)
            head = None  # what its bytes mean is for the site to say
        if request.path in parts.passthrough.shadows:
            return self._elsewhere(request, ())
        found = head.found if type(head) is KnownHead else None
        if type(found) is not Match:
            found = _find(request)
            if not isinstance(found, Match):
                return self._elsewhere(request, found)
            if type(head) is KnownHead:
                head.found = found
        return SURFACES[found.route.surface](parts, request, found)

    async def _elsewhere(self, request: Request, found: tuple[str, ...]) -> Answer:
        """What no row of the table answers."""
        # Needless escapes are a client's habit (Amazon's clients write `%3A`): what goes on is
        # written anew.
        raw_path = request.raw_path if found or request.canonical else paths.rewritten(request.path)
        if not found and raw_path is not None:
            parts = self._parts
            for entries, outbound in (
                (parts.passthrough, parts.passthrough_outbound),
                (parts.named.entries, parts.named.outbound),
            ):
                passed = entries.find(request.method, request.path, raw_path) if entries.all else ()
                if passed and isinstance(passed[0], Entry):
                    return await passthrough.forward(parts, request, passed[0], str(passed[1]), outbound)
                found = found or tuple(map(str, passed))
        if not found:
            raise RefusedError(errors.not_found(request.method, request.path))
        if request.method == "OPTIONS":
            return cors.options(found, request.header("access-control-request-headers"))
        metrics.refused("method_not_allowed")
        answer = _refusal(errors.method_not_allowed(request.method, request.path), reading.call_id(request))
        answer.headers += f"Allow: {', '.join(found)}\r\n"
        return answer


def _find(request: Request) -> Match | tuple[str, ...]:
    """The route of a request, or the methods its path has. HEAD is GET without a body."""
    method, path = request.method, request.path
    found = routes.find(method, path) if request.canonical else ()
    decode: Callable[[str], str] = _with_slashes
    if not found:
        usual = paths.usual(request.raw_path)
        if usual is not None:
            path, decode = usual, unquote
            found = routes.find(method, path)
    if isinstance(found, Match) and not found.params:
        return found
    if method == "HEAD" and not isinstance(found, Match) and "GET" in found:
        found = routes.find("GET", path)
    if "%" in path and isinstance(found, Match):  # clients escape a name's slashes, colons, blanks
        params = {name: decode(value) for name, value in found.params.items()}
        return msgspec.structs.replace(found, params=params)
    return found


def _with_slashes(segment: str) -> str:
    """Of a path that is decoded but for those."""
    return segment.replace("%2F", "/")


def _malformed(status: int) -> WholeAnswer:
    """To what isn't HTTP, or has no room (503); not logged, as anybody can cause it."""
    if status == 503:
        metrics.refused("overloaded")
        return _OVERLOADED
    metrics.refused("malformed_http")
    return _refusal(errors.malformed_http(status))


def _refusal(
    refusal: Refusal,
    call_id: str | None = None,
    request_id: str | None = None,
    *,
    in_body: bool = False,
    wire: str = "",
) -> WholeAnswer:
    lines = ""
    if refusal.retry_after_s is not None:
        lines = f"Retry-After: {refusal.retry_after_s}\r\n"
    if refusal.decision is not None:
        lines += f"{errors.DECISION}: {refusal.decision}\r\n"
    if call_id is not None:
        lines += f"x-litellm-call-id: {call_id}\r\n"
    if request_id is not None:
        lines += f"x-tollgate-request-id: {request_id}\r\n"
    answer = answers.own(render(refusal, call_id if in_body else None, wire), refusal.status, lines)
    answer.closing = refusal.code in _CLOSING
    return answer


_OVERLOADED = _refusal(errors.overloaded())
_OVERLOADED.closing = True
