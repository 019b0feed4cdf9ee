"""The corpus by formats: every template filled several times, and every detector's token by itself
and by its name.
"""

from functools import cache

from tests.moderation.formats.harmless import HARMLESS_TEXTS
from tests.moderation.formats.planted_files import FILES
from tests.moderation.formats.planted_talk import TALK
from tests.moderation.formats.values import BY_VENDOR, CREDENTIALS, HARMLESS, PREFIXED
from tests.moderation.templates import Case, Corpus

FILLED = 2
"""How often a template with credentials is filled, each time with new values."""
CORPUS = Corpus("formats", CREDENTIALS, HARMLESS)


@cache
def planted() -> list[Case]:
    cases = [CORPUS.fill(name, text, turn) for name, text in (FILES | TALK).items() for turn in range(FILLED)]
    for name, make in PREFIXED.items():
        rng = CORPUS.rng(name)
        for text in ("here it is: {}", 'call("{}", 3)', "x\t{}\ty"):
            cases.append(CORPUS.single(f"{name} alone", text, make(rng)))
    for vendor, (key, make) in BY_VENDOR.items():
        rng = CORPUS.rng(vendor)
        for text in ("{}={{}}\n", '{} = "{{}}"', '"{}": "{{}}",', "{}: {{}}\n"):
            cases.append(CORPUS.single(f"{vendor} by name", text.format(key), make(rng)))
    return cases


@cache
def innocent() -> list[Case]:
    return [CORPUS.fill(name, text, turn) for name, text in HARMLESS_TEXTS.items() for turn in range(3)]
