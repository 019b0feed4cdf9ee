"""References to the environment in a file's values: which there are, and the values with them put
in. Pure.

`os.environ/NAME`   a whole value, or the end of one after a blank (`Bearer os.environ/KEY`)
`vault/NAME` ...    a secret in a manager that is named (shared/secrets), where a secret is meant: as the value of a key that says so
`${NAME}`           anywhere in a value; `${NAME:-default}` says what stands where it is unset or empty

An empty variable is a missing one. What is missing becomes `Unset`, which says its name wherever it
ends up.
"""  # noqa: W505

import re
from collections.abc import Iterator, Mapping
from typing import Any

from shared.secrets import references as managers

PREFIX = "os.environ/"
_TAIL = re.compile(r"(?:^|(?<=\s))os\.environ/([A-Za-z_][A-Za-z0-9_]*)$")
_BRACES = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)(?::?-([^{}]*))?\}")

_SECRET_KEY = re.compile(r"key|token|secret|password|credential|database_url|^authorization$", re.IGNORECASE)
"""Names of keys whose value may name a manager."""


class Lookup:
    """Name of a variable → its value.

    Args:
        resolved: reference as written → what its manager said; goes before the environment.
    """

    def __init__(self, environ: Mapping[str, str], resolved: Mapping[str, str | None] | None = None) -> None:
        self._environ = environ
        self._resolved = resolved or {}

    def __call__(self, name: str) -> str | None:
        reference = PREFIX + name
        return (self._resolved[reference] if reference in self._resolved else self._environ.get(name)) or None

    def managed(self, reference: str) -> str | None:
        return self._resolved.get(reference)


def is_managed(key: object, value: str) -> bool:
    """Whether a value names a secret's manager, and its key a secret."""
    if not isinstance(key, str) or _SECRET_KEY.search(key) is None:
        return False
    found = managers.parse(value)
    return found is not None and bool(found.manager)


class Unset:
    """Stands where a reference's variable is unset or empty. It says so, and is false."""

    __slots__ = ("name",)

    def __init__(self, name: str) -> None:
        self.name = name

    def __str__(self) -> str:
        what = "the secret" if "/" in self.name else "the environment variable"
        return f"{what} {self.name} is not set, or empty"

    __repr__ = __str__

    def __bool__(self) -> bool:
        return False

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Unset) and other.name == self.name

    def __hash__(self) -> int:
        return hash(self.name)


def resolve(value: Any, lookup: Lookup, key: object = None) -> Any:
    """A value of any depth with its references put in; keys of mappings stay as they are."""
    if isinstance(value, str):
        if is_managed(key, value):
            return lookup.managed(value) or Unset(value)
        return _string(value, lookup) if "$" in value or "os.environ/" in value else value
    if isinstance(value, dict):
        return {name: resolve(item, lookup, name) for name, item in value.items()}
    if isinstance(value, list):
        return [resolve(item, lookup, key) for item in value]
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


def collect(value: Any, key: object = None) -> Iterator[str]:
    """All references in a value of any depth, as a manager is asked for them: `os.environ/NAME`,
    `vault/NAME`.
    """
    if isinstance(value, str):
        if value.startswith(PREFIX) or is_managed(key, value):
            yield value
        else:
            tail = _TAIL.search(value)
            if tail is not None:
                yield PREFIX + tail[1]
            yield from (PREFIX + match[1] for match in _BRACES.finditer(value))
    elif isinstance(value, dict):
        for name, item in value.items():
            yield from collect(item, name)
    elif isinstance(value, list):
        for item in value:
            yield from collect(item, key)


def by_place(top: Mapping[str, Any]) -> dict[str, tuple[str, ...]]:
    """`section.key` → what its value refers to, of those that do."""
    found = {
        f"{section}.{key}": tuple(dict.fromkeys(collect(value, key)))
        for section in ("general_settings", "litellm_settings", "router_settings")
        for key, value in (top.get(section) or {}).items()
    }
    return {place: names for place, names in found.items() if names}


def first_unset(value: Any) -> Unset | None:
    """The first thing that is missing in a value of any depth."""
    if isinstance(value, Unset):
        return value
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return next((found for found in map(first_unset, inner) if found is not None), None)
