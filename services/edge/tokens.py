"""Credentials of which policy must be told more than a digest: an identity provider's tokens,
verified here, once a token; and those of which the operator's own function says whose they are
(own_auth.py), asked anew for every request. The credential itself goes nowhere."""

import json
from typing import Any

import msgspec

from services.edge.http import Request
from services.edge.own_auth import OwnAuth
from services.edge.reading import Head
from shared.identity.verifier import Verifier
from shared.ids import KeyDigest

KEPT_MAX = 10_000


class Claims(msgspec.Struct, frozen=True):
    """What a verified token says, or who the operator's function says it is, as it travels."""

    claims: bytes
    """JSON."""
    team_id: str | None = None
    """The team that the caller asks for."""


class Tokens:
    """
    Args:
        verifier: None: tokens aren't accepted, and policy refuses them as what they then are, keys
            that nobody made.
        own: the operator's own function; None: there is none.
    """

    def __init__(self, verifier: Verifier | None = None, own: OwnAuth | None = None) -> None:
        self._verifier = verifier
        self._own = own
        self.asks_each = own is not None
        """Whether every request has to be looked at, whatever is known of its credential."""
        self._kept: dict[KeyDigest, tuple[Any, Claims]] = {}

    async def identify(self, head: Head, request: Request) -> None:
        """Returns where the credential needs nothing of this, or is good now; the head may speak of
        another one then. Raises RefusedError (401, 503)."""
        if self._own is not None:
            told = await self._own.identify(head, request)
            if told is not None and head.digest is not None:
                self._keep(head.digest, None, Claims(told))
                return
        if head.token is None or head.digest is None or self._verifier is None:
            return
        claims = await self._verifier.claims(head.token, head.digest)
        kept = self._kept.get(head.digest)
        if kept is None or kept[0] is not claims:
            kept = claims, Claims(json.dumps(claims, separators=(",", ":")).encode(), head.team_id)
        self._keep(head.digest, *kept)

    def _keep(self, digest: KeyDigest, claims: dict[str, Any] | None, told: Claims) -> None:
        """Whoever came last goes last: until policy is asked about this request it must be
        there.
        """
        self._kept.pop(digest, None)
        if len(self._kept) >= KEPT_MAX:
            del self._kept[next(iter(self._kept))]
        self._kept[digest] = claims, told

    def claims(self, digest: KeyDigest | None) -> Claims | None:
        """Of a credential that `identify` let through lately."""
        kept = None if digest is None else self._kept.get(digest)
        return None if kept is None else kept[1]

    async def close(self) -> None:
        if self._own is not None:
            self._own.close()
        if self._verifier is not None:
            await self._verifier.close()
