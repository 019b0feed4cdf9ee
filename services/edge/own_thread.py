"""Where the operator's own Python runs in the edge: in a thread of its own, with a loop of its own.
What blocks there, or never returns, keeps nobody but callers who wait for it.
"""

import asyncio
import inspect
import threading
from collections.abc import Callable
from typing import Any

ASKED_MAX = 256
"""Questions that it hasn't done with, also where nobody waits any more; a further one gets
NoAnswerError at once.
"""


CLOSING_S = 1.0
"""For what is cancelled to end."""


MESSAGE_CHARACTERS_MAX = 500
"""Of what it says to a client."""


class NoAnswerError(Exception):
    """It has no room, or didn't answer in time."""


class EndedError(Exception):
    """It raised what would end the thread, or look as if the client had left."""


def status_of(raised: Exception) -> int:
    """That it has for the client; 0: none."""
    status = getattr(raised, "status_code", None) or getattr(raised, "code", None)
    try:
        return int(status) if status is not None else 0
    except (TypeError, ValueError):
        return 0


class OwnThread:
    """
    Args:
        name: the thread's. It begins with the first question.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._room = threading.Semaphore(ASKED_MAX)
        self._loop: asyncio.AbstractEventLoop | None = None

    async def ask(self, timeout_s: float, function: Callable[..., Any], *given: Any, **named: Any) -> Any:
        """What the function returns, or its coroutine. Raises NoAnswerError, EndedError, and
        whatever the function raises.
        """
        if not self._room.acquire(blocking=False):
            raise NoAnswerError("no room")
        gone = threading.Event()
        asked = asyncio.run_coroutine_threadsafe(self._called(gone, function, given, named), self._running())
        try:
            async with asyncio.timeout(timeout_s) as timeout:
                return await asyncio.wrap_future(asked)
        except TimeoutError:
            if not timeout.expired():
                raise
            raise NoAnswerError(f"not within {timeout_s} s") from None
        finally:
            gone.set()
            asked.cancel()

    def close(self) -> None:
        if self._loop is not None:
            asyncio.run_coroutine_threadsafe(self._end(self._loop), self._loop)

    async def _end(self, loop: asyncio.AbstractEventLoop) -> None:
        rest = asyncio.all_tasks() - {asyncio.current_task()}
        for task in rest:
            task.cancel()
        if rest:
            await asyncio.wait(rest, timeout=CLOSING_S)
        loop.call_soon(loop.stop)

    def _running(self) -> asyncio.AbstractEventLoop:
        if self._loop is None:
            self._loop = asyncio.new_event_loop()
            threading.Thread(target=self._loop.run_forever, name=self._name, daemon=True).start()
        return self._loop

    async def _called(
        self, gone: threading.Event, function: Callable[..., Any], given: tuple[Any, ...], named: dict[str, Any]
    ) -> Any:
        """
        Args:
            gone: whether nobody waits any more: what blocked others isn't done for them, too.
        """
        try:
            if gone.is_set():
                return None
            found = function(*given, **named)
            return await found if inspect.isawaitable(found) else found
        except (SystemExit, KeyboardInterrupt, GeneratorExit, asyncio.CancelledError) as error:
            raise EndedError(type(error).__name__) from None
        finally:
            self._room.release()
