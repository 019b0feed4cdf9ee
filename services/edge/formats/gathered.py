"""A stream's events put together to the whole answer that a client asked for: some providers only
ever stream. Pure.
"""

from typing import Any, Final

import msgspec

from services.edge.formats.events import data_of, split_events
from services.edge.formats.wire import answer_head
from shared.decoding import UNREADABLE

BYTES_MAX: Final = 1024 * 1024
"""Of a stream that is put together: it is read event by event, on the loop."""
_HEAD: Final = ("id", "created", "model", "system_fingerprint", "service_tier", "usage")
_ONCE: Final = frozenset({"role", "id", "type"})
"""Said once, or again as it was."""


class GatheringError(Exception):
    """The events are no whole answer.

    Args:
        cause: of routing/causes.py.
        error: the data of the event that says so; empty: none does.
    """

    def __init__(self, cause: str, error: bytes = b"") -> None:
        super().__init__(cause)
        self.cause = cause
        self.error = error


def gather(body: bytes, kind: str) -> bytes:
    """Raises GatheringError.

    Args:
        kind: `object` of the answer; a choice's `delta` becomes its `message` where there is one.
    """
    if len(body) > BYTES_MAX:
        raise GatheringError("unreadable")
    answer: dict[str, Any] = {"object": kind}
    choices: dict[int, dict[str, Any]] = {}
    is_over = False
    for event in split_events(body):
        data = data_of(event)
        if data == b"[DONE]":
            is_over = True
        elif data:
            _add(data, answer, choices)
    is_over = is_over or all(choice.get("finish_reason") for choice in choices.values())
    if not choices or not is_over:
        raise GatheringError("early_end" if choices else "empty")
    answer["choices"] = [choices[index] for index in sorted(choices)]
    return msgspec.json.encode(answer)


def _add(data: bytes, answer: dict[str, Any], choices: dict[int, dict[str, Any]]) -> None:
    try:
        if answer_head(data).failed():
            raise GatheringError("error_answer", data)
        chunk = msgspec.json.decode(data)
    except UNREADABLE:
        raise GatheringError("unreadable") from None
    if not isinstance(chunk, dict):
        return
    answer.update({name: chunk[name] for name in _HEAD if chunk.get(name) is not None})
    for part in chunk.get("choices") or ():
        if not isinstance(part, dict) or not isinstance(part.get("index", 0), int):
            raise GatheringError("unreadable")
        choice = choices.setdefault(part.get("index", 0), {"index": part.get("index", 0)})
        for name, value in part.items():
            if name == "delta":
                _grow(choice.setdefault("message", {"role": "assistant", "content": None}), value or {})
            elif name == "text":
                _grow(choice, {name: value})
            elif value is not None or name not in choice:
                choice[name] = value


def _grow(message: dict[str, Any], delta: Any) -> None:
    """Texts go on; calls by their index; of anything else the last counts."""
    if not isinstance(delta, dict):
        raise GatheringError("unreadable")
    for name, value in delta.items():
        found = message.get(name)
        grows = type(found) is type(value) and type(value) in (list, str) and name not in _ONCE
        if name == "tool_calls" and isinstance(value, list):
            _call(message.setdefault(name, []), value)
        elif isinstance(value, dict) and isinstance(found, dict):
            _grow(found, value)
        elif grows:
            message[name] = found + value
        elif value is not None or name not in message:
            message[name] = value


def _call(calls: list[Any], grown: list[Any]) -> None:
    """One without an index is a new one where it has a name, else it goes on with the last."""
    for part in grown:
        if not isinstance(part, dict):
            raise GatheringError("unreadable")
        part = dict(part)
        function = part.get("function")
        is_new = isinstance(function, dict) and bool(function.get("name"))
        at = part.pop("index", len(calls) if is_new or not calls else len(calls) - 1)
        if not isinstance(at, int) or not 0 <= at <= len(calls):
            raise GatheringError("unreadable")
        if at == len(calls):
            calls.append({})
        _grow(calls[at], part)
