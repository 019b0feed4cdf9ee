"""The edge's clock: handed to what needs the time, so that a test can hand in its own."""

import time


class Clock:
    __slots__ = ()

    def unix_ms(self) -> int:
        """Unix milliseconds: what facts say."""
        return time.time_ns() // 1_000_000

    def seconds(self) -> float:
        """A clock that never goes back: what durations and deadlines are measured by."""
        return time.perf_counter()
