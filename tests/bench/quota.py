"""A process limited to a part of a core, by the kernel's bandwidth control: where there are fewer
cores than processes to compare, each still gets the same. Needs root and a cgroup file system that
may be written (version 1 or 2)."""

import contextlib
import os
from collections.abc import Iterable
from pathlib import Path

from tests.bench.contestant import Skipped

ROOTS = (Path("/sys/fs/cgroup/cpu"), Path("/sys/fs/cgroup"))
PERIOD_US = 10_000
"""Short: what is held back for the rest of a period shows as latency."""


class Quota:
    """A group of its own for every process given to `limit`. `close` lets them go. Raises Skipped
    where it can't be had.
    """

    def __init__(self, name: str, cores: float) -> None:
        self._name, self._quota_us = f"tollgate-bench-{os.getpid()}-{name}", round(cores * PERIOD_US)
        self._groups: dict[int, Path] = {}
        try:
            self._root = next(root for root in ROOTS if _may(root))
        except StopIteration:
            raise Skipped(
                "it needs a writable cgroup with the cpu controller, to limit processes to a part of a core"
            ) from None

    def limit(self, pids: Iterable[int]) -> None:
        for pid in pids:
            if pid in self._groups:
                continue
            group = self._groups[pid] = self._root / f"{self._name}-{pid}"
            group.mkdir()
            if (group / "cpu.max").exists():
                (group / "cpu.max").write_text(f"{self._quota_us} {PERIOD_US}")
            else:
                (group / "cpu.cfs_period_us").write_text(str(PERIOD_US))
                (group / "cpu.cfs_quota_us").write_text(str(self._quota_us))
            (group / "cgroup.procs").write_text(str(pid))

    def close(self) -> None:
        """A group can be removed when its process has ended, or been moved back."""
        for pid, group in self._groups.items():
            with contextlib.suppress(OSError):
                (self._root / "cgroup.procs").write_text(str(pid))
            with contextlib.suppress(OSError):
                group.rmdir()
        self._groups.clear()


def _may(root: Path) -> bool:
    """Try it: what is mounted, delegated and read-only differs from machine to machine."""
    probe = root / f"tollgate-bench-probe-{os.getpid()}"
    try:
        probe.mkdir()
    except OSError:
        return False
    try:
        return (probe / "cpu.max").exists() or (probe / "cpu.cfs_quota_us").exists()
    finally:
        probe.rmdir()
