"""What the book has of each budget's window, asked every second by each replica.

What is under way when a limit is reached, and what was let in within the last second or two, goes
beyond it: limits are soft. While the book doesn't answer, what was known last goes on to hold.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from functools import partial

import structlog

from services.policy import budgets
from services.policy.catalog import Catalog
from services.policy.directory import Directory
from services.policy.plan import Change
from shared.config.budgets import Budget
from shared.requests import SpentBy

log = structlog.get_logger()

EVERY_S = 1.0
VALUES_MAX = 500
"""Of one question."""

Asking = Callable[[list[SpentBy]], Awaitable[list[int] | None]]
Announcing = Callable[[Callable[[Directory, int], Change | None]], Awaitable[bool]]


async def keep(
    catalog: Callable[[], Catalog], directory: Callable[[], Directory], ask: Asking, announce: Announcing,
    now_ms: Callable[[], int],
) -> None:  # fmt: skip
    """For ever."""
    silent = False
    while True:
        known, at_ms = budgets.limits(catalog()), now_ms()
        if known or directory().settings.get(budgets.NAME) is not None:
            sums = await _sums(known, at_ms, ask)
            if (sums is None) is not silent:
                silent = sums is None
                log.warning("budgets_not_known" if silent else "budgets_known", budgets=len(known))
            await announce(partial(budgets.planned, known, sums, at_ms))
        await asyncio.sleep(EVERY_S)


async def _sums(known: Sequence[Budget], at_ms: int, ask: Asking) -> list[int] | None:
    """None: the book doesn't say, or not of all."""
    found: list[int] = []
    for start in range(0, len(known), VALUES_MAX):
        some = known[start : start + VALUES_MAX]
        sums = await ask([SpentBy(each.dimension, [each.value], budgets.first_day(each, at_ms)) for each in some])
        if sums is None:
            return None
        found += sums
    return found
