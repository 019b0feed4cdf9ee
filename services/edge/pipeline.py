"""One request to a model, start to finish: the page to read first.

    1. head       who asks, by which credential     (reading.py, own_headers.py)
    2. known      strangers end here, before a byte of the body  (grants.py)
    3. body       within limits, as the route's format reads it  (reading.py, formats/)
    4. decide     credential, route and model → grant → permit   (grants.py, shared.grant)
    5. screen     the operator's own hooks, then the guardrails of the grant, before anything leaves
    6. attempts candidates in order (attempts.py): each is opened (account.py), called (upstream/),
       its answer passed on
                  (relay.py), and settled before the last byte goes out

A warm call whose request adds nothing of its own takes what its grant comes to ready-made
(prepared.py) and waits for nobody before 6.

What is refused before 6 leaves one `refused` fact. What was opened leaves exactly one `settled`,
whatever happens: attempts.py sees to that, also when this task is cancelled because the client
left.
"""

from collections.abc import Awaitable, Callable
from functools import partial

from services.edge import account, own_headers, size_checks
from services.edge.asked import Asked
from services.edge.attempts import Attempts
from services.edge.cache import serve as cached
from services.edge.formats import table
from services.edge.formats.base import Call
from services.edge.groups import way_of
from services.edge.http import Answer, Request
from services.edge.parts import Parts
from services.edge.prepared import Prepared
from services.edge.reading import Head
from services.edge.routing import request as asked_for
from services.edge.screening import UNSCREENED, Screening
from shared import admission, errors
from shared.errors import Refusal, RefusedError
from shared.grant import Ask, Denial, Fallback, Grant, Permit
from shared.routes import Match, Route

Relay = Callable[[Parts, Request, Route, Head, Call], Awaitable[Answer]]


async def serve(parts: Parts, request: Request, match: Match, *, relay: Relay) -> Answer:
    """Answer one request on an LLM route. Raises RefusedError, which the one error boundary
    (server.py) renders.

    Args:
        relay: answers a call as it is, without any translation (surfaces/relayed.py).
    """
    started, route = parts.clock.seconds(), match.route
    if not parts.recorder.healthy:
        raise RefusedError(errors.book_unavailable())
    head = own_headers.head(parts.own_headers, request)
    if head.token is not None or parts.tokens.asks_each or not parts.grants.knows(head.digest):
        await known(parts, route, head, request)
    if not request.account.known:
        request.recognised()
    body = size_checks.arrived(parts, request)
    if body is None:
        body = await size_checks.body(parts, request, head, route.name)
    format = table.BY_ROUTE[route.name]
    call = format.read(body, head.hints, match.params.get("model"), parts.default_models.get(route.name, ""))
    if call.stream and format.makes_images:  # events of their own, which nobody translates
        return await relay(parts, request, route, head, call)
    prepared = parts.grants.kept(head.digest, route.name, call.model)
    if prepared is None:
        prepared = Prepared(await parts.grants.decide(head.digest, head.shape, route.name, call.model))
    permit = prepared.permit_at(parts.clock) if call.plain else None
    if permit is None:
        permit = await permitted(parts, route, head, call, prepared.decision)
    if permit.grant.max_request_size_mb is not None:
        size_checks.check_request(parts, permit.grant, route.name, head.ip, len(body))
    if parts.own_hooks is not None:
        default = parts.default_models.get(route.name, "")
        read = partial(format.read, hints=head.hints, model=match.params.get("model"), default_model=default)
        call, again, permit = await hooked(parts, request, route, head, call, prepared, permit, read)
        prepared = again or prepared
    screening = UNSCREENED
    if permit.guardrails:
        call, screening = await _screened(parts, route, head, call, permit)
    asked = Asked(request, route, format, head, call, prepared, permit, screening, started)
    if "fallbacks" in call.fields:
        asked.fallbacks = await named_fallbacks(parts, route, head, call)
    if parts.cache is not None and permit.candidates:
        return await cached.serve(parts, parts.cache, asked, _attempts)
    return await _attempts(parts, asked).run()


async def hooked(
    parts: Parts,
    request: Request,
    route: Route,
    head: Head,
    call: Call,
    prepared: Prepared | None,
    permit: Permit,
    read: Callable[[bytes], Call],
) -> tuple[Call, Prepared | None, Permit]:
    """What the operator's own Python makes of a call; another one is decided on anew. Raises
    RefusedError.

    Args:
        read: a body as the route's format reads it.
    """
    if parts.own_hooks is None:
        return call, prepared, permit
    body = await parts.own_hooks.change(call, route, permit.grant.caller, request)
    if body is None:
        return call, prepared, permit
    if isinstance(body, Refusal):
        await account.refuse(parts, body, route, head, permit.grant.caller, call, permit)
    changed = read(body)
    prepared = Prepared(await parts.grants.decide(head.digest, head.shape, route.name, changed.model))
    return changed, prepared, await permitted(parts, route, head, changed, prepared.decision)


def _attempts(parts: Parts, asked: Asked) -> Attempts:
    """Raises RefusedError where there is nobody to ask."""
    return Attempts(parts, asked, way_of(parts, asked))


def screening_of(
    parts: Parts, route: Route, call: Call, permit: Permit, *, metadata_goes_on: bool = False
) -> Screening:
    """The guardrails of one call.

    Args:
        metadata_goes_on: whether its provider gets the request's metadata: a model may read it
            then.
    """
    return Screening(
        parts.bus_client,
        permit.guardrails,
        route.call_type,
        call.customer_id,
        refuse_unreadable=parts.settings.edge_unreadable_files == "refuse",
        metadata_goes_on=metadata_goes_on,
    )


async def _screened(parts: Parts, route: Route, head: Head, call: Call, permit: Permit) -> tuple[Call, Screening]:
    """The call as its guardrails let it go on."""
    screening = screening_of(parts, route, call, permit)
    if screening.has("pre_call"):
        model = permit.candidates[0].upstream_model if permit.candidates else ""
        call, refusal = await screening.request(call, model)
        if refusal is not None:
            await account.refuse(parts, refusal, route, head, permit.grant.caller, call, permit, screening)
    return call, screening


async def named_fallbacks(parts: Parts, route: Route, head: Head, call: Call) -> list[Fallback]:
    """The other models that the request itself names; it may only name those it could call."""
    found = []
    for name in asked_for.fallbacks(call):
        decision = await parts.grants.decide(head.digest, head.shape, route.name, name)
        if isinstance(decision, Denial):
            await account.refuse(parts, decision.refusal, route, head, decision.caller, call)
        found.append(Fallback(name, decision.candidates))
    return found


async def known(parts: Parts, route: Route, head: Head, request: Request) -> None:
    """Returns for a credential that is good for something. A warm one costs no question."""
    await parts.tokens.identify(head, request)
    if parts.grants.knows(head.digest):
        return
    decision = await parts.grants.decide(head.digest, head.shape, route.name, "")
    refusal = admission.before_body(decision, Ask([], {}, head.ip), parts.clock.unix_ms())
    if refusal is not None:
        await account.refuse(parts, refusal, route, head, decision.caller)


async def permitted(
    parts: Parts, route: Route, head: Head, call: Call, decision: Grant | Denial, *, is_json: bool = True
) -> Permit:
    """What the decision comes to for this call. Raises RefusedError, in the book.

    Args:
        is_json: whether its body is, and may have guardrail fields.
    """
    customer = None
    if call.customer_id is not None and not admission.is_stranger(decision):
        customer = await parts.customers.customer(call.customer_id)
    fields = call.fields if is_json else None
    ask = Ask(call.tags, call.spend_logs_metadata, head.ip, fields, call.model, call.customer_id, customer)
    outcome = admission.permit(decision, ask, parts.clock.unix_ms(), parts.random)
    if isinstance(outcome, Refusal):
        await account.refuse(parts, outcome, route, head, decision.caller, call)
    return outcome
