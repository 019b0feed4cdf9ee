"""Make any value storable. Pure.

PostgreSQL refuses NUL in text and jsonb, integers beyond 64 bits and index entries beyond 2.7 kB.
Clients choose many of these texts, so nothing here raises: what can't be stored as it came is
changed, and the caller told.
"""

import hashlib
from typing import Any

import msgspec

from shared.decoding import UNREADABLE

TEXT_CHARACTERS_MAX = 256
"""Of any one text of a row: they are indexed, and keys of rollups."""
SHOWN_CHARACTERS_MAX = 1000
MS_MAX = 253_402_300_799_999
"""The end of the year 9999, in Unix milliseconds."""
INT_MAX = 2**31 - 1

_DIGEST_CHARACTERS = 65  # "~" and 64 hex digits
_NUL_REPLACEMENT = "\N{REPLACEMENT CHARACTER}"


def storable(texts: tuple[str | None, ...]) -> bool:
    """Whether none of the texts needs `text`. One check for a whole row, as this is the hot
    path.
    """
    present = [*filter(None, texts)]
    joined = "".join(present)
    return "\x00" not in joined and (
        len(joined) <= TEXT_CHARACTERS_MAX or max(map(len, present)) <= TEXT_CHARACTERS_MAX
    )


def text(value: str) -> str:
    """Without NUL, and at most TEXT_CHARACTERS_MAX long: a longer one ends in the digest of the
    whole, so two of them stay two.
    """
    plain = value.replace("\x00", _NUL_REPLACEMENT)
    if len(plain) <= TEXT_CHARACTERS_MAX:
        return plain
    digest = hashlib.sha256(value.encode("utf-8", "surrogatepass")).hexdigest()
    return f"{plain[: TEXT_CHARACTERS_MAX - _DIGEST_CHARACTERS]}~{digest}"


def for_people(value: str) -> str:
    """Text for people, that nothing is looked up by: cut where it is too long."""
    return value.replace("\x00", _NUL_REPLACEMENT)[:SHOWN_CHARACTERS_MAX]


def bounded(value: int, low: int, high: int) -> int:
    return low if value < low else high if value > high else value


def json_text(value: Any) -> tuple[str, bool]:
    """The value as JSON that jsonb takes, and whether it had to be changed."""
    try:
        encoded = _encoder.encode(value)
    except (TypeError, ValueError, RecursionError):
        return '{"unreadable": true}', True
    found = encoded.decode()
    if "\\u0000" not in found:
        return found, False
    try:
        return msgspec.json.encode(_without_nul(msgspec.json.decode(encoded))).decode(), True
    except UNREADABLE:
        return '{"unreadable": true}', True


def _describe(value: Any) -> str:
    """What JSON has no word for (a msgpack extension)."""
    return f"<{type(value).__name__}>"


_encoder = msgspec.json.Encoder(enc_hook=_describe)


def _without_nul(value: Any) -> Any:
    if isinstance(value, str):
        return value.replace("\x00", _NUL_REPLACEMENT)
    if isinstance(value, list):
        return [_without_nul(item) for item in value]
    if isinstance(value, dict):
        return {_without_nul(key): _without_nul(item) for key, item in value.items()}
    return value
