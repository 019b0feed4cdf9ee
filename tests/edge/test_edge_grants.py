"""Kept grants: used while nothing speaks against them, and not a moment longer."""

import asyncio
import gc
from typing import Any

import pytest
import uvloop
from hypothesis import given, settings
from hypothesis import strategies as st

from services.edge import grants as grants_
from shared import errors, subjects
from shared.errors import RefusedError
from shared.facts import Caller
from shared.grant import Denial, Grant
from shared.ids import KeyDigest
from shared.requests import DecideReply, DecideRequest
from tests.edge.fakes import until
from tests.edge.grants_kit import KEY, OTHER, ROUTE, World


async def test_the_first_asks_and_the_next_do_not() -> None:
    world = World()
    first = await world.decide()
    assert await world.decide() == first
    assert world.askings == 1


async def test_each_key_route_and_model_is_a_question_of_its_own() -> None:
    world = World()
    await world.decide(KEY)
    await world.decide(OTHER)
    await world.decide(None)
    await world.decide(KEY, "another")
    await world.grants.decide(KEY, "sk", "/embeddings", "m")
    assert world.askings == 5


async def test_after_its_time_it_is_asked_again() -> None:
    world = World(ttl_ms=20)
    await world.decide()
    await asyncio.sleep(0.03)
    await world.decide()
    assert world.askings == 2


async def test_without_a_time_it_is_asked_each_time() -> None:
    world = World(ttl_ms=0)
    await world.decide()
    await world.decide()
    assert world.askings == 2
    assert not world.grants._entries


@pytest.mark.parametrize("subject", ["control.key.k", "control.team.t"])
async def test_a_fact_on_what_it_depends_on_drops_it(subject: str) -> None:
    world = World()
    await world.decide()
    world.policy.seq = 2
    world.grants.forget(subject, 2)
    assert (await world.decide()).control_seq == 2


async def test_a_fact_on_something_else_does_not() -> None:
    world = World()
    await world.decide()
    world.grants.forget("control.key.another", 2)
    world.grants.forget("control.key.kk", 3)
    await world.decide()
    assert world.askings == 1


async def test_a_fact_on_any_of_a_kind_drops_what_depends_on_all_of_it() -> None:
    world = World()
    world.policy.depends_on = ["control.team.>"]
    await world.decide()
    world.grants.forget("control.key.k", 2)
    await world.decide()
    assert world.askings == 1
    world.policy.seq = 3
    world.grants.forget("control.team.whatever", 3)
    assert (await world.decide()).control_seq == 3


async def test_a_denial_is_kept_and_dropped_alike() -> None:
    world = World()
    world.policy.decision = Denial(errors.no_key(), 1, ["control.key.k"])
    assert isinstance(await world.decide(), Denial)
    await world.decide()
    assert world.askings == 1
    world.policy.decision, world.policy.seq = None, 2
    world.grants.forget("control.key.k", 2)
    assert isinstance(await world.decide(), Grant)


async def test_an_answer_outdated_while_in_flight_is_neither_used_nor_kept() -> None:
    world = World()
    world.policy.gate.clear()
    deciding = asyncio.create_task(world.decide())
    await until(lambda: world.askings == 1)
    world.grants.forget("control.team.t", 2)
    world.policy.seq = 2
    world.policy.gate.set()
    assert (await deciding).control_seq == 2
    assert [asked.min_control_seq for asked in world.policy.asked] == [0, 2]


async def test_questions_carry_the_highest_sequence_seen() -> None:
    world = World()
    world.policy.seq = 7
    await world.decide()
    world.feed.seq = 9
    await world.decide(OTHER)
    world.grants.forget("control.key.another", 12)
    world.policy.seq = 12
    await world.decide(None)
    assert [asked.min_control_seq for asked in world.policy.asked] == [0, 9, 12]


async def test_many_at_once_ask_once() -> None:
    world = World()
    world.policy.gate.clear()
    deciding = [asyncio.create_task(world.decide()) for _ in range(50)]
    await until(lambda: world.askings)
    world.policy.gate.set()
    assert len({id(found) for found in await asyncio.gather(*deciding)}) == 1
    assert world.askings == 1


async def test_the_first_of_many_may_leave() -> None:
    world = World()
    world.policy.gate.clear()
    first, second = asyncio.create_task(world.decide()), asyncio.create_task(world.decide())
    await until(lambda: world.askings)
    first.cancel()
    await asyncio.sleep(0)
    world.policy.gate.set()
    assert isinstance(await second, Grant)
    assert world.askings == 1
    assert not world.grants._asking


async def test_an_answer_nobody_waits_for_any_more_does_not_complain() -> None:
    world = World()
    complaints: list[Any] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: complaints.append(context))
    world.policy.away = True
    world.policy.gate.clear()
    deciding = asyncio.create_task(world.decide())
    await until(lambda: world.askings)
    deciding.cancel()
    await asyncio.gather(deciding, return_exceptions=True)
    world.policy.gate.set()
    await until(lambda: not world.grants._asking)
    del deciding
    gc.collect()
    assert complaints == []


async def test_it_never_holds_more_than_its_bound_and_leaves_nothing_of_what_it_dropped() -> None:
    world = World(entries_max=10)
    for number in range(50):
        world.policy.depends_on = [f"control.key.k{number}", "control.team.t"]
        await world.decide(KeyDigest(f"{number:064d}"))
    assert len(world.grants._entries) == 10
    assert len(world.grants._by_subject) == 11
    await world.decide(KeyDigest(f"{49:064d}"))
    assert world.askings == 50, "the youngest stay"
    world.grants.forget("control.team.t", 2)
    assert (world.grants._entries, world.grants._by_subject) == ({}, {})


async def test_what_it_remembers_of_changes_is_bounded_and_still_errs_on_the_safe_side(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(grants_, "CHANGED_MAX", 10)
    world = World()
    world.grants.forget("control.key.k", 5)
    for seq in range(6, 100):
        world.grants.forget(f"control.key.x{seq}", seq)
    assert len(world.grants._changed) <= 12
    world.policy.seq = 4
    with pytest.raises(RefusedError):
        await world.decide()
    world.policy.seq = 99
    assert (await world.decide()).control_seq == 99


async def test_another_stream_ends_everything_also_what_is_in_flight() -> None:
    world = World()
    world.policy.seq = 5_000
    await world.decide()
    world.policy.gate.clear()
    deciding = asyncio.create_task(world.decide(OTHER))
    await until(lambda: world.askings == 2)
    world.grants.forget_all()
    world.policy.seq = 3
    world.policy.gate.set()
    await asyncio.gather(deciding, return_exceptions=True)
    assert world.grants.seen_seq < 5_000, "or every later question would ask for a sequence that never comes"
    assert (await world.decide()).control_seq == 3
    assert (await world.decide(OTHER)).control_seq == 3


# ── whatever happens, in whatever order ──

SUBJECTS = ["control.key.k", "control.team.t", "control.team.u"]


DEPENDS = [["control.key.k"], ["control.key.k", "control.team.t"], ["control.team.>"]]


STEP = st.one_of(
    st.tuples(st.just("decide"), st.integers(0, 2)),
    st.tuples(st.just("fact"), st.integers(0, 2)),
    st.tuples(st.just("hear"), st.integers(1, 3)),
    st.tuples(st.just("tick"), st.integers(1, 4)),
    st.tuples(st.just("gate"), st.booleans()),
    st.tuples(st.just("lag"), st.integers(0, 3)),
)


@given(steps=st.lists(STEP, max_size=40))
@settings(max_examples=150, deadline=None)
def test_never_older_than_the_last_fact_it_has_seen(steps: list[tuple[str, Any]]) -> None:
    async def run() -> None:
        world = World()
        grants, policy = world.grants, world.policy
        truth: list[str] = []  # facts, in order: the sequence is the position
        heard = lag = 0
        deciding: list[asyncio.Task[None]] = []

        async def answer(asked: DecideRequest) -> DecideReply:
            at = max(asked.min_control_seq, len(truth) - lag)
            await policy.gate.wait()
            depends = DEPENDS[int(asked.model)]
            return DecideReply(Grant(Caller(), ROUTE, asked.model, at, depends))

        world.bus.answers[subjects.POLICY_DECIDE] = answer

        async def decide(which: int) -> None:
            try:
                decision = await world.decide(model=str(which))
            except RefusedError:
                return
            for seq, subject in enumerate(truth[:heard], 1):
                covers = subject in decision.depends_on or subject.rpartition(".")[0] + ".>" in decision.depends_on
                assert not covers or decision.control_seq >= seq, (decision, seq, subject)

        for verb, value in steps:
            if verb == "decide":
                deciding.append(asyncio.create_task(decide(value)))
            elif verb == "fact":
                truth.append(SUBJECTS[value])
            elif verb == "hear":
                for _ in range(value):
                    if heard < len(truth):
                        heard += 1
                        grants.forget(truth[heard - 1], heard)
            elif verb == "tick":
                for _ in range(value):
                    await asyncio.sleep(0)
            elif verb == "gate":
                policy.gate.set() if value else policy.gate.clear()
            else:
                lag = value
        policy.gate.set()
        await asyncio.gather(*deciding)

    uvloop.run(run())
