"""Anthropic's own client before models that don't speak its wire: passthrough/by_chat.py."""

import json
from typing import Any

import anthropic
import pytest

from services.edge.providers import table
from shared import config
from shared.billing import cost
from tests.edge.fakes import LAST_CHUNK, STREAM_HEAD, Peer, Provider, chunk, response
from tests.edge.relayed.relayed_kit import PRICE, Wires
from tests.edge.wires_kit import sse

HI: Any = [{"role": "user", "content": "hi"}]
TOOL: Any = {"name": "look", "input_schema": {"type": "object", "properties": {"at": {"type": "string"}}}}
CALL = {"id": "call_1", "type": "function", "function": {"name": "look", "arguments": '{"at": "x"}'}}
USAGE = {"prompt_tokens": 20, "completion_tokens": 5, "total_tokens": 25, "prompt_tokens_details": {"cached_tokens": 8}}
WHOLE = {
    "id": "c",
    "object": "chat.completion",
    "created": 1,
    "model": "gpt-4o-2024",
    "usage": USAGE,
    "choices": [
        {
            "index": 0,
            "message": {"role": "assistant", "content": "I look.", "tool_calls": [CALL]},
            "finish_reason": "tool_calls",
        }
    ],
}
EVENTS: list[dict[str, Any]] = [
    {
        "id": "c",
        "model": "gpt-4o-2024",
        "choices": [{"index": 0, "delta": {"role": "assistant", "content": ""}, "finish_reason": None}],
    },
    {"id": "c", "choices": [{"index": 0, "delta": {"content": "I look."}, "finish_reason": None}]},
    {"id": "c", "choices": [{"index": 0, "delta": {"tool_calls": [{"index": 0, **CALL}]}, "finish_reason": None}]},
    {"id": "c", "choices": [{"index": 0, "delta": {}, "finish_reason": "tool_calls"}]},
    {"id": "c", "choices": [], "usage": USAGE},
]
GEMINI = {
    "responseId": "r",
    "modelVersion": "gemini-2.5-flash",
    "usageMetadata": {"promptTokenCount": 20, "candidatesTokenCount": 5, "totalTokenCount": 25},
    "candidates": [
        {
            "content": {"parts": [{"text": "I look."}, {"functionCall": {"name": "look", "args": {"at": "x"}}}]},
            "finishReason": "STOP",
        }
    ],
}


def stream_of(*events: dict[str, Any], done: bytes = b"data: [DONE]\n\n") -> bytes:
    return b"".join(
        (STREAM_HEAD, *(chunk(sse(event)) for event in events), *((chunk(done),) if done else ()), LAST_CHUNK)
    )


class World:
    """Deployments of a model `m`, one a provider's answer; what they were asked."""

    def __init__(self, wires: Wires) -> None:
        self.wires, self.asked = wires, list[tuple[str, dict[str, str], Any]]()

    async def having(self, *answers: bytes, model: str = "openai/gpt-4o", **params: Any) -> None:
        entries = []
        for i, answer in enumerate(answers):

            async def script(peer: Peer, answer: bytes = answer) -> None:
                head, body = await peer.request()
                lines = head.decode().split("\r\n")
                headers = dict(line.split(": ", 1) for line in lines[1:] if ": " in line)
                self.asked.append(
                    (lines[0], {name.lower(): value for name, value in headers.items()}, json.loads(body))
                )
                await peer.send(answer)

            provider = await Provider(script).__aenter__()
            self.wires.providers.append(provider)
            base = provider.url if model.startswith("openai") else provider.url.removesuffix("/v1")
            given = {"model": model, "api_key": "k", "api_base": base, **params}
            entries.append({"model_name": "m", "litellm_params": given, "model_info": {"id": f"m-{i}"}})
        made = config.parse(json.dumps({"model_list": entries}), {})
        self.wires.edge.parts.targets = table.build(made.deployments, "test", made.litellm)

    def client(self) -> anthropic.AsyncAnthropic:
        return self.wires.anthropic()


@pytest.fixture
def world(wires: Wires) -> World:
    return World(wires)


def shown(message: anthropic.types.Message) -> list[Any]:
    return [block.text if block.type == "text" else (block.name, block.input) for block in message.content]


SAID = ["I look.", ("look", {"at": "x"})]


async def test_a_whole_answer(world: World) -> None:
    await world.having(response(json.dumps(WHOLE).encode()))
    async with world.client() as client:
        message = await client.messages.create(
            model="m",
            max_tokens=9,
            messages=HI,
            tools=[TOOL],
            system="Be kind.",
            metadata={"user_id": "u1"},
            extra_headers={"anthropic-beta": "b1"},
        )
    assert shown(message) == SAID and message.stop_reason == "tool_use" and message.model == "gpt-4o-2024"
    assert (message.usage.input_tokens, message.usage.cache_read_input_tokens, message.usage.output_tokens) == (
        12,
        8,
        5,
    )
    ((line, headers, body),) = world.asked
    assert line == "POST /v1/chat/completions HTTP/1.1"
    assert headers["authorization"] == "Bearer k" and "anthropic-beta" not in headers and "sk-ours" not in str(headers)
    assert body["model"] == "gpt-4o" and body["messages"][0] == {"role": "system", "content": "Be kind."}
    (fact,) = await world.wires.settled()
    assert (fact.outcome, fact.opened.route, fact.opened.customer_id) == ("success", "/messages", "u1")
    assert (fact.usage.input_tokens, fact.usage.cached_tokens, fact.usage.output_tokens) == (20, 8, 5)
    assert fact.cost_picousd == cost(PRICE, fact.usage).picousd and fact.flags == ()


async def test_a_stream(world: World) -> None:
    await world.having(stream_of(*EVENTS))
    async with (
        world.client() as client,
        client.messages.stream(model="m", max_tokens=9, messages=HI, tools=[TOOL]) as stream,
    ):
        assert "".join([piece async for piece in stream.text_stream]) == "I look."
        message = await stream.get_final_message()
    assert shown(message) == SAID and message.stop_reason == "tool_use"
    assert (message.usage.input_tokens, message.usage.output_tokens) == (12, 5)
    assert world.asked[0][2]["stream_options"] == {"include_usage": True}
    (fact,) = await world.wires.settled()
    assert (fact.outcome, fact.usage.input_tokens, fact.usage.cached_tokens, fact.usage.output_tokens) == (
        "success",
        20,
        8,
        5,
    )


@pytest.mark.parametrize("streaming", [False, True])
async def test_what_was_used_is_read_from_the_chat(world: World, streaming: bool) -> None:
    """Thoughts beside the completion, a cache by another name, what was written for an hour:
    not all of it is in what the client is told.
    """
    details = {"cache_creation_tokens": 4, "cache_creation_token_details": {"ephemeral_1h_input_tokens": 3}}
    used = {
        "prompt_tokens": 20, "completion_tokens": 5, "total_tokens": 125, "prompt_cache_hit_tokens": 8,
        "prompt_tokens_details": details, "completion_tokens_details": {"reasoning_tokens": 100},
    }  # fmt: skip
    await world.having(
        stream_of(*EVENTS[:-1], {"id": "c", "choices": [], "usage": used})
        if streaming
        else response(json.dumps({**WHOLE, "usage": used}, indent=1).encode())
    )
    async with world.client() as client, client.messages.stream(model="m", max_tokens=9, messages=HI) as stream:
        await stream.get_final_message()
    (fact,) = await world.wires.settled()
    usage = fact.usage
    assert (usage.input_tokens, usage.cached_tokens, usage.cache_write_tokens, usage.cache_write_1h_tokens) == (
        20,
        8,
        4,
        3,
    )
    assert (usage.output_tokens, usage.reasoning_tokens, usage.flags) == (105, 100, ())
    assert fact.cost_picousd == cost(PRICE, usage).picousd


@pytest.mark.parametrize("streaming", [False, True])
async def test_a_wire_that_chat_is_translated_to(world: World, streaming: bool) -> None:
    answer = stream_of(GEMINI, done=b"") if streaming else response(json.dumps(GEMINI).encode())
    await world.having(answer, model="gemini/gemini-2.5-flash")
    async with world.client() as client:
        asked: Any = {"model": "m", "max_tokens": 9, "messages": HI, "tools": [TOOL]}
        if streaming:
            async with client.messages.stream(**asked) as stream:
                message = await stream.get_final_message()
        else:
            message = await client.messages.create(**asked)
    assert shown(message) == SAID and message.stop_reason == "tool_use"
    method = "streamGenerateContent?alt=sse" if streaming else "generateContent"
    assert world.asked[0][0] == f"POST /v1beta/models/gemini-2.5-flash:{method} HTTP/1.1"
    assert "functionDeclarations" in world.asked[0][2]["tools"][0]
    (fact,) = await world.wires.settled()
    assert (fact.outcome, fact.usage.input_tokens, fact.usage.output_tokens) == ("success", 20, 5)


async def test_a_stream_that_nobody_made_one(world: World) -> None:
    """An answer in one piece to `stream: true`."""
    await world.having(response(json.dumps(WHOLE).encode()))
    async with (
        world.client() as client,
        client.messages.stream(model="m", max_tokens=9, messages=HI, tools=[TOOL]) as stream,
    ):
        assert shown(await stream.get_final_message()) == SAID


@pytest.mark.parametrize(
    "bad",
    [
        response(b'{"error": {"message": "down"}}', "503 Service Unavailable"),
        response(b'{"error": {"message": "no"}}'),
        response(b""),
        response(b"<html>busy</html>", kind="text/html"),
        response(b'{"choices": []}'),
    ],
    ids=["a status", "an error", "nothing", "a page", "no choice"],
)
async def test_what_is_no_answer_is_followed_by_the_next(world: World, bad: bytes) -> None:
    await world.having(bad, response(json.dumps(WHOLE).encode()))
    async with world.client() as client:
        assert shown(await client.messages.create(model="m", max_tokens=9, messages=HI)) == SAID
    failed, good = await world.wires.settled(2)
    assert (failed.outcome, failed.cost_picousd, good.outcome) == ("provider_error", 0, "success")


async def test_a_stream_that_begins_with_an_error_is_followed_by_the_next(world: World) -> None:
    await world.having(stream_of({"error": {"message": "too hot"}}), stream_of(*EVENTS))
    async with world.client() as client, client.messages.stream(model="m", max_tokens=9, messages=HI) as stream:
        assert shown(await stream.get_final_message()) == SAID
    failed, good = await world.wires.settled(2)
    assert (failed.outcome, good.outcome) == ("provider_error", "success")


async def test_a_stream_that_is_cut_says_so(world: World) -> None:
    await world.having(stream_of(*EVENTS[:2], done=b""))
    async with world.client() as client:
        with pytest.raises(anthropic.APIError):
            async with client.messages.stream(model="m", max_tokens=9, messages=HI) as stream:
                await stream.get_final_message()
    (fact,) = await world.wires.settled()
    assert fact.outcome == "provider_error"


async def test_a_providers_refusal_is_told(world: World) -> None:
    said = response(
        b'{"error": {"message": "max_tokens is too large: 999999", "type": "invalid_request_error"}}', "400 Bad Request"
    )
    await world.having(said)
    async with world.client() as client:
        with pytest.raises(anthropic.BadRequestError, match="max_tokens is too large"):
            await client.messages.create(model="m", max_tokens=9, messages=HI)


async def test_what_only_anthropic_has_is_refused_before_anybody_is_asked(world: World) -> None:
    await world.having(response(json.dumps(WHOLE).encode()))
    async with world.client() as client:
        with pytest.raises(
            anthropic.BadRequestError, match=r"tools\[0\]: this model has no tool of type 'web_search_20250305'"
        ):
            tool: Any = {"type": "web_search_20250305", "name": "web_search"}
            await client.messages.create(model="m", max_tokens=9, messages=HI, tools=[tool])
        counted = await client.messages.count_tokens(model="m", messages=HI)
        assert counted.input_tokens > 0  # by us: nobody can be asked who knows
    assert world.asked == []


async def test_who_cant_think_answers_all_the_same(world: World) -> None:
    await world.having(response(json.dumps(WHOLE).encode()))
    async with world.client() as client:
        await client.messages.create(
            model="m", max_tokens=9_000, messages=HI, thinking={"type": "enabled", "budget_tokens": 5_000}
        )
    assert "reasoning_effort" not in world.asked[0][2]
    await world.having(response(json.dumps(WHOLE).encode()), model="openai/gpt-5")
    async with world.client() as client:
        await client.messages.create(
            model="m", max_tokens=9_000, messages=HI, thinking={"type": "enabled", "budget_tokens": 5_000}
        )
    assert (world.asked[1][2]["reasoning_effort"], world.asked[1][2]["max_completion_tokens"]) == ("medium", 9_000)
