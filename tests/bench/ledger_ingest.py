"""How fast the ledger takes facts from the stream into committed rows, and what that costs.

    python -m tests.bench.ledger_ingest [--requests 100000] [--rounds 3]

The stream is filled first; then a real `python -m services.ledger` is started on it, on a real
PostgreSQL (fsync on), and the clock runs from its first committed row to its last. CPU is user and
system of the ledger's process and of PostgreSQL's, from /proc, in the same time; the ledger's
start-up isn't part of it.

    together  a request's two facts are in messages that follow each other: both mostly in one batch
    apart     a request ends 600 messages after it was opened: every one goes through the working set
    varied    as together; every request has its own customer and end user tag, 1,000 keys in 50 teams
    tags      as together; 5 tags a request of 1,000, 1,000 keys in 500 teams, 50 models
    book      as together; whose calls as in the year of ledger_fill, 5 of the team's 40 tags; where asked for

The cube (hours, days and months by every mix of dimensions) is filled meanwhile, and is waited for
at the end: `cube s` is how long after the last row, and `all` is the CPU a fact of everything until
then.
"""  # noqa: W505

import argparse
import asyncio
import os
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import asyncpg
from nats.aio.client import Client

from shared import bus, streams, subjects
from shared.billing import Price, Usage, cost_picousd
from shared.facts import Caller, Opened, Settled, encode_fact, pack
from shared.ids import DeploymentId, KeyDigest, new_request_id
from tests.bench.machine import cpu_s, tree
from tests.ledger.servers import Nats, Postgres
from tests.support.ports import free_port

FACTS_PER_MESSAGE = 25
"""What an edge's group commit holds at saturation."""
APART_MESSAGES = 600
PRICE = Price(150_000, 600_000, 75_000, version="2026-11-01")
TIMEOUT_S = 300
MODES = ("together", "apart", "varied", "tags")


def facts(requests: int, mode: str) -> Iterator[tuple[bytes, bytes]]:
    """Encoded (opened, settled) of each request."""
    draw = random.Random(7)
    for number in range(requests):
        key, team, user, model = _who(draw, mode, number)
        caller = Caller(KeyDigest(f"{key:064x}"), f"key-{key}", f"team-{team}", f"Team {team}", f"user-{user}", None)
        own = f"customer-{number}" if mode == "varied" else f"customer-{number % 100}"
        now_ms = time.time_ns() // 1_000_000
        opened = Opened(
            id=new_request_id(), at_ms=now_ms, edge_id="0198f0c2-edge", caller=caller, call_type="acompletion",
            route="/chat/completions", model=model, deployment_id=DeploymentId("ab" * 32),
            provider="openai", upstream_model="gpt-4o-mini", price=PRICE, stream=bool(number & 1), customer_id=own,
            tags=_tags(draw, mode, number, own, team),
            spend_logs_metadata={"project": "tollgate"} if number % 4 == 0 else {}, requester_ip="10.0.0.17",
            user_agent="OpenAI/Python 1.55.0", max_cost_picousd=10**9, expires_at_ms=now_ms + 600_000,
        )  # fmt: skip
        usage = Usage(draw.randrange(10, 4_000), draw.randrange(1, 900), source="provider")
        settled = Settled(
            opened, now_ms + 900, "success", 200, usage, cost_picousd(PRICE, usage), now_ms + 300,
            f"chatcmpl-{number:029d}", "gpt-4o-mini-2024-07-18",
        )  # fmt: skip
        yield encode_fact(opened), encode_fact(settled)


def _who(draw: random.Random, mode: str, number: int) -> tuple[int, int, int, str]:
    """(key, team, user, model) of a request."""
    if mode == "book":
        team = int(500 * draw.random() ** 2.5)
        key = team * 4 + draw.randrange(4)
        return key, team, key % 800, f"model-{(team * 7 + draw.randrange(10)) % 50}"
    key = draw.randrange(1_000 if mode in ("varied", "tags") else 10)
    teams, models = (500, 50) if mode == "tags" else (50, 4)
    return key, key % teams, key % 200, f"gpt-4o-mini-{number % models}"


def _tags(draw: random.Random, mode: str, number: int, own: str, team: int) -> list[str]:
    if mode == "book":
        return [f"tag-{(team * 10 + each) % 5_000}" for each in draw.sample(range(40), 5)]
    if mode == "tags":
        return [f"tag-{each}" for each in draw.sample(range(1_000), 5)]
    return [f"app-{number % 20}", f"env-{number % 3}", "User-Agent: OpenAI" if mode != "varied" else own]


def messages(requests: int, mode: str) -> Iterator[bytes]:
    waiting: list[bytes] = []
    ends: list[bytes] = []
    delay = APART_MESSAGES * FACTS_PER_MESSAGE if mode == "apart" else FACTS_PER_MESSAGE
    for opened, settled in facts(requests, mode):
        waiting.append(opened)
        ends.append(settled)
        if len(ends) > delay:
            waiting += ends[: len(ends) - delay]
            del ends[: len(ends) - delay]
        while len(waiting) >= FACTS_PER_MESSAGE:
            yield pack(waiting[:FACTS_PER_MESSAGE])
            del waiting[:FACTS_PER_MESSAGE]
    waiting += ends
    for start in range(0, len(waiting), FACTS_PER_MESSAGE):
        yield pack(waiting[start : start + FACTS_PER_MESSAGE])


async def fill(client: Client, requests: int, mode: str) -> int:
    js = client.jetstream(timeout=30)
    running: set[asyncio.Task[object]] = set()
    count = 0
    for message in messages(requests, mode):
        count += 1
        running.add(asyncio.create_task(js.publish(subjects.traffic(0), message)))
        if len(running) >= 64:
            done, running = await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
    await asyncio.gather(*running)
    return count


async def round_of(postgres: Postgres, directory: Path, requests: int, mode: str) -> dict[str, float]:
    directory.mkdir()
    nats = Nats(directory)
    nats.start()
    url = await postgres.new_database()
    ledger: subprocess.Popen[bytes] | None = None
    client = await bus.connect("bench", nats.url)
    try:
        await streams.ensure_control(client)
        await streams.ensure_traffic(client, 8 * 1024**3)
        await fill(client, requests, mode)
        env = {
            **os.environ, "TOLLGATE_NATS_URL": nats.url, "TOLLGATE_DATABASE_URL": url, "TOLLGATE_LOG_LEVEL": "warning",
            "TOLLGATE_DATA_DIR": str(directory),
            "TOLLGATE_LEDGER_PORT": str(free_port()), "TOLLGATE_LEDGER_PROBE_PORT": str(free_port()),
        }  # fmt: skip
        ledger = subprocess.Popen([sys.executable, "-m", "services.ledger"], env=env)
        return await measure(url, ledger.pid, postgres, nats, requests)
    finally:
        if ledger is not None:
            ledger.terminate()
            ledger.wait(20)
        await client.close()
        nats.kill()
        await postgres.drop_database(url)


_CUBE_BEHIND = """
SELECT coalesce(sum(s.chain_n - coalesce(c.batch, 0)), 0) FROM tollgate.stream_position s
LEFT JOIN tollgate.spend_position c USING (shard) WHERE s.stream = 'TRAFFIC'
"""


def memory_mib(pid: int) -> float:
    """Resident, of the ledger's process, at its highest."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) / 1024
    return 0.0


async def measure(url: str, ledger: int, postgres: Postgres, nats: Nats, requests: int) -> dict[str, float]:
    """From the first batch seen in the book to the last."""
    assert postgres.process is not None
    assert nats.process is not None
    connection = await asyncpg.connect(url)
    started: tuple[float, int, list[float]] | None = None
    deadline = time.monotonic() + TIMEOUT_S

    def used() -> list[float]:
        return [cpu_s(tree(pid)) for pid in (ledger, postgres.process.pid, nats.process.pid)]

    while time.monotonic() < deadline:
        try:
            done = (
                await connection.fetchval("SELECT requests FROM tollgate.rollup WHERE dimension = 'total' LIMIT 1") or 0
            )
        except asyncpg.UndefinedTableError:
            done = 0
        if done and started is None:
            started = time.monotonic(), done, used()
        if done >= requests and started is not None:
            took = time.monotonic() - started[0]
            rows = done - started[1]
            cpu = [(now - then) / (rows * 2) * 1e6 for now, then in zip(used(), started[2], strict=True)]
            exact = await connection.fetchval("SELECT count(*) FROM tollgate.request_book")
            assert exact == requests
            done_at, memory = time.monotonic(), memory_mib(ledger)
            while await connection.fetchval(_CUBE_BEHIND):
                assert time.monotonic() < deadline, "the cube did not catch up"
                await asyncio.sleep(0.05)
            behind_s = time.monotonic() - done_at
            all_us = sum(now - then for now, then in list(zip(used(), started[2], strict=True))[:2]) / (rows * 2) * 1e6
            await connection.close()
            return {
                "requests/s": rows / took,
                "ledger": cpu[0],
                "postgres": cpu[1],
                "nats": cpu[2],
                "sum": cpu[0] + cpu[1],
                "cube s": behind_s,
                "all": all_us,
                "MiB": memory,
            }
        await asyncio.sleep(0.02)
    raise TimeoutError("the ledger did not finish")


async def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--requests", type=int, default=100_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--modes", default=",".join(MODES))
    wanted = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="tollgate-bench-") as name:
        directory = Path(name)
        (directory / "postgres").mkdir()
        postgres = Postgres(directory / "postgres")
        postgres.start()
        try:
            await postgres.ready()
            print(f"{wanted.requests} requests of two facts, {FACTS_PER_MESSAGE} facts a message; CPU in µs a fact")
            print(
                f"{'mode':10} {'requests/s':>11} {'ledger':>8} {'postgres':>9} {'sum':>7} {'nats':>7} {'cube s':>7} {'all':>7} {'MiB':>7}"
            )
            for number in range(wanted.rounds):
                for mode in wanted.modes.split(","):
                    found = await round_of(postgres, directory / f"{mode}-{number}", wanted.requests, mode)
                    print(
                        f"{mode:10} {found['requests/s']:>11,.0f} {found['ledger']:>8.1f} {found['postgres']:>9.1f}"
                        f" {found['sum']:>7.1f} {found['nats']:>7.2f} {found['cube s']:>7.1f} {found['all']:>7.1f} {found['MiB']:>7.0f}",
                        flush=True,
                    )
        finally:
            postgres.stop()


if __name__ == "__main__":
    asyncio.run(main())
