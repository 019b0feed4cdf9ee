"""Load on one port: wrk (compiled) for a closed loop, our own client for a constant rate and for
streams that are timed.

Both run on the core the gateway doesn't have, unless told otherwise. wrk's `-d` takes whole
seconds.
"""

import concurrent.futures
import os
import resource
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import msgspec

from tests.bench import machine, wire
from tests.bench.client import Job, Load

CONNECTIONS = 64
GRACE_S = 60
"""What a load client may take longer than its slice before it counts as hung."""
LUA = Path(__file__).with_name("post.lua")


class LoadFailed(Exception):
    """The load client itself failed."""


class _WrkResult(msgspec.Struct):
    ok: int
    bad: int
    broken: int
    seconds: float
    p50_ms: float
    p99_ms: float
    body_bytes: int


def wrk_path() -> str | None:
    return shutil.which("wrk")


def install_wrk() -> str | None:
    """wrk, from Debian when we may; None says that our own client has to do."""
    if wrk_path() is None and os.geteuid() == 0 and shutil.which("apt-get"):
        quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        subprocess.run(["apt-get", "install", "-y", "-q", "wrk"], timeout=300, check=False, **quiet)
    return wrk_path()


def closed(
    port: int,
    headers: dict[str, str],
    body: bytes,
    seconds: int,
    connections: int = CONNECTIONS,
    cpus: set[int] = machine.OTHER_CPUS,
) -> Load:
    """As many calls as `connections` can make, one after the other on each."""
    if wrk_path() is None:
        return own(Job(port, request(port, headers, body), seconds, connections=connections), cpus)
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        (Path(folder) / "body").write_bytes(body)
        lines = "".join(f"{name}: {value}\n" for name, value in {"Content-Type": "application/json", **headers}.items())
        (Path(folder) / "headers").write_text(lines)
        env = {**os.environ, "BENCH_BODY": f"{folder}/body", "BENCH_HEADERS": f"{folder}/headers"}
        command = ["wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "--timeout", "30s", "-s", str(LUA)]
        ran = _run([*command, f"http://127.0.0.1:{port}{wire.PATH}"], b"", seconds, env, cpus)
    found = [line[7:] for line in ran.splitlines() if line.startswith(b"RESULT ")]
    if not found:
        raise LoadFailed(f"wrk gave no result: {ran[-300:]!r}")
    seen = msgspec.json.decode(found[0], type=_WrkResult)
    trouble = f"{seen.bad} bad answers, {seen.broken} broken connections" if seen.bad + seen.broken else ""
    return Load(
        ok=seen.ok, bad=seen.bad + seen.broken, unfinished=connections, seconds=seen.seconds,
        p50_ms=seen.p50_ms, p99_ms=seen.p99_ms, body_bytes=seen.body_bytes, trouble=trouble,
    )  # fmt: skip


def closed_on_all(
    ports: list[int], headers: dict[str, str], body: bytes, seconds: int, cpus: set[int] = machine.OTHER_CPUS
) -> Load:
    """The same connections shared evenly by several ports, as a balancer in front would do."""
    if len(ports) == 1:
        return closed(ports[0], headers, body, seconds, cpus=cpus)
    share = CONNECTIONS // len(ports)
    with concurrent.futures.ThreadPoolExecutor(len(ports)) as pool:
        loads = list(pool.map(lambda port: closed(port, headers, body, seconds, share, cpus), ports))
    return msgspec.structs.replace(
        max(loads, key=lambda one: one.p99_ms),
        ok=sum(one.ok for one in loads),
        bad=sum(one.bad for one in loads),
        unfinished=sum(one.unfinished for one in loads),
        seconds=max(one.seconds for one in loads),
        body_bytes=sum(one.body_bytes for one in loads),
        trouble="; ".join(filter(None, (one.trouble for one in loads))),
    )


def request(port: int, headers: dict[str, str], body: bytes) -> bytes:
    """The bytes of one call."""
    given = {
        "Host": f"127.0.0.1:{port}",
        "Content-Type": "application/json",
        "Content-Length": str(len(body)),
        **headers,
    }
    lines = "".join(f"{name}: {value}\r\n" for name, value in given.items())
    return f"POST {wire.PATH} HTTP/1.1\r\n{lines}\r\n".encode() + body


def own(job: Job, cpus: set[int] = machine.OTHER_CPUS) -> Load:
    """Our own client, in its own process."""
    ran = _run([sys.executable, "-m", "tests.bench.client"], msgspec.json.encode(job), job.seconds, None, cpus)
    return msgspec.json.decode(ran, type=Load)


def _run(command: list[str], stdin: bytes, seconds: float, env: dict[str, str] | None, cpus: set[int]) -> bytes:
    try:
        ran = subprocess.run(
            command, input=stdin, capture_output=True, timeout=seconds + GRACE_S, env=env,
            preexec_fn=lambda: os.sched_setaffinity(0, cpus),
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        raise LoadFailed(f"{command[0]} did not end") from None
    if ran.returncode != 0:
        raise LoadFailed(f"{command[0]} failed: {(ran.stderr or ran.stdout)[-500:]!r}")
    return ran.stdout


def cpu_s() -> float:
    """CPU of all load clients so far (each was waited for)."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime
