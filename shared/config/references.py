"""References to the environment in a file's values: which there are, and the values with them put in. Pure.

`os.environ/NAME`   a whole value, or the end of one after a blank (`Bearer os.environ/KEY`)
`${NAME}`           anywhere in a value; `${NAME:-default}` says what stands where it is unset or empty

An empty variable is a missing one. What is missing becomes `Unset`, which says its name wherever it ends up.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

PREFIX = "os.environ/"
_TAIL = re.compile(r"(?:^|(?<=\s))os\.environ/([A-Za-z_][A-Za-z0-9_]*)$")
_BRACES = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)(?::?-([^{}]*))?\}")

Lookup = Callable[[str], str | None]
"""Name of a variable → its value."""


class Unset:
    """Stands where a reference's variable is unset or empty. It says so, and is false."""

    __slots__ = ("name",)

    def __init__(self, name: str) -> None:
        self.name = name

    def __str__(self) -> str:
        return f"the environment variable {self.name} is not set, or empty"

    __repr__ = __str__

    def __bool__(self) -> bool:
        return False

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Unset) and other.name == self.name

    def __hash__(self) -> int:
        return hash(self.name)


def from_environ(environ: Mapping[str, str]) -> Lookup:
    return lambda name: environ.get(name) or None


def resolve(value: Any, lookup: Lookup) -> Any:
    """A value of any depth with its references put in; keys of mappings stay as they are."""
    if isinstance(value, str):
        return _string(value, lookup) if "$" in value or "os.environ/" in value else value
    if isinstance(value, dict):
        return {key: resolve(item, lookup) for key, item in value.items()}
    if isinstance(value, list):
        return [resolve(item, lookup) for item in value]
    return value


def _string(value: str, lookup: Lookup) -> str | Unset:
    if value.startswith(PREFIX):  # as in LiteLLM: the rest of it is the name, whatever is in it
        name = value[len(PREFIX) :]
        return lookup(name) or Unset(name)
    tail = _TAIL.search(value)
    if tail is not None:
        found = lookup(tail[1])
        if not found:
            return Unset(tail[1])
        value = value[: tail.start()] + found
    unset: list[str] = []

    def put_in(match: re.Match[str]) -> str:
        found = lookup(match[1]) or match[2]
        if found is None:
            unset.append(match[1])
        return found or ""

    value = _BRACES.sub(put_in, value)
    return Unset(unset[0]) if unset else value


def collect(value: Any) -> Iterator[str]:
    """Names of all variables that a value of any depth refers to."""
    if isinstance(value, str):
        if value.startswith(PREFIX):
            yield value[len(PREFIX) :]
        else:
            tail = _TAIL.search(value)
            if tail is not None:
                yield tail[1]
            yield from (match[1] for match in _BRACES.finditer(value))
    elif isinstance(value, dict):
        for item in value.values():
            yield from collect(item)
    elif isinstance(value, list):
        for item in value:
            yield from collect(item)


def first_unset(value: Any) -> Unset | None:
    """The first thing that is missing in a value of any depth."""
    if isinstance(value, Unset):
        return value
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return next((found for found in map(first_unset, inner) if found is not None), None)
