"""Carrying out faults, and undoing them."""

import asyncio
import os
import random
import resource
import shutil
import signal
import subprocess
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from tests.chaos.schedule import Fault
from tests.chaos.world import World, signal_tree

THROTTLE_PERIOD_S = 0.1
CLOCK_STEPS_S = (40, -40, 3, -3, 0, 600, 0, -600, 0)


async def kill(world: World, fault: Fault) -> None:
    if world.pids.get(fault.target):
        with suppress(ProcessLookupError):
            world.kill(fault.target)


async def kill_with_broker(world: World, fault: Fault) -> None:
    """The broker stops answering; after a while, with facts waiting for it, the target dies, and
    then the broker too.
    """
    began = time.time()
    signal_tree(world.pids.get("nats", 0), signal.SIGSTOP)
    try:
        await asyncio.sleep(fault.for_s)
        await kill(world, fault)
        await kill(world, fault._replace(target="nats"))
    finally:
        signal_tree(world.pids.get("nats", 0), signal.SIGCONT)
    if fault.target.startswith("edge"):
        world.double_failures.append((began - 0.1, time.time() + 0.1))


async def pause(world: World, fault: Fault) -> None:
    await _stopped(world, fault.target, fault.for_s)


async def _stopped(world: World, name: str, seconds: float) -> None:
    pid = world.pids.get(name, 0)
    signal_tree(pid, signal.SIGSTOP)
    try:
        await asyncio.sleep(seconds)
    finally:
        signal_tree(pid, signal.SIGCONT)


async def throttle(world: World, fault: Fault) -> None:
    """Slow, not dead: it stands still most of the time."""
    end = time.monotonic() + fault.for_s
    while time.monotonic() < end:
        await _stopped(world, fault.target, THROTTLE_PERIOD_S * fault.amount)
        await asyncio.sleep(THROTTLE_PERIOD_S * (1 - fault.amount))


async def restart(world: World, fault: Fault) -> None:
    """As an operator stops it: it may finish what it has to."""
    if world.pids.get(fault.target):
        with suppress(ProcessLookupError):
            world.kill(fault.target, signal.SIGINT if fault.target.startswith("postgres") else signal.SIGTERM)


async def slow(world: World, fault: Fault) -> None:
    """The way to it takes longer: to broker and database for everybody, to a service only its own
    way to the broker.
    """
    if fault.target not in world.links:
        latency_of = world.links["nats"].latency_of
        latency_of[fault.target] = fault.amount
        try:
            await asyncio.sleep(fault.for_s)
        finally:
            latency_of.pop(fault.target, None)
        return
    link = world.links[fault.target]
    link.latency_s = fault.amount
    try:
        await asyncio.sleep(fault.for_s)
    finally:
        link.latency_s = 0.0


async def cut(world: World, fault: Fault) -> None:
    world.links[fault.target].cut()


async def silence(world: World, fault: Fault) -> None:
    link = world.links[fault.target]
    link.silence()
    try:
        await asyncio.sleep(fault.for_s)
    finally:
        link.heal()


async def fill_journal(world: World, fault: Fault) -> None:
    """The broker is away until the journals (small in a chaos run) are full."""
    if world.linked:
        await silence(world, fault)
    else:
        await pause(world, fault)


async def fill_stream(world: World, fault: Fault) -> None:
    """No ledger records until TRAFFIC (small in a chaos run) is full and the broker refuses."""
    await asyncio.gather(*(_stopped(world, name, fault.for_s) for name in world.names("ledger")))


async def disk_full(world: World, fault: Fault) -> None:
    """The broker is away, and no file of an edge can grow past what it is now: the journal's write
    fails with an OS error.
    """
    limited: list[int] = []
    journals = [path.stat().st_size for path in world.data_dir.glob("edge-*/journal")]
    for name in world.names("edge"):
        if pid := world.pids.get(name, 0):
            with suppress(ProcessLookupError):
                _limit_files(pid, max([*journals, 0]) + 4096)
                limited.append(pid)
    try:
        await fill_journal(world, fault._replace(target="nats"))
    finally:
        for pid in limited:
            with suppress(ProcessLookupError):
                _limit_files(pid, None)


async def store_full(world: World, fault: Fault) -> None:
    """No byte is free on the broker's disk; what it frees meanwhile is taken too."""
    assert world.disk is not None
    end = time.monotonic() + fault.for_s
    try:
        while time.monotonic() < end:
            world.disk.fill()
            await asyncio.sleep(0.2)
    finally:
        world.disk.free()


def _limit_files(pid: int, bytes_max: int | None) -> None:
    _, hard = resource.prlimit(pid, resource.RLIMIT_FSIZE)
    resource.prlimit(pid, resource.RLIMIT_FSIZE, (hard if bytes_max is None else bytes_max, hard))


NEMESES: dict[str, Callable[[World, Fault], Awaitable[None]]] = {
    each.__name__: each
    for each in (
        kill,
        restart,
        kill_with_broker,
        pause,
        throttle,
        slow,
        cut,
        silence,
        fill_journal,
        fill_stream,
        disk_full,
        store_full,
    )
}


async def carry_out(
    world: Any,
    faults: Iterable[Fault],
    say: Callable[[str], None],
    nemeses: Mapping[str, Callable[[Any, Fault], Awaitable[None]]] = NEMESES,
) -> None:
    """Each at its time, in a task of its own; returns when all are over and undone."""
    started = time.monotonic()
    async with asyncio.TaskGroup() as group:
        for fault in faults:
            await asyncio.sleep(max(0.0, fault.at_s - (time.monotonic() - started)))
            say(f"{fault.at_s:7.1f} s  {fault.kind} {fault.target}  {fault.for_s} s  {fault.amount}")
            group.create_task(_harmless(nemeses[fault.kind](world, fault)))


async def _harmless(work: Awaitable[None]) -> None:
    """A target that has just gone is no failure of the run."""
    with suppress(ProcessLookupError):
        await work


async def all_ready(world: World) -> None:
    """Everything goes on, and every process runs and is ready again."""
    world.heal()
    for name in world.pids:
        await world.restarted(name, -1)


async def roll(world: World, say: Callable[[str], None]) -> None:
    """Replace every replica of every service, one after the other, as an orchestrator does:
    SIGTERM, wait, next.
    """
    for kind in ("policy", "moderation", "ledger", "edge"):
        for name in world.names(kind):
            started = time.monotonic()
            pid = world.kill(name, signal.SIGTERM)
            await world.restarted(name, pid)
            say(f"replaced {name} in {time.monotonic() - started:.1f} s")
            await asyncio.sleep(1.0)


def faketime(say: Callable[[str], None]) -> Path | None:
    """libfaketime, from Debian when we may; None says that no clock can be stepped."""
    if _find_faketime() is None and os.geteuid() == 0 and shutil.which("apt-get"):
        say("clock steps: installing Debian's package libfaketime")
        command = ["apt-get", "install", "-y", "-q", "libfaketime"]
        with suppress(OSError, subprocess.TimeoutExpired):
            subprocess.run(command, timeout=300, check=False, capture_output=True)
    return _find_faketime()


def _find_faketime() -> Path | None:
    return next(Path("/usr/lib").glob("*/faketime/libfaketime.so.1"), None)


class Clock:
    """The wall clock of the services (not of the broker), which can be stepped while they run."""

    def __init__(self, directory: Path, library: Path) -> None:
        self._library = library
        self._file = directory / "clock"
        directory.mkdir(parents=True, exist_ok=True)
        self.step(0)

    @property
    def env(self) -> dict[str, str]:
        return {
            "LD_PRELOAD": str(self._library), "FAKETIME_TIMESTAMP_FILE": str(self._file), "FAKETIME_CACHE_DURATION": "1",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1", "DONT_FAKE_MONOTONIC": "1",
        }  # fmt: skip

    def step(self, seconds: int) -> None:
        temporary = self._file.with_suffix(".new")
        temporary.write_text(f"{seconds:+d}\n")
        os.replace(temporary, self._file)

    async def steps(self, seconds: float, rng: random.Random, say: Callable[[str], None]) -> None:
        """Through CLOCK_STEPS_S, each kept for a part of `seconds`; back to the true time at the
        end.
        """
        for step in CLOCK_STEPS_S:
            say(f"clock {step:+d} s")
            self.step(step)
            await asyncio.sleep(seconds / len(CLOCK_STEPS_S) * rng.uniform(0.8, 1.2))
        self.step(0)
