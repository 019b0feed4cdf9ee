"""Forty random attacks on a book, by somebody who may write everything but has no key: all found.
(`make prove` does a thousand.)
"""

import random

import pytest

from services.ledger.verify import Asked
from tests.ledger import tampering
from tests.ledger.ledger_kit import Book, post_control, settled
from tests.ledger.signing import KEY, sign

ATTACKS = 40


async def signed_book(book: Book) -> None:
    await sign(book)
    for name in "abcdef":
        await post_control(book, name)
        await book.post(settled(), settled())
    await sign(book)


async def attack(book: Book, count: int, seed: int) -> dict[str, int]:
    """Raises AssertionError for an attack that isn't found. Returns how many there were of each
    kind.
    """
    draw, counts = random.Random(seed), dict[str, int]()
    for number in range(count):
        done, noticed = await tampering.found(book.owner, draw, Asked(own=[KEY.id]))
        assert noticed, f"seed {seed}, attack {number}: {done} isn't found"
        kind = " ".join(done.split()[:2])
        counts[kind] = counts.get(kind, 0) + 1
    return counts


async def test_random_attacks_are_all_found(book: Book, capsys: pytest.CaptureFixture[str]) -> None:
    await signed_book(book)
    assert await attack(book, ATTACKS, 20261126)
