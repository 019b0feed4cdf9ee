"""Blocks of ports: each holder has its own, also across test processes."""

import fcntl
import os
import random
import socket
import tempfile
from collections.abc import Iterator
from pathlib import Path

BLOCK = 200
"""Ports in a block: nine replicas of everything fit."""
FIRST, LAST = 10_000, 32_000
"""Below the range the kernel hands out to clients, so that no connection takes a port of ours."""


class PortBlock:
    """`base`: the first of BLOCK consecutive ports that nobody else's test uses while this object is open."""

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
                _is_free(base + offset)
                for offset in (*range(0, 100, 10), *range(1, 101, 10), 100, 101, 103, 104, 190, 191)
            ):
                self.base = base
                return
            os.close(self._fd)
        raise RuntimeError("no free block of ports on this machine")

    def close(self) -> None:
        os.close(self._fd)


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True


_held: list[PortBlock] = []
_own: Iterator[int] = iter(())
"""The ports of the blocks held until this process ends that were not handed out yet."""


def free_port() -> int:
    """A port of this process's own blocks, handed out once: nobody takes it before, or between, its server's lives."""
    global _own
    while True:
        for port in _own:
            if _is_free(port):
                return port
        block = PortBlock()
        _held.append(block)
        _own = iter(range(block.base, block.base + BLOCK))
