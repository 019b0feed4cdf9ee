"""Which fault when: drawn from a seed, so that a run can be told to do the same again. Pure."""

import random
from collections.abc import Container, Sequence
from typing import NamedTuple

ALONE = {
    "kill": 6, "restart": 3, "pause": 4, "throttle": 2, "slow": 3, "cut": 2, "silence": 2, "kill_with_broker": 2, "fill_journal": 1,
    "disk_full": 1, "fill_stream": 1,
    "store_full": 1,
}  # fmt: skip
"""Kinds and their weights."""
LINK_KINDS = frozenset({"slow", "cut", "silence"})
"""Of the way to broker and database."""
DISK_KINDS = frozenset({"store_full"})
"""Of a disk that is the broker's alone."""
ONE_TARGET = {"fill_journal": "nats", "fill_stream": "ledger", "disk_full": "edge", "store_full": "nats"}
GAP_S = (1.0, 9.0)
QUIET_S = 6.0
"""Before the end nothing new begins."""


class Fault(NamedTuple):
    at_s: float
    """After the beginning of the load."""
    kind: str
    target: str
    """A process; for a link's kind `nats` or `postgres`; for `slow` also a service, each of whose replicas is meant."""
    for_s: float
    amount: float
    """slow: seconds of latency each way; clock: the step in seconds; throttle: share of the time it stands still."""


def draw(
    seed: int, seconds: float, processes: Sequence[str], only: Sequence[str] = (), beyond: Container[str] = ()
) -> list[Fault]:
    """Faults in the order of their beginning. Some overlap, never two on one target.

    Args:
        processes: names that may be killed, stopped and slowed.
        only: `kind` or `kind:target`; empty: everything.
        beyond: kinds that can't be carried out.
    """
    rng = random.Random(f"{seed} schedule")
    choices = [(kind, target) for kind in ALONE if kind not in beyond for target in _targets(kind, processes)]
    if only:
        choices = [(kind, target) for kind, target in choices if kind in only or f"{kind}:{target}" in only]
    if not choices:
        raise ValueError(f"no such fault: {', '.join(only)}")
    weights = [ALONE[kind] / len(_targets(kind, processes)) for kind, _ in choices]
    faults: list[Fault] = []
    at_s, busy = 1.0, dict[str, float]()
    while at_s < seconds - QUIET_S:
        kind, target = rng.choices(choices, weights)[0]
        for_s = _length(kind, rng)
        if busy.get(target, 0.0) <= at_s:
            faults.append(Fault(round(at_s, 2), kind, target, round(for_s, 2), _amount(kind, rng)))
            busy[target] = at_s + for_s + 2.0
        at_s += rng.uniform(*GAP_S)
    return faults


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
    return rng.choice((rng.uniform(0.2, 1.5), rng.uniform(2.0, 9.0)))


def _amount(kind: str, rng: random.Random) -> float:
    return round(rng.uniform(0.02, 0.4) if kind == "slow" else rng.uniform(0.5, 0.95), 3)
