"""Relayed calls that take long: what goes out meanwhile, whose place is whose, and when it is over."""

import asyncio
import json

import pytest

from services.edge.http import Request
from services.edge.routing.rooms import Place, Rooms
from services.edge.surfaces import relayed
from tests.edge.fakes import LAST_CHUNK, STREAM_HEAD, Peer, chunk, until
from tests.edge.relayed.relayed_kit import CREATED, ENDED, GOOD, Wires, asking

SLOW = {
    # the head and the first piece, the rest, and what is in the book
    "comments of one that still thinks": (STREAM_HEAD + chunk(b": wait\n\n"), chunk(ENDED) + LAST_CHUNK, "success"),
    "a beginning": (STREAM_HEAD + chunk(CREATED), chunk(ENDED) + LAST_CHUNK, "success"),
    "a beginning and an end": (STREAM_HEAD + chunk(CREATED), LAST_CHUNK, "provider_error"),
    "half of what is whole": (GOOD["/v1/responses"][:-5], GOOD["/v1/responses"][-5:], "success"),
}


@pytest.mark.parametrize("what", SLOW)
@pytest.mark.parametrize("limit", ["HOLD_S", "START_BYTES_MAX", "budget"])
async def test_what_takes_long_to_become_an_answer_goes_out_as_it_comes(
    wires: Wires, what: str, limit: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A provider that thinks for a minute and says so meanwhile is no failure, and what it says by then is not kept without end."""
    start, rest, outcome = SLOW[what]
    go = asyncio.Event()

    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(start)
        await go.wait()
        await peer.send(rest)

    async def never(peer: Peer) -> None:
        raise AssertionError("the first one answers")

    if limit == "budget":
        monkeypatch.setattr(Request, "hold", lambda *_, **__: False)
    else:
        monkeypatch.setattr(relayed, limit, 0)
    await wires.deployed("/v1/responses", script, never)
    async with await wires.edge.connect() as caller:
        await caller.post("/v1/responses", asking("/v1/responses", stream=True))
        assert (await caller.head()).status == 200
        said = await caller.chunk()
        assert said and not go.is_set()
        go.set()
        while piece := await caller.chunk():
            said += piece
    if outcome == "success":
        assert said.endswith(ENDED) or json.loads(said)["output"] == []
    else:
        assert said.startswith(CREATED) and b"server_error" in said
    assert [fact.outcome for fact in await wires.settled()] == [outcome]


async def test_who_leaves_while_nothing_has_come_is_booked_and_ends_the_providers_work(wires: Wires) -> None:
    gone, begun = asyncio.Event(), asyncio.Event()

    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(STREAM_HEAD + chunk(CREATED))
        begun.set()
        await peer.gone()
        gone.set()

    await wires.deployed("/v1/responses", script, max_parallel_requests=1)
    caller = await wires.edge.connect()
    await caller.post("/v1/responses", asking("/v1/responses", stream=True))
    async with asyncio.timeout(10):
        await begun.wait()
        caller.leave()
        await gone.wait()
    assert [fact.outcome for fact in await wires.settled()] == ["client_gone"]
    assert not wires.edge.parts.rooms._rooms, "its place is free"


async def test_where_one_has_as_many_calls_as_it_may_the_next_is_asked(wires: Wires) -> None:
    go = asyncio.Event()

    async def slow(peer: Peer) -> None:
        await peer.request()
        await go.wait()
        await peer.send(GOOD["/v1/responses"])

    async def quick(peer: Peer) -> None:
        await peer.request()
        await peer.send(GOOD["/v1/responses"])

    await wires.deployed("/v1/responses", slow, quick, max_parallel_requests=1)
    first, second = [await wires.edge.connect() for _ in range(2)]
    async with first, second:
        await first.post("/v1/responses", asking("/v1/responses"))
        await until(lambda: wires.providers[0].bodies)
        await second.post("/v1/responses", asking("/v1/responses"))
        assert (await second.answer()).status == 200 and len(wires.providers[1].bodies) == 1
        go.set()
        assert (await first.answer()).status == 200
    assert not wires.edge.parts.rooms._rooms


async def test_silence_behind_a_beginning_keeps_nobodys_head_back(
    wires: Wires, monkeypatch: pytest.MonkeyPatch
) -> None:
    go = asyncio.Event()

    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(STREAM_HEAD + chunk(CREATED))
        await go.wait()
        await peer.send(chunk(ENDED) + LAST_CHUNK)

    monkeypatch.setattr(relayed, "HOLD_S", 0.05)
    await wires.deployed("/v1/responses", script)
    async with await wires.edge.connect() as caller:
        await caller.post("/v1/responses", asking("/v1/responses", stream=True))
        assert (await caller.head()).status == 200
        said = await caller.chunk()
        assert said == CREATED and not go.is_set()
        go.set()
        while piece := await caller.chunk():
            said += piece
    assert said == CREATED + ENDED
    assert [fact.outcome for fact in await wires.settled()] == ["success"]


async def test_the_wait_for_a_place_and_the_answer_have_one_deadline(
    wires: Wires, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each call's own (`timeout`), and what is left of it goes on to the provider's answer."""
    left: list[float] = []
    wait = Rooms.wait

    async def noted(self: Rooms, place: Place, within_s: float) -> bool:
        left.append(within_s)
        return await wait(self, place, within_s)

    go = asyncio.Event()

    async def slow(peer: Peer) -> None:
        await peer.request()
        await go.wait()

    monkeypatch.setattr(Rooms, "wait", noted)
    await wires.deployed("/v1/responses", slow, max_parallel_requests=1, timeout=60)
    first, second = [await wires.edge.connect() for _ in range(2)]
    async with first, second:
        await first.post("/v1/responses", asking("/v1/responses"))
        await until(lambda: wires.providers[0].bodies)
        await second.post("/v1/responses", asking("/v1/responses", timeout=0.2))
        assert (await second.answer()).status in (429, 503, 408, 504)
        go.set()
    assert 50 < left[0] <= 60 and 0 < left[1] <= 0.2
    assert json.loads(wires.providers[0].bodies[0]).get("timeout") is None
