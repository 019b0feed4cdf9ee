"""What pages say, one catalogue a language. A word that a language lacks is shown in English."""

from functools import cache
from importlib import resources

import msgspec

LANGUAGES = {"en": "English", "zh": "中文"}
DEFAULT = "en"


@cache
def catalogue(language: str) -> dict[str, str]:
    """Key → text. Raises KeyError for a language that isn't in the table."""
    if language not in LANGUAGES:
        raise KeyError(language)
    raw = resources.files("services.edge.pages").joinpath("words", f"{language}.json").read_bytes()
    return msgspec.json.decode(raw, type=dict[str, str])


def say(language: str, key: str, **values: object) -> str:
    text = catalogue(language).get(key) or catalogue(DEFAULT).get(key) or key
    return text.format(**values) if values else text


def preferred(accept_language: str | None) -> str:
    """The first language of an Accept-Language header that we have."""
    for part in (accept_language or "")[:200].split(","):
        name = part.partition(";")[0].strip().lower().partition("-")[0]
        if name in LANGUAGES:
            return name
    return DEFAULT
