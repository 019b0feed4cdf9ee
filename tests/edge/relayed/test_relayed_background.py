"""Responses that go on in the background are booked by what they used, once, whoever fetches
them."""

import asyncio
import contextlib
import itertools
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest
import pytest_asyncio

from services.edge.passthrough import background, running
from services.edge.passthrough.running import Running
from services.edge.providers import table
from shared import config, subjects
from shared.facts import Caller, Opened, Settled, encode_fact
from shared.grant import Candidate, Grant
from shared.ids import digest_key
from shared.requests import DecideReply, DecideRequest
from tests.edge.fakes import until
from tests.edge.harness import Edge
from tests.edge.relayed.conftest import WAIT_MS
from tests.edge.relayed.keeping import USAGE, Keeper
from tests.edge.relayed.relayed_kit import PRICE
from tests.support.serving import handled_by, serving

CALLER = Caller(key_sha256=digest_key("sk-a"), team_id="a")
COST = 3 * 1_000_000 + 2 * 2_000_000
"""What the keeper's usage comes to, in pico-USD."""


class World:
    """Edges that know nothing of each other, before a provider that keeps responses."""

    def __init__(self, keeper: Keeper, directory: Path) -> None:
        self.keeper, self.directory = keeper, directory
        self.edges: list[Edge] = []
        self._stack = contextlib.AsyncExitStack()

    async def edge(self, name: str = "one") -> Edge:
        """One that finds what its predecessor of this name left."""
        edge = await self._stack.enter_async_context(Edge({}, wait_ms=WAIT_MS))
        entry = {
            "model_name": "gpt",
            "litellm_params": {"model": "openai/gpt-4o", "api_key": "sk-1", "api_base": f"http://127.0.0.1:{self.keeper.port}/v1"},
            "model_info": {"id": "first"},
        }  # fmt: skip
        edge.parts.targets = table.build(config.parse(json.dumps({"model_list": [entry]}), {}).deployments, "test")
        edge.parts.running = Running(self.directory / name, edge.parts.clock.seconds)
        edge.parts.running.load()
        edge.bus.answers[subjects.POLICY_DECIDE] = self.decide
        asking = asyncio.create_task(background.run(edge.parts))
        self._stack.callback(asking.cancel)
        self.edges.append(edge)
        return edge

    def decide(self, asked: DecideRequest) -> DecideReply:
        candidates = [Candidate("first", "openai", "gpt-4o", PRICE)]
        return DecideReply(Grant(CALLER, asked.route, asked.model, 1, ["control.key.x"], candidates))

    async def ask(self, edge: Edge, method: str, path: str, **body: Any) -> httpx.Response:
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{edge.port}/v1") as client:
            return await client.request(method, path, headers={"authorization": "Bearer sk-a"}, json=body or None)

    async def begun(self, edge: Edge, **more: Any) -> str:
        """The id of a response that goes on."""
        made = await self.ask(edge, "POST", "/responses", model="gpt", input="hi", background=True, **more)
        assert made.status_code == 200 and made.json()["status"] == "queued", made.text
        return str(made.json()["id"])

    def left(self, name: str = "one") -> list[Path]:
        return list((self.directory / name).iterdir())

    async def close(self) -> None:
        await self._stack.aclose()


@pytest_asyncio.fixture
async def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[World]:
    monkeypatch.setattr(background, "WAIT_S", 0.05)
    monkeypatch.setattr(running, "WAIT_S", 0.05)
    keeper = Keeper()
    async with serving(handled_by(keeper.answer, "*", body_bytes_max=1_000_000), port=keeper.port):
        made = World(keeper, tmp_path)
        try:
            yield made
        finally:
            await made.close()


def of_the_call(edge: Edge) -> list[Settled]:
    return [fact for fact in edge.settled() if fact.opened.route == "/responses"]


async def the_end(edge: Edge) -> Settled:
    """The only one; waits for it."""
    await until(lambda: of_the_call(edge))
    await asyncio.sleep(0.1)
    (settled,) = of_the_call(edge)
    return settled


async def test_it_is_booked_once_it_is_over_though_nobody_fetches_it(world: World) -> None:
    edge = await world.edge()
    await world.begun(edge)
    await asyncio.sleep(0.2)
    assert of_the_call(edge) == [] and len(world.left()) == 1, "open as long as it runs"
    (opened,) = [fact for fact in edge.facts() if isinstance(fact, Opened)]
    assert opened.expires_at_ms - opened.at_ms >= background.TERM_MS
    world.keeper.over()
    settled = await the_end(edge)
    assert (settled.outcome, settled.status, settled.cost_picousd, settled.flags) == ("success", 200, COST, ())
    assert (settled.usage.input_tokens, settled.usage.output_tokens) == (3, 2) and settled.opened == opened
    await until(lambda: not world.left())
    assert edge.parts.running.all == {}


async def test_who_fetches_it_has_it_looked_at_and_pays_nothing_for_that(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(running, "WAIT_S", 3600.0)
    edge = await world.edge()
    id = await world.begun(edge)
    world.keeper.over()
    for _ in range(3):
        assert (await world.ask(edge, "GET", f"/responses/{id}")).json()["usage"] == USAGE
    assert (await the_end(edge)).cost_picousd == COST
    assert sum(fact.cost_picousd or 0 for fact in edge.settled()) == COST


async def test_an_edge_goes_on_where_its_predecessor_was_killed(world: World) -> None:
    first = await world.edge()
    await world.begun(first)
    (path,) = world.left()
    begun = path.read_bytes()
    world.keeper.over()
    settled = await the_end(first)
    path.write_bytes(begun)
    (path.parent / ".half").write_bytes(b"half of one")
    (path.parent / "junk").write_bytes(b"\xc1")
    second = await world.edge()
    again = await the_end(second)
    assert (again.opened, again.usage, again.cost_picousd) == (settled.opened, settled.usage, settled.cost_picousd)
    await until(lambda: [left.name for left in world.left()] == ["junk"])


async def test_what_is_known_of_its_end_goes_again_byte_for_byte(world: World) -> None:
    """An edge is killed while the broker has its last fact, or hasn't: who knows."""
    edge = await world.edge()
    await world.begun(edge)
    (path,) = world.left()
    edge.publisher.default = "hold"
    world.keeper.over()
    (one,) = edge.parts.running.all.values()
    await until(lambda: one.kept.settled and one.kept.settled in path.read_bytes())
    world.keeper.kept.clear()
    successor = await world.edge()
    assert encode_fact(await the_end(successor)) == one.kept.settled
    edge.publisher.release.set()
    assert encode_fact(await the_end(edge)) == one.kept.settled
    await until(lambda: not world.left())


@pytest.mark.parametrize("elsewhere", [False, True])
async def test_nobody_deletes_it_before_its_usage_is_read(world: World, elsewhere: bool) -> None:
    edge = await world.edge()
    asked = await world.edge("two") if elsewhere else edge
    id = await world.begun(edge)
    answer = await world.ask(asked, "DELETE", f"/responses/{id}")
    assert (answer.status_code, answer.json()["error"]["type"]) == (409, "conflict_error"), answer.text
    assert answer.headers["retry-after"] == "5" and world.keeper.kept
    assert (await world.ask(asked, "POST", f"/responses/{id}/cancel")).json()["status"] == "cancelled"
    world.keeper.over("cancelled", usage=None, completed_at=1)
    settled = await the_end(edge)
    assert (settled.outcome, settled.status, settled.error_code) == ("client_gone", 499, "cancelled")
    assert settled.cost_picousd is None, "what nobody knows isn't nothing"
    assert (await world.ask(asked, "DELETE", f"/responses/{id}")).status_code == 200
    assert not world.keeper.kept


async def test_one_that_was_over_a_moment_ago_may_not_be_read_yet_by_its_edge(world: World) -> None:
    edge, other = await world.edge(), await world.edge("two")
    edge.parts.running.add = lambda opened, id: asyncio.ensure_future(asyncio.sleep(0))  # type: ignore[method-assign,assignment]
    id = await world.begun(edge)
    world.keeper.over(completed_at=other.parts.clock.unix_ms() / 1000 - 5)
    assert (await world.ask(other, "DELETE", f"/responses/{id}")).status_code == 409
    world.keeper.over(completed_at=other.parts.clock.unix_ms() / 1000 - background.READ_WITHIN_S)
    assert (await world.ask(other, "DELETE", f"/responses/{id}")).status_code == 200


async def test_a_stream_whose_client_leaves_goes_on_and_is_booked(world: World) -> None:
    edge = await world.edge()
    async with openai.AsyncOpenAI(base_url=f"http://127.0.0.1:{edge.port}/v1", api_key="sk-a", max_retries=0) as client:
        stream = await client.responses.create(model="gpt", input="hi", background=True, stream=True)
        async for event in stream:
            assert event.type == "response.created" and event.response.id.startswith("resp_tg1")
            break
        await stream.close()
    await until(lambda: edge.parts.running.all)
    assert of_the_call(edge) == []
    world.keeper.over()
    assert (await the_end(edge)).cost_picousd == COST


async def test_how_it_ends(world: World) -> None:
    edge = await world.edge()
    await world.begun(edge)
    world.keeper.over("failed", usage=USAGE)
    settled = await the_end(edge)
    assert (settled.outcome, settled.status, settled.error_code) == ("provider_error", 502, "provider_failed")
    assert (settled.usage.source, settled.cost_picousd) == ("lower_bound", COST)


async def test_one_that_is_gone_is_no_success_and_not_free(world: World) -> None:
    edge = await world.edge()
    await world.begun(edge)
    world.keeper.kept.clear()
    settled = await the_end(edge)
    assert (settled.outcome, settled.error_code, settled.cost_picousd) == ("provider_error", "provider_404", None)


async def test_a_provider_that_is_away_is_asked_again_until_its_term_is_over(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    edge = await world.edge()
    await world.begun(edge)
    target = edge.parts.targets.pop("first")
    await asyncio.sleep(0.15)
    assert edge.parts.running.all
    edge.parts.targets["first"] = target
    world.keeper.over()
    assert (await the_end(edge)).cost_picousd == COST
    monkeypatch.setattr(background, "TERM_MS", -1)
    await world.begun(edge)
    await until(lambda: not edge.parts.running.all)
    await until(lambda: not world.left())
    assert len(of_the_call(edge)) == 1, "the ledger closes it"


async def test_there_is_room_for_so_many(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(running, "RUNNING_MAX", 1)
    edge = await world.edge()
    await world.begun(edge)
    asked = len(world.keeper.asked)
    refused = await world.ask(edge, "POST", "/responses", model="gpt", input="hi", background=True)
    assert (refused.status_code, refused.headers["retry-after"]) == (503, "1")
    assert len(world.keeper.asked) == asked
    assert (await world.ask(edge, "POST", "/responses", model="gpt", input="hi")).status_code == 200


async def test_two_that_their_provider_calls_the_same_are_both_booked(world: World) -> None:
    edge = await world.edge()
    world.keeper.numbers = itertools.repeat(1)
    for _ in range(2):
        await world.begun(edge)
    assert len(world.left()) == 2
    world.keeper.over()
    await until(lambda: len(of_the_call(edge)) == 2 and not world.left())
    one, two = of_the_call(edge)
    assert one.opened.id != two.opened.id and one.cost_picousd == two.cost_picousd == COST


async def test_one_that_is_read_all_the_time_keeps_no_other_from_being_looked_at(world: World) -> None:
    edge = await world.edge()
    for _ in range(2):
        await world.begun(edge)
    read, other = edge.parts.running.all.values()
    other.due_at = edge.parts.clock.seconds() - 0.001
    edge.parts.running.fetched(read)
    assert other.due_at < read.due_at <= edge.parts.clock.seconds()


async def test_a_file_that_cant_be_taken_away_keeps_no_other_from_being_booked(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    edge = await world.edge()
    with monkeypatch.context() as past:
        past.setattr(background, "TERM_MS", -1)
        past.setattr(Path, "unlink", failing)
        await world.begun(edge)
        await until(lambda: not edge.parts.running.all)
    await world.begun(edge)
    world.keeper.over()
    assert (await the_end(edge)).cost_picousd == COST


def failing(path: Path, missing_ok: bool = False) -> None:
    """But for half of a file, of which there is none."""
    if not path.name.startswith("."):
        raise PermissionError(path)
