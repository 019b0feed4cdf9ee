"""The system under test: the provider, the suite, and where wanted a link before broker and
database.
"""

import asyncio
import ctypes
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any

from shared.subjects import PERMISSIONS
from tests.bench.machine import tree
from tests.chaos.checker import Price
from tests.chaos.disk import Disk, namespace
from tests.chaos.link import Link
from tests.chaos.schedule import DISK_KINDS, LINK_KINDS
from tests.support.ports import PortBlock
from tests.support.suite import READY_S, ROOT, RunningSuite, SuiteFailed

PROVIDER_TIMEOUT_S = 5
"""Of a call. An opened request expires so long after it began, and 3 s (below)."""
PATIENT_TIMEOUT_S = 30
"""Where no call may fail, and none is expected to expire: a machine with other work is slow,
too.
"""
SETTINGS = {
    "TOLLGATE_EDGE_EXPIRY_SLACK_MS": "2000",
    "TOLLGATE_EXPIRE_SLACK_MS": "1000",
    "TOLLGATE_EDGE_JOURNAL_BYTES_MAX": str(8 * 1024 * 1024),
}
PRICES = {"chaos": Price(500_000, 1_500_000), "chaos-pair": Price(70_000, 210_000)}
CONFIG = """
model_list:
  - {{model_name: chaos, litellm_params: {{model: openai/chaos, api_base: "{url}", api_key: none, timeout: {timeout},
      input_cost_per_token: 0.0000005, output_cost_per_token: 0.0000015}}}}
  - {{model_name: chaos-pair, model_info: {{id: pair-1}}, litellm_params: {{model: openai/pair-1, api_base: "{url}", api_key: none,
      timeout: {timeout}, input_cost_per_token: 0.00000007, output_cost_per_token: 0.00000021}}}}
  - {{model_name: chaos-pair, model_info: {{id: pair-2}}, litellm_params: {{model: openai/pair-2, api_base: "{url}", api_key: none,
      timeout: {timeout}, input_cost_per_token: 0.00000007, output_cost_per_token: 0.00000021}}}}
general_settings:
  master_key: sk-1234
"""
GUARDRAIL = """
litellm_settings:
  callbacks: ["banned_keywords"]
  banned_keywords_list: ["never said"]
"""

_libc = ctypes.CDLL(None)


class World(RunningSuite):
    """A running suite with a provider of its own.

    Args:
        linked: broker and database are reached by `links["nats"]` and `links["postgres"]`. They are
            then run by tests.chaos.servers, with the suite's own launchers.
        small_disk: linked, and the broker's store is a disk of its own, `disk`; None where the
            system doesn't allow it.
        guarded: every request is screened by a guardrail, which finds nothing.
        timeout_s: of a call to the provider.
        root: the tree to run; None: a snapshot of this one.
    """

    def __init__(
        self,
        directory: Path,
        *,
        replicas: str = "",
        env: Mapping[str, str] | None = None,
        linked: bool = False,
        small_disk: bool = False,
        guarded: bool = False,
        timeout_s: int = PROVIDER_TIMEOUT_S,
        root: Path | None = None,
    ) -> None:
        self._more_ports = PortBlock()
        base = self._more_ports.base
        self._provider_port, self._nats_port, self._postgres_port = base, base + 10, base + 20
        url = f"http://127.0.0.1:{base}/v1"
        super().__init__(
            directory,
            CONFIG.format(url=url, timeout=timeout_s) + (GUARDRAIL if guarded else ""),
            replicas=replicas,
            env={**SETTINGS, **(env or {})},
            root=root or snapshot(directory),
        )
        self.bill_path = directory / "bill.jsonl"
        self.linked = linked
        self.links: dict[str, Link] = {}
        self.disk: Disk | None = None
        self._namespace = namespace() if small_disk else None
        self.double_failures: list[tuple[float, float]] = []
        """See Records."""
        self._beside: list[subprocess.Popen[bytes]] = []

    async def __aenter__(self) -> "World":
        self.directory.mkdir(parents=True, exist_ok=True)
        try:
            await self._start_around()
        except BaseException:
            await self._stop_around()
            raise
        await super().__aenter__()  # exits by itself when it fails
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.heal()
        if self.disk is not None:
            self.disk.free()
        try:
            await super().__aexit__(kind, error, trace)
        finally:
            await self._stop_around()

    def heal(self) -> None:
        """Links carry, and every process goes on."""
        for link in self.links.values():
            link.heal()
        for pid in self.pids.values() if self._process is not None and self.state() else ():
            signal_tree(pid, signal.SIGCONT)

    async def _start_around(self) -> None:
        self._spawn("provider", str(self._provider_port), str(self.bill_path))
        if self.linked:
            ports = str(self._nats_port), str(self._postgres_port)
            if self._namespace is None:
                self._spawn("servers", str(self._servers_dir), *ports)
            else:
                self._spawn("servers", str(self._servers_dir), *ports, "small-disk", prefix=self._namespace)
            await self._until_true(lambda: bool(self._servers().get("ready")), "broker and database")
            if self._namespace is not None:
                self.disk = Disk(self._servers()["supervisor_pid"], self._servers_dir / "nats")
            for name, port in (("nats", self._nats_port), ("postgres", self._postgres_port)):
                self.links[name] = Link(port + 1, port)
                await self.links[name].start()
            servers = self._servers()
            self._given_env["TOLLGATE_NATS_URL"] = _with_port(servers["nats_url"], self._nats_port)
            passwords = json.loads((self._servers_dir / "embedded.json").read_text())["nats_passwords"]
            for kind in PERMISSIONS:
                url = f"nats://{kind}:{passwords[kind]}@127.0.0.1:{self._nats_port}"
                self._given_env[f"TOLLGATE_NATS_URL_{kind.upper()}"] = _with_port(url, self._nats_port)
            self._given_env["TOLLGATE_DATABASE_URL"] = _with_port(servers["database_url"], self._postgres_port)
        await self._until_true(lambda: _listens(self._provider_port), "the provider")

    async def _stop_around(self) -> None:
        for link in self.links.values():
            await link.close()
        for process in self._beside:
            process.terminate()
        for process in self._beside:
            try:
                await asyncio.to_thread(process.wait, 30)
            except subprocess.TimeoutExpired:
                process.kill()
        self._more_ports.close()

    def _spawn(self, module: str, *arguments: str, prefix: Sequence[str] = ()) -> None:
        parent = os.getpid()

        def die_with_us() -> None:
            _libc.prctl(1, int(signal.SIGTERM), 0, 0, 0)
            if os.getppid() != parent:
                os._exit(1)

        command = [*prefix, sys.executable, "-m", f"tests.chaos.{module}", *arguments]
        with (self.directory / f"{module}.log").open("ab") as log:
            process = subprocess.Popen(
                command, cwd=ROOT, stdin=subprocess.DEVNULL, stdout=log, stderr=log, preexec_fn=die_with_us
            )
        self._beside.append(process)

    async def _until_true(self, holds: Any, what: str) -> None:
        deadline = time.monotonic() + READY_S
        while not holds():
            if time.monotonic() > deadline:
                raise SuiteFailed(f"{what} did not start within {READY_S} s; see {self.directory}")
            await asyncio.sleep(0.05)

    @property
    def _servers_dir(self) -> Path:
        return self.directory / "servers"

    def _servers(self) -> dict[str, Any]:
        try:
            state: dict[str, Any] = json.loads((self._servers_dir / "servers.json").read_text())
        except FileNotFoundError:
            return {}
        return state

    def state(self) -> dict[str, Any]:
        """The suite's, with broker and database among its processes, and their own addresses
        instead of the links'.
        """
        state = super().state()
        if self.linked and state:
            servers = self._servers()
            state["processes"] = {**servers["processes"], **state["processes"]}
            state["nats_url"], state["database_url"] = servers["nats_url"], servers["database_url"]
        return state

    @property
    def beyond(self) -> frozenset[str]:
        """Kinds of faults that can't be carried out here."""
        linked = frozenset() if self.linked else LINK_KINDS
        return linked if self.disk is not None else linked | DISK_KINDS

    def names(self, kind: str) -> list[str]:
        """The replicas of a kind: edge, edge-2."""
        return [name for name in self.pids if name == kind or name.startswith(f"{kind}-")]

    def journals(self) -> int:
        """Bytes of facts still waiting on the edges' disks."""
        return sum(path.stat().st_size for path in self.data_dir.glob("edge-*/journal"))


def snapshot(directory: Path) -> Path:
    """A copy of what runs, for `root`: an edit made meanwhile would otherwise arrive with the next
    restarted process.
    """
    tree = directory / "tree"
    for package in ("services", "shared"):
        shutil.copytree(ROOT / package, tree / package, ignore=shutil.ignore_patterns("__pycache__"))
    return tree


def signal_tree(pid: int, number: int) -> None:
    """Send a signal to a process and its descendants: PostgreSQL is many."""
    for each in tree(pid):
        with suppress(ProcessLookupError):
            os.kill(each, number)


def _with_port(url: str, port: int) -> str:
    """The same server by its link, which listens on the port behind."""
    return url.replace(f"127.0.0.1:{port}", f"127.0.0.1:{port + 1}")


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0
