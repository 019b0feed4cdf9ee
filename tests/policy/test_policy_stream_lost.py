"""CONTROL purged, rebuilt, gone, or with something in it that is no fact: what policy answers then.
On a real broker.
"""

import asyncio
import time

import nats.js.errors
import pytest

from shared import streams, subjects
from shared.facts import Caller, ControlFact, encode_control
from shared.grant import Denial, Grant
from tests.policy.conftest import Replica, replica
from tests.policy.world import digest, secret
from tests.support.broker import Broker

NOTICED_S = 6.0


def minted(name: str) -> dict[str, str]:
    return {"token": digest(name), "key_name": "sk-...cdef"}


async def known(one: Replica, name: str) -> bool:
    try:
        decision = await one.decide(secret(name))
    except Exception:
        return True  # it doesn't say no yet
    return isinstance(decision, Grant)


async def until_unknown(one: Replica, name: str) -> None:
    deadline = time.monotonic() + NOTICED_S
    while await known(one, name):
        assert time.monotonic() < deadline, "the old key is still valid"
        await asyncio.sleep(0.05)


async def until_ready(one: Replica) -> None:
    async with asyncio.timeout(NOTICED_S):
        while one.life.reason_not_ready() is not None:
            await asyncio.sleep(0.02)


async def test_a_purge_takes_every_key_and_policy_is_ready(broker: Broker, monkeypatch: pytest.MonkeyPatch) -> None:
    async with replica(broker, "one", monkeypatch) as one:
        await one.admin("/key/generate", minted("a"))
        assert await known(one, "a")
        await one.client.jetstream().purge_stream(subjects.CONTROL_STREAM)
        await until_unknown(one, "a")
        await until_ready(one)
        status, _, reply = await one.admin("/key/generate", minted("b"))
        assert status == 200
        async with replica(broker, "two", monkeypatch) as two:
            assert isinstance(await two.decide(secret("a")), Denial)
            assert isinstance(await two.decide(secret("b"), min_seq=reply.control_seq), Grant)


async def test_a_new_replica_is_ready_on_a_purged_stream(broker: Broker, monkeypatch: pytest.MonkeyPatch) -> None:
    async with replica(broker, "one", monkeypatch) as one:
        await one.admin("/key/generate", minted("a"))
        await one.client.jetstream().purge_stream(subjects.CONTROL_STREAM)
        async with replica(broker, "two", monkeypatch) as two:
            assert isinstance(await two.decide(secret("a")), Denial)


async def test_a_rebuilt_stream_as_long_as_the_old_one_is_another(
    broker: Broker, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with replica(broker, "one", monkeypatch) as one:
        _, _, reply = await one.admin("/key/generate", minted("a"))
        js = one.client.jetstream()
        await js.delete_stream(subjects.CONTROL_STREAM)
        await streams.ensure_control(one.client)
        for number in range(reply.control_seq):
            await js.publish(f"control.later.{number}", encode_control(fact("later", str(number))))
        await until_unknown(one, "a")
        await until_ready(one)
        assert isinstance(await one.decide(secret("a"), min_seq=reply.control_seq), Denial)


async def test_a_stream_that_is_gone_is_made_again(broker: Broker, monkeypatch: pytest.MonkeyPatch) -> None:
    async with replica(broker, "one", monkeypatch) as one:
        await one.admin("/key/generate", minted("a"))
        await one.client.jetstream().delete_stream(subjects.CONTROL_STREAM)
        await until_unknown(one, "a")
        await until_ready(one)
        assert (await one.admin("/key/generate", minted("b")))[0] == 200
        assert await known(one, "b")


@pytest.mark.parametrize("junk", [b"no fact", b'{"type":"control.v1"}', b""])
async def test_what_is_no_fact_takes_no_right_away(
    broker: Broker, monkeypatch: pytest.MonkeyPatch, junk: bytes
) -> None:
    """Neither from a replica that saw the fact before it, nor from one that starts with it; and the
    key can be changed on.
    """
    async with replica(broker, "one", monkeypatch) as one:
        await one.admin("/key/generate", minted("a"))
        await one.admin("/key/update", {"key": digest("a"), "max_parallel_requests": 7})
        subject = subjects.control("key", digest("a"))
        js = one.client.jetstream()
        for _ in range(2):
            seq = (await js.publish(subject, junk)).seq
        assert isinstance(await one.decide(secret("a"), min_seq=seq), Grant)
        async with replica(broker, "two", monkeypatch) as two:
            assert isinstance(await two.decide(secret("a"), min_seq=seq), Grant)
            _, info, _ = await two.admin("/key/info", query={"key": digest("a")})
            assert info["info"]["max_parallel_requests"] == 7, "the last good one, not the first"
            status, _, reply = await two.admin("/key/block", {"key": digest("a")})
            assert status == 200
            assert isinstance(await one.decide(secret("a"), min_seq=reply.control_seq), Denial)


async def test_a_fact_on_another_entitys_subject_changes_neither(
    broker: Broker, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with replica(broker, "one", monkeypatch) as one:
        await one.admin("/key/generate", minted("a"))
        await one.admin("/key/generate", minted("b"))
        deleted = fact("key", digest("a"))
        ack = await one.client.jetstream().publish(subjects.control("key", digest("b")), encode_control(deleted))
        for name in ("a", "b"):
            assert isinstance(await one.decide(secret(name), min_seq=ack.seq), Grant)


async def test_a_subject_of_nothing_but_junk_is_nobodys(broker: Broker, monkeypatch: pytest.MonkeyPatch) -> None:
    async with replica(broker, "one", monkeypatch) as one:
        await one.client.jetstream().publish(subjects.control("key", digest("a")), b"junk")
        async with replica(broker, "two", monkeypatch) as two:
            assert isinstance(await two.decide(secret("a")), Denial)
            assert (await two.admin("/key/generate", minted("a")))[0] == 200
            assert await known(two, "a")


async def test_the_stream_has_no_setting_that_loses_facts(broker: Broker, monkeypatch: pytest.MonkeyPatch) -> None:
    """One that an operator, or an earlier version, made otherwise is put right, and says so to
    whoever asks.
    """
    async with replica(broker, "one", monkeypatch) as one:
        js = one.client.jetstream()
        config = (await js.stream_info(subjects.CONTROL_STREAM)).config
        config.max_age, config.max_msgs_per_subject, config.republish = 3600, 1, None
        await js.update_stream(config)
        await streams.ensure_control(one.client)
        after = (await js.stream_info(subjects.CONTROL_STREAM)).config
        assert (after.max_age, after.max_msgs_per_subject) == (0, -1)
        assert after.republish is not None and after.allow_msg_ttl and after.deny_purge is False
        with pytest.raises(nats.js.errors.Error):
            await js.delete_msg(subjects.CONTROL_STREAM, 1)


def fact(kind: str, entity_id: str) -> ControlFact:
    return ControlFact(f"id-{kind}-{entity_id}", 0, kind, entity_id, "deleted", Caller(), {}, None)
