"""A book with checkpoints."""

from collections.abc import AsyncIterator

import pytest

from tests.ledger.ledger_kit import Book, post_control, settled
from tests.ledger.signing import sign


@pytest.fixture
async def full(book: Book) -> AsyncIterator[Book]:
    """Three checkpoints: over nothing, over a part, over all."""
    await sign(book)
    await post_control(book, "a", "b")
    for _ in range(2):
        await book.post(settled(), settled())
    await sign(book)
    await post_control(book, "c")
    await book.post(settled(), settled())
    await sign(book)
    yield book
