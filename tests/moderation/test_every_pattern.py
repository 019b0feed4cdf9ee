"""No pattern of the guardrails backtracks beyond the text's length, whatever the text; large
hostile prompts stay within their deadline.
"""

import asyncio
import importlib
import pkgutil
import re
import time
from collections.abc import Iterator

import pytest

import services.edge.content
import services.edge.screening
import services.moderation
import services.moderation.guardrails
import services.moderation.secrets
from services.edge.screening.slices import slices
from services.moderation.guardrails import Inspection
from services.moderation.guardrails.banned_keywords import BannedKeywords
from services.moderation.guardrails.hide_secrets import HideSecrets
from services.moderation.secrets.engine import Engine, TooMuchError
from shared.keywords.matching import PIECE_CHARACTERS
from tests.moderation.moderation_kit import answered
from tests.support.loops import callback_cpu
from tests.support.pace import at_pace

_PACKAGES = (
    services.moderation,
    services.moderation.secrets,
    services.moderation.guardrails,
    services.edge.content,
    services.edge.screening,
)


def patterns() -> Iterator[tuple[str, re.Pattern[str] | re.Pattern[bytes]]]:
    """Every compiled pattern of these modules, by its name."""
    for package in _PACKAGES:
        for module in pkgutil.iter_modules(package.__path__, package.__name__ + "."):
            if module.name.endswith("__main__"):
                continue
            found = vars(importlib.import_module(module.name))
            for name, value in found.items():
                for number, each in enumerate(_all(value)):
                    yield f"{module.name.removeprefix('services.')}.{name}{number or ''}", each


def _all(value: object) -> Iterator[re.Pattern[str] | re.Pattern[bytes]]:
    if isinstance(value, re.Pattern):
        yield value
    elif isinstance(value, dict):
        for each in value.values():
            yield from _all(each)


EVERY = dict(patterns())

SEEDS = (
    "a", "0", " ", "\t", "\n", "\\", "\\n", "'", '"', "`", "=", ":", "-", "_", ".", ",", "/", "+", "(", "[", "{", "<", "|", "@", "&", "%", "é",
    "aA0", "a ", "a-", "a_", "a.", "a=", "a:", 'a"', "a\\", "a'b", "0:", "0.", "-----", "-----BEGIN ", "key=", "is ", "a b ", "x/", "eyJ", "://",
    "a@", "insert into a (", "(a,", "',", "','", "values(", "a,b", "\r\n", "> ", "# ", '"\n"', "=ab ", "password ", "token is ",
)  # fmt: skip
"""What hostile texts repeat; each stands alone, and behind what the pattern may begin with."""
_STARTS = (
    "", "-----BEGIN RSA PRIVATE KEY-----", "://a:", "Bearer ", "eyJabcdefgh.", "-u a:", "insert into t (a) values (", "echo '", "mnemonic: ",
    "login is a:", "sig=", "auth=('", "identified by '", "Private-Lines: 9\n", 'jwt.encode(a, "', "data:image/png;", "$.a",
)  # fmt: skip


@pytest.mark.parametrize("name", EVERY)
@pytest.mark.alone
def test_time_grows_with_the_text_and_not_faster(name: str) -> None:
    """Each tried where the engine would try it: at one place. Searches see the whole text, so they
    get less of it.
    """
    pattern, slow = EVERY[name], []
    is_bytes = isinstance(pattern.pattern, bytes)
    for start in _STARTS:
        for seed in SEEDS:
            text = start + seed * (4_000 // len(seed)) + "\x00"
            said = text.encode() if is_bytes else text
            begun = time.process_time()
            pattern.match(said)
            took = time.process_time() - begun
            if took > 0.02:
                slow.append((start, seed, round(took, 3)))
    assert not slow, slow[:5]


def test_there_are_patterns() -> None:
    assert len(EVERY) > 40


# ── large prompts ──

MB = 1024 * 1024


@pytest.fixture(scope="module")
def hides() -> HideSecrets:
    return HideSecrets(Engine(None))


@pytest.mark.parametrize(
    "seed",
    [
        "key=",
        "password: a1",
        "-----BEGIN RSA PRIVATE KEY-----\nMIIa",
        "://u:p@",
        "token is ",
        "\\",
        "é key = ",
        "ﷺ́",
        'key: "aA0bB1cC2dD3" ',
        'f(auth("aA0bB1cC2dD3xZ',
        "aA0bB1cC2dD3 / ",
        "a1!bB2 ",
        "cookie: aaaaaaaaa=bbbbbbbbbbbbbbbbbbbbbb1; ",
    ],
)
@pytest.mark.alone
async def test_five_hostile_megabytes_stay_within_the_deadline(hides: HideSecrets, seed: str) -> None:
    """2 s is a question's deadline, and each slice is one. Or it is said to be too much."""
    text = (seed * (5 * MB // len(seed)))[: 5 * MB]
    bans = BannedKeywords(["forbidden word", "résumé"])
    slowest = 0.0
    for (piece,) in list(slices([text], 4_096))[:2]:
        for guardrail in (hides, bans):
            begun = time.process_time()
            try:
                await answered(guardrail.inspect(Inspection([piece.said], "pre_call")))
            except TooMuchError:
                assert guardrail is hides
            slowest = max(slowest, time.process_time() - begun)
    assert slowest < at_pace(1.5)


@pytest.mark.parametrize(
    "words", ["the quick brown fox, ", "der schöne Fuchs läuft. ", "敏捷的棕色狐狸，跳过了。", "cafe\u0301 au lait "]
)
async def test_a_megabyte_leaves_the_loop_to_others(hides: HideSecrets, words: str) -> None:
    """A slice as the edge cuts it. What counts is the CPU of each of the loop's callbacks: it is
    the same on a busy machine.
    """
    text = (words * (MB // len(words)))[:MB]
    bans = BannedKeywords(["forbidden word", "résumé"])
    for guardrail in (hides, bans):
        with callback_cpu() as spent:
            for pieces in slices([text], 4_096):
                await answered(guardrail.inspect(Inspection([pieces[0].said], "pre_call")))
                await asyncio.sleep(0)
        assert max(spent) < at_pace(0.02), (type(guardrail).__name__, max(spent))
    assert PIECE_CHARACTERS < MB
