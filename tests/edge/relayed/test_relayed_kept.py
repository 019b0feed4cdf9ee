"""What a provider keeps is the caller's who had it made, though all callers share one key of it."""

import asyncio
import json
from collections.abc import AsyncIterator
from types import SimpleNamespace
from typing import Any

import httpx
import openai
import pytest
import pytest_asyncio
from aiohttp import web

from services.edge.own_hooks import OwnHooks
from services.edge.own_ids import IdRules, OwnIds, owner_of
from services.edge.own_thread import OwnThread
from services.edge.passthrough import relaying
from services.edge.providers import table
from shared import config, subjects
from shared.facts import Caller, Refused
from shared.grant import Candidate, Grant, GuardrailRef
from shared.ids import digest_key
from shared.requests import DecideReply, DecideRequest, Verdict
from shared.stand_ins import HTTPException
from tests.edge.fakes import until
from tests.edge.harness import Edge
from tests.edge.relayed.conftest import WAIT_MS
from tests.edge.relayed.keeping import Keeper
from tests.edge.relayed.relayed_kit import PRICE
from tests.support.serving import handled_by, serving

ALICE, BOB = (
    Caller(key_sha256=digest_key("sk-alice"), team_id="a"),
    Caller(key_sha256=digest_key("sk-bob"), team_id="b"),
)
CALLERS = {
    "sk-alice": ALICE,
    "sk-bob": BOB,
    "sk-colleague": Caller(key_sha256=digest_key("sk-colleague"), team_id="a"),
    "sk-user": Caller(key_sha256=digest_key("sk-user"), team_id="a", user_id="u"),
    "sk-admin": Caller(key_sha256=digest_key("sk-admin"), role="proxy_admin"),
    "sk-one": Caller(key_sha256=digest_key("sk-one")),
    "sk-two": Caller(key_sha256=digest_key("sk-two")),
}
BY_DIGEST = {digest_key(key): caller for key, caller in CALLERS.items()}


class World:
    """Two edges that know nothing of each other, before two accounts at one provider."""

    edges: list[Edge]
    keeper: Keeper
    guardrails: list[GuardrailRef]

    def url(self, edge: int = 0) -> str:
        return f"http://127.0.0.1:{self.edges[edge].port}"

    def client(self, key: str, edge: int = 0) -> openai.AsyncOpenAI:
        return openai.AsyncOpenAI(base_url=f"{self.url(edge)}/v1", api_key=key, max_retries=0)

    def decide(self, asked: DecideRequest) -> DecideReply:
        found = [
            each.deployment
            for each in self.edges[0].parts.targets.values()
            if each.deployment.model_name == asked.model
        ]
        candidates = [
            Candidate(each.id, each.provider, each.upstream_model, PRICE, order=n) for n, each in enumerate(found)
        ]
        caller = BY_DIGEST[asked.key_sha256 or digest_key("")]
        return DecideReply(
            Grant(caller, asked.route, asked.model, 1, ["control.key.x"], candidates, guardrails=self.guardrails)
        )

    async def ask(self, method: str, path: str, key: str, edge: int = 0, **body: Any) -> httpx.Response:
        async with httpx.AsyncClient() as client:
            return await client.request(
                method,
                f"{self.url(edge)}{path}",
                headers={"authorization": f"Bearer {key}"},
                json=body or None,
            )


@pytest_asyncio.fixture
async def world() -> AsyncIterator[World]:
    made = World()
    made.keeper, made.guardrails = Keeper(), []
    base = f"http://127.0.0.1:{made.keeper.port}/v1"
    entries = [
        {"model_name": name, "litellm_params": {"model": f"openai/{model}", "api_key": key, "api_base": base}, "model_info": {"id": id}}
        for name, model, key, id in (
            ("gpt", "gpt-4o", "sk-1", "first"), ("gpt", "gpt-4o", "sk-2", "second"), ("other", "gpt-5", "sk-1", "same-account"),
            ("far", "gpt-5", "sk-2", "other-account"),
        )
    ]  # fmt: skip
    server = serving(handled_by(made.keeper.answer, "*", body_bytes_max=10_000_000), port=made.keeper.port)
    async with server, Edge({}, wait_ms=WAIT_MS) as one, Edge({}, wait_ms=WAIT_MS) as two:
        made.edges = [one, two]
        for edge in made.edges:
            edge.parts.targets = table.build(config.parse(json.dumps({"model_list": entries}), {}).deployments, "test")
            edge.bus.answers[subjects.POLICY_DECIDE] = made.decide
        yield made


async def test_openais_client_goes_on_reads_and_deletes_on_any_edge(world: World) -> None:
    async with world.client("sk-alice") as here, world.client("sk-alice", edge=1) as there:
        first = await here.responses.create(model="gpt", input="hi")
        (kept,) = world.keeper.kept
        assert first.id.startswith("resp_") and kept not in first.model_dump_json()
        assert first.output[0].id is not None and first.output[0].id.startswith("msg_")
        assert first.metadata == {"id": "resp_mine"}
        again = await there.responses.retrieve(first.id)
        assert again == first
        second = await there.responses.create(model="gpt", input="and?", previous_response_id=first.id)
        assert second.output_text == 'After "hello"' and second.previous_response_id == first.id
        items = await here.responses.input_items.list(first.id, limit=5, after=first.output[0].id)
        assert [item.id != "msg_in" for item in items.data] == [True]
        assert world.keeper.paths[-1].endswith(f"{kept}/input_items?after=msg_{1:050}&limit=5")
        assert (await here.responses.cancel(first.id)).status == "cancelled"
        await there.responses.delete(first.id)
        with pytest.raises(openai.NotFoundError, match=first.id):
            await here.responses.retrieve(first.id)
    assert list(world.keeper.kept) == [f"resp_{2:050}"]


async def test_hooks_are_asked_about_new_responses_alone(world: World) -> None:
    """What is asked about one that is kept has no body that they could look at."""
    thread, seen = OwnThread("kept_of_a_test"), list[str]()

    async def look(data: dict[str, Any], call_type: str, **given: Any) -> None:
        seen.append(data["input"])

    try:
        world.edges[0].parts.own_hooks = OwnHooks([("h", SimpleNamespace(async_pre_call_hook=look))], thread)
        made = await world.ask("POST", "/v1/responses", "sk-alice", model="gpt", input="hi")
        read = await world.ask("GET", f"/v1/responses/{made.json()['id']}", "sk-alice")
        assert (read.status_code, read.json()["id"], seen) == (200, made.json()["id"], ["hi"])
    finally:
        thread.close()


async def test_hooks_of_answers_are_asked_about_each_in_one_piece_also_when_it_is_read_again(world: World) -> None:
    thread, seen = OwnThread("kept_answers_of_a_test"), list[str]()

    async def change(data: dict[str, Any], response: Any, **given: Any) -> None:
        seen.append(data["model"])
        response.output[0].content[0].text += "!"

    async def no(**given: Any) -> None:
        raise HTTPException(400, "Not this answer")

    def asking(function: Any) -> OwnHooks:
        return OwnHooks([("h", SimpleNamespace(async_post_call_success_hook=function))], thread)

    parts = world.edges[0].parts
    try:
        parts.own_hooks = asking(change)
        made = (await world.ask("POST", "/v1/responses", "sk-alice", model="gpt", input="hi")).json()
        read = (await world.ask("GET", f"/v1/responses/{made['id']}", "sk-alice")).json()
        assert [each["output"][0]["content"][0]["text"] for each in (made, read)] == ["hello!", "hello!"]
        assert seen == ["gpt", "gpt"]
        stream = await world.ask("POST", "/v1/responses", "sk-alice", model="gpt", input="hi", stream=True)
        assert "response.completed" in stream.text and len(seen) == 2
        parts.own_hooks = asking(no)
        refused = await world.ask("POST", "/v1/responses", "sk-alice", model="gpt", input="hi")
        assert refused.status_code == 400 and "Not this answer" in refused.text and "hello" not in refused.text
        assert (await world.ask("DELETE", f"/v1/responses/{made['id']}", "sk-alice")).status_code == 200
    finally:
        thread.close()


async def test_streams(world: World) -> None:
    """The client in a thread: its types alone take seconds where others work, and edges have to go
    on."""

    def talk() -> None:
        raw = f"msg_{1:050}"
        with openai.OpenAI(base_url=f"{world.url()}/v1", api_key="sk-alice", max_retries=0) as client:
            with client.responses.stream(model="gpt", input="hi") as stream:
                events = list(stream)
                final = stream.get_final_response()
            assert not any(raw in repr(event) or f"resp_{1:050}" in repr(event) for event in events)
            assert {event.item_id for event in events if hasattr(event, "item_id")} == {final.output[0].id}
            (delta,) = (event.delta for event in events if event.type == "response.output_text.delta")
            assert delta == 'say "id":"msg_1"'
            again = list(client.responses.retrieve(final.id, stream=True, starting_after=0))
            assert again[0].type == "response.created" and again[0].response.id == final.id
            assert world.keeper.paths[-1].endswith("?starting_after=0&stream=true")
            assert client.responses.create(model="gpt", input="x", previous_response_id=final.id).output_text

    await asyncio.to_thread(talk)


@pytest.mark.parametrize("key", ["sk-bob", "sk-user"])
@pytest.mark.parametrize("theirs", ["ours", "provider's"])
async def test_another_tenant_has_no_way_to_it(world: World, key: str, theirs: str) -> None:
    async with world.client("sk-alice") as alice, world.client(key) as bob:
        made = await alice.responses.create(model="gpt", input="a secret")
        id, item = (made.id, made.output[0].id) if theirs == "ours" else (f"resp_{1:050}", f"msg_{1:050}")
        before, refused = len(world.keeper.paths), openai.NotFoundError
        reference: Any = [{"type": "item_reference", "id": item}]
        bare: Any = [{"id": item}]
        thought: Any = [{"type": "reasoning", "id": item, "summary": []}]
        for attempt in (
            bob.responses.create(model="gpt", input="x", previous_response_id=id),
            bob.responses.create(model="gpt", input=reference),
            bob.responses.create(model="gpt", input=bare),
            bob.responses.create(model="gpt", input=thought),
            bob.responses.create(model="gpt", input="x", conversation=id),
            bob.responses.create(model="gpt", input="x", extra_body={"conversation": {"id": id}}),
            bob.responses.create(model="gpt", input="x", tools=[{"type": "code_interpreter", "container": id}]),
            bob.responses.input_tokens.count(model="gpt", input="x", previous_response_id=id),
            bob.responses.retrieve(id), bob.responses.delete(id), bob.responses.cancel(id), bob.responses.input_items.list(id),
            bob.post("/responses/compact", cast_to=object, body={"model": "gpt", "input": "x", "previous_response_id": id}),
        ):  # fmt: skip
            with pytest.raises(refused, match="not found"):
                await attempt
        assert len(world.keeper.paths) == before and world.keeper.kept
        edge = world.edges[0]
        await until(lambda: len([f for f in edge.facts() if isinstance(f, Refused)]) == 13)


async def test_ids_that_were_changed_or_nested_twice_are_nobodys(world: World) -> None:
    async with world.client("sk-alice") as alice:
        made = await alice.responses.create(model="gpt", input="x")
        for id in (
            made.id[:-2] + ("aa" if made.id[-2:] != "aa" else "bb"),
            made.id + "A",
            made.id.upper(),
            "resp_tg1",
            "resp_tg1" + "A" * 200,
        ):
            with pytest.raises(openai.NotFoundError):
                await alice.responses.retrieve(id)
    raw = f"resp_{1:050}"
    for body in (
        '{"model":"gpt","input":[{"type":"message","type":"item_reference","id":"%s"}]}',
        '{"model":"gpt","input":[{"id":"msg_x","\\u0069d":"%s"}]}',
        '{"model":"gpt","input":"x","tools":[{"container":"%s","type":"code_interpreter","container":null}]}',
        '{"model":"gpt","input":"x","previous_response_id":"%s","previous_response_id":null}',
        '{"model":"gpt","input":[{"\\ud800":1,"id":"%s"}]}',
        '{"model":"gpt","input":"x","tools":[{"\\ud800":1,"container":"%s"}]}',
    ):
        async with httpx.AsyncClient() as client:
            answer = await client.post(
                f"{world.url()}/v1/responses",
                content=body % raw,
                headers={"authorization": "Bearer sk-bob"},
            )
        assert not any(raw.encode() in each for each in world.keeper.bodies[1:]), body
        assert answer.status_code in (200, 400, 404)


async def test_the_account_that_keeps_it_is_asked(world: World) -> None:
    """Whichever deployment made it; another one of the same account will do, of another none."""
    async with world.client("sk-alice", edge=0) as client:
        world.edges[0].parts.random = lambda: 0.999
        seen = set()
        for _ in range(20):
            first = await client.responses.create(model="gpt", input="x")
            key = world.keeper.keys[-1]
            for _ in range(3):
                first = await client.responses.create(model="gpt", input="x", previous_response_id=first.id)
                assert world.keeper.keys[-1] == key
            name, not_there = ("other", "far") if key == "Bearer sk-1" else ("far", "other")
            assert (await client.responses.create(model=name, input="x", previous_response_id=first.id)).output_text
            with pytest.raises(openai.NotFoundError):
                await client.responses.create(model=not_there, input="x", previous_response_id=first.id)
            seen.add(key)
            world.edges[0].parts.random = lambda: 0.0
            if len(seen) == 2:
                break


async def test_items_that_come_back_are_the_providers_again(world: World) -> None:
    async with world.client("sk-alice") as client:
        made = await client.responses.create(model="gpt", input="x")
        said: Any = [each.model_dump() for each in made.output]
        reference: Any = {"type": "item_reference", "id": made.output[0].id}
        mine: Any = {"type": "message", "role": "user", "content": "own", "id": "msg_of_my_own"}
        signed: Any = {"type": "reasoning", "id": "rs_elsewhere", "summary": [], "encrypted_content": "abc"}
        with pytest.raises(openai.NotFoundError):
            unsigned: Any = {**signed, "encrypted_content": ""}
            await client.responses.create(model="gpt", input=[signed, unsigned])
        await client.responses.create(model="gpt", input=[*said, reference, mine, {"role": "user", "content": "y"}])
    assert [item.get("id") for item in world.keeper.asked[-1]["input"]] == [f"msg_{1:050}", f"msg_{1:050}", None, None]
    assert world.keeper.asked[-1]["input"][3] == {"role": "user", "content": "y"}


async def test_who_shares_and_who_doesnt(world: World) -> None:
    """A team's keys share; its user's are apart, as LiteLLM has it; keys of nobody are each alone;
    admins may."""

    async def reads(key: str, id: str) -> bool:
        return (await world.ask("GET", f"/v1/responses/{id}", key)).status_code == 200

    ids = {}
    for key in ("sk-alice", "sk-one"):
        ids[key] = (await world.ask("POST", "/responses", key, model="gpt", input="x")).json()["id"]
    assert await reads("sk-colleague", ids["sk-alice"]) and await reads("sk-one", ids["sk-one"])
    assert not await reads("sk-user", ids["sk-alice"]) and not await reads("sk-two", ids["sk-one"])
    assert await reads("sk-admin", ids["sk-alice"])


async def test_the_operators_switches(world: World) -> None:
    alices = (await world.ask("POST", "/v1/responses", "sk-alice", model="gpt", input="x")).json()["id"]
    raw = next(iter(world.keeper.kept))

    async def goes_on(id: str) -> int:
        asked = {"model": "gpt", "input": "x", "previous_response_id": id}
        return (await world.ask("POST", "/v1/responses", "sk-bob", **asked)).status_code

    assert [await goes_on(alices), await goes_on(raw)] == [404, 404]
    world.edges[0].parts.id_rules = IdRules(of_nobody=True)
    assert [await goes_on(alices), await goes_on(raw)] == [404, 200]
    world.edges[0].parts.id_rules = IdRules(of_anybody=True)
    assert [await goes_on(alices), await goes_on(raw)] == [200, 200]


async def test_what_is_kept_is_screened_booked_and_free(world: World) -> None:
    edge = world.edges[0]
    id = (await world.ask("POST", "/v1/responses", "sk-alice", model="gpt", input="x")).json()["id"]
    assert (await world.ask("GET", f"/v1/responses/{id}", "sk-alice")).status_code == 200
    await until(lambda: len(edge.settled()) == 2)
    made, read = edge.settled()
    assert made.usage.input_tokens == 3 and made.cost_picousd
    assert (read.usage.input_tokens, read.cost_picousd, read.opened.call_type, read.opened.model) == (
        0,
        0,
        "aget_responses",
        "gpt",
    )
    world.guardrails = [GuardrailRef("no-hello", ["post_call"])]
    edge.bus.answers[subjects.MODERATION_SCREEN] = lambda asked: Verdict("block", [], "no")
    edge.grants.forget_all()
    refused = await world.ask("GET", f"/v1/responses/{id}", "sk-alice")
    assert refused.status_code == 400 and "hello" not in refused.text


async def test_without_a_key_nobody_is_asked(world: World) -> None:
    world.edges[0].parts.own_ids = OwnIds(list, float)
    answer = await world.ask("POST", "/v1/responses", "sk-alice", model="gpt", input="x")
    assert answer.status_code == 503 and world.keeper.paths == []


@pytest.mark.parametrize("size", [700, 5_000])
async def test_one_that_isnt_waited_for_has_no_providers_id_either(
    world: World, size: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It comes cut anywhere, and goes on as it comes."""
    monkeypatch.setattr(relaying, "START_BYTES_MAX", 0)
    text = '\\"id\\":\\"msg_said\\"' + "x" * size
    whole = (
        f'{{"id": "resp_{1:050}", "object":"response","status":"completed","error":null,"previous_response_id":"resp_{2:050}",'
        f'"output":[{{"id":"msg_{3:050}","type":"message","content":[{{"type":"output_text","text":"{text}"}}]}}],"usage":null}}'
    ).encode()

    async def answer(request: web.Request) -> web.StreamResponse:
        out = web.StreamResponse(headers={"content-type": "application/json"})
        await out.prepare(request)
        for start in range(0, len(whole), 61):
            await out.write(whole[start : start + 61])
            await asyncio.sleep(0)
        return out

    monkeypatch.setattr(world.keeper, "new", answer)
    got = await world.ask("POST", "/v1/responses", "sk-alice", model="gpt", input="x")
    found, meant = got.json(), json.loads(whole)
    ids = [(each.pop("id"), each.pop("previous_response_id"), each["output"][0].pop("id")) for each in (found, meant)]
    assert found == meant and not set(ids[0]) & set(ids[1]) and f"{0:040}" not in got.text
    opened = [world.edges[0].parts.own_ids.opened(each, owner_of(ALICE)) for each in ids[0]]
    assert [each and (each.id, each.model) for each in opened] == [
        (f"resp_{1:050}", "gpt"), (f"resp_{2:050}", "gpt"), (f"msg_{3:050}", "")
    ]  # fmt: skip


@pytest.mark.parametrize(
    "input",
    [
        b"[" + b"{}," * 100_000 + b"{}]",
        b'[{"id":"a",' + b",".join(b'"n%d":1' % n for n in range(9_000)) + b"}]",
        b"[" + b"0," * 200_000 + b"0]",
    ],
)
async def test_more_items_or_names_than_a_request_has_arent_looked_at(world: World, input: bytes) -> None:
    async with httpx.AsyncClient() as client:
        url = f"{world.url()}/v1/responses"
        answer = await client.post(
            url, content=b'{"model":"gpt","input":' + input + b"}", headers={"authorization": "Bearer sk-bob"}
        )
    assert answer.status_code == 400 and "many" in answer.json()["error"]["message"] and not world.keeper.paths


async def test_many_commas_in_what_is_said_are_no_items(world: World) -> None:
    text = 'a, "b" \\ ' + ", {[" * 150_000
    answer = await world.ask("POST", "/v1/responses", "sk-bob", model="gpt", input=[{"role": "user", "content": text}])
    assert answer.status_code == 200 and world.keeper.asked[0]["input"][0]["content"] == text
