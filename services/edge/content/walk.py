"""Every string of a JSON value, with its address, role and kind. Without recursion: no depth of
nesting hides a text.

Names of maps (a schema's properties) are strings that a model reads, too. Words that the format is
made of (`"role": "user"`) are no texts: who bans "user" doesn't mean them. What isn't language is
of a kind of its own, so that each guardrail can say what it reads: ids and types are `id`, pictures
and sound `data`.
"""

from collections.abc import Iterator
from typing import Any

import msgspec

from services.edge.content import files, names
from services.edge.content.replace import RENAME
from services.edge.formats.base import Address, Text

_KINDS = {
    "content": "text", "text": "text", "input_text": "text", "output_text": "text", "refusal": "text", "prompt": "text",
    "input": "text", "suffix": "text", "instructions": "text", "system": "text", "thinking": "reasoning",
    "reasoning_content": "reasoning", "reasoning": "reasoning", "summary": "reasoning", "arguments": "arguments",
    "partial_json": "arguments", "output": "result", "name": "name", "filename": "name", "title": "name",
    "url": "url", "image_url": "url", "file_url": "url", "video_url": "url", "file_data": "url", "data": "url",
    "id": "id", "type": "id", "role": "id", "tool_call_id": "id", "call_id": "id", "tool_use_id": "id", "item_id": "id",
    "detail": "id", "status": "id", "object": "id", "model": "id", "finish_reason": "id", "format": "id", "media_type": "id",
    "file_id": "id", "system_fingerprint": "id", "service_tier": "id", "event": "id", "native_finish_reason": "id",
    "signature": "opaque", "encrypted_content": "opaque", "thinking_signature": "opaque",
}  # fmt: skip
_FIELDS = {
    "tools": "schema", "functions": "schema", "response_format": "schema", "tool_choice": "schema", "guided_json": "schema",
    "guided_choice": "schema", "guided_regex": "schema", "guided_grammar": "schema", "parameters": "schema", "schema": "schema",
    "input_schema": "schema",
}  # fmt: skip
"""What stands below these is of this kind, unless its name says otherwise."""
_WORDY = frozenset({"id", "schema", "unknown"})
"""Kinds in which words of the wire stand."""
PARTS = "content"
"""A list under this name is one text in parts."""


class Walked(msgspec.Struct):
    texts: list[Text]
    strings: int
    """All strings of the value, names of objects included: more of them in the bytes means that
    names stand twice.
    """


def walk(value: Any, address: Address = (), *, check_names: bool = False) -> Walked:
    """In order.

    Args:
        check_names: whether names that look like known ones are refused (RefusedError) in objects
            that a format defines.
    """
    texts: list[Text] = []
    strings = 0
    # (value, address, role, kind of what has no kind of its own, inside a map)
    stack: list[tuple[Any, Address, str, str, bool]] = [(value, address, "", _kind_at(address), _in_map(address))]
    known = names.INNER
    while stack:
        value, at, role, kind, in_map = stack.pop()
        if isinstance(value, str):
            strings += 1
            if kind not in _WORDY or value not in names.WORDS_OF_WIRES:
                texts.append(_text(value, at, role, kind))
        elif isinstance(value, list):
            if value and (type(value[0]) is int or type(value[0]) is float):
                if kind == "text" and len(at) < 3:
                    texts += _tokens(value, at)
                continue
            stack.extend((item, (*at, i), role, kind, in_map) for i, item in reversed(list(enumerate(value))))
        elif isinstance(value, dict):
            strings += len(value)
            if check_names and not in_map and not known.issuperset(value):
                names.refuse_look_alikes(value, known, ".".join(map(str, at)))
            said_by = value.get("role", role)
            role = said_by if isinstance(said_by, str) and said_by in names.WORDS_OF_WIRES else role
            children: list[tuple[Any, Address, str, str, bool]] = []
            for name, item in value.items():
                if isinstance(item, str):
                    children.append((item, (*at, name), role, _child_kind(name, kind, role, in_map), in_map))
                elif isinstance(item, list | dict):
                    inside = in_map or name in names.MAPS
                    children.append((item, (*at, name), role, _child_kind(name, kind, role, in_map), inside))
                if name not in (names.SCHEMA_WORDS if in_map else known):
                    texts.append(Text((*at, name, RENAME), name, role, "key"))
            stack.extend(reversed(children))
    return Walked(texts, strings)


def _child_kind(name: str, kind: str, role: str, in_map: bool) -> str:
    if in_map:
        return kind
    own = _KINDS.get(name) or _FIELDS.get(name, kind)
    if own == "text" and (role == "tool" or role == "function"):
        return "result"
    return "schema" if kind == "schema" and own in ("text", "name") else own


def _kind_at(address: Address) -> str:
    for name in address:
        if isinstance(name, str):
            return _FIELDS.get(name) or _KINDS.get(name, "unknown" if name not in ("messages",) else "text")
    return "unknown"


def _in_map(address: Address) -> bool:
    return any(name in names.MAPS for name in address)


def _text(value: str, at: Address, role: str, kind: str) -> Text:
    if kind == "url":
        return files.text_of(value, at, role)
    return Text(at, value, role, kind)


def _tokens(ids: list[Any], at: Address) -> Iterator[Text]:
    """A prompt given as token ids: `prompt: [1, 2]`, or an item of `prompt: [[1, 2], [3]]`."""
    if all(type(i) is int for i in ids):
        yield Text(at, " ".join(map(str, ids)), "", "tokens")
