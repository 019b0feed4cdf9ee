"""SIGTERM while a service still waits: for its broker, for its stream, for its database. It ends at
once, with status 0.
"""

import asyncio
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from shared import streams
from tests.support.broker import AccountsBroker
from tests.support.ports import free_port
from tests.support.suite import MOCK_CONFIG, ROOT

STOPS_S = 5.0
KINDS = ("edge", "policy", "moderation", "ledger")


async def probe_line(port: int) -> bytes:
    try:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
    except OSError:
        return b""
    writer.write(b"GET /live HTTP/1.0\r\n\r\n")
    try:
        return await reader.readline()
    finally:
        writer.close()


async def stops_while_waiting(kind: str, nats_url: str, directory: Path) -> None:
    config, port = directory / "config.yaml", free_port()
    config.write_text(MOCK_CONFIG)
    env = {name: value for name, value in os.environ.items() if not name.startswith("TOLLGATE_")} | {
        "TOLLGATE_CONFIG": str(config),
        "TOLLGATE_DATA_DIR": str(directory),
        "TOLLGATE_NATS_URL": nats_url,
        "TOLLGATE_DATABASE_URL": f"postgresql://nobody@127.0.0.1:{free_port()}/none",
        "TOLLGATE_EDGE_HOST": "127.0.0.1",
        "TOLLGATE_EDGE_PORT": str(free_port()),
        "TOLLGATE_LEDGER_PORT": str(free_port()),
        f"TOLLGATE_{kind.upper()}_PROBE_PORT": str(port),
    }
    with (directory / "log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", f"services.{kind}"], cwd=ROOT, env=env, stdout=log, stderr=log
        )
    try:
        async with asyncio.timeout(20):
            while b" 200 " not in await probe_line(port):
                assert process.poll() is None, (directory / "log").read_text()
                await asyncio.sleep(0.05)
        await asyncio.sleep(0.5)
        process.send_signal(signal.SIGTERM)
        status = await asyncio.to_thread(process.wait, STOPS_S)
        assert status == 0, (directory / "log").read_text()
    finally:
        process.kill()
        process.wait()


@pytest.mark.parametrize("kind", KINDS)
async def test_without_a_broker(kind: str, tmp_path: Path) -> None:
    await stops_while_waiting(kind, f"nats://127.0.0.1:{free_port()}", tmp_path)


@pytest.mark.parametrize("kind", ["edge", "ledger"])
async def test_with_a_broker_that_has_no_streams(kind: str, tmp_path: Path) -> None:
    with AccountsBroker(tmp_path) as broker:
        await stops_while_waiting(kind, broker.url(kind), tmp_path)
        client = await broker.client("operator")
        with pytest.raises(streams.StreamError):
            await streams.state(client, "TRAFFIC")
        await client.close()
