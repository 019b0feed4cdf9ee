"""How fast this machine is just now: what bounds seconds of CPU is of the machine they were
measured on.
"""

import json
import re
import time

_TEXT = "the quick brown fox: key = aB3xZ9, and 'more' of it; " * 60
_PIECES = [_TEXT[at : at + 40] for at in range(0, len(_TEXT), 40)]
_NAMED = re.compile(r"[A-Za-z_]+\s*[:=]\s*(\w+)")
_USUAL_S = 0.0045
"""CPU of `_work` on the machine that the tests' bounds were measured on, idle."""


def at_pace(seconds: float) -> float:
    """`seconds` of CPU there, here and now; never fewer, so that a bound means on a fast machine
    what it says.
    """
    return seconds * max(1.0, sorted(_work() for _ in range(5))[2] / _USUAL_S)


def _work() -> float:
    """Numbers, a dict, texts: seconds of this thread's CPU that they take."""
    before = time.thread_time()
    held: dict[int, int] = {}
    for number in range(12_000):
        held[number % 512] = held.get(number % 512, 0) + number
    for _ in range(12):
        _NAMED.findall(_TEXT)
        json.loads(json.dumps(_PIECES))
    return time.thread_time() - before
