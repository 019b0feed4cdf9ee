"""Both ways to the broker, on a real one: an acknowledgement means it is in the stream; anything
else is a PublishError.
"""

import asyncio
import time

import nats
import pytest

from services.edge.publisher import Publisher, PublishError
from shared.ids import new_id
from tests.edge.broker import in_stream
from tests.support.broker import Broker


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
    broker.pause()
    try:
        before = time.monotonic()
        with pytest.raises(PublishError):
            await publish(publisher, b"x", timeout_ms=100)
        assert time.monotonic() - before < 1
    finally:
        broker.resume()
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
