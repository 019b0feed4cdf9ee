"""GitHub Copilot: OpenAI's wire, with the token of somebody who signed in, as an editor would ask.

Signing in needs a person and a browser, so it isn't done here: an entry has the token as its
`api_key`, or it lies in the file where LiteLLM keeps it (`GITHUB_COPILOT_TOKEN_DIR`, else
`~/.config/litellm/github_copilot`).
"""

import asyncio
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import msgspec

from services.edge.providers import base
from services.edge.providers.base import Target
from services.edge.providers.openai import OpenAICompatible
from services.edge.providers.tokens import SLACK_S, FetchedToken
from shared.config import Deployment
from shared.decoding import UNREADABLE
from shared.secrets.value import Secret

_AS_AN_EDITOR: Final = {
    "copilot-integration-id": "vscode-chat", "editor-version": "vscode/1.95.0", "editor-plugin-version": "copilot-chat/0.26.7",
    "openai-intent": "conversation-panel", "x-github-api-version": "2025-04-01",
}  # fmt: skip
"""Copilot answers only to editors that it knows; an entry's `extra_headers` go before."""
FILE_S: Final = 60
"""How long a token that was read from its file is used."""
TOKEN_CHARACTERS_MAX: Final = 4096


class Copilot(OpenAICompatible):
    """See base.Provider."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._environ = environ

    def target(self, deployment: Deployment, user_agent: str) -> Target:
        token = _Token(deployment.api_key, self._environ)
        return base.target(self, deployment, user_agent, _AS_AN_EDITOR, token)


class _Token(FetchedToken):
    issuer = "GitHub Copilot's token file"

    def __init__(self, key: Secret | None, environ: Mapping[str, str]) -> None:
        super().__init__()
        self._key, self._environ = key, environ

    async def headers(self, method: str, path: str, body: bytes) -> bytes:
        return await super().headers(method, path, body) + about(body)

    async def _fetch(self) -> tuple[str, float]:
        if self._key is not None:
            return self._key.reveal(), float("inf")
        token = await asyncio.to_thread(self._read)
        return token, time.time() + SLACK_S + FILE_S

    def _read(self) -> str:
        folder = self._environ.get("GITHUB_COPILOT_TOKEN_DIR")
        at = Path(folder) if folder else Path.home() / ".config/litellm/github_copilot"
        file = at / (self._environ.get("GITHUB_COPILOT_ACCESS_TOKEN_FILE") or "access-token")
        with file.open(encoding="ascii") as lines:
            token = lines.read(TOKEN_CHARACTERS_MAX + 1).strip()
        if not (0 < len(token) <= TOKEN_CHARACTERS_MAX and token.isprintable() and " " not in token):
            raise ValueError("no token in the file")
        return token


class _Item(msgspec.Struct):
    role: str | None = None
    type: str | None = None
    content: msgspec.Raw = msgspec.Raw(b"")


class _Asked(msgspec.Struct):
    """Chat's messages, or the input of Responses."""

    messages: list[_Item] = []
    input: list[_Item] | str = []


_asked: Final = msgspec.json.Decoder(_Asked).decode


def about(body: bytes) -> bytes:
    """Whether a person asks or an agent goes on by itself (Copilot bills the former), and whether
    an image is to be looked at.
    """
    try:
        asked = _asked(body)
    except UNREADABLE:
        return b"x-initiator: user\r\n"
    items = asked.messages or (asked.input if isinstance(asked.input, list) else [])
    goes_on = any(item.role in ("assistant", "tool") or (item.type or "").startswith("function_call") for item in items)
    block = b"x-initiator: agent\r\n" if goes_on else b"x-initiator: user\r\n"
    contents = [bytes(item.content) for item in items]
    if any(b'"image_url"' in content or b'"input_image"' in content for content in contents):
        block += b"copilot-vision-request: true\r\n"
    return block
