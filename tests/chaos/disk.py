"""A small disk for the broker alone, which can really be full: a tmpfs in a mount namespace that
only its processes see.
"""

import functools
import os
import subprocess
from pathlib import Path

SIZE_BYTES = 32 * 1024 * 1024
"""Streams of a chaos run are small; the server's logs lie here too."""
BLOCK_BYTES = 64 * 1024
_WAYS = (["unshare", "--mount", "--"], ["unshare", "--user", "--map-root-user", "--mount", "--"])
"""As root; as a user, where the system lets users have namespaces."""


@functools.cache
def namespace() -> list[str] | None:
    """What to put before a command so that it may `mount`; None: not on this system."""
    for way in _WAYS:
        try:
            tried = subprocess.run([*way, *_mount(Path("/tmp"))], capture_output=True, timeout=10, check=False)
        except (OSError, subprocess.TimeoutExpired):
            continue
        if tried.returncode == 0:
            return way
    return None


def mount(place: Path) -> None:
    """By the process that has the namespace. Raises CalledProcessError."""
    place.mkdir(mode=0o700, exist_ok=True)
    subprocess.run(_mount(place), check=True, timeout=10)


def _mount(place: Path) -> list[str]:
    return ["mount", "-t", "tmpfs", "-o", f"size={SIZE_BYTES},mode=0700", "tmpfs", str(place)]


class Disk:
    """Seen from outside, through a process that has it."""

    def __init__(self, pid: int, place: Path) -> None:
        self._ballast = Path(f"/proc/{pid}/root{place.absolute()}/ballast")

    def fill(self) -> None:
        """Take every byte that is free now."""
        file = os.open(self._ballast, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        size = BLOCK_BYTES
        try:
            while size:
                try:
                    os.write(file, bytes(size))
                except OSError:  # no room for so much
                    size //= 2
        finally:
            os.close(file)

    def free(self) -> None:
        self._ballast.unlink(missing_ok=True)
