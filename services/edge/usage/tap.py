"""What a provider says a call used, read from its answer while that flows by: whole JSON,
server-sent events, Amazon's event stream.

Nothing is changed, and never more than `HELD_BYTES_MAX` of an answer is held. What can't be read
says nothing.
"""

import base64
import json
from typing import Final

import msgspec

from services.edge.providers.base import UnreadableAnswerError
from services.edge.providers.translate.event_stream import Decoder
from services.edge.usage import native
from services.edge.usage.reconcile import more_of
from shared.billing import Usage
from shared.decoding import UNREADABLE

HELD_BYTES_MAX: Final = 1024 * 1024
TAIL_BYTES: Final = 64 * 1024
"""Of a whole answer that is longer: where its usage stands."""
LINES_FOR_MODEL: Final = 16
"""Of a stream, looked at for the model's name."""
MODEL_CHARACTERS_MAX: Final = 256
_MARKS: Final = (b'"usage"', b'"usageMetadata"', b'"meta"', b'"eval_count"')
_UNREADABLE: Final = (*UNREADABLE, ValueError)


class _Named(msgspec.Struct):
    """Where an answer says which model it is of, or holds another one (OpenAI's Responses,
    Anthropic's `message_start`).
    """

    model: str | None = None
    modelVersion: str | None = None
    response: msgspec.Raw = msgspec.Raw(b"null")
    message: msgspec.Raw = msgspec.Raw(b"null")


_named = msgspec.json.Decoder(_Named).decode


class Tap:
    """
    Args:
        wire: one of usage.native.READERS.
        provider: LiteLLM's name, for what only some of them do.
        content_type: of the answer.
    """

    def __init__(self, wire: str, provider: str, content_type: str, *, generates: bool = True) -> None:
        self._wire = wire
        self._provider = provider
        self._generates = generates
        kind = content_type.partition(";")[0].strip().lower()
        self._feed = {
            "text/event-stream": self._events,
            "application/x-ndjson": self._events,
            "application/vnd.amazon.eventstream": self._amazon,
            "application/json": self._whole,
        }.get(kind, self._nothing if not kind.endswith("json") else self._whole)
        self._rest = b""
        self._skipping = False
        """In a line that is too long: only its end is kept."""
        self._pieces: list[bytes] = []
        self._size = 0
        self._lines_for_model = LINES_FOR_MODEL
        self._decoder: Decoder | None = Decoder()
        self.usage: Usage | None = None
        self.model = ""
        """As the answer says it."""

    def feed(self, data: bytes) -> None:
        """Raises nothing."""
        self._feed(data)

    def finish(self) -> Usage | None:
        """What was said in all; None: nothing."""
        if self._rest and self._feed == self._events:
            (self._long_line if self._skipping else self._line)(self._rest)
        if self._pieces:
            body = b"".join(self._pieces)
            self._read(body if self._size <= HELD_BYTES_MAX else _from_tail(body))
            self._pieces = []
        self._rest = b""
        return self.usage

    # ── by how it comes ──

    def _nothing(self, data: bytes) -> None:
        pass

    def _whole(self, data: bytes) -> None:
        self._pieces.append(data)
        self._size += len(data)
        if self._size > HELD_BYTES_MAX:
            self._pieces = [b"".join(self._pieces)[-TAIL_BYTES:]]

    def _events(self, data: bytes) -> None:
        """A line an event: `data: {...}`, or the JSON alone."""
        data = self._rest + data
        end = max(data.rfind(b"\n"), data.rfind(b"\r")) + 1
        self._rest = data[end:]
        if end:
            lines = data[:end]
            if self._skipping:
                long, *others = lines.splitlines(keepends=True)
                self._long_line(long)
                lines = b"".join(others)
            if self._lines_for_model or any(mark in lines for mark in _MARKS):
                for line in lines.splitlines():
                    self._line(line)
        if self._skipping or len(self._rest) > HELD_BYTES_MAX:
            self._rest, self._skipping = self._rest[-TAIL_BYTES:], True

    def _long_line(self, tail: bytes) -> None:
        """An image's last event says behind it what it cost."""
        self._skipping = False
        self._read(_from_tail(tail[-TAIL_BYTES:]))

    def _line(self, line: bytes) -> None:
        data = line.removeprefix(b"data:").strip()
        if data.startswith(b"{") and (self._lines_for_model or any(mark in data for mark in _MARKS)):
            self._lines_for_model = 0 if self.model else max(0, self._lines_for_model - 1)
            self._read(data)

    def _amazon(self, data: bytes) -> None:
        if self._decoder is None:
            return
        try:
            for _, payload in self._decoder.feed(data):
                if payload.startswith(b'{"bytes"'):
                    self._read(base64.b64decode(msgspec.json.decode(payload)["bytes"]))
                elif b'"usage"' in payload:
                    self._read(payload)
        except (UnreadableAnswerError, LookupError, TypeError, *_UNREADABLE):
            self._decoder = None  # what follows can't be trusted

    # ── what it says ──

    def _read(self, data: bytes) -> None:
        try:
            named = _named(data)
        except _UNREADABLE:
            return
        if not self.model:
            self.model = (named.model or named.modelVersion or "")[:MODEL_CHARACTERS_MAX]
        for inner in (named.response, named.message):
            if bytes(inner)[:1] == b"{":
                self._read(bytes(inner))
        found = native.read(self._wire, data, generates=self._generates, provider=self._provider)
        if found is not None:
            self.usage = found if self.usage is None else more_of(self.usage, found)


def _from_tail(tail: bytes) -> bytes:
    """An object with the usage that stands near the end of a long answer."""
    at, mark = max((tail.rfind(mark), mark) for mark in _MARKS)
    if at < 0:
        return b""
    rest = tail[at + len(mark) :].lstrip().removeprefix(b":").lstrip()
    try:
        found, _ = json.JSONDecoder().raw_decode(rest.decode("utf-8", "replace"))
    except _UNREADABLE:
        return b""
    return json.dumps({mark.decode().strip('"'): found}).encode()
