"""What is measured once and not in cycles: how soon an edge is ready, memory, growth over many requests, the ledger by itself."""

import importlib
import statistics

from tests.bench import load, machine, method, wire
from tests.bench.contestant import Contestant, Wrong
from tests.bench.targets import Facts
from tests.bench.tollgate import Suite

RESTARTS = 3
GROWTH_AFTER, GROWTH_OVER = 100_000, 500_000
"""Requests before the first look (caches and pools fill), and between the first look and the last."""
GROWTH_SLICE_S = 5


def start_and_memory(suite: Suite, facts: Facts) -> None:
    """Before any load."""
    facts.suite_own_idle_mib = round(machine.pss_mib(suite.own_pids()), 1)
    facts.suite_all_idle_mib = round(machine.pss_mib(machine.tree(suite.process.pid)), 1)
    facts.edge_idle_mib = round(machine.pss_mib(suite.edges()), 1)
    facts.edge_ready_s = round(statistics.median(suite.restart_seconds() for _ in range(RESTARTS)), 2)


def growth(suite: Suite, contestant: Contestant) -> tuple[int, float]:
    """(requests, MiB) the edge's memory grew over that many requests, after its caches were full."""
    body = wire.request_body()
    answered, first = 0, None
    while first is None or answered < first[0] + GROWTH_OVER:
        seen = load.closed(contestant.port, contestant.headers, body, GROWTH_SLICE_S)
        if seen.bad or not seen.ok:
            raise Wrong(f"{contestant.name}: {seen.bad} calls failed: {seen.trouble}")
        answered += seen.ok
        method.quiet(contestant)
        if first is None and answered >= GROWTH_AFTER:
            first = answered, machine.pss_mib(suite.edges())
    return answered - first[0], round(machine.pss_mib(suite.edges()) - first[1], 2)


def ledger(facts: Facts, notes: list[str]) -> None:
    """The ledger's own benchmark, where it exists."""
    try:
        module = importlib.import_module("tests.bench.ledger_ingest")
        found = module.measure()
    except (ImportError, AttributeError) as error:
        notes.append(f"the ledger by itself was not measured: {error}")
        return
    facts.ledger_requests_per_s = found.requests_per_s
    facts.ledger_cpu_us_per_fact = found.cpu_us_per_fact
