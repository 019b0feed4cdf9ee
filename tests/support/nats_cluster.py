"""The NATS servers of deploy/'s own configuration, on this machine: three, or one, with TLS or
without.
"""

import json
import os
import signal
import subprocess
from pathlib import Path

from shared import broker
from tests.support.broker import binary
from tests.support.ports import free_port
from tools import make_nats_conf
from tools.k8s_secrets import certificates

PASSWORDS = {make_nats_conf.variable(user): f"p{user}" for user in broker.USERS}


class Cluster:
    """
    Args:
        servers: three, or one.
        tls: for clients and between servers, with a certificate for `localhost`; its authority is
            `ca_file`.
        sync_always: as deployed; False: NATS's own interval.
    """

    def __init__(
        self, directory: Path, servers: int = make_nats_conf.SERVERS, *, tls: bool = False, sync_always: bool = True
    ) -> None:
        self.ports = [free_port() for _ in range(servers)]
        self._routes = [free_port() for _ in self.ports]
        self._directory = directory
        self._tls = tls
        self._sync_always = sync_always
        self._processes: dict[int, subprocess.Popen[bytes]] = {}
        self.ca_file = ""
        if tls:
            for name, text in certificates().items():
                (directory / name).write_text(text)
            self.ca_file = str(directory / "ca.crt")

    def start_all(self) -> None:
        for number in range(len(self.ports)):
            self.start(number)

    def start(self, number: int) -> None:
        text = make_nats_conf.text(make_nats_conf.server(cluster=len(self.ports) > 1, tls=self._tls))
        replaced = {
            "0.0.0.0:4222": f"127.0.0.1:{self.ports[number]}",
            "0.0.0.0:8222": f"127.0.0.1:{free_port()}",
            '"/data"': json.dumps(str(self._directory / f"data-{number}")),
        }
        if len(self.ports) > 1:
            replaced["0.0.0.0:6222"] = f"127.0.0.1:{self._routes[number]}"
            replaced |= {f"nats-{n}.nats:6222": f"localhost:{port}" for n, port in enumerate(self._routes)}
        if self._tls:
            replaced["/etc/nats-tls"] = str(self._directory)
        if not self._sync_always:
            replaced['"sync_interval": "always",'] = ""
        for old, new in replaced.items():
            assert old in text
            text = text.replace(old, new)
        conf = self._directory / f"nats-{number}.conf"
        conf.write_text(text)
        env = {**os.environ, **PASSWORDS, "POD_NAME": f"nats-{number}"}
        log = str(self._directory / f"nats-{number}.log")
        self._processes[number] = subprocess.Popen([binary(), "-c", str(conf), "-l", log], env=env)

    def kill(self, number: int, how: int = signal.SIGKILL) -> None:
        process = self._processes.pop(number)
        process.send_signal(how)
        process.wait(40)

    def stop(self) -> None:
        for number in list(self._processes):
            self.kill(number)

    def url(self, user: str) -> str:
        scheme = "tls" if self._tls else "nats"
        return ",".join(f"{scheme}://{user}:p{user}@localhost:{port}" for port in self.ports)

    @property
    def pids(self) -> list[int]:
        return [process.pid for process in self._processes.values()]
