"""The cache in a real redis-server (Debian: apt install redis-server): shared, bounded in time,
with a password, and away.
"""

import asyncio
import shutil
import socket
import subprocess
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import pytest_asyncio

from services.edge.cache import control
from services.edge.cache.state import Cache
from services.edge.cache.store import ENTRY_BYTES_MAX, PREFIX, Kept, Redis
from shared.billing import Usage
from tests.edge.fakes import Peer, completion, response, until
from tests.edge.fakes import Provider as FakeProvider
from tests.edge.harness import Edge
from tests.support.ports import free_port

PASSWORD = "p@ss:/word"


class Server:
    def __init__(self, directory: Path) -> None:
        self.port = free_port()
        self._directory = directory
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        binary = shutil.which("redis-server")
        if binary is None:
            pytest.skip("redis-server isn't installed: apt install redis-server")
        options = [
            "--port",
            str(self.port),
            "--bind",
            "127.0.0.1",
            "--save",
            "",
            "--requirepass",
            PASSWORD,
            "--dir",
            str(self._directory),
        ]
        self._process = subprocess.Popen([binary, *options], stdout=subprocess.DEVNULL)
        deadline = time.monotonic() + 10
        while socket.socket().connect_ex(("127.0.0.1", self.port)):
            assert time.monotonic() < deadline
            time.sleep(0.02)

    def kill(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def settings(self) -> control.Settings:
        found = control.read(True, {"type": "redis", "host": "127.0.0.1", "port": self.port, "password": PASSWORD}, {})
        assert found is not None
        return found


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    made = Server(tmp_path)
    made.start()
    yield made
    made.kill()


@pytest_asyncio.fixture
async def store(server: Server) -> AsyncIterator[Redis]:
    made = patient(server)
    assert await made.ping()
    yield made
    await made.close()


def patient(server: Server) -> Redis:
    """As the machine may be busy: what is too slow is a miss."""
    return Redis(server.settings().redis_url, time.monotonic, 5.0)


def kept(body: bytes = b"x") -> Kept:
    return Kept(1, body, "application/json", False, Usage(1, 2, source="provider"), 5)


async def test_kept_read_forgotten_and_over_in_time(store: Redis) -> None:
    await store.put("k", kept(bytes(1_000_000)), 0.3)
    assert await store.get("k") == kept(bytes(1_000_000))
    await asyncio.sleep(0.4)
    assert await store.get("k") is None
    await store.put("large", kept(bytes(ENTRY_BYTES_MAX + 1)), 60)
    assert await store.get("large") is None
    for number in range(1_200):
        await store.put(str(number), kept(), 60)
    await store._client.set("somebody-elses", b"1")
    assert await store.delete(["0", "1", "nobody"]) == 2
    assert await store.clear()
    assert not [key async for key in store._client.scan_iter(match=PREFIX + "*")]
    assert await store._client.get("somebody-elses") == b"1", "only ours is forgotten"
    await store._client.set(PREFIX + "junk", b"\xff")
    assert await store.get("junk") is None


async def test_two_edges_share_it_and_its_death_is_a_miss(server: Server) -> None:
    asked = 0

    async def script(peer: Peer) -> None:
        nonlocal asked
        while True:
            await peer.request()
            asked += 1
            await peer.send(response(completion(f"answer {asked}")))

    async with FakeProvider(script) as provider, Edge({"m": [provider.url]}) as one, Edge({"m": [provider.url]}) as two:
        stores = [patient(server) for _ in range(2)]
        caches = [Cache(server.settings(), store) for store in stores]
        for edge, store, cache in zip((one, two), stores, caches, strict=True):
            assert await store.ping()  # as an edge does at its start
            edge.parts.cache = cache

        async def kept_by_now() -> None:
            """An answer goes out after 20 ms whether it is kept by then or not."""
            await until(lambda: not any(cache._writes for cache in caches))

        first = await one.chat()
        await kept_by_now()
        there = await two.chat()
        assert asked == 1 and there.body == first.body and "x-litellm-cache-key" in there.headers
        server.kill()
        before = time.monotonic()
        answers = await asyncio.gather(*(two.chat(seed=number) for number in range(20)))
        assert all(answer.status == 200 for answer in answers) and time.monotonic() - before < 5
        assert asked == 21
        server.start()
        for store in stores:
            async with asyncio.timeout(10):
                while not await store.ping():  # a connection of before may be found dead first
                    await asyncio.sleep(0.01)
            store._away_until = 0.0
        assert (await one.chat()).status == 200 and asked == 22, "a new one is empty"
        await kept_by_now()
        again = await two.chat()
        assert again.status == 200 and asked == 22
        await until(lambda: two.settled())
        for store in stores:
            await store.close()


async def test_a_wrong_password_is_a_miss(server: Server) -> None:
    store = Redis(f"redis://:wrong@127.0.0.1:{server.port}", time.monotonic)
    assert await store.get("k") is None and not await store.ping() and not await store.clear()
    await store.close()
