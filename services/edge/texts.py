"""The texts in requests, answers and stream chunks: what guardrails read and what is counted where no usage is given.

All roles, all content parts, tool calls and tool results: not only the last message. Pure; never raises on odd shapes.
"""

from collections.abc import Iterable, Iterator
from typing import Any

import msgspec

from services.edge.openai import Call

_TEXT_KEYS = frozenset(
    {"text", "content", "reasoning_content", "refusal", "arguments", "input_text", "output", "name", "description"}
)
_SKIPPED_KEYS = frozenset({"image_url", "logprobs", "usage", "input_audio", "audio", "file"})
DEPTH_MAX = 16


def of_request(call: Call) -> list[str]:
    """Of `messages`, `prompt` or `input`, and of tool definitions."""
    texts: list[str] = []
    for name in ("messages", "prompt", "input", "tools", "functions"):
        raw = call.fields.get(name)
        if raw is not None:
            try:
                texts.extend(_walk(msgspec.json.decode(raw), 0))
            except (msgspec.DecodeError, RecursionError):
                continue
    return texts


def of_answer(body: bytes) -> list[str]:
    """Of an answer's choices."""
    try:
        answer = msgspec.json.decode(body)
    except (msgspec.DecodeError, RecursionError):
        return []
    return list(_walk(answer.get("choices"), 0)) if isinstance(answer, dict) else []


def of_chunk(event_data: bytes) -> Iterator[tuple[str, str]]:
    """(channel, text) of one stream chunk: a channel is a choice and the field the text grows in."""
    try:
        chunk = msgspec.json.decode(event_data)
    except (msgspec.DecodeError, RecursionError):
        return
    choices = chunk.get("choices") if isinstance(chunk, dict) else None
    for choice in choices if isinstance(choices, list) else []:
        if not isinstance(choice, dict):
            continue
        index = str(choice.get("index", 0))
        if isinstance(choice.get("text"), str):
            yield index, choice["text"]
        delta = choice.get("delta")
        for text in _walk(delta, 0) if isinstance(delta, dict) else ():
            yield index, text


def _walk(value: Any, depth: int) -> Iterable[str]:
    if depth > DEPTH_MAX:
        return
    if isinstance(value, str):
        yield value
    elif isinstance(value, list):
        for item in value:
            yield from _walk(item, depth + 1)
    elif isinstance(value, dict):
        for key, item in value.items():
            if key in _SKIPPED_KEYS:
                continue
            if not isinstance(item, str):
                yield from _walk(item, depth + 1)
            elif key in _TEXT_KEYS:
                yield item
