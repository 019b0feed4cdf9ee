"""Where ids of what a provider keeps stand in OpenAI's Responses. Pure.

An address is a path of names; lists on the way are gone through. All other bytes stay as they came.
"""

import asyncio
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import msgspec

from services.edge.formats import joined

Addresses = Mapping[str, Any]
"""A name → what stands below it: `Addresses`, or the kind of an id. Below "": the kind where it is
no object but a string.
"""
Change = Callable[[str, str], str]
"""(kind, id) -> what stands there instead."""

RESPONSE, ITEM = "response", "item"
"""Kinds."""
CITED: Final = "cited"
"""An id that is only told."""

_CONTAINER: Addresses = {"": ITEM}
_ENVIRONMENT: Addresses = {"container_id": ITEM}
_TOOL: Addresses = {"container": _CONTAINER, "environment": _ENVIRONMENT}
_PART: Addresses = {"annotations": {"container_id": CITED}}
_BESIDE: Addresses = {
    "container_id": ITEM, "approval_request_id": ITEM, "environment": _ENVIRONMENT, "content": _PART,
}  # fmt: skip
_ITEM: Addresses = {"id": ITEM, **_BESIDE}
_RESPONSE: Addresses = {
    "id": RESPONSE, "previous_response_id": RESPONSE, "conversation": {"": ITEM, "id": ITEM}, "output": _ITEM, "tools": _TOOL,
}  # fmt: skip
ANSWER: Final[Addresses] = {**_RESPONSE, "data": _ITEM, "first_id": ITEM, "last_id": ITEM}
"""A response, what is left of one that was deleted, or a list of items."""
EVENT: Final[Addresses] = {
    "response": _RESPONSE, "item": _ITEM, "item_id": ITEM, "response_id": RESPONSE, "part": _PART, "annotation": {"container_id": CITED},
}  # fmt: skip
ASKED: Final[Addresses] = {
    "previous_response_id": RESPONSE, "conversation": {"": ITEM, "id": ITEM}, "tools": _TOOL,
}  # fmt: skip
"""Of a request, besides its items."""

_SAID: Final = frozenset(
    {
        "message", "function_call", "function_call_output", "custom_tool_call", "custom_tool_call_output", "computer_call_output",
        "local_shell_call_output", "shell_call_output", "apply_patch_call_output", "mcp_approval_response",
    }
)  # fmt: skip
"""Items that say all that they are: their id is no more than a name."""

ITEMS_MAX: Final = 100_000
QUOTES_MAX: Final = 16_384
"""Of one item, outside of what it says: two a name."""
TOKENS_AT_A_TIME: Final = 8_192
_TOKEN: Final = re.compile(rb'"(?:[^"\\]|\\.)*+"|[\[\]{},]', re.DOTALL)
_ABSENT: Final = msgspec.Raw(b"")


class TooManyError(Exception):
    """More items, or names, than a request has."""


class _Seen(msgspec.Struct):
    """An item's fields that matter here, and those that may be most of it: all others are skipped
    over.
    """

    id: msgspec.Raw = _ABSENT
    type: msgspec.Raw = _ABSENT
    role: msgspec.Raw = _ABSENT
    container_id: msgspec.Raw = _ABSENT
    approval_request_id: msgspec.Raw = _ABSENT
    environment: msgspec.Raw = _ABSENT
    content: msgspec.Raw = _ABSENT
    output: msgspec.Raw = _ABSENT
    summary: msgspec.Raw = _ABSENT
    arguments: msgspec.Raw = _ABSENT
    encrypted_content: msgspec.Raw = _ABSENT


_seen = msgspec.json.Decoder(_Seen).decode
_string = msgspec.json.Decoder(str).decode
_list = msgspec.json.Decoder(list[msgspec.Raw]).decode
_object = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode


def rewritten(
    raw: bytes, addresses: Addresses | str, change: Change, *, asked: bool = False, in_list: bool = False
) -> bytes:
    """The value with its ids changed; the very bytes where there are none. Raises UNREADABLE, and
    whatever `change` raises.

    Args:
        asked: it is a request's, and no name is to stand twice where an id may stand.
    """
    start = bytes(memoryview(raw)[:1])  # of a msgspec.Raw nothing else is cheap
    if start == b'"':
        kind = addresses if isinstance(addresses, str) else addresses.get("")
        return raw if kind is None else _id(raw, kind, change)
    if isinstance(addresses, str):
        return raw
    if start == b"[" and not in_list:
        items = _list(raw)
        made = [rewritten(item, addresses, change, asked=asked, in_list=True) for item in items]
        return raw if all(a is b for a, b in zip(items, made, strict=True)) else b"[" + b",".join(made) + b"]"
    if start != b"{":
        return raw
    fields = _object(raw)
    found = addresses.keys() & fields.keys()
    changed = asked and bool(found)
    for name in found:
        new = rewritten(fields[name], addresses[name], change, asked=asked)
        if new is not fields[name]:
            fields[name], changed = msgspec.Raw(new), True
    return joined.join(fields) if changed else raw


def _id(raw: bytes, kind: str, change: Change) -> bytes:
    id = _string(raw)
    new = change(kind, id)
    return raw if new == id else bytes(joined.quoted(new))


async def items_of(raw: bytes) -> Sequence[bytes] | None:
    """Of a request's `input`; None: it is one text. Raises TooManyError, UNREADABLE."""
    if raw[:1] != b"[":
        return None
    if raw.count(b",") >= ITEMS_MAX:
        await _refuse_many(raw)
    return _list(raw)


async def _refuse_many(raw: bytes) -> None:
    """Counts the commas that part items: strings are stepped over at once."""
    depth = commas = 0
    for number, token in enumerate(_TOKEN.finditer(raw)):
        kind = raw[token.start()]
        depth += (kind in b"[{") - (kind in b"]}")
        commas += depth == 1 and kind == 0x2C
        if commas >= ITEMS_MAX:
            raise TooManyError
        if number % TOKENS_AT_A_TIME == 0:
            await asyncio.sleep(0)


def item(raw: bytes, change: Change, known: Callable[[str], bool]) -> bytes:
    """An item of a request's `input`. Raises TooManyError, UNREADABLE, and whatever `change`
    raises.

    Args:
        change: raises for what isn't the caller's.
        known: whether an id is one of ours at all.
    """
    if raw[:1] != b"{":
        return raw
    seen = _seen(raw)
    if all(getattr(seen, name) is _ABSENT for name in _ITEM if name != "content") and (
        seen.content is _ABSENT or b"container_id" not in bytes(seen.content)
    ):
        return raw
    if raw.count(b'"') - sum(bytes(getattr(seen, name)).count(b'"') for name in _Seen.__struct_fields__) > QUOTES_MAX:
        raise TooManyError
    fields = _object(raw)
    for name in _BESIDE.keys() & fields.keys():
        fields[name] = msgspec.Raw(rewritten(fields[name], _BESIDE[name], change, asked=True))
    if bytes(memoryview(fields.get("id", b""))[:1]) == b'"':
        id = _string(fields["id"])
        if known(id) or not _says_all(seen):
            fields["id"] = joined.quoted(change(ITEM, id))
        else:
            del fields["id"]
    return joined.join(fields)  # also where nothing changed: no name stands twice in it


def _says_all(seen: _Seen) -> bool:
    """Whether the provider need not look up what the item's id stands for."""
    if seen.type is _ABSENT or bytes(seen.type) == b"null":
        return seen.role is not _ABSENT and seen.content is not _ABSENT
    return _string(seen.type) in _SAID or len(bytes(seen.encrypted_content)) > len('""')
