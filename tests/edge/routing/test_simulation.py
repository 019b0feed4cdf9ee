"""Routing among failing deployments, on a clock of its own: what a dead one costs, and what retries
may cost.
"""

import math
from collections import Counter

import pytest

from services.edge.routing.health import Health
from services.edge.routing.plan import Rules
from services.edge.routing.strategies import STRATEGIES
from shared.ids import DeploymentId
from tests.edge.routing.places import Place, World
from tests.edge.routing.simulation import good_share, p95_s, poisson, run

ALWAYS = (0.0, math.inf)
COOLDOWN_S = 5.0
SECONDS = 60.0


@pytest.mark.parametrize("strategy", sorted(set(STRATEGIES)))
@pytest.mark.parametrize("fails_after_s", [0.002, 2.0], ids=["refuses", "hangs"])
def test_a_dead_deployment_among_three_costs_an_edge_one_failed_attempt_a_cooldown(
    strategy: str, fails_after_s: float
) -> None:
    """However many calls come meanwhile, and however long it takes to fail; the very first time all
    that are on their way find out.
    """
    edges = 2
    world = World([Place("a"), Place("b"), Place("dead", down=ALWAYS, cause="connect", fails_after_s=fails_after_s)], 7)
    calls, _ = run(
        world, poisson(50 * edges, SECONDS, 3, edges), strategy, edges=edges, cooldown_s=COOLDOWN_S, tells_after_s=0.1
    )
    began = [at for at, place, _ in world.attempts if place == "dead"]
    first = [at for at in began if at < min(began) + fails_after_s + 0.1]
    later = [at for at in began if at >= min(began) + fails_after_s + 0.1]
    assert began and len(later) <= edges * (SECONDS / COOLDOWN_S + 1), len(later)
    if fails_after_s < 0.1:
        assert len(first) <= 3 * edges, "until the first has failed"
    # While it hangs for the first time nobody knows, and what wants to go elsewhere then is held to
    # the retry budget.
    assert good_share(calls) == 1.0 if fails_after_s < 0.1 else good_share(calls) > 0.98
    assert p95_s(calls) < 0.2


def test_after_a_rest_one_call_tries_it_and_one_answer_brings_it_back() -> None:
    health, name = Health(cooldown_s=5), DeploymentId("d")
    health.started(name, 0.0)
    assert health.failed(name, "connect", 0.1) == 5.0
    health.ended(name)
    assert health.is_resting(name, 5.0) and not health.is_resting(name, 5.2)
    health.started(name, 5.2)
    assert health.is_resting(name, 5.3), "somebody is finding out"
    assert health.failed(name, "failed", 6.0) == 5.0, "a cause that is counted otherwise: it had its chance"
    health.ended(name)
    assert not health.is_resting(name, 11.1)
    health.started(name, 11.1)
    health.answered(name, 0.1)
    assert not health.is_resting(name, 11.2)
    health.ended(name)
    assert health.failed(name, "failed", 11.3) is None, "counted again from now on"


def test_ten_thousand_calls_with_the_provider_down_stay_within_the_retry_budget() -> None:
    world = World([Place("only", down=ALWAYS, cause="failed", fails_after_s=0.01)], 1)
    arrivals = poisson(100, 100, 5)
    calls, (edge,) = run(world, arrivals, "simple-shuffle", rules=Rules(retries=5), cooldown_s=0)
    assert len(calls) > 9_500 and not any(call.ok for call in calls)
    assert len(world.attempts) - len(calls) == len(edge.retries) <= 0.1 * len(calls) + 10
    assert edge.retries, "some are made"
    starts = [at for at, _ in arrivals]
    for now in edge.retries[:: max(1, len(edge.retries) // 200)]:
        made = sum(now - 9 < at <= now for at in edge.retries)
        came = sum(now - 11 < at <= now for at in starts)
        assert made <= max(10, 0.1 * came)


def test_strategies_go_where_they_say() -> None:
    def share(strategy: str, *places: Place, per_second: float = 40) -> Counter[str]:
        world = World(places, 11)
        run(world, poisson(per_second, 30, 2), strategy)
        return Counter(place for _, place, _ in world.attempts)

    even = share("simple-shuffle", Place("a"), Place("b"))
    assert 0.8 < even["a"] / even["b"] < 1.25
    fast = share("latency-based-routing", Place("fast", latency_s=0.05), Place("slow", latency_s=0.5))
    assert fast["slow"] <= 3
    cheap = share("cost-based-routing", Place("cheap", price=1), Place("dear", price=9))
    assert cheap["dear"] == 0
    equal = share("cost-based-routing", Place("fast", latency_s=0.05), Place("slow", latency_s=0.5))
    assert equal["slow"] <= 3
    busy = share("least-busy", Place("fast", latency_s=0.05), Place("slow", latency_s=1.0))
    assert busy["fast"] > 4 * busy["slow"]
    used = share("usage-based-routing-v2", Place("a"), Place("b"), Place("c"))
    assert max(used.values()) - min(used.values()) < 0.1 * max(used.values())


@pytest.mark.parametrize("strategy", sorted(set(STRATEGIES)))
def test_flaky_and_limited_deployments_cost_the_caller_little(strategy: str) -> None:
    world = World([Place("flaky", fails=0.1), Place("limited", per_second=5), Place("good", latency_s=0.08)], 5)
    calls, _ = run(world, poisson(20, 60, 8), strategy)
    assert good_share(calls) > 0.985
    assert p95_s(calls) < 0.6
