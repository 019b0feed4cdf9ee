"""The corpus of placeholders: where public files say `your-key-here`, a credential.

Made by rule, not by taste: the lines were found by their placeholders in some 300 public
repositories, so those who wrote them say where a secret goes; these are in their likeness. Some
tests of other scanners are of the same kind.
"""

from functools import cache
from random import Random

from tests.moderation.documents.values import HARMLESS, HEX, UPPER, of
from tests.moderation.pasted.values import PASSWORDS, TOKENS
from tests.moderation.templates import Case, Corpus

_NOUNS = ("walnut", "lantern", "pickle", "harbor", "madrid", "tundra", "kitten", "saddle")


def _respelled(r: Random) -> str:
    word = r.choice(_NOUNS).replace("a", "4", 1).replace("e", "3", 1)
    return f"{word}_{r.randrange(1000, 9999)}"


CORPUS = Corpus(
    "placeholders",
    PASSWORDS | TOKENS | {"respelled": _respelled, "lower36": of(36, "abcdefghijklmnopqrstuvwxyz0123456789")},
    HARMLESS | {"hex64": of(64, HEX), "upper16": of(16, UPPER)},
)


@cache
def planted() -> list[Case]:
    return CORPUS.filled(__file__, "planted.txt", turns=4)


@cache
def innocent() -> list[Case]:
    return CORPUS.filled(__file__, "harmless.txt", turns=4)
