"""Trying candidates until one answers: carries out what routing/plan.py decides, and keeps the
account.

Whatever happens, each opened account is settled exactly once: here with what the last attempt came
to, in relay.py with the answer, or by a task of its own when nobody waits any more.
"""

import asyncio
from typing import Final

import msgspec
import structlog

from services.edge import counting, failures, own_headers, sources
from services.edge.account import NOTHING, Account
from services.edge.asked import Asked
from services.edge.failures import Failure
from services.edge.fallen import RESTING
from services.edge.fallen_account import FallenAccount
from services.edge.formats.base import Call
from services.edge.http import Answer
from services.edge.parts import Parts
from services.edge.provider_ids import NO_HEAD
from services.edge.providers.base import CredentialsError, Options, Target, Translator
from services.edge.relay import Relay
from services.edge.routing import plan, steps
from services.edge.routing.plan import Step
from services.edge.routing.rooms import Place
from services.edge.routing.way import Way
from services.edge.screening import CutError
from services.edge.sources import Source
from services.edge.upstream import UpstreamError, read_headers, render_headers
from shared import logging, tracing
from shared.billing import Usage
from shared.errors import RefusedError
from shared.grant import Candidate

log = structlog.get_logger()

SHOWN_BYTES_MAX = 64 * 1024
"""Of a body that `--detailed_debug` shows."""

UNAUTHORIZED: Final = 401
STREAM_OPTIONS: Final = b"stream_options"


class _Attempt(msgspec.Struct):
    """What goes to one candidate."""

    candidate: Candidate
    target: Target
    call: Call
    """With the parameters this deployment gets."""
    translator: Translator | None
    options: Options | None
    """What it needs. Both None: the candidate speaks the client's format."""
    body: bytes
    ask_usage: bool
    """The usage chunk of a stream is asked for."""


class Attempts:
    def __init__(self, parts: Parts, asked: Asked, way: Way) -> None:
        self._parts = parts
        self._asked = asked
        self._way = way
        self._account = Account(parts, asked, way.groups[0].candidates[0])
        self._relay: Relay | None = None
        self._source: Source | None = None
        self._place: Place | None = None
        """Of the present attempt, where its deployment has a limit of them."""
        self._head_at = 0.0
        """When the last provider's head came, or the attempt began; by the clock's seconds."""

    @property
    def account(self) -> Account:
        """Of the attempt that it came to."""
        return self._account

    async def run(self) -> Answer:
        """Raises RefusedError for the error boundary, after settling."""
        abandoned = "edge_error", 500
        if self._asked.permit.guardrails:
            self._start_beside()
        try:
            return await self._run()
        except RefusedError as no:
            no.request_id, no.call_id = self._account.id, self._account.call_id
            raise
        except (asyncio.CancelledError, ConnectionError):  # the latter: a client gone between two writes
            abandoned = "client_gone", 499
            raise
        finally:
            self._drop()
            if self._account.state == "opened":
                # Nobody waits any more: settled in a task that the edge waits for when it stops.
                self._parts.tasks.start(self._settle_abandoned(*abandoned))

    async def _run(self) -> Answer:
        parts, groups = self._parts, self._way.groups
        parts.budget.call(self._asked.started)
        step = plan.FIRST
        if len(groups) > 1:
            step = steps.first(parts, self._way)
            if step.group:
                there = groups[step.group].candidates[step.position]
                self._account = FallenAccount(parts, self._asked, there, RESTING)
                self._account.fallback_to = groups[step.group].model
        opened_for = -1
        while True:
            group = groups[step.group]
            account = self._account
            candidate = group.candidates[step.position]
            if parts.targets[candidate.deployment_id].parallel_max is not None:
                step = self._to_room(step)
                candidate = group.candidates[step.position]
            account.candidate = candidate
            try:
                attempt = self._prepare(candidate)
                if opened_for != step.group:
                    opened_for = step.group
                    await account.open(
                        self._way.deadline_ms if account.tried == 0 else max(1, self._left_ms(parts.clock.seconds()))
                    )
                account.attempts += 1
                return await self._one(attempt)
            except CutError as no:  # a guardrail beside the call
                usage = await counting.count(parts, account, [], "lower_bound")
                await account.settle_durably("blocked", no.refusal.status, usage, None, no.refusal.code)
                raise
            except RefusedError as no:  # what was asked can't be said in the provider's wire, or a guardrail says no
                if account.state == "opened":
                    account.settle("provider_error", no.refusal.status, NOTHING, None, no.refusal.code)
                raise
            except Failure as failure:
                self._drop()
                left_s = self._left_ms(parts.clock.seconds()) / 1000
                following = steps.after(parts, self._way, step, failure.failed(), left_s)
                if following is None:
                    return await self._give_up(failure)
                if failure.row.billed or following.group != step.group:
                    await self._settle(failure)
                    there = groups[following.group].candidates[following.position]
                    falls = following.group != step.group
                    cause = failure.cause if falls else account.cause if isinstance(account, FallenAccount) else None
                    self._account = (
                        FallenAccount(parts, self._asked, there, cause) if cause else Account(parts, self._asked, there)
                    )
                    self._account.follows(account, groups[following.group].model if falls else None)
                    opened_for = -1
                self._account.provider_head = NO_HEAD
            finally:
                if self._place is not None:
                    parts.rooms.give(self._place)
                    self._place = None
            if following.wait_s:
                await asyncio.sleep(following.wait_s)
            step = following

    def _to_room(self, step: Step) -> Step:
        """To whoever has the most room, from this one on. Its place, or one in its line, is taken
        before anything is awaited.
        """
        parts, way = self._parts, self._way
        step = steps.to_room(parts, way, step)
        deployment = way.groups[step.group].candidates[step.position].deployment_id
        limit = parts.targets[deployment].parallel_max
        self._place = None if limit is None else parts.rooms.take(deployment, limit)
        return step

    def _start_beside(self) -> None:
        """The guardrails that run beside the provider's call."""
        asked = self._asked
        candidates = asked.permit.candidates
        asked.screening.start_beside(asked.call, candidates[0].upstream_model if candidates else "")

    # ── one attempt ──

    def _prepare(self, candidate: Candidate) -> "_Attempt":
        """What goes to a candidate. Raises RefusedError for what can't be said in its wire."""
        asked = self._asked
        target = self._parts.targets[candidate.deployment_id]
        call, format = asked.call, asked.format
        if target.parameters is not None:
            fields = target.parameters.apply(call.fields)
            if fields is not call.fields:  # no longer what the body says
                call = msgspec.structs.replace(call, fields=fields, body=b"", exact=None)
        ask_usage = True
        if call.stream and not call.wants_usage:
            ask_usage = not self._parts.health.of(candidate.deployment_id).no_stream_options
        translator, options, body = None, None, b""
        if format.name in target.provider.wires:
            if target.origin is not None:
                body = format.upstream_body(call, candidate.upstream_model, ask_usage=ask_usage)
        else:
            translator = target.provider.translators[format.name]
            options = self._options(target, candidate, call)
            if target.origin is not None:
                body = translator.request(format.upstream_fields(call), candidate.upstream_model, options)
        return _Attempt(candidate, target, call, translator, options, body, ask_usage)

    def _options(self, target: Target, candidate: Candidate, call: Call) -> Options:
        """What a translator needs."""
        account = self._account
        return Options(
            target.deployment,
            call.stream,
            f"chatcmpl-{account.id}",
            account.opened_at_ms // 1000,
            candidate.upstream_model,
            base64=bytes(call.fields.get("encoding_format", b"")) == b'"base64"',
            modify_params=target.modify_params,
        )

    async def _one(self, attempt: "_Attempt") -> Answer:
        """Raises Failure."""
        if attempt.target.parallel_max is not None:
            left_s = self._left_ms(self._parts.clock.seconds()) / 1000
            if self._place is None or not await self._parts.rooms.wait(self._place, left_s):
                raise Failure("full", attempt.candidate.provider)
        parts, candidate = self._parts, attempt.candidate
        clock = parts.clock
        before = self._head_at = clock.seconds()
        state = parts.health.started(candidate.deployment_id, before)
        try:
            source = self._source = await self._send(attempt, attempt.body, before)
            if source.status >= 300:
                source = self._source = await self._sent_again(attempt, source)
            if source.status < 300:
                state.answered(self._head_at - before)
            relay = self._relay = Relay(
                parts, self._account, source, attempt.target, attempt.translator, attempt.options
            )
            return await relay.pass_on()
        finally:
            state.running -= 1

    async def _sent_again(self, attempt: "_Attempt", source: Source) -> Source:
        """What a refusal that is ours to mend comes to at the second try; any other as it is."""
        if source.status == UNAUTHORIZED and await self._has_another_key(attempt):
            source.abort()
            source = self._source = await self._send(attempt, attempt.body, self._parts.clock.seconds())
        if source.status in (400, 422) and self._added_options(attempt):
            source = await self._without_options(attempt, source)
        return source

    async def _has_another_key(self, attempt: "_Attempt") -> bool:
        """The key was refused: whether the deployment has another one by now, which `attempt` is
        then made with.
        """
        targets, deployment = self._parts.targets, attempt.candidate.deployment_id
        if targets.get(deployment) is attempt.target:
            await self._parts.key_refused()
        found = targets.get(deployment)
        if found is None or found is attempt.target:
            return False
        attempt.target = found
        return True

    def _added_options(self, attempt: "_Attempt") -> bool:
        """Whether the `stream_options` of what was sent are only ours."""
        call = self._asked.call
        return (
            call.stream and attempt.ask_usage and not call.wants_usage and attempt.translator is None
            and "stream_options" not in call.fields
        )  # fmt: skip

    async def _without_options(self, attempt: "_Attempt", source: Source) -> Source:
        """A deployment that refuses the `stream_options` only we added is asked again without."""
        try:
            said = await source.read(failures.ERROR_BYTES_MAX)
        except UpstreamError:
            said = b""
        if STREAM_OPTIONS not in said:
            return sources.Said(source, said)
        self._parts.health.of(attempt.candidate.deployment_id).no_stream_options = True
        body = self._asked.format.upstream_body(attempt.call, attempt.candidate.upstream_model, ask_usage=False)
        return await self._send(attempt, body, self._parts.clock.seconds())

    async def _send(self, attempt: "_Attempt", body: bytes, before: float) -> Source:
        """The provider's head."""
        parts, asked, account, target = self._parts, self._asked, self._account, attempt.target
        call, provider, format = asked.call, target.provider, asked.format.name
        if target.origin is None:
            played = provider.play(target, format, call, f"chatcmpl-{account.id}", account.opened_at_ms // 1000)
            return sources.Played(played)
        path = provider.path(target, format, attempt.candidate.upstream_model, stream=call.stream)
        headers = target.headers
        if target.credentials is not None:
            try:
                headers += await target.credentials.headers("POST", path, body)
            except CredentialsError:
                log.warning("no_credential", deployment=target.deployment.id)
                raise Failure("no_credential", attempt.candidate.provider) from None
            before = parts.clock.seconds()
        if parts.forwards_trace and asked.head.traceparent is not None:
            headers += render_headers(tracing.headers(asked.head.traceparent, asked.head.tracestate, account.id))
        if parts.forwards_headers:
            headers += render_headers(own_headers.forwarded(asked.request.headers(), read_headers(headers)))
        if logging.detailed():
            _show(target, path, headers, body)
        deadlines = target.stream_deadlines if call.stream else target.deadlines
        within_ms = max(1, self._left_ms(before))
        sending = parts.upstream.send(target.origin, "POST", path, headers, body, deadlines, within_ms)
        try:
            if asked.permit.guardrails and asked.screening.is_beside:
                response = await asked.screening.unless_refused(sending)
            else:
                response = await sending
        except UpstreamError as error:
            raise failures.of_upstream(error, attempt.candidate.provider) from None
        finally:
            now = self._head_at = parts.clock.seconds()
            account.provider_s += now - before
        account.first_byte_at_ms, account.provider_head = parts.clock.unix_ms(), response.fields
        return response

    # ── the end ──

    async def _give_up(self, failure: Failure) -> Answer:
        """Nothing follows: the client gets what the last provider said."""
        account = self._account
        await account.settle_durably(
            failure.row.outcome, failure.answer_status, await self._usage(failure), None, failure.code
        )
        if not failure.body and not failure.passed:
            raise RefusedError(failure.refusal())
        return failure.answer(account.named())

    async def _settle(self, failure: Failure) -> None:
        """The row of what was tried, before the call goes on under another."""
        usage = await self._usage(failure)
        self._account.settle(failure.row.outcome, failure.answer_status, usage, None, failure.code)

    async def _usage(self, failure: Failure) -> Usage:
        if not failure.row.billed:
            return NOTHING
        return await counting.count(self._parts, self._account, [], "lower_bound")

    async def _settle_abandoned(self, outcome: str, status: int) -> None:
        reader = self._relay.reader if self._relay is not None else None
        usage = await counting.lower_bound(self._parts, self._account, reader)
        answer = reader.head() if reader is not None else None
        self._account.settle(outcome, status, usage, answer, outcome)

    def _drop(self) -> None:
        """The provider's work for us ends here."""
        source = self._source
        if source is not None and not source.complete and not (self._relay is not None and self._relay.draining):
            source.abort()
        self._source = None

    def _left_ms(self, now_s: float) -> int:
        """Of the call's deadline."""
        return self._way.deadline_ms - int((now_s - self._asked.started) * 1000)


def _show(target: Target, path: str, headers: bytes, body: bytes) -> None:
    """The request as the provider gets it, for `--detailed_debug`: credentials masked, prompts
    not.
    """
    origin = target.origin
    log.debug(
        "POST Request Sent",
        url=f"{origin.scheme}://{origin.authority}{path.partition('?')[0]}" if origin is not None else "",
        headers=logging.masked(dict(read_headers(headers))),
        body=body[:SHOWN_BYTES_MAX].decode("utf-8", "replace"),
    )
