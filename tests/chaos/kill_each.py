"""Kill -9 each process in the middle of 200 requests in flight, again and again, and count: `python
-m tests.chaos.kill_each`.

Two records are compared at the end of every round: what the clients saw, and the book. Bar: every
request whose client saw a complete answer is in the book exactly once, as a success and at its
price; nothing is there twice; every opened request has an end; and the rollups say what the rows
say.

--rounds N       for each process (3)
--only a,b       of edge, policy, moderation, ledger, nats, postgres
--requests N     in flight when the process dies (200)
--seed N
"""

import argparse
import asyncio
import random
import sys
import tempfile
import time
import uuid
from pathlib import Path

import aiohttp
import asyncpg
import msgspec

from tests.support.suite import MASTER_KEY, RunningSuite
from tests.support.upstream import FakeUpstream

PROCESSES = ("edge", "policy", "moderation", "ledger", "nats", "postgres")
ENV = {"TOLLGATE_EDGE_EXPIRY_SLACK_MS": "2000", "TOLLGATE_EDGE_DRAIN_MS": "10000"}
CONFIG = """
model_list:
  - model_name: fake
    litellm_params:
      {{model: openai/fake, api_base: "{base}", api_key: k, timeout: 6,
        input_cost_per_token: 0.0000005, output_cost_per_token: 0.0000015}}
general_settings:
  master_key: sk-1234
"""
GUARDED = """
litellm_settings:
  callbacks: ["banned_keywords"]
  banned_keywords_list: ["never said"]
"""
"""With a guardrail nothing is served while moderation or the bus is away: so only for killing
moderation itself. Without, the journal is what a killed broker leaves the edge."""
INPUT_PICOUSD, OUTPUT_PICOUSD = 500_000, 1_500_000
SETTLED_WITHIN_S = 30.0


class Seen(msgspec.Struct):
    """What one client saw of one request."""

    id: str
    complete: bool = False
    status: int = 0
    words: int = 0
    """The completion tokens of a complete answer."""


class Counts(msgspec.Struct):
    """The verdict on one round: all but the first three must be zero."""

    requests: int = 0
    complete: int = 0
    refused_503: int = 0
    lost: int = 0
    duplicated: int = 0
    mischarged: int = 0
    unended: int = 0
    rollup_differs: int = 0

    def add(self, other: "Counts") -> None:
        for name in self.__struct_fields__:
            setattr(self, name, getattr(self, name) + getattr(other, name))

    def line(self, process: str, rounds: int) -> str:
        return (
            f"{process:12}{rounds:7}{self.requests:10}{self.complete:10}{self.refused_503:6}{self.lost:6}"
            f"{self.duplicated:7}{self.mischarged:7}{self.unended:6}{self.rollup_differs:8}"
        )

    @property
    def faults(self) -> int:
        return self.lost + self.duplicated + self.mischarged + self.unended + self.rollup_differs


class Row(msgspec.Struct):
    """One row of the book's `request_book`."""

    litellm_call_id: str
    outcome: str
    output_tokens: int
    input_tokens: int
    cost_picousd: int | None


def check(seen: list[Seen], rows: list[Row], still_open: int, rollup_requests: int, rollup_picousd: int) -> Counts:
    """Compare the records. Pure."""
    by_id: dict[str, list[Row]] = {}
    for row in rows:
        by_id.setdefault(row.litellm_call_id, []).append(row)
    counts = Counts(
        requests=len(seen),
        complete=sum(s.complete for s in seen),
        refused_503=sum(s.status == 503 for s in seen),
        unended=still_open,
    )
    for one in seen:
        found = by_id.get(one.id, [])
        counts.duplicated += max(0, len(found) - 1)
        if not one.complete:
            continue
        if not found or found[0].outcome != "success":
            counts.lost += 1
        elif found[0].output_tokens != one.words or found[0].cost_picousd != (
            found[0].input_tokens * INPUT_PICOUSD + one.words * OUTPUT_PICOUSD
        ):
            counts.mischarged += 1
    booked = sum(row.cost_picousd or 0 for row in rows)
    counts.rollup_differs = int(rollup_requests != len(rows)) + int(rollup_picousd != booked)
    return counts


async def one_call(http: aiohttp.ClientSession, url: str, key: str, number: int) -> Seen:
    """Some stream, some don't; all take long enough to be in flight when the process dies. No
    retries.
    """
    words = 5 + number % 20
    stream = number % 3 == 0
    seen = Seen(f"call-{uuid.uuid4().hex}", words=words)
    fake = {"text": "word", "chunks": words, "delay_ms": 200 + number % 400, "chunk_delay_ms": 20 if stream else 0}
    body = {"model": "fake", "stream": stream, "messages": [{"role": "user", "content": "x"}], "fake": fake}
    headers = {"Authorization": f"Bearer {key}", "x-litellm-call-id": seen.id}
    try:
        async with http.post(url + "/v1/chat/completions", json=body, headers=headers) as answer:
            said = await answer.read()
            seen.status = answer.status
            seen.complete = answer.status == 200 and (
                said.endswith(b"data: [DONE]\n\n") if stream else said.endswith(b"}")
            )
    except (aiohttp.ClientError, TimeoutError):
        pass
    return seen


async def book(database_url: str) -> tuple[list[Row], int, int, int]:
    """Rows, calls still open, and what the rollups say of requests and spend."""
    connection = await asyncpg.connect(database_url, server_settings={"search_path": "tollgate"}, timeout=5)
    try:
        rows = await connection.fetch(
            "SELECT litellm_call_id, outcome, output_tokens, input_tokens, cost_picousd FROM request_book"
        )
        still_open = await connection.fetchval("SELECT count(*) FROM request_open")
        rollup = await connection.fetchrow(
            "SELECT coalesce(sum(requests), 0) AS requests, coalesce(sum(spend_picousd), 0) AS spend FROM rollup "
            "WHERE dimension = 'total' AND scope = ''"
        )
    finally:
        await connection.close()
    return (
        [msgspec.convert(dict(row), Row) for row in rows],
        int(still_open),
        int(rollup["requests"]),
        int(rollup["spend"]),
    )


async def settled(suite: RunningSuite, seen: list[Seen]) -> Counts:
    """The verdict once nothing changes any more: or after SETTLED_WITHIN_S, whatever it is then."""
    deadline = time.monotonic() + SETTLED_WITHIN_S
    while True:
        try:
            counts = check(seen, *await book(suite.database_url))
        except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError):
            counts = Counts(unended=1)
        if counts.faults == 0 or time.monotonic() > deadline:
            return counts
        await asyncio.sleep(0.5)


async def a_round(
    suite: RunningSuite, key: str, process: str, requests: int, rng: random.Random, history: list[Seen]
) -> Counts:
    """Load, kill in the middle, let it come back, wait, check everything so far."""
    old = suite.pids[process]
    timeout = aiohttp.ClientTimeout(total=40)
    async with aiohttp.ClientSession(timeout=timeout, connector=aiohttp.TCPConnector(limit=0)) as http:
        load = [asyncio.create_task(one_call(http, suite.edge_url, key, number)) for number in range(requests)]
        await asyncio.sleep(rng.uniform(0.15, 0.6))
        suite.kill(process)
        await asyncio.sleep(rng.uniform(0.0, 0.3))
        # What comes while it is away: served, or refused clearly; never lost.
        load += [asyncio.create_task(one_call(http, suite.edge_url, key, number)) for number in range(requests // 4)]
        seen = list(await asyncio.gather(*load))
    await suite.restarted(process, old)
    history.extend(seen)
    counts = await settled(suite, history)
    return msgspec.structs.replace(
        counts,
        requests=len(seen),
        complete=sum(s.complete for s in seen),
        refused_503=sum(s.status == 503 for s in seen),
    )


async def new_key(suite: RunningSuite) -> str:
    headers = {"Authorization": f"Bearer {MASTER_KEY}"}
    async with (
        aiohttp.ClientSession() as http,
        http.post(suite.edge_url + "/key/generate", json={"metadata": {"tags": ["kill"]}}, headers=headers) as answer,
    ):
        return str((await answer.json())["key"])


async def run(folder: Path, processes: list[str], rounds: int, requests: int, seed: int) -> int:
    """Returns how many faults were found, and prints a line a process."""
    rng = random.Random(seed)
    faults = 0
    print(f"seed {seed}: {requests} requests in flight, {rounds} rounds for each process")
    print(
        f"{'killed':12}{'rounds':>7}{'requests':>10}{'complete':>10}{'503':>6}{'lost':>6}{'twice':>7}{'price':>7}{'open':>6}{'rollup':>8}"
    )
    async with FakeUpstream() as upstream:
        for guarded in (False, True):
            chosen = [process for process in processes if (process == "moderation") == guarded]
            config = CONFIG.format(base=upstream.base_url) + (GUARDED if guarded else "")
            if not chosen:
                continue
            async with RunningSuite(folder / str(guarded), config, env=ENV) as suite:
                key, history = await new_key(suite), list[Seen]()
                for process in chosen:
                    total = Counts()
                    for _ in range(rounds):
                        total.add(await a_round(suite, key, process, requests, rng, history))
                    faults += total.faults
                    print(total.line(process, rounds), flush=True)
                if faults:
                    print(suite.log_tail())
    return faults


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--requests", type=int, default=200)
    parser.add_argument("--only", default=",".join(PROCESSES))
    parser.add_argument("--seed", type=int, default=None)
    given = parser.parse_args()
    seed = given.seed if given.seed is not None else random.SystemRandom().randrange(2**32)
    with tempfile.TemporaryDirectory(prefix="tollgate-kill-") as folder:
        faults = asyncio.run(run(Path(folder), given.only.split(","), given.rounds, given.requests, seed))
    sys.exit(1 if faults else 0)


if __name__ == "__main__":
    main()
