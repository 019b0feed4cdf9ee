"""The texts of answers and of a stream's events. Pure.

In an event a text's address names a choice (and a tool call) by its `index`, not by where it stands
in the list: the same from event to event. `real` addresses are where it stands in this one.
"""

from collections.abc import Iterator, Mapping
from typing import Any

import msgspec

from services.edge.content.replace import replace
from services.edge.content.spelled import spelled_out
from services.edge.content.walk import walk
from services.edge.formats.base import Address, Text
from shared.decoding import UNREADABLE

_NOT_SAID = frozenset({"id", "opaque", "data", "key"})
_SIDE = frozenset({"logprobs", "usage", "embedding", "b64_json"})
"""Not what was said, or its echo."""


def of_answer(body: bytes) -> list[Text]:
    """Of an answer's choices; of anything else that came in their place, all of it, and its vectors
    not.
    """
    try:
        answer = msgspec.json.decode(body)
    except UNREADABLE:
        return [Text((), body.decode("utf-8", "replace"))]
    return spelled_out(
        [text for address, value in _said(answer) for text in walk(value, address).texts if _is_said(text)]
    )


def _said(answer: Any) -> Iterator[tuple[Address, Any]]:
    if not isinstance(answer, dict):
        yield (), answer
        return
    choices = answer.get("choices")
    if isinstance(choices, list) and choices:
        for i, choice in enumerate(choices):
            if isinstance(choice, dict):
                for name, value in choice.items():
                    if name not in _SIDE and isinstance(value, str | list | dict):
                        yield ("choices", i, name), value
            else:
                yield ("choices", i), choice
        return
    for name, value in answer.items():
        if name not in ("data", "usage") and isinstance(value, str | list | dict):
            yield (name,), value


def _is_said(text: Text) -> bool:
    return text.kind not in _NOT_SAID and not _SIDE.intersection(text.address)


def with_texts(body: bytes, texts: Mapping[int, str], said: list[Text]) -> bytes:
    """The answer with other texts, rebuilt. What else tells what was there (logprobs) goes from the
    choices that change.
    """
    if said and said[0].address == ():
        return texts[0].encode()
    changes = {said[index].address: msgspec.json.encode(text) for index, text in texts.items()}
    return replace(body, changes | _without_logprobs(msgspec.json.decode(body), changes))


def _without_logprobs(answer: Any, changes: Mapping[Address, bytes]) -> dict[Address, bytes]:
    more: dict[Address, bytes] = {}
    for address in changes:
        if len(address) > 2 and address[0] == "choices":
            choice = answer["choices"][address[1]]
            if isinstance(choice, dict) and choice.get("logprobs") is not None:
                more[("choices", address[1], "logprobs")] = b"null"
    return more


class Grown(msgspec.Struct, frozen=True):
    """A text that grew in an event."""

    channel: Address
    """The same in every event."""
    real: Address
    text: Text


def of_event(data: bytes) -> list[Grown]:
    """Raises nothing: an event that can't be read is one text, at `()`."""
    if not data:
        return []
    try:
        event = msgspec.json.decode(data)
    except UNREADABLE:
        text = Text((), data.decode("utf-8", "replace"))
        return [Grown((), (), text)]
    grown = []
    is_arguments = isinstance(event, dict) and str(event.get("type", "")).endswith("_arguments.delta")
    for address, value in _said(event):
        for text in walk(value, address).texts:
            if text.text and _is_said(text):
                if is_arguments and address == ("delta",):
                    text = msgspec.structs.replace(text, kind="arguments")
                grown.append(Grown(_channel(event, text.address), text.address, text))
    return grown


def _channel(event: Any, address: Address) -> Address:
    """With the `index` that list items carry in the place of their position."""
    steps: list[str | int] = []
    value = event
    for step in address:
        value = value[step]
        index = value.get("index") if isinstance(step, int) and isinstance(value, dict) else None
        steps.append(index if isinstance(index, int) else step)
    return tuple(steps)


def event_with_texts(data: bytes, texts: Mapping[Address, str]) -> bytes:
    """An event's data with other texts at real addresses."""
    if () in texts:
        return texts[()].encode()
    changes = {address: msgspec.json.encode(text) for address, text in texts.items()}
    return replace(data, changes | _without_logprobs(msgspec.json.decode(data), changes))
