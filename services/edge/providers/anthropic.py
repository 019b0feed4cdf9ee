"""Anthropic's Messages API."""

from collections.abc import Iterator, Mapping

from services.edge.formats.base import Call
from services.edge.providers import base
from services.edge.providers.base import Target, Translator
from shared.config import Deployment

VERSION = "2023-06-01"


class Anthropic:
    """See base.Provider."""

    wires: Mapping[str, str] = {}

    def __init__(self, translators: Mapping[str, Translator]) -> None:
        self.translators = translators

    def target(self, deployment: Deployment, user_agent: str) -> Target:
        headers = {"anthropic-version": VERSION}
        if deployment.api_key is not None:
            key = deployment.api_key.reveal()
            if key.startswith("sk-ant-oat"):  # an OAuth token of Claude Code's
                headers["authorization"] = f"Bearer {key}"
            else:
                headers["x-api-key"] = key
        return base.target(self, deployment, user_agent, headers)

    def path(self, target: Target, format: str, model: str, *, stream: bool) -> str:
        at = target.base_path
        if at.endswith("/messages"):
            return at
        return f"{at}/messages" if at.endswith("/v1") else f"{at}/v1/messages"

    def play(self, target: Target, format: str, call: Call, response_id: str, now_s: int) -> Iterator[bytes]:
        return base.no_play()


class Foundry(Anthropic):
    """Claude in Azure AI Foundry: Anthropic's wire under the resource's address."""

    def path(self, target: Target, format: str, model: str, *, stream: bool) -> str:
        at = target.base_path
        if "/anthropic" not in at:
            at = at.removesuffix("/v1").removesuffix("/models") + "/anthropic"
        if at.endswith("/messages"):
            return at
        return f"{at.removesuffix('/v1')}/v1/messages"
