"""OpenAI's chat in front, a SageMaker endpoint that speaks it behind: the same JSON, but streams
come in Amazon's binary frames.
"""

import msgspec

from services.edge.providers.base import ErrorSaid, Options
from services.edge.providers.translate import wire
from services.edge.providers.translate.event_stream import Decoder
from services.edge.providers.translate.openai_chat__openai import answer, request
from services.edge.providers.translate.wire import Events
from shared.decoding import UNREADABLE

__all__ = ["Stream", "answer", "error", "request"]


class _Error(msgspec.Struct):
    OriginalMessage: str | None = None
    Message: str | None = None
    message: str | None = None


_error = msgspec.json.Decoder(_Error).decode


def error(body: bytes, status: int) -> ErrorSaid | None:
    """SageMaker's own; what the container said is in `OriginalMessage`."""
    try:
        found = _error(body)
    except UNREADABLE:
        return None
    message = found.OriginalMessage or found.Message or found.message
    return wire.said(status, message) if message else None


class Stream:
    def __init__(self, options: Options) -> None:
        del options
        self._decoder = Decoder()
        self._events = Events()
        self._over = False

    def feed(self, data: bytes) -> list[bytes]:
        out: list[bytes] = []
        for headers, payload in self._decoder.feed(data):
            if self._over:
                break
            if headers.get(":message-type", "event") != "event":
                said = error(payload, 500) or ErrorSaid(
                    headers.get(":exception-type", "the endpoint failed"), "api_error"
                )
                out.append(wire.error_event(said))
                self._over = True
            else:
                out += [b"data: %b\n\n" % event for event in self._events.feed(payload)]
        return out

    def finish(self) -> list[bytes]:
        return [] if self._over else [b"data: %b\n\n" % event for event in self._events.finish()]
