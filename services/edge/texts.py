"""The texts in requests, answers and stream chunks: what guardrails read and what is counted where no usage is given.

All roles, all content parts, tool calls and tool results: not only the last message. Pure; no depth of nesting hides a text.
"""

from collections.abc import Iterator
from typing import Any

import msgspec

from services.edge.openai import UNREADABLE, Call
from shared import errors
from shared.errors import RefusedError

_SAID_IN = ("messages", "prompt", "input", "tools", "functions", "response_format", "prediction", "suffix")
"""The request's fields that reach a model as text."""
_TEXT_KEYS = frozenset(
    {
        "text", "content", "reasoning_content", "reasoning", "thinking", "refusal", "arguments", "input_text", "output",
        "name", "description", "title", "default", "const",
    }
)  # fmt: skip


def of_request(call: Call) -> list[str]:
    """Raises RefusedError where a field can't be decoded: what we can't read, a guardrail can't either, but a model might."""
    texts: list[str] = []
    for name in _SAID_IN:
        raw = call.fields.get(name)
        if raw is not None:
            try:
                texts.extend(_walk(msgspec.json.decode(raw)))
            except UNREADABLE:
                message = f"{name} is nested too deeply, or has a number that is too large"
                raise RefusedError(errors.bad_request(message, name)) from None
    return texts


def of_answer(body: bytes) -> list[str]:
    """Of an answer's choices; of anything else that came in their place, all of it."""
    try:
        answer = msgspec.json.decode(body)
    except UNREADABLE:
        return [body.decode("utf-8", "replace")]
    if isinstance(answer, dict):
        answer = answer.get("choices") or {name: value for name, value in answer.items() if name != "data"}
    return _walk(answer)


def of_chunk(event_data: bytes) -> list[tuple[str, str]]:
    """(channel, text) of one stream chunk: a channel is a choice and the field the text grows in."""
    if not event_data:
        return []
    try:
        chunk = msgspec.json.decode(event_data)
    except UNREADABLE:
        return [("", event_data.decode("utf-8", "replace"))]
    choices = chunk.get("choices") if isinstance(chunk, dict) else None
    return list(_grown(choices if isinstance(choices, list) else chunk))


def _walk(value: Any) -> list[str]:
    """In order, and without recursion."""
    texts: list[str] = []
    stack = [value]
    while stack:
        value = stack.pop()
        if isinstance(value, str):
            texts.append(value)
        elif isinstance(value, list):
            stack.extend(reversed(value))
        elif isinstance(value, dict):
            for key, item in reversed(value.items()):
                if isinstance(item, list | dict) or (key in _TEXT_KEYS and isinstance(item, str)):
                    stack.append(item)
    return texts


def _grown(value: Any) -> Iterator[tuple[str, str]]:
    """As `_walk`, each text with the path it stands at; a list's items are told apart by their own `index`."""
    stack: list[tuple[str, Any]] = [("", value)]
    while stack:
        path, value = stack.pop()
        if isinstance(value, str):
            yield path, value
        elif isinstance(value, list):
            for position, item in reversed(list(enumerate(value))):
                index = item.get("index", position) if isinstance(item, dict) else position
                stack.append((f"{path}.{index}", item))
        elif isinstance(value, dict):
            for key, item in reversed(value.items()):
                if not isinstance(item, str) or key in _TEXT_KEYS:
                    stack.append((f"{path}.{key}", item))
