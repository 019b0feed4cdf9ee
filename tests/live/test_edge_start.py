"""An edge that is told to stop before there is anything to serve with."""

import asyncio
import os
import signal
import sys
from pathlib import Path

from tests.support.ports import free_port


async def test_a_signal_ends_an_edge_that_waits_for_its_broker(tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text(
        "model_list: []\ngeneral_settings: {master_key: sk-0123456789abcdef-master}\n"
    )
    probe = free_port()
    env = {
        **os.environ,
        "TOLLGATE_NATS_URL": f"nats://127.0.0.1:{free_port()}",
        "TOLLGATE_CONFIG": str(tmp_path / "config.yaml"),
        "TOLLGATE_DATA_DIR": str(tmp_path),
        "TOLLGATE_EDGE_PORT": str(free_port()),
        "TOLLGATE_EDGE_PROBE_PORT": str(probe),
    }
    edge = await asyncio.create_subprocess_exec(sys.executable, "-m", "services.edge", env=env)
    try:
        async with asyncio.timeout(20):
            while True:
                try:
                    _, writer = await asyncio.open_connection("127.0.0.1", probe)
                except OSError:
                    await asyncio.sleep(0.05)
                    continue
                writer.close()
                break
        await asyncio.sleep(0.3)
        edge.send_signal(signal.SIGTERM)
        assert await asyncio.wait_for(edge.wait(), 10) == 0
    finally:
        if edge.returncode is None:
            edge.kill()
            await edge.wait()
