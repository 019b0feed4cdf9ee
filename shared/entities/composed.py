"""Readers made of others: of objects by name, of objects with known fields, of lists. As in
readers.py, `None` passes.
"""

from typing import Any

from shared.entities.readers import SCHEMAS, TEXT_CHARACTERS_MAX, TEXTS_MAX, Reader, mapping, refuse, schema_of


def by_name(read: Reader) -> Reader:
    """A reader of an object whose values are all of one kind (limits by model)."""

    def read_all(field: str, value: Any) -> dict[str, Any] | None:
        found = mapping(field, value)
        if found is None:
            return None
        for name, item in found.items():
            if not name or item is None:
                refuse(f"{field}.{name[:TEXT_CHARACTERS_MAX]}", "must have a name and a value")
        return {name: read(f"{field}.{name[:TEXT_CHARACTERS_MAX]}", item) for name, item in found.items()}

    SCHEMAS[read_all] = {"anyOf": [{"type": "object", "additionalProperties": schema_of(read)}, {"type": "null"}]}
    return read_all


def record(*needed: str, **known: Reader) -> Reader:
    """A reader of an object with these fields, `needed` among them; others stay as they are."""

    def read(field: str, value: Any) -> dict[str, Any] | None:
        found = mapping(field, value)
        if found is None:
            return None
        for name in needed:
            if found.get(name) is None:
                refuse(f"{field}.{name}", "is needed")
        return {name: known[name](f"{field}.{name}", item) if name in known else item for name, item in found.items()}

    properties = {name: schema_of(each) for name, each in known.items()}
    schema = {"type": "object", "properties": properties, "required": list(needed)}
    SCHEMAS[read] = {"anyOf": [schema, {"type": "null"}]}
    return read


def each(read: Reader) -> Reader:
    """A reader of a list whose items are all of one kind."""

    def read_all(field: str, value: Any) -> list[Any] | None:
        if value is None:
            return None
        if not isinstance(value, list) or len(value) > TEXTS_MAX or None in value:
            refuse(field, f"must be a list of at most {TEXTS_MAX} items")
        return [read(f"{field}.{number}", item) for number, item in enumerate(value)]

    SCHEMAS[read_all] = {
        "anyOf": [{"type": "array", "maxItems": TEXTS_MAX, "items": schema_of(read)}, {"type": "null"}]
    }
    return read_all
