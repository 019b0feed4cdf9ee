"""OpenAI's embeddings in front, IBM watsonx.ai's /ml/v1/text/embeddings behind."""

from collections.abc import Mapping
from typing import Any

import msgspec

from services.edge.providers.base import Options, UnreadableAnswerError
from services.edge.providers.translate import embed
from services.edge.providers.translate.embed import NoStream as Stream
from services.edge.providers.translate.openai_chat__watsonx import error
from services.edge.providers.translate.wire import encode
from shared.decoding import UNREADABLE

__all__ = ["Stream", "answer", "error", "request"]


def request(fields: Mapping[str, msgspec.Raw], model: str, options: Options) -> bytes:
    made: dict[str, Any] = {"model_id": model, "inputs": embed.texts(fields, "watsonx.ai")}
    project = options.deployment.params.project_id
    if project is not None:
        made["project_id"] = project
    return encode({**made, **{name: raw for name, raw in fields.items() if name not in embed.READ_HERE}})


class _Result(msgspec.Struct):
    embedding: list[float]


class _Answer(msgspec.Struct):
    results: list[_Result]
    input_token_count: int | None = None


_answer = msgspec.json.Decoder(_Answer).decode


def answer(body: bytes, options: Options) -> bytes:
    try:
        found = _answer(body)
    except UNREADABLE as problem:
        raise UnreadableAnswerError(f"no embeddings of watsonx.ai's: {problem}") from None
    return embed.answer([one.embedding for one in found.results], options, found.input_token_count)
