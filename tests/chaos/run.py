"""`make chaos`: Tollgate under load and under faults, and what the three records say afterwards.

CHAOS_MINUTES (10) and CHAOS_SEED (random, printed) from the environment. Without arguments four
parts run one after the other, each on a fresh system: faults of every kind drawn from the seed
(half of the time), the same with a guardrail on every request, a rolling restart, clock steps (with
Debian's libfaketime, which is installed where root runs this).

    --only KIND or KIND:TARGET the first part alone, and of it these faults: kill, pause:ledger,
           silence:nats ... (repeatable)
    --only roll | clock | guarded   one of the other parts
    --cluster instead, a cluster on a network of its own (cluster.py): three NATS servers,
              PostgreSQL with a synchronous
                                 standby, two of each service. Faults drawn from the seed (four
                                 fifths of the time), then everything is replaced, one after the
                                 other. With `--only`: of its faults these, or `roll`
    --keep                       keep the directory with data, bill and logs

Exit status 1 when any count isn't zero. `python -m tests.chaos.kill_each` kills each process by
itself, in rounds.
"""

import argparse
import asyncio
import random
import shutil
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from tests.chaos import asked, cluster_nemesis, nemesis, network
from tests.chaos.cluster import Cluster
from tests.chaos.load import CALM
from tests.chaos.schedule import CLUSTER, draw
from tests.chaos.trial import PER_SECOND, Trial, conduct
from tests.chaos.world import PATIENT_TIMEOUT_S, World

SMALL = {"TOLLGATE_EDGE_JOURNAL_BYTES_MAX": str(256 * 1024), "TOLLGATE_TRAFFIC_STREAM_BYTES_MAX": str(4 * 1024 * 1024)}
"""So that journals and the stream are full within seconds."""
TWO_EACH = "edge=2,policy=2,moderation=2,ledger=2"


def say(text: str) -> None:
    print(text, flush=True)


async def mixed(directory: Path, seed: int, seconds: float, only: list[str], *, guarded: bool = False) -> bool:
    """Faults of every kind. Guarded: nothing is served without moderation."""
    async with World(directory, replicas=TWO_EACH, env=SMALL, linked=True, small_disk=True, guarded=guarded) as world:
        if world.disk is None:
            say("store_full: skipped, this system allows no mount namespace (as root, or users' own)")
            if only == ["store_full"]:
                return True
        faults = draw(seed, seconds, list(world.pids), only, world.beyond)
        kinds = len({fault.kind for fault in faults})
        say(
            f"{'guarded' if guarded else 'mixed'}: {len(faults)} faults of {kinds} kinds in {seconds:.0f} s, seed {seed}"
        )

        async def trouble() -> None:
            ends_at = time.monotonic() + seconds
            await nemesis.carry_out(world, faults, say)
            await asyncio.sleep(max(0.0, ends_at - time.monotonic()))

        trial = await conduct(world, "mixed", seed, trouble)
    say(str(trial))
    return trial.verdict.clean


async def rolling(directory: Path, seed: int, seconds: float) -> bool:
    """Every replica replaced, over and over; a client that is patient about connections sees no
    failure at all.
    """
    env = {"TOLLGATE_EDGE_DRAIN_MS": "30000", "TOLLGATE_EDGE_DRAIN_IDLE_MS": "20000"}
    async with World(directory, replicas=TWO_EACH, env=env, guarded=True, timeout_s=PATIENT_TIMEOUT_S) as world:
        say(f"rolling restart of all services for {seconds:.0f} s, seed {seed}")

        async def trouble() -> None:
            ends_at = time.monotonic() + seconds
            while time.monotonic() < ends_at:
                await nemesis.roll(world, say)

        trial = await conduct(world, "roll", seed, trouble, mix=CALM, patient=True)
    return _unfailing(trial)


def _unfailing(trial: Trial) -> bool:
    """Clean, and no request of a good key that didn't end well."""
    failed = [call for call in trial.records.calls if call.key_sha256 is not None and call.outcome != "complete"]
    say(f"{trial}\n  {'failed requests':16} {len(failed)}")
    for call in failed[:5]:
        say(f"  {call}")
    return trial.verdict.clean and not failed


async def clock_steps(directory: Path, seed: int, seconds: float) -> bool:
    """The services' clocks jump, the broker's and the database's don't."""
    library = nemesis.faketime(say)
    if library is None:
        say("clock steps: SKIPPED, Debian's package libfaketime isn't here and couldn't be installed")
        return True
    clock = nemesis.Clock(directory, library)
    async with World(directory, env=clock.env, linked=True) as world:
        say(f"clock steps for {seconds:.0f} s, seed {seed}")

        async def trouble() -> None:
            await clock.steps(seconds, random.Random(f"{seed} steps"), say)

        trial = await conduct(world, "clock", seed, trouble, per_second=PER_SECOND / 2)
    say(str(trial))
    return trial.verdict.clean


SMALL_CLUSTER = {
    "TOLLGATE_EDGE_JOURNAL_BYTES_MAX": str(128 * 1024),
    "TOLLGATE_TRAFFIC_STREAM_BYTES_MAX": str(32 * 1024 * 1024),
}


async def cluster(directory: Path, seed: int, seconds: float, only: list[str]) -> bool:
    """Faults of every kind that a cluster knows."""
    async with Cluster(directory, seed, env=SMALL_CLUSTER) as world:
        faults = draw(seed, seconds, list(world.pids), only, kinds=CLUSTER)
        kinds = len({fault.kind for fault in faults})
        say(f"cluster: {len(faults)} faults of {kinds} kinds in {seconds:.0f} s, seed {seed}")

        async def trouble() -> None:
            ends_at = time.monotonic() + seconds
            await nemesis.carry_out(world, faults, say, cluster_nemesis.NEMESES)
            await asyncio.sleep(max(0.0, ends_at - time.monotonic()))
            world.heal()
            await cluster_nemesis.whole(world)

        trial = await conduct(world, "cluster", seed, trouble)
    say(str(trial))
    return trial.verdict.clean


async def cluster_rolling(directory: Path, seed: int) -> bool:
    """Everything is replaced once, brokers and database too; a client that is patient about
    connections sees no failure at all.
    """
    async with Cluster(directory, seed, guarded=True, timeout_s=PATIENT_TIMEOUT_S) as world:
        say(f"rolling restart of everything, seed {seed}")
        trial = await conduct(world, "roll", seed, lambda: cluster_nemesis.roll(world, say), mix=CALM, patient=True)
    return _unfailing(trial)


async def _cluster_main(only: list[str], directory: Path, seconds: float, seed: int) -> bool:
    say(f"seed {seed}")
    if only == ["roll"]:
        return await cluster_rolling(directory, seed)
    if only:
        return await cluster(directory, seed, seconds, only)
    return all([
        await cluster(directory / "cluster", seed, seconds * 0.8, []),
        await cluster_rolling(directory / "rolling", seed),
    ])  # fmt: skip


async def _main(only: list[str], directory: Path, seconds: float, seed: int) -> bool:
    say(f"seed {seed}")
    if only == ["roll"]:
        return await rolling(directory, seed, seconds)
    if only == ["clock"]:
        return await clock_steps(directory, seed, seconds)
    if only == ["guarded"]:
        return await mixed(directory, seed, seconds, [], guarded=True)
    if only:
        return await mixed(directory, seed, seconds, only)
    return all([
        await mixed(directory / "mixed", seed, seconds * 0.5, []),
        await mixed(directory / "guarded", seed + 1, seconds * 0.2, [], guarded=True),
        await rolling(directory / "rolling", seed, seconds * 0.15),
        await clock_steps(directory / "clock", seed, seconds * 0.15),
    ])  # fmt: skip


def main() -> int:
    parser = argparse.ArgumentParser(prog="make chaos")
    parser.add_argument("--only", action="append", default=[], metavar="KIND[:TARGET]")
    parser.add_argument("--keep", action="store_true", help="keep the directory with data, bill and logs")
    parser.add_argument("--cluster", action="store_true")
    arguments = parser.parse_args()
    if arguments.cluster and not network.inside():
        return network.enter()
    seconds, seed = asked.seconds("CHAOS_MINUTES", 10), asked.seed()
    directory = Path(tempfile.mkdtemp(prefix="tollgate-chaos-"))
    clean = False
    try:
        main_of = _cluster_main if arguments.cluster else _main
        clean = asyncio.run(main_of(arguments.only, directory, seconds, seed))
    finally:
        if arguments.keep or not clean:
            say(f"kept: {directory}")
        else:
            shutil.rmtree(directory, ignore_errors=True)
    say("clean" if clean else "FAULTS FOUND")
    return 0 if clean else 1


if __name__ == "__main__":
    sys.exit(main())
