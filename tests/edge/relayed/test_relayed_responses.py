"""OpenAI's own client's Responses before models that don't speak them: passthrough/by_chat.py."""

import contextlib
import json
from collections.abc import AsyncIterator
from typing import Any

import openai
import pytest
from aiohttp import web

from shared.billing import cost
from tests.edge.fakes import response
from tests.edge.relayed.relayed_kit import PRICE, Wires
from tests.edge.relayed.test_relayed_by_chat import GEMINI, WHOLE, World, stream_of
from tests.support.serving import handled_by, serving

TOOL: Any = {"type": "function", "name": "look", "parameters": {"type": "object"}, "strict": False}


@contextlib.asynccontextmanager
async def server_saying(said: bytes) -> AsyncIterator[str]:
    """A server with a chat, that says so of any other route."""

    async def take(request: web.Request) -> web.Response:
        if request.path == "/v1/chat/completions":
            return web.json_response(WHOLE)
        return web.Response(status=404, body=said)

    async with serving(handled_by(take, "POST")) as url:
        yield f"{url}/v1"


@pytest.fixture
def world(wires: Wires) -> World:
    return World(wires)


@pytest.mark.parametrize("as_events", [True, False])
async def test_plain_and_streamed(world: World, as_events: bool) -> None:
    """Also where a provider answers a stream's call in one piece."""
    answer = response(json.dumps(GEMINI).encode())
    await world.having(answer, model="gemini/gemini-2.5-flash")
    async with world.wires.openai() as client:
        whole = await client.responses.create(model="m", input="hi", instructions="Be kind.", tools=[TOOL])
        assert (whole.output_text, whole.output[-1].type, whole.status) == ("I look.", "function_call", "completed")
        if as_events:
            await world.having(stream_of(GEMINI, done=b""), model="gemini/gemini-2.5-flash")
        async with client.responses.stream(model="m", input="hi", tools=[TOOL]) as stream:
            kinds = [event.type async for event in stream]
            final = await stream.get_final_response()
    assert kinds[0] == "response.created" and kinds[-1] == "response.completed"
    assert final.output_text == "I look." and final.usage is not None and final.usage.total_tokens == 25
    assert "Be kind." in json.dumps(world.asked[0][2]["systemInstruction"])
    for fact in await world.wires.settled(2):
        assert (fact.outcome, fact.usage.input_tokens, fact.usage.output_tokens) == ("success", 20, 5)
        assert fact.cost_picousd == cost(PRICE, fact.usage).picousd and fact.opened.call_type == "aresponses"


async def test_what_cant_be_said_is_refused_before_anybody_is_asked(world: World) -> None:
    await world.having(response(json.dumps(GEMINI).encode()), model="gemini/gemini-2.5-flash")
    async with world.wires.openai() as client:
        with pytest.raises(openai.BadRequestError, match="nothing is kept"):
            await client.responses.create(model="m", input="hi", previous_response_id="resp_1")
    assert world.asked == []


NONE = [b"404 page not found", b'{"detail":"Not Found"}', b"<html>", b""]


@pytest.mark.parametrize("said", NONE)
async def test_a_server_without_responses_is_asked_by_chat_from_then_on(world: World, said: bytes) -> None:
    async with server_saying(said) as url:
        await world.having(b"", api_base=url)
        async with world.wires.openai() as client:
            for _ in range(2):
                assert (await client.responses.create(model="m", input="hi")).output_text == "I look."
    first, second, third = await world.wires.settled(3)
    assert (first.outcome, first.cost_picousd, second.outcome, third.outcome) == (
        "provider_error",
        0,
        "success",
        "success",
    )


async def test_that_holds_for_responses_alone(world: World) -> None:
    async with server_saying(b"404 page not found") as url:
        await world.having(b"", api_base=url)
        async with world.wires.openai() as client:
            await client.responses.create(model="m", input="hi")
        for path in ("/v1/responses/compact", "/v1/responses/input_tokens", "/v1/audio/speech"):
            answer = await world.wires.post(path, json={"model": "m", "input": "hi", "voice": "v"})
            assert answer.status_code == 404, path


async def test_one_that_was_asked_by_chat_is_not_asked_so_again(world: World) -> None:
    """And goes on being asked in the wire it has."""
    await world.having(response(b"404 page not found", "404 X"), model="anthropic/claude-sonnet-4-5")
    async with world.wires.openai() as client:
        with pytest.raises(openai.NotFoundError):
            await client.responses.create(model="m", input="hi")
    hello = {
        "model": "m",
        "max_tokens": 1,
        "top_k": 3,
        "container": "c",
        "messages": [{"role": "user", "content": "hi"}],
    }
    await world.wires.post("/v1/messages", json=hello)
    first, second = world.asked
    assert "container" not in first[2] and second[2]["container"] == "c"


@pytest.mark.parametrize(
    "message", ["The model x does not exist", "The API deployment for this resource does not exist"]
)
async def test_a_model_that_isnt_there_isnt_asked_by_chat(world: World, message: str) -> None:
    async with server_saying(json.dumps({"error": {"message": message, "code": "x"}}).encode()) as url:
        await world.having(b"", api_base=url)
        async with world.wires.openai() as client:
            with pytest.raises(openai.NotFoundError, match="does not exist"):
                await client.responses.create(model="m", input="hi")


@pytest.mark.parametrize("id", ["vs_nobodys", "vs_model"])
async def test_what_a_request_invents_makes_no_route_and_no_deployment_a_missing_one(world: World, id: str) -> None:
    said = {"error": {"message": f"Vector store with id [{id}] not found.", "type": "invalid_request_error"}}
    async with server_saying(json.dumps(said).encode()) as url:
        await world.having(b"", api_base=url)
        async with world.wires.openai() as client:
            with pytest.raises(openai.NotFoundError, match=id):
                await client.responses.create(
                    model="m", input="hi", tools=[{"type": "file_search", "vector_store_ids": [id]}]
                )
    parts = world.wires.edge.parts
    assert not parts.by_chat
    assert not any(parts.health.is_resting(each, parts.clock.seconds()) for each in parts.targets)


async def test_claudes_signed_thoughts_come_back_signed(world: World) -> None:
    thought = {"type": "thinking", "thinking": "hm", "signature": "Er=="}
    use = {"type": "tool_use", "id": "t1", "name": "look", "input": {"at": "x"}}
    said = {
        "id": "msg_1", "type": "message", "role": "assistant", "model": "claude-sonnet-4-5", "content": [thought, use],
        "stop_reason": "tool_use", "stop_sequence": None, "usage": {"input_tokens": 20, "output_tokens": 5},
    }  # fmt: skip
    await world.having(response(json.dumps(said).encode()), model="anthropic/claude-sonnet-4-5")
    reasoning: Any = {"effort": "high"}
    async with world.wires.openai() as client:
        first = await client.responses.create(model="m", input="hi", tools=[TOOL], reasoning=reasoning)
        items: Any = [{"role": "user", "content": "hi"}, *(item.to_dict() for item in first.output),
                      {"type": "function_call_output", "call_id": "t1", "output": "seen"}]  # fmt: skip
        await client.responses.create(model="m", input=items, tools=[TOOL], reasoning=reasoning)
    assert [item.type for item in first.output] == ["reasoning", "function_call"]
    sent = world.asked[1][2]["messages"]
    assert sent[1]["content"] == [thought, use] and sent[2]["content"][0]["tool_use_id"] == "t1"
