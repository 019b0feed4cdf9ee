"""The edge's clock: handed to what needs the time, so that a test can hand in its own."""

import time


class Clock:
    __slots__ = ()

    def unix_ms(self) -> int:
        """Unix milliseconds: what facts say."""
        return time.time_ns() // 1_000_000

    seconds = staticmethod(time.perf_counter)
    """A clock that never goes back: what durations and deadlines are measured by. No frame of
    Python's: it is asked often.
    """
