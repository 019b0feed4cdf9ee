"""Where answers are kept: here within a bound, elsewhere and here for a second, in a Redis that may
be away.
"""

import asyncio
import time
from typing import Any

import msgspec
import pytest

from services.edge.cache.store import ENTRY_BYTES_MAX, Kept, Local, Near, Redis
from shared.billing import Usage


def kept(body: bytes = b"x") -> Kept:
    return Kept(1, body, "application/json", False, Usage(1, 2, source="provider"), 5)


async def test_what_is_kept_here_is_bounded_by_bytes() -> None:
    store = Local(100_000, lambda: 0.0)
    for number in range(1_000):
        await store.put(str(number), kept(bytes(1_000)), 60)
    assert store.bytes <= 100_000
    assert await store.get("999") is not None and await store.get("0") is None
    await store.put("large", kept(bytes(ENTRY_BYTES_MAX + 1)), 60)
    assert await store.get("large") is None
    assert await store.delete(["999", "0"]) == 1
    await store.clear()
    assert store.bytes == 0


class Far(Local):
    """Somewhere else, for several edges."""

    asked = 0

    async def get(self, key: str) -> Kept | None:
        self.asked += 1
        return await super().get(key)


async def test_what_is_kept_elsewhere_is_fetched_once_a_second_and_never_given_past_its_term() -> None:
    clock = [100.0]
    far = Far(1_000_000, lambda: clock[0])
    one, other = (Near(far, lambda: clock[0], lambda: int(clock[0] * 1000)) for _ in range(2))

    def until(seconds: float) -> Kept:
        return msgspec.structs.replace(kept(), until_ms=int((clock[0] + seconds) * 1000))

    await one.put("k", until(60), 60)
    assert one.here("k") is None, "only what was read"
    assert await one.get("k") is not None and far.asked == 1
    assert one.here("k") is not None and await one.get("k") is not None and far.asked == 1
    clock[0] += 1.1
    assert one.here("k") is None and await one.get("k") is not None and far.asked == 2
    assert await one.delete(["k"]) == 1
    assert one.here("k") is None and await one.get("k") is None, "forgotten here at once"
    await one.put("k", until(60), 60)
    await one.get("k"), await other.get("k")
    assert await one.clear() and one.here("k") is None
    assert other.here("k") is not None
    clock[0] += 1.1
    assert await other.get("k") is None, "and elsewhere within a second"
    await one.put("short", until(0.4), 0.4)
    assert await one.get("short") is not None
    clock[0] += 0.5
    assert one.here("short") is None and await one.get("short") is None
    await one.put("k", until(60), 60)
    await one.get("k")
    await one.put("k", msgspec.structs.replace(until(60), body=b"newer"), 60)
    found = await one.get("k")
    assert found is not None and found.body == b"newer"
    await far.put("of an earlier version", kept(), 60)
    assert await one.get("of an earlier version") is not None and one.here("of an earlier version") is None


@pytest.mark.parametrize("how", ["delete", "clear", "put"])
async def test_who_looks_while_it_is_forgotten_does_not_keep_it_near(how: str, monkeypatch: pytest.MonkeyPatch) -> None:
    far = Far(1_000_000, float)
    near = Near(far, float, lambda: 0)
    old = msgspec.structs.replace(kept(), until_ms=60_000)
    await near.put("k", old, 60)
    forget = getattr(far, how)

    async def slowly(*args: Any) -> Any:
        assert await near.get("k") is not None
        return await forget(*args)

    monkeypatch.setattr(far, how, slowly)
    given: dict[str, tuple[Any, ...]] = {"delete": (["k"],), "put": ("k", old, 60)}
    await getattr(near, how)(*given.get(how, ()))
    assert near.here("k") is None


async def test_a_redis_that_is_away_or_slow_is_a_miss_at_once() -> None:
    connections = 0

    async def away(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal connections
        connections += 1
        writer.close()

    server = await asyncio.start_server(away, "127.0.0.1", 0)
    store = Redis(f"redis://127.0.0.1:{server.sockets[0].getsockname()[1]}", lambda: 0.0)
    assert await store.get("k") is None
    asked = connections
    for _ in range(100):
        assert await store.get("k") is None
        await store.put("k", kept(), 5)
    assert connections == asked, "it isn't asked again for a while"
    assert not await store.ping()
    await store.close()
    server.close()

    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    server = await asyncio.start_server(silent, "127.0.0.1", 0)
    store = Redis(f"redis://127.0.0.1:{server.sockets[0].getsockname()[1]}", lambda: 0.0)
    before = time.monotonic()
    assert await store.get("k") is None
    assert time.monotonic() - before < 2
    await store.close()
    server.close()
