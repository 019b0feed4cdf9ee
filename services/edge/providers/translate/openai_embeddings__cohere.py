"""OpenAI's embeddings in front, Cohere's /v2/embed behind."""

from collections.abc import Mapping
from typing import Any

import msgspec

from services.edge.providers.base import Options, UnreadableAnswerError
from services.edge.providers.translate import embed
from services.edge.providers.translate.embed import NoStream as Stream
from services.edge.providers.translate.openai_chat__cohere import error
from services.edge.providers.translate.wire import encode
from shared.decoding import UNREADABLE

__all__ = ["Stream", "answer", "error", "request"]

INPUT_TYPE = "search_document"
"""Required by Cohere; this is LiteLLM's default. A request's own `input_type` goes before it."""


def request(fields: Mapping[str, msgspec.Raw], model: str, options: Options) -> bytes:
    del options
    made: dict[str, Any] = {
        "model": model,
        "texts": embed.texts(fields, "Cohere"),
        "input_type": INPUT_TYPE,
        "embedding_types": ["float"],
    }
    dimensions = embed.dimensions(fields)
    if dimensions is not None:
        made["output_dimension"] = dimensions
    return encode({**made, **{name: raw for name, raw in fields.items() if name not in embed.READ_HERE}})


class _Embeddings(msgspec.Struct):
    float_: list[list[float]] = msgspec.field(name="float")


class _Units(msgspec.Struct):
    input_tokens: float | None = None


class _Meta(msgspec.Struct):
    billed_units: _Units | None = None


class _Answer(msgspec.Struct):
    embeddings: _Embeddings
    meta: _Meta | None = None


_answer = msgspec.json.Decoder(_Answer).decode


def answer(body: bytes, options: Options) -> bytes:
    try:
        found = _answer(body)
    except UNREADABLE as problem:
        raise UnreadableAnswerError(f"no embeddings of Cohere's: {problem}") from None
    units = found.meta.billed_units if found.meta is not None else None
    tokens = int(units.input_tokens) if units is not None and units.input_tokens is not None else None
    return embed.answer(found.embeddings.float_, options, tokens)
