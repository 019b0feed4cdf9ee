"""The corpus of what is pasted: credentials in the formats their issuers publish, in the places
people copy from. Written before the rules were read by the one who wrote it.
"""

from functools import cache

from tests.moderation.pasted.values import HARMLESS, PASSWORDS, TOKENS
from tests.moderation.templates import Case, Corpus, templates

CORPUS = Corpus("pasted", PASSWORDS | TOKENS, HARMLESS)


@cache
def planted() -> list[Case]:
    return [
        CORPUS.fill(f"{file} {name}", text, turn)
        for file in ("planted_files.txt", "planted_code.txt", "planted_talk.txt")
        for name, text in templates(__file__, file).items()
        for turn in range(2)
    ]


@cache
def innocent() -> list[Case]:
    return [
        CORPUS.fill(name, text, turn) for name, text in templates(__file__, "harmless.txt").items() for turn in range(3)
    ]
