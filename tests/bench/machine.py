"""What this machine says about itself and its processes: CPU time, memory, who runs where. Linux's
/proc, read as text.
"""

import contextlib
import os
import platform
import re
import subprocess
import sys
import sysconfig
import time
from collections.abc import Iterable
from pathlib import Path

import msgspec

TICKS_PER_S = os.sysconf("SC_CLK_TCK")
PROC = Path("/proc")
ALL_CPUS = os.sched_getaffinity(0)
GATEWAY_CPUS = {min(ALL_CPUS)}
"""The one core a gateway gets."""
OTHER_CPUS = ALL_CPUS - GATEWAY_CPUS or ALL_CPUS
"""Everything else: load, upstream, and what a gateway needs beside its own process. The same core
where there is only one.
"""


def tree(root: int | None) -> list[int]:
    """The process and all its living descendants; nothing for none."""
    if not root:
        return []
    children: dict[int, list[int]] = {}
    for entry in PROC.iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):
                children.setdefault(_stat(int(entry.name))[1], []).append(int(entry.name))
    found = [root]
    for pid in found:
        found += children.get(pid, [])
    return found


def _stat(pid: int) -> list[int]:
    """[state (0), ppid, ...] of /proc/PID/stat from the third field on; the name in brackets may
    hold anything.
    """
    text = (PROC / str(pid) / "stat").read_text()
    return [0, *map(int, text[text.rindex(")") + 4 :].split())]


def cpu_s(pids: Iterable[int]) -> float:
    """CPU seconds these processes have used, user and system, with those of children that have
    ended and were waited for.
    """
    ticks = 0
    for pid in pids:
        with contextlib.suppress(OSError):
            ticks += sum(_stat(pid)[11:15])
    return ticks / TICKS_PER_S


def pss_mib(pids: Iterable[int]) -> float:
    """Memory, with each shared page divided among its users."""
    kib = 0
    for pid in pids:
        with contextlib.suppress(OSError):
            kib += memory_kib(pid, "Pss")
    return kib / 1024


def memory_kib(pid: int, kind: str) -> int:
    """All of a process's memory of one kind: `Pss`, `Anonymous`. Raises OSError when it is gone."""
    lines = (PROC / str(pid) / "smaps_rollup").read_text().splitlines()
    return sum(int(line.split()[1]) for line in lines if line.startswith(f"{kind}:"))


def command(pid: int) -> str:
    try:
        return (PROC / str(pid) / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
    except OSError:
        return ""


def age_s(pid: int) -> float:
    """Seconds since the process was started (10 ms steps)."""
    return time.clock_gettime(time.CLOCK_BOOTTIME) - _stat(pid)[19] / TICKS_PER_S


def pin(pids: Iterable[int], cpus: set[int]) -> None:
    """Every thread of every process; threads started later inherit it."""
    for pid in pids:
        with contextlib.suppress(OSError):
            for task in (PROC / str(pid) / "task").iterdir():
                with contextlib.suppress(OSError):
                    os.sched_setaffinity(int(task.name), cpus)


def set_nice(pid: int, nice: int) -> None:
    """Of every thread, also where the kernel shares its time among sessions (autogroup) first. Only
    root may lower it again.
    """
    with contextlib.suppress(OSError):
        for task in (PROC / str(pid) / "task").iterdir():
            os.setpriority(os.PRIO_PROCESS, int(task.name), nice)
    with contextlib.suppress(OSError):
        (PROC / str(pid) / "autogroup").write_text(str(nice))


class Cores(msgspec.Struct, frozen=True):
    """CPU seconds since the machine started, or since another look at it."""

    busy: dict[int, float]
    """Of each core, with interrupts."""
    work: float
    """Of all cores, what processes used: without interrupts, which belong to no process."""
    steal: float

    @classmethod
    def now(cls) -> "Cores":
        busy: dict[int, float] = {}
        work = steal = 0.0
        for line in (PROC / "stat").read_text().splitlines():
            if re.match(r"cpu\d", line):
                name, *rest = line.split()
                user, nice, system, _idle, _iowait, irq, softirq, stolen = (int(v) / TICKS_PER_S for v in rest[:8])
                busy[int(name[3:])] = user + nice + system + irq + softirq
                work += user + nice + system
                steal += stolen
        return cls(busy, work, steal)

    def since(self, before: "Cores") -> "Cores":
        busy = {cpu: seconds - before.busy[cpu] for cpu, seconds in self.busy.items()}
        return Cores(busy, self.work - before.work, self.steal - before.steal)


class Machine(msgspec.Struct, frozen=True):
    """What a reader needs to know to compare our numbers with theirs."""

    cpu: str
    cores: int
    memory_gib: float
    kernel: str
    python: str
    pgo: bool
    """Was the interpreter built with profile-guided optimisation? Without, everything in Python
    here is 10 to 15 % slower.
    """
    lto: bool
    build: str
    """`CONFIG_ARGS` of the interpreter."""
    commit: str


def describe() -> Machine:
    model = re.search(r"model name\s*:\s*(.+)", (PROC / "cpuinfo").read_text())
    total = re.search(r"MemTotal:\s*(\d+)", (PROC / "meminfo").read_text())
    args = str(sysconfig.get_config_var("CONFIG_ARGS") or "")
    return Machine(
        cpu=model[1] if model else platform.machine(),
        cores=len(ALL_CPUS),
        memory_gib=round(int(total[1]) / 1024**2, 1) if total else 0.0,
        kernel=platform.release(),
        python=sys.version.split()[0],
        pgo="--enable-optimizations" in args,
        lto="--with-lto" in args,
        build=args,
        commit=_commit(),
    )


def _commit() -> str:
    try:
        git = subprocess.run(["git", "describe", "--always", "--dirty"], capture_output=True, text=True, timeout=10)
    except OSError:
        return "unknown"
    return git.stdout.strip() or "unknown"
