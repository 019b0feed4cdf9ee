"""A management call, start to finish: who asks → may they → what would change → publish → see it ourselves → answer.

The command decides on this replica's directory, and publishes on the condition that the broker still agrees with it
(`publish.py`). So two calls that change one entity at once never both succeed on what they read: one gets 409.
"""

import time
from collections.abc import Callable

import msgspec
import structlog
from nats.aio.client import Client

from services.policy.catalog import Catalog
from services.policy.commands import run, run_vouched
from services.policy.commands.plan import Call, Plan
from services.policy.decide import decide
from services.policy.publish import Publication, batches, publish
from services.policy.replica import Replica
from shared import admission, errors, ids
from shared.errors import Refusal, RefusedError
from shared.facts import Caller, ControlFact
from shared.grant import Ask
from shared.requests import AdminReply, AdminRequest, DecideRequest

log = structlog.get_logger()

APPLY_MS_MAX = 2_000
"""How long an answer waits until this replica has folded what it wrote."""
ANSWER_BYTES_MAX = 900_000
"""Of one answer: it must fit into one message of the bus."""
CLAIM_CHARACTERS_MAX = 256


def unix_ms() -> int:
    return time.time_ns() // 1_000_000


class Admin:
    """
    Args:
        now_ms, new_id: clock and ids; one instant a call.
    """

    def __init__(
        self,
        client: Client,
        replica: Replica,
        catalog: Catalog,
        *,
        now_ms: Callable[[], int] = unix_ms,
        new_id: Callable[[], str] = ids.new_id,
    ) -> None:
        self._client = client
        self._replica = replica
        self._catalog = catalog
        self._now_ms = now_ms
        self._new_id = new_id

    async def answer(self, request: AdminRequest) -> AdminReply:
        """Raises BusError("behind") when this replica can't catch up in time; everything else is a reply."""
        await self._replica.reach(request.min_control_seq)
        # No await between the decision and the plan: both speak of one state of the directory.
        directory, seq, now_ms = self._replica.directory, self._replica.feed.seq, self._now_ms()
        if request.deadline_at_ms and now_ms > request.deadline_at_ms:
            log.warning("command_too_late", route=request.route, late_ms=now_ms - request.deadline_at_ms)
            return _refused(errors.command_too_late(), seq)
        if request.vouched:
            return await self._vouched(request, now_ms, seq)
        decision = decide(directory, self._catalog, DecideRequest(request.key_sha256, request.route), now_ms, seq)
        refusal = admission.admit(decision, Ask([], {}, request.requester_ip), now_ms)
        if refusal is not None:
            return _refused(refusal, seq)
        actor = decision.caller
        call = Call(
            directory,
            request.query,
            request.body,
            actor,
            now_ms,
            self._new_id,
            self._catalog,
            request.route,
            request.params,
        )
        plan = run(call)
        if isinstance(plan, Refusal):
            return _refused(plan, seq)
        body = msgspec.json.encode(plan.answer)
        if len(body) > ANSWER_BYTES_MAX:
            return _refused(
                errors.bad_request("The answer would be too large: ask for less (page, size, team_id)"), seq
            )
        if not plan.changes:
            return AdminReply(200, body, seq)
        return await self._carry_out(self._publications(plan, request, actor, now_ms), body, seq)

    async def _vouched(self, request: AdminRequest, now_ms: int, seq: int) -> AdminReply:
        """What the edge says of somebody it has seen come in, or fail to: done in their own name."""
        user_id = request.body.get("user_id")
        actor = Caller(user_id=user_id if isinstance(user_id, str) else None)
        call = Call(
            self._replica.directory, {}, request.body, actor, now_ms, self._new_id, self._catalog, request.route
        )
        plan = run_vouched(call)
        if isinstance(plan, Refusal):
            return _refused(plan, seq)
        body = msgspec.json.encode(plan.answer)
        if not plan.changes:
            return AdminReply(200, body, seq)
        return await self._carry_out(self._publications(plan, request, actor, now_ms), body, seq)

    async def _carry_out(self, publications: list[Publication], body: bytes, seq: int) -> AdminReply:
        """Stops at the first batch that fails; what landed before it is in `changed` all the same."""
        changed: list[str] = []
        for batch in batches(publications):
            try:
                seq = await publish(self._client, batch)
            except RefusedError as refused:
                await self._replica.feed.wait_for(seq, APPLY_MS_MAX)
                return _refused(refused.refusal, seq, changed)
            changed += [publication.subject for publication, _ in batch]
        if not await self._replica.feed.wait_for(seq, APPLY_MS_MAX):
            log.warning(
                "own_facts_not_seen_in_time", seq=seq
            )  # the answer carries seq: whoever reads next waits for it
        return AdminReply(200, body, seq, changed)

    def _publications(self, plan: Plan, request: AdminRequest, actor: Caller, now_ms: int) -> list[Publication]:
        return [
            Publication(
                change.subject,
                change.expected_seq,
                ControlFact(
                    id=self._new_id(),
                    at_ms=now_ms,
                    kind=change.kind,
                    entity_id=change.entity_id,
                    action=change.action,
                    actor=actor,
                    before=change.before,
                    after=change.after,
                    on_behalf_of=_claim(request.on_behalf_of),
                    requester_ip=_claim(request.requester_ip),
                ),
            )
            for change in plan.changes
        ]


def _claim(text: str | None) -> str | None:
    """What a caller says of themselves, cut to what can be stored."""
    return None if text is None else text.replace("\0", "")[:CLAIM_CHARACTERS_MAX]


def _refused(refusal: Refusal, seq: int, changed: list[str] | None = None) -> AdminReply:
    return AdminReply(refusal.status, errors.render(refusal), seq, changed or [])
