"""The facts of a call whose answer flows by as it is: opened before the target sees a byte, settled
once, however it ends.
"""

import asyncio
from collections.abc import Callable
from fractions import Fraction

import msgspec

from services.edge import account, metrics, provider_ids
from services.edge.account import NOTHING
from services.edge.parts import Parts
from services.edge.passthrough.by_chat import Translated
from services.edge.passthrough.guarded import CALL_TYPE, Guarded
from services.edge.passthrough.judge import Judge
from services.edge.passthrough.spoken import Spoken
from services.edge.passthrough.undone import Answered
from services.edge.reading import Head
from services.edge.screening import Screening
from services.edge.series import SERIES
from services.edge.usage.tap import Tap
from shared import errors, prices
from shared.billing import Cost, Price, Usage
from shared.errors import RefusedError
from shared.facts import Caller, Opened, Settled, encode_fact
from shared.grant import Grant, merge_tags
from shared.ids import DeploymentId, new_request_id
from shared.money import PICOUSD_PER_USD, exact_from_usd
from shared.outbound import OutboundError
from shared.passthrough import Entry

PROVIDER = "pass_through"
SAID_BY_TARGET = "said_by_target"
"""The flag of a cost, or usage, that is only a header's word."""
TOKENS_DIGITS_MAX = 10
AMOUNT_CHARACTERS_MAX = 40
SAID_PICOUSD_MAX = 100 * PICOUSD_PER_USD
"""Of one call, far above any: a target that is taken over can't empty a team's budget with one."""


class Record:
    """
    Args:
        route: the table's name of it.
        spoken: what the target is known to speak.
        is_free: a call like this costs nothing, whatever it says.
    """

    _cost_picousd: int | None = None
    """Of the call, whatever was used; None: nobody says."""
    _cost_flags: tuple[str, ...] = ()
    """Why that is a guess."""
    _unsaid: Usage | None = None
    """What was used where the answer says nothing of it."""
    _bills_errors: bool
    """Whether a target that answers with an error may have done its work."""

    def __init__(self, parts: Parts, opened: Opened, route: str, spoken: Spoken, *, is_free: bool) -> None:
        self._parts, self._opened, self._route, self._spoken, self._is_free = parts, opened, route, spoken, is_free
        self.id = opened.id
        self.call_id = opened.litellm_call_id or opened.id
        """The client's name for its call, or ours."""
        self._first_byte_at_ms: int | None = None
        self._provider_request_id: str | None = None
        self.screening: Screening | None = None
        """Whose outcomes are in the book."""
        self._started = parts.clock.seconds()
        self._tap: Tap | None = None
        self._is_settled = False

    def head(self, headers: list[tuple[str, str]]) -> None:
        """The target's answer begins."""
        self._first_byte_at_ms = self._parts.clock.unix_ms()
        self._provider_request_id = provider_ids.in_strings(headers)

    @property
    def has_head(self) -> bool:
        return self._first_byte_at_ms is not None

    def tap(self, answer: Answered) -> Tap | None:
        """What is to be shown the answer as it flows by; None: there is nothing to read in it."""
        said = dict(answer.headers)
        if self._spoken.wire and answer.status < 300 and said.get("content-encoding", "").lower() in ("", "identity"):
            self._tap = Tap(self._spoken.wire, self._spoken.provider, said.get("content-type", ""))
        return self._tap

    async def open(self) -> None:
        """Raises RefusedError when it can't be on the wire."""
        batch = self._parts.recorder.append(encode_fact(self._opened))
        try:
            await batch.wait_on_wire()
        except TimeoutError:
            self.settle("edge_error", 503, "book_unavailable", billed=False)
            raise RefusedError(errors.book_unavailable()) from None
        except asyncio.CancelledError:  # nobody was asked
            self.settle("client_gone", 499, "client_gone", billed=False)
            raise

    def answered(self, status: int) -> None:
        """All of the target's answer is there."""
        if status < 400:
            self.settle("success", status)
        else:
            self.settle("provider_error", status, f"provider_{status}", billed=self._bills_errors)

    def broke(self, error: OutboundError) -> None:
        """The answer had begun."""
        self.settle("timeout" if error.code == "timeout" else "provider_error", 502, f"provider_{error.code}")

    def settle(self, outcome: str, status: int, error_code: str | None = None, *, billed: bool = True) -> None:
        """Synchronous, so that nothing can come between. A second call does nothing.

        Args:
            billed: the target may have done its work.
        """
        if self._is_settled:
            return
        self._is_settled = True
        usage = NOTHING
        amount, flags = (self._cost_picousd, self._cost_flags) if billed else (0, ())
        said = self._tap.finish() if self._tap is not None else None
        if said is None and outcome == "success":
            said = self._unsaid
        if said is not None:
            usage = said if outcome == "success" else msgspec.structs.replace(said, source="lower_bound")
            found = self._priced(usage)
            amount, flags = found.picousd, found.flags
        elif self._is_free and amount is None:
            amount = 0
        fact = Settled(
            opened=self._opened,
            ended_at_ms=self._parts.clock.unix_ms(),
            outcome=outcome,
            status=status,
            usage=usage,
            cost_picousd=amount,
            first_byte_at_ms=self._first_byte_at_ms,
            error_code=error_code,
            flags=flags,
            guardrail_outcomes=self.screening.outcomes if self.screening is not None else [],
            provider_request_id=self._provider_request_id,
        )
        self._batch = self._parts.recorder.append(encode_fact(fact))
        elapsed = self._parts.clock.seconds() - self._started
        SERIES.settled(fact, elapsed, elapsed, metrics.of_route(self._route))

    def _priced(self, usage: Usage) -> Cost:
        """What it costs that the target says was used, and why that is a guess."""
        raise NotImplementedError

    async def durable(self) -> None:
        """The end is safe. Raises ConnectionError when it isn't in time."""
        try:
            await self._batch.wait_durable()
        except TimeoutError:
            raise ConnectionAbortedError from None


class PassedThrough(Record):
    """Of a call of a pass-through endpoint (surfaces/passthrough.py).

    Args:
        grant: None: nobody has to say who they are.
        tags: that the caller names.
        model: as the caller may use it; empty: none that we know.
        asked_model: as the request names it to the target: whose price counts.
    """

    _bills_errors = True
    _said_picousd: int | None = None
    """What the target says that the call cost."""

    def __init__(
        self,
        parts: Parts,
        entry: Entry,
        head: Head,
        grant: Grant | None,
        tags: list[str],
        model: str,
        spoken: Spoken,
        asked_model: str,
        *,
        is_free: bool,
        guarded: Guarded | None,
    ) -> None:
        now_ms, cost = parts.clock.unix_ms(), entry.cost_picousd
        opened = Opened(
            id=new_request_id(),
            at_ms=now_ms,
            edge_id=parts.edge_id,
            caller=Caller() if grant is None else grant.caller,
            call_type=CALL_TYPE,
            route=entry.path,
            model=model,
            deployment_id=DeploymentId(f"pass_through:{entry.id}"[:256]),
            provider=PROVIDER,
            customer_id=head.hints.customer_id if parts.records_customers else None,
            guardrails=list(entry.guardrails),
            upstream_model=entry.host,
            price=None if cost is None else Price(0, 0, request_picousd=cost, source="config"),
            tags=account.recorded_tags(parts, tags if grant is None else merge_tags(tags, grant.tags), head),
            requester_ip=account.recorded(parts, head.ip),
            user_agent=head.user_agent,
            max_cost_picousd=cost,
            litellm_call_id=head.litellm_call_id,
            spend_logs_metadata=account.logged({} if grant is None else grant.spend_logs_metadata, head),
            expires_at_ms=now_ms + int(entry.timeout_s * 1000) + parts.settings.edge_expiry_slack_ms,
        )
        super().__init__(parts, opened, "/pass-through", spoken, is_free=is_free)
        self._asked_model = asked_model
        self._cost_picousd = cost
        self.screening = guarded.told if guarded is not None else None

    def head(self, headers: list[tuple[str, str]]) -> None:
        """A target (another gateway) may say itself how many tokens a call was, and what it cost,
        where the operator doesn't.
        """
        super().head(headers)
        said = dict(headers)
        tokens = said.get("x-litellm-total-tokens", "")
        if tokens.isascii() and tokens.isdigit() and len(tokens) <= TOKENS_DIGITS_MAX:
            self._unsaid = Usage(int(tokens), flags=(SAID_BY_TARGET,))
        if self._cost_picousd is None:
            self._cost_picousd = _amount(said.get("x-litellm-response-cost", ""))
            self._cost_flags = (SAID_BY_TARGET,) if self._cost_picousd is not None else ()

    def _priced(self, usage: Usage) -> Cost:
        """The operator's own price goes before the table's, that before the target's word."""
        opened, provider = self._opened, self._spoken.provider
        if opened.price is None and provider:
            for model in (self._tap.model if self._tap is not None else "", self._asked_model):
                price = prices.lookup(provider, model) if model else None
                if price is not None:
                    self._opened = msgspec.structs.replace(opened, price=price, provider=provider, upstream_model=model)
                    return account.cost_of(price, usage)
        return Cost(self._cost_picousd, tuple(dict.fromkeys((*usage.flags, *self._cost_flags))))


def _amount(usd: str) -> int | None:
    """None: none that can be believed."""
    if len(usd) > AMOUNT_CHARACTERS_MAX:
        return None
    try:
        found = exact_from_usd(usd)
    except ValueError:
        return None
    amount = round(found if isinstance(found, int) else Fraction(*found))
    return amount if amount <= SAID_PICOUSD_MAX else None


class Relayed(Record):
    """Of a call to a deployment that is relayed as it is (surfaces/relayed.py)."""

    _bills_errors = False

    def __init__(
        self,
        parts: Parts,
        opened: Opened,
        wire: str,
        unsaid: Usage | None = None,
        *,
        is_free: bool = False,
        fell: tuple[str, str] | None = None,
    ) -> None:
        """
        Args:
            fell: the other model it has gone on to, and why.
        """
        super().__init__(parts, opened, opened.route, Spoken(wire, opened.provider), is_free=is_free)
        self._unsaid = unsaid
        self.provider = opened.provider
        self.judge: Judge | None = None
        """Of the answer, once there is one."""
        self._shown: Tap | None = None
        self.goes_on: Callable[[], str] | None = None
        """Of a response that is to go on in the background: the provider's id of it; empty: it
        isn't known yet.
        """
        self._added: asyncio.Future[None] | None = None
        self._fell = fell

    def settle(self, outcome: str, status: int, error_code: str | None = None, *, billed: bool = True) -> None:
        """What goes on in the background is open until it is over (background.py)."""
        if self._is_settled:
            return
        if self._fell is not None:
            (to, cause), opened, is_good = self._fell, self._opened, outcome == "success"
            SERIES.fallen.note(opened.caller, opened.model, to, opened.deployment_id, cause, is_good=is_good)
        id = self.goes_on() if self.goes_on is not None and billed else ""
        if not id or (self._tap is not None and self._tap.finish() is not None):
            super().settle(outcome, status, error_code, billed=billed)
            return
        self._is_settled = True
        self._added = self._parts.running.add(self._opened, id)

    async def durable(self) -> None:
        if self._added is None:
            await super().durable()
        else:
            await asyncio.shield(self._added)

    def tap(self, answer: Answered) -> Tap | None:
        if isinstance(answer, Translated):  # its own has seen what this one can't
            self._tap, self._shown = answer.tap, None
        else:
            self._shown = super().tap(answer)
        return self._shown

    @property
    def has_begun(self) -> bool:
        """Whether something of an answer came."""
        return self.judge is not None and self.judge.begun

    def feed(self, data: bytes) -> None:
        """What came next of the answer."""
        assert self.judge is not None
        self.judge.feed(data)
        if self._shown is not None:
            self._shown.feed(data)

    def _priced(self, usage: Usage) -> Cost:
        return Cost(0, usage.flags) if self._is_free else account.cost_of(self._opened.price, usage)
