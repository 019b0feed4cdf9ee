"""How it is measured: all contestants alive together, short slices in random order, ratios inside a
cycle.

A shared machine's speed changes by half from one minute to the next, so a number alone says little.
In each cycle every contestant gets one slice; a result is the median over the cycles of (contestant
/ reference) of that same cycle, with its quartiles.

CPU is user+sys of a contestant's whole process tree, from the start of its slice until it is quiet
again (what it still writes afterwards is its work too), divided by the calls that reached the
upstream in that time.
"""

import json
import os
import random
import statistics
import sys
import time
from collections.abc import Callable, Mapping, Sequence

import msgspec

from tests.bench import load, machine
from tests.bench.client import Load
from tests.bench.contestant import Contestant, Wrong, call

FOREIGN_SHARE_MAX = 0.10
"""Other processes' CPU, as a share of one core: with more a slice is repeated, once."""
STEAL_SHARE_MAX = 0.05
QUIET_WINDOW_S = 0.15
QUIET_CPU_S = 0.011
"""At most one tick in a window: quiet."""
QUIET_S_MAX = 20.0


class Sample(msgspec.Struct, frozen=True):
    """One slice of one contestant."""

    load: Load
    served: int
    """Calls that reached the upstream whole; of one who answers by itself, those it was asked."""
    cpu_s: float
    """Of all its processes."""
    front_cpu_s: float
    """Of those between client and upstream."""
    gateway_core_busy: float
    other_cores_busy: float
    """Shares. Where the other cores were full and the gateway did not fill its own, a throughput is
    a lower bound.
    """
    foreign_share: float
    steal_share: float
    drain_s: float
    """Until it was quiet after its slice."""
    repeated: bool = False

    @property
    def throughput(self) -> float:
        return self.load.ok / self.load.seconds

    @property
    def cpu_ms(self) -> float:
        return 1000 * self.cpu_s / max(1, self.served)

    @property
    def front_cpu_ms(self) -> float:
        return 1000 * self.front_cpu_s / max(1, self.served)

    @property
    def p50_ms(self) -> float:
        return self.load.p50_ms

    @property
    def p99_ms(self) -> float:
        return self.load.p99_ms

    @property
    def first_p50_ms(self) -> float:
        return self.load.first_p50_ms

    @property
    def clean(self) -> bool:
        return self.foreign_share <= FOREIGN_SHARE_MAX and self.steal_share <= STEAL_SHARE_MAX

    @property
    def client_limited(self) -> bool:
        return self.other_cores_busy > 0.93 and self.front_cpu_s / self.load.seconds < 0.9


Metric = Callable[[Sample], float]
Samples = dict[str, list[Sample]]
"""Contestant → its samples, one a cycle."""


class Upstream(msgspec.Struct, frozen=True):
    """The upstream's process, and its own count of what it served."""

    port: int
    pid: int

    def served(self) -> int:
        status, body = call("GET", self.port, "/stats", None, {})
        assert status == 200
        return int(json.loads(body)["served"])


def measure(contestant: Contestant, give: Callable[[Contestant], Load], upstream: Upstream) -> Sample:
    """One slice. Raises Wrong when any call of it failed, or was answered without the upstream."""
    served = upstream.served()
    pids, front = contestant.all_pids(), contestant.front()
    cpu, front_cpu = machine.cpu_s(pids), machine.cpu_s(front)
    beside, cores, begun = _beside_cpu_s(upstream), machine.Cores.now(), time.monotonic()
    seen = give(contestant)
    seconds = time.monotonic() - begun
    cores, beside = machine.Cores.now().since(cores), _beside_cpu_s(upstream) - beside
    foreign = cores.work - beside - (machine.cpu_s(pids) - cpu)
    drain_s = quiet(contestant)
    pids, front = contestant.all_pids(), contestant.front()
    served = upstream.served() - served if contestant.forwards else seen.ok + seen.unfinished
    if seen.bad:
        raise Wrong(f"{contestant.name}: {seen.bad} of {seen.bad + seen.ok} calls failed: {seen.trouble}")
    if not seen.ok or served < seen.ok:
        raise Wrong(f"{contestant.name}: {seen.ok} answers, but the upstream served {served}")
    contestant.answered += seen.ok
    contestant.left += seen.unfinished
    return Sample(
        load=seen,
        served=served,
        cpu_s=machine.cpu_s(pids) - cpu,
        front_cpu_s=machine.cpu_s(front) - front_cpu,
        gateway_core_busy=_share(cores, machine.GATEWAY_CPUS, seconds),
        other_cores_busy=_share(cores, machine.OTHER_CPUS, seconds),
        foreign_share=max(0.0, foreign / seconds),
        steal_share=cores.steal / seconds,
        drain_s=drain_s,
    )


def _beside_cpu_s(upstream: Upstream) -> float:
    """Load clients, upstream, and this process."""
    return load.cpu_s() + machine.cpu_s([upstream.pid]) + time.process_time()


def _share(cores: machine.Cores, cpus: set[int], seconds: float) -> float:
    return round(sum(cores.busy.get(cpu, 0.0) for cpu in cpus) / len(cpus) / seconds, 3)


def quiet(contestant: Contestant) -> float:
    """Wait until it does nothing any more: the next slice must not pay for this one. Returns the
    seconds it took.
    """
    begun = time.monotonic()
    before = machine.cpu_s(contestant.all_pids())
    while time.monotonic() - begun < QUIET_S_MAX:
        time.sleep(QUIET_WINDOW_S)
        now = machine.cpu_s(contestant.all_pids())
        if now - before <= QUIET_CPU_S:
            break
        before = now
    return round(time.monotonic() - begun - QUIET_WINDOW_S, 2)


def cycles(
    contestants: Sequence[Contestant],
    give: Callable[[Contestant], Load],
    upstream: Upstream,
    count: int,
    rng: random.Random,
    note: Callable[[str], None] = lambda text: print(text, file=sys.stderr, flush=True),
) -> Samples:
    """`count` cycles of one slice each, in a new random order every time."""
    samples: Samples = {contestant.name: [] for contestant in contestants}
    for cycle in range(count):
        for contestant in rng.sample(list(contestants), len(contestants)):
            sample = measure(contestant, give, upstream)
            if not sample.clean:
                sample = msgspec.structs.replace(measure(contestant, give, upstream), repeated=True)
            samples[contestant.name].append(sample)
        latest = ", ".join(f"{name} {taken[-1].throughput:.0f}/s" for name, taken in samples.items())
        note(f"    cycle {cycle + 1} of {count}: {latest} (for orientation only)")
    return samples


class Summary(msgspec.Struct, frozen=True):
    """A median and its quartiles."""

    median: float
    low: float
    high: float
    count: int


def summarise(values: Sequence[float]) -> Summary | None:
    """None of nothing."""
    if not values:
        return None
    low, _, high = statistics.quantiles(values, n=4, method="inclusive") if len(values) > 1 else (values[0],) * 3
    return Summary(statistics.median(values), low, high, len(values))


def ratios(samples: Mapping[str, Sequence[Sample]], name: str, reference: str, metric: Metric) -> list[float]:
    """metric(name) / metric(reference), cycle by cycle."""
    pairs = zip(samples.get(name, ()), samples.get(reference, ()), strict=False)
    return [metric(one) / metric(other) for one, other in pairs if metric(other) > 0]


def differences(samples: Mapping[str, Sequence[Sample]], name: str, reference: str, metric: Metric) -> list[float]:
    """metric(name) - metric(reference), cycle by cycle."""
    return [
        metric(one) - metric(other)
        for one, other in zip(samples.get(name, ()), samples.get(reference, ()), strict=False)
    ]


def keep_aside() -> None:
    """This process belongs to the load's side."""
    os.sched_setaffinity(0, machine.OTHER_CPUS)
