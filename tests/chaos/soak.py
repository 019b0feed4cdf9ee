"""`make soak`: SOAK_MINUTES (30) of mixed load, and whether anything grows.

Of every process and its descendants (if they live longer than GROWN_S: PostgreSQL's autovacuum
workers come and go, each with the 30 MB that a sample of a table takes): memory (anonymous pages),
file descriptors, threads; of the whole: facts on their way to the book, open requests, and how late
the load's own loop is. The first quarter is warm-up and doesn't count. Printed for each: first and
last value, slope an hour and its 95 % interval (trend.py says how). Flat is the bar: zero within
the interval, or growth below BOUNDS. At the end the records are compared as in `make chaos`. Exit
status 1 when something isn't flat or a count isn't zero.
"""

import asyncio
import json
import shutil
import sys
import tempfile
import time
from collections import defaultdict
from contextlib import suppress
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from tests.bench.machine import age_s, memory_kib, tree
from tests.chaos import asked, evidence
from tests.chaos.trend import BLOCKS, fit
from tests.chaos.trial import conduct
from tests.chaos.world import World

EVERY_S = 5.0
WARM_UP = 0.25
LEAST_S = 2 * EVERY_S * BLOCKS / (1 - WARM_UP)
"""Shorter, and there are too few samples for a trend."""
GROWN_S = 60.0
"""A descendant younger than this isn't counted."""
BOUNDS = {
    "memory MB": 4.0,
    "files": 2.0,
    "threads": 1.0,
    "facts behind": 20.0,
    "open requests": 20.0,
    "loop late ms": 5.0,
}
"""An hour. One object of 64 bytes leaked a request, at 60 requests a second, would be 13 MB."""
SETTINGS = {"TOLLGATE_TRAFFIC_STREAM_BYTES_MAX": str(16 * 1024 * 1024)}
"""So that the stream is trimmed many times in a run, as it is in a long life."""

Series = dict[tuple[str, str], list[float]]
"""By (process, measure)."""


def of_processes(world: World, series: Series) -> None:
    for name, pid in world.pids.items():
        memory = files = threads = 0
        for each in tree(pid):
            with suppress(OSError):
                if each != pid and age_s(each) < GROWN_S:
                    continue
                memory += memory_kib(each, "Anonymous")
                files += len(list(Path(f"/proc/{each}/fd").iterdir()))
                threads += len(list(Path(f"/proc/{each}/task").iterdir()))
        series[name, "memory MB"].append(memory / 1024)
        series[name, "files"].append(files)
        series[name, "threads"].append(threads)


async def sample(world: World, seconds: float, at: list[float], series: Series) -> None:
    """Every EVERY_S until the time is over."""
    loop = asyncio.get_running_loop()
    started = loop.time()
    while (now := loop.time() - started) < seconds:
        of_processes(world, series)
        left = await evidence.backlog(world)
        due = loop.time() + 0.01
        await asyncio.sleep(0.01)
        at.append(now)
        series["all", "facts behind"].append(max(0, left.stream_messages))
        series["all", "open requests"].append(left.open_requests)
        series["load", "loop late ms"].append((loop.time() - due) * 1000)
        await asyncio.sleep(max(0.0, EVERY_S - (loop.time() - started - now)))


def judge(at: list[float], series: Series) -> bool:
    """Print a line for each series. Whether all are flat."""
    skip = int(len(at) * WARM_UP)
    print(f"{'process':12} {'measure':14}{'first':>10}{'last':>10}{'slope/h':>11}   95 % interval        bound")
    flat = True
    for (process, measure), values in series.items():
        trend = fit(at[skip:], values[skip:])
        fine = trend.flat(BOUNDS[measure])
        flat &= fine
        print(
            f"{process:12} {measure:14}{values[skip]:10.1f}{values[-1]:10.1f}{trend.slope:+11.2f}"
            f"   [{trend.low:+8.2f}, {trend.high:+8.2f}]{BOUNDS[measure]:9.1f}  {'flat' if fine else 'GROWS'}"
        )
    return flat


async def main(directory: Path, seconds: float, seed: int) -> bool:
    print(f"{seconds / 60:.0f} minutes of mixed load, seed {seed}", flush=True)
    at: list[float] = []
    series: Series = defaultdict(list)
    async with World(directory, env=SETTINGS) as world:
        trial = await conduct(world, "soak", seed, lambda: sample(world, seconds, at, series))
    print(trial)
    lasted = time.time() - trial.records.calls[0].started_at
    print(f"{len(trial.records.calls)} requests, {len(at)} samples, {lasted / 60:.1f} minutes\n")
    samples = {f"{process} {measure}": values for (process, measure), values in series.items()}
    (directory / "samples.json").write_text(json.dumps({"seconds": at, **samples}))
    return judge(at, series) and trial.verdict.clean


if __name__ == "__main__":
    seconds, seed = asked.seconds("SOAK_MINUTES", 30, LEAST_S), asked.seed()
    place = Path(tempfile.mkdtemp(prefix="tollgate-soak-"))
    clean = asyncio.run(main(place, seconds, seed))
    if clean:
        shutil.rmtree(place, ignore_errors=True)
    print("flat" if clean else f"NOT FLAT; kept: {place}")
    sys.exit(0 if clean else 1)
