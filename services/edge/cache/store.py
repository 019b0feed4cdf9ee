"""Where answers are kept: in this process, bounded by bytes; or in Redis, for all edges. Away or
slow is a miss.

(`bucket.py`: on the bus, for all edges.)
"""

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from typing import Any, Protocol

import msgspec
import structlog

from shared.billing import Usage
from shared.decoding import UNREADABLE

log = structlog.get_logger()

ENTRY_BYTES_MAX = 4 * 1024 * 1024
DEADLINE_S = 0.020
"""For a store that isn't here to answer."""
WRITE_DEADLINE_S = 1.0
NEAR_S = 1.0
NEAR_BYTES_MAX = 16 * 1024 * 1024
AWAY_S = 5.0
"""After a failure, how long a store isn't asked."""
PREFIX = "tollgate:cache:"


class Kept(msgspec.Struct, array_like=True):
    """One whole, successful answer."""

    at_ms: int
    """When it was kept, Unix milliseconds."""
    body: bytes
    """Of a stream: every event of it, `[DONE]` too."""
    content_type: str
    stream: bool
    usage: Usage
    cost_picousd: int | None
    """What it cost when it was made."""
    until_ms: int = 0
    """When its term ends, Unix milliseconds."""


class Store(Protocol):
    def here(self, key: str) -> Kept | None:
        """As `get`, of what is in this process."""

    async def get(self, key: str) -> Kept | None: ...

    async def put(self, key: str, kept: Kept, ttl_s: float) -> None: ...

    async def delete(self, keys: list[str]) -> int: ...

    async def clear(self) -> bool:
        """Whether everything is gone now."""

    async def ping(self) -> bool: ...

    async def close(self) -> None: ...


class Local:
    """
    Args:
        seconds: a clock that only goes forward.
    """

    def __init__(self, bytes_max: int, seconds: Callable[[], float]) -> None:
        self._bytes_max = bytes_max
        self._seconds = seconds
        self._entries: OrderedDict[str, tuple[float, Kept]] = OrderedDict()
        self.bytes = 0

    async def get(self, key: str) -> Kept | None:
        return self.here(key)

    def here(self, key: str) -> Kept | None:
        found = self._entries.get(key)
        if found is None:
            return None
        until, kept = found
        if self._seconds() >= until:
            self._drop(key)
            return None
        self._entries.move_to_end(key)
        return kept

    async def put(self, key: str, kept: Kept, ttl_s: float) -> None:
        self._drop(key)
        if len(kept.body) > min(ENTRY_BYTES_MAX, self._bytes_max):
            return
        self._entries[key] = self._seconds() + ttl_s, kept
        self.bytes += _size(kept)
        while self.bytes > self._bytes_max:
            self._drop(next(iter(self._entries)))

    async def delete(self, keys: list[str]) -> int:
        return sum(self._drop(key) for key in keys)

    async def clear(self) -> bool:
        self._entries.clear()
        self.bytes = 0
        return True

    async def ping(self) -> bool:
        return True

    async def close(self) -> None:
        pass

    def _drop(self, key: str) -> bool:
        found = self._entries.pop(key, None)
        if found is None:
            return False
        self.bytes -= _size(found[1])
        return True


def _size(kept: Kept) -> int:
    return len(kept.body) + 512


class Near:
    """A store that isn't here, with what was last read from it close by: an answer that many ask
    for is fetched once a second.

    So what another edge forgets or renews is still given here for up to `NEAR_S`; nothing is given
    past its own term.

    Args:
        seconds: a clock that only goes forward.
        unix_ms: the time of day.
    """

    def __init__(self, far: Store, seconds: Callable[[], float], unix_ms: Callable[[], int]) -> None:
        self.far = far
        self._unix_ms = unix_ms
        self._near = Local(NEAR_BYTES_MAX, seconds)

    def here(self, key: str) -> Kept | None:
        return self._near.here(key)

    async def get(self, key: str) -> Kept | None:
        kept = self._near.here(key)
        if kept is None:
            kept = await self.far.get(key)
            if kept is not None and (left_ms := kept.until_ms - self._unix_ms()) > 0:
                await self._near.put(key, kept, min(NEAR_S, left_ms / 1000))
        return kept

    async def put(self, key: str, kept: Kept, ttl_s: float) -> None:
        await self.far.put(key, kept, ttl_s)
        await self._near.delete([key])  # after it: who looks meanwhile brings the old one near

    async def delete(self, keys: list[str]) -> int:
        deleted = await self.far.delete(keys)
        await self._near.delete(keys)
        return deleted

    async def clear(self) -> bool:
        cleared = await self.far.clear()
        await self._near.clear()
        return cleared

    async def ping(self) -> bool:
        return await self.far.ping()

    async def close(self) -> None:
        await self.far.close()


class Remote:
    """A store that isn't here: it is asked with a deadline, and after a failure left alone for a
    while.

    Args:
        seconds: a clock that only goes forward.
        failure: what its client raises.
        deadline_s: where nobody says another.
    """

    def __init__(self, seconds: Callable[[], float], failure: type[Exception], deadline_s: float = DEADLINE_S) -> None:
        self._seconds, self._failure, self._deadline_s = seconds, failure, deadline_s
        self._away_until = 0.0

    def here(self, _: str) -> Kept | None:
        return None

    async def _soon(
        self, ask: Callable[[], Awaitable[Any]], deadline_s: float | None = None, *, always: bool = False
    ) -> Any:
        """None where it doesn't answer in time."""
        if self._seconds() < self._away_until and not always:
            return None
        try:
            async with asyncio.timeout(deadline_s or self._deadline_s):
                return await ask()
        except (TimeoutError, OSError, self._failure) as error:
            self._away_until = self._seconds() + AWAY_S
            log.warning("cache_away", error=type(error).__name__)
            return None


class Redis(Remote):
    """
    Args:
        url: may hold a password: never logged.
    """

    def __init__(self, url: str, seconds: Callable[[], float], deadline_s: float = DEADLINE_S) -> None:
        import redis.asyncio as redis  # noqa: PLC0415 - only where it is used

        super().__init__(seconds, redis.RedisError, deadline_s)
        self._client: Any = redis.from_url(url, socket_timeout=1.0, socket_connect_timeout=1.0)

    async def get(self, key: str) -> Kept | None:
        data = await self._soon(lambda: self._client.get(PREFIX + key))
        if not data:
            return None
        try:
            return msgspec.msgpack.decode(data, type=Kept)
        except UNREADABLE:
            return None

    async def put(self, key: str, kept: Kept, ttl_s: float) -> None:
        if len(kept.body) <= ENTRY_BYTES_MAX:
            data = msgspec.msgpack.encode(kept)
            await self._soon(
                lambda: self._client.set(PREFIX + key, data, px=max(1, int(ttl_s * 1000))), WRITE_DEADLINE_S
            )

    async def delete(self, keys: list[str]) -> int:
        if not keys:
            return 0
        return int(
            await self._soon(lambda: self._client.delete(*(PREFIX + key for key in keys)), 1.0, always=True) or 0
        )

    async def clear(self) -> bool:
        async def all_of_ours() -> bool:
            batch: list[bytes] = []
            async for name in self._client.scan_iter(match=PREFIX + "*", count=500):
                batch.append(name)
                if len(batch) >= 500:
                    await self._client.delete(*batch)
                    batch.clear()
            if batch:
                await self._client.delete(*batch)
            return True

        return bool(await self._soon(all_of_ours, 30.0, always=True))

    async def ping(self) -> bool:
        return bool(await self._soon(lambda: self._client.ping(), 1.0, always=True))

    async def close(self) -> None:
        await self._client.aclose()
