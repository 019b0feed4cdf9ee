"""OpenAI's chat in front, IBM watsonx.ai's /ml/v1/text/chat behind: nearly the same JSON, with
other names around it.
"""

from collections.abc import Mapping
from typing import Any

import msgspec

from services.edge.providers.base import ErrorSaid, Options, UnreadableAnswerError
from services.edge.providers.translate import chat, wire
from services.edge.providers.translate.wire import DONE, Events, encode
from shared.decoding import UNREADABLE

_NOT_SENT = frozenset(
    {"model", "stream", "stream_options", "user", "metadata", "tool_choice", "functions", "function_call"}
)


def request(fields: Mapping[str, msgspec.Raw], model: str, options: Options) -> bytes:
    made: dict[str, Any] = {name: raw for name, raw in fields.items() if name not in _NOT_SENT}
    if not model.startswith("deployment/"):  # a deployment has its model and project
        made["model_id"] = model
        project = options.deployment.params.project_id
        if project is not None:
            made["project_id"] = project
    choice = chat.tool_choice(fields)
    if choice is not None and choice.mode == "function":
        made["tool_choice"] = {"type": "function", "function": {"name": choice.name}}
    elif choice is not None:
        made["tool_choice_option"] = choice.mode
    return encode(made)


class _Answer(msgspec.Struct):
    choices: list[msgspec.Raw]
    id: str = ""
    model_id: str = ""
    created: int | None = None
    usage: msgspec.Raw = msgspec.Raw(b"null")


class _Said(msgspec.Struct):
    message: str = ""
    code: str | None = None


class _Error(msgspec.Struct):
    errors: list[_Said]


class _Finish(msgspec.Struct):
    finish_reason: str | None = None


_answer = msgspec.json.Decoder(_Answer).decode
_error = msgspec.json.Decoder(_Error).decode
_finish = msgspec.json.Decoder(_Finish).decode


def answer(body: bytes, options: Options) -> bytes:
    try:
        found = _answer(body)
    except UNREADABLE as problem:
        raise UnreadableAnswerError(f"no answer of watsonx.ai's: {problem}") from None
    return encode(_openai(found, "chat.completion", options))


def _openai(found: _Answer, kind: str, options: Options) -> dict[str, Any]:
    made = {
        "id": found.id or options.response_id,
        "object": kind,
        "created": options.now_s if found.created is None else found.created,
        "model": found.model_id or options.model,
        "choices": found.choices,
    }
    if bytes(found.usage) != b"null":
        made["usage"] = found.usage
    return made


def error(body: bytes, status: int) -> ErrorSaid | None:
    try:
        said = _error(body).errors
    except UNREADABLE:
        return None
    return wire.said(status, said[0].message) if said and said[0].message else None


class Stream:
    def __init__(self, options: Options) -> None:
        self._options = options
        self._events = Events()
        self._ended = False
        self._failed = False

    def feed(self, data: bytes) -> list[bytes]:
        return [made for event in self._events.feed(data) for made in self._read(event)]

    def finish(self) -> list[bytes]:
        """Nothing but the end of the bytes says that it is over."""
        out = [made for event in self._events.finish() for made in self._read(event)]
        return [*out, DONE] if self._ended and not self._failed else out

    def _read(self, data: bytes) -> list[bytes]:
        if self._failed:
            return []
        failed = error(data, 500)
        if failed is not None:
            self._failed = True
            return [wire.error_event(failed)]
        try:
            found = _answer(data)
            self._ended = self._ended or any(_finish(choice).finish_reason for choice in found.choices)
        except UNREADABLE as problem:
            raise UnreadableAnswerError(f"no event of watsonx.ai's: {problem}") from None
        usage, found.usage = found.usage, msgspec.Raw(b"null")
        made = _openai(found, "chat.completion.chunk", self._options)
        out = [b"data: %b\n\n" % encode(made)] if found.choices else []
        if bytes(usage) != b"null":
            out.append(b"data: %b\n\n" % encode({**made, "choices": [], "usage": usage}))
        return out
