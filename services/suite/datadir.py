"""The data directory: one suite at a time, and what the next start has to know.

`suite.lock`     held (flock) by the supervisor and by the embedded servers, so that a killed supervisor's servers
                 finish before the next ones open the same files
`embedded.json`  ports and passwords of the embedded servers, 0600
`suite.json`     what runs now, 0600: for operators' tools and tests
"""  # noqa: W505

import fcntl
import os
import secrets
import time
from pathlib import Path
from typing import TypeVar

import msgspec

from services.suite.ports import any_free, why_not
from services.suite.settings import LOOPBACK
from shared import private_file
from shared.decoding import UNREADABLE
from shared.settings import SettingsError

LOCK_WAIT_S = 20.0
"""For the servers of a supervisor that was killed to end."""

T = TypeVar("T", bound=msgspec.Struct)


class Embedded(msgspec.Struct, kw_only=True):
    """What is remembered of the embedded servers."""

    nats_port: int = 0
    nats_monitor_port: int = 0
    nats_passwords: dict[str, str] = {}
    postgres_port: int = 0
    postgres_password: str = ""


class Running(msgspec.Struct, frozen=True, kw_only=True):
    """One child, as `suite.json` shows it."""

    pid: int
    """0 between a death and the restart."""
    port: int
    """Of its API; the probe's where it has none."""
    probe_port: int | None
    restarts: int


class SuiteState(msgspec.Struct, frozen=True, kw_only=True):
    """`suite.json`. The URLs carry passwords: the file is 0600."""

    supervisor_pid: int
    ready: bool
    edge_urls: list[str]
    ledger_urls: list[str]
    nats_url: str
    """Of the embedded broker's `operator`, who may do everything in TRAFFIC's account; of an
    external broker as it was given.
    """
    database_url: str
    processes: dict[str, Running]
    nats_control_url: str = ""
    """The same, in CONTROL's account."""


class DataDir:
    """An opened data directory. `close` gives the lock back."""

    def __init__(self, path: Path, lock_fd: int) -> None:
        self.path = path
        self.lock_fd = lock_fd

    @classmethod
    def open(cls, given: str) -> "DataDir":
        """Make it where it is missing, and lock it. Raises SettingsError."""
        path = Path(given).absolute()
        try:
            path.mkdir(mode=0o700, parents=True, exist_ok=True)
            lock_fd = os.open(path / "suite.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise SettingsError(f"TOLLGATE_DATA_DIR: {path} can't be used ({error.strerror})") from None
        try:
            _lock(lock_fd, path)
        except BaseException:
            os.close(lock_fd)
            raise
        os.ftruncate(lock_fd, 0)
        os.pwrite(lock_fd, str(os.getpid()).encode(), 0)
        return cls(path, lock_fd)

    def close(self) -> None:
        os.close(self.lock_fd)

    def remembered(self) -> Embedded:
        """Ports and passwords of last time; empty at the first start. Raises SettingsError for a
        damaged file.
        """
        try:
            return msgspec.json.decode((self.path / "embedded.json").read_bytes(), type=Embedded)
        except FileNotFoundError:
            return Embedded()
        except UNREADABLE:
            raise SettingsError(
                f"{self.path / 'embedded.json'} is damaged; the passwords of the embedded servers are in it: restore it"
            ) from None

    def remember(self, embedded: Embedded) -> None:
        self.write("embedded.json", msgspec.json.format(msgspec.json.encode(embedded)))

    def write(self, name: str, content: bytes) -> None:
        """Replace a 0600 file whole: a reader, and the next start after a crash, see the old or the
        new content.
        """
        private_file.replace(self.path / name, content)


def _lock(lock_fd: int, path: Path) -> None:
    deadline = time.monotonic() + LOCK_WAIT_S
    while True:
        try:
            fcntl.flock(lock_fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.pread(lock_fd, 20, 0).decode("ascii", "replace")
            # A living holder is a running suite. A dead one was killed, and its servers are about
            # to end.
            if time.monotonic() > deadline or (holder.isdigit() and Path(f"/proc/{holder}").exists()):
                raise SettingsError(
                    f"another Tollgate (process {holder or 'unknown'}) runs on the data directory {path}: "
                    "stop it, or set TOLLGATE_DATA_DIR to another directory"
                ) from None
            time.sleep(0.05)
        else:
            return


def choose_port(wanted: int, remembered: int, taken: set[int]) -> int:
    """The one asked for; else last time's if it is still free; else any that isn't in `taken`, to
    which it is added.
    """
    if wanted:
        chosen = wanted
    elif remembered and remembered not in taken and why_not(LOOPBACK, remembered) is None:
        chosen = remembered
    else:
        chosen = any_free(taken)
    taken.add(chosen)
    return chosen


def new_password() -> str:
    """192 bits, of characters that need no quoting in a URL."""
    return secrets.token_urlsafe(24)
