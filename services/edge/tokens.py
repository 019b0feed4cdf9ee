"""Tokens of an identity provider: verified here, once a token; its claims go to policy, the token itself goes nowhere."""

import json
from typing import Any

import msgspec

from services.edge.reading import Head
from shared.identity.verifier import Verifier
from shared.ids import KeyDigest

KEPT_MAX = 10_000


class Claims(msgspec.Struct, frozen=True):
    """What a verified token says, as it travels."""

    claims: bytes
    """JSON."""
    team_id: str | None = None
    """The team that the caller asks for."""


class Tokens:
    """
    Args:
        verifier: None: tokens aren't accepted, and policy refuses them as what they then are, keys that nobody made.
    """

    def __init__(self, verifier: Verifier | None = None) -> None:
        self._verifier = verifier
        self._kept: dict[KeyDigest, tuple[dict[str, Any], Claims]] = {}

    async def identify(self, head: Head) -> None:
        """Returns where the credential is no token, or one that is good now. Raises RefusedError (401, 503)."""
        if head.token is None or head.digest is None or self._verifier is None:
            return
        claims = await self._verifier.claims(head.token, head.digest)
        kept = self._kept.get(head.digest)
        if kept is None or kept[0] is not claims:
            if len(self._kept) >= KEPT_MAX:
                del self._kept[next(iter(self._kept))]
            self._kept[head.digest] = claims, Claims(json.dumps(claims, separators=(",", ":")).encode(), head.team_id)

    def claims(self, digest: KeyDigest | None) -> Claims | None:
        """Of a token that `identify` let through lately."""
        kept = None if digest is None else self._kept.get(digest)
        return None if kept is None else kept[1]

    async def close(self) -> None:
        if self._verifier is not None:
            await self._verifier.close()
