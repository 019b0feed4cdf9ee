"""Objects as LiteLLM passes them to the operator's own Python."""

from collections.abc import Mapping
from typing import Any


class Said(dict[str, Any]):
    """A mapping whose entries are attributes too, to be read and written. What isn't there is
    None.
    """

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return self.get(name)

    def __setattr__(self, name: str, value: Any) -> None:
        self[name] = value

    def model_dump(self, **_: Any) -> dict[str, Any]:
        return dict(self)


def deep(value: Any) -> Any:
    """With every mapping of it, also those in lists."""
    if isinstance(value, Mapping):
        return Said({name: deep(each) for name, each in value.items()})
    return [deep(each) for each in value] if isinstance(value, list) else value
