"""A client of one of Amazon's services, for guardrails that ask it. Credentials and region stand in
the entry, or are the environment's.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any

from services.moderation.guardrails.parts import Parts
from services.moderation.guardrails.remote import Circuit, NoAnswerError, setting
from shared.config import ConfigError
from shared.guardrails import Enabled

KEYS = ("aws_access_key_id", "aws_secret_access_key", "aws_session_token")


class Aws:
    def __init__(self, parts: Parts, enabled: Enabled, service: str) -> None:
        """Raises ConfigError without a region.

        Args:
            service: as botocore calls it.
        """
        self._service = service
        self._region = setting(parts, enabled, "aws_region_name", "AWS_REGION_NAME", "AWS_REGION", "AWS_DEFAULT_REGION")
        if not self._region:
            raise ConfigError(f"the guardrail {enabled.name!r} needs AWS_REGION_NAME")
        own = service.replace("-", "_")
        self._url = setting(
            parts, enabled, f"aws_{own}_endpoint", f"AWS_ENDPOINT_URL_{own.upper()}", "AWS_ENDPOINT_URL"
        )
        self._keys = {name: setting(parts, enabled, name, name.upper()) for name in KEYS}
        self._deadline_ms = enabled.deadline_ms
        self._library = _library()
        self._lock = asyncio.Lock()
        self._client: Any = None
        self._running = 0
        """Questions that use the client, or are about to."""
        self._dropped = False
        self.circuit = Circuit()
        self.circuit.ending = self.end

    @asynccontextmanager
    async def question(self) -> AsyncIterator[Any]:
        """The client, for one question. Raises NoAnswerError, for whatever else is raised in it
        too.
        """
        with self.circuit.question():
            self._running += 1
            try:
                yield await self._opened()
            except NoAnswerError:
                raise
            except Exception as error:  # botocore's many; their texts may quote the request
                raise NoAnswerError(type(error).__name__) from None
            finally:
                self._running -= 1
                if self._dropped:
                    await self.end()

    async def end(self) -> None:
        """Closes the client once no question uses it: those that were asked before are answered."""
        self._dropped = True
        if self._running:
            return
        client, self._client = self._client, None
        if client is not None:
            with suppress(Exception):  # it is gone either way, and what was answered stays answered
                await client.__aexit__(None, None, None)

    async def _opened(self) -> Any:
        """One client, made by the first question."""
        async with self._lock:
            if self._client is None:
                session, config = self._library
                opening = session.create_client(
                    self._service,
                    region_name=self._region,
                    endpoint_url=self._url,
                    config=config(
                        connect_timeout=5, read_timeout=self._deadline_ms / 1000, retries={"max_attempts": 1}
                    ),
                    **self._keys,
                )
                self._client = await opening.__aenter__()
            return self._client


def _library() -> tuple[Any, Any]:
    """Imported where it is used only, and before somebody waits: it takes a second."""
    from aiobotocore.config import AioConfig  # noqa: PLC0415
    from aiobotocore.session import get_session  # noqa: PLC0415

    return get_session(), AioConfig
