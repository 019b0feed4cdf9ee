"""Calls at once of one deployment: never more than it may have, whoever waits comes in order, and
no place is lost.
"""

import asyncio
import random

import pytest

from services.edge.routing import rooms
from services.edge.routing.rooms import Place, Rooms
from shared.ids import DeploymentId

D = DeploymentId("d")


def taken(places: Rooms, limit: int = 1) -> Place:
    place = places.take(D, limit)
    assert place is not None
    return place


@pytest.mark.asyncio
async def test_never_more_than_it_may_have_and_first_come_first_served() -> None:
    places, running, most, order = Rooms(), 0, 0, []

    async def call(number: int) -> None:
        nonlocal running, most
        place = taken(places, 3)
        assert await places.wait(place, 60)
        order.append(number)
        running += 1
        most = max(most, running)
        for _ in range(random.Random(number).randint(0, 5)):
            await asyncio.sleep(0)
        running -= 1
        places.give(place)

    await asyncio.gather(*map(call, range(200)))
    assert most == 3 and order == sorted(order) and not places._rooms


@pytest.mark.asyncio
async def test_who_gives_up_or_is_cancelled_loses_nobodys_place() -> None:
    places = Rooms()
    first = taken(places)
    late = taken(places)
    assert not await places.wait(late, 0.001), "nobody ended in time"
    assert places.load(D, 1) == 2
    places.give(late)

    async def call(place: Place) -> None:
        try:
            await places.wait(place, 60)
            await asyncio.Event().wait()
        finally:
            places.give(place)

    waiting = [asyncio.create_task(call(taken(places))) for _ in range(4)]
    await asyncio.sleep(0)
    waiting[0].cancel()
    await asyncio.sleep(0)
    places.give(first)  # to the second
    waiting[1].cancel()  # in the very tick in which it got its place
    await asyncio.gather(*waiting[:2], return_exceptions=True)
    assert places.load(D, 1) == 2, "one runs, one waits"
    for task in waiting[2:]:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
    assert not places._rooms


@pytest.mark.asyncio
async def test_who_is_cancelled_in_line_in_the_very_tick_in_which_the_last_one_ends() -> None:
    places = Rooms()
    first, late = taken(places), taken(places)

    async def call() -> None:
        try:
            await places.wait(late, 60)
        finally:
            places.give(late)

    waiting = asyncio.create_task(call())
    await asyncio.sleep(0)
    waiting.cancel()
    places.give(first)  # nobody is left in line
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert not places._rooms and places.load(D, 1) == 0


@pytest.mark.asyncio
async def test_the_line_has_an_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rooms, "LINE_MAX", 2)
    places = Rooms()
    held = [taken(places) for _ in range(3)]
    assert places.take(D, 1) is None
    for place in held:
        places.give(place)
    assert not places._rooms
