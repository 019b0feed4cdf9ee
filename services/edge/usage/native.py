"""Usage in the wires of Anthropic, Gemini, Bedrock, Cohere and Ollama: one table, wire → reader of
an answer or an event.
"""

from collections.abc import Callable
from typing import Any, Final

import msgspec

from services.edge.providers.translate import anthropic_answer, bedrock_answer, gemini_answer, openai_chat__cohere
from services.edge.usage import openai
from services.edge.usage.openai import Said
from services.edge.usage.reconcile import reconcile
from shared.billing import Usage
from shared.decoding import UNREADABLE


class _Anthropic(msgspec.Struct):
    """An answer, `message_start` (the usage stands in its message) or `message_delta`."""

    usage: anthropic_answer.Usage | None = None
    message: "_Anthropic | None" = None

    def openai(self) -> dict[str, Any] | None:
        found = self.usage or (self.message.usage if self.message is not None else None)
        return found.openai() if found is not None else None


class _Gemini(msgspec.Struct, rename="camel"):
    usage_metadata: gemini_answer.Usage | None = None

    def openai(self) -> dict[str, Any] | None:
        return self.usage_metadata.openai() if self.usage_metadata is not None else None


class _Tier(msgspec.Struct):
    type: str = ""


class _Bedrock(msgspec.Struct, rename="camel"):
    usage: bedrock_answer.Usage | None = None
    service_tier: _Tier | None = None

    def openai(self) -> dict[str, Any] | None:
        tier = self.service_tier.type if self.service_tier is not None else None
        return self.usage.openai(tier) if self.usage is not None else None


class _CohereMeta(msgspec.Struct):
    billed_units: openai_chat__cohere.Units | None = None


class _CohereDelta(msgspec.Struct):
    usage: openai_chat__cohere.Usage | None = None


class _Cohere(msgspec.Struct):
    """Chat says `usage`, its last event `delta.usage`, everything else `meta`."""

    usage: openai_chat__cohere.Usage | None = None
    delta: _CohereDelta | None = None
    meta: _CohereMeta | None = None

    def openai(self) -> dict[str, Any] | None:
        found = self.usage or (self.delta.usage if self.delta is not None else None)
        if found is not None:
            return found.openai()
        units = self.meta.billed_units if self.meta is not None else None
        return {"prompt_tokens": units.input_tokens, "completion_tokens": 0} if units is not None else None


class _Ollama(msgspec.Struct):
    prompt_eval_count: int | None = None
    eval_count: int | None = None

    def openai(self) -> dict[str, Any] | None:
        if self.prompt_eval_count is None:
            return None
        return {"prompt_tokens": self.prompt_eval_count, "completion_tokens": self.eval_count or 0}


Shape = type[_Anthropic | _Gemini | _Bedrock | _Cohere | _Ollama]
_SHAPES: dict[str, Shape] = {
    "anthropic": _Anthropic,
    "gemini": _Gemini,
    "bedrock": _Bedrock,
    "cohere": _Cohere,
    "ollama": _Ollama,
}
_said = msgspec.json.Decoder(Said).decode


def _reader(shape: Shape) -> Callable[[bytes], tuple[dict[str, Any] | None, str]]:
    decode = msgspec.json.Decoder(shape).decode

    def tree(body: bytes) -> tuple[dict[str, Any] | None, str]:
        found = decode(body).openai()
        return found, openai.service_of(found) if found else ""

    return tree


_NATIVE: Final = {wire: _reader(shape) for wire, shape in _SHAPES.items()}
READERS: Final = ("openai", *_SHAPES)
"""Wires whose usage can be read."""


def read(wire: str, body: bytes, *, generates: bool = True, provider: str = "") -> Usage | None:
    """Of a whole answer, or the data of a stream's event. None where it says nothing usable, or
    isn't of this wire.
    """
    try:
        if wire == "openai":
            return openai.read(_said(body), generates=generates, provider=provider)
        tree, service = _NATIVE[wire](body)
    except UNREADABLE:
        return None
    if tree is None:
        return None
    counts = openai.odd(tree)
    counts.service = service
    return reconcile(counts, generates=generates, provider=provider)
