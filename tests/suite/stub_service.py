"""Stands for a service in the suite's own tests: answers /ready, notes what it was given, and ends
as its environment says.

STUB_<KIND>: `refuse` (exit 2), `crash` (exit 1), `stuck` (ignores SIGTERM); unset: behaves.
"""

import json
import os
import signal
import socket
import sys
import time


def main(kind: str) -> None:
    manner = os.environ.get(f"STUB_{kind.upper()}", "")
    if manner in ("refuse", "crash"):
        print(f"stub {kind}: {manner}", file=sys.stderr)
        sys.exit(2 if manner == "refuse" else 1)
    folder = os.environ["TOLLGATE_DATA_DIR"]
    port = int(os.environ[f"TOLLGATE_{kind.upper()}_PROBE_PORT"])
    given = {name: value for name, value in os.environ.items() if name.startswith("TOLLGATE_")}
    with open(f"{folder}/given-{kind}-{port}.json", "w") as file:
        json.dump(given, file)

    def stop(*_: object) -> None:
        with open(f"{folder}/stopped", "a") as file:
            file.write(f"{kind} {time.monotonic()}\n")
        if manner != "stuck":
            os._exit(0)

    signal.signal(signal.SIGTERM, stop)
    server = socket.create_server(("127.0.0.1", port))
    while True:
        connection, _ = server.accept()
        with connection:
            connection.recv(1024)
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
