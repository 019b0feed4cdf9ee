"""What the environment asks of a run: how long, and from which seed. What can't be meant ends it
with a sentence.
"""

import math
import os
import random
import sys


def seconds(name: str, default_minutes: float, least_s: float = 0.0) -> float:
    """Of the variable `name`, in minutes. `least_s`: with so little there is nothing to see yet."""
    given = os.environ.get(name) or default_minutes
    try:
        asked_s = float(given) * 60
    except ValueError:
        asked_s = math.nan
    if not least_s < asked_s < math.inf:
        sys.exit(f"{name}={given}: this takes a number of minutes, more than {least_s / 60:.1f}")
    return asked_s


def seed() -> int:
    """CHAOS_SEED; else any."""
    given = os.environ.get("CHAOS_SEED") or random.SystemRandom().randrange(10**6)
    try:
        return int(given)
    except ValueError:
        sys.exit(f"CHAOS_SEED={given}: this takes a whole number")
