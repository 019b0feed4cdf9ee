"""The corpus by formats: every template filled several times, and every detector's token by itself
and by its name.
"""

import hashlib
import random
import re
from dataclasses import dataclass
from functools import cache

from tests.moderation.formats.harmless import HARMLESS_TEXTS
from tests.moderation.formats.planted_files import FILES
from tests.moderation.formats.planted_talk import TALK
from tests.moderation.formats.values import BY_VENDOR, CREDENTIALS, HARMLESS, PREFIXED

FILLED = 2
"""How often a template with credentials is filled, each time with new values."""
_HOLE = re.compile(r"<<([a-z]\w*)>>|\(\(([a-z]\w*)\)\)")


@dataclass(frozen=True)
class Case:
    """A text, and the credentials in it (none: nothing may be touched)."""

    name: str
    text: str
    secrets: tuple[str, ...]
    shown: bool


def fill(name: str, template: str, turn: int) -> Case:
    rng, secrets = random.Random(f"formats {name} {turn}"), []

    def value(hole: re.Match[str]) -> str:
        if hole[2]:
            return HARMLESS[hole[2]](rng)
        secrets.append(CREDENTIALS[hole[1]](rng))
        return secrets[-1]

    text = _HOLE.sub(value, template)
    return Case(name, text, tuple(secrets), shown(name))


def shown(name: str) -> bool:
    """Half of the templates may be looked at while rules are tuned; the other half is only
    counted.
    """
    return hashlib.sha256(f"formats {name}".encode()).digest()[0] % 2 == 0


@cache
def planted() -> list[Case]:
    cases = [fill(name, text, turn) for name, text in (FILES | TALK).items() for turn in range(FILLED)]
    for name, make in PREFIXED.items():
        rng = random.Random(f"formats {name}")
        for text in ("here it is: {}", 'call("{}", 3)', "x\t{}\ty"):
            token = make(rng)
            cases.append(Case(f"{name} alone", text.format(token), (token,), shown(name)))
    for vendor, (key, make) in BY_VENDOR.items():
        rng = random.Random(f"formats {vendor}")
        for text in ("{}={}\n", '{} = "{}"', '"{}": "{}",', "{}: {}\n"):
            token = make(rng)
            cases.append(Case(f"{vendor} by name", text.format(key, token), (token,), shown(vendor)))
    return cases


@cache
def innocent() -> list[Case]:
    return [fill(name, text, turn) for name, text in HARMLESS_TEXTS.items() for turn in range(3)]
