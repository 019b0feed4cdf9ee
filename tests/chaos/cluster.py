"""A cluster as people deploy it: three NATS servers, PostgreSQL with a synchronous standby, two of
each service, each on a host of its own.

The broker runs with the configuration that deploy/ has for a cluster, the services with the
addresses a cluster has: every NATS server, both databases. Children are kept running as an
orchestrator would; `hold` keeps one down until `release`. Runs in the namespaces of network.py.
"""

import asyncio
import base64
import dataclasses
import os
import secrets
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any

import asyncpg
import structlog

from services.suite import postgres
from services.suite.datadir import DataDir
from services.suite.nats import binary
from services.suite.process import Child, Program
from shared import broker
from tests.chaos import brokers
from tests.chaos.network import Network
from tests.chaos.provider import Provider
from tests.chaos.world import CONFIG, GUARDRAIL, PROVIDER_TIMEOUT_S, SETTINGS, signal_tree, snapshot
from tests.support.suite import READY_S, SuiteFailed, probe
from tools import make_nats_conf

NATS = ("nats-0", "nats-1", "nats-2")
POSTGRES = ("postgres-1", "postgres-2")
KINDS = {"policy": 4201, "moderation": 4301, "ledger": 4101, "edge": 4001}
"""The services in the order of their start, and the port of their probes."""
SERVICES = tuple(f"{kind}-{number}" for kind in KINDS for number in (1, 2))
HOSTS = {name: number for number, name in enumerate((*NATS, *POSTGRES, *SERVICES), 1)}
ALIASES = {f"{name}.nats": name for name in NATS}
PROVIDER_PORT = 9000
STOP_S = {"edge": 45.0, "nats": 45.0}
IN_STEP_S = 60.0
"""For a server that comes back empty to have it all again."""


class Cluster:
    """Started on entry, stopped on exit. The parts of tests.chaos.world.World that a trial and its
    evidence use, for a cluster.

    Args:
        guarded: every request is screened by a guardrail, which finds nothing.
        timeout_s: of a call to the provider.
        env: settings of the services.
    """

    double_failures: list[tuple[float, float]]

    def __init__(
        self,
        directory: Path,
        seed: int,
        *,
        guarded: bool = False,
        timeout_s: int = PROVIDER_TIMEOUT_S,
        env: Mapping[str, str] | None = None,
    ) -> None:
        self.directory = self.data_dir = directory
        self.bill_path = directory / "bill.jsonl"
        self.double_failures = []
        self.primary = POSTGRES[0]
        self.database = asyncio.Lock()
        """Held by what befalls the database: one thing at a time, however long a slow machine takes
        to make a copy of it.
        """
        self.held: set[str] = set()
        self._seed = seed
        self._guarded, self._timeout_s = guarded, timeout_s
        self._env = dict(env or {})
        self._passwords = {user: "p" + secrets.token_urlsafe(12) for user in broker.USERS}
        self._children: dict[str, Child] = {}
        self._data: dict[str, DataDir] = {}
        self._provider: Provider | None = None

    async def __aenter__(self) -> "Cluster":
        self.directory.mkdir(parents=True, exist_ok=True)
        log = (self.directory / "orchestrator.log").open("a")
        structlog.configure(logger_factory=structlog.WriteLoggerFactory(file=log))
        self._root = snapshot(self.directory)
        url = f"http://world:{PROVIDER_PORT}/v1"
        config = CONFIG.format(url=url, timeout=self._timeout_s) + (GUARDRAIL if self._guarded else "")
        (self.directory / "config.yaml").write_text(config)
        self.network = Network(HOSTS, ALIASES, self.directory, self._seed)
        try:
            self._provider = Provider(PROVIDER_PORT, str(self.bill_path), "0.0.0.0")
            await self._provider.__aenter__()
            await self._start()
        except BaseException:
            await self.__aexit__()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        self.heal()
        for names in (SERVICES[::-1], (*NATS, *POSTGRES)):  # who serves clients may use the rest to finish
            await asyncio.gather(*(self.hold(name) for name in names if name in self._children))
        if self._provider is not None:
            await self._provider.__aexit__(None, None, None)
        self.network.close()
        for data in self._data.values():
            data.close()

    async def _start(self) -> None:
        for name in POSTGRES:
            (self.directory / name).mkdir()
            self._data[name] = DataDir.open(str(self.directory / name))
        for name in NATS:
            self._run(self._nats_program(name))
        self._run(await asyncio.to_thread(self._make_primary))
        await self._until_ready(*NATS, self.primary)
        await self.follow(POSTGRES[1])
        for kind in KINDS:
            names = [name for name in SERVICES if name.startswith(kind)]
            for name in names:
                self._run(self._service_program(name))
            await self._until_ready(*names)

    def _run(self, program: Program) -> None:
        child = self._children[program.name] = Child(program, lambda: None)
        child.start()

    async def _until_ready(self, *names: str) -> None:
        await asyncio.gather(*(self._children[name].until_ready(READY_S) for name in names))

    # ── what a trial asks of a world ──

    @property
    def pids(self) -> dict[str, int]:
        return {name: child.pid for name, child in self._children.items()}

    @property
    def edge_urls(self) -> list[str]:
        return [f"http://edge-{number}:4000" for number in (1, 2)]

    @property
    def edge_url(self) -> str:
        return self.edge_urls[0]

    @property
    def nats_url(self) -> str:
        return self._nats_url("operator")

    @property
    def database_url(self) -> str:
        hosts = ",".join(f"{name}:5432" for name in POSTGRES)
        return f"postgresql://{postgres.SUPERUSER}:{self._database_password}@{hosts}/{postgres.DATABASE}?target_session_attrs=read-write"

    def journals(self) -> int:
        return sum(path.stat().st_size for path in self.directory.glob("edge-*/edge-*/journal"))

    def names(self, kind: str) -> list[str]:
        return [name for name in self._children if name.startswith(kind)]

    def kill(self, name: str, number: int = signal.SIGKILL) -> int:
        pid = self._children[name].pid
        if pid:
            os.kill(pid, number)
        return pid

    async def restarted(self, name: str, old_pid: int, timeout_s: float = READY_S) -> int:
        """Wait until it runs as another process than `old_pid` and is ready again."""
        deadline = time.monotonic() + timeout_s
        while time.monotonic() < deadline:
            child = self._children[name]
            if child.pid not in (0, old_pid) and await _says(child.program.ready(child.pid)):
                return child.pid
            await asyncio.sleep(0.05)
        raise SuiteFailed(f"{name} was not ready again within {timeout_s} s; see {self.directory}")

    def heal(self) -> None:
        self.network.heal()
        for pid in filter(None, self.pids.values()):
            signal_tree(pid, signal.SIGCONT)

    # ── what faults ask of it ──

    async def hold(self, name: str, number: signal.Signals | None = None) -> None:
        """Stop it, as its orchestrator would, or by a signal; it stays down."""
        child = self._children[name]
        if number is not None:
            child.program = dataclasses.replace(child.program, stop_signal=number)
        self.held.add(name)
        await child.stop(asyncio.Event())

    async def release(self, name: str) -> None:
        """Up again; returns when it is ready."""
        if name in NATS:
            program = self._nats_program(name)
        elif name in POSTGRES:
            program = self._postgres_program(name)
        else:
            program = self._service_program(name)
        self.held.discard(name)
        self._run(program)
        await self._until_ready(name)

    def lose_disk(self, name: str) -> None:
        """Of a NATS server that is held."""
        shutil.rmtree(self.directory / name / "data")

    @property
    def standby(self) -> str:
        return next(name for name in POSTGRES if name != self.primary)

    async def promote(self) -> None:
        """The standby becomes the primary. From now on it waits for no standby, until `follow`."""
        self.primary = self.standby
        await asyncio.to_thread(
            self._database_tool, self.primary, "pg_ctl", "promote", "-D", str(self._place(self.primary)), "-w"
        )
        await self._on_primary("ALTER SYSTEM SET synchronous_standby_names = ''")

    async def follow(self, name: str) -> None:
        """Make this one a new copy of the primary, follow it, and let every commit wait for it."""
        place = self._place(name)
        shutil.rmtree(place, ignore_errors=True)
        primary = f"host={self.primary} user={postgres.SUPERUSER} password={self._database_password}"
        arguments = ["-d", primary, "-D", str(place), "-R", "-X", "stream", "-c", "fast"]
        await asyncio.to_thread(self._database_tool, name, "pg_basebackup", *arguments)
        await self.release(name)
        await self.standby_in_step(streaming="streaming")
        await self._on_primary("ALTER SYSTEM SET synchronous_standby_names = '*'")
        await self.standby_in_step()

    async def standby_in_step(self, timeout_s: float = IN_STEP_S, streaming: str = "sync") -> None:
        """Until every commit of the primary is on the standby's disk too. Raises SuiteFailed."""
        field = "sync_state" if streaming == "sync" else "state"

        async def in_step() -> bool:
            return bool(
                await self._asked_primary(f"SELECT count(*) FROM pg_stat_replication WHERE {field} = $1", streaming)
            )

        await _until(in_step, timeout_s, "the standby isn't in step")

    async def brokers_in_step(self, timeout_s: float = IN_STEP_S) -> None:
        """Until every replica of every stream has all of it. Raises SuiteFailed."""

        async def in_step() -> bool:
            return brokers.in_step(await brokers.streams(NATS), len(NATS))

        await _until(in_step, timeout_s, "the NATS servers aren't in step")

    async def leader(self, stream: str) -> str | None:
        """The NATS server that leads a stream, as it says itself."""
        return brokers.leader(await brokers.streams(NATS), stream)

    async def _on_primary(self, statement: str) -> None:
        await self._asked_primary(statement)
        await self._asked_primary("SELECT pg_reload_conf()")

    async def _asked_primary(self, question: str, *arguments: object) -> Any:
        url = f"postgresql://{postgres.SUPERUSER}:{self._database_password}@{self.primary}:5432/postgres"
        connection = await asyncpg.connect(url, timeout=5, command_timeout=10)
        try:
            return await connection.fetchval(question, *arguments)
        finally:
            await connection.close(timeout=2)

    # ── programs ──

    def _on(self, host: str, command: list[str]) -> list[str]:
        """A command on its host, its words in a log of its own."""
        log = self.directory / f"{host}.log"
        return ["sh", "-c", f'exec "$@" >>{log} 2>&1', "sh", *self.network.on(host), *command]

    def _nats_url(self, user: str) -> str:
        return ",".join(f"nats://{user}:{self._passwords[user]}@{name}:4222" for name in NATS)

    def _nats_program(self, name: str) -> Program:
        data = self.directory / name / "data"
        data.mkdir(parents=True, exist_ok=True)
        text = make_nats_conf.text(make_nats_conf.server(cluster=True, tls=False))
        assert '"/data"' in text
        conf = self.directory / f"{name}.conf"
        conf.write_text(text.replace('"/data"', f'"{data}"'))
        env = {make_nats_conf.variable(user): password for user, password in self._passwords.items()}

        async def ready(_: int) -> bool:
            return await probe(name, 8222, "/healthz?js-server-only=true")

        return Program(
            name=name,
            command=self._on(name, [str(binary()), "-c", str(conf)]),
            env={"PATH": os.environ["PATH"], "POD_NAME": name, **env},
            ready=ready,
            port=4222,
            stop_s=STOP_S["nats"],
        )

    def _place(self, name: str) -> Path:
        return self._data[name].path / "postgres"

    @property
    def _database_password(self) -> str:
        return self._data[POSTGRES[0]].remembered().postgres_password

    def _make_primary(self) -> Program:
        program = self._postgres_program(POSTGRES[0])
        place = self._place(POSTGRES[0])
        with (place / "pg_hba.conf").open("a") as file:
            for database in ("all", "replication"):
                file.write(f"host {database} all samenet scram-sha-256\n")
        with (place / "postgresql.conf").open("a") as file:
            file.write("wal_level = replica\nmax_wal_senders = 4\nwal_sender_timeout = 3s\nwal_receiver_timeout = 3s\n")
        return program

    def _postgres_program(self, name: str) -> Program:
        data = self._data[name]
        embedded = data.remembered()
        embedded.postgres_port = 5432
        program = postgres.program(data, embedded)
        more = ["-c", f"listen_addresses={self.network.address(name)}", "-c", "max_connections=120"]
        return dataclasses.replace(program, name=name, command=self._on(name, [*program.command, *more]))

    def _database_tool(self, host: str, tool: str, *arguments: str) -> None:
        folder = postgres.binaries()
        account = postgres.choose_account(folder)
        command = [*self.network.on(host), *account.prefix, str(folder / tool), *arguments]
        done = subprocess.run(command, capture_output=True, text=True, cwd="/", user=account.user, group=account.group)
        if done.returncode != 0:
            raise SuiteFailed(f"{tool} on {host}: {done.stderr}")

    def _service_program(self, name: str) -> Program:
        kind = name.partition("-")[0]
        port = KINDS[kind]
        (self.directory / name).mkdir(exist_ok=True)
        env = {
            **{key: value for key, value in os.environ.items() if not key.startswith("TOLLGATE_")},
            **SETTINGS,
            "TOLLGATE_CONFIG": str(self.directory / "config.yaml"),
            "TOLLGATE_DATA_DIR": str(self.directory / name),
            "TOLLGATE_NATS_URL": self._nats_url(kind),
            f"TOLLGATE_{kind.upper()}_PROBE_HOST": "0.0.0.0",
            "TOLLGATE_STREAM_REPLICAS": "3",
            "TOLLGATE_EDGE_HOST": "0.0.0.0",
            "TOLLGATE_ALLOW_OPEN_GATEWAY": "true",  # the load's master key is everybody's
            "TOLLGATE_EDGE_NAME": name,
            "TOLLGATE_EDGE_DRAIN_MS": "30000",
            "TOLLGATE_LEDGER_URL": "http://ledger-1:4100",
            "TOLLGATE_LEDGER_HOST": "0.0.0.0",
            "LITELLM_SALT_KEY": "salt-of-a-chaos-run",
            **self._env,
        }
        if kind == "ledger":
            env["TOLLGATE_DATABASE_URL"] = self.database_url
            env["TOLLGATE_CHECKPOINT_KEY"] = base64.b64encode(bytes(range(32))).decode()

        async def ready(_: int) -> bool:
            return await probe(name, port)

        return Program(
            name=name,
            command=self._on(name, [sys.executable, "-m", f"services.{kind}"]),
            env=env,
            cwd=str(self._root),
            ready=ready,
            port=port,
            probe_port=port,
            stop_s=STOP_S.get(kind, 20.0),
        )


async def _until(holds: Callable[[], Awaitable[bool]], timeout_s: float, otherwise: str) -> None:
    deadline = time.monotonic() + timeout_s
    while True:
        try:
            if await holds():
                return
        except (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError):
            pass
        if time.monotonic() > deadline:
            raise SuiteFailed(f"{otherwise} after {timeout_s:.0f} s")
        await asyncio.sleep(0.2)


async def _says(ready: Awaitable[bool]) -> bool:
    try:
        return await ready
    except OSError:
        return False
