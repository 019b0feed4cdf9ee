"""Providers that speak OpenAI's wire themselves: OpenAI, and everybody compatible with it."""

from collections.abc import Iterator, Mapping

from services.edge.formats.base import Call
from services.edge.formats.openai import CHAT, COMPLETIONS, EMBEDDINGS, IMAGES, MODERATIONS, RERANK
from services.edge.providers import base
from services.edge.providers.base import Target, Translator
from shared.config import Deployment

WIRES: dict[str, str] = {
    found.name: found.path for found in (CHAT, COMPLETIONS, EMBEDDINGS, MODERATIONS, IMAGES, RERANK)
}


class OpenAICompatible:
    """See base.Provider."""

    wires: Mapping[str, str] = WIRES
    translators: Mapping[str, Translator] = {}

    def target(self, deployment: Deployment, user_agent: str) -> Target:
        headers = {}
        if deployment.api_key is not None:
            headers["authorization"] = f"Bearer {deployment.api_key.reveal()}"
        if deployment.organization:
            headers["openai-organization"] = deployment.organization
        return base.target(self, deployment, user_agent, headers)

    def path(self, target: Target, format: str, model: str, *, stream: bool) -> str:
        return target.base_path + self.wires[format]

    def play(self, target: Target, format: str, call: Call, response_id: str, now_s: int) -> Iterator[bytes]:
        return base.no_play()
