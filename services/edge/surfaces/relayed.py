"""Calls to models in wires that only their own makers speak: Anthropic's Messages, OpenAI's
Responses, speech, transcriptions, image edits.

They go to a deployment whose provider speaks that wire itself, byte for byte but for the model's
name and what is the gateway's own; Messages and Responses also to any other that has a chat
(by_chat.py). Who may, limits, guardrails, fallback to the next deployment, facts and cost are as on
any route; usage is read from the answer as it flows by. What a guardrail has to see of an answer is
held back until it has.
"""

from services.edge import account, counting, failures, own_headers, pipeline, reading, size_checks, texts
from services.edge.formats import events
from services.edge.formats.base import Call
from services.edge.http import Answer, Request, StreamAnswer, WholeAnswer
from services.edge.parts import Parts
from services.edge.passthrough import by_chat, relayed_request
from services.edge.passthrough import headers as passed
from services.edge.passthrough.answer import flow
from services.edge.passthrough.asked import call_of, form_of, reader, unsaid
from services.edge.passthrough.by_chat import ByChat
from services.edge.passthrough.form import Form
from services.edge.passthrough.judge import Judge
from services.edge.passthrough.kept import Kept, KeptResponse, asked_about, known_to
from services.edge.passthrough.kept_answer import WithOwnIds
from services.edge.passthrough.kinds import KINDS, Kind
from services.edge.passthrough.opened import opened_of
from services.edge.passthrough.record import Relayed
from services.edge.passthrough.screened import screened
from services.edge.passthrough.undone import Undone
from services.edge.providers.base import CredentialsError, Target
from services.edge.reading import Head
from services.edge.routing import causes
from services.edge.routing import request as asked_for
from services.edge.routing.causes import CAUSES
from services.edge.routing.plan import Group
from services.edge.screening import Screening
from services.edge.sizes import MB
from services.edge.streaming import HOLD_S
from shared import errors, tracing
from shared.errors import Refusal, RefusedError
from shared.facts import Opened
from shared.grant import Candidate, Permit
from shared.outbound import OutboundError, Streamed
from shared.routes import Match, Route

IDLE_MS = 300_000
COUNT, RESPONSES = "/messages/count_tokens", "/responses"
NOT_THERE = (404, 405, 501)
"""What servers say that speak a wire, but lack a route of it."""
START_BYTES_MAX = 1024 * 1024
"""Of an answer's beginning that is held back: `response.created` repeats the instructions."""


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
    head = reading.head(request)
    if parts.own_headers is not None:
        parts.own_headers.read(request, head)
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
    candidates = [
        each for each in permit.candidates if by_chat.serves(parts.targets.get(each.deployment_id), route.name, kind)
    ]
    if not candidates and route.name == COUNT and permit.candidates:
        return await counting.answer(parts, call, permit.candidates[0].upstream_model)
    if not candidates:
        raise RefusedError(errors.not_served(call.model, f"no deployment of it has {route.name}"))
    if kind.keeps and any(
        each.deployment_id not in parts.by_chat and by_chat.speaks(parts.targets[each.deployment_id], kind)
        for each in candidates
    ):
        kept = kept or Kept(parts.own_ids, parts.id_rules, permit.grant.caller)
        call, candidates = await known_to(parts, route, head, call, permit, kept, candidates, is_own=about is None)
    if form is None and about is None and permit.guardrails:
        screening.start_beside(call, candidates[0].upstream_model)
    relay = _Relay(parts, request, route, kind, head, call, permit, screening, form, kept, about)
    return await relay.run(candidates)


# ── the call ──


class _Relay:
    def __init__(
        self,
        parts: Parts,
        request: Request,
        route: Route,
        kind: Kind,
        head: Head,
        call: Call,
        permit: Permit,
        screening: Screening,
        form: Form | None,
        kept: Kept | None,
        about: KeptResponse | None,
    ) -> None:
        self._parts, self._request, self._route, self._kind = parts, request, route, kind
        self._head, self._call, self._permit, self._screening = head, call, permit, screening
        self._form, self._kept, self._about = form, kept, about
        self._ends_at = 0.0
        """By the clock's seconds."""
        self._mb = size_checks.response_mb(parts, permit.grant)

    async def run(self, candidates: list[Candidate]) -> Answer:
        """In their order: one that can't be reached, or says it has no room, is followed by the
        next. All in one deadline.
        """
        groups = [Group(self._call.model, candidates)]
        within_ms = asked_for.deadline_ms(self._parts, self._call, self._head, groups)
        self._ends_at = self._parts.clock.seconds() + within_ms / 1000
        for at, candidate in enumerate(candidates):
            answer = await self._one(candidate, is_last=at + 1 == len(candidates))
            if answer is not None:
                return answer
        raise AssertionError("the last one answers")

    async def _one(self, candidate: Candidate, *, is_last: bool) -> Answer | None:
        """None: the next one is to be asked."""
        parts, target = self._parts, self._parts.targets[candidate.deployment_id]
        if target.parallel_max is None:
            return await self._asked_of(candidate, target, is_last=is_last)
        if not is_last and parts.rooms.load(candidate.deployment_id, target.parallel_max) >= 1.0:
            return None
        place = parts.rooms.take(candidate.deployment_id, target.parallel_max)
        if place is None:
            raise RefusedError(errors.deployment_full(candidate.provider))
        try:
            if not await parts.rooms.wait(place, self._left_s()):
                raise RefusedError(errors.deployment_full(candidate.provider))
            return await self._asked_of(candidate, target, is_last=is_last)
        finally:
            parts.rooms.give(place)

    async def _asked_of(self, candidate: Candidate, target: Target, *, is_last: bool) -> Answer | None:
        parts = self._parts
        opened = opened_of(parts, self._route, self._head, self._call, self._permit, candidate, self._left_ms(target))
        chat = self._by_chat(target, candidate, opened)
        record = Relayed(
            parts,
            opened,
            "" if self._about is not None else self._kind.wire,  # it was booked when it was made
            unsaid(self._route, self._call),
            is_free=self._kind.is_free,
        )
        await record.open()
        try:
            made = await relayed_request.made(
                self._kind,
                target,
                candidate.upstream_model,
                self._call,
                self._form,
                self._request,
                chat,
                self._about,
            )
            sent = made.headers
            if parts.forwards_trace:
                sent += tracing.headers(self._head.traceparent, self._head.tracestate, record.id)
            if parts.forwards_headers:
                sent += own_headers.forwarded(self._request.headers(), sent)
            verify = target.origin.verify if target.origin is not None else None
            stream = parts.passthrough_outbound.stream(
                made.method, made.url, headers=sent, body=made.body, deadline_ms=self._left_ms(target), idle_ms=IDLE_MS,
                tls=None if verify is None else parts.upstream.tls(verify),
            )  # fmt: skip
            async with stream as answer:
                record.head(answer.headers)
                about = account.about_of(target, candidate, self._call.model)
                if answer.status >= 300:
                    return await self._refused(
                        answer, record, about, candidate, is_last=is_last, in_own_wire=chat is None
                    )
                answered = Undone(answer) if chat is None else chat.answer(Undone(answer))
                if self._kept is not None and chat is None:
                    leaving = self._kept.leaving(candidate.deployment_id, self._call.model)
                    answered = WithOwnIds(answered, leaving, START_BYTES_MAX, self._request.hold)
                try:
                    return await self._pass(answered, record, about, is_last=is_last)
                finally:
                    answered.drop()
        except (OutboundError, CredentialsError) as error:
            timeout = isinstance(error, OutboundError) and error.code == "timeout"
            refusal = (errors.provider_timeout if timeout else errors.provider_unreachable)(candidate.provider)
            record.settle("timeout" if timeout else "provider_error", refusal.status, refusal.code, billed=timeout)
            if is_last or timeout:
                raise RefusedError(refusal, record.id, record.call_id) from None
            return None
        finally:
            record.settle("client_gone", 499, "client_gone")

    def _by_chat(self, target: Target, candidate: Candidate, opened: Opened) -> ByChat | None:
        """None: it is asked in its own wire. Raises RefusedError."""
        has_none = self._route.name == RESPONSES and candidate.deployment_id in self._parts.by_chat
        if by_chat.speaks(target, self._kind) and not has_none:
            return None
        most = self._parts.settings.edge_answer_bytes_max
        return ByChat(
            self._route.name, target, self._call, candidate.upstream_model, opened.id, opened.at_ms // 1000, most
        )

    def _left_s(self) -> float:
        return max(0.0, self._ends_at - self._parts.clock.seconds())

    def _left_ms(self, target: Target) -> int:
        return max(1, min(target.deployment.timeout_ms, int(self._left_s() * 1000)))

    # ── the answer ──

    async def _refused(
        self, answer: Streamed, record: Relayed, about: str, candidate: Candidate, *, is_last: bool, in_own_wire: bool
    ) -> Answer | None:
        """What is no success, in the provider's words where they are JSON; None: the next one is to
        be asked.
        """
        status = answer.status
        record.settle("provider_error", status, f"provider_{status}", billed=False)
        elsewhere = not is_last and CAUSES[causes.of_status(status)].elsewhere
        if elsewhere and status not in NOT_THERE:
            return None
        body = await Undone(answer).beginning(failures.ERROR_BYTES_MAX)
        is_held = causes.held_elsewhere(status, body)
        is_missing = status in NOT_THERE and not is_held and not causes.of_model(body)
        if is_missing and in_own_wire and self._route.name == RESPONSES:
            self._parts.by_chat.add(candidate.deployment_id)
            return await self._asked_of(candidate, self._parts.targets[candidate.deployment_id], is_last=is_last)
        if elsewhere or (is_held and not is_last):
            return None
        if status in NOT_THERE and self._route.name == COUNT:
            return await counting.answer(self._parts, self._call, candidate.upstream_model)
        body = failures.provider_error(body, status, record.provider)
        if self._kept is not None:
            body = self._kept.renamed(body)
        return await self._said(record, about, answer.headers, status if status >= 400 else 502, body)

    async def _none(
        self, judge: Judge, answer: Undone, record: Relayed, about: str, problem: str, *, is_last: bool
    ) -> Answer | None:
        """A success that holds none; None: the next one is to be asked. Raises RefusedError."""
        refusal = errors.provider_bad_answer(record.provider)
        if judge.error is None:
            record.settle("provider_error", refusal.status, refusal.code, billed=False)
            if is_last:
                raise RefusedError(refusal, record.id, record.call_id)
            return None
        failure = failures.of_error_answer(judge.error, record.provider)
        record.settle("provider_error", failure.answer_status, failure.code, billed=False)
        if not is_last and failure.row.elsewhere:
            return None
        return await self._said(record, about, answer.headers, failure.answer_status, failure.body)

    async def _said(
        self, record: Relayed, about: str, headers: list[tuple[str, str]], status: int, body: bytes
    ) -> Answer:
        """An error, once it is in the book."""
        headers = [each for each in headers if each[0] not in ("content-type", "content-encoding", "location")]
        await record.durable()
        if self._kind.wire == "anthropic":
            body = failures.as_anthropic(body, status)
        return WholeAnswer(status, f"{self._lines(record, about, headers)}content-type: application/json\r\n", body)

    def _lines(self, record: Relayed, about: str, headers: list[tuple[str, str]]) -> str:
        return (
            f"{about}x-litellm-call-id: {record.call_id}\r\nx-tollgate-request-id: {record.id}\r\n"
            f"{self._screening.header()}{passed.to_client(headers)}"
        )

    async def _pass(self, answer: Undone, record: Relayed, about: str, *, is_last: bool) -> Answer | None:
        """None: the next one is to be asked. Raises RefusedError.

        Args:
            about: lines about whoever answers.
        """
        content_type, kind = dict(answer.headers).get("content-type", ""), self._kind
        judge = record.judge = Judge(
            content_type, is_sound=kind.is_sound, may_be_text=kind.may_be_text, has_end=kind.has_end
        )
        record.tap(answer)
        held, problem = await self._start(answer, record)
        if problem is not None:
            return await self._none(judge, answer, record, about, problem, is_last=is_last)
        refusal = await self._screening.beside()
        if refusal is None and self._screening.has("post_call"):
            held, refusal = await self._held(answer, record, held, content_type)
        if refusal is None and self._mb is not None and len(held) > self._mb * MB:
            refusal = self._too_large(len(held), self._mb)
        if refusal is not None:
            record.screening = self._screening
            record.settle("blocked", refusal.status, refusal.code)
            raise RefusedError(refusal, record.id, record.call_id)
        out = StreamAnswer(answer.status, self._lines(record, about, answer.headers))
        await out.start(self._request)

        def broke_off() -> bytes:
            return judge.broke_off(kind.wire, errors.provider_broke_off(record.provider).message)

        if await flow(self._request, record, answer, out, record, self._mb, self._too_large, held, broke_off):
            record.screening = self._screening
            problem = judge.finish()
            if judge.is_stream and problem in ("early_end", "empty"):  # a clean end of the connection, too early
                await out.write(broke_off())
            if problem is None and judge.error is None:
                record.answered(answer.status)
            else:
                record.settle("provider_error", 502, f"provider_{problem or 'failed'}")
            await record.durable()
            await out.end()
        return out

    async def _start(self, answer: Undone, record: Relayed) -> tuple[bytes, str | None]:
        """What comes until it is known to be an answer, and what is wrong with it where it is none.
        What takes long to become one, or much room, is passed on as it comes."""
        clock, judge, pieces, size = self._parts.clock, record.judge, list[bytes](), 0
        hold_until = clock.seconds() + HOLD_S
        async for chunk in answer.chunks():
            record.feed(chunk)
            pieces.append(chunk)
            size += len(chunk)
            if judge.error is not None and not judge.begun:
                break
            is_long = clock.seconds() > hold_until or size > START_BYTES_MAX
            goes_on = judge.begun or is_long or not self._request.hold(len(chunk))
            if goes_on or not await answer.arrived(hold_until - clock.seconds()):
                answer.let_go()
                return b"".join(pieces), None
        return b"".join(pieces), judge.finish()

    def _too_large(self, size_bytes: int, mb: float) -> Refusal:
        return size_checks.response_refusal(
            self._parts, self._permit.grant, self._route.name, self._head.ip, size_bytes, mb
        )

    async def _held(
        self, answer: Undone, record: Relayed, start: bytes, content_type: str
    ) -> tuple[bytes, Refusal | None]:
        """What a guardrail has to see of an answer; neither JSON nor events: there is no text in
        it.
        """
        pieces, size = [start], len(start)
        async for chunk in answer.chunks():
            record.feed(chunk)
            size += len(chunk)
            if size > self._parts.settings.edge_answer_bytes_max or not self._request.hold(len(chunk)):
                return b"", errors.overloaded()
            pieces.append(chunk)
        body = b"".join(pieces)
        kind = content_type.partition(";")[0].strip().lower()
        if kind == "text/event-stream":
            said = texts.of_events(events.split_events(body))
            return body, await self._screening.screen("post_call", ["".join(said)]) if said else None
        if kind == "application/json" or kind.startswith("text/"):
            return await self._screening.answer(body)
        return body, None
