"""The texts of a request: every string that goes on to a provider, whatever field it stands in."""

import json
from collections.abc import Callable, Mapping
from typing import Any, ParamSpec, TypeVar

import msgspec

from services.edge.content import files, names
from services.edge.content.replace import RENAME, join, replace
from services.edge.content.spelled import spelled_out
from services.edge.content.walk import Walked, walk
from services.edge.formats.base import Address, Text
from services.edge.threads import Threads
from shared import errors
from shared.decoding import UNREADABLE
from shared.errors import RefusedError

_UNSAID = (names.GATEWAY - {"metadata"}) | {"model"}
"""Not forwarded, or not the caller's words: the upstream's model name is the configuration's."""
_IDS_IN = ("prompt", "input")
DEAR_BYTES_MIN = 32_768
DEAR_VALUES_MIN = 8_192
"""Some 10 ms of walking."""
WALKERS = Threads("walk")

R = TypeVar("R")
P = ParamSpec("P")
Fields = Mapping[str, msgspec.Raw]


class Content(msgspec.Struct, frozen=True):
    """What a request says."""

    texts: list[Text]
    fields: Fields | None = None
    """The request's fields joined anew, where names stood twice in a map: what was read is what has
    to be forwarded.
    """


async def walked(body: bytes, work: Callable[P, R], *arguments: P.args, **named: P.kwargs) -> R:
    """What goes through all values of a body: in a thread where they are many, so that other calls
    go on.
    """
    return await WALKERS.run(work, *arguments, **named) if _is_dear(body) else work(*arguments, **named)


def _is_dear(body: bytes) -> bool:
    return (
        len(body) > DEAR_BYTES_MIN
        and sum(names.occurrences(body, sign) for sign in (b'"', b"[", b"{")) > DEAR_VALUES_MIN
    )


def of_fields(fields: Fields, *, metadata: bool = False) -> Content:
    """Raises RefusedError where a field can't be read, or could be read in two ways: a model might
    read it the other way.

    Args:
        metadata: whether the client's own `metadata` goes on without being stored, too.
    """
    texts: list[Text] = []
    rebuilt: dict[str, msgspec.Raw] = {}
    for name, raw in fields.items():
        if name in _UNSAID or (name == "metadata" and not metadata and bytes(fields.get("store", b"")) != b"true"):
            continue
        if name not in names.TOP:
            texts.append(Text((name, RENAME), name, "", "key"))
        data = bytes(raw)  # a copy: once
        if b'"' not in data and name not in _IDS_IN:
            continue
        walked, plain = _walked(name, data)
        texts += walked.texts if name != "metadata" else [text for text in walked.texts if not _is_ours(text.address)]
        if plain is not None:
            rebuilt[name] = plain
    return Content(spelled_out(texts), {**fields, **rebuilt} if rebuilt else None)


def _is_ours(address: Address) -> bool:
    """What in `metadata` is for the gateway."""
    return len(address) > 1 and (address[1] in names.OURS_IN_METADATA or (address[1] == "tags" and len(address) > 2))


def _walked(name: str, raw: bytes) -> tuple[Walked, msgspec.Raw | None]:
    try:
        walked = walk(msgspec.json.decode(raw), (name,), check_names=True)
        if walked.strings == names.count_strings(raw):
            return walked, None
        _refuse_repeated(raw, name)
        plain = msgspec.Raw(msgspec.json.encode(msgspec.json.decode(raw)))
    except UNREADABLE:
        message = f"{name} is nested too deeply, or has a number that is too large"
        raise RefusedError(errors.bad_request(message, name)) from None
    return walked, plain


class _Pairs(list[tuple[str, Any]]):
    """An object in which a name stands twice."""


def _refuse_repeated(raw: bytes, field: str) -> None:
    """Names stand twice somewhere: refused in an object that the format defines, allowed in a
    map.
    """

    def keep(pairs: list[tuple[str, Any]]) -> Any:
        found = dict(pairs)
        return found if len(found) == len(pairs) else _Pairs(pairs)

    try:
        tree = json.loads(raw, object_pairs_hook=keep)
    except (ValueError, RecursionError):
        raise RefusedError(errors.bad_request(f"{field} can't be read", field)) from None
    stack: list[tuple[Any, str]] = [] if field in names.MAPS else [(tree, field)]
    while stack:
        value, where = stack.pop()
        if isinstance(value, _Pairs):
            seen: set[str] = set()
            for name, _ in value:
                if name in seen:
                    raise names.repeated(name, where)
                seen.add(name)
        elif isinstance(value, dict):
            stack += [(item, f"{where}.{name}") for name, item in value.items() if name not in names.MAPS]
        elif isinstance(value, list):
            stack += [(item, f"{where}.{i}") for i, item in enumerate(value)]


def joined(fields: Fields) -> bytes:
    """The request's body anew."""
    return join(fields)


def with_texts(fields: Fields, texts: Mapping[int, str], said: list[Text]) -> dict[str, msgspec.Raw]:
    """The fields with other texts.

    Args:
        texts: index in `said` -> the text to put there.
    """
    changes: dict[Address, bytes] = {}
    read: dict[str, Any] = {}
    spelled = {said[index].address[0] for index in texts if said[index].kind == "tokens"}
    for index, where in enumerate(said):
        text = texts.get(index)
        if where.kind == "tokens" and where.address[0] in spelled:
            # Ids and texts don't mix in one field: what was given as ids goes on as texts, all of
            # it.
            changes[where.address] = msgspec.json.encode(where.text if text is None else text)
        elif text is None:
            continue
        elif where.kind == "file":
            field = str(where.address[0])
            if field not in read:
                read[field] = msgspec.json.decode(fields[field])
            changes[where.address] = msgspec.json.encode(files.encoded(_string_at(read[field], where.address), text))
        else:
            changes[where.address] = msgspec.json.encode(text)
    return msgspec.json.decode(replace(join(fields), changes), type=dict[str, msgspec.Raw])


def _string_at(value: Any, address: Address) -> str:
    for step in address[1:]:
        value = value[step]
    return str(value)
