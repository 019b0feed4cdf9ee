"""A provider's row for a deployment with `merge_reasoning_content_in_choices`: its chat goes
through a translator in any case.
"""

from collections.abc import Iterator, Mapping

from services.edge.formats.base import Call
from services.edge.formats.openai import CHAT
from services.edge.providers.base import Provider, Target, Translator
from services.edge.providers.translate import openai_chat__openai
from services.edge.providers.translate.merged_reasoning import MergedReasoning
from shared.config import Deployment


class Merging:
    """See base.Provider."""

    def __init__(self, inner: Provider) -> None:
        self.inner = inner
        self.wires: Mapping[str, str] = {name: path for name, path in inner.wires.items() if name != CHAT.name}
        chat = inner.translators.get(CHAT.name, openai_chat__openai)
        self.translators: Mapping[str, Translator] = {**inner.translators, CHAT.name: MergedReasoning(chat)}

    def target(self, deployment: Deployment, user_agent: str) -> Target:
        return self.inner.target(deployment, user_agent)

    def path(self, target: Target, format: str, model: str, *, stream: bool) -> str:
        return self.inner.path(target, format, model, stream=stream)

    def play(self, target: Target, format: str, call: Call, response_id: str, now_s: int) -> Iterator[bytes]:
        return self.inner.play(target, format, call, response_id, now_s)


def unmerged(provider: Provider) -> Provider:
    """The row itself: a relayed call has no chat to merge."""
    return provider.inner if isinstance(provider, Merging) else provider
