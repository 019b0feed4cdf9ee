"""A pass-through endpoint's call: who asks, may they, what is recorded; then bytes both ways as
they come.
"""

from collections.abc import AsyncIterator

import msgspec
import structlog

from services.edge import account, own_headers, size_checks
from services.edge.answers import SAFE
from services.edge.formats.fields import header_tags
from services.edge.http import Answer, Request, StreamAnswer
from services.edge.parts import Parts
from services.edge.passthrough import headers, spoken
from services.edge.passthrough.answer import end, flow
from services.edge.passthrough.guarded import Guarded
from services.edge.passthrough.guarded_answer import pass_guarded
from services.edge.passthrough.record import PassedThrough
from services.edge.passthrough.upload import Upload
from services.edge.providers.base import Credentials, CredentialsError
from services.edge.reading import Head
from services.edge.sizes import MB
from services.edge.upstream import read_headers
from shared import admission, credential, errors
from shared import passthrough as entries
from shared.decoding import UNREADABLE
from shared.errors import RefusedError
from shared.facts import Caller
from shared.grant import Ask, Denial, Grant
from shared.outbound import Outbound, OutboundError, Streamed
from shared.passthrough import Entry
from shared.routes import TABLE, Match

log = structlog.get_logger()

NAME = "/pass-through"
_ROUTE = TABLE.by_name[NAME]
PUBLIC_NAME = "/pass-through-public"
IDLE_MS = 120_000
_SANDBOX = "content-security-policy: sandbox; frame-ancestors 'none'\r\n"
"""Whatever a target answers, it isn't a page of ours."""
_SAFE = SAFE.replace("content-security-policy: frame-ancestors 'none'\r\n", _SANDBOX)


async def serve(parts: Parts, request: Request, match: Match) -> Answer:
    raise RefusedError(errors.not_found(request.method, request.path))  # endpoints have paths of their own: `forward`


async def forward(parts: Parts, request: Request, entry: Entry, rest: str, outbound: Outbound | None) -> Answer:
    if (request.header("upgrade") or "").lower() == "websocket":
        raise RefusedError(errors.bad_request("WebSocket isn't supported on pass-through endpoints"))
    if not parts.recorder.healthy:
        raise RefusedError(errors.book_unavailable())
    found = headers.found(entry, request.header)
    head = own_headers.head(parts.own_headers, request)
    if found and (entry.key_header is not None or entry.key_is_user):
        digest, shape = credential.digest(found)
        head = msgspec.structs.replace(head, digest=digest, shape=shape)
    grant, ours = await _grant(parts, entry, head, request, found)
    body: bytes | AsyncIterator[bytes] | None
    model = ""
    upload = Upload(parts, request, grant, entry.path, head)
    url = entry.url(rest, headers.without_key(request.query, found if ours else None))
    asked_model = spoken.model_in(url)
    signing = parts.passthrough_signers.get(entry.id)
    guarded = Guarded(parts, entry) if entry.guardrails else None
    if guarded is not None or (grant is not None and (signing is not None or _is_json(request))):
        body = await upload.whole()
        if guarded is not None:
            body = await _screened(parts, guarded, request, body, head, grant)
        if body and grant is not None:
            asked_model = model_of(body) or asked_model
    else:
        body = upload.chunks() if upload.has_body else None
    if grant is not None and asked_model:
        model = await _model(parts, grant, head, asked_model)
    known = spoken.of(url)
    record = PassedThrough(
        parts,
        entry,
        head,
        grant,
        header_tags(head.hints) if grant is not None else [],
        model,
        known,
        asked_model,
        is_free=spoken.is_free(request.method, known),
        guarded=guarded,
    )
    sent = headers.to_target(entry, request.headers(), found if ours else None)
    if signing is not None:
        assert not isinstance(body, AsyncIterator)
        url, sent = await _signed(signing, request.method, url, sent, body or b"")
    await record.open()
    return await _Forwarding(parts, request, entry, record, upload, outbound, guarded).run(
        url,
        sent,
        body,
        grant,
    )


async def _grant(
    parts: Parts, entry: Entry, head: Head, request: Request, found: str | None
) -> tuple[Grant | None, bool]:
    """Who asks (None: nobody has to say), and whether the credential they sent is one of ours.
    Raises RefusedError.
    """
    if not entry.auth:
        decision = await parts.grants.decide(None, "none", PUBLIC_NAME, "")
        refusal = admission.admit(decision, Ask([], {}, head.ip), parts.clock.unix_ms())
        if refusal is not None:
            await account.refuse(parts, refusal, _ROUTE, head, decision.caller)
        if not found:
            return None, False
        decision = await parts.grants.decide(head.digest, head.shape, NAME, "")
        return None, not admission.is_stranger(decision)
    await parts.tokens.identify(head, request)
    decision = await parts.grants.decide(head.digest, head.shape, NAME, "")
    ask = await _asked(parts, head) if isinstance(decision, Grant) else Ask([], {}, head.ip)
    refusal = admission.admit(decision, ask, parts.clock.unix_ms())
    if refusal is None and isinstance(decision, Grant):
        allowed, denied = decision.passthrough_routes, decision.passthrough_denied
        if entry.only_listed and allowed is None and decision.caller.role != "proxy_admin":
            allowed = []
        path = request.path  # a list may name less than all of an endpoint
        if entries.covers(denied, path) or (allowed is not None and not entries.covers(allowed, path)):
            refusal = errors.passthrough_not_allowed(entry.path)
    if refusal is not None:
        await account.refuse(parts, refusal, _ROUTE, head, decision.caller)
    assert isinstance(decision, Grant)
    request.recognised()
    return decision, True


async def _asked(parts: Parts, head: Head) -> Ask:
    """What a request says of itself in its head: its body is the target's. Raises RefusedError."""
    customer_id = head.hints.customer_id
    customer = await parts.customers.customer(customer_id) if customer_id is not None else None
    return Ask(header_tags(head.hints), {}, head.ip, customer_id=customer_id, customer=customer)


async def _screened(
    parts: Parts, guarded: Guarded, request: Request, body: bytes | None, head: Head, grant: Grant | None
) -> bytes | None:
    """The body as it may go on. Raises RefusedError; what guardrails say no to is in the book."""
    if body and request.header("content-encoding") is not None:
        raise RefusedError(errors.bad_request("A compressed body can't be checked by the guardrails of this endpoint"))
    try:
        return await guarded.request(body)
    except RefusedError as no:
        caller = Caller() if grant is None else grant.caller
        await account.refuse(parts, no.refusal, _ROUTE, head, caller, screening=guarded.told)


async def _model(parts: Parts, grant: Grant, head: Head, model: str) -> str:
    """The model that a request names, as it is known here. Raises RefusedError where this caller
    may not use it.
    """
    decision = await parts.grants.decide(head.digest, head.shape, "/chat/completions", model)
    if isinstance(decision, Denial) and decision.rule in ("key_models", "team_models", "user_models"):
        await account.refuse(parts, decision.refusal, _ROUTE, head, grant.caller)
    return model if isinstance(decision, Grant) else ""


async def _signed(
    signing: Credentials, method: str, url: str, sent: list[tuple[str, str]], body: bytes
) -> tuple[str, list[tuple[str, str]]]:
    """A request with what proves that it is ours: its query isn't part of that, so it has none.
    Raises RefusedError.
    """
    url = url.partition("?")[0]
    try:
        block = await signing.headers(method, "/" + url.split("/", 3)[3], body)
    except CredentialsError:
        log.warning("no_credential", target=url)
        raise RefusedError(errors.provider_unreachable(url.split("/", 3)[2])) from None
    proving = read_headers(block)
    names = {name.lower() for name, _ in proving}
    return url, [*((name, value) for name, value in sent if name.lower() not in names), *proving]


class _Model(msgspec.Struct):
    model: str | None = None


_decode_model = msgspec.json.Decoder(_Model).decode
_names_of = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode


def model_of(body: bytes) -> str:
    """Empty: none that can be read. Raises RefusedError where it can be read in two ways."""
    try:
        model = _decode_model(body).model or ""
        names = _names_of(body)
    except UNREADABLE:
        return ""
    if any(name != "model" and name.casefold() == "model" for name in names) or (
        body.count(b'"model"') > 1 and _twice(body)
    ):
        raise RefusedError(errors.bad_request("model: the request names it in more than one way", "model"))
    return model[:256]


def _twice(body: bytes) -> bool:
    """Whether `model` stands twice at the top level: with the first removed, another is left."""
    first = body.index(b'"model"')
    changed = body[:first] + b'"_odel"' + body[first + 7 :]
    try:
        return "model" in _names_of(changed) and "_odel" in _names_of(changed)
    except UNREADABLE:
        return True


def _is_json(request: Request) -> bool:
    kind = (request.header("content-type") or "").partition(";")[0].strip().lower()
    return kind == "application/json" or kind.endswith("+json")


class _Forwarding:
    def __init__(
        self,
        parts: Parts,
        request: Request,
        entry: Entry,
        record: PassedThrough,
        upload: Upload,
        outbound: Outbound | None,
        guarded: Guarded | None,
    ) -> None:
        self._guarded = guarded if guarded is not None and guarded.has("post_call") else None
        self._parts = parts
        self._outbound = outbound
        self._request = request
        self._entry = entry
        self._record = record
        self._upload = upload
        self._mb: float | None = None

    async def run(
        self, url: str, sent: list[tuple[str, str]], body: bytes | AsyncIterator[bytes] | None, grant: Grant | None
    ) -> Answer:
        parts, record, entry = self._parts, self._record, self._entry
        outbound = self._outbound
        assert outbound is not None
        self._mb = parts.sizes.response_mb if grant is None else size_checks.response_mb(parts, grant)
        try:
            async with outbound.stream(
                self._request.method,
                url,
                headers=sent,
                body=body,
                deadline_ms=int(entry.timeout_s * 1000),
                idle_ms=IDLE_MS,
            ) as answer:
                record.head(answer.headers)
                return await self._pass(answer, grant)
        except OutboundError as error:
            refusal = self._upload.refusal
            if refusal is None and error.code == "refused_address":
                refusal = errors.target_refused()
            if refusal is None:
                refusal = (
                    errors.provider_timeout(entry.path)
                    if error.code == "timeout"
                    else errors.provider_unreachable(entry.path)
                )
            if self._upload.refusal is not None:
                outcome = "client_gone" if refusal.code == "unreadable_body" else "blocked"
            else:
                outcome = "timeout" if error.code == "timeout" else "provider_error"
            record.settle(outcome, refusal.status, refusal.code, billed=error.code in ("timeout", "broken"))
            raise RefusedError(refusal, record.id, record.call_id) from None
        finally:
            record.settle("client_gone", 499, "client_gone")

    async def _pass(self, answer: Streamed, grant: Grant | None) -> Answer:
        parts, record, request = self._parts, self._record, self._request
        lines = (
            f"{_SAFE}x-litellm-call-id: {record.call_id}\r\nx-tollgate-request-id: {record.id}\r\n"
            f"{headers.to_client(answer.headers)}"
        )
        if self._guarded is not None:
            bytes_max = parts.settings.edge_answer_bytes_max if self._mb is None else int(self._mb * MB)
            return await pass_guarded(request, record, self._guarded, answer, lines, bytes_max)

        def too_large(size_bytes: int, mb: float) -> errors.Refusal:
            refusal = errors.response_too_large(size_bytes, mb)
            size_checks.tell(parts, refusal, self._entry.path, request.remote, None if grant is None else grant.caller)
            return refusal

        out = StreamAnswer(answer.status, lines)
        await out.start(request)
        if await flow(request, record, answer, out, record.tap(answer), self._mb, too_large):
            await end(record, answer, out)
        return out
