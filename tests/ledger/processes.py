"""Ledgers as their users start them, and what a test waits for in their book."""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import aiohttp

from tests.ledger.ledger_kit import Book, eventually
from tests.support.ports import free_port


async def recorded(book: Book, requests: int, seconds: float = 20) -> None:
    async def check() -> bool:
        return (await book.spend())[0] >= requests

    await eventually(check, f"{requests} requests in the book", seconds)


async def recording(ledgers: list["Process"]) -> "Process":
    """The one that holds TRAFFIC's lock."""
    found: list[Process] = []

    async def look() -> bool:
        found[:] = []
        for ledger in ledgers:
            if await ledger.shards():
                found.append(ledger)
        return len(found) == 1

    await eventually(look)
    return found[0]


@contextmanager
def two(nats_url: str, database_url: str, folder: Path, **more: str) -> Iterator[list["Process"]]:
    """On one book; killed at the end, whatever became of them."""
    ledgers = [Process(nats_url, database_url, folder / f"{n}.log", **more) for n in (1, 2)]
    try:
        yield ledgers
    finally:
        for ledger in ledgers:
            ledger.process.kill()
            ledger.process.wait()


class Process:
    """`python -m services.ledger` as its users start it."""

    def __init__(self, nats_url: str, database_url: str, log: Path, **more: str) -> None:
        """`more`: of its environment."""
        self._probe_port = free_port()
        env = {name: value for name, value in os.environ.items() if not name.startswith("TOLLGATE_")}
        env |= {
            "TOLLGATE_NATS_URL": nats_url,
            "TOLLGATE_DATABASE_URL": database_url,
            "TOLLGATE_DATA_DIR": str(log.parent),
            "TOLLGATE_LEDGER_PORT": str(free_port()),
            "TOLLGATE_LEDGER_PROBE_PORT": str(self._probe_port),
            **more,
        }
        with log.open("wb") as out:
            self.process = subprocess.Popen([sys.executable, "-m", "services.ledger"], env=env, stdout=out, stderr=out)

    async def probe(self, path: str) -> tuple[int, str]:
        try:
            async with (
                aiohttp.ClientSession() as http,
                http.get(
                    f"http://127.0.0.1:{self._probe_port}{path}", timeout=aiohttp.ClientTimeout(total=3)
                ) as answer,
            ):
                return answer.status, await answer.text()
        except (aiohttp.ClientError, TimeoutError):
            return 0, ""

    async def shards(self) -> set[int]:
        """Of TRAFFIC, which it records."""
        _, text = await self.probe("/metrics")
        return {int(shard) for shard in re.findall(r'recording\{stream="traffic\.(\d+)"\} 1\.0', text)}

    async def ready(self) -> None:
        async def check() -> bool:
            return (await self.probe("/ready"))[0] == 200

        await eventually(check, "ready", 30)
