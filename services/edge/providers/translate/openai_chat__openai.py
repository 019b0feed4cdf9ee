"""OpenAI's chat in front and behind, for a deployment whose answers are changed on their way: the
bytes are the same.
"""

from collections.abc import Mapping

import msgspec

from services.edge.providers.base import ErrorSaid, Options, UnreadableAnswerError
from services.edge.providers.translate.wire import EventStream, encode
from shared.decoding import UNREADABLE


def request(fields: Mapping[str, msgspec.Raw], model: str, options: Options) -> bytes:
    del options
    return encode({**fields, "model": model})


class _Answer(msgspec.Struct):
    choices: list[msgspec.Raw]


_answer = msgspec.json.Decoder(_Answer).decode


def answer(body: bytes, options: Options) -> bytes:
    del options
    try:
        _answer(body)
    except UNREADABLE as problem:
        raise UnreadableAnswerError(f"no answer in OpenAI's format: {problem}") from None
    return body


def error(body: bytes, status: int) -> ErrorSaid | None:
    """It is in OpenAI's shape already."""
    del body, status
    return None


class Stream(EventStream):
    def __init__(self, options: Options) -> None:
        del options
        super().__init__()

    def _read(self, data: bytes, out: list[bytes]) -> None:
        out.append(b"data: %b\n\n" % data)
