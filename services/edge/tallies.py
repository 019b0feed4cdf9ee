"""The numbers of calls of one kind: what every call adds to, and nothing that a scrape does.

A call that ends leaves a row (`ENDED`). Rows are added up together, column by column: mostly when
there are enough of them, and always before a scrape reads the sums.
"""

import threading
from bisect import bisect_left, bisect_right
from collections import Counter
from collections.abc import Iterable
from operator import attrgetter
from typing import NamedTuple, Protocol

from shared.billing import Usage

BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0)
"""In seconds: from LiteLLM's first to its last, with fewer between."""

TOKENS = (
    ("input_tokens", "input"),
    ("output_tokens", "output"),
    ("input_cached_tokens", "cached"),
    ("input_cache_creation_tokens", "cache_write"),
    ("output_reasoning_tokens", "reasoning"),
    ("input_audio_tokens", "audio_input"),
    ("output_audio_tokens", "audio_output"),
    ("images_generated", "images"),
)


_ANSWERED = frozenset({"success", "client_gone", "blocked"})
"""Outcomes that aren't the deployment's failure."""


ROWS_MAX = 512
"""Of calls that have ended and aren't added up."""


class Columns(NamedTuple):
    """Calls that have ended: an item each in every column."""

    totals: "tuple[tuple[Totals, ...], ...]"
    """What they are added to."""
    outcome: tuple[str, ...]
    status: tuple[int, ...]
    error_code: tuple[str | None, ...]
    usage: tuple[Usage, ...]
    cost_picousd: tuple[int | None, ...]
    elapsed_s: tuple[float, ...]
    overhead_s: tuple[float, ...]
    """Of `elapsed_s`, what no provider took."""
    provider_s: tuple[float | None, ...]
    """None: no provider was asked."""
    first_token_s: tuple[float | None, ...]
    """Of streams."""


class Totals(Protocol):
    """What calls are added to."""

    def add(self, ended: Columns) -> None: ...


Row = tuple[tuple[Totals, ...], str, int, str | None, Usage, int | None, float, float, float | None, float | None]
"""Of one call: Columns' fields."""


class Ended:
    """Calls that have ended since they were last added up. One thread puts rows in; others may add
    them up meanwhile.
    """

    def __init__(self) -> None:
        self._rows: list[Row] = []
        self._adding = threading.Lock()

    def put(self, row: Row) -> None:
        self._rows.append(row)
        if len(self._rows) >= ROWS_MAX:
            self.add_up()

    def add_up(self) -> None:
        with self._adding:
            rows = self._rows[:]
            del self._rows[: len(rows)]  # what is put in meanwhile stands behind them
            alike: dict[tuple[Totals, ...], list[Row]] = {}
            for row in rows:
                alike.setdefault(row[0], []).append(row)
            for totals, found in alike.items():
                ended = Columns(*zip(*found, strict=True))
                for each in totals:
                    each.add(ended)


ENDED = Ended()
"""This process's."""


class Times:
    """A histogram's numbers."""

    __slots__ = ("bounds", "counts", "sum")

    def __init__(self, bounds: tuple[float, ...] = BUCKETS) -> None:
        self.bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.sum = 0.0

    def add(self, seconds: float) -> None:
        self.counts[bisect_left(self.bounds, seconds)] += 1
        self.sum += seconds

    def add_all(self, seconds: Iterable[float]) -> None:
        found, before = sorted(seconds), 0
        for at, bound in enumerate(self.bounds):
            if before == len(found):
                break
            upto = bisect_right(found, bound)
            self.counts[at] += upto - before
            before = upto
        self.counts[-1] += len(found) - before
        self.sum += sum(found)

    def merge(self, other: "Times") -> None:
        """`other` has the same bounds."""
        self.counts = [a + b for a, b in zip(self.counts, other.counts, strict=True)]
        self.sum += other.sum

    def buckets(self) -> list[tuple[str, float]]:
        """(bound, how many up to it), as Prometheus has them."""
        found, total = [], 0
        for bound, count in zip((*map(str, map(float, self.bounds)), "+Inf"), self.counts, strict=True):
            total += count
            found.append((bound, float(total)))
        return found


class Calls:
    """The numbers of calls of one kind."""

    __slots__ = (
        "by_status", "cache_hits", "cache_misses", "cached_tokens", "failures", "first_token", "latency", "overhead", "per_token",
        "provider", "spend_picousd", "successes", "tokens",
    )  # fmt: skip

    def __init__(self) -> None:
        self.by_status: dict[tuple[int, str], int] = {}
        """(status, what went wrong or empty) -> calls."""
        self.successes = self.failures = 0
        """Of a deployment."""
        self.cache_hits = self.cache_misses = self.cached_tokens = 0
        """Looks into the cache, and what it saved."""
        self.spend_picousd = 0
        self.tokens = dict.fromkeys((name for _, name in TOKENS), 0)
        self.latency, self.provider, self.first_token = Times(), Times(), Times()
        self.overhead, self.per_token = Times(), Times()

    def add(self, ended: Columns) -> None:
        """Calls that were opened have ended."""
        was_asked = [seconds is not None for seconds in ended.provider_s]
        endings = zip(ended.outcome, ended.status, ended.error_code, was_asked, strict=True)
        for (outcome, status, code, asked), count in Counter(endings).items():
            key = status, code or ("" if outcome == "success" else outcome)
            self.by_status[key] = self.by_status.get(key, 0) + count
            if outcome not in _ANSWERED:
                self.failures += count
            elif asked:
                self.successes += count
            elif outcome == "success":
                self.cache_hits += count
        if self.cache_hits and not all(was_asked):
            self.cached_tokens += sum(
                usage.input_tokens + usage.output_tokens
                for outcome, usage, asked in zip(ended.outcome, ended.usage, was_asked, strict=True)
                if outcome == "success" and not asked
            )
        self.latency.add_all(ended.elapsed_s)
        self.overhead.add_all(ended.overhead_s)
        self.provider.add_all([seconds for seconds in ended.provider_s if seconds is not None])
        self.first_token.add_all([seconds for seconds in ended.first_token_s if seconds is not None])
        self.per_token.add_all(
            [
                seconds / usage.output_tokens
                for outcome, usage, seconds in zip(ended.outcome, ended.usage, ended.provider_s, strict=True)
                if seconds is not None and usage.output_tokens and outcome in _ANSWERED
            ]
        )
        self.spend_picousd += sum(filter(None, ended.cost_picousd))
        for name, counts in zip(self.tokens, zip(*map(_tokens, ended.usage), strict=True), strict=True):
            self.tokens[name] += sum(counts)


_tokens = attrgetter(
    "input_tokens", "output_tokens", "cached_tokens", "cache_write_tokens", "reasoning_tokens", "audio_input_tokens",
    "audio_output_tokens", "images",
)  # fmt: skip
"""In the order of TOKENS."""
