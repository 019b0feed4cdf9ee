"""OpenAI's embeddings in front, AI Studio's batchEmbedContents behind."""

from collections.abc import Mapping
from typing import Any

import msgspec

from services.edge.providers.base import Options, UnreadableAnswerError
from services.edge.providers.translate import embed
from services.edge.providers.translate.embed import NoStream as Stream
from services.edge.providers.translate.gemini_answer import error
from services.edge.providers.translate.wire import encode
from shared.decoding import UNREADABLE

__all__ = ["Stream", "answer", "error", "request"]

_NAMES = {"task_type": "taskType", "output_dimensionality": "outputDimensionality"}


def request(fields: Mapping[str, msgspec.Raw], model: str, options: Options) -> bytes:
    del options
    same: dict[str, Any] = {"model": f"models/{model}"}
    dimensions = embed.dimensions(fields)
    if dimensions is not None:
        same["outputDimensionality"] = dimensions
    same |= {_NAMES.get(name, name): raw for name, raw in fields.items() if name not in embed.READ_HERE}
    return encode(
        {"requests": [{**same, "content": {"parts": [{"text": text}]}} for text in embed.texts(fields, "Gemini")]}
    )


class _Values(msgspec.Struct):
    values: list[float]


class _Usage(msgspec.Struct, rename="camel"):
    prompt_token_count: int | None = None


class _Answer(msgspec.Struct, rename="camel"):
    embeddings: list[_Values]
    usage_metadata: _Usage | None = None


_answer = msgspec.json.Decoder(_Answer).decode


def answer(body: bytes, options: Options) -> bytes:
    try:
        found = _answer(body)
    except UNREADABLE as problem:
        raise UnreadableAnswerError(f"no embeddings of Gemini's: {problem}") from None
    tokens = found.usage_metadata.prompt_token_count if found.usage_metadata is not None else None
    return embed.answer([one.values for one in found.embeddings], options, tokens)
