"""What time it is, for who acts; who decides is told."""

import time


def unix_ms() -> int:
    return time.time_ns() // 1_000_000
