"""OpenAI's embeddings in front, Bedrock's InvokeModel behind: Amazon's Titan (one text a call) and
Cohere's (many).
"""

from collections.abc import Mapping
from typing import Any

import msgspec

from services.edge.providers.base import Options, UnreadableAnswerError
from services.edge.providers.translate import embed
from services.edge.providers.translate.bedrock_answer import error
from services.edge.providers.translate.embed import NoStream as Stream
from services.edge.providers.translate.wire import encode, refuse
from shared.decoding import UNREADABLE

__all__ = ["Stream", "answer", "error", "request"]


def request(fields: Mapping[str, msgspec.Raw], model: str, options: Options) -> bytes:
    del options
    own = {name: raw for name, raw in fields.items() if name not in embed.READ_HERE}
    texts = embed.texts(fields, "Bedrock")
    dimensions = embed.dimensions(fields)
    made: dict[str, Any]
    if "cohere." in model:
        made = {"texts": texts, "input_type": "search_document"}
        if dimensions is not None:
            made["output_dimension"] = dimensions
        return encode({**made, **own})
    if len(texts) > 1:
        refuse("input: Titan takes one text a call", "input")
    made = {"inputText": texts[0]}
    if dimensions is not None:
        made["dimensions"] = dimensions
    return encode({**made, **own})


class _Float(msgspec.Struct):
    float_: list[list[float]] = msgspec.field(name="float")


class _Answer(msgspec.Struct, rename="camel"):
    embedding: list[float] | None = None
    input_text_token_count: int | None = None
    embeddings: list[list[float]] | _Float | None = None


_answer = msgspec.json.Decoder(_Answer).decode


def answer(body: bytes, options: Options) -> bytes:
    try:
        found = _answer(body)
    except UNREADABLE as problem:
        raise UnreadableAnswerError(f"no embeddings of Bedrock's: {problem}") from None
    if found.embedding is not None:
        return embed.answer([found.embedding], options, found.input_text_token_count)
    if found.embeddings is None:
        raise UnreadableAnswerError("no embeddings of Bedrock's: none are there")
    vectors = found.embeddings.float_ if isinstance(found.embeddings, _Float) else found.embeddings
    return embed.answer(vectors, options, None)  # counted in a header, which isn't the body's
