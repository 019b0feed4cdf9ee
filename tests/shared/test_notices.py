"""Notices of control facts: none of what matters goes unnoticed, on a real broker with Tollgate's
accounts.
"""

import asyncio
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from nats.aio.client import Client

from shared import bus, notices, streams, subjects
from shared.notices import ControlNotices
from tests.support.broker import AccountsBroker


class Follower:
    """An edge's notices, and what they told."""

    def __init__(self, client: Client) -> None:
        self.told: list[tuple[str, int]] = []
        self.resets = 0
        self.notices = ControlNotices(client, lambda subject, seq: self.told.append((subject, seq)), self._reset)

    def _reset(self) -> None:
        self.resets += 1

    async def until(self, holds: object, timeout_s: float = 10.0) -> None:
        deadline = time.monotonic() + timeout_s
        while not holds():  # type: ignore[operator]
            assert time.monotonic() < deadline, (self.told, self.resets, self.notices.seq)
            await asyncio.sleep(0.01)


@pytest.fixture
def broker(tmp_path: Path) -> AsyncIterator[AccountsBroker]:  # type: ignore[misc]
    with AccountsBroker(tmp_path) as running:
        yield running


@pytest.fixture
async def policy(broker: AccountsBroker) -> AsyncIterator[Client]:
    client = await broker.client("operator-control")
    await streams.ensure_control(client)
    await client.jetstream().publish("control.key.old", b"x")
    yield client
    await client.close()


@pytest.fixture
async def follower(broker: AccountsBroker, policy: Client) -> AsyncIterator[Follower]:
    client = await bus.connect("edge", broker.url("edge"))
    following = Follower(client)
    await following.notices.start()
    await asyncio.wait_for(following.notices.begun.wait(), 10)
    yield following
    await following.notices.close()
    await bus.close(client)


async def test_begins_at_the_present_and_tells_each_change_at_once(follower: Follower, policy: Client) -> None:
    assert follower.notices.seq == 1 and follower.notices.caught_up and follower.resets == 1
    for number in range(3):
        await policy.jetstream().publish(f"control.key.{number}", b"x")
    await follower.until(lambda: len(follower.told) == 3)
    assert follower.told == [(f"control.key.{n}", n + 2) for n in range(3)]
    await asyncio.sleep(notices.LOOK_S * 2.5)
    assert follower.resets == 1 and follower.notices.caught_up and follower.notices.stale_ms < 3_000


async def test_a_missed_notice_empties_what_was_derived_though_no_other_follows(
    follower: Follower, policy: Client
) -> None:
    subscription = follower.notices._subscription
    assert subscription is not None
    await subscription.unsubscribe()
    await policy.jetstream().publish("control.key.lost", b"x")
    await follower.until(lambda: not follower.notices.caught_up)
    await follower.until(lambda: follower.resets == 2)
    assert follower.notices.seq == 2 and follower.notices.caught_up


def test_a_hole_in_the_sequence_empties_at_once() -> None:
    follower = Follower(Client())
    follower.notices.saw(_state(last_seq=4))
    follower.notices.told("control.key.a", 6)
    assert follower.resets == 2 and follower.told == [("control.key.a", 6)] and follower.notices.seq == 6


def test_a_notice_before_the_first_look_tells_nothing() -> None:
    follower = Follower(Client())
    follower.notices.told("control.key.a", 6)
    assert follower.told == [] and follower.notices.seq == 0


def test_a_notice_on_its_way_during_a_look_is_none_that_was_missed() -> None:
    follower = Follower(Client())
    follower.notices.saw(_state(last_seq=4))
    follower.notices.saw(_state(last_seq=5))
    assert not follower.notices.caught_up and follower.resets == 1
    follower.notices.told("control.key.a", 5)
    assert follower.notices.caught_up
    follower.notices.saw(_state(last_seq=5))
    assert follower.resets == 1


@pytest.mark.parametrize("how", ["purged", "rebuilt as long", "gone"])
async def test_a_stream_that_isnt_the_known_one_empties(follower: Follower, policy: Client, how: str) -> None:
    js = policy.jetstream()
    if how == "purged":
        await js.purge_stream(subjects.CONTROL_STREAM)
    else:
        await js.delete_stream(subjects.CONTROL_STREAM)
        if how == "rebuilt as long":
            await streams.ensure_control(policy)
            await js.publish("control.key.new", b"x")
    await follower.until(lambda: follower.resets >= 2)
    if how == "gone":
        assert not follower.notices.caught_up
        await streams.ensure_control(policy)
        await follower.until(lambda: follower.notices.caught_up)
    await js.publish("control.key.after", b"x")
    await follower.until(lambda: ("control.key.after", follower.notices.seq) in follower.told)


async def test_what_the_broker_did_not_say_is_no_notice(
    follower: Follower, policy: Client, broker: AccountsBroker
) -> None:
    """Another edge can have the broker write into their common account; not with the header of a
    stored fact.
    """
    thief = await broker.client("edge")
    await thief.publish("state.control", b"", reply="feed.control.key.old")
    await thief.flush()
    await asyncio.sleep(0.1)
    assert follower.told == [] and follower.resets == 1
    await thief.close()


async def test_a_broker_that_is_away_shows(follower: Follower, policy: Client, broker: AccountsBroker) -> None:
    broker.kill()
    await follower.until(lambda: follower.notices.stale_ms > 1_000)
    broker.start()
    follower.notices.reconnected()
    await follower.until(lambda: follower.notices.stale_ms < 500, 8)
    assert follower.resets == 1, "nothing was missed"


def _state(last_seq: int) -> streams.StreamState:
    return streams.StreamState("t", 1, last_seq, last_seq, 0, -1, 1)


async def test_the_end_of_a_remembered_answer_empties_nothing(follower: Follower, policy: Client) -> None:
    for name in ("a", "b"):
        await policy.jetstream().publish(f"{subjects.ENDING}{name}", b"x", headers={"Nats-TTL": "1s"})
        await policy.jetstream().publish(f"control.key.{name}", b"x")
    await follower.until(lambda: (base := follower.notices._losses._base) is not None and base.gone == 2)
    assert follower.resets == 1 and follower.notices.caught_up
    await policy.jetstream().purge_stream(subjects.CONTROL_STREAM, subject="control.key.a")
    await follower.until(lambda: follower.resets == 2)
