"""What a provider calls a request it was sent: what its support asks for, and what its own record
of it is found by, also where the call failed.
"""

from collections.abc import Mapping
from typing import Final

_IN_TURN: Final = (
    b"x-request-id",
    b"request-id",
    b"x-amzn-requestid",
    b"apim-request-id",
    b"x-goog-request-id",
    b"cf-ray",
)
"""OpenAI and most; Anthropic; Bedrock; Azure; Google; those behind Cloudflare that say no other."""
_NAMES: Final = frozenset(_IN_TURN)
CHARACTERS_MAX: Final = 256
NO_HEAD: Final[dict[bytes, bytes]] = {}


def in_head(said: Mapping[bytes, bytes]) -> str | None:
    """The id that an answer's head names; None: it names none that a fact could hold."""
    if _NAMES.isdisjoint(said):
        return None
    value = next(said[name] for name in _IN_TURN if name in said)
    return value.decode() if value and len(value) <= CHARACTERS_MAX and value.isascii() else None


def in_strings(headers: list[tuple[str, str]]) -> str | None:
    """The same of a head that was read as strings."""
    return in_head({name.encode("latin-1"): value.encode("latin-1") for name, value in headers})
