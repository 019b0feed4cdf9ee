"""Which fault when: drawn from a seed, so that a run can be told to do the same again. Pure."""

import random
from collections.abc import Container, Mapping, Sequence
from typing import NamedTuple

ALONE = {
    "kill": 6, "restart": 3, "pause": 4, "throttle": 2, "slow": 3, "cut": 2, "silence": 2, "kill_with_broker": 2, "fill_journal": 1,
    "disk_full": 1, "fill_stream": 1,
    "store_full": 1,
}  # fmt: skip
"""Kinds and their weights."""
CLUSTER = {
    "kill": 4, "restart": 2, "pause": 4, "throttle": 1, "cut_off": 4, "slow_host": 2, "lossy_host": 2, "kill_leader": 3, "pause_leader": 3,
    "cut_leader": 2, "split": 3, "two_away": 2, "disk_lost": 2, "failover": 3, "failover_cut": 2,
}  # fmt: skip
"""The same for a cluster."""
LINK_KINDS = frozenset({"slow", "cut", "silence"})
"""Of the way to broker and database."""
DISK_KINDS = frozenset({"store_full"})
"""Of a disk that is the broker's alone."""
ONE_TARGET = {
    "fill_journal": "nats", "fill_stream": "ledger", "disk_full": "edge", "store_full": "nats",
    **dict.fromkeys(("kill_leader", "pause_leader", "cut_leader", "split", "two_away", "disk_lost"), "nats"),
    **dict.fromkeys(("failover", "failover_cut"), "postgres"),
}  # fmt: skip
WHOLE = ("nats", "postgres")
"""Where there are several of them: all. What one of them has lost may be only in the others, so
nothing else befalls them meanwhile.
"""
AFTER_S = {"disk_lost": 20.0, "failover": 12.0, "failover_cut": 12.0, "two_away": 5.0}
"""Until they are whole again."""
GAP_S = (1.0, 9.0)
QUIET_S = 6.0
"""Before the end nothing new begins."""


class Fault(NamedTuple):
    at_s: float
    """After the beginning of the load."""
    kind: str
    target: str
    """A process; for a link's kind `nats` or `postgres`; for `slow` also a service, each of whose
    replicas is meant.
    """
    for_s: float
    amount: float
    """slow: seconds of latency each way; lossy: share of what is lost; throttle: share of the time
    it stands still.
    """


def draw(
    seed: int,
    seconds: float,
    processes: Sequence[str],
    only: Sequence[str] = (),
    beyond: Container[str] = (),
    kinds: Mapping[str, int] = ALONE,
) -> list[Fault]:
    """Faults in the order of their beginning. Some overlap, never two on one target.

    Args:
        processes: names that may be killed, stopped and slowed.
        only: `kind` or `kind:target`; empty: everything.
        beyond: kinds that can't be carried out.
        kinds: to draw from, with their weights.
    """
    rng = random.Random(f"{seed} schedule")
    choices = [(kind, target) for kind in kinds if kind not in beyond for target in _targets(kind, processes)]
    if only:
        choices = [(kind, target) for kind, target in choices if kind in only or f"{kind}:{target}" in only]
    if not choices:
        raise ValueError(f"no such fault: {', '.join(only)}")
    weights = [kinds[kind] / len(_targets(kind, processes)) for kind, _ in choices]
    faults: list[Fault] = []
    at_s, busy = 1.0, dict[str, float]()
    while at_s < seconds - QUIET_S:
        kind, target = rng.choices(choices, weights)[0]
        for_s = _length(kind, rng)
        if all(until <= at_s for other, until in busy.items() if _touch(target, other)):
            faults.append(Fault(round(at_s, 2), kind, target, round(for_s, 2), _amount(kind, rng)))
            busy[target] = max(busy.get(target, 0.0), at_s + for_s + AFTER_S.get(kind, 2.0))
        at_s += rng.uniform(*GAP_S)
    return faults


def _touch(one: str, other: str) -> bool:
    """Whether they are the same, or one is among the other."""
    return one == other or any(
        all(each.startswith(whole) for each in (one, other)) and whole in (one, other) for whole in WHOLE
    )


def _targets(kind: str, processes: Sequence[str]) -> list[str]:
    if kind == "slow":
        return ["nats", "postgres", "policy", "moderation", "ledger"]
    if kind in LINK_KINDS:
        return ["nats", "postgres"]
    if kind in ONE_TARGET:
        return [ONE_TARGET[kind]]
    if kind == "kill_with_broker":
        return [name for name in processes if name.startswith(("edge", "ledger", "nats"))]
    return list(processes)


def _length(kind: str, rng: random.Random) -> float:
    if kind in ("kill", "restart", "cut"):
        return 1.0
    if kind == "kill_with_broker":
        return rng.uniform(0.1, 2.5)
    if kind in ("fill_journal", "fill_stream", "store_full"):
        return rng.uniform(10.0, 18.0)
    if kind in ("two_away", "disk_lost", "failover", "failover_cut"):
        return rng.uniform(3.0, 9.0)
    return rng.choice((rng.uniform(0.2, 1.5), rng.uniform(2.0, 9.0)))


def _amount(kind: str, rng: random.Random) -> float:
    low, high = {"slow": (0.02, 0.4), "slow_host": (0.005, 0.1), "lossy_host": (0.01, 0.2)}.get(kind, (0.5, 0.95))
    return round(rng.uniform(low, high), 3)
