"""How often a guardrail's look at some texts asked its service: what it costs, where that costs
money.
"""

from contextvars import ContextVar


class Asked:
    __slots__ = ("count",)

    def __init__(self) -> None:
        self.count = 0


_current: ContextVar[Asked | None] = ContextVar("asked", default=None)


def counted() -> Asked:
    """Counts from now on what this task asks, and those it starts."""
    counter = Asked()
    _current.set(counter)
    return counter


def count_one() -> None:
    """A question goes out."""
    counter = _current.get()
    if counter is not None:
        counter.count += 1
