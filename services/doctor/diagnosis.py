"""What a check found."""

from collections.abc import Awaitable, Callable, Mapping
from typing import NamedTuple


class Diagnosis(NamedTuple):
    level: str
    """ok; warning: it works, and shouldn't stay so; wrong: it doesn't work; skipped: the environment names nothing to look at."""
    what: str
    detail: str = ""
    """What was seen, and where something is wrong, what to do."""


Check = Callable[[Mapping[str, str]], Awaitable[list[Diagnosis]]]
