"""A contestant: one gateway (or the upstream itself), started on a port of its own, known to answer
rightly before it is measured.
"""

import contextlib
import ctypes
import http.client
import os
import signal
import subprocess
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from tests.bench import machine, wire

PROBE_TIMEOUT_S = 10
STOP_S_MAX = 10
_PR_SET_PDEATHSIG = 1
_libc = ctypes.CDLL(None)


class Skipped(Exception):
    """This contestant can't take part here; the message says why."""


class Wrong(Exception):
    """A contestant gave a wrong answer: its speed means nothing, and the run fails."""


class Contestant:
    """What the method needs of one: where to ask, whose CPU to count, how to stop it."""

    def __init__(
        self,
        name: str,
        port: int,
        root: int | None,
        *,
        headers: Mapping[str, str] | None = None,
        front: Callable[[], list[int]] | None = None,
        stop: Callable[[], None] = lambda: None,
        version: str = "",
        slow: bool = False,
        forwards: bool = True,
    ) -> None:
        """`root`: the process under which all of it runs (None: nothing of it does work). `front`:
        the processes that stand between client and upstream, where that isn't all of it. `slow`:
        needs longer slices, or calls cut off at a slice's end would be a tenth of them. `forwards`:
        every call reaches the upstream; False: it answers by itself."""
        self.forwards = forwards
        self.name, self.port, self.root, self.version, self.slow = name, port, root, version, slow
        self.headers = {"Authorization": "Bearer sk-bench", **(headers or {})}
        self.front = front or self.all_pids
        self.stop = stop
        self.ports = [port]
        """More than one where several processes share the calls."""
        self.ready_s = 0.0
        self.streams = True
        """False: its streams don't work here, and it isn't asked for any."""
        self.answered = self.left = 0
        """All calls it answered whole, and calls a load client left when its slice ended."""

    def all_pids(self) -> list[int]:
        return machine.tree(self.root)

    def ask(self, model: str = "bench", *, stream: bool = False, size_bytes: int = 1024) -> tuple[int, bytes]:
        """One call on a connection of its own. Raises OSError and HTTPException."""
        return post(self.port, wire.PATH, wire.request_body(model, size_bytes, stream=stream), self.headers)

    def check(self) -> None:
        """Are its answers the upstream's? Raises Wrong."""
        try:
            wrong = wire.wrong_json(*self.ask())
            self.answered += wrong is None
            if wrong is None and self.streams:
                wrong = wire.wrong_stream(*self.ask(stream=True))
                self.answered += wrong is None
        except (OSError, http.client.HTTPException) as error:
            wrong = repr(error)
        if wrong is not None:
            raise Wrong(f"{self.name}: {wrong}")


def post(port: int, path: str, body: bytes, headers: Mapping[str, str]) -> tuple[int, bytes]:
    return call("POST", port, path, body, {"Content-Type": "application/json", **headers})


def call(method: str, port: int, path: str, body: bytes | None, headers: Mapping[str, str]) -> tuple[int, bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PROBE_TIMEOUT_S)
    try:
        connection.request(method, path, body, dict(headers))
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()


def spawn(
    command: list[str], log: Path, cpus: set[int], *, env: Mapping[str, str] | None = None, cwd: Path | None = None
) -> "subprocess.Popen[bytes]":
    """In a session of its own, on these cores, and ended with us however we end."""

    def prepare() -> None:
        _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
        os.sched_setaffinity(0, cpus)

    with log.open("ab") as out:
        return subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=out, stderr=out, start_new_session=True, preexec_fn=prepare,
            env={**os.environ, **(env or {})}, cwd=cwd,
        )  # fmt: skip


def stop(process: "subprocess.Popen[bytes]", within_s: float = STOP_S_MAX) -> None:
    """Ask it to end; then end what is left of its session."""
    process.terminate()
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(within_s)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait(STOP_S_MAX)


def started(contestant: Contestant, process: "subprocess.Popen[bytes]", log: Path, within_s: float) -> Contestant:
    """Wait for the first right answer; that is `ready_s`. Raises Wrong with the end of its log."""
    begun = time.monotonic()
    last = "no answer"
    contestant.stop = lambda: stop(process)
    while time.monotonic() - begun < within_s and process.poll() is None:
        try:
            last = wire.wrong_json(*contestant.ask()) or ""
        except (OSError, http.client.HTTPException) as error:
            last = repr(error)
        if not last:
            contestant.ready_s = time.monotonic() - begun
            return contestant
        time.sleep(0.01)
    stop(process)
    raise Wrong(
        f"{contestant.name} did not come up: {last}; its log ends: {log.read_bytes()[-800:].decode(errors='replace')}"
    )
