"""Two recorders at once: a call that one shard gives up while another brings its end is counted
once. On a real PostgreSQL.
"""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from services.ledger import facts_in
from services.ledger.book import Tally, make_days_ahead
from services.ledger.database import QUERIES
from services.ledger.facts_in import Batch
from services.ledger.message import Message
from shared import subjects
from tests.ledger.ledger_kit import Book, now_ms, opened, packed, settled

PAUSE_S = 0.3
"""Long enough for the other writer to get as far as it can."""


@pytest.fixture
async def other(book: Book) -> AsyncIterator[Tally]:
    tally = Tally(await book.database.writer(), subjects.TRAFFIC_STREAM, 1)
    yield tally
    tally.terminate()


async def post(tally: Tally, fact: Any) -> None:
    known = await tally.position()
    batch = Batch(now_ms())
    batch.add(Message(known.seq + 1, known.seq + 1, "traffic.1", packed(fact)))
    await tally.post(batch, known, now_ms())


class Held:
    """A connection that stops after it has asked what the book knows."""

    def __init__(self, connection: Any) -> None:
        self._connection = connection
        self.looked, self.go_on = asyncio.Event(), asyncio.Event()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._connection, name)

    async def fetch(self, query: str, *arguments: Any) -> Any:
        found = await self._connection.fetch(query, *arguments)
        if query == QUERIES["known"]:
            self.looked.set()
            await self.go_on.wait()
        return found


@pytest.mark.parametrize("first", ["expire", "end"])
async def test_an_end_that_comes_while_the_call_is_given_up_counts_once(book: Book, other: Tally, first: str) -> None:
    await make_days_ahead(book.owner, facts_in.today(now_ms()))  # making a partition would make one wait for the other
    call = opened(expires_at_ms=1)
    await book.post(call)
    position = await book.position()
    await other.position()

    def expire() -> Any:
        return book.tally.expire(position, now_ms(), now_ms(), 100)

    def end() -> Any:
        return post(other, settled(call))

    tally, begin, then = (book.tally, expire, end) if first == "expire" else (other, end, expire)
    connection: Any = Held(tally._connection)
    tally._connection = connection
    tasks = [asyncio.create_task(begin())]
    await asyncio.wait_for(connection.looked.wait(), 5)
    tasks.append(asyncio.create_task(then()))
    await asyncio.wait({tasks[1]}, timeout=PAUSE_S)
    connection.go_on.set()
    await asyncio.wait_for(asyncio.gather(*tasks), 10)

    assert await book.value("SELECT count(*) FROM request_book") == 1
    assert await book.value("SELECT outcome FROM request_book") == "success"
    assert (await book.spend())[0] == 1
    assert await book.rollups_agree()
    assert await book.value("SELECT count(*) FROM request_open") == 0
