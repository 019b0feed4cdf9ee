"""OpenAI's embeddings as values: what translators of embeddings share."""

import base64
import struct
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from services.edge.providers.base import Options
from services.edge.providers.translate.wire import encode, read, refuse

_input = msgspec.json.Decoder(str | list[str | int | list[int]])
_dimensions = msgspec.json.Decoder(int | None)

READ_HERE = frozenset({"model", "input", "encoding_format", "dimensions", "user", "metadata"})


def texts(fields: Mapping[str, msgspec.Raw], maker: str) -> list[str]:
    """Token ids are one tokenizer's, which isn't this maker's: refused."""
    found = read(fields, "input", _input)
    if isinstance(found, str):
        return [found]
    if not found:
        refuse("input must not be empty", "input")
    if not all(isinstance(one, str) for one in found):
        refuse(f"input: {maker} takes texts, not token ids", "input")
    return list(found)


def dimensions(fields: Mapping[str, msgspec.Raw]) -> int | None:
    found: int | None = read(fields, "dimensions", _dimensions)
    return found


def answer(vectors: Sequence[Sequence[float]], options: Options, tokens: int | None) -> bytes:
    """`tokens` None: the provider didn't count, and usage is left out."""
    data = [
        {"object": "embedding", "index": i, "embedding": _base64(vector) if options.base64 else vector}
        for i, vector in enumerate(vectors)
    ]
    made: dict[str, Any] = {"object": "list", "data": data, "model": options.model}
    if tokens is not None:
        made["usage"] = {"prompt_tokens": tokens, "total_tokens": tokens}
    return encode(made)


def _base64(vector: Sequence[float]) -> str:
    """OpenAI's: 32-bit floats, little-endian."""
    return base64.b64encode(struct.pack(f"<{len(vector)}f", *vector)).decode()


class NoStream:
    """Embeddings come whole: the format doesn't stream."""

    def __init__(self, options: Options) -> None:
        raise NotImplementedError

    def feed(self, data: bytes) -> list[bytes]:
        raise NotImplementedError

    def finish(self) -> list[bytes]:
        raise NotImplementedError
