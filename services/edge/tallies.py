"""The numbers of calls of one kind: what every call adds to, and nothing that a scrape does. Plain arithmetic, no locks."""

from bisect import bisect_left

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
        "by_status", "cache_hits", "failures", "first_token", "latency", "overhead", "per_token", "provider", "spend_picousd",
        "successes", "tokens",
    )  # fmt: skip

    def __init__(self) -> None:
        self.by_status: dict[tuple[int, str], int] = {}
        """(status, what went wrong or empty) -> calls."""
        self.successes = self.failures = self.cache_hits = 0
        """Of a deployment."""
        self.spend_picousd = 0
        self.tokens = dict.fromkeys((name for _, name in TOKENS), 0)
        self.latency, self.provider, self.first_token = Times(), Times(), Times()
        self.overhead, self.per_token = Times(), Times()

    def ended(
        self,
        outcome: str,
        status: int,
        error_code: str | None,
        usage: Usage,
        cost_picousd: int | None,
        elapsed_s: float,
        overhead_s: float,
        provider_s: float | None,
        first_token_s: float | None,
    ) -> None:
        """One opened call has ended.

        Args:
            overhead_s: of `elapsed_s`, what no provider took.
            provider_s: None: no provider was asked.
        """
        key = status, error_code or ("" if outcome == "success" else outcome)
        self.by_status[key] = self.by_status.get(key, 0) + 1
        made = usage.output_tokens
        times = self.latency  # as `Times.add` does it, without a call each
        times.counts[bisect_left(BUCKETS, elapsed_s)] += 1
        times.sum += elapsed_s
        if provider_s is not None:
            times = self.provider
            times.counts[bisect_left(BUCKETS, provider_s)] += 1
            times.sum += provider_s
        times = self.overhead
        times.counts[bisect_left(BUCKETS, overhead_s)] += 1
        times.sum += overhead_s
        if outcome in _ANSWERED:
            self.successes += 1
            if made and provider_s is not None:
                self.per_token.add(provider_s / made)
        else:
            self.failures += 1
        if first_token_s is not None:
            self.first_token.add(first_token_s)
        if cost_picousd:
            self.spend_picousd += cost_picousd
        tokens = self.tokens
        tokens["input"] += usage.input_tokens
        tokens["output"] += made
        if usage.cached_tokens or usage.cache_write_tokens or usage.reasoning_tokens:
            tokens["cached"] += usage.cached_tokens
            tokens["cache_write"] += usage.cache_write_tokens
            tokens["reasoning"] += usage.reasoning_tokens
        if usage.audio_input_tokens or usage.audio_output_tokens or usage.images:
            tokens["audio_input"] += usage.audio_input_tokens
            tokens["audio_output"] += usage.audio_output_tokens
            tokens["images"] += usage.images
