"""What all translators share: the values that go in and out, refusals, and the writer of OpenAI's
chunks.
"""

from collections.abc import Mapping
from typing import Any, Final, NoReturn

import msgspec

from services.edge.providers.base import ErrorSaid, UnreadableAnswerError
from shared import errors
from shared.decoding import UNREADABLE
from shared.errors import RefusedError

EVENT_BYTES_MAX: Final = 16 * 1024 * 1024
"""Of one event of a provider's stream."""
ERROR_CHARACTERS_MAX: Final = 4_000
"""Of a provider's message that is passed on."""

encode: Final = msgspec.json.Encoder().encode
Fields = Mapping[str, msgspec.Raw]
NOTHING: Final = msgspec.Raw(b"")
"""A field that isn't there: false, unlike any JSON value."""


def refuse(message: str, param: str) -> NoReturn:
    raise RefusedError(errors.bad_request(message, param))


def read(fields: Fields, name: str, decoder: "msgspec.json.Decoder[Any]") -> Any:
    """A field's value; None when absent or null. Raises RefusedError (400) naming the place inside
    it.
    """
    raw = fields.get(name)
    if raw is None:
        return None
    try:
        return decoder.decode(raw)
    except UNREADABLE as error:
        text, _, path = str(error).partition(" - at `$")
        where = f"{name}{path.rstrip('`')}"
        refuse(f"{where}: {text}", where)


def said(
    status: int, message: str, kind: str | None = None, code: str | None = None, param: str | None = None
) -> ErrorSaid:
    """A provider's error; type and code from status and words where the wire has none."""
    known_kind, known_code = kind_of(status, message)
    return ErrorSaid(message[:ERROR_CHARACTERS_MAX], kind or known_kind, code or known_code, param, _STATUS.get(status))


def error_event(error: ErrorSaid) -> bytes:
    """A provider's error within a stream: its last event."""
    body = {"message": error.message, "type": error.type, "param": error.param, "code": error.code}
    return b'data: {"error":%b}\n\n' % encode(body)


_STATUS: Final = {529: 503}
"""Statuses that OpenAI's clients don't know."""

_TOO_LONG: Final = (
    "prompt is too long", "maximum context length", "context_length_exceeded", "context window", "input is too long",
    "exceeds the maximum number of tokens", "too many tokens", "input token count", "max_prompt_tokens", "exceed context limit",
    "maximum number of input tokens", "too many total text bytes",
)  # fmt: skip
"""How providers say that a prompt doesn't fit, in lower case."""


def kind_of(status: int, message: str) -> tuple[str, str | None]:
    """OpenAI's (type, code) of a provider's error, from what all wires have: the status and the
    words.
    """
    if status in (400, 413) and any(words in message.lower() for words in _TOO_LONG):
        return "invalid_request_error", "context_length_exceeded"
    return _KINDS.get(status, ("api_error" if status >= 500 else "invalid_request_error", None))


_KINDS: Final[dict[int, tuple[str, str | None]]] = {
    401: ("authentication_error", "invalid_api_key"),
    403: ("permission_error", None),
    404: ("not_found_error", "model_not_found"),
    408: ("timeout", None),
    429: ("rate_limit_error", "rate_limit_exceeded"),
}


class Chunks:
    """Writes one stream's `chat.completion.chunk` events: the head once, each delta's bytes around
    what changes.
    """

    def __init__(self, response_id: str, model: str, now_s: int) -> None:
        self._start = b'data: {"id":%b,"object":"chat.completion.chunk","created":%d,"model":%b,"choices":' % (
            encode(response_id),
            now_s,
            encode(model),
        )
        self._delta = self._start + b'[{"index":0,"delta":'

    def delta(self, delta: bytes, finish: str | None = None, choice: int = 0) -> bytes:
        """`delta` is JSON."""
        start = self._delta if choice == 0 else b'%b[{"index":%d,"delta":' % (self._start, choice)
        if finish is None:
            return b'%b%b,"finish_reason":null}]}\n\n' % (start, delta)
        return b'%b%b,"finish_reason":"%b"}]}\n\n' % (start, delta, finish.encode())

    def role(self, choice: int = 0) -> bytes:
        return self.delta(b'{"role":"assistant","content":""}', None, choice)

    def text(self, text: str, choice: int = 0) -> bytes:
        return self.delta(b'{"content":%b}' % encode(text), None, choice)

    def reasoning(self, text: str, choice: int = 0) -> bytes:
        return self.delta(b'{"reasoning_content":%b}' % encode(text), None, choice)

    def tool(self, index: int, call_id: str, name: str, arguments: str = "", choice: int = 0) -> bytes:
        """The first piece of a tool call."""
        return self.delta(
            b'{"tool_calls":[{"index":%d,"id":%b,"type":"function","function":{"name":%b,"arguments":%b}}]}'
            % (index, encode(call_id), encode(name), encode(arguments)),
            None,
            choice,
        )

    def arguments(self, index: int, piece: str) -> bytes:
        return self.delta(b'{"tool_calls":[{"index":%d,"function":{"arguments":%b}}]}' % (index, encode(piece)))

    def usage(self, usage: dict[str, Any]) -> bytes:
        return b'%b[],"usage":%b}\n\n' % (self._start, encode(usage))


DONE: Final = b"data: [DONE]\n\n"


def usage(
    prompt: int,
    completion: int,
    *,
    cached: int = 0,
    written: int = 0,
    written_1h: int = 0,
    reasoning: int = 0,
    total: int | None = None,
    prompt_details: dict[str, Any] | None = None,
    completion_details: dict[str, int] | None = None,
    more: dict[str, Any] | None = None,
) -> dict[str, Any]:
    """OpenAI's usage object, with LiteLLM's names for what OpenAI has none for.

    `prompt` includes `cached` and `written` (of which `written_1h` live an hour); `completion`
    includes `reasoning`. Zeros are left out of the details.
    """
    found: dict[str, Any] = {
        "prompt_tokens": prompt,
        "completion_tokens": completion,
        "total_tokens": prompt + completion if total is None else total,
    }
    details: dict[str, Any] = {"cached_tokens": cached}
    if written:
        details["cache_creation_tokens"] = written
        if written_1h:
            details["cache_creation_token_details"] = {
                "ephemeral_5m_input_tokens": written - written_1h,
                "ephemeral_1h_input_tokens": written_1h,
            }
    if prompt_details:
        details.update(prompt_details)
    if details != {"cached_tokens": 0}:
        found["prompt_tokens_details"] = details
    if reasoning or completion_details:
        found["completion_tokens_details"] = {"reasoning_tokens": reasoning, **(completion_details or {})}
    if more:
        found.update(more)
    return found


def completion(
    response_id: str,
    model: str,
    now_s: int,
    message: dict[str, Any],
    finish: str,
    usage_: dict[str, Any] | None,
    **more: Any,
) -> bytes:
    """A whole `chat.completion` of one choice."""
    choices = [{"index": 0, "message": message, "finish_reason": finish}]
    return completions(response_id, model, now_s, choices, usage_, **more)


def completions(
    response_id: str, model: str, now_s: int, choices: list[dict[str, Any]], usage_: dict[str, Any] | None, **more: Any
) -> bytes:
    body: dict[str, Any] = {
        "id": response_id,
        "object": "chat.completion",
        "created": now_s,
        "model": model,
        "choices": choices,
    }
    if usage_ is not None:
        body["usage"] = usage_
    return encode({**body, **more})


def tool_call(call_id: str, name: str, arguments: str) -> dict[str, Any]:
    return {"id": call_id, "type": "function", "function": {"name": name, "arguments": arguments}}


class Events:
    """Server-sent events out of bytes cut anywhere: the joined data of each whole event."""

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, data: bytes) -> list[bytes]:
        """Raises UnreadableAnswerError for an event past EVENT_BYTES_MAX."""
        if self._rest:
            data = self._rest + data
        if b"\r" in data:
            held = data.endswith(b"\r")  # may be half of a CRLF
            data = (data[:-1] if held else data).replace(b"\r\n", b"\n").replace(b"\r", b"\n") + (
                b"\r" if held else b""
            )
        end = data.rfind(b"\n\n")
        if end < 0:
            if len(data) > EVENT_BYTES_MAX:
                raise UnreadableAnswerError("an event of the stream is too large")
            self._rest = data
            return []
        self._rest = data[end + 2 :]
        return [joined for event in data[:end].split(b"\n\n") if (joined := _data(event))]

    def finish(self) -> list[bytes]:
        """An event that its blank line didn't follow any more."""
        rest, self._rest = self._rest, b""
        joined = _data(rest.replace(b"\r", b"\n"))
        return [joined] if joined else []


class EventStream:
    """A stream of server-sent events being translated: each event is read as it is whole. What
    reads them is a subclass's.
    """

    def __init__(self) -> None:
        self._events = Events()

    def feed(self, data: bytes) -> list[bytes]:
        out: list[bytes] = []
        for event in self._events.feed(data):
            self._read(event, out)
        return out

    def finish(self) -> list[bytes]:
        out: list[bytes] = []
        for event in self._events.finish():
            self._read(event, out)
        return out

    def _read(self, data: bytes, out: list[bytes]) -> None:
        """One event's data; what it becomes is added to `out`."""
        raise NotImplementedError


def _data(event: bytes) -> bytes:
    """WHATWG HTML §9.2.6, as far as models' streams use it."""
    if event.startswith(b"data: ") and b"\n" not in event:
        return event[6:].strip()
    lines = [line[5:].removeprefix(b" ") for line in event.split(b"\n") if line.startswith(b"data:")]
    return b"\n".join(lines).strip()
