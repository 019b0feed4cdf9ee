"""`policy.note`: what operators and the ledger did, as control facts. Only policy writes those, so
the others ask it to.

A note changes no rights: its kinds are none that are folded into the directory. So who asks must be
let in by the broker (edge and ledger are), and whoever acted is named in it by who asks, as for
every fact.
"""

import asyncio
from collections.abc import Callable

import msgspec

from services.policy.publish import Publication, batches, publish
from services.policy.replica import Replica
from shared import ids, subjects
from shared.bus import BusClient, BusError
from shared.errors import RefusedError
from shared.facts import ControlFact
from shared.requests import NoteReply, NoteRequest

KINDS = frozenset(("hold", "retention", "export", "checkpoint", "restore", "login", "secret_access"))
ACTIONS = frozenset(("created", "updated", "deleted"))
BYTES_MAX = 200_000
TRIES = 3
PAUSE_S = 0.1


class Notes:
    def __init__(
        self, client: BusClient, replica: Replica, now_ms: Callable[[], int], new_id: Callable[[], str] = ids.new_id
    ) -> None:
        self._client = client
        self._replica = replica
        self._now_ms = now_ms
        self._new_id = new_id

    async def answer(self, request: NoteRequest) -> NoteReply:
        """Raises BusError: bad_request, or unavailable (the asker may ask again: a note that is
        there twice says the same twice).
        """
        if request.kind not in KINDS or request.action not in ACTIONS or not request.entity_id:
            raise BusError("bad_request")
        if len(msgspec.msgpack.encode(request)) > BYTES_MAX:
            raise BusError("too_large")
        subject = subjects.control(request.kind, request.entity_id)
        fact = ControlFact(
            id=self._new_id(), at_ms=self._now_ms(), kind=request.kind, entity_id=request.entity_id, action=request.action,
            actor=request.actor, before=None, after=request.after, on_behalf_of=request.on_behalf_of,
            requester_ip=request.requester_ip,
        )  # fmt: skip
        for attempt in range(1, TRIES + 1):
            expected = self._replica.directory.expected_seq(subject)
            try:
                return NoteReply(await publish(self._client, batches([Publication(subject, expected, fact)])[0]))
            except RefusedError as error:
                if error.refusal.status != 409 or attempt == TRIES:
                    raise BusError("unavailable") from None
                await asyncio.sleep(PAUSE_S * attempt)  # another replica wrote it: ours hears of it in a moment
        raise AssertionError("unreachable")
