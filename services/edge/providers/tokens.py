"""Bearer tokens that somebody issues and that end: fetched when the first call needs one, and again
before it ends.
"""

import asyncio
import time

from services.edge.providers.base import CredentialsError

SLACK_S = 300
"""A token is replaced so long before it ends."""
TIMEOUT_S = 10


class FetchedToken:
    """See base.Credentials. One request for a token at a time, whatever many calls wait for it."""

    issuer = ""

    def __init__(self) -> None:
        self._line = b""
        self._until = 0.0
        self._asking: asyncio.Task[None] | None = None

    async def _fetch(self) -> tuple[str, float]:
        """(token, Unix seconds when it ends)."""
        raise NotImplementedError

    async def headers(self, method: str, path: str, body: bytes) -> bytes:
        if time.time() < self._until - SLACK_S:
            return self._line
        if self._asking is None:
            self._asking = asyncio.create_task(self._ask())
        asking = self._asking
        try:
            await asyncio.wait_for(asyncio.shield(asking), TIMEOUT_S)
        except asyncio.CancelledError:
            raise
        except Exception as error:
            if time.time() < self._until:
                return self._line
            raise CredentialsError(f"{self.issuer} gave no token ({type(error).__name__})") from None
        finally:
            if asking.done() and self._asking is asking:
                self._asking = None
        return self._line

    async def _ask(self) -> None:
        token, until = await self._fetch()
        self._line = f"authorization: Bearer {token}\r\n".encode("ascii")
        self._until = until
