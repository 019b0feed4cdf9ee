"""What every service does the same way: start, probes, signals, stop.

A service gives `run` one coroutine function. It gets a `Life`, starts its parts, says
`life.ready(...)`, waits for `life.stopping`, puts its parts down in order and returns; the process
then exits 0.
"""

import asyncio
import contextlib
import ctypes
import signal
import sys
import time
from collections.abc import Callable, Coroutine, Iterator
from typing import Any, TypeVar

import prometheus_client
import structlog
from aiohttp import web

from shared import logging
from shared.config import ConfigError
from shared.settings import SettingsError
from shared.waiting import ended

log = structlog.get_logger()

T = TypeVar("T")

BEAT_S = 0.5
SILENT_S_MAX = 10.0
"""A loop that didn't come around for so long serves nobody."""

loop_lag = prometheus_client.Gauge("tollgate_loop_lag_seconds", "How late the event loop's last heartbeat was")

METRICS_CONTENT_TYPE = prometheus_client.CONTENT_TYPE_LATEST


class Life:
    """The state of one process: starting, ready, stopping."""

    def __init__(self, service: str) -> None:
        self.service = service
        self.stopping = asyncio.Event()
        self.asked_to_reload = asyncio.Event()
        """SIGHUP: the configuration is to be read again (shared/reload.py)."""
        self._beat_at = time.monotonic()
        self._ready: Callable[[], str | None] = lambda: "starting"

    def reason_not_live(self) -> str | None:
        """Why only a restart would help; None: it lives. It says nothing of others: a broker that
        is away restarts nobody.
        """
        silent_s = time.monotonic() - self._beat_at
        return f"the loop was silent for {silent_s:.0f} s" if silent_s > SILENT_S_MAX else None

    async def beat(self) -> None:
        """The loop's heartbeat. To be run as a task, for as long as the process lives."""
        while True:
            due = time.monotonic() + BEAT_S
            await asyncio.sleep(BEAT_S)
            self._beat_at = time.monotonic()
            loop_lag.set(max(0.0, self._beat_at - due))

    def ready(self, reason_not: Callable[[], str | None]) -> None:
        """From now on ready whenever `reason_not()` is None; it is asked at each probe and must not
        block.
        """
        self._ready = reason_not
        log.info("ready")

    def reason_not_ready(self) -> str | None:
        return "stopping" if self.stopping.is_set() else self._ready()

    def stop(self) -> None:
        self.stopping.set()

    async def unless_stopping(self, work: Coroutine[Any, Any, T]) -> T | None:
        """The work's result; None when the process was told to stop first, with the work
        cancelled.
        """
        task = asyncio.ensure_future(work)
        stopping = asyncio.create_task(self.stopping.wait())
        try:
            await asyncio.wait((task, stopping), return_when=asyncio.FIRST_COMPLETED)
            return task.result() if task.done() else None
        finally:
            await ended(task, stopping)


RENDERED: list[Callable[[], Iterator[str]]] = []
"""What renders its own metrics instead of registering them: each gives its text in pieces."""


def exposition() -> list[bytes]:
    """All metrics of this process, in pieces. Takes a while where there are many: in a thread."""
    return [prometheus_client.generate_latest(), *(piece.encode() for render in RENDERED for piece in render())]


async def serve_probes(life: Life, host: str, port: int) -> web.AppRunner:
    """`/live`, `/ready`, `/metrics` on a port of their own: no credentials, so not for the clients'
    network.
    """

    async def live(_: web.Request) -> web.Response:
        reason = life.reason_not_live()
        if reason is None:
            return web.json_response({"status": "live"})
        return web.json_response({"status": "not live", "reason": reason}, status=503)

    async def ready(_: web.Request) -> web.Response:
        reason = life.reason_not_ready()
        if reason is None:
            return web.json_response({"status": "ready"})
        return web.json_response({"status": "not ready", "reason": reason}, status=503)

    async def metrics(_: web.Request) -> web.Response:
        text = await asyncio.to_thread(lambda: b"".join(exposition()))
        return web.Response(body=text, headers={"Content-Type": METRICS_CONTENT_TYPE})

    app = web.Application()
    app.router.add_get("/live", live)
    app.router.add_get("/ready", ready)
    app.router.add_get("/metrics", metrics)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await listen(runner, host, port, "probe")
    return runner


async def listen(runner: web.BaseRunner, host: str, port: int, what: str, *, reuse_port: bool = False) -> None:
    """Listen, or exit with one sentence when the port is taken."""
    try:
        await web.TCPSite(runner, host, port, reuse_port=reuse_port or None, backlog=1024).start()
    except OSError as error:
        raise cannot_listen(host, port, what, error) from None


def cannot_listen(host: str, port: int, what: str, error: OSError) -> SettingsError:
    return SettingsError(f"cannot listen on {host}:{port} for the {what} port: {error.strerror or error}")


def run(service: str, main: Callable[[Life], Coroutine[Any, Any, None]]) -> None:
    """Run a service until SIGTERM or SIGINT; SIGHUP has its configuration read again.

    Exit status 0 after a clean stop, 2 for a wrong setting, 1 otherwise.
    """
    logging.configure(service)
    _keep_large_blocks()

    async def body() -> None:
        life = Life(service)
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, life.stop)
        loop.add_signal_handler(signal.SIGHUP, life.asked_to_reload.set)
        beating = asyncio.create_task(life.beat())
        try:
            await main(life)
        finally:
            beating.cancel()
        log.info("stopped")

    try:
        _run_loop(body)
    except (SettingsError, ConfigError) as error:
        log.error("refused_to_start", reason=str(error))
        print(f"tollgate {service}: {error}", file=sys.stderr)
        sys.exit(2)


_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3


def _keep_large_blocks() -> None:
    """Of freed memory the C library gives back to the kernel what lies at the heap's end, from 128
    kB on, and takes larger blocks from it one by one: a body of 300 kB then costs a page fault for
    each 4 kB of each of its copies. So up to 8 MB stay."""
    with contextlib.suppress(OSError, AttributeError):  # another C library
        libc = ctypes.CDLL(None)
        libc.mallopt(_M_MMAP_THRESHOLD, 2 * 1024 * 1024)
        libc.mallopt(_M_TRIM_THRESHOLD, 8 * 1024 * 1024)


def _run_loop(body: Callable[[], Coroutine[Any, Any, None]]) -> None:
    try:
        import uvloop  # noqa: PLC0415
    except ImportError:
        asyncio.run(body())
    else:
        uvloop.run(body())
