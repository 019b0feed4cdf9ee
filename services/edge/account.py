"""The book of one call: this alone makes `opened`, `settled` and `refused`.

    new ──open──> opened ──settle──> settled          (opened is on the wire before the provider sees a byte)

An account is opened once and settled once; the first end stands. A call that goes on after work
that may have been billed (an attempt cut off, another model) settles what was, and goes on under an
account of its own: each has its own row and price.
"""  # noqa: W505

import contextlib
from collections.abc import Mapping
from typing import Any, Final, NoReturn

import msgspec
import structlog

from services.edge import own_headers, payload, provider_ids
from services.edge.answers import about, named
from services.edge.asked import Asked
from services.edge.formats.base import Call
from services.edge.formats.fields import says_true
from services.edge.formats.wire import AnswerHead
from services.edge.group_commit import FactBatch
from services.edge.parts import Parts
from services.edge.prepared import Heading
from services.edge.provider_ids import NO_HEAD
from services.edge.providers.base import Target
from services.edge.reading import Head
from services.edge.screening import Screening
from services.edge.series import SERIES
from services.edge.tallies import ENDED
from shared import errors
from shared.addresses import shortened
from shared.billing import Cost, Price, Usage, cost, most_picousd
from shared.errors import Refusal, RefusedError
from shared.facts import Caller, Refused, encode_fact, encode_opened, encode_rest_of_opened, encode_settled
from shared.grant import Candidate, Permit, merge_tags
from shared.ids import new_request_id
from shared.money import CALL_PICOUSD_MAX
from shared.routes import Route

log = structlog.get_logger()

NOTHING: Final = Usage()
FREE: Final = Cost(0, ())
ID_CHARACTERS_MAX: Final = 256
"""Of what a provider calls its response and model: a fact has to fit a message whatever it says."""

_AT_ONCE: Final = "x-litellm-attempted-retries: 0\r\nx-litellm-attempted-fallbacks: 0\r\n"
_NEXT: Final = {("new", "open"): "opened", ("opened", "settle"): "settled"}


FALLBACK_TO: Final = "tollgate_fallback_to"
"""In the metadata of a call that another model was asked for: which."""
LOG_OFF_MAX = 32
NO_LOG_OFF: Final[list[str]] = []


def log_off(disabled: str | None, fields: dict[str, msgspec.Raw]) -> list[str]:
    """Callbacks the request turned off (shared.facts.Opened.log_off)."""
    if says_true(fields, "no-log"):
        return ["*"]
    return [name for part in disabled.split(",") if (name := part.strip())][:LOG_OFF_MAX] if disabled else []


class Account:
    __slots__ = (
        "_batch", "_heading", "_opened", "_parts", "_payload", "_rest", "asked", "attempts", "candidate", "content", "cost_picousd",
        "fallback_to", "fallen_back", "first_byte_at_ms", "id", "opened_at_ms", "outcome", "provider_head", "provider_s", "shares",
        "state", "tried", "usage",
    )  # fmt: skip

    def __init__(self, parts: Parts, asked: Asked, candidate: Candidate) -> None:
        self._parts = parts
        self.asked = asked
        self.candidate = candidate
        """Whom the call is at; another one may still answer."""
        self.id = new_request_id()
        self.opened_at_ms = parts.clock.unix_ms()
        self.state = "new"
        self.attempts = 0
        self.tried = self.fallen_back = 0
        """Attempts under accounts before this one, and models left for another."""
        self.fallback_to: str | None = None
        """The other model; None: it is at the one that was asked for."""
        self.provider_s = 0.0
        """Time spent waiting for providers; the rest of the request is our overhead."""
        self.provider_head: Mapping[bytes, bytes] = NO_HEAD
        """The one that the last attempt got."""
        self.first_byte_at_ms: int | None = None
        self.outcome, self.usage = "", NOTHING
        self.cost_picousd: int | None = None
        self.shares: tuple[tuple[str, int], ...] = ()
        """How it ended, and what of its cost was for what (billing.Cost)."""
        self._heading: Heading | None = None
        self._opened = self._rest = b""
        """The fact, encoded; and what of it doesn't depend on whom the call is at."""
        self._batch: FactBatch | None = None
        self.content = payload.of(parts, asked) if asked.permit.grant.content else None
        """Of the answer, where somebody wants it kept."""
        self._payload: FactBatch | None = None

    @property
    def call_id(self) -> str:
        """The client's name for its call, or ours."""
        return self.asked.head.litellm_call_id or self.id

    async def open(self, deadline_ms: int) -> None:
        """On the wire when it returns. Raises RefusedError when that can't be."""
        batch = self._parts.recorder.append(self.begin(deadline_ms))
        if not batch.on_wire:
            try:
                await batch.wait_on_wire()
            except TimeoutError:
                self.settle("edge_error", 503, NOTHING, error_code="book_unavailable")
                raise RefusedError(errors.book_unavailable()) from None

    def begin(self, deadline_ms: int) -> bytes:
        """The fact, to be recorded before anybody is asked. Where nobody is, and the end follows
        before anything is awaited, the end alone says all of it.
        """
        parts, asked = self._parts, self.asked
        permit, call, head = asked.permit, asked.call, asked.head
        self.state = _NEXT[self.state, "open"]
        metadata = permit.spend_logs_metadata
        if head.told is not None or FALLBACK_TO in metadata:
            metadata = logged(metadata, head)
        if self.fallback_to is not None:
            metadata = {**metadata, FALLBACK_TO: self.fallback_to}
        self._rest = encode_rest_of_opened(
            call.stream,
            recorded_customer(parts, call),
            recorded_tags(parts, permit.tags, head) if parts.tags_clients or head.own_tags else permit.tags,
            metadata,
            recorded(parts, head.ip),
            head.user_agent,
            asked.screening.names,
            max_cost(self.candidate, call),
            head.litellm_call_id,
            self.opened_at_ms + deadline_ms + parts.settings.edge_expiry_slack_ms,
            head.session_id,
            NO_LOG_OFF if call.plain and head.log_off is None else log_off(head.log_off, call.fields),
        )
        heading = self._heading = self._heading_of(self.candidate)
        self._opened = encode_opened(self.id, self.opened_at_ms, heading.encoded, self._rest)
        return self._opened

    def settle(
        self,
        outcome: str,
        status: int,
        usage: Usage,
        answer: AnswerHead | None = None,
        error_code: str | None = None,
        *,
        free: bool = False,
    ) -> int | None:
        """Append the one end; returns the cost. A second call does nothing: the first outcome
        stands.

        `free`: no provider was asked, so it cost nothing whatever it used.
        """
        state = _NEXT.get((self.state, "settle"))
        if state is None:
            return None
        self.state = state
        parts, candidate, heading = self._parts, self.candidate, self._heading
        assert heading is not None
        if candidate is not heading.candidate:  # another one has answered than the first
            heading = self._heading_of(candidate)
            self._opened = encode_opened(self.id, self.opened_at_ms, heading.encoded, self._rest)
        screened, said_id, said_model = self.asked.screening.outcomes, None, None
        if answer is not None:
            said_id, said_model = answer.id, answer.model
        found = FREE if free else cost_of(candidate.price, usage)
        amount = found.picousd
        self.outcome, self.usage, self.cost_picousd, self.shares = outcome, usage, amount, found.shares
        fact = encode_settled(
            self._opened,
            parts.clock.unix_ms(),
            outcome,
            status,
            usage,
            amount,
            self.first_byte_at_ms,
            said_id[:ID_CHARACTERS_MAX] if said_id else None,
            said_model[:ID_CHARACTERS_MAX] if said_model else None,
            self.attempts,
            error_code,
            screened,
            found.flags,
            provider_ids.in_head(self.provider_head),
        )
        if self.content is not None:
            self._payload = self.content.record(parts, self.asked, self.id, self.opened_at_ms)
        self._batch = parts.recorder.append(fact)
        if usage is not NOTHING:
            parts.health.used(candidate.deployment_id, usage.input_tokens + usage.output_tokens)
        self._count(heading, status, error_code)
        if screened:
            SERIES.checked(screened)
        return amount

    async def settle_durably(
        self,
        outcome: str,
        status: int,
        usage: Usage,
        answer: AnswerHead | None = None,
        error_code: str | None = None,
        *,
        free: bool = False,
    ) -> int | None:
        """Settle and wait until it is safe. Returns the cost.

        Raises ConnectionError when it isn't safe in time: the client must not believe a complete
        answer then.
        """
        amount = self.settle(outcome, status, usage, answer, error_code, free=free)
        await self.durable()
        return amount

    async def durable(self) -> None:
        """Until its end is safe; as `settle_durably`."""
        if self._payload is not None:
            await payload.settled(self._payload)
        batch = self._batch
        assert batch is not None
        if not batch.durable:
            try:
                await batch.wait_durable()
            except TimeoutError:
                log.error("settled_not_durable_in_time")
                self.asked.request.abort()
                raise ConnectionAbortedError from None

    def named(self, passed: str = "") -> str:
        """What the answer says of its call (answers.named).

        Args:
            passed: rendered lines of the provider's.
        """
        if self.tried or self.fallen_back:
            passed += f"x-litellm-attempted-retries: {self.tried + self.attempts - 1 - self.fallen_back}\r\n"
            passed += f"x-litellm-attempted-fallbacks: {self.fallen_back}\r\n"
        elif self.attempts > 1:
            passed += f"x-litellm-attempted-retries: {self.attempts - 1}\r\nx-litellm-attempted-fallbacks: 0\r\n"
        else:
            passed += _AT_ONCE
        heading = self._heading
        if heading is None or heading.candidate is not self.candidate:
            heading = self._heading_of(self.candidate)
        said, target = heading.about, self._parts.targets.get(self.candidate.deployment_id)
        if said is None or said[0] is not target:
            said = heading.about = target, about_of(target, self.candidate, self.asked.call.model)
        duration_s, provider_s = self._parts.clock.seconds() - self.asked.started, self.provider_s
        overhead_s = duration_s - provider_s if duration_s > provider_s else 0.0
        return named(said[1], self.id, self.call_id, duration_s, overhead_s, passed)

    def follows(self, before: "Account", fallback_to: str | None) -> None:
        """This account goes on where another ended. `fallback_to`: with another model."""
        self.tried = before.tried + before.attempts
        self.fallen_back = before.fallen_back + (fallback_to is not None)
        self.fallback_to = fallback_to or before.fallback_to

    def _heading_of(self, candidate: Candidate) -> Heading:
        asked = self.asked
        prepared = asked.prepared
        return prepared.headings.get(id(candidate)) or prepared.heading(
            self._parts.edge_id, asked.route, asked.permit.grant, asked.call.model, candidate
        )

    def _count(self, heading: Heading, status: int, error_code: str | None) -> None:
        """For the metrics."""
        asked, provider_s = self.asked, self.provider_s
        elapsed = self._parts.clock.seconds() - asked.started
        overhead = elapsed - provider_s if elapsed > provider_s else 0.0
        first_token_s = None
        if asked.call.stream and self.first_byte_at_ms is not None:
            first_token_s = max(0, self.first_byte_at_ms - self.opened_at_ms) / 1000
        asked_s = provider_s if self.attempts else None
        ENDED.put(
            (
                heading.totals, self.outcome, status, error_code, self.usage, self.cost_picousd, elapsed, overhead, asked_s,
                first_token_s,
            )
        )  # fmt: skip


def about_of(target: Target | None, candidate: Candidate, model: str) -> str:
    """What answers of a candidate say of it: rendered lines (answers.about)."""
    api_base, region = "", ""
    if target is not None:
        params = target.deployment.params
        region = params.aws_region_name or params.vertex_location or ""
        if target.origin is not None:
            api_base = f"{target.origin.scheme}://{target.origin.authority}{target.base_path}"
    return about(candidate.deployment_id, model, f"{candidate.provider}/{candidate.upstream_model}", api_base, region)


def logged(metadata: dict[str, Any], head: Head) -> dict[str, Any]:
    """What the book keeps beside a call: of its caller, and whose trace it belongs to. What only an
    edge notes can't be its caller's.
    """
    if FALLBACK_TO in metadata:
        metadata = {name: value for name, value in metadata.items() if name != FALLBACK_TO}
    return metadata if head.told is None else {**metadata, **head.told}


def recorded(parts: Parts, ip: str | None) -> str | None:
    """A client's address as the book may have it."""
    kept = parts.settings.edge_requester_ip
    return ip if kept == "full" else shortened(ip) if kept == "short" else None


def recorded_customer(parts: Parts, call: Call) -> str | None:
    """Whom a call is made for, as the book may have it."""
    return call.customer_id if parts.records_customers else None


def recorded_tags(parts: Parts, tags: list[str], head: Head) -> list[str]:
    """A call's, as the book may have them: nothing is decided by what its client is called, nor by
    the operator's own headers.
    """
    more = [*head.own_tags]
    if parts.tags_clients and head.user_agent:
        more += own_headers.client_tags(head.user_agent)
    return merge_tags(tags, more) if more else tags


def cost_of(price: Price | None, usage: Usage) -> Cost:
    """What it cost, and why that is a guess. What can't be a cost is recorded as unpriced."""
    if usage is NOTHING:
        return FREE
    if price is None:
        return Cost(None, usage.flags)
    found = cost(price, usage)
    if found.picousd is not None and found.picousd > CALL_PICOUSD_MAX:
        found = Cost(None, found.flags)
    return msgspec.structs.replace(found, flags=(*usage.flags, *found.flags)) if usage.flags else found


def max_cost(candidate: Candidate, call: Call) -> int | None:
    """The most a call may cost at a candidate; None: no bound is known.

    A token is at least a byte of what was sent, so the body's length bounds the input.
    """
    output = call.max_output_tokens
    if output is None or candidate.price is None:
        return None
    most = most_picousd(candidate.price, Usage(len(call.body), output))
    return most if most <= CALL_PICOUSD_MAX else None


async def refuse(
    parts: Parts,
    refusal: Refusal,
    route: Route,
    head: Head,
    caller: Caller,
    call: Call | None = None,
    permit: Permit | None = None,
    screening: Screening | None = None,
) -> NoReturn:
    """Leave the fact of a request that never was opened, then raise. A no stands even where it
    can't be recorded in time.
    """
    fact = Refused(
        id=new_request_id(),
        at_ms=parts.clock.unix_ms(),
        edge_id=parts.edge_id,
        caller=caller,
        route=route.name,
        model=call.model if call is not None else "",
        status=refusal.status,
        error_code=refusal.code,
        refused_by="policy" if screening is None else "moderation",
        customer_id=recorded_customer(parts, call) if call is not None else None,
        tags=recorded_tags(parts, permit.tags if permit is not None else call.tags if call is not None else [], head),
        requester_ip=recorded(parts, head.ip),
        user_agent=head.user_agent,
        litellm_call_id=head.litellm_call_id,
        guardrail_outcomes=screening.outcomes if screening is not None else [],
        call_type=route.call_type,
        spend_logs_metadata=logged(permit.spend_logs_metadata if permit is not None else {}, head),
    )
    SERIES.refused(fact)
    if parts.strangers.keeps(fact):
        raise RefusedError(refusal, None, head.litellm_call_id or fact.id)
    batch = parts.recorder.append(encode_fact(fact))
    with contextlib.suppress(TimeoutError):
        await batch.wait_durable()
    raise RefusedError(refusal, fact.id, head.litellm_call_id or fact.id)
