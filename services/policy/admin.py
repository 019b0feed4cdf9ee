"""A management call, start to finish: who asks → may they → what would change → publish → see it
ourselves → answer.

The command decides on this replica's directory, and publishes on the condition that the broker
still agrees with it (`publish.py`). So two calls that change one entity at once never both succeed
on what they read: one gets 409.
"""

from collections.abc import Callable, Mapping
from typing import Any

import msgspec
import structlog

from services.policy import key_moves, replays, sealed, spent
from services.policy.commands import run, run_own, run_vouched
from services.policy.commands.generic import Command
from services.policy.current import Current
from services.policy.decide import decide
from services.policy.directory import Directory
from services.policy.plan import Call, Change, Plan, Wanted
from services.policy.publish import Publication, batches, publication_of, publish
from services.policy.replica import Replica
from shared import admission, errors, ids
from shared import routes as table
from shared.bus import BusClient
from shared.clock import unix_ms
from shared.entities.replay import KEPT_S
from shared.errors import Refusal, RefusedError
from shared.facts import Caller
from shared.grant import Ask
from shared.requests import AdminReply, AdminRequest, DecideRequest
from shared.sealing import Keyring

log = structlog.get_logger()

APPLY_MS_MAX = 2_000
"""How long an answer waits until this replica has folded what it wrote."""
ANSWER_BYTES_MAX = 900_000
"""Of one answer: it must fit into one message of the bus."""
BOOK_TRIES = 3
"""Of one command that must know what the book has, and is planned anew with it."""
CLAIM_CHARACTERS_MAX = 256


TOLLGATE = Caller(user_id="tollgate", role="proxy_admin")
"""Who changes what the configuration's files say."""


class Admin:
    """
    Args:
        keyring: seals credentials; None: none can be kept.
        now_ms, new_id: clock and ids; one instant a call.
    """

    def __init__(
        self,
        client: BusClient,
        replica: Replica,
        current: Current,
        *,
        keyring: Keyring | None = None,
        now_ms: Callable[[], int] = unix_ms,
        new_id: Callable[[], str] = ids.new_id,
    ) -> None:
        self._client = client
        self._replica = replica
        self._current = current
        self._keyring = keyring
        self._now_ms = now_ms
        self._new_id = new_id

    async def answer(self, request: AdminRequest) -> AdminReply:
        """Raises BusError("behind") when this replica can't catch up in time; everything else is a
        reply.
        """
        book: dict[tuple[str, ...], int] = {}
        for _ in range(BOOK_TRIES):
            try:
                return await self._answer(request, book)
            except Wanted as wanted:
                found = await spent.of(self._client, wanted)
                if found is None:
                    return _refused(errors.ledger_unavailable(), self._replica.feed.seq)
                # Anew from who asks on: meanwhile everything may have changed, and what was wanted
                # too (a key was rotated).
                book[(wanted.dimension, *wanted.values)] = found
        return _refused(errors.conflict("What this call is about"), self._replica.feed.seq)

    async def _answer(self, request: AdminRequest, book: Mapping[tuple[str, ...], int]) -> AdminReply:
        await self._replica.reach(request.min_control_seq)
        # No await between the decision and the plan: both speak of one state of the directory.
        directory, seq, now_ms = self._replica.directory, self._replica.feed.seq, self._now_ms()
        if request.deadline_at_ms and now_ms > request.deadline_at_ms:
            log.warning("command_too_late", route=request.route, late_ms=now_ms - request.deadline_at_ms)
            return _refused(errors.command_too_late(), seq)
        if request.vouched:
            return await self._vouched(request, now_ms, seq)
        question = DecideRequest(request.key_sha256, request.route, claims=request.claims, team_id=request.team_id)
        decision = decide(directory, self._current.catalog, question, now_ms, seq)
        refusal = admission.admit(decision, Ask([], {}, request.requester_ip), now_ms)
        if refusal is not None:
            return _refused(refusal, seq)
        route = table.TABLE.by_name[request.route]
        directory.expire("replay", lambda replay: replay.at_ms + KEPT_S * 1000 > now_ms)
        kept = replays.place(request, route)
        if kept is not None:
            before = replays.found(directory, kept, now_ms)
            if isinstance(before, Refusal):
                return _refused(before, seq)
            if before is not None:
                return AdminReply(200, before, seq, [], {replays.HEADER: "true"})
        call = Call(
            directory,
            request.query,
            request.body,
            decision.caller,
            now_ms,
            self._new_id,
            self._current.catalog,
            request.route,
            request.params,
            book,
            question,
        )
        plan = run(call)
        if isinstance(plan, Refusal):
            return _refused(plan, seq)
        if len(msgspec.json.encode(plan.answer)) > ANSWER_BYTES_MAX:
            return _refused(
                errors.bad_request("The answer would be too large: ask for less (page, size, team_id)"), seq
            )
        moves = key_moves.moves(directory, plan.changes) if request.stored_keys else []
        if request.stored_keys == "plan":
            return AdminReply(200, msgspec.json.encode(plan.answer), seq, [], {}, moves)
        changes = plan.changes
        if kept is not None and changes:
            changes = [*changes, replays.remembered(directory, kept, route, plan.answer, now_ms)]
        changed: list[str] = []
        if changes:
            seq, changed, refusal = await self._make(changes, request, decision.caller, now_ms, seq)
            if refusal is not None:
                return _refused(refusal, seq, changed)
        headers = _headers(plan)
        if plan.spend and not await spent.fill(self._client, plan.spend):
            headers["x-tollgate-spend"] = "unavailable"
        return AdminReply(200, msgspec.json.encode(plan.answer), seq, changed, headers, moves)

    async def _vouched(self, request: AdminRequest, now_ms: int, seq: int) -> AdminReply:
        """What the edge says of somebody it has seen come in, or fail to: done in their own
        name.
        """
        user_id = request.body.get("user_id")
        actor = Caller(user_id=user_id if isinstance(user_id, str) else None)
        call = Call(
            self._replica.directory, {}, request.body, actor, now_ms, self._new_id, self._current.catalog, request.route
        )
        plan = run_vouched(call)
        if isinstance(plan, Refusal):
            return _refused(plan, seq)
        seq, changed, refusal = await self._make(plan.changes, request, actor, now_ms, seq)
        if refusal is not None:
            return _refused(refusal, seq, changed)
        return AdminReply(200, msgspec.json.encode(plan.answer), seq, changed)

    async def announce(self, planned: Callable[[Directory, int], Change | None], actor: Caller = TOLLGATE) -> bool:
        """Publish what policy itself found changed. False: not now (somebody was faster, the broker
        is away, or this replica isn't trustworthy).
        """
        if self._replica.reason_not_ready() is not None:
            return False
        now_ms = self._now_ms()
        change = planned(self._replica.directory, now_ms)
        if change is None:
            return True
        request = AdminRequest(None, "", {}, {})
        _, _, refusal = await self._make([change], request, actor, now_ms, 0)
        return refusal is None

    async def own(self, route: str, command: Command, body: dict[str, Any], actor: Caller = TOLLGATE) -> Refusal | None:
        """Give a command in policy's own name. Why it was refused; None: its facts stand, and this
        replica has seen them.
        """
        if self._replica.reason_not_ready() is not None:
            return errors.book_unavailable()
        now_ms = self._now_ms()
        call = Call(self._replica.directory, {}, body, actor, now_ms, self._new_id, self._current.catalog, route)
        plan = run_own(command, call)
        if isinstance(plan, Refusal):
            return plan
        request = AdminRequest(None, route, {}, {})
        return (await self._make(plan.changes, request, actor, now_ms, 0))[2]

    async def _make(
        self, changes: list[Change], request: AdminRequest, actor: Caller, now_ms: int, seq: int
    ) -> tuple[int, list[str], Refusal | None]:
        """The one way to publish: nothing leaves with a credential in the clear."""
        try:
            safe = sealed.changes(changes, self._keyring)
        except RefusedError as refused:
            return seq, [], refused.refusal
        return await self._carry_out(self._publications(safe, request, actor, now_ms), seq)

    async def _carry_out(self, publications: list[Publication], seq: int) -> tuple[int, list[str], Refusal | None]:
        """(sequence, changed subjects, why it stopped). Stops at the first batch that fails; what
        landed before it is in `changed` all the same."""
        changed: list[str] = []
        for batch in batches(publications):
            try:
                seq = await publish(self._client, batch)
            except RefusedError as refused:
                await self._replica.feed.wait_for(seq, APPLY_MS_MAX)
                return seq, changed, refused.refusal
            changed += [publication.subject for publication, _ in batch]
        if not await self._replica.feed.wait_for(seq, APPLY_MS_MAX):
            log.warning(
                "own_facts_not_seen_in_time", seq=seq
            )  # the answer carries seq: whoever reads next waits for it
        return seq, changed, None

    def _publications(
        self, changes: list[Change], request: AdminRequest, actor: Caller, now_ms: int
    ) -> list[Publication]:
        said = {"on_behalf_of": _claim(request.on_behalf_of), "requester_ip": _claim(request.requester_ip)}
        return [publication_of(change, self._new_id(), now_ms, actor, **said) for change in changes]


NAMES_MAX = 50
"""In one header."""


def _headers(plan: Plan) -> dict[str, str]:
    """What is to be said of the fields that were sent."""
    said = {"x-tollgate-unknown-fields": plan.unknown, "x-tollgate-not-enforced": plan.not_enforced}
    return {name: ", ".join(n[:64] for n in fields[:NAMES_MAX]) for name, fields in said.items() if fields}


def _claim(text: str | None) -> str | None:
    """What a caller says of themselves, cut to what can be stored."""
    return None if text is None else text.replace("\0", "")[:CLAIM_CHARACTERS_MAX]


def _refused(refusal: Refusal, seq: int, changed: list[str] | None = None) -> AdminReply:
    headers = {} if refusal.decision is None else {errors.DECISION: refusal.decision}
    return AdminReply(refusal.status, errors.render(refusal), seq, changed or [], headers)
