"""What a check found."""

from collections.abc import Awaitable, Callable, Mapping
from typing import NamedTuple
from urllib.parse import urlsplit


class Diagnosis(NamedTuple):
    level: str
    """ok; warning: it works, and shouldn't stay so; wrong: it doesn't work; skipped: the
    environment names nothing to look at.
    """
    what: str
    detail: str = ""
    """What was seen, and where something is wrong, what to do."""


Check = Callable[[Mapping[str, str]], Awaitable[list[Diagnosis]]]


def user_of(environ: Mapping[str, str]) -> str:
    """At the broker: a service's name in a service's environment. Empty: none is named."""
    return urlsplit(environ.get("TOLLGATE_NATS_URL", "").split(",")[0]).username or ""
