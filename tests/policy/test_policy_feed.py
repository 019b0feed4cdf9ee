"""The control feed on a real broker: a batch is applied whole, a remembered answer's end is no
loss, and nobody is answered out of a history that is being written again.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from nats.aio.client import Client
from nats.aio.msg import Msg

from services.policy import publish
from services.policy.publish import Publication
from shared import feed, streams, subjects
from shared.facts import Caller, ControlFact
from shared.feed import REBUILD, RESTORING, ControlFeed, Told
from shared.ids import new_id
from shared.losses import Losses


class Follower:
    """A feed, and what it applied."""

    def __init__(self, client: Client) -> None:
        self.applied: list[list[str]] = []
        self.resets = 0
        self.feed = ControlFeed(client, self._fold, on_reset=self._reset)

    def _fold(self, facts: list[Told]) -> None:
        self.applied.append([each.subject.rpartition(".")[2] for each in facts])

    def _reset(self) -> None:
        self.resets += 1
        self.applied.clear()

    async def until(self, holds: Callable[[], bool]) -> None:
        async with asyncio.timeout(10):
            while not holds():
                await asyncio.sleep(0.01)


@pytest.fixture
async def follower(client: Client) -> AsyncIterator[Follower]:
    following = Follower(client)
    await following.feed.start()
    await following.until(lambda: following.feed.caught_up)
    yield following
    await following.feed.close()


def team(name: str, expected_seq: int = 0) -> Publication:
    fact = ControlFact(new_id(), 1, "team", name, "updated", Caller(), None, {"team_id": name})
    return Publication(subjects.control("team", name), expected_seq, fact)


def answer(name: str, ttl_s: int) -> Publication:
    fact = ControlFact(new_id(), 1, "replay", name, "created", Caller(), None, {"id": name})
    return Publication(subjects.control("replay", name), 0, fact, ttl_s)


async def write(client: Client, *facts: Publication) -> int:
    return await publish.publish(client, publish.batches(list(facts))[0])


async def test_a_batch_is_applied_whole(client: Client, follower: Follower) -> None:
    names = [f"t{number}" for number in range(300)]
    await write(client, team("alone"))
    seq = await write(client, *map(team, names))
    assert await follower.feed.wait_for(seq, 5_000)
    assert follower.applied == [["alone"], names]


async def test_half_a_batch_is_nobodys_present(client: Client, follower: Follower) -> None:
    """Message by message, as they may come however far apart."""
    held: list[Msg] = []
    receive = follower.feed._receive

    async def hold(message: Msg) -> None:
        held.append(message)

    subscription = follower.feed._subscription
    assert subscription is not None
    subscription._cb = hold
    await write(client, team("a"), team("b"), team("c"))
    await follower.until(lambda: sum(each.subject.startswith("control.") for each in held) == 3)
    for count, message in enumerate((each for each in held if each.subject.startswith("control.")), 1):
        await receive(message)
        assert follower.applied == ([] if count < 3 else [["a", "b", "c"]])
        assert follower.feed.seq == (0 if count < 3 else 3)


async def test_after_a_cut_in_a_batch_it_comes_again_from_its_beginning(client: Client, follower: Follower) -> None:
    await write(client, team("a"), team("b"), team("c"))
    assert await follower.feed.wait_for(3, 5_000)
    follower.feed._held = [Told("control.team.d", b"", 4)]
    follower.feed.reconnected()
    await write(client, team("d"), team("e"))
    assert await follower.feed.wait_for(5, 5_000)
    assert follower.applied == [["a", "b", "c"], ["d", "e"]]


async def test_who_begins_later_isnt_kept_waiting_by_a_batch_whose_end_is_gone(client: Client) -> None:
    """Superseded by a later fact, or ended by itself."""
    await write(client, team("a"), team("b"))
    await write(client, team("b", 2))
    await write(client, team("c"), answer("x", 1))
    while (await streams.state(client, subjects.CONTROL_STREAM)).messages == 5:
        await asyncio.sleep(0.02)
    follower = Follower(client)
    await follower.feed.start()
    await follower.until(lambda: follower.feed.caught_up)
    assert follower.applied == [["a"], ["b"], ["c"]] and follower.feed.seq == 4
    await follower.feed.close()


async def test_an_answer_that_is_remembered_no_longer_is_no_loss(
    client: Client, follower: Follower, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(feed, "LOOK_S", 0.05)
    begun = follower.resets
    await write(client, team("a"), answer("x", 1))
    await follower.until(lambda: follower.applied == [["a", "x"]])
    while (await streams.state(client, subjects.CONTROL_STREAM)).gone == 0:
        await asyncio.sleep(0.02)
    await follower.until(lambda: (base := follower.feed._losses._base) is not None and base.gone == 1)
    assert follower.resets == begun and follower.feed.caught_up
    await client.jetstream().purge_stream(subjects.CONTROL_STREAM, subject="control.team.a")
    await follower.until(lambda: follower.resets > begun)


async def test_what_is_told_again_hides_no_loss(client: Client) -> None:
    """As a follower reads again after a cut."""
    losses = Losses()
    await losses.found(client, await streams.state(client, subjects.CONTROL_STREAM), 0)
    await write(client, answer("x", 60), team("a"))
    for seq, subject in ((1, "control.replay.x"), (1, "control.replay.x"), (2, "control.team.a")):
        losses.told(subject, seq)
    await client.jetstream().purge_stream(subjects.CONTROL_STREAM, subject="control.team.a")
    assert await losses.found(client, await streams.state(client, subjects.CONTROL_STREAM), 2)


async def test_a_count_in_which_something_changed_is_taken_again(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The broker counts messages and subjects one after the other: a loss where there is none."""
    ask, counts = streams._info, 0

    async def counting(client: Client, stream: str, body: dict[str, Any] | None = None) -> Any:
        nonlocal counts
        found = await ask(client, stream, body)
        counts += body is not None
        if body is not None and counts == 1:
            await write(client, team("a"), answer("x", 60))
        return found

    monkeypatch.setattr(streams, "_info", counting)
    counted = await streams.counted(client)
    assert counts == 2 and counted is not None and (counted.last_seq, counted.lasting) == (2, 1)


async def test_nobody_is_answered_out_of_half_a_history(client: Client, follower: Follower) -> None:
    """Also where somebody else's write comes in between: it ends nothing."""
    js = client.jetstream()
    await js.publish(REBUILD, b"x", headers={RESTORING: "1"})
    assert await follower.feed.wait_for(1, 5_000)
    assert not follower.feed.caught_up
    await js.publish("control.team.a", b"x")
    assert await follower.feed.wait_for(2, 5_000)
    follower.feed.reconnected()  # nothing more comes, and it isn't whole for that
    await follower.until(lambda: not follower.feed._broken.is_set())
    late = Follower(client)
    await late.feed.start()
    await late.until(lambda: late.feed.seq == 2)
    assert not late.feed.caught_up and not follower.feed.caught_up
    await js.publish(REBUILD, b"x")
    await follower.until(lambda: follower.feed.caught_up)
    await late.until(lambda: late.feed.caught_up)
    await late.feed.close()


async def test_what_comes_while_somebody_looks_is_no_loss(
    follower: Follower, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a busy machine the broker's answer is older than facts that have been applied since."""
    look, resets = streams.state, follower.resets

    async def slow(client: Client, stream: str) -> streams.StreamState:
        found = await look(client, stream)
        seq = await write(client, team("meanwhile"))
        await follower.until(lambda: follower.feed.seq >= seq)
        return found

    monkeypatch.setattr(streams, "state", slow)
    await follower.feed._look()
    assert follower.resets == resets and follower.feed.caught_up
    assert follower.applied == [["meanwhile"]]


async def test_nobody_is_answered_out_of_what_follows_upon_what_was_forgotten(
    follower: Follower, client: Client
) -> None:
    """Facts that the consumer before still brings, when a stream turned out to be another one."""
    await write(client, team("before"))
    await follower.until(lambda: follower.applied == [["before"]])
    follower.feed._forget("as if it were another stream")
    await write(client, team("behind"))
    async with asyncio.timeout(10):
        while not follower.feed.caught_up:
            await asyncio.sleep(0)
    assert sorted(name for names in follower.applied for name in names) == ["before", "behind"]
