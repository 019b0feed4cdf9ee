"""The facts of one passed-through call: opened before the target sees a byte, settled once, however it ends."""

from typing import TYPE_CHECKING

import msgspec

from services.edge import metrics
from services.edge.passthrough.guarded import Guarded
from services.edge.passthrough.spoken import UNKNOWN, Spoken
from services.edge.reading import Head
from services.edge.series import SERIES
from services.edge.usage.tap import Tap
from shared import errors, prices
from shared.billing import Price, Usage, cost
from shared.errors import RefusedError
from shared.facts import Caller, GuardrailOutcome, Opened, Settled, encode_fact
from shared.ids import DeploymentId, new_request_id
from shared.money import CALL_PICOUSD_MAX
from shared.passthrough import Entry

if TYPE_CHECKING:
    from services.edge.parts import Parts

CALL_TYPE = "pass_through_endpoint"
PROVIDER = "pass_through"


NOTHING = Usage(source="none")


class Record:
    """
    Args:
        model: as the caller may use it; empty: none that we know.
        spoken: what the target is known to speak.
        asked_model: as the request names it to the target: whose price counts.
        is_free: a call like this costs nothing, whatever it says.
    """

    _route = "/pass-through"
    """The table's name of it."""

    def __init__(
        self,
        parts: "Parts",
        entry: Entry,
        head: Head,
        caller: Caller,
        model: str,
        spoken: Spoken = UNKNOWN,
        asked_model: str = "",
        *,
        is_free: bool = False,
        guarded: Guarded | None = None,
    ) -> None:
        self._guarded = guarded
        self._spoken = spoken
        self._asked_model = asked_model
        self._is_free = is_free
        self._tap: Tap | None = None
        self._unsaid: Usage | None = None
        self.outcomes: list[GuardrailOutcome] = []
        self._parts = parts
        self._started = parts.clock.seconds()
        self.id = new_request_id()
        self.first_byte_at_ms: int | None = None
        self._is_settled = False
        now_ms = parts.clock.unix_ms()
        cost = entry.cost_picousd
        self._opened = Opened(
            id=self.id,
            at_ms=now_ms,
            edge_id=parts.edge_id,
            caller=caller,
            call_type=CALL_TYPE,
            route=entry.path,
            model=model,
            deployment_id=DeploymentId(f"pass_through:{entry.id}"[:256]),
            provider=PROVIDER,
            guardrails=list(entry.guardrails),
            upstream_model=entry.host,
            price=None if cost is None else Price(0, 0, request_picousd=cost, source="config"),
            requester_ip=head.ip,
            user_agent=head.user_agent,
            max_cost_picousd=cost,
            litellm_call_id=head.litellm_call_id,
            expires_at_ms=now_ms + int(entry.timeout_s * 1000) + parts.settings.edge_expiry_slack_ms,
        )
        self._cost_picousd = cost

    def tap(self, status: int, content_type: str, content_encoding: str) -> Tap | None:
        """What is to be shown the answer as it flows by; None: there is nothing to read in it."""
        if self._spoken.wire and status < 300 and content_encoding in ("", "identity"):
            self._tap = Tap(self._spoken.wire, self._spoken.provider, content_type)
        return self._tap

    async def open(self) -> None:
        """Raises RefusedError when it can't be on the wire."""
        batch = self._parts.recorder.append(encode_fact(self._opened))
        try:
            await batch.wait_on_wire()
        except TimeoutError:
            self.settle("edge_error", 503, "book_unavailable", billed=False)
            raise RefusedError(errors.book_unavailable()) from None

    def settle(self, outcome: str, status: int, error_code: str | None = None, *, billed: bool = True) -> None:
        """Synchronous, so that nothing can come between. A second call does nothing.

        Args:
            billed: the target may have done its work.
        """
        if self._is_settled:
            return
        self._is_settled = True
        usage, amount = NOTHING, self._cost_picousd if billed else 0
        flags: tuple[str, ...] = ()
        said = self._tap.finish() if self._tap is not None else None
        if said is None and outcome == "success":
            said = self._unsaid
        if said is not None:
            usage, amount, flags = self._priced(said, whole=outcome == "success")
        elif self._is_free and amount is None:
            amount = 0
        fact = Settled(
            opened=self._opened,
            ended_at_ms=self._parts.clock.unix_ms(),
            outcome=outcome,
            status=status,
            usage=usage,
            cost_picousd=amount,
            first_byte_at_ms=self.first_byte_at_ms,
            error_code=error_code,
            flags=flags,
            guardrail_outcomes=self._guarded.told.outcomes if self._guarded is not None else self.outcomes,
        )
        self._batch = self._parts.recorder.append(encode_fact(fact))
        elapsed = self._parts.clock.seconds() - self._started
        metrics.of_route(self._route).note(outcome, elapsed, 0.0, usage.input_tokens, usage.output_tokens)
        SERIES.settled(fact, elapsed, elapsed)

    def _priced(self, usage: Usage, *, whole: bool) -> tuple[Usage, int | None, tuple[str, ...]]:
        """What the target says was used, what it costs, and why that is a guess. The operator's own price goes before the table's."""
        if not whole:
            usage = msgspec.structs.replace(usage, source="lower_bound")
        opened, provider = self._opened, self._spoken.provider
        if opened.price is not None or not provider:
            return usage, self._cost_picousd, usage.flags
        assert self._tap is not None
        for model in (self._tap.model, self._asked_model):
            price = prices.lookup(provider, model) if model else None
            if price is not None:
                self._opened = msgspec.structs.replace(opened, price=price, provider=provider, upstream_model=model)
                amount, flags = cost(price, usage)
                return usage, amount if (amount or 0) <= CALL_PICOUSD_MAX else None, (*usage.flags, *flags)
        return usage, None, usage.flags

    async def durable(self) -> None:
        """The end is safe. Raises ConnectionError when it isn't in time."""
        try:
            await self._batch.wait_durable()
        except TimeoutError:
            raise ConnectionAbortedError from None


class Relayed(Record):
    """The facts of a call to a deployment that is relayed as it is (surfaces/relayed.py).

    Args:
        unsaid: what was used where the answer says nothing of it.
    """

    def __init__(
        self, parts: "Parts", opened: Opened, wire: str, unsaid: Usage | None = None, *, is_free: bool = False
    ) -> None:
        self._spoken = Spoken(wire, opened.provider)
        self._asked_model = opened.upstream_model
        self._is_free = is_free
        self._guarded = None
        self._tap = None
        self._unsaid = unsaid
        self.outcomes = []
        self._parts = parts
        self._started = parts.clock.seconds()
        self.id = opened.id
        self.first_byte_at_ms = None
        self._is_settled = False
        self._opened = opened
        self._route = opened.route
        self._cost_picousd = None

    @property
    def deployment_id(self) -> str:
        return self._opened.deployment_id

    def _priced(self, usage: Usage, *, whole: bool) -> tuple[Usage, int | None, tuple[str, ...]]:
        if not whole:
            usage = msgspec.structs.replace(usage, source="lower_bound")
        price = self._opened.price
        if self._is_free or price is None:
            return usage, 0 if self._is_free else None, usage.flags
        amount, flags = cost(price, usage)
        return usage, amount if (amount or 0) <= CALL_PICOUSD_MAX else None, (*usage.flags, *flags)
