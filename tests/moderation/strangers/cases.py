"""The corpus of strangers: what people who never saw the rules write into prompts: files of the
programs they run, what they work at, and their own words.
"""

import base64
import string
from functools import cache
from random import Random

from tests.moderation.documents.values import CREDENTIALS, HARMLESS, HEX, TOKENS, UPPER, URL, WORDS, of
from tests.moderation.templates import Case, Corpus

_SEED_WORDS = (
    "ocean", "ribbon", "tiger", "velvet", "garden", "magnet", "puzzle", "silver", "copper", "bridge", "castle", "donkey", "engine", "forest",
    "guitar", "hammer", "island", "jungle", "kitten", "lemon",
)  # fmt: skip


def _phrase(r: Random) -> str:
    return "-".join((*r.sample(WORDS, 3), str(r.randrange(10, 99))))


STRANGERS = {
    "salted": of(50, string.ascii_letters + string.digits + "!@#%^&*(-_=+)"),
    "phrase": _phrase,
    "seed": lambda r: " ".join(r.choice(_SEED_WORDS) for _ in range(12)),
    "hex20": of(20, HEX),
    "url20": of(20, URL),
    "url22": of(22, URL),
    "url40": of(40, URL),
    "alnum20": of(20),
    "b2key": of(31, string.ascii_letters + string.digits, "K003"),
    "sbkey": lambda r: of(43, string.ascii_letters + string.digits + "+/")(r) + "=",
    "fnkey": lambda r: of(54, URL)(r) + "==",
    "fernet": lambda r: of(43, URL)(r) + "=",
    "influx": lambda r: of(86, URL)(r) + "==",
    "nkey": of(56, UPPER.replace("0", "").replace("1", "").replace("8", "").replace("9", ""), "SU"),
    "apppw": lambda r: " ".join(of(4, string.ascii_lowercase)(r) for _ in range(4)),
    "b64pw": lambda r: base64.b64encode(CREDENTIALS["gen16"](r).encode()).decode(),
}
CORPUS = Corpus("strangers", CREDENTIALS | TOKENS | STRANGERS, HARMLESS | {"byte": lambda r: str(r.randrange(256))})


@cache
def planted() -> list[Case]:
    return CORPUS.filled(__file__, "planted_configs.txt", "planted_work.txt", "planted_words.txt", turns=2)


@cache
def innocent() -> list[Case]:
    return CORPUS.filled(__file__, "harmless.txt", turns=3)
