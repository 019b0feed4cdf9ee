"""The lean publisher and the library's, on the same cases, against a real nats-server."""

import asyncio
import uuid
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from services.edge.lean_publisher import LeanPublisher
from services.edge.publisher import NatsPublisher, PublishError
from services.suite.nats import binary
from shared import bus

PAYLOAD = b"\xdd\x00\x00\x00\x00"


class Broker:
    """A real server that can be killed and brought back."""

    def __init__(self, folder: Path, port: int, extra: str = "") -> None:
        self.folder, self.port = folder, port
        self.url = f"nats://edge:pass@127.0.0.1:{port}"
        (folder / "c").write_text(
            f'listen: 127.0.0.1:{port}\nmax_payload: 4MB\njetstream {{ store_dir: "{folder}/js", sync_interval: always }}\n'
            f'authorization {{ users: [ {{user: edge, password: "pass"}} ] }}\n{extra}'
        )
        self.process: asyncio.subprocess.Process | None = None

    async def start(self) -> None:
        self.process = await asyncio.create_subprocess_exec(
            str(binary()), "-c", str(self.folder / "c"), stderr=asyncio.subprocess.DEVNULL
        )
        for _ in range(100):
            try:
                (await asyncio.open_connection("127.0.0.1", self.port))[1].close()
                return
            except OSError:
                await asyncio.sleep(0.02)
        raise AssertionError("nats-server did not start")

    async def kill(self) -> None:
        assert self.process is not None
        if self.process.returncode is None:
            self.process.kill()
            await self.process.wait()


@pytest.fixture
async def broker(tmp_path: Path, unused_tcp_port: int) -> AsyncIterator[Broker]:
    running = Broker(tmp_path, unused_tcp_port)
    await running.start()
    yield running
    await running.kill()


@pytest.fixture(params=["lean", "library"])
async def publisher(request: Any, broker: Broker) -> AsyncIterator[Any]:
    client = await bus.connect("edge", broker.url)
    await bus.ensure_traffic_stream(client, 1 << 26)
    made: Any = LeanPublisher(broker.url) if request.param == "lean" else NatsPublisher(client)
    assert await made.start() is not False
    yield made
    await made.close()
    await client.close()


async def publish(
    publisher: Any, message_id: str | None = None, payload: bytes = PAYLOAD, subject: str = "traffic.0"
) -> int:
    wired: list[bool] = []
    seq = await publisher.publish(subject, message_id or str(uuid.uuid4()), payload, lambda: wired.append(True), 2000)
    assert wired == [True]
    return int(seq)


async def test_acknowledged_in_order_and_the_same_id_lands_once(publisher: Any) -> None:
    first = await publish(publisher)
    message_id = str(uuid.uuid4())
    assert await publish(publisher, message_id) == first + 1
    assert await publish(publisher, message_id) == first + 1
    assert await publish(publisher, payload=b"x" * 900_000) == first + 2


async def test_many_at_once_each_get_their_own_acknowledgement(publisher: Any) -> None:
    seqs = await asyncio.gather(*(publish(publisher) for _ in range(200)))
    assert len(set(seqs)) == 200


async def test_no_stream_is_an_error_at_once(publisher: Any) -> None:
    with pytest.raises(PublishError):
        await publisher.publish("nowhere.0", str(uuid.uuid4()), PAYLOAD, lambda: None, 5000)


async def test_a_killed_broker_is_an_error_and_later_works_again(publisher: Any, broker: Broker) -> None:
    before = await publish(publisher)
    await broker.kill()
    with pytest.raises(PublishError):
        await publisher.publish("traffic.0", str(uuid.uuid4()), PAYLOAD, lambda: None, 500)
    await broker.start()
    for _ in range(100):
        try:
            assert await publish(publisher) == before + 1
            return
        except PublishError:
            await asyncio.sleep(0.05)
    raise AssertionError("never came back")


async def test_a_stopped_broker_times_out(publisher: Any, broker: Broker) -> None:
    assert broker.process is not None
    broker.process.send_signal(19)
    try:
        with pytest.raises(PublishError):
            await publisher.publish("traffic.0", str(uuid.uuid4()), PAYLOAD, lambda: None, 200)
    finally:
        broker.process.send_signal(18)


async def test_a_cancelled_publish_leaves_the_publisher_usable(publisher: Any) -> None:
    task = asyncio.create_task(publish(publisher))
    await asyncio.sleep(0)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert await publish(publisher) > 0


async def test_a_server_that_wants_tls_or_other_credentials_is_left_to_the_library(
    tmp_path: Path, unused_tcp_port: int, broker: Broker
) -> None:
    assert not await LeanPublisher(f"nats://edge:wrong@127.0.0.1:{broker.port}").start()
    assert not await LeanPublisher(f"tls://127.0.0.1:{broker.port}").start()
    assert not await LeanPublisher("nats://127.0.0.1:1").start()


@pytest.mark.parametrize("size", [1, 2, 3, 7, 64])
async def test_whatever_the_borders_of_what_arrives(size: int) -> None:
    """A scripted server that says everything in pieces of `size` bytes."""
    seen = asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        async def say(data: bytes) -> None:
            for start in range(0, len(data), size):
                writer.write(data[start : start + size])
                await writer.drain()
                await asyncio.sleep(0)

        await say(b'INFO {"headers":true}\r\n')
        line = await reader.readline()
        assert line.startswith(b"CONNECT ")
        assert (await reader.readline()).startswith(b"SUB ")
        assert await reader.readline() == b"PING\r\n"
        await say(b"+OK\r\nPONG\r\nPING\r\n")
        command = (await reader.readline()).split()
        if command == [b"PONG"]:
            command = (await reader.readline()).split()
        await reader.readexactly(int(command[4]) + 2)
        ack = b'{"stream":"TRAFFIC","seq":7}'
        await say(b"MSG other.9 1 2\r\n\r\n\r\nMSG %b 1 %d\r\n%b\r\n" % (command[2], len(ack), ack))
        await seen.wait()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    lean = LeanPublisher(f"nats://127.0.0.1:{server.sockets[0].getsockname()[1]}")
    assert await lean.start()
    assert await publish(lean) == 7
    seen.set()
    await lean.close()
    server.close()

