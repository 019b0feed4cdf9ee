"""How a model's deployments are ordered: one function a strategy, pure. The first is asked, the
others are for when it fails.

Names are LiteLLM's `routing_strategy`. `order` of an entry goes before any strategy; a deployment
that rests goes last.
"""

from collections.abc import Callable
from typing import Final

from services.edge.routing.health import Health, Random
from shared.billing import Price, Usage, cost_picousd
from shared.grant import Candidate

_TYPICAL: Final = Usage(input_tokens=1_000, output_tokens=250)
"""What prices are compared by."""
UNPRICED: Final = 10**14
"""Dearer than any, and small enough for a float to tell fractions apart."""
UNKNOWN_LATENCY_S: Final = 0.0
"""Who was never asked is asked first: else nothing would ever be known of it."""
ASKED_LATENCY_S: Final = 1e6
"""Who is being asked for the first time isn't asked by others too until it has answered."""

Score = Callable[[Candidate, Health, float, Random], float]
"""Lower goes first. (candidate, health, now, random)."""


def _shuffled(candidate: Candidate, health: Health, now: float, random: Random) -> float:
    """A weighted shuffle (Efraimidis-Spirakis)."""
    drawn: float = random() ** (1.0 / max(candidate.weight, 1e-9))
    return -drawn


def _least_busy(candidate: Candidate, health: Health, now: float, random: Random) -> float:
    """By how long it would take with one more call: the calls that run there, each as long as it
    takes there. Who isn't twice as fast as another is as fast.
    """
    calls = health.of(candidate.deployment_id).running + 1
    return calls * _fastest(candidate, health, now, random) * (1.0 + random())


def _fastest(candidate: Candidate, health: Health, now: float, random: Random) -> float:
    """By the mean latency; what is within a share of another (`lowest_latency_buffer`) is as
    fast.
    """
    state = health.of(candidate.deployment_id)
    latency_s = state.latency_s
    if latency_s is None or now - state.window > health.latency_ttl_s:
        latency_s = ASKED_LATENCY_S if state.running else UNKNOWN_LATENCY_S
    return latency_s * (1.0 + health.latency_buffer * random())


def _least_used(candidate: Candidate, health: Health, now: float, random: Random) -> float:
    """By the share of its limit used in this minute: tokens of `tpm`, else requests of `rpm`, else
    tokens.
    """
    state = health.of(candidate.deployment_id)
    state.roll(now)
    shares = []
    if candidate.tpm:
        shares.append(state.tokens / candidate.tpm)
    if candidate.rpm:
        shares.append(state.calls / candidate.rpm)
    used = max(shares) if shares else state.tokens / 1e9 + state.calls / 1e6
    return used + random() * 1e-9


def _cheapest(candidate: Candidate, health: Health, now: float, random: Random) -> float:
    """What costs the same is ordered by latency: prices are whole numbers."""
    latency_s = _fastest(candidate, health, now, random)
    same = latency_s / (1.0 + latency_s)
    return (UNPRICED if candidate.price is None else _typical_cost(candidate.price)) + same


def _typical_cost(price: Price) -> int:
    return cost_picousd(price, _TYPICAL)


STRATEGIES: Final[dict[str, Score]] = {
    "simple-shuffle": _shuffled,
    "least-busy": _least_busy,
    "latency-based-routing": _fastest,
    "latency-based": _fastest,
    "usage-based-routing": _least_used,
    "usage-based-routing-v2": _least_used,
    "usage-based": _least_used,
    "cost-based-routing": _cheapest,
    "cost-based": _cheapest,
    "provider-budget-routing": _shuffled,  # who has no money left isn't among them
}


def ordered(strategy: str, candidates: list[Candidate], health: Health, now: float, random: Random) -> list[Candidate]:
    """All of them, the best first."""
    if len(candidates) < 2:
        return candidates
    score = STRATEGIES.get(strategy, _shuffled)

    def key(candidate: Candidate) -> tuple[bool, int, bool, float]:
        resting = health.is_resting(candidate.deployment_id, now)
        full = strategy.startswith("usage-based") and _is_full(candidate, health, now)
        return resting, candidate.order, full, score(candidate, health, now, random)

    return sorted(candidates, key=key)


def _is_full(candidate: Candidate, health: Health, now: float) -> bool:
    state = health.of(candidate.deployment_id)
    state.roll(now)
    return bool((candidate.tpm and state.tokens >= candidate.tpm) or (candidate.rpm and state.calls >= candidate.rpm))
