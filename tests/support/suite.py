"""`python -m services` as a test's subprocess, on ports and in a directory of its own.

async with RunningSuite(tmp_path, CONFIG) as suite:
    await client.post(suite.edge_url + "/v1/chat/completions", ...)
    suite.kill("ledger")
    await suite.restarted("ledger")
"""

import asyncio
import ctypes
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

from tests.support.ports import PortBlock

ROOT = Path(__file__).resolve().parents[2]
READY_S = 60.0
STOP_S = 60.0
LOG_TAIL_LINES = 60

MASTER_KEY = "sk-1234"
MOCK_CONFIG = """
model_list:
  - model_name: mock
    litellm_params:
      model: openai/mock
      mock_response: "Hello!"
      input_cost_per_token: 0.0000005
      output_cost_per_token: 0.0000015
general_settings:
  master_key: sk-1234
"""

SECRET_CHARACTERS_MIN = 12
"""Shorter ones stand in a log by chance."""
_SECRET_NAME = re.compile("KEY|SECRET|PASSWORD|TOKEN")
_SECRET_FIELD = re.compile(r"(?:api_key|master_key|secret|password): [\"']?([!-~]+?)[\"',}]*(?=[\s,}])")
_PASSWORD = re.compile(r'"[a-z_-]*"\s*:\s*"([^"/]{12,})"')
_VIRTUAL_KEY = re.compile(r"\bsk-[A-Za-z0-9_-]{20,}")
_libc = ctypes.CDLL(None)


class SuiteFailed(AssertionError):
    """The suite did not do what was waited for; the message ends with the tail of its log."""


class RunningSuite:
    """Starts on entry (ready within READY_S, or SuiteFailed), stops on exit.

    Args:
        directory: for the data directory, the configuration and the log. A second suite on the same
            one keeps its data and ports.
        config_text: a `config.yaml`.
        replicas: as TOLLGATE_REPLICAS: "edge=2,policy=2".
        env: further settings; they win. The caller's own TOLLGATE_ variables are left out.
        root: the tree to run `python -m services` in.
    """

    def __init__(
        self,
        directory: Path,
        config_text: str = MOCK_CONFIG,
        *,
        replicas: str = "",
        env: Mapping[str, str] | None = None,
        root: Path = ROOT,
    ) -> None:
        self.directory = directory
        self.data_dir = directory / "data"
        self.log_path = directory / "suite.log"
        self.returncode: int | None = None
        self._config_text = config_text
        self._replicas = replicas
        self._given_env = dict(env or {})
        self._root = root
        self._ports: PortBlock | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self._env: dict[str, str] = {}

    async def __aenter__(self) -> "RunningSuite":
        self._ports = PortBlock()
        self._env = self._environment(self._ports.base)
        try:
            await self.start()
        except BaseException:
            await self.__aexit__(None, None, None)
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()
        if self._ports is not None:
            self._ports.close()
        if error is None and (told := self.secrets_told()):
            raise SuiteFailed(f"a secret is in the log of {self.directory}: {told}")

    def _environment(self, base: int) -> dict[str, str]:
        env = {name: value for name, value in os.environ.items() if not name.startswith("TOLLGATE_")}
        ports = {
            "EDGE_PORT": base, "EDGE_PROBE_PORT": base + 1, "LEDGER_PORT": base + 100, "LEDGER_PROBE_PORT": base + 101,
            "POLICY_PROBE_PORT": base + 103, "MODERATION_PROBE_PORT": base + 104, "NATS_PORT": base + 190,
            "POSTGRES_PORT": base + 191,
        }  # fmt: skip
        env.update({f"TOLLGATE_{name}": str(port) for name, port in ports.items()})
        env["TOLLGATE_DATA_DIR"] = str(self.data_dir)
        env["TOLLGATE_EDGE_HOST"] = "127.0.0.1"
        env["TOLLGATE_EDGE_DRAIN_MS"] = "10000"
        env["TOLLGATE_REPLICAS"] = self._replicas
        return {**env, **self._given_env}

    @property
    def config_path(self) -> Path:
        return self.directory / "config.yaml"

    async def start(self) -> None:
        """Start, and wait until ready. Also after `stop`, on the same data and ports."""
        self.spawn()
        await self._until(self._is_ready, READY_S, "was not ready")

    def spawn(self) -> None:
        """Start without waiting."""
        self.directory.mkdir(parents=True, exist_ok=True)
        self.config_path.write_text(self._config_text)
        self.returncode = None
        parent = os.getpid()

        def die_with_the_tests() -> None:
            _libc.prctl(1, int(signal.SIGTERM), 0, 0, 0)
            if os.getppid() != parent:
                os._exit(1)

        with self.log_path.open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "services", "--config", str(self.config_path)],
                cwd=self._root,
                env=self._env,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                preexec_fn=die_with_the_tests,
            )

    async def stop(self, number: int = signal.SIGTERM, timeout_s: float = STOP_S) -> int | None:
        """Stop it and return its exit status (also kept in `returncode`). Killed, with its
        children, when it takes too long.
        """
        process = self._process
        if process is None:
            return None
        if process.poll() is None:
            process.send_signal(number)
        self.returncode = await self.wait(timeout_s)
        if self.returncode is None:
            process.kill()  # the kernel ends its children
            await asyncio.to_thread(process.wait)
            raise SuiteFailed(f"the suite did not stop within {timeout_s} s\n{self.log_tail()}")
        return self.returncode

    async def wait(self, timeout_s: float) -> int | None:
        """Its exit status once it has ended by itself; None when it hasn't in time."""
        deadline = time.monotonic() + timeout_s
        while self.process.poll() is None and time.monotonic() < deadline:
            await asyncio.sleep(0.02)
        return self.process.poll()

    @property
    def process(self) -> "subprocess.Popen[bytes]":
        """Of the supervisor."""
        assert self._process is not None, "not started"
        return self._process

    def state(self) -> dict[str, Any]:
        """`suite.json` as it is now: see services.suite.datadir.SuiteState."""
        try:
            state: dict[str, Any] = json.loads((self.data_dir / "suite.json").read_text())
        except FileNotFoundError:
            return {}
        return state if state["supervisor_pid"] == self.process.pid else {}

    def _is_ready(self) -> bool:
        return bool(self.state().get("ready"))

    @property
    def edge_urls(self) -> list[str]:
        return list(self.state()["edge_urls"])

    @property
    def edge_url(self) -> str:
        return self.edge_urls[0]

    @property
    def ledger_urls(self) -> list[str]:
        return list(self.state()["ledger_urls"])

    @property
    def ledger_url(self) -> str:
        return self.ledger_urls[0]

    @property
    def nats_url(self) -> str:
        """As `operator`: everything allowed."""
        return str(self.state()["nats_url"])

    @property
    def database_url(self) -> str:
        return str(self.state()["database_url"])

    @property
    def pids(self) -> dict[str, int]:
        """By name (`nats`, `postgres`, `policy`, `edge`, `edge-2`); 0 between a death and the
        restart.
        """
        return {name: process["pid"] for name, process in self.state()["processes"].items()}

    def kill(self, name: str, number: int = signal.SIGKILL) -> int:
        """Send a signal to a child. Returns the pid it had."""
        pid = self.pids[name]
        assert pid, f"{name} does not run"
        os.kill(pid, number)
        return pid

    async def restarted(self, name: str, old_pid: int, timeout_s: float = READY_S) -> int:
        """Wait until `name` runs as another process than `old_pid` and is ready again. Returns its
        pid.
        """

        def other() -> bool:
            return self.pids[name] not in (0, old_pid)

        await self._until(other, timeout_s, f"did not restart {name}")
        probe_port = self.state()["processes"][name]["probe_port"]
        if probe_port is not None:
            await self._until_answers(probe_port, timeout_s, name)
        return self.pids[name]

    async def _until_answers(self, probe_port: int, timeout_s: float, name: str) -> None:
        deadline = time.monotonic() + timeout_s
        while time.monotonic() < deadline:
            if await probe("127.0.0.1", probe_port):
                return
            await asyncio.sleep(0.02)
        raise SuiteFailed(f"{name} was not ready again within {timeout_s} s\n{self.log_tail()}")

    async def _until(self, holds: Any, timeout_s: float, otherwise: str) -> None:
        deadline = time.monotonic() + timeout_s
        while time.monotonic() < deadline:
            if holds():
                return
            if self.process.poll() is not None:
                break
            await asyncio.sleep(0.02)
        ended = f" (exit status {self.process.returncode})" if self.process.poll() is not None else ""
        raise SuiteFailed(f"the suite {otherwise} within {timeout_s} s{ended}\n{self.log_tail()}")

    def processes(self) -> list[int]:
        """Every process on this machine that was started for this data directory, the supervisor
        included.
        """
        mark = f"TOLLGATE_DATA_DIR={self.data_dir}".encode()
        found = []
        for folder in Path("/proc").glob("[0-9]*"):
            try:
                environment = (folder / "environ").read_bytes().split(b"\0")
            except OSError:
                continue  # it has just ended, or is somebody else's
            if mark in environment:
                found.append(int(folder.name))
        return found

    def secrets_told(self) -> list[str]:
        """Beginnings of what only looks like a secret of this suite's and stands in its log:
        virtual keys, what configuration and environment were given as secrets, passwords of the
        embedded servers."""
        log = self.log()
        given = {value for name, value in self._given_env.items() if _SECRET_NAME.search(name)}
        given |= set(_SECRET_FIELD.findall(self._config_text))
        given = {value for value in given if "/" not in value and "$" not in value}  # a file, an address, a reference
        kept = self.data_dir / "embedded.json"
        if kept.exists():
            given |= set(_PASSWORD.findall(kept.read_text()))
        found = {value for value in given if len(value) >= SECRET_CHARACTERS_MIN and value in log}
        return sorted(value[:12] + "..." for value in found | set(_VIRTUAL_KEY.findall(log)))

    def log(self) -> str:
        return self.log_path.read_text(errors="replace") if self.log_path.exists() else ""

    def log_tail(self) -> str:
        return "\n".join(self.log().splitlines()[-LOG_TAIL_LINES:])


async def probe(host: str, port: int, path: str = "/ready") -> bool:
    """Whether it answers 200 within 2 s."""
    try:
        async with asyncio.timeout(2):
            reader, writer = await asyncio.open_connection(host, port)
    except (OSError, TimeoutError):
        return False
    try:
        writer.write(f"GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode())
        head = await asyncio.wait_for(reader.readline(), 2)
    except (OSError, TimeoutError):
        return False
    finally:
        writer.close()
    return b" 200 " in head


def commands_env(suite: RunningSuite, user: str = "policy") -> dict[str, str]:
    """For a command of the suite's machine, as the service `user` has it."""
    embedded = json.loads((suite.data_dir / "embedded.json").read_text())
    address = suite.nats_url.rpartition("@")[2]
    return {name: value for name, value in os.environ.items() if not name.startswith("TOLLGATE_")} | {
        "TOLLGATE_CONFIG": str(suite.directory / "config.yaml"),
        "TOLLGATE_DATABASE_URL": suite.database_url,
        "TOLLGATE_NATS_URL": f"nats://{user}:{embedded['nats_passwords'][user]}@{address}",
    }
