"""A relayed call on its way (surfaces/relayed.py): each attempt, what it comes to, and what of the
answer goes out.
"""

import asyncio

from services.edge import account, counting, failures, own_headers, size_checks
from services.edge.fallen import RESTING
from services.edge.formats.base import Call
from services.edge.http import Answer, Request, StreamAnswer, WholeAnswer
from services.edge.parts import Parts
from services.edge.passthrough import background, by_chat, relayed_request
from services.edge.passthrough import headers as passed
from services.edge.passthrough.answer import flow
from services.edge.passthrough.asked import unsaid
from services.edge.passthrough.by_chat import ByChat
from services.edge.passthrough.form import Form
from services.edge.passthrough.judge import Judge
from services.edge.passthrough.kept import Kept, KeptResponse
from services.edge.passthrough.kept_answer import WithOwnIds
from services.edge.passthrough.kinds import Kind
from services.edge.passthrough.opened import opened_of
from services.edge.passthrough.record import Relayed
from services.edge.passthrough.screened import hooks_of, screened_answer
from services.edge.passthrough.undone import Undone
from services.edge.passthrough.ways import cause_of, found_as
from services.edge.providers.base import CredentialsError, Target
from services.edge.reading import Head
from services.edge.routing import causes, steps
from services.edge.routing.causes import CAUSES
from services.edge.routing.plan import Failed, Step
from services.edge.routing.way import Way
from services.edge.screening import Screening
from services.edge.sizes import MB
from services.edge.streaming import HOLD_S
from shared import errors, tracing
from shared.errors import Refusal, RefusedError
from shared.facts import Opened
from shared.grant import Candidate, Permit
from shared.outbound import OutboundError, Streamed
from shared.routes import Route

IDLE_MS = 300_000
COUNT, RESPONSES = "/messages/count_tokens", "/responses"
ELSEWHERE = "deployment"
"""The cause where only another deployment can answer."""
NOT_THERE = (404, 405, 501)
"""What servers say that speak a wire, but lack a route of it."""
SAYS_WHICH = (400, 413, 422, *NOT_THERE)  # only the words say what may follow
START_BYTES_MAX = 1024 * 1024
"""Of an answer's beginning that is held back: `response.created` repeats the instructions."""


class Relaying:
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
        way: Way,
    ) -> None:
        self._parts, self._request, self._route, self._kind = parts, request, route, kind
        self._head, self._call, self._permit, self._screening = head, call, permit, screening
        self._form, self._kept, self._about, self._way = form, kept, about, way
        self._runs_on = route.name == RESPONSES and background.is_wanted(call)
        self._ends_at = parts.clock.seconds() + way.deadline_ms / 1000
        """By the clock's seconds."""
        self._attempts = self._fallen_back = 0
        """Deployments that were asked, and models left for another."""
        self._step = Step(0, 0)
        """The present one."""
        self._fell: tuple[str, str] | None = None
        self._cause = ""
        """The other model it is at, and why; of the last failure."""
        self._mb = size_checks.response_mb(parts, permit.grant)

    async def run(self) -> Answer:
        """As the plan has it, all in one deadline. Raises RefusedError."""
        groups, step = self._way.groups, steps.first(self._parts, self._way)
        self._parts.budget.call(self._parts.clock.seconds())
        if step.group:
            self._fell = groups[step.group].model, RESTING
        while True:
            self._step = self._to_room(step)
            answer = await self._one(groups[step.group].candidates[self._step.position])
            if not isinstance(answer, Step):
                return answer
            if answer.group != step.group:
                self._fell = groups[answer.group].model, self._cause
                self._fallen_back += 1
            if answer.wait_s:
                await asyncio.sleep(answer.wait_s)
            step = answer

    def _to_room(self, step: Step) -> Step:
        parts, candidate = self._parts, self._way.groups[step.group].candidates[step.position]
        if parts.targets[candidate.deployment_id].parallel_max is None:
            return step
        return steps.to_room(parts, self._way, step)

    def _after(self, failed: Failed, *, is_its_fault: bool = True) -> Step | None:
        """What follows the present attempt."""
        self._cause = failed.cause
        return steps.after(self._parts, self._way, self._step, failed, self._left_s(), is_its_fault=is_its_fault)

    async def _one(self, candidate: Candidate) -> Answer | Step:
        """Raises RefusedError."""
        parts, target = self._parts, self._parts.targets[candidate.deployment_id]
        self._attempts += 1
        state = parts.health.started(candidate.deployment_id, parts.clock.seconds())
        place = None
        try:
            if target.parallel_max is not None:
                place = parts.rooms.take(candidate.deployment_id, target.parallel_max)
                if place is None or not await parts.rooms.wait(place, self._left_s()):
                    return self._or_no(self._after(Failed("full")), errors.deployment_full(candidate.provider))
            return await self._asked_of(candidate, target)
        finally:
            state.running -= 1
            if place is not None:
                parts.rooms.give(place)

    async def _asked_of(self, candidate: Candidate, target: Target) -> Answer | Step:
        parts = self._parts
        opened = opened_of(
            parts, self._route, self._head, self._call, self._permit, candidate,
            background.TERM_MS if self._runs_on else self._left_ms(target), None if self._fell is None else self._fell[0],
        )  # fmt: skip
        chat = self._by_chat(target, candidate, opened)
        record = Relayed(
            parts,
            opened,
            "" if self._about is not None else self._kind.wire,  # it was booked when it was made
            unsaid(self._route, self._call),
            is_free=self._kind.is_free,
            fell=self._fell,
        )
        await record.open()
        try:
            sent = await relayed_request.made(
                self._kind,
                target,
                candidate.upstream_model,
                self._call,
                self._form,
                self._request,
                chat,
                self._about,
            )
            if parts.forwards_trace:
                sent.headers.extend(tracing.headers(self._head.traceparent, self._head.tracestate, record.id))
            if parts.forwards_headers:
                sent.headers.extend(passed.as_meant(own_headers.forwarded(self._request.headers(), sent.headers)))
            before = parts.clock.seconds()
            async with relayed_request.stream(parts, target, sent, self._left_ms(target), IDLE_MS) as answer:
                record.head(answer.headers)
                about = account.about_of(target, candidate, self._call.model)
                if answer.status >= 300:
                    return await self._refused(answer, record, about, candidate, in_own_wire=chat is None)
                parts.health.answered(candidate.deployment_id, parts.clock.seconds() - before)
                answered = Undone(answer) if chat is None else chat.answer(Undone(answer))
                if self._kept is not None and chat is None:
                    leaving = self._kept.leaving(candidate.deployment_id, found_as(self._call, self._fell))
                    record.goes_on = self._kept.new_in(leaving) if self._runs_on else None
                    answered = WithOwnIds(answered, leaving, START_BYTES_MAX, self._request.hold)
                try:
                    return await self._pass(answered, record, about)
                finally:
                    answered.drop()
        except (OutboundError, CredentialsError) as error:
            cause = cause_of(error, has_head=record.has_head, is_stream=self._call.stream, has_begun=record.has_begun)
            timeout = cause == "timeout"
            refusal = (errors.provider_timeout if timeout else errors.provider_unreachable)(candidate.provider)
            billed = timeout or cause == "reset"
            record.settle("timeout" if timeout else "provider_error", refusal.status, refusal.code, billed=billed)
            following = self._after(Failed(cause))
            return self._or_no(None if self._request.answered else following, refusal, record)
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
        self, answer: Streamed, record: Relayed, about: str, candidate: Candidate, *, in_own_wire: bool
    ) -> Answer | Step:
        """What is no success, in the provider's words where they are JSON."""
        status, parts = answer.status, self._parts
        record.settle("provider_error", status, f"provider_{status}", billed=False)
        cause, is_of_call = causes.of_status(status), self._about is None
        wait_s = failures.retry_after_s(
            [(name.encode(), value.encode("latin-1", "replace")) for name, value in answer.headers]
        )
        says_which = status in SAYS_WHICH
        if not says_which and (following := self._after(Failed(cause, "", wait_s), is_its_fault=is_of_call)):
            return following  # nobody waits for the words of one that is down
        body = await Undone(answer).beginning(failures.ERROR_BYTES_MAX)
        if says_which:
            is_held = causes.held_elsewhere(status, body, self._call.fields)
            is_missing = status in NOT_THERE and not is_held and not causes.of_model(body)
            if is_missing and in_own_wire and self._route.name == RESPONSES:
                parts.by_chat.add(candidate.deployment_id)
                return await self._asked_of(candidate, parts.targets[candidate.deployment_id])
            kind = causes.kind_of(status, body.decode("utf-8", "replace"))
            failed = Failed(ELSEWHERE if is_held else cause, kind, wait_s)
            is_its_fault = is_of_call and not is_held and not is_missing
            if following := self._after(failed, is_its_fault=is_its_fault):
                return following
        if status in NOT_THERE and self._route.name == COUNT:
            return await counting.answer(parts, self._call, candidate.upstream_model)
        body = failures.provider_error(body, status, record.provider)
        if self._kept is not None:
            body = self._kept.renamed(body)
        return await self._said(record, about, answer.headers, status if status >= 400 else 502, body)

    async def _none(self, judge: Judge, answer: Undone, record: Relayed, about: str, problem: str) -> Answer | Step:
        """A success that holds none."""
        refusal = errors.provider_bad_answer(record.provider)
        if judge.error is None:
            record.settle("provider_error", refusal.status, refusal.code, billed=False)
            failed = Failed(problem if problem in CAUSES else "unreadable")
            return self._or_no(self._after(failed), refusal, record)
        failure = failures.of_error_answer(judge.error, record.provider)
        record.settle("provider_error", failure.answer_status, failure.code, billed=False)
        following = self._after(failure.failed())
        return following or await self._said(record, about, answer.headers, failure.answer_status, failure.body)

    def _or_no(self, following: Step | None, refusal: Refusal, record: Relayed | None = None) -> Step:
        """Raises RefusedError where nothing follows."""
        if following is not None:
            return following
        raise RefusedError(refusal) if record is None else RefusedError(refusal, record.id, record.call_id)

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
        duration_s = self._way.deadline_ms / 1000 - self._left_s()
        return (
            f"x-litellm-response-duration-ms: {duration_s * 1000:.3f}\r\n"
            f"{about}x-litellm-call-id: {record.call_id}\r\nx-tollgate-request-id: {record.id}\r\n"
            f"x-litellm-attempted-retries: {self._attempts - 1 - self._fallen_back}\r\n"
            f"x-litellm-attempted-fallbacks: {self._fallen_back}\r\n"
            f"{self._screening.header()}{passed.to_client(headers)}{failures.told_lines(headers)}"
        )

    async def _pass(self, answer: Undone, record: Relayed, about: str) -> Answer | Step:
        """Raises RefusedError.

        Args:
            about: lines about whoever answers.
        """
        content_type, kind = dict(answer.headers).get("content-type", ""), self._kind
        judge = record.judge = Judge(
            content_type, is_sound=kind.is_sound, may_be_text=kind.may_be_text, has_end=kind.has_end
        )
        record.tap(answer)
        held, problem = await self._start(answer, record, judge)
        if problem is not None:
            return await self._none(judge, answer, record, about, problem)
        refusal = await self._screening.beside()
        hooks = None if judge.is_stream else hooks_of(self._parts, kind, content_type)
        if refusal is None and (hooks is not None or self._screening.has("post_call")):
            held, refusal = await self._held(answer, record, held)
            if refusal is None and hooks is not None:
                caller = self._permit.grant.caller
                held, refusal = await hooks.answered(held, self._call, self._route, caller, self._request)
            if refusal is None and self._screening.has("post_call"):
                held, refusal = await screened_answer(self._screening, held, content_type)
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

    async def _start(self, answer: Undone, record: Relayed, judge: Judge) -> tuple[bytes, str | None]:
        """What comes until it is known to be an answer, and what is wrong with it where it is none.
        What takes long to become one, or much room, is passed on as it comes."""
        clock, pieces, size = self._parts.clock, list[bytes](), 0
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

    async def _held(self, answer: Undone, record: Relayed, start: bytes) -> tuple[bytes, Refusal | None]:
        """All of an answer, or why there is no room for it."""
        pieces, size = [start], len(start)
        async for chunk in answer.chunks():
            record.feed(chunk)
            size += len(chunk)
            if size > self._parts.settings.edge_answer_bytes_max or not self._request.hold(len(chunk)):
                return b"", errors.overloaded()
            pieces.append(chunk)
        return b"".join(pieces), None
