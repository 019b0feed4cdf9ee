"""Our routing on a clock of its own: seeded deployments that fail and take their time, calls that
arrive, and what became of each.

The decisions are the edge's own (routing/plan.py, strategies.py, health.py); only the network isn't
there.
"""

import heapq
import itertools
import random
from collections.abc import Callable, Iterable
from typing import Any

import msgspec

from services.edge.routing import plan, strategies
from services.edge.routing.health import Health, RetryBudget
from services.edge.routing.plan import Failed, Group, Rules, Step
from shared.billing import Price
from shared.grant import Candidate
from shared.ids import DeploymentId
from tests.edge.routing.places import Outcome, World


class Call(msgspec.Struct):
    at: float
    ok: bool = False
    latency_s: float = 0.0
    attempts: int = 0
    """Made for it."""


class Edge:
    """One edge's memory."""

    def __init__(self, **health: Any) -> None:
        self.health, self.budget = Health(**health), RetryBudget()
        self.retries: list[float] = []
        """When each attempt beyond a first began."""


def run(
    world: World,
    arrivals: Iterable[tuple[float, int]],
    strategy: str,
    *,
    edges: int = 1,
    rules: Rules | None = None,
    seed: int = 1,
    tells_after_s: float = 0.02,
    **health: Any,
) -> tuple[list[Call], list[Edge]]:
    """
    Args:
        arrivals: (when, at which edge).
        tells_after_s: until the other edges know of a rest.
    """
    rules, draw = rules or Rules(retries=2), random.Random(seed)
    knots = [Edge(**health) for _ in range(edges)]
    candidates = [
        Candidate(DeploymentId(name), "p", name, Price(place.price, place.price), rpm=None)
        for name, place in world.places.items()
    ]
    calls: list[Call] = []
    queue: list[tuple[float, int, Callable[[float], None]]] = []
    order = itertools.count()

    def at(when: float, do: Callable[[float], None]) -> None:
        heapq.heappush(queue, (when, next(order), do))

    def begin(edge: Edge, call: Call, now: float) -> None:
        edge.budget.call(now)
        chosen = strategies.ordered(strategy, candidates, edge.health, now, draw.random)
        groups = [Group("m", chosen)]
        step = plan.first(groups, lambda each: edge.health.is_resting(each, now))
        attempt(edge, call, groups, step, now)

    def attempt(edge: Edge, call: Call, groups: list[Group], step: Step, now: float) -> None:
        call.attempts += 1
        if call.attempts > 1:
            edge.retries.append(now)
        name = groups[step.group].candidates[step.position].deployment_id
        edge.health.started(name, now)
        outcome = world.attempt(name, now)
        at(now + outcome.latency_s, lambda then: ended(edge, call, groups, step, outcome, then))

    def ended(edge: Edge, call: Call, groups: list[Group], step: Step, outcome: Outcome, now: float) -> None:
        name = DeploymentId(outcome.place)
        edge.health.ended(name)
        if outcome.ok:
            edge.health.answered(name, outcome.latency_s)
            edge.health.used(name, 100)
            call.ok, call.latency_s = True, now - call.at
            return
        rest_s = edge.health.failed(name, outcome.cause, now)
        if rest_s is not None:
            for other in knots:
                if other is not edge:
                    at(now + tells_after_s, lambda then, other=other: other.health.rest(name, rest_s, then))  # type: ignore[misc]
        following = plan.after(
            step,
            Failed(outcome.cause),
            groups,
            rules,
            resting=lambda each: edge.health.is_resting(each, now),
            may_retry=lambda: edge.budget.take(now),
            left_s=600,
            random=draw.random,
        )
        if following is None:
            call.latency_s = now - call.at
        else:
            at(now + following.wait_s, lambda then: attempt(edge, call, groups, following, then))

    for when, number in arrivals:
        call = Call(when)
        calls.append(call)
        at(when, lambda now, call=call, number=number: begin(knots[number], call, now))  # type: ignore[misc]
    while queue:
        now, _, do = heapq.heappop(queue)
        do(now)
    return calls, knots


def poisson(per_second: float, seconds: float, seed: int, edges: int = 1) -> list[tuple[float, int]]:
    """Arrivals, spread over the edges."""
    draw, now, found = random.Random(seed), 0.0, []
    while True:
        now += draw.expovariate(per_second)
        if now >= seconds:
            return found
        found.append((now, draw.randrange(edges)))


def good_share(calls: list[Call]) -> float:
    return sum(call.ok for call in calls) / len(calls)


def p95_s(calls: list[Call]) -> float:
    found = sorted(call.latency_s for call in calls if call.ok)
    return found[int(len(found) * 0.95)] if found else float("inf")
