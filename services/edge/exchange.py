"""One opened call: from `opened` to the one `settled`, whoever answers, fails or leaves in between.

`run` is the only way in. Every path out of it settles exactly once: `settle` is called with the outcome, or the finally of
cancellation hands the settling to a task of its own. Nothing here decides; it carries out steps 5 to 8 of the pipeline.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

import msgspec
import structlog

from services.edge import answering, metrics, openai, providers, screening, sse, texts
from services.edge.http import Answer, Request, StreamAnswer
from services.edge.reading import Head
from services.edge.screening import Screening, StreamWindow
from services.edge.upstream import Response, UpstreamError
from shared import errors
from shared.errors import Refusal, RefusedError
from shared.facts import Opened, Settled, encode_fact
from shared.grant import Candidate, Permit
from shared.ids import new_request_id
from shared.money import CALL_PICOUSD_MAX, Usage, cost_picousd
from shared.routes import Route

if TYPE_CHECKING:
    from services.edge.pipeline import Pipeline
    from services.edge.recorder import Batch

log = structlog.get_logger()

NextChunk = Callable[[], Awaitable[bytes]]
"""What arrived since the last call; b"" at the end."""

ATTEMPTS_MAX = 3
RETRY_STATUSES = frozenset({408, 429, 500, 502, 503, 504})
"""With another candidate left, these go on to it: the provider says it did not do the work."""
NOTHING = Usage()
ID_CHARACTERS_MAX = 256
"""Of what a provider calls its response and model: a fact has to fit a message whatever it says."""


class Exchange:
    def __init__(
        self,
        pipeline: "Pipeline",
        request: Request,
        route: Route,
        head: Head,
        call: openai.Call,
        permit: Permit,
        screening: Screening,
        started: float,
    ) -> None:
        self._pipeline = pipeline
        self._request = request
        self.route = route
        self.head = head
        self.call = call
        self.permit = permit
        self._screening = screening
        self._started = started
        self._opened_at_ms = time.time_ns() // 1_000_000
        self.candidate = self._first_candidate()
        self.id = new_request_id()
        self._response: Response | None = None
        self._reader: sse.Reader | None = None
        self._attempts = 0
        self._deadline_ms = 0
        """For all attempts together: of the first candidate."""
        self._provider_s = 0.0
        """Time spent waiting for the provider; the rest of the request is our overhead."""
        self._first_byte_at_ms: int | None = None
        self._settled: Batch | None = None
        self._opened: Opened | None = None

    async def run(self) -> Answer:
        """Steps 5 to 8. Raises RefusedError for the error boundary, after settling."""
        abandoned = "edge_error", 500
        try:
            await self._open()
            return await self._answer()
        except RefusedError as no:
            no.request_id, no.call_id = self.id, self.head.litellm_call_id or self.id
            raise
        except (asyncio.CancelledError, ConnectionError):  # the latter: a client gone between two writes
            abandoned = "client_gone", 499
            raise
        finally:
            if self._response is not None and not self._response.complete:
                self._response.abort()
            if self._opened is not None and self._settled is None:
                # Nobody waits any more: settled in a task that the edge waits for when it stops.
                self._pipeline.later(self._settle_abandoned(*abandoned))

    async def _answer(self) -> Answer:
        try:
            target = self._pipeline.targets[self.candidate.deployment_id]
            if target.origin is None:
                return await self._answer_mock(target)
            response = await self._call_candidates()
            kind = response.header(b"content-type")
            if response.status >= 300:
                return await self._pass_error(response)
            if self.call.stream and kind is not None and kind.lower().startswith(b"text/event-stream"):
                return await self._pass_stream(response.next_chunk, kind)
            return await self._pass_answer(response)
        except UpstreamError as failure:
            await self._settle_failure(failure)
            raise RefusedError(_refusal_of(failure, self.candidate.provider)) from None

    # ── 5 open ──

    def _first_candidate(self) -> Candidate:
        for candidate in self.permit.candidates:
            if candidate.deployment_id in self._pipeline.targets:
                return candidate
        raise RefusedError(errors.no_deployment(self.call.model))

    async def _open(self) -> None:
        """On the wire before a provider sees a byte."""
        pipeline, permit, call = self._pipeline, self.permit, self.call
        candidate = self.candidate
        self._deadline_ms = pipeline.targets[candidate.deployment_id].deployment.timeout_ms
        self._opened = Opened(
            id=self.id,
            at_ms=self._opened_at_ms,
            edge_id=pipeline.edge_id,
            caller=permit.grant.caller,
            call_type=self.route.call_type,
            route=self.route.name,
            model=call.model,
            deployment_id=candidate.deployment_id,
            provider=candidate.provider,
            upstream_model=candidate.upstream_model,
            price=candidate.price,
            stream=call.stream,
            customer_id=call.customer_id,
            tags=permit.tags,
            spend_logs_metadata=permit.spend_logs_metadata,
            requester_ip=self.head.ip,
            user_agent=self.head.user_agent,
            guardrails=self._screening.names(),
            max_cost_picousd=self._max_cost(candidate),
            litellm_call_id=self.head.litellm_call_id,
            expires_at_ms=self._opened_at_ms + self._deadline_ms + pipeline.settings.edge_expiry_slack_ms,
        )
        batch = pipeline.recorder.append(encode_fact(self._opened))
        try:
            await batch.wait_on_wire()
        except TimeoutError:
            self._settle("edge_error", 503, NOTHING, error_code="book_unavailable")
            raise RefusedError(errors.book_unavailable()) from None

    def _max_cost(self, candidate: Candidate) -> int | None:
        """A token is at least a byte of what was sent, so the body's length bounds the input."""
        output = self.call.max_output_tokens
        if candidate.price is None or (output is None and self.route.name != "/embeddings"):
            return None
        most = cost_picousd(candidate.price, Usage(len(self.call.body), output or 0))
        return most if most <= CALL_PICOUSD_MAX else None

    # ── 6 call ──

    async def _call_candidates(self) -> Response:
        """The first candidate that answers. Goes on to the next only where the last can't have done the work."""
        left = [c for c in self.permit.candidates if c.deployment_id in self._pipeline.targets]
        order = (left * ATTEMPTS_MAX)[:ATTEMPTS_MAX] if len(left) == 1 else left[:ATTEMPTS_MAX]
        for number, candidate in enumerate(order, 1):
            is_last = number == len(order) or self._left_ms() <= 0
            self._attempts, self.candidate = number, candidate
            try:
                response = await self._send(candidate)
            except UpstreamError as failure:
                if is_last or not failure.safe_to_retry or self._left_ms() <= 0:
                    raise
                continue
            if is_last or len(left) == 1 or response.status not in RETRY_STATUSES:
                return response
            response.abort()
        raise RefusedError(errors.no_deployment(self.call.model))

    async def _send(self, candidate: Candidate) -> Response:
        target = self._pipeline.targets[candidate.deployment_id]
        assert target.origin is not None
        body = openai.provider_body(self.call, candidate.upstream_model)
        deadlines = target.deadlines
        if self._attempts > 1:
            deadlines = msgspec.structs.replace(deadlines, total_ms=max(1, min(deadlines.total_ms, self._left_ms())))
        before = time.perf_counter()
        try:
            self._response = await self._pipeline.upstream.send(
                target.origin, "POST", target.path(self.route), target.headers, body, deadlines
            )
        finally:
            self._provider_s += time.perf_counter() - before
        self._first_byte_at_ms = time.time_ns() // 1_000_000
        return self._response

    def _left_ms(self) -> int:
        return self._deadline_ms - int((time.perf_counter() - self._started) * 1000)

    # ── 7 answer, 8 settle ──

    async def _pass_answer(self, response: Response) -> Answer:
        """An answer in one piece, passed on byte for byte."""
        before = time.perf_counter()
        body = await response.read(self._pipeline.settings.edge_answer_bytes_max)
        self._provider_s += time.perf_counter() - before
        return await self._finish_answer(body, response.status, response.header(b"content-type"))

    async def _finish_answer(self, body: bytes, status: int, content_type: bytes | None) -> Answer:
        try:
            answer = openai.answer_head(body)
        except openai.UNREADABLE:
            answer = openai.AnswerHead()
        usage = openai.usage_of(answer.usage) or await self._count(texts.of_answer(body), "estimated")
        if self._screening.has("post_call"):
            body, refusal = await self._screening.answer(body)
            if refusal is not None:
                await self._settled_durably("blocked", refusal.status, usage, answer, refusal.code)
                raise RefusedError(refusal)
        cost = await self._settled_durably("success", status, usage, answer)
        return answering.whole(self, body, status, content_type, cost, self._overhead_s())

    async def _pass_stream(self, next_chunk: NextChunk, content_type: bytes) -> Answer:
        """Events as they come; `[DONE]` only once the end is recorded."""
        reader = self._reader = sse.Reader(hide_usage=not self.call.wants_usage)
        window = StreamWindow(self._screening) if self._screening.has("post_call") else None
        out = answering.stream(self, content_type, self._overhead_s())
        await out.start(self._request)
        failure: Refusal | None = None
        outcome = "success"
        try:
            while not reader.done and (data := await self._next(next_chunk)):
                whole = reader.feed(data)
                if window is not None and whole:
                    whole, failure = await window.feed(whole)
                    if failure is not None:
                        outcome = "blocked"
                        break
                if whole:
                    await out.write(whole)
            else:
                rest = reader.finish()
                if window is not None:
                    whole, failure = await window.feed(rest) if rest else (b"", None)
                    if failure is None:
                        rest, failure = await window.end()
                    outcome, rest = ("blocked", b"") if failure is not None else ("success", whole + rest)
                if rest:
                    await out.write(rest)
        except UpstreamError as error:
            failure, outcome = _refusal_of(error, self.candidate.provider), _outcome_of(error)
        except sse.EventTooLargeError:
            failure, outcome = errors.provider_broke_off(self.candidate.provider), "provider_error"
        if failure is None and (reader.failed or not (reader.done or reader.finished)):
            # An error event, or a clean end of the connection in the middle of what was being said.
            failure, outcome = errors.provider_broke_off(self.candidate.provider), "provider_error"
        return await self._end_stream(out, reader, outcome, failure)

    async def _next(self, next_chunk: NextChunk) -> bytes:
        before = time.perf_counter()
        try:
            return await next_chunk()
        finally:
            self._provider_s += time.perf_counter() - before

    async def _end_stream(self, out: StreamAnswer, reader: sse.Reader, outcome: str, failure: Refusal | None) -> Answer:
        usage = reader.usage or await self._count_stream(reader, "estimated" if failure is None else "lower_bound")
        answer = openai.AnswerHead(reader.response_id, reader.response_model)
        status = 200 if failure is None else failure.status
        await self._settled_durably(outcome, status, usage, answer, failure.code if failure else None)
        if failure is None:
            await out.write(sse.DONE)
        elif not reader.failed or outcome != "provider_error":
            await out.write(sse.error_event(errors.render(failure)))
        await out.end()
        if failure is None and self._response is not None and not self._response.complete:
            # [DONE] is here but the body's end isn't: wait a moment for it, so that the connection can be used again.
            self._pipeline.later(answering.drain(self._response))
            self._response = None
        return out

    async def _pass_error(self, response: Response) -> Answer:
        """What the provider refused, in OpenAI's shape."""
        body = await response.read(answering.ERROR_BYTES_MAX)
        body = answering.provider_error(body, response.status, self.candidate.provider)
        status = response.status if response.status >= 400 else 502  # we follow no redirect, nor make a client do so
        await self._settled_durably("provider_error", status, NOTHING, None, f"provider_{response.status}")
        return answering.whole(
            self, body, status, b"application/json", None, self._overhead_s(), answering.retry_headers(response)
        )

    async def _answer_mock(self, target: providers.Target) -> Answer:
        response_id, now_s = f"chatcmpl-{self.id}", self._opened_at_ms // 1000
        self._attempts = 1
        if not self.call.stream or self.route.name == "/embeddings":
            body = providers.mock_answer(target.deployment, self.route, response_id, now_s)
            return await self._finish_answer(body, 200, b"application/json")
        events = providers.mock_stream(target.deployment, self.route, response_id, now_s)

        async def next_event() -> bytes:
            return next(events, b"")

        return await self._pass_stream(next_event, b"text/event-stream")

    async def _settle_failure(self, failure: UpstreamError) -> None:
        usage = NOTHING if failure.safe_to_retry else await self._count([], "lower_bound")
        refusal = _refusal_of(failure, self.candidate.provider)
        await self._settled_durably(_outcome_of(failure), refusal.status, usage, None, refusal.code)

    async def _settled_durably(
        self,
        outcome: str,
        status: int,
        usage: Usage,
        answer: openai.AnswerHead | None,
        error_code: str | None = None,
    ) -> int | None:
        """Settle and wait until it is safe. Returns the cost.

        Raises ConnectionError when it isn't safe in time: the client must not believe a complete answer then.
        """
        cost = self._settle(outcome, status, usage, answer, error_code)
        assert self._settled is not None
        try:
            await self._settled.wait_durable()
        except TimeoutError:
            log.error("settled_not_durable_in_time")
            self._request.abort()
            raise ConnectionAbortedError from None
        return cost

    def _settle(
        self,
        outcome: str,
        status: int,
        usage: Usage,
        answer: openai.AnswerHead | None = None,
        error_code: str | None = None,
    ) -> int | None:
        """Append the one end. A second call does nothing: the first outcome stands."""
        opened = self._opened
        if opened is None or self._settled is not None:
            return None
        candidate = self.candidate
        if candidate.deployment_id != opened.deployment_id:
            opened = msgspec.structs.replace(
                opened,
                deployment_id=candidate.deployment_id,
                provider=candidate.provider,
                upstream_model=candidate.upstream_model,
                price=candidate.price,
            )
        cost = 0 if usage is NOTHING else None if opened.price is None else cost_picousd(opened.price, usage)
        if cost is not None and cost > CALL_PICOUSD_MAX:
            cost = None
        fact = Settled(
            opened=opened,
            ended_at_ms=time.time_ns() // 1_000_000,
            outcome=outcome,
            status=status,
            usage=usage,
            cost_picousd=cost,
            first_byte_at_ms=self._first_byte_at_ms,
            response_id=(answer.id or "")[:ID_CHARACTERS_MAX] or None if answer is not None else None,
            response_model=(answer.model or "")[:ID_CHARACTERS_MAX] or None if answer is not None else None,
            attempts=self._attempts,
            error_code=error_code,
            guardrail_outcomes=self._screening.outcomes,
        )
        self._settled = self._pipeline.recorder.append(encode_fact(fact))
        self._measure(outcome, usage)
        return cost

    async def _settle_abandoned(self, outcome: str, status: int) -> None:
        reader = self._reader
        usage = NOTHING
        if self._attempts:  # else the provider was never called
            try:
                if reader is not None:
                    usage = reader.usage or await self._count_stream(reader, "lower_bound")
                else:
                    usage = await self._count([], "lower_bound")
            except Exception:
                log.exception("abandoned_call_not_counted")
                usage = Usage(source="lower_bound")
        answer = openai.AnswerHead(reader.response_id, reader.response_model) if reader is not None else None
        self._settle(outcome, status, usage, answer, outcome)

    async def _count_stream(self, reader: sse.Reader, source: str) -> Usage:
        said = [text for event in reader.passed() for _, text in texts.of_chunk(sse.data_of(event))]
        return await self._count(["".join(said)] if said else [], source)

    async def _count(self, answered: list[str], source: str) -> Usage:
        """Where the provider told nothing: counted by us, and marked so."""
        client, model = self._pipeline.bus_client, self.candidate.upstream_model
        try:
            said = texts.of_request(self.call)
        except RefusedError:
            said = [self.call.body.decode("utf-8", "replace")]
        sent, received = await asyncio.gather(
            screening.count_tokens(client, model, said), screening.count_tokens(client, model, answered)
        )
        return Usage(sent, received, source=source)

    def _overhead_s(self) -> float:
        return max(0.0, time.perf_counter() - self._started - self._provider_s)

    def _measure(self, outcome: str, usage: Usage) -> None:
        elapsed = time.perf_counter() - self._started
        metrics.of_route(self.route.name).note(
            outcome, elapsed, max(0.0, elapsed - self._provider_s), usage.input_tokens, usage.output_tokens
        )


def _refusal_of(failure: UpstreamError, provider: str) -> Refusal:
    if failure.kind == "timeout":
        return errors.provider_timeout(provider)
    if failure.kind in ("connect", "tls"):
        return errors.provider_unreachable(provider)
    return errors.provider_broke_off(provider)


def _outcome_of(failure: UpstreamError) -> str:
    return "timeout" if failure.kind == "timeout" else "provider_error"
