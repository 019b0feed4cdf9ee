"""Answers that all edges share, on a real broker with Tollgate's own accounts."""

import asyncio
import time
from collections.abc import AsyncIterator, Iterator

import msgspec
import nats.errors
import pytest
import pytest_asyncio
from nats.aio.client import Client

from services.edge.cache.bucket import Bucket
from services.edge.cache.state import Cache
from services.edge.cache.store import DEADLINE_S, Kept
from services.ledger import cache_bucket
from shared import config, streams, subjects
from shared.billing import Usage
from shared.config import ConfigError, caching
from shared.sealing import Keyring
from tests.edge.fakes import Peer, completion, response, until
from tests.edge.fakes import Provider as FakeProvider
from tests.edge.harness import Edge
from tests.support.broker import AccountsBroker

BYTES_MAX = 8 * 1024 * 1024
SALT = "a sealing key of a test"
SECRET_ANSWER = b"the answer itself, which only edges may read"


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[AccountsBroker]:
    with AccountsBroker(tmp_path_factory.mktemp("broker")) as running:
        yield running


@pytest_asyncio.fixture
async def edge_client(broker: AccountsBroker) -> AsyncIterator[Client]:
    ledger = await broker.client("ledger")
    await streams.ensure_cache(ledger, BYTES_MAX)
    client = await broker.client("edge")
    yield client
    await client.close()
    await ledger.close()


class World:
    def __init__(self, client: Client) -> None:
        self.client = client
        self.now = 0.0

    def store(self, salt: str = SALT, deadline_s: float = 5.0) -> Bucket:
        """Patient, as the machine may be busy: what is too slow is a miss."""
        made = Bucket(
            Keyring([salt]), lambda: self.now, lambda: time.time_ns() // 1_000_000 + int(self.now * 1000), deadline_s
        )
        made.connected(self.client)
        return made


@pytest_asyncio.fixture
async def world(edge_client: Client) -> AsyncIterator[World]:
    found = World(edge_client)
    assert await found.store().clear()
    yield found


def kept(body: bytes = SECRET_ANSWER) -> Kept:
    return Kept(1, body, "application/json", False, Usage(1, 2, source="provider"), 5)


async def test_what_one_edge_keeps_another_reads_until_its_term_ends(world: World) -> None:
    one, other = world.store(), world.store()
    assert await other.get("k1") is None
    await one.put("k1", kept(), 60)
    found = await other.get("k1")
    assert found == kept()
    world.now = 61
    assert await other.get("k1") is None
    world.now = 0
    await one.put("k1", kept(b"newer"), 60)
    found = await other.get("k1")
    assert found is not None and found.body == b"newer"


async def test_forgetting_one_and_all(world: World) -> None:
    store = world.store()
    for name in ("a1", "a2", "a3"):
        await store.put(name, kept(), 60)
    assert await store.delete(["a1", "zz", "*", ">", "a1", "a.2", ""]) == 1
    assert await store.get("a1") is None and await store.get("a2") is not None
    assert await store.clear()
    assert [await store.get(name) for name in ("a2", "a3")] == [None, None]
    assert await store.ping()


async def test_the_broker_itself_forgets(world: World) -> None:
    await world.store().put("soon", kept(), 0.5)
    state = "$JS.API.DIRECT.GET.KV_tollgate_cache.$KV.tollgate_cache.soon"
    assert (await world.client.request(state, b"")).data

    async def gone() -> bool:
        return not (await world.client.request(state, b"")).data

    deadline = time.monotonic() + 5
    while not await gone():
        assert time.monotonic() < deadline
        await asyncio.sleep(0.1)


async def test_what_lies_there_is_sealed_to_its_place(world: World, broker: AccountsBroker) -> None:
    store = world.store()
    await store.put("mine", kept(), 60)
    message = await world.client.request(f"$JS.API.DIRECT.GET.{subjects.CACHE_STREAM}.{subjects.CACHE_PREFIX}mine", b"")
    assert message.data and SECRET_ANSWER not in message.data and b"application/json" not in message.data
    assert await world.store("another key, longer than sixteen").get("mine") is None
    # Somebody who may write there but hasn't the key can neither make an answer nor move one.
    await world.client.request(f"{subjects.CACHE_PREFIX}moved", message.data)
    assert await store.get("moved") is None
    await world.client.request(f"{subjects.CACHE_PREFIX}mine", message.data[:-1] + bytes([message.data[-1] ^ 1]))
    assert await store.get("mine") is None
    for junk in (b"", b"x", msgspec.msgpack.encode([1, 2]), b"\xff" * 100):
        await world.client.request(f"{subjects.CACHE_PREFIX}mine", junk)
        assert await store.get("mine") is None


async def test_bytes_are_bounded_and_what_is_too_large_is_not_kept(world: World) -> None:
    store = world.store()
    for number in range(20):
        await store.put(f"n{number}", kept(bytes(900_000)), 60)
    assert await store.get("n0") is None, "the oldest went"
    found = await store.get("n19")
    assert found is not None and len(found.body) == 900_000
    await store.put("large", kept(bytes(world.client.max_payload)), 60)
    assert await store.get("large") is None
    assert await store.ping(), "the connection stands"


async def test_away_is_a_miss_at_once(world: World) -> None:
    store = Bucket(Keyring([SALT]), lambda: 0.0, lambda: 0)
    before = time.monotonic()
    for _ in range(100):
        assert await store.get("k") is None
        await store.put("k", kept(), 60)
    assert time.monotonic() - before < 2
    assert not await store.ping() and not await store.clear() and await store.delete(["k"]) == 0


async def test_a_slow_broker_is_a_miss_after_20_ms(world: World, broker: AccountsBroker) -> None:
    await world.store().put("k", kept(), 60)
    store = world.store(deadline_s=DEADLINE_S)
    broker.pause()
    try:
        before = time.monotonic()
        assert await store.get("k") is None
        assert time.monotonic() - before < 1
        before = time.monotonic()
        for _ in range(50):
            assert await store.get("k") is None
        assert time.monotonic() - before < 25 * DEADLINE_S, "it isn't asked again for a while"
    finally:
        broker.resume()
    world.now = 6
    store._deadline_s = 5.0
    assert (await store.get("k")) is not None


async def test_an_edge_may_only_use_it(broker: AccountsBroker, edge_client: Client) -> None:
    """Not make it (a stream may copy another, or write elsewhere), nor read the streams beside
    it.
    """
    allowed = subjects.PERMISSIONS["edge"].publish
    assert not [
        each for each in allowed if (each.startswith("$JS.API.STREAM.") and "CREATE" in each) or "UPDATE" in each
    ]
    assert [each for each in allowed if "PURGE" in each] == [f"$JS.API.STREAM.PURGE.{subjects.CACHE_STREAM}"]
    for subject in ("$JS.API.STREAM.UPDATE.KV_tollgate_cache", "$JS.API.STREAM.PURGE.TRAFFIC", "$KV.other.x"):
        with pytest.raises((nats.errors.Error, TimeoutError)):
            await edge_client.request(subject, b"{}", timeout=0.3)
    for other in ("policy", "moderation"):
        client = await broker.client(other)
        with pytest.raises((nats.errors.Error, TimeoutError)):
            await client.request(
                f"$JS.API.DIRECT.GET.{subjects.CACHE_STREAM}.{subjects.CACHE_PREFIX}k", b"", timeout=0.3
            )
        await client.close()


async def test_the_ledger_makes_it_again(broker: AccountsBroker, world: World) -> None:
    ledger, operator, stopping = await broker.client("ledger"), await broker.client("operator"), asyncio.Event()
    store = world.store()
    await operator.request(f"$JS.API.STREAM.DELETE.{subjects.CACHE_STREAM}", b"")
    assert not await store.ping()
    keeping = asyncio.create_task(cache_bucket.keep(ledger, BYTES_MAX, stopping))  # no wire needed
    deadline = time.monotonic() + 5
    while not await store.ping():
        assert time.monotonic() < deadline
        await asyncio.sleep(0.05)
    world.now = 10
    await store.put("k", kept(), 60)
    assert await store.get("k") is not None
    stopping.set()
    await keeping
    await operator.close()
    await ledger.close()


async def test_two_edges_call_a_provider_once_and_stay_equal_to_the_byte(world: World) -> None:
    asked = 0

    async def script(peer: Peer) -> None:
        nonlocal asked
        while True:
            await peer.request()
            asked += 1
            await asyncio.sleep(0.02)
            await peer.send(response(completion(f"answer {asked}")))

    async with FakeProvider(script) as provider, Edge({"m": [provider.url]}) as one, Edge({"m": [provider.url]}) as two:
        from services.edge.cache import control

        for edge in (one, two):
            wanted = control.read(True, {}, {})
            assert wanted is not None and wanted.kind == "nats"
            edge.parts.cache = Cache(wanted, world.store())
        answers = await asyncio.gather(*(one.chat() for _ in range(100)))
        assert asked == 1 and len({each.body for each in answers}) == 1
        cache = one.parts.cache
        await until(lambda: cache is not None and not cache._writes)  # an answer waits 20 ms for that, and no longer
        there = await two.chat()
        assert asked == 1 and there.body == answers[0].body and "x-litellm-cache-key" in there.headers
        await until(lambda: two.settled())
        assert two.settled()[0].cost_picousd == 0


def test_what_cache_true_means() -> None:
    assert caching.kind({}) == "nats" and caching.kind({"ttl": 5}) == "nats"
    assert caching.kind({"host": "h"}) == caching.kind({"url": "redis://h"}) == "redis"
    assert caching.kind({"type": "local"}) == "local"
    with pytest.raises(ConfigError, match=r"cache_params\.type"):
        caching.kind({"type": "s3"})

    def wanted(text: str, router: str = "{}") -> bool:
        return cache_bucket.wanted(config.parse(f"litellm_settings: {text}\nrouter_settings: {router}", {}))

    assert wanted("{cache: true}") and wanted("{cache: true, cache_params: {type: nats}}")
    assert not wanted("{}") and not wanted("{cache: true, cache_params: {type: local}}")
    assert not wanted("{cache: false}") and wanted("{}", "{cache_responses: true}")
