"""Questions that travel together: each gets its own answer, and none fails for another's sake."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import msgspec
import pytest
import pytest_asyncio

from shared import batching, bus
from shared.bus import BusClient, BusError
from shared.requests import CountReply, CountRequest, Fault
from shared.wire_connection import WireError
from tests.support.broker import Broker


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Broker]:
    with Broker(tmp_path) as running:
        yield running


@pytest_asyncio.fixture
async def client(broker: Broker) -> AsyncIterator[BusClient]:
    connected = await bus.connect("policy", broker.url)
    assert connected.wire is not None
    yield connected
    await bus.close(connected)


class Answerer:
    """Counts what comes: `messages` on the bus, and the questions in them."""

    def __init__(self, client: BusClient) -> None:
        self.client = client
        self.messages: list[bytes] = []
        self.asked: list[str] = []

    async def start(self, handler: bus.Handler[CountRequest]) -> bus.Answering:
        def noting(asked: CountRequest) -> msgspec.Struct:
            self.asked += asked.texts
            return handler(asked)  # type: ignore[return-value]

        answering = await bus.answer(self.client, "policy.x", "q", CountRequest, noting)
        take = answering.take  # type: ignore[attr-defined]
        wire = self.client.wire
        assert wire is not None

        def count(reply: bytes, data: bytes) -> None:
            self.messages.append(data)
            take(reply, data)

        sid, found = next((sid, s) for sid, s in wire._subscriptions.items() if s.subject == "policy.x")
        wire._subscriptions[sid] = found._replace(on_message=count)
        return answering


@pytest.fixture
def answerer(client: BusClient) -> Answerer:
    return Answerer(client)


def echo(asked: CountRequest) -> CountReply:
    return CountReply([len(text) for text in asked.texts])


async def ask(client: BusClient, *texts: str, timeout_ms: int = 2_000, subject: str = "policy.x") -> list[int]:
    question = CountRequest("m", list(texts))
    return (await bus.ask(client, subject, question, CountReply, timeout_ms, together=True)).tokens


async def outcomes(client: BusClient, texts: list[str], timeout_ms: int = 2_000) -> list[object]:
    asking = (ask(client, text, timeout_ms=timeout_ms) for text in texts)
    found = await asyncio.gather(*asking, return_exceptions=True)
    return [str(each) if isinstance(each, BusError) else each for each in found]


async def test_what_is_asked_in_one_turn_travels_together(client: BusClient, answerer: Answerer) -> None:
    await answerer.start(echo)
    assert await outcomes(client, ["x" * n for n in range(40)]) == [[n] for n in range(40)]
    assert [message.startswith(batching.HEAD) for message in answerer.messages] == [True, True, True]
    assert sorted(answerer.asked, key=len) == ["x" * n for n in range(40)]


async def test_a_question_alone_in_its_turn_travels_as_it_is(client: BusClient, answerer: Answerer) -> None:
    await answerer.start(echo)
    for n in range(3):
        assert await ask(client, "x" * n) == [n]
    assert answerer.messages == [msgspec.msgpack.encode(CountRequest("m", ["x" * n])) for n in range(3)]


async def test_other_places_other_deadlines_and_large_questions_do_not_mix(
    client: BusClient, answerer: Answerer
) -> None:
    await answerer.start(echo)
    other = await bus.answer(client, "policy.y", "q", CountRequest, lambda asked: CountReply([1000]))
    large = "x" * batching.BYTES_MAX
    found = await asyncio.gather(
        ask(client, "a"),
        ask(client, "b", subject="policy.y"),
        ask(client, "c", timeout_ms=900),
        ask(client, large),
        ask(client, "dd"),
    )
    assert [*found] == [[1], [1000], [1], [len(large)], [2]]
    assert len(answerer.messages) == 4
    await other.drain()


async def test_a_handler_that_fails_fails_its_own_question_alone(client: BusClient, answerer: Answerer) -> None:
    def sometimes(asked: CountRequest) -> CountReply:
        if asked.texts == ["no"]:
            raise BusError("behind")
        if asked.texts == ["broken"]:
            raise RuntimeError("whatever")
        return echo(asked)

    await answerer.start(sometimes)
    assert await outcomes(client, ["a", "no", "bb", "broken"]) == [[1], "behind", [2], "internal"]
    assert len(answerer.messages) == 1


async def test_those_that_wait_are_waited_for_side_by_side(client: BusClient, answerer: Answerer) -> None:
    waiting, together = 0, asyncio.Event()

    async def later(asked: CountRequest) -> CountReply:
        nonlocal waiting
        waiting += 1
        if waiting == 3:
            together.set()
        await together.wait()
        if asked.texts == ["no"]:
            raise BusError("behind")
        return echo(asked)

    await answerer.start(lambda asked: echo(asked) if asked.texts == ["now"] else later(asked))
    assert await outcomes(client, ["a", "now", "no", "bb"]) == [[1], [3], "behind", [2]]
    assert len(answerer.messages) == 1


async def test_an_unreadable_question_does_not_take_the_others_with_it(client: BusClient, answerer: Answerer) -> None:
    await answerer.start(echo)
    good = msgspec.msgpack.encode(CountRequest("m", ["xx"]))
    futures = [client.bundler.ask("policy.x", data, 2) for data in (good, b"\x91\x01", good)]
    one, bad, two = await asyncio.gather(*futures)
    assert one == two == msgspec.msgpack.encode(CountReply([2]))
    assert msgspec.msgpack.decode(bad, type=Fault).code == "bad_request"
    assert len(answerer.messages) == 4  # together, then each alone


async def test_answers_too_large_together_come_one_by_one(client: BusClient, answerer: Answerer) -> None:
    await answerer.start(lambda asked: CountReply([7] * 600_000))  # of the broker's 1 MB
    assert await outcomes(client, ["a", "b", "c"]) == [[7] * 600_000] * 3
    assert answerer.asked == ["a", "b", "c"] * 2


@pytest.mark.parametrize(
    "answer", [b"", batching.HEAD, b"\xc1", batching.pack([b"\x01"]), batching.pack([b"\x01"] * 3)]
)
async def test_an_answer_that_is_none_of_a_bundle_has_each_asked_alone(client: BusClient, answer: bytes) -> None:
    wire = client.wire
    assert wire is not None

    def reply(to: bytes, data: bytes) -> None:
        wire.send(to, answer if data.startswith(batching.HEAD) else msgspec.msgpack.encode(CountReply([5])))

    await wire.subscribe("policy.x", "q", reply)
    assert await outcomes(client, ["a", "b"]) == [[5], [5]]


async def test_when_nobody_answers_all_are_told_in_time(client: BusClient, answerer: Answerer, broker: Broker) -> None:
    assert await outcomes(client, ["a", "b"]) == ["unreachable"] * 2

    async def never(_: CountRequest) -> CountReply:
        await asyncio.sleep(60)
        return CountReply([])

    answering = await answerer.start(never)
    before = asyncio.get_running_loop().time()
    assert await outcomes(client, ["a", "b"], timeout_ms=80) == ["timeout"] * 2
    assert asyncio.get_running_loop().time() - before < 1
    asking = asyncio.create_task(outcomes(client, ["a", "b"], timeout_ms=5_000))
    await asyncio.sleep(0.05)
    broker.kill()
    assert await asking == ["unreachable"] * 2
    with pytest.raises(WireError, match="unreachable"):
        await client.bundler.ask("policy.x", b"x", 1)
    await answering.drain(0.05)


async def test_who_stops_waiting_disturbs_no_other(client: BusClient, answerer: Answerer) -> None:
    async def soon(asked: CountRequest) -> CountReply:
        await asyncio.sleep(0.02)
        return echo(asked)

    await answerer.start(soon)
    for moments in range(4):
        asking = [asyncio.create_task(ask(client, "x" * n)) for n in range(4)]
        for _ in range(moments):
            await asyncio.sleep(0)
        asking[1].cancel()
        found = await asyncio.gather(*asking, return_exceptions=True)
        assert isinstance(found[1], asyncio.CancelledError)
        assert [found[0], found[2], found[3]] == [[0], [2], [3]]
