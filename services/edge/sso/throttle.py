"""Failed logins, counted so that nobody tries passwords without end: by who tries, and by the
account, for who tries from many addresses. The clock is an argument; memory is bounded.

Whoever wants to can make an account wait. Its owner doesn't, in a browser that has signed in to it
before (known.py): such a browser is counted by itself, and for no account.
"""

import ipaddress

import msgspec

from shared import addresses

SOURCES_MAX = 10_000
ACCOUNT_TIMES = 10
"""An account waits after so many times the failures that one source may have: one address alone, or
a few, can't make it wait.
"""
MANY = "many-addresses"
"""In place of an address, where an account waits."""
_SITE_BITS = 64


class Guess(msgspec.Struct, frozen=True):
    """Who tries, and where."""

    source: str
    account: str = ""
    """Empty: it counts for none."""


def source_of(address: str | None) -> str:
    """An IPv6 host has 2^64 addresses of its own: its network is who tries."""
    found = addresses.address(address)
    if isinstance(found, ipaddress.IPv6Address):
        return str(ipaddress.ip_network((found, _SITE_BITS), strict=False))
    return address or "unknown" if found is None else str(found)


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

    def use(self, other: "Throttle", times: int = 1) -> None:
        """Its terms, with so many times the failures, from now on."""
        self._max, self._window_s, self._block_s = other._max * times, other._window_s, other._block_s

    def waits_s(self, source: str, now_s: float) -> int:
        """Seconds until this source may try again; 0: now."""
        found = self._sources.get(source)
        return 0 if found is None else max(0, int(found.blocked_until_s - now_s + 0.999))

    def failed(self, source: str, now_s: float) -> int:
        """One more failure. Returns how many are to be told of now, in one fact: the first, and
        what came until a block.
        """
        found = self._sources.get(source)
        if found is not None and now_s < found.blocked_until_s:
            found.untold += 1  # one that was under way when the block began
            return 0
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


class Guesses:
    """
    Args:
        throttle: the terms of one source.
    """

    def __init__(self, throttle: Throttle | None = None) -> None:
        self._sources = Throttle()
        self._accounts = Throttle()
        self.use(throttle or Throttle())

    def use(self, throttle: Throttle) -> None:
        """Its terms, from now on; who waits goes on waiting."""
        self._sources.use(throttle)
        self._accounts.use(throttle, ACCOUNT_TIMES)

    def waits_s(self, guess: Guess, now_s: float) -> int:
        """Seconds until this may be tried again; 0: now."""
        of_account = self._accounts.waits_s(guess.account, now_s) if guess.account else 0
        return max(of_account, self._sources.waits_s(guess.source, now_s))

    def failed(self, guess: Guess, now_s: float) -> list[tuple[str, int]]:
        """One more failure. (source, how many) of each fact that is to tell of it."""
        told = [(guess.source, self._sources.failed(guess.source, now_s))]
        if guess.account:
            count = self._accounts.failed(guess.account, now_s)
            if count and self._accounts.waits_s(guess.account, now_s):  # from now on; else its source tells of it
                told.append((MANY, count))
        return [each for each in told if each[1]]

    def succeeded(self, guess: Guess) -> None:
        """What the source did before is forgiven. What others did to the account isn't."""
        self._sources.succeeded(guess.source)
