"""The corpus of what is pasted: credentials in the formats their issuers publish, in the places
people copy from. Written before the rules were read by the one who wrote it.
"""

from functools import cache

from tests.moderation.pasted.values import HARMLESS, PASSWORDS, TOKENS
from tests.moderation.templates import Case, Corpus

CORPUS = Corpus("pasted", PASSWORDS | TOKENS, HARMLESS)


@cache
def planted() -> list[Case]:
    return CORPUS.filled(__file__, "planted_files.txt", "planted_code.txt", "planted_talk.txt", turns=2)


@cache
def innocent() -> list[Case]:
    return CORPUS.filled(__file__, "harmless.txt", turns=3)
