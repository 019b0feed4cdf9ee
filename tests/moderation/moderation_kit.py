"""Moderation as its own process, and small things to start and wait."""

import asyncio
import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Awaitable, Callable
from inspect import isawaitable
from pathlib import Path
from typing import TypeVar

from tests.support.ports import free_port

ROOT = Path(__file__).parents[2]
T = TypeVar("T")


async def answered(answer: T | Awaitable[T]) -> T:
    """What was answered, at once or later."""
    return await answer if isawaitable(answer) else answer


def wait_for(condition: Callable[[], bool], seconds: float) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited too long"
        time.sleep(0.02)


class Moderation:
    """One replica as its own process."""

    def __init__(self, url: str, config: Path, log: Path) -> None:
        self.port = free_port()
        self._log = log
        environ = {
            "PATH": os.environ["PATH"],
            "TOLLGATE_NATS_URL": url,
            "TOLLGATE_CONFIG": str(config),
            "TOLLGATE_MODERATION_PROBE_PORT": str(self.port),
        }
        with log.open("wb") as stderr:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "services.moderation"], cwd=ROOT, env=environ, stderr=stderr, stdout=stderr
            )

    def probe(self, path: str) -> tuple[int, str]:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}", timeout=2) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as refusal:
            return refusal.code, refusal.read().decode()
        except OSError:
            return 0, ""

    def wait_ready(self) -> None:
        wait_for(lambda: self.probe("/ready")[0] == 200 or self.process.poll() is not None, 15)
        assert self.process.poll() is None, self.log()

    def resident_kb(self) -> int:
        for line in Path(f"/proc/{self.process.pid}/status").read_text().splitlines():
            if line.startswith("VmRSS:"):
                return int(line.split()[1])
        raise AssertionError("no VmRSS")

    def terminate(self) -> None:
        self.process.send_signal(signal.SIGTERM)

    async def exit_status(self) -> int:
        return await asyncio.to_thread(self.process.wait, 15)

    def log(self) -> str:
        return self._log.read_text()
