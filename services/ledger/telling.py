"""What the ledger does on its own, or at an operator's word, as control facts: policy writes them,
and is asked to here.
"""

from typing import Any

from shared import bus, subjects
from shared.bus import BusClient
from shared.facts import Caller
from shared.requests import NoteReply, NoteRequest

TIMEOUT_MS = 5_000
TRIES = 3
LEDGER = Caller(user_id="tollgate_ledger", role="system")
"""The actor of what nobody asked for: schedules."""


class Teller:
    def __init__(self, client: BusClient) -> None:
        self._client = client

    async def tell(
        self, kind: str, entity_id: str, action: str, after: dict[str, Any] | None, actor: Caller = LEDGER,
        requester_ip: str | None = None,
    ) -> int:  # fmt: skip
        """Returns the fact's CONTROL sequence. Raises BusError: then nobody knows whether it was
        recorded.
        """
        request = NoteRequest(kind, entity_id, action, actor, after, None, requester_ip)
        reply = await bus.ask(self._client, subjects.POLICY_NOTE, request, NoteReply, TIMEOUT_MS, tries=TRIES)
        return reply.control_seq
