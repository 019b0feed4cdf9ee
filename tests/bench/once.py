"""What is measured once and not in cycles: how soon an edge is ready, memory, growth over many
requests, the ledger by itself.
"""

import asyncio
import os
import statistics
import tempfile
from pathlib import Path

from tests.bench import load, machine, method, wire
from tests.bench.contestant import Contestant, Wrong
from tests.bench.targets import Facts
from tests.bench.tollgate import Suite

RESTARTS = 3
GROWTH_AFTER, GROWTH_OVER = 100_000, 500_000
"""Requests before the first look (caches and pools fill), and between the first look and the
last.
"""
GROWTH_SLICE_S = 5
LEDGER_ROUNDS = 3
LEDGER_REQUESTS = 100_000


def start_and_memory(suite: Suite, facts: Facts) -> None:
    """Before any load."""
    facts.suite_own_idle_mib = round(machine.pss_mib(suite.own_pids()), 1)
    facts.suite_all_idle_mib = round(machine.pss_mib(machine.tree(suite.process.pid)), 1)
    facts.edge_idle_mib = round(machine.pss_mib(suite.edges()), 1)
    facts.edge_ready_s = round(statistics.median(suite.restart_seconds() for _ in range(RESTARTS)), 2)


def growth(suite: Suite, contestant: Contestant) -> tuple[int, float]:
    """(requests, MiB) the edge's memory grew over that many requests, after its caches were
    full.
    """
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
    """The ledger by itself, on all cores: its own benchmark, which can also be run alone (`python
    -m tests.bench.ledger_ingest`).
    """
    try:
        from tests.bench import ledger_ingest
        from tests.ledger.servers import Postgres
    except ImportError as error:
        notes.append(f"the ledger by itself was not measured: {error}")
        return

    async def rounds(folder: Path) -> dict[str, list[dict[str, float]]]:
        (folder / "postgres").mkdir()
        postgres = Postgres(folder / "postgres")
        postgres.start()
        try:
            await postgres.ready()
            found: dict[str, list[dict[str, float]]] = {mode: [] for mode in ledger_ingest.MODES}
            for number in range(LEDGER_ROUNDS):
                for mode, taken in found.items():
                    directory = folder / f"{mode}-{number}"
                    taken.append(await ledger_ingest.round_of(postgres, directory, LEDGER_REQUESTS, mode))
            return found
        finally:
            postgres.stop()

    os.sched_setaffinity(0, machine.ALL_CPUS)
    try:
        with tempfile.TemporaryDirectory(prefix="tollgate-bench-") as folder:
            found = asyncio.run(rounds(Path(folder)))
    finally:
        method.keep_aside()
    medians = {
        mode: [statistics.median(one[key] for one in taken) for key in ("requests/s", "sum")]
        for mode, taken in found.items()
    }
    facts.ledger_requests_per_s, facts.ledger_cpu_us_per_fact = medians["together"]
    for mode in ("apart", "varied"):
        per_s, cpu_us = (one / of for one, of in zip(medians[mode], medians["together"], strict=True))
        notes.append(
            f"ledger, facts {mode}: {per_s:.2f} of the throughput and {cpu_us:.2f} of the CPU of the row in the table"
        )
