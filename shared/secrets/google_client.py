"""Google's REST interfaces, with google-auth's tokens: no grpc."""

import asyncio
import os
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

import msgspec

from shared.decoding import UNREADABLE
from shared.outbound import Guard, Outbound, OutboundError, OutboundSettings
from shared.secrets.base import SecretError

SCOPE = "https://www.googleapis.com/auth/cloud-platform"
DEADLINE_MS = 4_500


class GoogleClient:
    """
    Args:
        address: of the service, without a path. Another one, with `token`, is for tests and private
            endpoints.
    """

    def __init__(self, manager: str, address: str, environ: Mapping[str, str]) -> None:
        self._manager = manager
        self._address = address.rstrip("/")
        self._environ = environ
        self._outbound = Outbound(OutboundSettings.read(os.environ), Guard(any_address=True))
        self._credentials: Any = None
        self._lock = asyncio.Lock()

    async def call(
        self, method: str, path: str, name: str, body: dict[str, Any] | None = None
    ) -> dict[str, Any] | None:
        """The answer, or None for 404. Raises SecretError."""
        headers = {"Authorization": f"Bearer {await self._token(name)}", "Content-Type": "application/json"}
        sent = None if body is None else msgspec.json.encode(body)
        try:
            answer = await self._outbound.send(
                method,
                self._address + path,
                headers=headers,
                body=sent,
                deadline_ms=DEADLINE_MS,
                answer_bytes_max=1024 * 1024,
            )
        except OutboundError as error:
            raise SecretError(
                "timeout" if error.code == "timeout" else "unreachable", self._manager, name, error.code
            ) from None
        if answer.status == 404:
            return None
        if answer.status in (401, 403):
            raise SecretError("denied", self._manager, name, f"status {answer.status}")
        if answer.status != 200:
            raise SecretError("unreachable", self._manager, name, f"status {answer.status}")
        try:
            return msgspec.json.decode(answer.body, type=dict[str, Any])
        except UNREADABLE:
            raise SecretError("junk", self._manager, name) from None

    async def close(self) -> None:
        await self._outbound.close()

    async def _token(self, name: str) -> str:
        async with self._lock:
            try:
                return await asyncio.to_thread(self._fresh_token)
            except Exception as error:  # google-auth raises its own, the transport's and OSErrors
                raise SecretError("denied", self._manager, name, type(error).__name__) from None

    def _fresh_token(self) -> str:
        import google.auth  # noqa: PLC0415
        import google.auth.transport.requests  # noqa: PLC0415

        if self._credentials is None:
            path = self._environ.get("GOOGLE_APPLICATION_CREDENTIALS")
            if path:
                self._credentials, _ = google.auth.load_credentials_from_file(path, scopes=[SCOPE])  # type: ignore[no-untyped-call]
            else:
                self._credentials, _ = google.auth.default(scopes=[SCOPE])
        if not self._credentials.valid:
            self._credentials.refresh(google.auth.transport.requests.Request())
        return str(self._credentials.token)


def address_of(environ: Mapping[str, str], variable: str, default: str) -> str:
    """A private endpoint, or the public one."""
    found = environ.get(variable) or default
    return found if urlsplit(found).scheme == "https" or found.startswith("http://127.0.0.1:") else default
