"""Relayed calls that take long: what goes out meanwhile, whose place is whose, and when it is
over.
"""

import asyncio
import gzip
import json
from collections.abc import AsyncIterator

import pytest

from services.edge.group_commit import FactBatch
from services.edge.http import Request
from services.edge.passthrough import relaying
from services.edge.passthrough.undone import Undone
from services.edge.routing.rooms import Place, Rooms
from services.edge.sources import INFLATED_PIECE_BYTES, Decoded
from tests.edge.fakes import LAST_CHUNK, STREAM_HEAD, Peer, chunk, until
from tests.edge.harness import silent
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
    """A provider that thinks for a minute and says so meanwhile is no failure, and what it says by
    then is not kept without end.
    """
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
        monkeypatch.setattr(relaying, limit, 0)
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


async def test_who_leaves_before_anybody_is_asked_has_an_end_and_pays_nothing(
    wires: Wires, monkeypatch: pytest.MonkeyPatch
) -> None:
    waits = asyncio.Event()

    def for_ever(_: FactBatch) -> asyncio.Future[None]:
        waits.set()
        return asyncio.get_running_loop().create_future()

    monkeypatch.setattr(FactBatch, "wait_on_wire", for_ever)
    await wires.deployed("/v1/responses", silent)
    caller = await wires.edge.connect()
    await caller.post("/v1/responses", asking("/v1/responses"))
    async with asyncio.timeout(10):
        await waits.wait()
    caller.leave()
    (fact,) = await wires.settled()
    assert (fact.outcome, fact.cost_picousd, wires.providers[0].bodies) == ("client_gone", 0, [])


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

    monkeypatch.setattr(relaying, "HOLD_S", 0.05)
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


async def test_a_calls_own_deadline_holds_for_a_provider_that_says_nothing(wires: Wires) -> None:
    await wires.deployed("/v1/responses", silent, timeout=60)
    async with await wires.edge.connect() as caller:
        await caller.post("/v1/responses", asking("/v1/responses", timeout=0.2))
        assert (await caller.answer()).status == 504
    (fact,) = await wires.settled()
    slack_ms = wires.edge.parts.settings.edge_expiry_slack_ms
    assert fact.outcome == "timeout" and fact.opened.expires_at_ms - fact.opened.at_ms <= 200 + slack_ms


async def test_who_stops_waiting_leaves_nobody_who_waits() -> None:
    ended = asyncio.Event()

    class Silent:
        status = 200
        headers: list[tuple[str, str]] = []

        async def chunks(self) -> AsyncIterator[bytes]:
            try:
                await asyncio.Event().wait()
                yield b""
            finally:
                ended.set()

    answer = Undone(Silent())
    assert not await answer.arrived(0)
    answer.drop()
    async with asyncio.timeout(5):
        await ended.wait()


async def test_what_is_here_and_still_packed_has_arrived() -> None:
    class Once:
        async def next_chunk(self) -> bytes:
            return gzip.compress(bytes(2 * INFLATED_PIECE_BYTES))

        async def arrived(self, within_s: float) -> bool:
            return False

    chunks = Decoded(Once(), b"gzip", ValueError)
    assert not await chunks.arrived(0)
    assert await chunks.next_chunk() == bytes(INFLATED_PIECE_BYTES)
    assert await chunks.arrived(0)
