"""Asking a guardrail's service over HTTP: one JSON question, one JSON answer, and a circuit that
opens where the service is away.

A redirect, any status but 200 and what is no JSON are no answers: the guardrail's `on_error`
decides then, at once where the circuit is open.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, TypeVar

import msgspec

from services.moderation.guardrails import asked
from services.moderation.guardrails.parts import Parts
from shared.config import ConfigError
from shared.decoding import UNREADABLE
from shared.guardrails import Enabled
from shared.outbound import Outbound, OutboundError

T = TypeVar("T")
R = TypeVar("R")

FAILURES_MAX = 5
"""In a row: then the circuit opens."""
OPEN_S = 5.0
ASKED_AT_ONCE = 8
"""Of one inspection: its texts are asked about side by side."""
ANSWER_BYTES_MAX = 8 * 1024 * 1024


class NoAnswerError(Exception):
    """The service gave no usable answer. The text names the kind of failure, never what was
    said.
    """


_made: ContextVar["list[Circuit] | None"] = ContextVar("made", default=None)


def circuits_of(make: Callable[[], T]) -> tuple[T, "tuple[Circuit, ...]"]:
    """What `make` makes, and the circuits of the services it is going to ask."""
    found: list[Circuit] = []
    token = _made.set(found)
    try:
        return make(), tuple(found)
    finally:
        _made.reset(token)


class Circuit:
    """Closed: everybody may ask. Open, after FAILURES_MAX failures: nobody, for OPEN_S; then one,
    whose luck decides.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self.failures = 0
        """In a row."""
        self.error = ""
        """Kind of the last failure; "" after a success."""
        self._asked_at: float | None = None
        self._opened_at = 0.0
        self._trying = False
        self.ending: Callable[[], Awaitable[None]] | None = None
        """Ends the connections behind it, where they are its own."""
        if (made := _made.get()) is not None:
            made.append(self)

    @property
    def is_open(self) -> bool:
        return self.failures >= FAILURES_MAX

    @property
    def state(self) -> str:
        if not self.is_open:
            return "closed"
        return "trying" if self._trying or self._clock() - self._opened_at >= OPEN_S else "open"

    @property
    def seconds_ago(self) -> float | None:
        return None if self._asked_at is None else self._clock() - self._asked_at

    @contextmanager
    def question(self, *, costs: bool = True) -> Iterator[None]:
        """Around one question. Raises NoAnswerError, as `enter`; whatever is raised in it counts as
        a failure.
        """
        self.enter(costs=costs)
        worked, error = False, ""
        try:
            yield
            worked = True
        except NoAnswerError as no:
            error = str(no)
            raise
        finally:
            self.leave(worked=worked, error=error)

    def enter(self, *, costs: bool = True) -> None:
        """Raises NoAnswerError where it is open.

        Args:
            costs: whether the question is one that the operator's price is of.
        """
        if self.is_open:
            if self._trying or self._clock() - self._opened_at < OPEN_S:
                raise NoAnswerError("circuit open")
            self._trying = True
        self._asked_at = self._clock()
        if costs:
            asked.count_one()

    def leave(self, *, worked: bool, error: str = "") -> None:
        self._trying = False
        self.error = "" if worked else (error or "cut off")
        if worked:
            self.failures = 0
            return
        self.failures += 1
        if self.failures >= FAILURES_MAX:
            self._opened_at = self._clock()


class Service:
    """One guardrail's service."""

    def __init__(
        self, outbound: Outbound, base: str, deadline_ms: int, headers: Mapping[str, str] | None = None
    ) -> None:
        self._outbound = outbound
        self._base = base.rstrip("/")
        self._deadline_ms = deadline_ms
        self._headers = {"content-type": "application/json", **(headers or {})}
        self.circuit = Circuit()

    @classmethod
    def of(cls, parts: Parts, enabled: Enabled, base: str, headers: Mapping[str, str] | None = None) -> "Service":
        """Raises ConfigError for an address that is none."""
        if not base.startswith(("http://", "https://")) or not base.isprintable():
            raise ConfigError(f"the guardrail {enabled.name!r}: its address must begin with http:// or https://")
        assert parts.outbound is not None
        return cls(parts.outbound, base, enabled.deadline_ms, headers)

    async def ask(self, path: str, question: Any, headers: Mapping[str, str] | None = None) -> Any:
        """The answer, decoded. Raises NoAnswerError."""
        with self.circuit.question():
            try:
                answer = await self._outbound.send(
                    "POST",
                    self._base + path,
                    headers={**self._headers, **(headers or {})},
                    body=msgspec.json.encode(question),
                    deadline_ms=self._deadline_ms,
                    answer_bytes_max=ANSWER_BYTES_MAX,
                )
                if answer.status != 200:
                    raise NoAnswerError(f"status {answer.status}")
                return msgspec.json.decode(answer.body)
            except OutboundError as error:
                raise NoAnswerError(error.code) from None
            except UNREADABLE:
                raise NoAnswerError("no JSON") from None


async def each(items: Iterable[T], ask: Callable[[T], Awaitable[R]]) -> list[R]:
    """`ask` of every item, ASKED_AT_ONCE side by side, in their order. The first failure ends them
    all.
    """
    gate = asyncio.Semaphore(ASKED_AT_ONCE)

    async def one(item: T) -> R:
        async with gate:
            return await ask(item)

    tasks = [asyncio.ensure_future(one(item)) for item in items]
    try:
        return await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()


def setting(parts: Parts, enabled: Enabled, name: str, *variables: str) -> str | None:
    """A string of the entry's `litellm_params`, else of the environment; an empty one is a missing
    one.
    """
    value = enabled.params.get(name)
    if value is not None and not isinstance(value, str):
        raise ConfigError(f"the guardrail {enabled.name!r}: litellm_params.{name} must be a string")
    return value or next((found for variable in variables if (found := parts.environ.get(variable, "").strip())), None)
