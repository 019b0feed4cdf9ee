"""Failed logins a source, counted so that nobody tries passwords without end. The clock is an
argument; memory is bounded.
"""

import msgspec

SOURCES_MAX = 10_000


class _Source(msgspec.Struct):
    begun_s: float
    failures: int = 0
    blocked_until_s: float = 0.0
    untold: int = 0
    """Failures that no fact tells yet."""


class Throttle:
    """
    Args:
        attempts_max: failures within `window_s` after which a source waits `block_s`.
    """

    def __init__(self, attempts_max: int = 10, window_s: float = 60, block_s: float = 300) -> None:
        self._max = attempts_max
        self._window_s = window_s
        self._block_s = block_s
        self._sources: dict[str, _Source] = {}

    def use(self, other: "Throttle") -> None:
        """Its terms, from now on."""
        self._max, self._window_s, self._block_s = other._max, other._window_s, other._block_s

    def waits_s(self, source: str, now_s: float) -> int:
        """Seconds until this source may try again; 0: now."""
        found = self._sources.get(source)
        return 0 if found is None else max(0, int(found.blocked_until_s - now_s + 0.999))

    def failed(self, source: str, now_s: float) -> int:
        """One more failure. Returns how many are to be told of now, in one fact: the first, and
        what came until a block.
        """
        found = self._sources.get(source)
        if found is None or now_s - found.begun_s >= self._window_s:
            if len(self._sources) >= SOURCES_MAX:
                del self._sources[next(iter(self._sources))]
            found = self._sources[source] = _Source(now_s, untold=0 if found is None else found.untold)
        found.failures += 1
        found.untold += 1
        if found.failures >= self._max:
            found.blocked_until_s, found.begun_s = now_s + self._block_s, now_s - self._window_s
        elif found.failures > 1:
            return 0
        told, found.untold = found.untold, 0
        return told

    def succeeded(self, source: str) -> None:
        self._sources.pop(source, None)
