"""Seeded deployments that fail and take their time. Nothing but the standard library: LiteLLM's
Python reads it too (tests/prove).
"""

import random
from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True)
class Place:
    """How one deployment behaves."""

    name: str
    latency_s: float = 0.05
    """Median; log-normal around it."""
    spread: float = 0.3
    fails: float = 0.0
    """Share of the attempts."""
    cause: str = "failed"
    down: tuple[float, float] = (0.0, 0.0)
    """Seconds between which every attempt fails, after `fails_after_s`."""
    fails_after_s: float = 0.002
    per_second: float = 0.0
    """More attempts than this in a second are refused (429); 0: it takes all."""
    price: int = 1_000_000


@dataclass(frozen=True)
class Outcome:
    place: str
    ok: bool
    latency_s: float
    cause: str = ""


class World:
    """What each attempt comes to: the same for the same seed and the same attempts."""

    def __init__(self, places: Iterable[Place], seed: int) -> None:
        self.places = {place.name: place for place in places}
        self._draws = {name: random.Random(f"{seed}/{name}") for name in self.places}
        self._second: dict[tuple[str, int], int] = {}
        self.attempts: list[tuple[float, str, bool]] = []
        """(when it began, where, whether it was answered)."""

    def attempt(self, name: str, now: float) -> Outcome:
        place, draw = self.places[name], self._draws[name]
        latency_s, chance = place.latency_s * draw.lognormvariate(0, place.spread), draw.random()
        second = (name, int(now))
        self._second[second] = self._second.get(second, 0) + 1
        if place.down[0] <= now < place.down[1]:
            found = Outcome(name, False, place.fails_after_s, place.cause)
        elif place.per_second and self._second[second] > place.per_second:
            found = Outcome(name, False, place.fails_after_s, "limited")
        elif chance < place.fails:
            found = Outcome(name, False, latency_s / 2, place.cause)
        else:
            found = Outcome(name, True, latency_s)
        self.attempts.append((now, name, found.ok))
        return found


SCENARIOS: dict[str, list[Place]] = {
    "one is dead": [Place("a"), Place("b", latency_s=0.06), Place("dead", down=(0.0, 1e9), cause="connect")],
    "one fails with 500": [Place("a"), Place("b", latency_s=0.06), Place("bad", down=(0.0, 1e9), cause="failed")],
    "one is flaky": [Place("a"), Place("b"), Place("flaky", fails=0.25)],
    "one is slow": [Place("a"), Place("b", latency_s=0.06), Place("slow", latency_s=0.4)],
    "one is limited": [Place("a"), Place("b", latency_s=0.06), Place("limited", per_second=4)],
    "one comes and goes": [Place("a"), Place("b"), Place("c", down=(3.0, 6.0), cause="connect")],
}
PER_SECOND, SECONDS, SEED = 40.0, 12.0, 20_261_126


def arrivals() -> list[float]:
    draw, now, found = random.Random(SEED), 0.0, []
    while True:
        now += draw.expovariate(PER_SECOND)
        if now >= SECONDS:
            return found
        found.append(now)
