"""One child process: how to run it, and the loop that keeps it running (and working) until it is
told to stop.
"""

import asyncio
import ctypes
import os
import signal
import sys
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field

import structlog

from shared.waiting import set_within

log = structlog.get_logger()

BACKOFF_FIRST_S = 0.1
BACKOFF_MAX_S = 5.0
STEADY_S = 20.0
"""A child that lived this long starts again without waiting."""
POLL_S = 0.02
PROBE_S = 2.0
BROKEN_EVERY_S = 0.5
BROKEN_TIMES = 4
"""In a row: then it is restarted, as an orchestrator does after failed liveness probes."""
REFUSED_STATUS = 2
"""A service that exits with it was given a wrong setting; it has said so itself."""
NOT_STARTED_STATUS = 127
DEATHS_BEFORE_READY_MAX = 3

_PR_SET_PDEATHSIG = 1
_libc = ctypes.CDLL(None, use_errno=True)


class StartError(Exception):
    """A child did not become ready; the message says which. `status` is what the suite exits
    with.
    """

    def __init__(self, message: str, status: int = 1) -> None:
        super().__init__(message)
        self.status = status


@dataclass(frozen=True)
class Program:
    """How to run, stop and recognise one process. Times in seconds."""

    name: str
    command: list[str]
    ready: Callable[[int], Awaitable[bool]]
    """Whether the process (given its pid) is ready now; OSError counts as no."""
    port: int
    broken: Callable[[], Awaitable[bool]] | None = None
    """Whether it says of itself that only a restart helps; no answer isn't such a word. Asked once
    it is ready.
    """
    probe_port: int | None = None
    env: Mapping[str, str] | None = None
    """The whole environment; None: ours."""
    stop_signal: signal.Signals = signal.SIGTERM
    stop_s: float = 15.0
    """How long it may take to stop before it is killed."""
    death_signal: signal.Signals = signal.SIGKILL
    """What the kernel sends it when the supervisor dies."""
    reloads: bool = False
    """Whether SIGHUP has it read its configuration again."""
    pass_fds: tuple[int, ...] = ()
    user: int | None = None
    group: int | None = None
    cwd: str | None = None
    log_hint: str = field(default="", compare=False)
    """Where its log is, if not on our stderr."""


class Child:
    """A program kept running. `on_change` is called whenever its pid changes; it must not block or
    raise.
    """

    def __init__(self, program: Program, on_change: Callable[[], None]) -> None:
        self.program = program
        self.restarts = 0
        self._on_change = on_change
        self._process: asyncio.subprocess.Process | None = None
        self._stopping = asyncio.Event()
        self._was_ready = False
        self._keeper: asyncio.Task[None] | None = None

    @property
    def pid(self) -> int:
        """0 while it doesn't run."""
        process = self._process
        return process.pid if process is not None and process.returncode is None else 0

    def start(self) -> None:
        self._keeper = asyncio.create_task(self._keep(), name=f"keep {self.program.name}")

    async def until_ready(self, timeout_s: float) -> None:
        """Raises StartError when it isn't ready in time, or gave up."""
        deadline = time.monotonic() + timeout_s
        while time.monotonic() < deadline:
            if self._keeper is None or self._keeper.done():
                if self._keeper is not None:
                    self._keeper.result()
                raise StartError(f"{self.program.name} was stopped while starting")
            if self.pid and await self._is_ready():
                self._was_ready = True
                return
            await asyncio.sleep(POLL_S)
        raise StartError(f"{self.program.name} was not ready within {timeout_s:.0f} s{self._see_log()}")

    async def _is_ready(self) -> bool:
        return await _says_yes(self.program.ready(self.pid))

    async def _keep(self) -> None:
        """Run it, and run it again when it dies. Ends when told to stop; raises StartError when it
        never becomes ready.
        """
        backoff_s = BACKOFF_FIRST_S
        while not self._stopping.is_set():
            started = time.monotonic()
            try:
                status = await self._run_once()
            except OSError as error:  # no memory, no processes left, the binary is gone
                log.error("not_started", name=self.program.name, error=str(error))
                status = NOT_STARTED_STATUS
            lived_s = time.monotonic() - started
            if self._stopping.is_set():
                return
            self.restarts += 1
            self._give_up_if_hopeless(status)
            backoff_s = BACKOFF_FIRST_S if lived_s > STEADY_S else backoff_s
            log.error("died", name=self.program.name, exit=_describe(status), again_in_s=backoff_s)
            await set_within(self._stopping, backoff_s)
            backoff_s = min(backoff_s * 2, BACKOFF_MAX_S)

    async def _run_once(self) -> int:
        program = self.program
        parent = os.getpid()
        self._process = await asyncio.create_subprocess_exec(
            *program.command,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=sys.stderr.fileno(),
            env=program.env,
            cwd=program.cwd,
            pass_fds=program.pass_fds,
            user=program.user,
            group=program.group,
            extra_groups=None if program.user is None else (),
            # A session of its own: Ctrl-C on a terminal reaches the supervisor alone, which stops
            # the children in order.
            start_new_session=True,
            preexec_fn=lambda: _die_with(parent, program.death_signal),
        )
        log.info("started", name=program.name, pid=self._process.pid)
        self._on_change()
        if self._stopping.is_set():  # while it was being created
            self._signal(program.stop_signal)
        watch = asyncio.create_task(self._stop_when_broken(), name=f"watch {program.name}")
        try:
            status = await self._process.wait()
        finally:
            watch.cancel()
        self._on_change()
        return status

    async def _stop_when_broken(self) -> None:
        if self.program.broken is None:
            return
        ready, times = False, 0
        while times < BROKEN_TIMES:
            await asyncio.sleep(BROKEN_EVERY_S)
            ready = ready or await self._is_ready()
            times = times + 1 if ready and await _says_yes(self.program.broken()) else 0
        log.error("broken", name=self.program.name)
        self._signal(self.program.stop_signal)
        await asyncio.sleep(self.program.stop_s)
        self._signal(signal.SIGKILL)

    def _give_up_if_hopeless(self, status: int) -> None:
        if self._was_ready:
            return
        if status == REFUSED_STATUS:
            raise StartError(f"{self.program.name} refused to start{self._see_log()}", REFUSED_STATUS)
        if self.restarts >= DEATHS_BEFORE_READY_MAX:
            raise StartError(
                f"{self.program.name} ended {self.restarts} times while starting ({_describe(status)}){self._see_log()}"
            )

    def _see_log(self) -> str:
        return f"; its log is {self.program.log_hint}" if self.program.log_hint else "; its own messages are above"

    async def stop(self, hurry: asyncio.Event) -> bool:
        """Ask it to stop; kill it when it takes too long, or once `hurry` is set. False when it had
        to be killed.
        """
        self._stopping.set()
        keeper = self._keeper
        if keeper is None:
            return True
        self._signal(self.program.stop_signal)
        hurried = asyncio.create_task(hurry.wait())
        await asyncio.wait({keeper, hurried}, timeout=self.program.stop_s, return_when=asyncio.FIRST_COMPLETED)
        hurried.cancel()
        clean = keeper.done()
        if not clean:
            log.error("killed", name=self.program.name, stop_s=self.program.stop_s, hurried=hurry.is_set())
            self._signal(signal.SIGKILL)
        await asyncio.gather(keeper, return_exceptions=True)
        return clean

    def reload(self) -> None:
        """Before it is ready it has no ear for that, and reads the configuration anyway."""
        if self.program.reloads and self._was_ready:
            self._signal(signal.SIGHUP)

    def _signal(self, number: signal.Signals) -> None:
        if self.pid and self._process is not None:
            self._process.send_signal(number)


async def _says_yes(probe: Awaitable[bool]) -> bool:
    try:
        return await asyncio.wait_for(probe, PROBE_S)
    except (OSError, TimeoutError, asyncio.IncompleteReadError):
        return False


def _die_with(parent: int, number: signal.Signals) -> None:
    """In the child, before its program: the kernel ends it when the supervisor ends, however that
    comes about.
    """
    _libc.prctl(_PR_SET_PDEATHSIG, int(number), 0, 0, 0)
    if os.getppid() != parent:  # it ended before we asked
        os._exit(1)


def _describe(status: int) -> str:
    if status >= 0:
        return f"status {status}"
    try:
        return signal.Signals(-status).name
    except ValueError:
        return f"signal {-status}"
