"""The keys of one identity provider: fetched when needed, ahead of their end, and kept while it is
down.

Strangers choose the `kid` of what they send: ones that nobody has make us ask at most once in
UNKNOWN_KEY_S, one asking at a time. A key that the provider has since a moment is found at
once, also when the others were fetched just before.
"""

import asyncio
import time
from collections.abc import Callable
from typing import Any

import msgspec
import structlog

from shared.decoding import UNREADABLE
from shared.identity.keys import Key, of_jwks
from shared.outbound import Outbound, OutboundError
from shared.waiting import ended

log = structlog.get_logger()

UNKNOWN_KEY_S = 60.0
FAILED_S = 5.0
"""How long after a failed fetch nobody tries again."""
DEADLINE_MS = 5_000
DOCUMENT_BYTES_MAX = 256 * 1024
DISCOVERY = "/.well-known/openid-configuration"


class KeysUnavailableError(Exception):
    """The identity provider can't be asked, and nothing of it is known that could still be used."""


class KeySet:
    """
    Args:
        url: of a JWKS, or of a discovery document (its path ends in DISCOVERY).
        now: monotonic seconds.
    """

    def __init__(
        self,
        outbound: Outbound,
        url: str,
        *,
        ttl_s: float,
        stale_ttl_s: float,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._outbound = outbound
        self._url = url
        self._ttl_s = ttl_s
        self._stale_ttl_s = stale_ttl_s
        self._now = now
        self._keys: list[Key] = []
        self._fetched_at = float("-inf")
        self._tried_at = float("-inf")
        self._failed = False
        self._missed_at = float("-inf")
        """When a fetch last didn't bring the key that somebody asked for."""
        self._fetching: asyncio.Task[None] | None = None

    async def find(self, key_id: str | None, algorithm: str) -> list[Key]:
        """The keys that may have signed: the one with the id; without an id, those for the
        algorithm. Empty: none.

        Raises KeysUnavailableError.
        """
        age_s = self._now() - self._fetched_at
        asked = age_s >= self._ttl_s + self._stale_ttl_s
        if asked:
            await self._fetch()
            if self._now() - self._fetched_at >= self._ttl_s + self._stale_ttl_s:
                raise KeysUnavailableError(self._url)
        elif age_s >= self._ttl_s / 2:
            self._start()  # in the background: nobody waits while what is known may be used
        found = self._known(key_id, algorithm)
        if not found and not asked and self._may_ask():
            asked = True
            await self._fetch()
            found = self._known(key_id, algorithm)
        if asked and not found:
            self._missed_at = self._now()
        return found

    async def close(self) -> None:
        if self._fetching is not None:
            await ended(self._fetching)

    def _may_ask(self) -> bool:
        """For a key that isn't known: a fetch that is under way is waited for in any case."""
        fetching = self._fetching is not None and not self._fetching.done()
        return fetching or self._now() - self._missed_at >= UNKNOWN_KEY_S

    def _known(self, key_id: str | None, algorithm: str) -> list[Key]:
        return [
            key for key in self._keys if algorithm in key.verifiers and (key_id is None or key.key_id in (key_id, None))
        ][:4]

    async def _fetch(self) -> None:
        """One for all who wait; who leaves doesn't end it."""
        fetching = self._start()
        if fetching is not None:
            await asyncio.shield(fetching)

    def _start(self) -> "asyncio.Task[None] | None":
        if self._fetching is not None and not self._fetching.done():
            return self._fetching
        if self._failed and self._now() - self._tried_at < FAILED_S:
            return None
        self._tried_at = self._now()
        self._fetching = asyncio.create_task(self._ask())
        return self._fetching

    async def _ask(self) -> None:
        """Never raises: what was known stays."""
        try:
            url = self._url
            if url.partition("?")[0].endswith(DISCOVERY):
                found = (await self._document(url)).get("jwks_uri")
                if not isinstance(found, str) or not found.startswith(("https://", "http://")):
                    raise ValueError("no jwks_uri")
                if url.startswith("https://") and not found.startswith("https://"):
                    raise ValueError("jwks_uri is no https address")
                url = found
            self._keys = of_jwks(await self._document(url))
            self._fetched_at, self._failed = self._now(), False
        except (OutboundError, ValueError) as error:
            self._failed = True
            log.warning("identity_provider_keys_not_fetched", url=self._url[:200], error=str(error)[:120])

    async def _document(self, url: str) -> Any:
        answer = await self._outbound.send("GET", url, deadline_ms=DEADLINE_MS, answer_bytes_max=DOCUMENT_BYTES_MAX)
        if answer.status != 200:
            raise ValueError(f"status {answer.status}")
        try:
            return msgspec.json.decode(answer.body, type=dict[str, Any])
        except UNREADABLE:
            raise ValueError("no JSON object") from None
