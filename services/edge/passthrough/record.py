"""The facts of one passed-through call: opened before the target sees a byte, settled once, however it ends."""

from typing import TYPE_CHECKING

from services.edge import metrics
from services.edge.reading import Head
from services.edge.series import SERIES
from shared import errors
from shared.errors import RefusedError
from shared.facts import Caller, Opened, Settled, encode_fact
from shared.ids import DeploymentId, new_request_id
from shared.money import Price, Usage
from shared.passthrough import Entry

if TYPE_CHECKING:
    from services.edge.parts import Parts

CALL_TYPE = "pass_through_endpoint"
PROVIDER = "pass_through"


class Record:
    def __init__(self, parts: "Parts", entry: Entry, head: Head, caller: Caller, model: str) -> None:
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
            upstream_model=entry.host,
            price=None if cost is None else Price(0, 0, request_picousd=cost, source="config"),
            requester_ip=head.ip,
            user_agent=head.user_agent,
            max_cost_picousd=cost,
            litellm_call_id=head.litellm_call_id,
            expires_at_ms=now_ms + int(entry.timeout_s * 1000) + parts.settings.edge_expiry_slack_ms,
        )
        self._cost_picousd = cost

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
        fact = Settled(
            opened=self._opened,
            ended_at_ms=self._parts.clock.unix_ms(),
            outcome=outcome,
            status=status,
            usage=Usage(source="none"),
            cost_picousd=self._cost_picousd if billed else 0,
            first_byte_at_ms=self.first_byte_at_ms,
            error_code=error_code,
        )
        self._batch = self._parts.recorder.append(encode_fact(fact))
        elapsed = self._parts.clock.seconds() - self._started
        metrics.of_route("/pass-through").note(outcome, elapsed, 0.0, 0, 0)
        SERIES.settled(fact, elapsed, elapsed)

    async def durable(self) -> None:
        """The end is safe. Raises ConnectionError when it isn't in time."""
        try:
            await self._batch.wait_durable()
        except TimeoutError:
            raise ConnectionAbortedError from None
