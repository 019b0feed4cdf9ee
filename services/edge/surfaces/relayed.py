"""Calls to models in wires that only their own makers speak: Anthropic's Messages, OpenAI's
Responses, speech, transcriptions, image edits.

They go to a deployment whose provider speaks that wire itself, byte for byte but for the model's
name and what is the gateway's own; Messages and Responses also to any other that has a chat
(by_chat.py). Who may, limits, guardrails, retries and fallbacks (routing/plan.py), facts and cost
are as on any route, but that each attempt has a row of its own; usage is read from the answer as it
flows by. What a guardrail has to see of an answer is held back until it has.
"""

from services.edge import counting, own_headers, pipeline, size_checks
from services.edge.formats.base import Call
from services.edge.groups import way_through
from services.edge.http import Answer, Request
from services.edge.parts import Parts
from services.edge.passthrough import background, by_chat, ways
from services.edge.passthrough.asked import call_of, form_of, reader
from services.edge.passthrough.form import Form
from services.edge.passthrough.kept import Kept, KeptResponse, asked_about, known_to
from services.edge.passthrough.kinds import KINDS
from services.edge.passthrough.relaying import COUNT, Relaying
from services.edge.passthrough.screened import screened
from services.edge.reading import Head
from shared import errors
from shared.errors import RefusedError
from shared.routes import Match, Route


async def serve(parts: Parts, request: Request, match: Match) -> Answer:
    try:
        return await _served(parts, request, match)
    except RefusedError as no:
        no.wire = KINDS[match.route.name].wire
        raise


async def _served(parts: Parts, request: Request, match: Match) -> Answer:
    route = match.route
    kind = KINDS[route.name]
    if not parts.recorder.healthy:
        raise RefusedError(errors.book_unavailable())
    head = own_headers.head(parts.own_headers, request)
    await pipeline.known(parts, route, head, request)
    request.recognised()
    body = await size_checks.body(parts, request, head, route.name)
    if kind.of_response:
        kept, about, call = await asked_about(parts, request, route, head, match.params["response_id"])
        return await relay(parts, request, route, head, call, kept=kept, about=about)
    form = form_of(parts, request, body) if kind.form else None
    return await relay(parts, request, route, head, call_of(route, head, body, form), form)


async def relay(
    parts: Parts,
    request: Request,
    route: Route,
    head: Head,
    call: Call,
    form: Form | None = None,
    kept: Kept | None = None,
    about: KeptResponse | None = None,
) -> Answer:
    """A call whose body is read. Raises RefusedError.

    Args:
        about: the response that it asks about, as `kept` has it; None: it is a call of its own.
    """
    kind = KINDS[route.name]
    decision = await parts.grants.decide(head.digest, head.shape, route.name, call.model)
    permit = await pipeline.permitted(parts, route, head, call, decision, is_json=form is None and about is None)
    size_checks.check_request(parts, permit.grant, route.name, head.ip, len(call.body))
    if form is None and about is None:
        call, _, permit = await pipeline.hooked(parts, request, route, head, call, None, permit, reader(route, head))
    screening = pipeline.screening_of(parts, route, call, permit, metadata_goes_on=True)
    if about is None:
        call = await screened(parts, route, head, call, permit, screening, form)
    named = (
        await pipeline.named_fallbacks(parts, route, head, call) if form is None and "fallbacks" in call.fields else []
    )
    try:
        groups = ways.groups_of(parts, route, kind, call, permit, named, is_text=form is None)
    except RefusedError:
        if route.name != COUNT or not permit.candidates:
            raise
        return await counting.answer(parts, call, permit.candidates[0].upstream_model)
    if kind.keeps and any(
        each.deployment_id not in parts.by_chat and by_chat.speaks(parts.targets[each.deployment_id], kind)
        for group in groups
        for each in group.candidates
    ):
        kept = kept or Kept(parts.own_ids, parts.id_rules, permit.grant.caller)
        call, groups = await known_to(parts, route, head, call, permit, kept, groups, is_own=about is None)
    if about is not None:
        await background.asked_about(parts, kind, groups[0].candidates[0], about.found.id)
    elif background.is_wanted(call) and not parts.running.has_room:
        raise RefusedError(errors.overloaded())
    if form is None and about is None and permit.guardrails:
        screening.start_beside(call, groups[0].candidates[0].upstream_model)
    way = way_through(parts, call, head, groups, is_json=form is None)
    return await Relaying(parts, request, route, kind, head, call, permit, screening, form, kept, about, way).run()
