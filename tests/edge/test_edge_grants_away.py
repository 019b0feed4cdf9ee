"""Kept grants while policy is behind, silent or away, and while the feed is blind."""

import asyncio

import pytest

from services.edge import grants as grants_
from shared import subjects
from shared.errors import RefusedError
from shared.grant import Grant
from shared.requests import DecideReply, DecideRequest, Fault
from tests.edge.fakes import until
from tests.edge.grants_kit import OTHER, World


async def test_a_policy_that_stays_behind_is_refused_in_the_end() -> None:
    world = World()
    world.grants.forget("control.key.k", 9)
    with pytest.raises(RefusedError) as refused:
        await world.decide()
    assert refused.value.refusal.code == "policy_unavailable"
    assert world.askings == grants_.TRIES


async def test_with_policy_away_a_kept_grant_serves_and_others_are_refused() -> None:
    world = World()
    await world.decide()
    world.policy.away = True
    await world.decide()
    with pytest.raises(RefusedError) as refused:
        await world.decide(OTHER)
    assert (refused.value.refusal.code, refused.value.refusal.status) == ("policy_unavailable", 503)


@pytest.mark.parametrize("why", ["stale", "not caught up"])
async def test_while_the_feed_is_blind_policy_is_asked_each_time(why: str) -> None:
    world = World()
    await world.decide()
    if why == "stale":
        world.feed.stale_ms = 5_000
    else:
        world.feed.caught_up = False
    await world.decide()
    await world.decide()
    assert world.askings == 3
    world.feed.stale_ms, world.feed.caught_up = 0, True
    await world.decide()
    assert world.askings == 3


async def test_with_feed_and_policy_away_a_kept_grant_serves_without_asking_for_every_request() -> None:
    world = World()
    await world.decide()
    world.feed.stale_ms, world.policy.away = 5_000, True
    for _ in range(20):
        assert isinstance(await world.decide(), Grant)
    assert world.askings == 1 + grants_.DECIDE_TRIES


async def test_a_replica_that_hangs_is_not_waited_for_alone() -> None:
    world = World()
    silent = 2

    async def answer(question: DecideRequest) -> DecideReply:
        nonlocal silent
        silent -= 1
        if silent >= 0:
            await asyncio.sleep(60)
        return await world.policy.answer(question)

    world.bus.answers[subjects.POLICY_DECIDE] = answer
    assert isinstance(await world.decide(), Grant)
    assert len(world.bus.asked) == 3


async def test_with_feed_and_policy_away_a_grant_ends_with_its_time(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World(ttl_ms=40)
    await world.decide()
    world.feed.stale_ms, world.policy.away = 5_000, True
    await world.decide()
    await asyncio.sleep(0.05)
    with pytest.raises(RefusedError):
        await world.decide()


async def test_a_grant_revoked_while_policy_fails_to_answer_is_not_fallen_back_to() -> None:
    world = World()
    await world.decide()
    world.feed.stale_ms, world.policy.away = 5_000, True
    world.policy.gate.clear()
    deciding = asyncio.create_task(world.decide())
    await until(lambda: world.askings == 2)
    world.grants.forget("control.key.k", 2)
    world.policy.gate.set()
    with pytest.raises(RefusedError):
        await deciding


async def test_a_fault_or_an_unreachable_bus_is_policy_away() -> None:
    world = World()
    world.bus.answers[subjects.POLICY_DECIDE] = lambda _: Fault("behind")
    with pytest.raises(RefusedError):
        await world.decide()
    world.bus.is_connected = False
    with pytest.raises(RefusedError):
        await world.decide()
