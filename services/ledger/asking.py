"""Who asks, and what they may see. Policy decides; this service only asks it, as the edge does."""

from collections.abc import Callable

import msgspec

from shared import bus, credential, errors, subjects
from shared.bus import BusClient, BusError
from shared.errors import RefusedError
from shared.facts import Caller
from shared.grant import Denial
from shared.requests import DecideReply, DecideRequest

DECIDE_TIMEOUT_MS = 1_000
DECIDE_TRIES = 3
ADMIN_ROLES = frozenset(("proxy_admin", "proxy_admin_viewer"))


class Scope(msgspec.Struct, frozen=True):
    """Which rows the asker may see: its user's; without a user, those of its key that are no user's; an admin all."""

    everything: bool = False
    user_id: str | None = None
    key_sha256: str | None = None
    """With no user: rows of this key; None: rows without a key."""


def scope_of(caller: Caller) -> Scope:
    if caller.role in ADMIN_ROLES:
        return Scope(everything=True)
    if caller.user_id is not None:
        return Scope(user_id=caller.user_id)
    return Scope(key_sha256=caller.key_sha256)


class Asking:
    """
    Args:
        control_seq: the CONTROL sequence this ledger knows of: policy answers at that or later.
    """

    def __init__(self, client: BusClient, control_seq: Callable[[], int]) -> None:
        self._client = client
        self._control_seq = control_seq

    async def identify(self, get_header: credential.Getter, route: str) -> Caller:
        """The caller, allowed to take this route. Raises RefusedError."""
        sent = credential.find(get_header)
        if sent == "":
            raise RefusedError(errors.malformed_key())
        if sent is not None and len(sent) > credential.CREDENTIAL_CHARACTERS_MAX:
            raise RefusedError(errors.not_a_virtual_key())
        digest, shape = (None, "sk") if sent is None else credential.digest(sent)
        question = DecideRequest(digest, route, min_control_seq=self._control_seq(), credential_shape=shape)
        try:
            reply = await bus.ask(
                self._client, subjects.POLICY_DECIDE, question, DecideReply, DECIDE_TIMEOUT_MS, tries=DECIDE_TRIES
            )
        except BusError:
            raise RefusedError(errors.policy_unavailable()) from None
        if isinstance(reply.decision, Denial):
            raise RefusedError(reply.decision.refusal)
        return reply.decision.caller
