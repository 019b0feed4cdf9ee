"""Who asks, and what they may see. Policy decides; this service only asks it, as the edge does."""

import json
from collections.abc import Callable, Collection
from typing import Any, TypeVar

import msgspec
import structlog

from shared import asker, bus, credential, errors, subjects
from shared.asker import AskerError, IdentityReply, IdentityRequest
from shared.bus import BusClient, BusError
from shared.clock import unix_ms
from shared.entities import EntityKind
from shared.errors import RefusedError
from shared.facts import Caller
from shared.grant import Denial
from shared.identity.verifier import Verifier
from shared.requests import DecideReply, DecideRequest, ShownReply, ShownRequest

log = structlog.get_logger()

Entity = TypeVar("Entity", bound=msgspec.Struct)

DECIDE_TIMEOUT_MS = 1_000
EDGES_MAX = 256
"""Whose public keys are kept: an edge that starts again is another one."""
DECIDE_TRIES = 3
ADMIN_ROLES = frozenset(("proxy_admin", "proxy_admin_viewer"))


class Scope(msgspec.Struct, frozen=True):
    """Which rows the asker may see: its user's; without a user, those of its key that are no
    user's; an admin all.
    """

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
        verifier: of an identity provider's tokens, by the edge's own rules; None: they aren't
            accepted.
    """

    def __init__(self, client: BusClient, control_seq: Callable[[], int], verifier: Verifier | None = None) -> None:
        self._verifier = verifier
        self._client = client
        self._control_seq = control_seq
        self._edges: dict[str, bytes] = {}
        """Edge id → its public key."""

    async def identify(
        self, get_header: credential.Getter, route: str, method: str = "GET", target: str = "", body: bytes = b""
    ) -> Caller:
        """The caller, allowed to take this route. Raises RefusedError."""
        return (await self.identified(get_header, route, method, target, body))[0]

    async def identified(
        self, get_header: credential.Getter, route: str, method: str = "GET", target: str = "", body: bytes = b""
    ) -> tuple[Caller, int]:
        """The caller, and the CONTROL sequence at which they are that: what they wrote themselves
        stands at it.

        Known by an edge's word for this method, target (path and query) and body; or by a
        credential, for who asks directly.
        """
        told = get_header(asker.HEADER)
        question = (
            await self._by_credential(get_header) if told is None else await self._by_edge(told, method, target, body)
        )
        least = max(question.min_control_seq, self._control_seq())
        question = msgspec.structs.replace(question, route=route, model="", min_control_seq=least)
        try:
            reply = await bus.ask(
                self._client, subjects.POLICY_DECIDE, question, DecideReply, DECIDE_TIMEOUT_MS, tries=DECIDE_TRIES
            )
        except BusError:
            raise RefusedError(errors.policy_unavailable()) from None
        if isinstance(reply.decision, Denial):
            raise RefusedError(reply.decision.refusal)
        return reply.decision.caller, max(least, reply.decision.control_seq)

    async def stored(self, kind: EntityKind[Entity], seq: int, ids: Collection[str] | None = None) -> list[Entity]:
        """What policy keeps of a kind, at this CONTROL sequence or later; of these ids, where some
        are given. Raises RefusedError.
        """
        if ids is not None and not ids:
            return []
        found: list[Any] = []
        question = ShownRequest(kind.name, seq, ids=sorted(ids or ()))
        try:
            while True:
                reply = await bus.ask(
                    self._client, subjects.POLICY_SHOWN, question, ShownReply, DECIDE_TIMEOUT_MS, tries=DECIDE_TRIES
                )
                found += reply.entities
                if not reply.more_after:
                    return msgspec.convert(found, list[kind.struct])  # type: ignore[name-defined]
                question = msgspec.structs.replace(question, after=reply.more_after)
        except BusError:
            raise RefusedError(errors.policy_unavailable()) from None

    async def _by_edge(self, told: str, method: str, target: str, body: bytes) -> DecideRequest:
        try:
            public_key = await self._public_key(asker.edge_of(told))
            return asker.read(told, public_key, method, target, body, unix_ms())
        except AskerError as error:
            log.warning("asker_refused", reason=str(error))
            raise RefusedError(errors.malformed_key()) from None

    async def _by_credential(self, get_header: credential.Getter) -> DecideRequest:
        sent = credential.find(get_header)
        if sent == "":
            raise RefusedError(errors.malformed_key())
        if sent is not None and len(sent) > credential.CREDENTIAL_CHARACTERS_MAX:
            raise RefusedError(errors.not_a_virtual_key())
        digest, shape = (None, "sk") if sent is None else credential.digest(sent)
        if self._verifier is None or sent is None or digest is None or shape != "jwt":
            return DecideRequest(digest, "", credential_shape=shape)
        claims = await self._verifier.claims(sent, digest)
        told = json.dumps(claims, separators=(",", ":")).encode()
        return DecideRequest(
            digest, "", credential_shape=shape, claims=told, team_id=get_header("x-litellm-team-id") or None
        )

    async def _public_key(self, edge_id: str) -> bytes:
        """Only an edge can answer for an edge's name."""
        found = self._edges.get(edge_id)
        if found is None:
            subject = subjects.edge_identity(edge_id)
            try:
                reply = await bus.ask(
                    self._client, subject, IdentityRequest(edge_id), IdentityReply, DECIDE_TIMEOUT_MS, tries=2
                )
            except BusError:
                raise RefusedError(errors.ledger_unavailable()) from None
            if len(self._edges) >= EDGES_MAX:
                del self._edges[next(iter(self._edges))]
            found = self._edges[edge_id] = reply.public_key
        return found
