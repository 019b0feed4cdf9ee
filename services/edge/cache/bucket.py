"""A key-value bucket on the bus, which all edges share: entries sealed, under the bus's message
limit. Away or slow is a miss.
"""

import asyncio
import json
import math
from collections.abc import Callable
from typing import Any, TypeVar

import msgspec
import nats.errors
from nats.aio.client import Client

from services.edge.cache.store import DEADLINE_S, WRITE_DEADLINE_S, Kept, Remote
from shared.decoding import UNREADABLE
from shared.sealing import Keyring, Sealed, SealingError
from shared.subjects import CACHE_PREFIX, CACHE_STREAM

ENVELOPE_BYTES = 4096
"""Of a message, besides the answer: who sealed it, usage, headers."""
IN_TURN_BYTES_MAX = 64 * 1024
"""Larger ones are sealed and opened in a thread."""
AT_ONCE_MAX = 32
"""Of keys being deleted."""

_GET = f"$JS.API.DIRECT.GET.{CACHE_STREAM}.{CACHE_PREFIX}"

T = TypeVar("T")


class _Entry(msgspec.Struct, array_like=True):
    until_ms: int
    """Unix milliseconds. The broker drops it by then, in whole seconds."""
    sealed: Sealed


_encode = msgspec.msgpack.Encoder().encode
_decode_entry = msgspec.msgpack.Decoder(_Entry).decode
_decode_kept = msgspec.msgpack.Decoder(Kept).decode


class Bucket(Remote):
    """
    Args:
        keyring: the same for all edges, or they can't read each other's entries.
        seconds: a clock that only goes forward.
        unix_ms: the time of day, which edges have in common.
        deadline_s: of a look; past it the call goes on without.
    """

    def __init__(
        self,
        keyring: Keyring,
        seconds: Callable[[], float],
        unix_ms: Callable[[], int],
        deadline_s: float = DEADLINE_S,
    ) -> None:
        super().__init__(seconds, nats.errors.Error, deadline_s)
        self._keyring = keyring
        self._unix_ms = unix_ms
        self._client: Client | None = None

    def connected(self, client: Client) -> None:
        self._client = client

    async def get(self, key: str) -> Kept | None:
        message = await self._request(f"{_GET}{key}")
        if message is None or not message.data:  # 404: there is none
            return None
        try:
            entry = _decode_entry(message.data)
            if entry.until_ms <= self._unix_ms():
                return None
            return _decode_kept(await _aside(len(message.data), self._keyring.open_bytes, entry.sealed, _place(key)))
        except (*UNREADABLE, SealingError):
            return None  # of an edge with another sealing key

    async def put(self, key: str, kept: Kept, ttl_s: float) -> None:
        client = self._client
        if client is None or ttl_s <= 0 or len(kept.body) > client.max_payload - ENVELOPE_BYTES:
            return
        plain = _encode(kept)
        sealed = await _aside(len(plain), self._keyring.seal_bytes, plain, _place(key))
        data = _encode(_Entry(self._unix_ms() + int(ttl_s * 1000), sealed))
        if len(data) > client.max_payload - 512:
            return
        headers = {"Nats-TTL": f"{max(1, math.ceil(ttl_s))}s"}
        await self._request(f"{CACHE_PREFIX}{key}", data, headers, WRITE_DEADLINE_S)

    async def delete(self, keys: list[str]) -> int:
        slots = asyncio.Semaphore(AT_ONCE_MAX)

        async def one(key: str) -> int:
            async with slots:
                return await self._purge({"filter": f"{CACHE_PREFIX}{key}"}) or 0

        # What isn't one of our keys is nobody's, and must not become a pattern.
        return sum(await asyncio.gather(*(one(key) for key in set(keys) if key.isalnum() and key.isascii())))

    async def clear(self) -> bool:
        return await self._purge({}) is not None

    async def ping(self) -> bool:
        return await self._request(f"{_GET}ping", deadline_s=1.0, always=True) is not None

    async def close(self) -> None:
        """The connection is the service's: nothing of ours to close."""

    async def _purge(self, what: dict[str, str]) -> int | None:
        """How many went; None: the broker didn't say."""
        subject, body = f"$JS.API.STREAM.PURGE.{CACHE_STREAM}", json.dumps(what).encode()
        message = await self._request(subject, body, deadline_s=1.0, always=True)
        if message is None:
            return None
        try:
            said = json.loads(message.data)
        except ValueError:
            return None
        return int(said["purged"]) if isinstance(said, dict) and isinstance(said.get("purged"), int) else None

    async def _request(
        self,
        subject: str,
        data: bytes = b"",
        headers: dict[str, str] | None = None,
        deadline_s: float | None = None,
        *,
        always: bool = False,
    ) -> Any:
        """None where the broker doesn't answer in time."""

        async def ask() -> Any:
            if self._client is None or not self._client.is_connected:
                raise nats.errors.ConnectionClosedError
            return await self._client.request(subject, data, timeout=deadline_s or self._deadline_s, headers=headers)

        return await self._soon(ask, deadline_s, always=always)


def _place(key: str) -> str:
    return f"cache/{key}"


async def _aside(size_bytes: int, work: Callable[..., T], *args: object) -> T:
    return work(*args) if size_bytes <= IN_TURN_BYTES_MAX else await asyncio.to_thread(work, *args)
