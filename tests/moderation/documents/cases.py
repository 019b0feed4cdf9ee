"""The corpus of documents: configuration of many systems, code in many languages, talk in many
languages, and every maker's token by itself.
"""

import re
from functools import cache
from pathlib import Path

from tests.moderation.documents.values import CREDENTIALS, HARMLESS, NEEDS_NAME, TOKENS
from tests.moderation.templates import Case, Corpus

FILLED = 2
CORPUS = Corpus("documents", CREDENTIALS | TOKENS, HARMLESS, shown_of_four=(0, 1, 2, 3))
_HEADING = re.compile(r"^=== (.+)\n", re.MULTILINE)


def _templates(file: str) -> dict[str, str]:
    """A heading's name: the text up to the next heading."""
    _, *parts = _HEADING.split((Path(__file__).parent / file).read_text())
    return dict(zip(parts[::2], parts[1::2], strict=True))


@cache
def planted() -> list[Case]:
    texts = _templates("planted_systems.txt") | _templates("planted_talk.txt")
    cases = [CORPUS.fill(name, text, turn) for name, text in texts.items() for turn in range(FILLED)]
    for name, make in TOKENS.items():
        rng = CORPUS.rng(name)
        texts_of = (
            ("{name} key {{}}\n",) if name in NEEDS_NAME else ("why is {{}} refused?", "a, {{}}; b", "<i>{{}}</i>")
        )
        for text in texts_of:
            cases.append(CORPUS.single(f"{name} token", text.format(name=name), make(rng)))
    return cases


@cache
def innocent() -> list[Case]:
    return [CORPUS.fill(name, text, turn) for name, text in _templates("harmless.txt").items() for turn in range(3)]
