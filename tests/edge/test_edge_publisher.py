"""Both ways to the broker, on a real one: an acknowledgement means it is in the stream; anything else is a PublishError."""

import asyncio
import time

import nats
import pytest

from services.edge.lean_publisher import LeanPublisher
from services.edge.publisher import Publisher, PublishError
from shared.ids import new_id
from tests.edge.broker import Broker, in_stream
from tests.edge.fakes import until


class Wire:
    def __init__(self) -> None:
        self.calls = 0

    def __call__(self) -> None:
        self.calls += 1


async def publish(
    publisher: Publisher, payload: bytes, *, message_id: str = "", subject: str = "traffic.0", timeout_ms: int = 2_000
) -> int:
    return await publisher.publish(subject, message_id or new_id(), payload, Wire(), timeout_ms)


async def test_what_is_acknowledged_is_in_the_stream(broker: Broker, publisher: Publisher) -> None:
    wire = Wire()
    assert await publisher.publish("traffic.0", new_id(), b"one", wire, 2_000) == 1
    assert wire.calls == 1
    assert await publish(publisher, b"\r\nPING\r\n\x00two") == 2
    assert await in_stream(broker) == [b"one", b"\r\nPING\r\n\x00two"]


async def test_the_same_message_id_lands_once_and_is_acknowledged_again(broker: Broker, publisher: Publisher) -> None:
    message_id = new_id()
    for _ in range(3):
        assert await publish(publisher, b"one", message_id=message_id) == 1
    assert await in_stream(broker) == [b"one"]


async def test_two_at_once_each_get_their_own_acknowledgement(publisher: Publisher) -> None:
    found = await asyncio.gather(*(publish(publisher, b"%d" % n) for n in range(50)))
    assert sorted(found) == list(range(1, 51))


async def test_a_message_of_a_whole_megabyte_fits(broker: Broker, publisher: Publisher) -> None:
    assert await publish(publisher, b"x" * 1_000_005) == 1
    assert [len(message) for message in await in_stream(broker)] == [1_000_005]


async def test_too_large_for_the_broker_is_an_error_and_the_next_one_goes(publisher: Publisher) -> None:
    with pytest.raises(PublishError):
        await publish(publisher, b"x" * 2_000_000)

    async def lands() -> bool:
        try:
            return bool(await publish(publisher, b"y"))
        except PublishError:
            return False

    deadline = time.monotonic() + 3
    while not await lands():
        assert time.monotonic() < deadline
        await asyncio.sleep(0.05)


async def test_a_full_stream_refuses(broker: Broker, publisher: Publisher) -> None:
    client = await nats.connect(broker.url, allow_reconnect=False)
    js = client.jetstream()
    config = (await js.stream_info("TRAFFIC")).config
    config.max_bytes = 2_000
    await js.update_stream(config)
    with pytest.raises(PublishError):
        for _ in range(10):
            await publish(publisher, b"x" * 500)
    assert len(await in_stream(broker)) < 5
    await client.close()


async def test_without_a_stream_it_is_refused_at_once(publisher: Publisher) -> None:
    before = time.monotonic()
    with pytest.raises(PublishError):
        await publish(publisher, b"x", subject="nobody.listens")
    assert time.monotonic() - before < 1


async def test_a_silent_broker_is_given_up_in_time(broker: Broker, publisher: Publisher) -> None:
    broker.freeze()
    try:
        before = time.monotonic()
        with pytest.raises(PublishError):
            await publish(publisher, b"x", timeout_ms=100)
        assert time.monotonic() - before < 1
    finally:
        broker.thaw()
    await publish(publisher, b"y")


async def test_a_killed_broker_is_noticed_and_found_again(broker: Broker, publisher: Publisher) -> None:
    await publish(publisher, b"before")
    broker.kill()
    await asyncio.sleep(0.05)
    before = time.monotonic()
    with pytest.raises(PublishError):
        await publish(publisher, b"during", timeout_ms=300)
    assert time.monotonic() - before < 1
    await asyncio.to_thread(broker.start)
    came_back = False

    async def knock() -> None:
        nonlocal came_back
        while not came_back:
            try:
                await publish(publisher, b"after", message_id="0" * 36)
                came_back = True
            except PublishError:
                await asyncio.sleep(0.02)

    await asyncio.wait_for(knock(), 4)
    assert (await in_stream(broker))[-1] == b"after"


async def test_cancelling_a_publish_leaves_the_next_ones_their_own_acknowledgements(publisher: Publisher) -> None:
    going = asyncio.create_task(publish(publisher, b"cancelled"))
    await asyncio.sleep(0)
    going.cancel()
    await asyncio.gather(going, return_exceptions=True)
    first, second = await publish(publisher, b"first"), await publish(publisher, b"second")
    assert second == first + 1


# ── the lean one, against servers that aren't ── #


async def against(answer: bytes, *, then: bytes = b"", timeout_ms: int = 300) -> str:
    """Publish to a server that greets with `answer` and reacts to the first HPUB with `then`. The error, or "acked"."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(answer)
        try:
            while line := await reader.readline():
                if line.startswith(b"PING"):
                    writer.write(b"PONG\r\n")
                if line.startswith(b"HPUB"):
                    inbox = line.split(b" ")[2]
                    for byte in then.replace(b"INBOX", inbox):
                        writer.write(bytes([byte]))
                        await asyncio.sleep(0)
        except ConnectionError:
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    lean = LeanPublisher(f"nats://user:p%40ss@127.0.0.1:{server.sockets[0].getsockname()[1]}")
    try:
        if not await lean.start():
            return "not used"
        try:
            await publish(lean, b"x", timeout_ms=timeout_ms)
        except PublishError as error:
            return str(error)
        return "acked"
    finally:
        await lean.close()
        server.close()


INFO = b'INFO {"headers":true}\r\n'
ACK = b'{"stream":"TRAFFIC","seq":7}'


async def test_an_acknowledgement_that_comes_byte_by_byte_is_read() -> None:
    assert await against(INFO, then=b"PING\r\nMSG INBOX 1 %d\r\n%b\r\n" % (len(ACK), ACK)) == "acked"


@pytest.mark.parametrize(
    "then",
    [
        b"MSG INBOX 1 3\r\n{]}\r\n",
        b"MSG INBOX 1 4\r\n\xff\xfe\xfd\xfc\r\n",
        b'MSG INBOX 1 7\r\n{"\xff":1}\r\n',
        b"MSG INBOX 1 2\r\n{}\r\n",
        b'MSG INBOX 1 28\r\n{"seq":1,"error":{"code":5}}\r\n',
        b"HMSG INBOX 1 16 16\r\nNATS/1.0 503\r\n\r\n\r\n",
        b"MSG INBOX 1 99999999999\r\n",
        b"MSG INBOX 1 x\r\n",
        b"MSG\r\nMSG \r\n",
        b"-ERR 'Permissions Violation'\r\n",
        b"nonsense\r\n",
        b"\r\n\r\n",
    ],
)
async def test_anything_but_an_acknowledgement_is_an_error(then: bytes) -> None:
    assert await against(INFO, then=then) != "acked"


@pytest.mark.parametrize(
    "greeting",
    [b'INFO {"headers":true,"tls_required":true}\r\n', b"INFO {]\r\n", b"INFO \xff\r\n", b"HTTP/1.1 400\r\n\r\n"],
)
async def test_a_server_it_does_not_understand_is_left_to_the_library(
    greeting: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("services.edge.lean_publisher.CONNECT_TIMEOUT_S", 0.2)
    assert await against(greeting) == "not used"


async def test_closing_leaves_nothing_running(broker: Broker) -> None:
    lean = LeanPublisher(broker.url)
    assert await lean.start()
    before = len(asyncio.all_tasks())
    await lean.close()
    await until(lambda: len(asyncio.all_tasks()) < before)
