"""What a guardrail costs, by process: `python -m tests.bench.guardrail_cpu [callback ...]`.

CPU seconds, not rates: the same on a machine that others use, too. Each size is asked for with and
without the guardrail, one call after the other on two connections; client and upstream are not
counted.
"""

import contextlib
import http.client
import json
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

from tests.bench import machine, wire
from tests.bench.contestant import spawn, stop
from tests.bench.tollgate import LAYERS, Suite
from tests.support.ports import free_port

SIZES_KIB = (1, 32, 300)
CALLS = {1: 600, 32: 300, 300: 100}
CONNECTIONS = 2


def asked(suite: Suite, body: bytes, calls: int) -> None:
    headers = {"Content-Type": "application/json", "Authorization": f"Bearer {suite.key}"}

    def some() -> None:
        connection = http.client.HTTPConnection("127.0.0.1", suite.ports[0], timeout=30)
        for _ in range(calls // CONNECTIONS):
            connection.request("POST", wire.PATH, body, headers)
            answer = connection.getresponse()
            said = answer.read()
            assert answer.status == 200, said[:300]
        connection.close()

    threads = [threading.Thread(target=some) for _ in range(CONNECTIONS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def by_process(suite: Suite) -> dict[str, float]:
    processes = suite.state()["processes"]
    return {name: sum(map(cpu_s, machine.tree(p["pid"]))) for name, p in processes.items() if name != "postgres"}


def cpu_s(pid: int) -> float:
    """Of all threads that live, in nanoseconds' resolution."""
    total = 0
    for thread in (machine.PROC / str(pid) / "task").glob("*/schedstat"):
        with contextlib.suppress(OSError):
            total += int(thread.read_text().split()[0])
    return total / 1e9


def measured(layer: str, upstream: int, folder: Path, bodies: dict[int, bytes]) -> dict[int, dict[str, float]]:
    """Microseconds of CPU a call, by size and process."""
    suite = Suite(LAYERS[layer], upstream, folder)
    try:
        found: dict[int, dict[str, float]] = {}
        for size, body in bodies.items():
            asked(suite, body, CALLS[size] // 4)
            before = by_process(suite)
            asked(suite, body, CALLS[size])
            after = by_process(suite)
            found[size] = {name: (after[name] - before[name]) * 1e6 / CALLS[size] for name in before}
        return found
    finally:
        suite.stop()


def main() -> None:
    upstream = free_port()
    process = spawn([sys.executable, "-m", "tests.bench.upstream", str(upstream)], Path("/dev/null"), machine.ALL_CPUS)
    try:
        with tempfile.TemporaryDirectory() as folder:
            for words in ("ascii", "umlauts"):
                bodies = {size: wire.request_body(size_bytes=size * 1024) for size in SIZES_KIB}
                if words == "umlauts":
                    bodies = {
                        size: json.dumps(json.loads(body.replace(b"fox", b"f\xc3\xbcx")), ensure_ascii=False).encode()
                        for size, body in bodies.items()
                    }
                print(f"{words}: microseconds of CPU a call", flush=True)
                directory = Path(folder) / words
                directory.mkdir()
                plain = measured("tollgate", upstream, directory, bodies)
                guarded = measured("tollgate-guardrail", upstream, directory, bodies)
                for size in SIZES_KIB:
                    rows = [
                        f"{name} {plain[size].get(name, 0):.0f} -> {value:.0f}"
                        for name, value in sorted(guarded[size].items())
                    ]
                    total = sum(guarded[size].values()) - sum(plain[size].values())
                    print(f"  {size} kB: {', '.join(rows)}; more in all {total:.0f}", flush=True)
    finally:
        stop(process)


if __name__ == "__main__":
    try:
        main()
    except subprocess.CalledProcessError as error:
        sys.exit(str(error))
