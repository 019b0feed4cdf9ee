"""Blocks of ports: each holder has its own, also across test processes."""

import fcntl
import os
import random
import tempfile
from collections.abc import Iterator
from pathlib import Path

from services.suite.ports import why_not
from services.suite.settings import LOOPBACK

BLOCK = 200
"""Ports in a block: nine replicas of everything fit."""
FIRST, LAST = 10_000, 32_000
"""Below the range the kernel hands out to clients, so that no connection takes a port of ours."""


class PortBlock:
    """`base`: the first of BLOCK consecutive ports that nobody else's test uses while this object
    is open.
    """

    def __init__(self) -> None:
        bases = list(range(FIRST, LAST, BLOCK))
        random.shuffle(bases)
        for base in bases:
            path = Path(tempfile.gettempdir()) / f"tollgate-ports-{os.getuid()}-{base}.lock"
            self._fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                os.close(self._fd)
                continue
            if all(
                why_not(LOOPBACK, base + offset) is None
                for offset in (*range(0, 100, 10), *range(1, 101, 10), 100, 101, 103, 104, 190, 191)
            ):
                self.base = base
                return
            os.close(self._fd)
        raise RuntimeError("no free block of ports on this machine")

    def close(self) -> None:
        os.close(self._fd)


_own: Iterator[int] = iter(())
"""What is left of this process's newest block. None is closed: they are held until it ends."""


def free_port() -> int:
    """A port of this process's own blocks, handed out once: nobody takes it before, or between, its
    server's lives.
    """
    global _own
    while True:
        for port in _own:
            if why_not(LOOPBACK, port) is None:
                return port
        base = PortBlock().base
        _own = iter(range(base, base + BLOCK))
