"""How long the recorder gathers messages: a lone one hardly waits, a busy stream's share their
transactions.
"""

import asyncio
import time
from typing import Any, cast

import pytest

from services.ledger import writer
from services.ledger.book import Position
from services.ledger.config import LedgerSettings
from services.ledger.message import Message


class OneAtATime:
    """A consumer with one message more, whenever it is asked."""

    behind = 0
    waiting_bytes = 1

    def __init__(self) -> None:
        self.seq = 0

    async def wait(self) -> None: ...

    async def take(self, messages_max: int, bytes_max: int) -> list[Message]:
        self.seq += 1
        return [Message(self.seq, self.seq, "traffic.0", b"x")]


class Reader:
    label = "test"
    alone = True

    async def read(self, messages: list[Message]) -> list[Message]:
        return messages


async def test_a_lone_message_waits_for_linger_and_a_busy_streams_for_gather(monkeypatch: pytest.MonkeyPatch) -> None:
    slept: list[float] = []
    clock = [1_000.0]

    async def sleep(seconds: float) -> None:
        slept.append(seconds)
        clock[0] += seconds

    monkeypatch.setattr(asyncio, "sleep", sleep)
    monkeypatch.setattr(time, "monotonic", lambda: clock[0])
    recorder = writer.Writer(
        cast("Any", None), cast("Any", Reader()), LedgerSettings(linger_ms=20, gather_ms=200), asyncio.Event()
    )
    consumer = OneAtATime()
    session = writer.Session(cast("Any", consumer), Position(0, 0))

    async def read_after(seconds: float) -> float:
        clock[0] += seconds
        await recorder._read(cast("Any", None), session)
        return round(slept.pop(), 3) if slept else 0.0

    assert await read_after(0) == 0.02, "nothing came before it"
    assert await read_after(0.05) == 0.15, "200 ms after the one before"
    assert await read_after(0.19) == 0.02
    assert await read_after(60) == 0.02, "it comes alone"
    consumer.behind = 1
    assert await read_after(0) == 0, "more is there already: no rest"
    consumer.behind = 0
    recorder._limits = LedgerSettings(linger_ms=20, gather_ms=200, batch_messages_max=1)
    await read_after(1)
    assert await read_after(0) == 0.02, "there is nothing to gather where a batch holds no more"


async def test_what_is_being_taken_from_the_tape_is_not_in_the_book() -> None:
    """Else a call could be given up while its end is on the way: see expire."""
    consumer = OneAtATime()
    session = writer.Session(cast("Any", consumer), Position(0, 0))
    seen: list[bool] = [session.level]

    async def take(messages_max: int, bytes_max: int) -> list[Message]:
        seen.append(session.level)
        return [Message(1, 1, "traffic.0", b"x")]

    consumer.take = take  # type: ignore[method-assign]
    recorder = writer.Writer(cast("Any", None), cast("Any", Reader()), LedgerSettings(), asyncio.Event())
    await recorder._read(cast("Any", None), session)
    seen.append(session.level)
    session.position = Position(1, 1)
    assert [*seen, session.level] == [True, False, False, True]
