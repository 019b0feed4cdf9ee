"""Other texts at addresses of a JSON value: only the objects and lists on the way are joined anew,
every other byte stays. Pure.
"""

from collections.abc import Mapping

import msgspec

from services.edge.formats.base import Address

Raw = msgspec.Raw

RENAME = -1
"""Last in an address: the name itself is to be another, not what it stands for. No list has this
index.
"""

_object = msgspec.json.Decoder(dict[str, Raw]).decode
_array = msgspec.json.Decoder(list[Raw]).decode


def replace(raw: bytes | Raw, changes: Mapping[Address, bytes]) -> bytes:
    """
    Args:
        changes: address -> the JSON that is to stand there. An address that isn't there raises
            LookupError.
    """
    here = changes.get(())
    if here is not None:
        return here
    below: dict[str | int, dict[Address, bytes]] = {}
    for address, json in changes.items():
        below.setdefault(address[0], {})[address[1:]] = json
    if bytes(memoryview(raw)[:64]).lstrip()[:1] == b"[":
        items: list[bytes | Raw] = list(_array(raw))
        for index, inner in below.items():
            if not isinstance(index, int):
                raise LookupError(index)
            items[index] = replace(items[index], inner)
        return b"[" + b",".join(bytes(item) for item in items) + b"]"
    fields: dict[str, bytes | Raw] = dict(_object(raw))
    renamed: dict[str, str] = {}
    for name, inner in below.items():
        if not isinstance(name, str):
            raise LookupError(name)
        new_name = inner.pop((RENAME,), None)
        if new_name is not None:
            renamed[name] = msgspec.json.decode(new_name, type=str)
        if inner:
            fields[name] = replace(fields[name], inner)
    return join({renamed.get(name, name): value for name, value in fields.items()} if renamed else fields)


def join(fields: Mapping[str, bytes | Raw]) -> bytes:
    return b"{" + b",".join(b"%b:%b" % (msgspec.json.encode(name), bytes(raw)) for name, raw in fields.items()) + b"}"
