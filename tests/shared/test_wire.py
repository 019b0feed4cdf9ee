"""The wire: asking, answering and publishing on a real broker, and against servers that aren't
one.
"""

import asyncio
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import msgspec
import nats
import pytest
import pytest_asyncio
from structlog.testing import capture_logs

from services.edge.publisher import PublishError, WirePublisher
from shared import bus
from shared.bus import BusClient, BusError
from shared.ids import new_id
from shared.requests import CountReply, CountRequest, Fault
from shared.wire import Wire
from shared.wire_connection import WireError
from tests.edge.fakes import until
from tests.support.broker import Broker


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Broker]:
    with Broker(tmp_path) as running:
        yield running


@pytest_asyncio.fixture(params=["wire", "library"])
async def client(request: pytest.FixtureRequest, broker: Broker) -> AsyncIterator[BusClient]:
    """Both ways to the broker."""
    connected = await bus.connect("policy", broker.url)
    if request.param == "library":
        assert connected.wire is not None
        await connected.wire.close()
        connected.wire = None
    yield connected
    await bus.close(connected)


def echo(asked: CountRequest) -> CountReply:
    return CountReply([len(text) for text in asked.texts])


async def ask(client: BusClient, *texts: str, timeout_ms: int = 2_000) -> list[int]:
    return (await bus.ask(client, "policy.x", CountRequest("m", list(texts)), CountReply, timeout_ms)).tokens


async def test_a_question_is_answered_at_once_or_later(client: BusClient) -> None:
    async def later(asked: CountRequest) -> CountReply:
        await asyncio.sleep(0.01)
        return echo(asked)

    for handler in (echo, later):
        answering = await bus.answer(client, "policy.x", "q", CountRequest, handler)
        assert await asyncio.gather(*(ask(client, "x" * n) for n in range(50))) == [[n] for n in range(50)]
        await answering.drain()


async def test_a_large_question_and_answer_come_whole(client: BusClient) -> None:
    answering = await bus.answer(client, "policy.x", "q", CountRequest, lambda asked: CountReply([7] * 200_000))
    assert await ask(client, "\r\nMSG x 1 5\r\n" * 40_000) == [7] * 200_000
    await answering.drain()


async def test_a_question_past_the_brokers_limit_fails_alone(client: BusClient) -> None:
    answering = await bus.answer(client, "policy.x", "q", CountRequest, echo)
    with pytest.raises((BusError, ValueError)):
        await ask(client, "x" * 2_000_000)
    assert await ask(client, "xx") == [2]
    await answering.drain()


async def test_nobody_there_is_told_at_once_and_silence_in_time(client: BusClient) -> None:
    with pytest.raises(BusError, match="unreachable"):
        await ask(client, "x", timeout_ms=5_000)

    async def never(_: CountRequest) -> CountReply:
        await asyncio.sleep(60)
        return CountReply([])

    answering = await bus.answer(client, "policy.x", "q", CountRequest, never)
    before = asyncio.get_running_loop().time()
    with pytest.raises(BusError, match="timeout"):
        await ask(client, "x", timeout_ms=80)
    assert asyncio.get_running_loop().time() - before < 1
    await answering.drain(0.05)


async def test_what_a_handler_raises_is_a_fault(client: BusClient) -> None:
    def broken(asked: CountRequest) -> CountReply:
        if asked.texts == ["behind"]:
            raise BusError("behind")
        raise RuntimeError("whatever")

    answering = await bus.answer(client, "policy.x", "q", CountRequest, broken)
    with pytest.raises(BusError, match="behind"):
        await ask(client, "behind")
    with pytest.raises(BusError, match="internal"):
        await ask(client, "x")
    junk = await client.request("policy.x", b"\xc1", timeout=2)
    assert msgspec.msgpack.decode(junk.data, type=Fault).code == "bad_request"
    await answering.drain()


async def test_more_questions_than_can_be_worked_on_wait_and_then_are_refused(
    client: BusClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bus, "CONCURRENT_ANSWERS_MAX", 2)
    monkeypatch.setattr(bus, "WAITING_QUESTIONS_MAX", 3)
    free = asyncio.Event()

    async def slow(asked: CountRequest) -> CountReply:
        await free.wait()
        return echo(asked)

    answering = await bus.answer(client, "policy.x", "q", CountRequest, slow)
    asking = [asyncio.create_task(ask(client, "x" * n)) for n in range(8)]
    await until(lambda: sum(task.done() for task in asking) == 3)
    free.set()
    found = await asyncio.gather(*asking, return_exceptions=True)
    assert [answer for answer in found if isinstance(answer, list)] == [[0], [1], [2], [3], [4]]
    assert [str(error) for error in found[5:]] == ["unavailable"] * 3
    await answering.drain()


async def test_draining_answers_what_was_asked_and_takes_nothing_more(client: BusClient, broker: Broker) -> None:
    asker = await bus.connect("edge", broker.url)

    async def slow(asked: CountRequest) -> CountReply:
        await asyncio.sleep(0.1)
        return echo(asked)

    answering = await bus.answer(client, "policy.x", "q", CountRequest, slow)
    asking = [asyncio.create_task(ask(asker, "x")) for _ in range(20)]
    await asyncio.sleep(0.03)
    await answering.drain()
    assert await asyncio.gather(*asking) == [[1]] * 20
    with pytest.raises(BusError):
        await ask(asker, "x", timeout_ms=300)
    await bus.close(asker)


async def test_answering_goes_on_after_the_broker_was_killed(client: BusClient, broker: Broker) -> None:
    answering = await bus.answer(client, "policy.x", "q", CountRequest, echo)
    assert await ask(client, "x") == [1]
    broker.kill()
    with pytest.raises(BusError):
        await ask(client, "x", timeout_ms=300)
    await asyncio.to_thread(broker.start)

    async def answered() -> bool:
        try:
            return await ask(client, "xyz", timeout_ms=300) == [3]
        except BusError:
            return False

    async with asyncio.timeout(5):
        while not await answered():
            await asyncio.sleep(0.02)
    await until(lambda: client.is_up)
    await answering.drain()


async def test_a_cancelled_question_disturbs_no_other(client: BusClient) -> None:
    answering = await bus.answer(client, "policy.x", "q", CountRequest, echo)
    for _ in range(20):
        going = asyncio.create_task(ask(client, "xxxxx"))
        await asyncio.sleep(0)
        going.cancel()
        assert await ask(client, "x") == [1]
        assert (await asyncio.gather(going, return_exceptions=True))[0].__class__ is asyncio.CancelledError
    await answering.drain()


async def test_what_the_wire_may_not_say_harms_only_itself(broker: Broker) -> None:
    wire = Wire(broker.url, "edge")
    assert await wire.start()
    with pytest.raises(WireError, match="no_responders"):
        await wire.request("nobody.there", b"x", 2)
    with pytest.raises(WireError, match="too_large"):
        wire.request("nobody.there", b"x" * 2_000_000, 2)
    assert wire.is_connected
    await wire.close()
    with pytest.raises(WireError, match="unreachable"):
        wire.request("nobody.there", b"x", 2)


# ── against servers that aren't ── #


async def against(answer: bytes, *, then: bytes = b"", timeout_ms: int = 300) -> str:
    """Publish over the wire to a server that greets with `answer` and reacts to the first HPUB with
    `then`. The error, or "acked".
    """

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
    wire = Wire(f"nats://user:p%40ss@127.0.0.1:{server.sockets[0].getsockname()[1]}", "edge")
    try:
        if not await wire.start():
            return "not used"
        try:
            await WirePublisher(wire).publish("traffic.0", new_id(), b"x", lambda: None, timeout_ms)
        except PublishError as error:
            return str(error)
        return "acked"
    finally:
        await wire.close()
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
    monkeypatch.setattr("shared.wire.CONNECT_TIMEOUT_S", 0.2)
    assert await against(greeting) == "not used"


async def test_closing_leaves_nothing_running(broker: Broker) -> None:
    wire = Wire(broker.url, "edge")
    assert await wire.start()
    before = len(asyncio.all_tasks())
    await wire.close()
    await until(lambda: len(asyncio.all_tasks()) < before)


async def test_a_connection_that_we_close_is_not_reported_as_lost(broker: Broker) -> None:
    lost: list[bool] = []
    connected = await bus.connect("policy", broker.url, on_lost=lambda: lost.append(True))
    with capture_logs() as said:
        await bus.close(connected)
    assert said == [] and lost == []


@pytest.mark.alone
async def test_a_frozen_server_is_left_for_another_one_once_somebody_waited_in_vain(tmp_path: Path) -> None:
    """Not at the third of its own PINGs, which is seconds later. One that answers PINGs is kept: it
    is who was asked that doesn't answer.
    """
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
    with Broker(tmp_path / "one") as one, Broker(tmp_path / "two") as two:
        wire = Wire(f"{one.url},{two.url}", "edge")
        assert await wire.start()
        stands = wire._connection
        assert stands is not None
        here = one if stands._server.port == one.port else two
        listener = await nats.connect(here.url)
        await listener.subscribe("mute")
        await listener.flush()
        with pytest.raises(WireError, match="timeout"):
            await wire.request("mute", b"", 0.05)
        await asyncio.sleep(1.2)
        assert wire._connection is stands and wire.is_connected
        await listener.close()
        here.pause()
        with pytest.raises(WireError, match="timeout"):
            await wire.request("mute", b"", 0.05)
        await until(lambda: wire._connection is not stands and wire.is_connected)
        with pytest.raises(WireError, match="no_responders"):
            await wire.request("mute", b"", 1.0)
        here.resume()
        await wire.close()


async def test_a_question_and_its_answer_outlive_the_server_they_went_by(tmp_path: Path) -> None:
    """The asker's server dies: it asks again by the other one. The answerer's dies with the
    question taken: the answer goes by another way.
    """
    with Broker(tmp_path) as server:
        asker, answerer = await bus.connect("edge", server.url), await bus.connect("policy", server.url)
        asked: list[int] = []

        async def slow(question: CountRequest) -> CountReply:
            asked.append(1)
            await asyncio.sleep(0.2)
            return echo(question)

        answering = await bus.answer(answerer, "policy.x", "q", CountRequest, slow)

        async def question(again: bool) -> list[int]:
            return (await bus.ask(asker, "policy.x", CountRequest("m", ["x"]), CountReply, 3_000, again=again)).tokens

        for broken, again, times in ((answerer, False, 1), (asker, True, 2)):
            asked.clear()
            waiting = asyncio.create_task(question(again))
            await until(lambda: asked)
            assert broken.wire is not None and broken.wire._connection is not None
            transport = broken.wire._connection._transport
            assert transport is not None
            transport.abort()
            assert await waiting == [1] and len(asked) == times
        await answering.drain()
        for client in (asker, answerer):
            await bus.close(client)
