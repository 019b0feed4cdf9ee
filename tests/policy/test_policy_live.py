"""Replicas on a real broker: concurrency, read-your-writes, restarts."""

import asyncio
import itertools
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import msgspec
import pytest

from services.policy.publish import BATCH_BYTES_MAX, BATCH_FACTS_MAX, Publication, batches, publish
from shared import bus, streams, subjects
from shared.errors import RefusedError
from shared.facts import Caller, ControlFact, decode_control
from shared.grant import Denial, Grant
from shared.ids import digest_key
from shared.requests import AdminReply, AdminRequest, DecideReply, DecideRequest
from tests.policy.conftest import Replica, replica
from tests.policy.world import CONFIG, MASTER_KEY, OF_ALL, digest, secret
from tests.support.broker import Broker
from tests.support.ports import free_port

ROUNDS = 25


@pytest.fixture
async def pair(broker: Broker, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Any]:
    async with AsyncExitStack() as stack:
        first = await stack.enter_async_context(replica(broker, "one", monkeypatch))
        second = await stack.enter_async_context(replica(broker, "two", monkeypatch))
        yield first, second


def minted(name: str, **fields: object) -> dict:
    return {"token": digest(name), "key_name": "sk-...cdef", **fields}


async def facts_of(broker: Broker, subject: str = subjects.CONTROL_ALL) -> list[ControlFact]:
    """The whole history, oldest first."""
    client = await bus.connect("test", broker.url)
    stream = client.jetstream()
    last = (await stream.stream_info(subjects.CONTROL_STREAM)).state.last_seq
    found = [await stream.get_msg(subjects.CONTROL_STREAM, seq) for seq in range(1, last + 1)]
    await client.close()
    return [decode_control(m.data) for m in found if subject == subjects.CONTROL_ALL or m.subject == subject]


async def test_life_of_a_key(pair: tuple[Replica, Replica], broker: Broker) -> None:
    one, two = pair
    denial = await two.decide(secret("a"))
    assert isinstance(denial, Denial) and denial.refusal.code == "unknown_key"
    assert denial.depends_on == [f"control.key.{digest('a')}", *OF_ALL]
    status, body, reply = await one.admin(
        "/key/generate", minted("a", key_alias="prod"), on_behalf_of="alice\0", requester_ip="10.0.0.1"
    )
    assert status == 200 and body["key"] == digest("a")
    assert reply.changed == [f"control.key.{digest('a')}", "control.alias.prod"]
    grant = await two.decide(secret("a"), min_seq=reply.control_seq)
    assert isinstance(grant, Grant) and grant.control_seq >= reply.control_seq
    status, _, reply = await one.admin("/key/delete", {"keys": [digest("a")]})
    assert status == 200
    denial = await two.decide(secret("a"), min_seq=reply.control_seq)
    assert isinstance(denial, Denial) and denial.refusal.code == "unknown_key"
    history = await facts_of(broker)
    assert [(f.kind, f.action) for f in history] == [
        ("key", "created"), ("alias", "created"), ("key", "deleted"), ("alias", "deleted"),
    ]  # fmt: skip
    assert history[0].actor.key_sha256 == "litellm_proxy_master_key"
    assert (history[0].on_behalf_of, history[0].requester_ip) == ("alice", "10.0.0.1")
    assert history[2].before == history[0].after and history[2].after is None


async def test_only_admins_write_and_refusals_leave_no_facts(pair: tuple[Replica, Replica], broker: Broker) -> None:
    one, _ = pair
    await one.admin("/key/generate", minted("a"))
    for credential, status in ((secret("a"), 403), (secret("nobody"), 401)):
        got, body, reply = await one.admin("/key/generate", minted("b"), credential=credential)
        assert (got, reply.changed) == (status, []) and set(body["error"]) == {"message", "type", "param", "code"}
    assert (await one.admin("/key/update", {"key": digest("a"), "models": 1}))[0] == 400
    assert (await one.admin("/no/such"))[0] == 403
    status, body, _ = await one.admin("/key/info", credential=secret("a"))
    assert status == 200 and body["key"] == digest("a")
    assert len(await facts_of(broker)) == 1


async def test_a_command_that_comes_after_its_deadline_changes_nothing(
    pair: tuple[Replica, Replica], broker: Broker
) -> None:
    """Its client was told that the outcome is unknown, and may have made and confirmed another
    change since.
    """
    first, _ = pair
    late, now_ms = {"token": digest("late"), "key_name": "sk-...late"}, time.time_ns() // 1_000_000
    status, answer, reply = await first.admin("/key/generate", late, deadline_at_ms=now_ms - 1)
    assert (status, reply.changed) == (503, [])
    assert "after its deadline" in answer["error"]["message"]
    assert (await first.decide(secret("late"))).refusal.code == "unknown_key"
    status, _, _ = await first.admin("/key/generate", late, deadline_at_ms=now_ms + 60_000)
    assert status == 200


async def test_concurrent_updates_lose_nothing(pair: tuple[Replica, Replica], broker: Broker) -> None:
    """Updates of one key on both replicas at once: each is told 409 or is in the key for good, and
    every fact builds on the last.
    """
    one, two = pair
    _, _, reply = await one.admin("/key/generate", minted("a"))
    seq, expected, rounds = reply.control_seq, {}, Counter[int]()
    for number in range(ROUNDS):
        fields = [f"x{number}-{who}" for who in range(4)]
        updates = [pair[n % 2].admin("/key/update", {"key": digest("a"), name: n}) for n, name in enumerate(fields)]
        answers = await asyncio.gather(*updates)
        assert {status for status, _, _ in answers} <= {200, 409}, answers
        assert all(body["error"]["type"] == "conflict_error" for status, body, _ in answers if status == 409)
        won = [n for n, (status, _, _) in enumerate(answers) if status == 200]
        assert won, "somebody is always first"
        expected |= {fields[n]: n for n in won}
        rounds[len(won)] += 1
        seq = max(seq, *(answers[n][2].control_seq for n in won))
    assert rounds[1] > 0, f"they never met: {rounds}"
    for who in (one, two):
        _, body, _ = await who.admin("/key/info", query={"key": digest("a")}, min_seq=seq)
        assert {name: n for name, n in body["info"].items() if name.startswith("x")} == expected
    history = await facts_of(broker)
    assert len(history) == 1 + len(expected)
    assert all(then.before == now.after for now, then in itertools.pairwise(history)), "a broken chain"


async def test_an_alias_goes_to_exactly_one_key(pair: tuple[Replica, Replica], broker: Broker) -> None:
    one, two = pair
    for number in range(ROUNDS):
        answers = await asyncio.gather(
            *(who.admin("/key/generate", minted(f"{number}-{i}", key_alias=f"a{number}")) for i, who in enumerate(pair))
        )
        statuses = sorted(status for status, _, _ in answers)
        assert statuses[0] == 200 and statuses[1] in (400, 409), statuses
    seq = max(reply.control_seq for _, _, reply in answers)
    for who in (one, two):
        _, listed, _ = await who.admin("/key/list", query={"size": "100", "return_full_object": "true"}, min_seq=seq)
        aliases = [key["key_alias"] for key in listed["keys"]]
        assert sorted(aliases) == sorted(f"a{n}" for n in range(ROUNDS)), "no key without its alias, none twice"
    assert len(await facts_of(broker)) == 2 * ROUNDS, "a refused batch leaves nothing behind"


async def test_two_teams_of_one_id(pair: tuple[Replica, Replica]) -> None:
    answers = await asyncio.gather(*(who.admin("/team/new", {"team_id": "t"}) for who in pair))
    assert sorted(status for status, _, _ in answers) in ([200, 409], [200, 400])


async def test_deleting_a_team_with_many_keys(pair: tuple[Replica, Replica], broker: Broker) -> None:
    one, two = pair
    await one.admin("/team/new", {"team_id": "t"})
    names = [f"k{n}" for n in range(600)]
    for at in range(0, len(names), 100):
        done = await asyncio.gather(*(one.admin("/key/generate", minted(n, team_id="t")) for n in names[at : at + 100]))
        assert {status for status, _, _ in done} == {200}
    await one.admin("/key/update", {"key": digest("k7"), "key_alias": "seven"})
    status, _, reply = await one.admin("/team/delete", {"team_ids": ["t"]})
    assert status == 200 and len(reply.changed) == 600 + 1 + 1
    _, listed, _ = await two.admin("/key/list", min_seq=reply.control_seq)
    assert listed["total_count"] == 0
    message = await one.client.jetstream().get_msg(subjects.CONTROL_STREAM, reply.control_seq)
    last = decode_control(message.data)
    assert (last.kind, last.action) == ("team", "deleted")


async def test_a_restarted_replica_knows_the_same(
    pair: tuple[Replica, Replica], broker: Broker, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, two = pair
    await one.admin("/team/new", {"team_id": "t", "models": ["gpt"]})
    for number in range(20):
        await two.admin("/key/generate", minted(f"k{number}", team_id="t", key_alias=f"a{number}"))
        await one.admin("/key/update", {"key": digest(f"k{number}"), "metadata": {"n": number}})
    await one.admin("/key/delete", {"keys": [digest("k3")]})
    _, _, reply = await two.admin("/key/block", {"key": digest("k4")})
    everything = [
        ("/key/list", {"size": "100", "return_full_object": "true"}),
        ("/team/list", {}),
        ("/team/info", {"team_id": "t"}),
    ]

    async def told(who: Replica) -> list:
        answers = [(await who.admin(route, query=query, min_seq=reply.control_seq))[1] for route, query in everything]
        for row in (answers[0], answers[2]):
            row["keys"].sort(key=lambda k: k["token"])
        return answers

    async with replica(broker, "three", monkeypatch) as three:
        assert await told(three) == await told(one) == await told(two)
        assert (await three.decide(secret("k4"))).refusal.code == "blocked_key"
        status, _, _ = await three.admin("/key/unblock", {"key": digest("k4")})
        assert status == 200, "it knows each subject's last sequence"


async def test_reads_its_own_writes_across_replicas(pair: tuple[Replica, Replica]) -> None:
    one, two = pair
    for number in range(50):
        _, _, reply = await one.admin("/key/generate", minted(f"r{number}"))
        assert isinstance(await two.decide(secret(f"r{number}"), min_seq=reply.control_seq), Grant)
        assert isinstance(await one.decide(secret(f"r{number}")), Grant), "at once on the replica that wrote"


async def test_a_sequence_nobody_has_reached_is_behind(pair: tuple[Replica, Replica]) -> None:
    with pytest.raises(bus.BusError, match="behind"):
        await pair[0].decide(secret("a"), min_seq=10**6)
    with pytest.raises(bus.BusError, match="behind"):
        await pair[0].admin("/key/list", min_seq=10**6)


async def test_a_broker_that_dies_and_comes_back(pair: tuple[Replica, Replica], broker: Broker) -> None:
    one, two = pair
    await one.admin("/key/generate", minted("a"))
    broker.kill()
    await asyncio.sleep(0.3)
    broker.start()
    deadline = time.monotonic() + 15
    while time.monotonic() < deadline:
        try:
            status, _, reply = await one.admin("/key/update", {"key": digest("a"), "models": ["gpt"]})
            if status == 200:
                break
        except bus.BusError:
            pass
        await asyncio.sleep(0.1)
    assert status == 200
    assert isinstance(await two.decide(secret("a"), min_seq=reply.control_seq), Grant)


async def test_stops_cleanly_without_its_broker(broker: Broker, monkeypatch: pytest.MonkeyPatch) -> None:
    async with asyncio.timeout(8):
        async with replica(broker, "one", monkeypatch) as one:
            broker.kill()
            await asyncio.sleep(0.2)
            with pytest.raises(bus.BusError):
                await one.decide(secret("a"))


async def test_writes_without_the_broker_are_refused_not_lost(pair: tuple[Replica, Replica], broker: Broker) -> None:
    """Asked directly: with the broker gone nobody could ask over it."""
    broker.kill()
    await asyncio.sleep(0.2)
    fact = ControlFact("id", 0, "key", "x", "created", Caller(), None, {})
    with pytest.raises(RefusedError) as refused:
        await publish(pair[0].client, batches([Publication("control.key.x", 0, fact)])[0])
    assert refused.value.refusal.code == "book_unavailable"


async def test_an_unknown_outcome_says_so(broker: Broker) -> None:
    """A broker that stops answering: the fact may or may not have landed."""
    client = await bus.connect("policy", broker.url)
    await streams.ensure_control(client)
    fact = ControlFact("id", 0, "key", "x", "created", Caller(), None, {})
    broker.pause()
    start = time.monotonic()
    with pytest.raises(RefusedError) as refused:
        await publish(client, batches([Publication(f"control.key.x{n}", 0, fact) for n in range(2)])[0])
    broker.resume()
    assert refused.value.refusal.code == "outcome_unknown" and refused.value.refusal.status == 503
    assert time.monotonic() - start < 10
    await client.close()


def test_batches_are_bounded() -> None:
    fact = ControlFact("id", 0, "key", "x", "deleted", Caller(), {"x": "y" * 50_000}, None)
    small = msgspec.structs.replace(fact, before={})
    for one, count in ((fact, 300), (small, 1_201)):
        cut = batches([Publication(f"control.key.{n}", 0, one) for n in range(count)])
        assert [p.subject for batch in cut for p, _ in batch] == [f"control.key.{n}" for n in range(count)]
        assert all(len(b) <= BATCH_FACTS_MAX and sum(len(d) for _, d in b) <= BATCH_BYTES_MAX for b in cut)
        assert len(cut) > 2


async def test_junk_on_the_bus_is_answered_not_fatal(pair: tuple[Replica, Replica], broker: Broker) -> None:
    one, _ = pair
    for junk in (b"", b"\xc1", b"[]", msgspec.msgpack.encode([1, 2, 3])):
        reply = await one.client.request("one.policy.decide", junk, timeout=3)
        assert msgspec.msgpack.decode(reply.data)[1] == "bad_request"
    stream = one.client.jetstream()
    await stream.publish(f"control.key.{digest('a')}", b"no fact at all")
    await one.admin("/key/generate", minted("a"), min_seq=1)
    assert isinstance(await one.decide(secret("a")), Grant), "an unreadable fact doesn't stop the feed"


async def test_the_process(broker: Broker, tmp_path: Path) -> None:
    """`python -m services.policy`: probes, a decision, killed and back, and a clean end. Also: no
    secret in its log.
    """
    config = tmp_path / "config.yaml"
    config.write_text(CONFIG)
    port = free_port()
    env = {k: v for k, v in os.environ.items() if not k.startswith("TOLLGATE_")} | {
        "TOLLGATE_NATS_URL": broker.url,
        "TOLLGATE_CONFIG": str(config),
        "TOLLGATE_POLICY_PROBE_PORT": str(port),
    }
    client = await bus.connect("edge", broker.url)
    log = (tmp_path / "log").open("wb")
    process = subprocess.Popen([sys.executable, "-m", "services.policy"], env=env, stderr=log)
    try:
        await _ready(port)
        question = AdminRequest(digest_key(MASTER_KEY), "/key/generate", {}, minted("a"))
        reply = await bus.ask(client, subjects.POLICY_ADMIN, question, AdminReply, 3_000)
        assert reply.status == 200
        process.kill()
        process.wait()
        process = subprocess.Popen([sys.executable, "-m", "services.policy"], env=env, stderr=log)
        await _ready(port)
        asked = [
            bus.ask(client, subjects.POLICY_DECIDE, DecideRequest(digest("a"), "/models"), DecideReply, 3_000)
            for _ in range(200)
        ]
        waiting = asyncio.gather(*asked)
        await asyncio.sleep(0)
        process.send_signal(signal.SIGTERM)
        answers = await asyncio.gather(waiting, return_exceptions=True)
        assert not isinstance(answers[0], BaseException) or isinstance(answers[0], bus.BusError)
        assert await asyncio.to_thread(process.wait, 10) == 0
        assert await _stops_without_broker(process.args, env, log, port, broker) == 0
        text = (tmp_path / "log").read_text()
        assert MASTER_KEY not in text and digest_key(MASTER_KEY) not in text and "Traceback" not in text
    finally:
        process.kill()
        process.wait()
        log.close()
        await client.close()


async def _stops_without_broker(command: object, env: dict, log: object, port: int, broker: Broker) -> int:
    process = subprocess.Popen(command, env=env, stderr=log)
    try:
        await _ready(port)
        broker.kill()
        await asyncio.sleep(0.2)
        process.send_signal(signal.SIGTERM)
        return await asyncio.to_thread(process.wait, 10)
    finally:
        process.kill()
        process.wait()


async def _ready(port: int) -> None:
    async with asyncio.timeout(15):
        while True:
            try:
                reader, writer = await asyncio.open_connection("127.0.0.1", port)
                writer.write(b"GET /ready HTTP/1.0\r\n\r\n")
                head = await reader.readline()
                writer.close()
                if b" 200 " in head:
                    return
            except OSError:
                pass
            await asyncio.sleep(0.05)
