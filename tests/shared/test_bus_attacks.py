"""What somebody with one service's credentials can make the bus do: every user × every subject, as
publisher, as the subject an answer is wanted at, and as the subject a consumer delivers to. The
broker is real; services answer wherever they are asked to, so that the accounts have to hold by
themselves."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import msgspec
import nats.errors
import pytest
from nats.aio.client import Client
from nats.aio.msg import Msg

from shared import bus, streams, subjects
from shared.requests import AdminRequest, CountReply, CountRequest
from shared.streams import StreamState
from tests.support.broker import AccountsBroker

SERVICES = tuple(subjects.PERMISSIONS)
THIEVES = ("edge", "moderation", "ledger")
"""Policy writes control facts: who has its credentials needs no trick."""
TARGETS = (
    "control.key.stolen",
    *(f"$JS.API.STREAM.{verb}.CONTROL" for verb in ("PURGE", "DELETE", "UPDATE", "CREATE", "MSG.DELETE", "SNAPSHOT")),
    *(f"$JS.API.STREAM.{verb}.TRAFFIC" for verb in ("PURGE", "DELETE", "UPDATE", "MSG.DELETE")),
    "$JS.API.CONSUMER.CREATE.CONTROL",
    "$JS.API.CONSUMER.CREATE.TRAFFIC",
    "traffic.0",
    "policy.decide",
    "policy.admin",
    "moderation.screen",
    "moderation.count",
    "feed.control.key.stolen",
    "state.control",
    "history.control",
    "_INBOX_policy.guessed",
    "_INBOX_ledger.guessed",
    "_R_.guessed.1",
    "$SYS.REQ.SERVER.PING",
)
BODIES = (b"", b"{}", b'{"seq":1}')


class Seen:
    """What reached the services, by subject."""

    def __init__(self) -> None:
        self.bodies: dict[str, list[bytes]] = {}

    async def take(self, message: Msg) -> None:
        self.bodies.setdefault(message.subject, []).append(message.data)
        if message.reply:
            await message.respond(b'{"seq":1}')


@asynccontextmanager
async def world(broker: AccountsBroker) -> AsyncIterator[tuple[Client, Client, Seen]]:
    """Policy's and ledger's connections, both streams with three messages each, and services that
    answer anything anywhere.
    """
    seen = Seen()
    policy, ledger, moderation = [await broker.client(user) for user in ("policy", "ledger", "moderation")]
    try:
        await streams.ensure_control(policy)
        await streams.ensure_traffic(ledger, 64 * 1024**2)
        for number in range(3):
            await policy.jetstream().publish(f"control.key.{number}", b"{}")
        edge = await broker.client("edge")
        for _ in range(3):
            await edge.request("traffic.0", b"{}", timeout=2)
        await edge.close()
        for client, names in ((policy, ("policy.decide", "policy.admin")), (moderation, ("moderation.screen",))):
            for name in names:
                await client.subscribe(name, cb=seen.take)
            await client.flush()
        yield policy, ledger, seen
    finally:
        for client in (policy, ledger, moderation):
            await client.close()


async def states(policy: Client, ledger: Client) -> tuple[StreamState, StreamState, str]:
    control = await streams.state(policy, "CONTROL")
    settings = (await policy.request("$JS.API.STREAM.INFO.CONTROL", b"", timeout=2)).data
    return control, await streams.state(ledger, "TRAFFIC"), json.dumps(json.loads(settings)["config"], sort_keys=True)


def may_publish(user: str, subject: str) -> bool:
    return any(matches(pattern, subject) for pattern in subjects.PERMISSIONS[user].publish)


def matches(pattern: str, subject: str) -> bool:
    ours, theirs = pattern.split("."), subject.split(".")
    for place, token in enumerate(ours):
        if token == ">":
            return len(theirs) > place
        if place >= len(theirs) or token not in ("*", theirs[place]):
            return False
    return len(ours) == len(theirs)


def questions(user: str) -> list[str]:
    """What a user may ask of others, or of the broker: each with a real subject for every
    wildcard.
    """
    return [subject.replace("*", "0").replace(">", "x") for subject in subjects.PERMISSIONS[user].publish]


@pytest.mark.parametrize("thief", THIEVES)
async def test_nobody_publishes_but_where_the_table_says(thief: str, tmp_path: Path) -> None:
    with AccountsBroker(tmp_path) as broker:
        async with world(broker) as (policy, ledger, seen):
            control, traffic, settings = await states(policy, ledger)
            errors: list[Exception] = []
            client = await broker.client(thief, errors)
            forbidden = [target for target in TARGETS if not may_publish(thief, target)]
            for target in forbidden:
                for body in BODIES:
                    await client.publish(target, body)
            await client.flush()
            await asyncio.sleep(0.1)
            assert len(errors) == len(forbidden) * len(BODIES)
            assert await states(policy, ledger) == (control, traffic, settings)
            assert seen.bodies == {}
            await client.close()


@pytest.mark.parametrize("thief", THIEVES)
async def test_no_answer_does_anything_where_it_goes(thief: str, tmp_path: Path) -> None:
    """Asked with a reply subject of the thief's choice: a service's answer, the broker's
    acknowledgement, an API's answer.
    """
    with AccountsBroker(tmp_path) as broker:
        async with world(broker) as (policy, ledger, seen):
            control, traffic, settings = await states(policy, ledger)
            client = await broker.client(thief)
            for question in questions(thief):
                if "PURGE.TRAFFIC" in question:
                    continue  # the ledger's right, whatever the answer does
                for target in TARGETS:
                    await client.publish(question, b"", reply=target)
            await client.flush()
            await asyncio.sleep(0.3)
            control_after, traffic_after, settings_after = await states(policy, ledger)
            assert (control_after, settings_after) == (control, settings)
            assert traffic_after.created == traffic.created and traffic_after.gone == traffic.gone
            if thief == "moderation":
                assert traffic_after == traffic
            if thief != "edge":  # an API's answer may come along, which is no question
                for body in seen.bodies.get("policy.admin", []):
                    for kind in (AdminRequest, list[AdminRequest]):
                        with pytest.raises(msgspec.DecodeError):
                            msgspec.msgpack.decode(body, type=kind)
            await client.close()


async def test_a_consumer_delivers_nothing_that_does_anything_elsewhere(tmp_path: Path) -> None:
    """Only who owns a stream may make consumers; the ledger's can't reach policy's account, nor
    write what others trust.
    """
    assert [user for user in SERVICES if any("CONSUMER.CREATE" in s for s in subjects.PERMISSIONS[user].publish)] == [
        "policy",
        "ledger",
    ]
    with AccountsBroker(tmp_path) as broker:
        async with world(broker) as (policy, ledger, seen):
            control, traffic, settings = await states(policy, ledger)
            thief = await broker.client("ledger")
            for target in TARGETS:
                if "TRAFFIC" in target:
                    continue  # its own stream
                config = {"deliver_subject": target, "ack_policy": "none", "deliver_policy": "all", "mem_storage": True}
                body = json.dumps({"stream_name": "TRAFFIC", "config": config}).encode()
                await thief.request("$JS.API.CONSUMER.CREATE.TRAFFIC", body, timeout=2)
            await asyncio.sleep(0.3)
            assert await states(policy, ledger) == (control, traffic, settings)
            assert "policy.admin" not in seen.bodies and "moderation.screen" not in seen.bodies
            await thief.close()


async def test_in_one_account_the_same_would_work(tmp_path: Path) -> None:
    """That the tests above can fail: the same users with the same permissions, without the
    walls.
    """
    with AccountsBroker(tmp_path, one_account=True) as broker:
        async with world(broker) as (policy, _, _):
            thief = await broker.client("edge")
            await thief.publish("traffic.0", b"{}", reply="control.key.1")
            await thief.flush()
            await asyncio.sleep(0.1)
            assert (await streams.state(policy, "CONTROL")).last_seq == 4, "the broker wrote it for the thief"
            await thief.close()


@pytest.mark.parametrize("library", [False, True])
async def test_a_service_answers_in_inboxes_only(
    tmp_path: Path, library: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where the broker has no walls: the question isn't even handled."""
    handled: list[CountRequest] = []

    def handle(question: CountRequest) -> CountReply:
        handled.append(question)
        return CountReply([1])

    with AccountsBroker(tmp_path, one_account=True) as broker:
        service = await bus.connect("moderation", broker.url("moderation"))
        if library:
            assert service.wire is not None
            await service.wire.close()
            service.wire = None
        operator = await broker.client("operator")
        stolen: list[Msg] = []

        async def take(message: Msg) -> None:
            stolen.append(message)

        await operator.subscribe("anywhere.>", cb=take)
        answering = await bus.answer(service, "moderation.count", "q", CountRequest, handle)
        question = msgspec.msgpack.encode(CountRequest("m", ["x"]))
        for reply in ("anywhere.1", "", "x._INBOX_edge.1"):
            await operator.publish("moderation.count", question, reply=reply)
        await operator.flush()
        await asyncio.sleep(0.1)
        assert handled == [] and stolen == []
        answer = await bus.ask(await _asker(broker), "moderation.count", CountRequest("m", ["x"]), CountReply, 2_000)
        assert answer == CountReply([1]) and len(handled) == 1
        await answering.drain(1)
        await operator.close()
        await bus.close(service)


async def _asker(broker: AccountsBroker) -> bus.BusClient:
    return await bus.connect("edge", broker.url("edge"))


async def test_the_doors_are_open(tmp_path: Path) -> None:
    """Every door does for its users what it is for."""
    with AccountsBroker(tmp_path) as broker:
        async with world(broker) as (policy, _, _):
            edge, ledger = await broker.client("edge"), await broker.client("ledger")
            told: list[Msg] = []

            async def take(message: Msg) -> None:
                told.append(message)

            await edge.subscribe(subjects.CONTROL_FEED, cb=take)
            await edge.flush()
            await asyncio.sleep(0.2)  # the library writes its PING before commands that wait: the flush may come first
            await policy.jetstream().publish("control.key.new", b"secret")
            assert (await streams.state(edge, "CONTROL")).last_seq == 4
            assert (await streams.state(ledger, "CONTROL")).last_seq == 4
            assert (await streams.state(edge, "TRAFFIC")).last_seq == 3
            async with asyncio.timeout(5):
                while not told:
                    await asyncio.sleep(0.01)
            assert [(m.subject, m.data) for m in told] == [("feed.control.key.new", b"")], "what, not to what"
            with pytest.raises(nats.errors.Error):
                await edge.request("history.control", b'{"seq":1}', timeout=0.3)
            await edge.close()
            await ledger.close()
