"""The corpus of documents: configuration of many systems, code in many languages, talk in many
languages, and every maker's token by itself.
"""

from functools import cache

from tests.moderation.documents.values import CREDENTIALS, HARMLESS, NEEDS_NAME, TOKENS
from tests.moderation.templates import Case, Corpus, templates

FILLED = 2
CORPUS = Corpus("documents", CREDENTIALS | TOKENS, HARMLESS, shown_of_four=(0, 1, 2, 3))


@cache
def planted() -> list[Case]:
    texts = templates(__file__, "planted_systems.txt") | templates(__file__, "planted_talk.txt")
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
    return CORPUS.filled(__file__, "harmless.txt", turns=3)
