"""One TRAFFIC message to the broker, and its acknowledgement."""

import asyncio
from collections.abc import Callable
from typing import Protocol

import nats.errors
from nats.aio.client import Client
from nats.aio.msg import Msg

from shared.bus import BusClient
from shared.decoding import UNREADABLE
from shared.streams import Ack, decode_ack
from shared.wire import Wire
from shared.wire_connection import WireError


class PublishError(Exception):
    """Not acknowledged. The message may or may not be in the stream: only the same message id may
    be sent again.
    """


class Publisher(Protocol):
    async def publish(
        self, subject: str, message_id: str, payload: bytes, on_wire: Callable[[], None], timeout_ms: int
    ) -> int:
        """Publish and wait for the acknowledgement; returns the stream sequence. Calls `on_wire`
        once the bytes are handed to the socket. Raises PublishError."""

    async def close(self) -> None: ...


async def publisher_for(client: BusClient) -> Publisher:
    """Over the wire, or over the library where there is none."""
    if client.wire is not None:
        return WirePublisher(client.wire)
    library = LibraryPublisher(client)
    await library.start()
    return library


class WirePublisher:
    """Over the service's wire."""

    def __init__(self, wire: Wire) -> None:
        self._wire = wire

    async def close(self) -> None:
        """The connection is the service's: nothing of ours to close."""

    async def publish(
        self, subject: str, message_id: str, payload: bytes, on_wire: Callable[[], None], timeout_ms: int
    ) -> int:
        headers = b"NATS/1.0\r\nNats-Msg-Id: %b\r\n\r\n" % message_id.encode()
        try:
            answer = await self._wire.request(subject, payload, timeout_ms / 1000, headers=headers, on_wire=on_wire)
            ack = decode_ack(answer)
        except WireError as error:
            raise PublishError(error.code) from None
        except UNREADABLE:
            raise PublishError("unreadable acknowledgement") from None
        return _landed(ack)


class LibraryPublisher:
    """Over the service's own NATS connection."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._inbox = client.new_inbox()
        self._count = 0
        self._waiting: dict[str, asyncio.Future[bytes]] = {}

    async def start(self) -> None:
        await self._client.subscribe(f"{self._inbox}.*", cb=self._received)

    async def close(self) -> None:
        """The connection is the service's: nothing of ours to close."""

    async def _received(self, message: Msg) -> None:
        future = self._waiting.get(message.subject)
        if future is not None and not future.done():
            future.set_result(message.data)

    async def publish(
        self, subject: str, message_id: str, payload: bytes, on_wire: Callable[[], None], timeout_ms: int
    ) -> int:
        if not self._client.is_connected:
            raise PublishError("unreachable")
        self._count += 1
        reply = f"{self._inbox}.{self._count}"
        future: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        self._waiting[reply] = future
        try:
            async with asyncio.timeout(timeout_ms / 1000):
                await self._client.publish(subject, payload, reply=reply, headers={"Nats-Msg-Id": message_id})
                await asyncio.sleep(0)  # the client's flusher task hands the bytes to the socket
                on_wire()
                ack = decode_ack(await future)
        except (TimeoutError, nats.errors.Error, OSError, *UNREADABLE) as error:
            raise PublishError(type(error).__name__) from None
        finally:
            del self._waiting[reply]
        return _landed(ack)


def _landed(ack: Ack) -> int:
    if ack.error is not None or ack.seq == 0:
        raise PublishError("refused")  # no stream, or a full one
    return ack.seq
