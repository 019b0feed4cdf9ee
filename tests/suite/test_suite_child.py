"""One kept child: a program that says of itself that it is broken is stopped and started again."""

import asyncio
import signal
import sys
import time
from collections.abc import Awaitable, Callable

import pytest

from services.suite import process
from services.suite.process import Child, Program

QUIET = [sys.executable, "-c", "import time; time.sleep(60)"]
DEAF = [sys.executable, "-c", "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(60)"]


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process, "BROKEN_EVERY_S", 0.02)


async def _ready(_: int) -> bool:
    return True


async def lives(broken: Callable[[], Awaitable[bool]], seconds: float, command: list[str] = QUIET) -> int:
    """How often it was restarted in that time."""
    program = Program(name="it", command=command, ready=_ready, port=0, broken=broken, stop_s=0.3)
    child = Child(program, lambda: None)
    child.start()
    await child.until_ready(10)
    deadline = time.monotonic() + seconds
    while child.restarts == 0 and time.monotonic() < deadline:
        await asyncio.sleep(0.02)
    await child.stop(asyncio.Event())
    return child.restarts


async def test_what_says_that_it_is_broken_is_restarted() -> None:
    asked = 0

    async def broken() -> bool:
        nonlocal asked
        asked += 1
        return True

    assert await lives(broken, 10) == 1
    assert asked >= process.BROKEN_TIMES


async def test_what_is_broken_and_does_not_stop_is_killed() -> None:
    async def broken() -> bool:
        return True

    assert await lives(broken, 10, DEAF) == 1


@pytest.mark.parametrize("error", [ConnectionRefusedError, TimeoutError, asyncio.IncompleteReadError(b"", 1)])
async def test_no_answer_is_no_reason(error: BaseException | type[BaseException]) -> None:
    async def broken() -> bool:
        raise error

    assert await lives(broken, 0.5) == 0


async def test_a_passing_trouble_is_no_reason() -> None:
    answers = [True, True, True, False] * 100

    async def broken() -> bool:
        return answers.pop()

    assert await lives(broken, 0.5) == 0


async def test_it_is_not_asked_before_it_is_ready() -> None:
    asked = 0

    async def never_ready(_: int) -> bool:
        return False

    async def broken() -> bool:
        nonlocal asked
        asked += 1
        return True

    child = Child(Program(name="it", command=QUIET, ready=never_ready, port=0, broken=broken), lambda: None)
    child.start()
    await asyncio.sleep(0.5)
    assert child.pid and asked == 0
    child._signal(signal.SIGKILL)
    await child.stop(asyncio.Event())
