"""OpenAI's embeddings in front, Vertex AI's `:predict` behind."""

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

_INSTANCE = ("task_type", "title")


def request(fields: Mapping[str, msgspec.Raw], model: str, options: Options) -> bytes:
    del model, options
    same = {name: fields[name] for name in _INSTANCE if name in fields}
    made: dict[str, Any] = {
        "instances": [{**same, "content": text} for text in embed.texts(fields, "Vertex AI")],
    }
    parameters: dict[str, Any] = {
        name: raw for name, raw in fields.items() if name not in embed.READ_HERE and name not in _INSTANCE
    }
    dimensions = embed.dimensions(fields)
    if dimensions is not None:
        parameters["outputDimensionality"] = dimensions
    if parameters:
        made["parameters"] = parameters
    return encode(made)


class _Statistics(msgspec.Struct):
    token_count: float | None = None


class _Embedding(msgspec.Struct):
    values: list[float]
    statistics: _Statistics | None = None


class _Prediction(msgspec.Struct):
    embeddings: _Embedding


class _Answer(msgspec.Struct):
    predictions: list[_Prediction]


_answer = msgspec.json.Decoder(_Answer).decode


def answer(body: bytes, options: Options) -> bytes:
    try:
        found = [prediction.embeddings for prediction in _answer(body).predictions]
    except UNREADABLE as problem:
        raise UnreadableAnswerError(f"no embeddings of Vertex AI's: {problem}") from None
    counts = [one.statistics.token_count if one.statistics is not None else None for one in found]
    tokens = None if None in counts else int(sum(count or 0 for count in counts))
    return embed.answer([one.values for one in found], options, tokens)
