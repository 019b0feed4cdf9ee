"""OpenAI's embeddings in front, Ollama's /api/embed behind."""

from collections.abc import Mapping
from typing import Any

import msgspec

from services.edge.providers.base import Options, UnreadableAnswerError
from services.edge.providers.translate import embed
from services.edge.providers.translate.embed import NoStream as Stream
from services.edge.providers.translate.openai_chat__ollama import error
from services.edge.providers.translate.wire import encode
from shared.decoding import UNREADABLE

__all__ = ["Stream", "answer", "error", "request"]


def request(fields: Mapping[str, msgspec.Raw], model: str, options: Options) -> bytes:
    del options
    made: dict[str, Any] = {"model": model, "input": embed.texts(fields, "Ollama")}
    dimensions = embed.dimensions(fields)
    if dimensions is not None:
        made["dimensions"] = dimensions
    return encode({**made, **{name: raw for name, raw in fields.items() if name not in embed.READ_HERE}})


class _Answer(msgspec.Struct):
    embeddings: list[list[float]]
    prompt_eval_count: int | None = None


_answer = msgspec.json.Decoder(_Answer).decode


def answer(body: bytes, options: Options) -> bytes:
    try:
        found = _answer(body)
    except UNREADABLE as problem:
        raise UnreadableAnswerError(f"no embeddings of Ollama's: {problem}") from None
    return embed.answer(found.embeddings, options, found.prompt_eval_count)
