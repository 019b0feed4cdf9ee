"""NATS and PostgreSQL alone, as `python -m services` embeds them: for runs in which the services
reach them by a faulty link.

`python -m tests.chaos.servers DATA_DIR NATS_PORT POSTGRES_PORT [small-disk]`; `servers.json` in
DATA_DIR says who runs. small-disk: the broker's store is a disk of its own (disk.py), for which
this must be in a mount namespace of its own.
"""

import asyncio
import os
import signal
import sys

import msgspec

from services.suite import nats, postgres
from services.suite.datadir import DataDir, Running, SuiteState
from services.suite.supervisor import Supervisor
from shared import logging
from tests.chaos import disk


async def main(data_dir: str, nats_port: int, postgres_port: int, *, small_disk: bool) -> None:
    logging.configure("servers")
    data = DataDir.open(data_dir)
    if small_disk:
        disk.mount(data.path / "nats")
    embedded = data.remembered()
    embedded.nats_port, embedded.nats_monitor_port, embedded.postgres_port = nats_port, nats_port + 2, postgres_port
    nats.add_passwords(embedded)
    data.remember(embedded)
    programs = [nats.program(data, embedded, "always"), postgres.program(data, embedded)]
    ready = False

    def write() -> None:
        state = SuiteState(
            supervisor_pid=os.getpid(), ready=ready, edge_urls=[], ledger_urls=[],
            nats_url=nats.url(embedded, nats.OPERATOR), nats_control_url=nats.url(embedded, nats.CONTROL_OPERATOR),
            database_url=postgres.url(embedded),
            processes={
                c.program.name: Running(pid=c.pid, port=c.program.port, probe_port=None, restarts=c.restarts)
                for c in supervisor.children
            },
        )  # fmt: skip
        data.write("servers.json", msgspec.json.encode(state))

    supervisor = Supervisor([programs], write)
    stopping, hurry = asyncio.Event(), asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stopping.set)
    await supervisor.start()
    ready = True
    write()
    await stopping.wait()
    await supervisor.stop(hurry)
    data.close()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), small_disk="small-disk" in sys.argv[4:]))
