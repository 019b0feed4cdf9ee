"""The bar: what is promised, and whether this run kept it. Pure."""

from collections.abc import Callable, Mapping

import msgspec

from tests.bench.method import Metric, Sample, Samples, Summary, differences, ratios, summarise

Results = Mapping[str, Samples]
"""Section → its samples."""


class Facts(msgspec.Struct):
    """What is measured once, and not in cycles."""

    edge_ready_s: float | None = None
    edge_idle_mib: float | None = None
    edge_loaded_mib: float | None = None
    suite_own_idle_mib: float | None = None
    """All of Tollgate's own processes, without broker and database."""
    suite_all_idle_mib: float | None = None
    litellm_loaded_mib: float | None = None
    growth_mib: float | None = None
    """Of the edge, over `growth_requests`, after its caches were full."""
    growth_requests: int = 0
    ledger_requests_per_s: float | None = None
    ledger_cpu_us_per_fact: float | None = None


class Target(msgspec.Struct, frozen=True):
    """One row. `gate` and `stretch` are limits in `unit`; None: told, not judged."""

    what: str
    value: Callable[[Results, Facts], Summary | None]
    gate: float | None = None
    stretch: float | None = None
    at_least: bool = True
    unit: str = "x"
    """x: a ratio; 1/x: a ratio shown as a fraction; otherwise the unit itself."""


class Verdict(msgspec.Struct, frozen=True):
    what: str
    gate: str
    stretch: str
    measured: str
    verdict: str
    """stretch, gate, MISSED, told, not measured."""
    median: float | None = None


def throughput(sample: Sample) -> float:
    return sample.throughput


def cpu(sample: Sample) -> float:
    return sample.cpu_ms


def front_cpu(sample: Sample) -> float:
    return sample.front_cpu_ms


def p50(sample: Sample) -> float:
    return sample.p50_ms


def first(sample: Sample) -> float:
    return sample.first_p50_ms


def over(
    section: str, name: str, reference: str, metric: Metric = throughput
) -> Callable[[Results, Facts], Summary | None]:
    return lambda results, _: summarise(ratios(results.get(section, {}), name, reference, metric))


def added(section: str, name: str, reference: str, metric: Metric) -> Callable[[Results, Facts], Summary | None]:
    return lambda results, _: summarise(differences(results.get(section, {}), name, reference, metric))


def fact(value: Callable[[Facts], float | None]) -> Callable[[Results, Facts], Summary | None]:
    def one(_: Results, facts: Facts) -> Summary | None:
        found = value(facts)
        return None if found is None else Summary(found, found, found, 1)

    return one


def _memory_over_litellm(facts: Facts) -> float | None:
    if facts.edge_loaded_mib is None or facts.litellm_loaded_mib is None:
        return None
    return facts.edge_loaded_mib / facts.litellm_loaded_mib


T = "tollgate"
TARGETS = [
    Target("throughput per core / bare aiohttp pass-through", over("throughput", T, "bare"), 0.85, 1.6),
    Target("throughput / LiteLLM (1 worker, no database, no keys)", over("throughput", T, "litellm"), 45, 100),
    Target("throughput / Portkey", over("throughput", T, "portkey"), 6, 14),
    Target("throughput / Envoy, one worker", over("throughput", T, "envoy"), 0.3, 0.6),
    Target(
        "whole-suite CPU a request / LiteLLM's", over("throughput", T, "litellm", cpu), 1 / 30, 1 / 60, False, "1/x"
    ),
    Target(
        "added p50 at 50 requests/s over the bare pass-through", added("latency", T, "bare", p50), 1.0, 0.3, False, "ms"
    ),
    Target(
        "the same with a keyword guardrail (over NATS) / bare",
        over("throughput", "tollgate-guardrail", "bare"),
        0.65,
        1.3,
    ),
    Target("the same, and no cached grant / bare", over("throughput", "tollgate-uncached", "bare"), 0.5, 1.0),
    Target("an answer from the cache (on the bus) / bare's call", over("cache-hit", "tollgate-cache", "bare"), 2.0),
    Target(
        "the same, p50 at 50 requests/s / bare's",
        over("cache-hit-latency", "tollgate-cache", "bare", p50),
        1.0,
        None,
        False,
    ),
    Target("sync_interval: always, hot path / bare", over("throughput", "tollgate-always", "bare"), 0.5, 1.2),
    Target("50-chunk stream, CPU of the edge / bare", over("streams", T, "bare", front_cpu), 1.25, 1.05, False),
    Target("50-chunk stream, CPU of the whole suite / bare", over("streams", T, "bare", cpu)),
    Target("50-chunk stream, first chunk later than bare", added("streams", T, "bare", first), 1.0, 0.3, False, "ms"),
    Target(
        "two edge processes / one, each with a quarter of a core",
        over("edges-limited", "edges-2-limited", "edges-1-limited"),
        1.5,
        1.7,
    ),
    # What an edge needs beside it (broker, ledger, and here the load) already fills most of a
    # second core: told for who has two cores.
    Target("two edge processes / one, on two cores that all the rest fills too", over("edges", "edges-2", "edges-1")),
    Target(
        "ledger: requests from stream to committed rows",
        fact(lambda f: f.ledger_requests_per_s),
        12_000,
        25_000,
        True,
        "/s",
    ),
    Target("ledger: CPU a fact", fact(lambda f: f.ledger_cpu_us_per_fact), 40, 20, False, "µs"),
    Target("edge: ready (with a key decided and a call answered)", fact(lambda f: f.edge_ready_s), 2, 1, False, "s"),
    Target("edge: memory after load / LiteLLM's", fact(_memory_over_litellm), 1 / 4, 1 / 7, False, "1/x"),
    Target("edge: memory", fact(lambda f: f.edge_loaded_mib), 80 / 1.048576, None, False, "MiB"),
    Target(
        "all of Tollgate's own processes, idle",
        fact(lambda f: f.suite_own_idle_mib),
        350 / 1.048576,
        None,
        False,
        "MiB",
    ),
    Target("edge: growth over 500,000 requests", fact(lambda f: f.growth_mib), 2, 1, False, "MiB"),
]


def judge(results: Results, facts: Facts) -> list[Verdict]:
    """Every row; those this run did not measure say so."""
    return [_judge(target, target.value(results, facts)) for target in TARGETS]


def _judge(target: Target, found: Summary | None) -> Verdict:
    sign = "≥" if target.at_least else "≤"

    def limit(value: float | None) -> str:
        return "" if value is None else f"{sign} {shown(value, target.unit)}"

    gate, stretch = limit(target.gate), limit(target.stretch)
    if found is None:
        return Verdict(target.what, gate, stretch, "", "not measured")
    spread = f" ({shown(found.low, target.unit)} to {shown(found.high, target.unit)})" if found.count > 1 else ""
    measured = shown(found.median, target.unit) + spread

    def kept(limit: float | None) -> bool:
        return limit is not None and (found.median >= limit if target.at_least else found.median <= limit)

    if target.gate is None:
        verdict = "told"
    elif kept(target.stretch):
        verdict = "stretch"
    else:
        verdict = "gate" if kept(target.gate) else "MISSED"
    return Verdict(target.what, gate, stretch, measured, verdict, found.median)


def shown(value: float, unit: str) -> str:
    """A number with its unit, as precise as it deserves."""
    if unit == "1/x":
        return f"1/{1 / value:.3g}" if value > 0 else "0"
    number = f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"
    return f"{number}x" if unit == "x" else f"{number} {unit}" if unit != "/s" else f"{number}/s"
