"""A sink's target that is away for ten minutes, in every way it can be, and an exporter that is
killed meanwhile: nothing is lost, and what comes twice comes under its first name.

SINK_AWAY_S=600 python -m pytest -s tests/prove/test_sinks_away.py
"""

import asyncio
import os
import random
import time

import msgspec
import pytest

from tests.ledger.conftest import book, database_url, postgres
from tests.ledger.ledger_kit import Book, eventually, settled
from tests.ledger.sinks.conftest import target
from tests.ledger.sinks.sinks_kit import Fed, Target, begun, webhook

__all__ = ["book", "database_url", "postgres", "target"]

AWAY_S = float(os.environ.get("SINK_AWAY_S", "600"))
MOODS = ("cut", 500, 429, 503, "slow", "unheard")
CALLS = 20
"""In a batch, of which there is one a second."""


@pytest.mark.timeout(7200)
async def test_ten_minutes_away_lose_nothing(book: Book, target: Target, capsys: pytest.CaptureFixture[str]) -> None:
    draw, seed = random.Random(), random.randrange(10**6)
    draw.seed(seed)
    environ = {"GENERIC_LOGGER_ENDPOINT": target.url}
    fed = Fed(book, [webhook()], environ)
    await begun(book)
    sent: set[str] = set()
    kills = 0
    end = time.monotonic() + AWAY_S
    while time.monotonic() < end:
        target.mood = draw.choice(MOODS)
        for _ in range(draw.randrange(1, 20)):
            calls = [settled() for _ in range(CALLS)]
            await book.post(*calls)
            sent |= {call.opened.id for call in calls}
            await asyncio.sleep(1)
            if draw.random() < 0.05:
                await fed.end(kill=True)
                fed, kills = Fed(book, [webhook()], environ), kills + 1
    asked = len(target.asked)
    target.mood = 200

    keys: dict[str, set[str]] = {}
    read = 0

    async def there() -> bool:
        nonlocal read
        await asyncio.sleep(1)  # what is asked in a loop of this process takes the time of the others in it
        for _, headers, body in target.got[read:]:
            read += 1
            for row in msgspec.json.decode(body):
                keys.setdefault(row["id"], set()).add(headers["idempotency-key"])
        return len(keys) >= len(sent)

    began = time.monotonic()
    await eventually(there, "everything came", 300)
    caught_up_s = time.monotonic() - began
    await fed.end()
    assert keys.keys() == sent
    assert {len(found) for found in keys.values()} == {1}, f"seed {seed}: a row under two names"
    with capsys.disabled():
        print(
            f"\n{AWAY_S:.0f} s away (seed {seed}), {asked} tries, {kills} kills: {len(sent)} calls came,"
            f" {len(target.ids()) - len(sent)} of them again, {caught_up_s:.1f} s after it was back"
        )
