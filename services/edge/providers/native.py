"""Providers whose own wire is asked at addresses of its own with a plain key: AI Studio, Ollama,
Cohere.
"""

from collections.abc import Iterator, Mapping
from typing import ClassVar
from urllib.parse import quote

from services.edge.formats.base import Call
from services.edge.formats.openai import CHAT, COMPLETIONS, EMBEDDINGS, RERANK
from services.edge.providers import base
from services.edge.providers.base import Target, Translator
from services.edge.providers.translate import (
    openai_chat__cohere,
    openai_chat__gemini,
    openai_chat__ollama,
    openai_embeddings__cohere,
    openai_embeddings__gemini,
    openai_embeddings__ollama,
)
from shared.config import Deployment


class Native:
    """See base.Provider. A row sets where it is asked, and how the key is shown."""

    wires: Mapping[str, str] = {}
    translators: Mapping[str, Translator] = {}
    tails: ClassVar[tuple[str, ...]] = ()
    """What an `api_base` may end with that isn't part of the address: people paste it from
    elsewhere.
    """

    def key_headers(self, key: str) -> dict[str, str]:
        return {"authorization": f"Bearer {key}"}

    def target(self, deployment: Deployment, user_agent: str) -> Target:
        api_base = deployment.api_base
        for tail in self.tails:
            if api_base.endswith(tail):
                api_base = api_base.removesuffix(tail)
                break
        headers = self.key_headers(deployment.api_key.reveal()) if deployment.api_key is not None else {}
        return base.target(self, deployment, user_agent, headers, None, api_base)

    def path(self, target: Target, format: str, model: str, *, stream: bool) -> str:
        raise NotImplementedError

    def play(self, target: Target, format: str, call: Call, response_id: str, now_s: int) -> Iterator[bytes]:
        return base.no_play()


class Gemini(Native):
    """AI Studio. Its address may be that of a proxy, with or without the version."""

    translators: Mapping[str, Translator] = {
        CHAT.name: openai_chat__gemini,
        EMBEDDINGS.name: openai_embeddings__gemini,
    }
    tails = ("/openai",)

    def key_headers(self, key: str) -> dict[str, str]:
        return {"x-goog-api-key": key}

    def path(self, target: Target, format: str, model: str, *, stream: bool) -> str:
        at = target.base_path or "/v1beta"
        return f"{at}/models/{quote(model.removeprefix('models/'), safe='-._')}:{method(format, stream=stream)}"


def method(format: str, *, stream: bool) -> str:
    """Google's."""
    if format == EMBEDDINGS.name:
        return "batchEmbedContents"
    return "streamGenerateContent?alt=sse" if stream else "generateContent"


class Ollama(Native):
    """Chat and embeddings in its own wire, for what only that can say; completions at its OpenAI
    address.
    """

    wires: Mapping[str, str] = {COMPLETIONS.name: "/v1/completions"}
    translators: Mapping[str, Translator] = {
        CHAT.name: openai_chat__ollama,
        EMBEDDINGS.name: openai_embeddings__ollama,
    }
    tails = ("/api/chat", "/api/generate", "/api/embed", "/api", "/v1")

    def path(self, target: Target, format: str, model: str, *, stream: bool) -> str:
        if format in self.wires:
            return target.base_path + self.wires[format]
        return target.base_path + ("/api/embed" if format == EMBEDDINGS.name else "/api/chat")


class Cohere(Native):
    """Its first rerank takes what its second does, and documents that are objects."""

    wires: Mapping[str, str] = {RERANK.name: "/v1/rerank"}
    translators: Mapping[str, Translator] = {
        CHAT.name: openai_chat__cohere,
        EMBEDDINGS.name: openai_embeddings__cohere,
    }
    tails = (
        "/v1/chat",
        "/v2/chat",
        "/v1/embed",
        "/v2/embed",
        "/v1/rerank",
        "/v2/rerank",
        "/v1",
        "/v2",
        "/compatibility",
    )

    def path(self, target: Target, format: str, model: str, *, stream: bool) -> str:
        if format in self.wires:
            return target.base_path + self.wires[format]
        return target.base_path + ("/v2/embed" if format == EMBEDDINGS.name else "/v2/chat")
