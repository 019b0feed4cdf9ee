"""One request to a model, start to finish: the page to read first.

    1. head       credential and body, within limits           (reading.py)
    2. decide     credential → grant, kept or asked of policy  (grants.py)
    3. apply      grant + request → permit or refusal          (shared.grant, pure)
    4. screen     the guardrails of the grant, before anything leaves
    5. open       `opened` is on the wire                      (recorder.py)
    6. call       candidates in order                          (upstream/)
    7. answer     screened where the grant says so, passed on as it comes
    8. settle     the end is durable; only then the last byte goes out

What is refused before 5 leaves one `refused` fact. What was opened leaves exactly one `settled`, whatever happens: the
Exchange sees to that, also when this task is cancelled because the client left.
"""

import random
import time
from collections.abc import Coroutine
from typing import Any, NoReturn

import structlog

from services.edge import openai, providers, reading
from services.edge.config import EdgeSettings
from services.edge.exchange import Exchange
from services.edge.grants import Grants
from services.edge.http import Answer, Request
from services.edge.reading import Head
from services.edge.recorder import Recorder
from services.edge.screening import Screening
from services.edge.strangers import Strangers
from services.edge.tasks import Tasks
from services.edge.upstream import Client as UpstreamClient
from shared import errors
from shared import grant as grants_
from shared.bus import BusClient
from shared.errors import Refusal, RefusedError
from shared.facts import Caller, Refused, encode_fact
from shared.grant import Ask, Denial, Permit
from shared.ids import DeploymentId, new_request_id
from shared.routes import Route

log = structlog.get_logger()


class Pipeline:
    """Everything a request needs, connected once (app.py)."""

    def __init__(
        self,
        settings: EdgeSettings,
        edge_id: str,
        bus_client: BusClient,
        grants: Grants,
        recorder: Recorder,
        upstream: UpstreamClient,
        targets: dict[DeploymentId, providers.Target],
        tasks: Tasks,
    ) -> None:
        self.settings = settings
        self.edge_id = edge_id
        self.bus_client = bus_client
        self.grants = grants
        self.recorder = recorder
        self.upstream = upstream
        self.targets = targets
        self.tasks = tasks
        self.strangers = Strangers(recorder, now_ms)

    async def serve(self, request: Request, route: Route) -> Answer:
        """Answer one request on an LLM route. Raises RefusedError, which routes' one error boundary renders."""
        started = time.perf_counter()
        if not self.recorder.healthy:
            raise RefusedError(errors.book_unavailable())
        head = reading.head(request)
        body = await reading.body(request, self.settings.edge_body_bytes_max, self.settings.edge_body_timeout_ms)
        call, permit = await self._permit(route, head, body)
        request.recognised()
        screening = Screening(self.bus_client, permit.grant.guardrails, route.call_type, call.customer_id)
        if permit.grant.guardrails and screening.has("pre_call"):
            call, refusal = await screening.request(
                call, permit.candidates[0].upstream_model if permit.candidates else ""
            )
            if refusal is not None:
                await self.refuse(refusal, route, head, permit.grant.caller, call, permit, screening)
        exchange = Exchange(self, request, route, head, call, permit, screening, started)
        return await exchange.run()

    async def _permit(self, route: Route, head: Head, body: bytes) -> tuple[openai.Call, Permit]:
        """Steps 2 and 3. A request that can't be read is told so only if its key is good."""
        try:
            call = openai.parse(body, route, head.tags, head.spend_logs_metadata)
        except RefusedError as unreadable:
            decision = await self.grants.decide(head.digest, head.shape, route.name, "")
            if isinstance(decision, Denial) and decision.refusal.status == 401:
                await self.refuse(decision.refusal, route, head, decision.caller)
            raise unreadable from None
        decision = await self.grants.decide(head.digest, head.shape, route.name, call.model)
        if isinstance(decision, Denial):
            await self.refuse(decision.refusal, route, head, decision.caller, call)
        outcome = grants_.apply(decision, Ask(call.tags, call.spend_logs_metadata), now_ms(), random.random)
        if isinstance(outcome, Refusal):
            await self.refuse(outcome, route, head, decision.caller, call)
        return call, outcome

    async def refuse(
        self,
        refusal: Refusal,
        route: Route,
        head: Head,
        caller: Caller,
        call: openai.Call | None = None,
        permit: Permit | None = None,
        screening: Screening | None = None,
    ) -> NoReturn:
        """Leave the fact, then raise. A no stands even where it can't be recorded in time."""
        fact = Refused(
            id=new_request_id(),
            at_ms=now_ms(),
            edge_id=self.edge_id,
            caller=caller,
            route=route.name,
            model=call.model if call is not None else "",
            status=refusal.status,
            error_code=refusal.code,
            refused_by="policy" if screening is None else "moderation",
            customer_id=call.customer_id if call is not None else None,
            tags=permit.tags if permit is not None else (call.tags if call is not None else []),
            requester_ip=head.ip,
            user_agent=head.user_agent,
            litellm_call_id=head.litellm_call_id,
            guardrail_outcomes=screening.outcomes if screening is not None else [],
            call_type=route.call_type,
            spend_logs_metadata=permit.spend_logs_metadata if permit is not None else {},
        )
        if self.strangers.keeps(fact):
            raise RefusedError(refusal, None, head.litellm_call_id or fact.id)
        await self.durable(encode_fact(fact))
        raise RefusedError(refusal, fact.id, head.litellm_call_id or fact.id)

    async def durable(self, encoded_fact: bytes) -> bool:
        """Append, and wait until it is safe. False when it took too long; it is recorded all the same, later."""
        batch = self.recorder.append(encoded_fact)
        try:
            await batch.wait_durable()
        except TimeoutError:
            return False
        return True

    def later(self, work: Coroutine[Any, Any, None]) -> None:
        """Finish something whose request is gone; a stopping edge waits for it."""
        self.tasks.start(work)


def now_ms() -> int:
    return time.time_ns() // 1_000_000
