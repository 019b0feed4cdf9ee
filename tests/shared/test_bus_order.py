"""What the NATS client sends, in which order: read by a server of our own."""

import asyncio
from collections.abc import AsyncIterator

import pytest_asyncio

from shared import bus

INFO = b'INFO {"server_id":"x","version":"2.15.1","proto":1,"headers":true,"max_payload":1048576}\r\n'


class Recorder:
    """Speaks just enough NATS: answers every PING, and remembers the verbs it was sent."""

    def __init__(self) -> None:
        self.verbs: list[str] = []
        self.port = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(INFO)
        while line := await reader.readline():
            verb = line.split()[0].decode()
            self.verbs.append(verb)
            if verb == "PING":
                writer.write(b"PONG\r\n")
        writer.close()


@pytest_asyncio.fixture
async def recorder() -> AsyncIterator[Recorder]:
    made = Recorder()
    server = await asyncio.start_server(made.serve, "127.0.0.1", 0)
    made.port = server.sockets[0].getsockname()[1]
    yield made
    server.close()


async def test_after_a_flush_the_broker_knows_the_subscription(recorder: Recorder) -> None:
    client = await bus.connect("test", f"nats://127.0.0.1:{recorder.port}")
    recorder.verbs.clear()
    await client.subscribe("a")
    await client.flush()
    assert recorder.verbs == ["SUB", "PING"]
    await client.close()


async def test_a_drain_ends_after_the_broker_has_stopped_sending(recorder: Recorder) -> None:
    """Otherwise what it sent in between would be thrown away unanswered."""
    client = await bus.connect("test", f"nats://127.0.0.1:{recorder.port}")
    subscription = await client.subscribe("a")
    await client.flush()
    recorder.verbs.clear()
    await subscription.drain()
    assert recorder.verbs == ["UNSUB", "PING"]
    await client.close()
