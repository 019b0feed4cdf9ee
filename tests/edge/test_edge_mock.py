"""The model that answers by itself (`mock_response`) answers as completely as a provider would: the
README's first call goes there.
"""

import base64
import json
import struct
from typing import Any

import pytest

from tests.edge.conftest import Start

ASKED: Any = [{"role": "user", "content": "x"}]
TOOLS: Any = [{"type": "function", "function": {"name": name}} for name in ("other", "wanted")]


async def posted(start: Start, path: str, **body: Any) -> bytes:
    edge = await start("mock:Hello you")
    async with await edge.connect() as caller:
        await caller.post(path, json.dumps({"model": "m", **body}).encode())
        answer = await caller.answer()
    assert answer.status == 200, answer
    return bytes(answer.body)


async def chat(start: Start, **body: Any) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(await posted(start, "/v1/chat/completions", messages=ASKED, **body))
    return found


@pytest.mark.parametrize("count", [1, 2])
async def test_a_stream_begins_with_its_role_and_each_choice_ends(start: Start, count: int) -> None:
    body = await posted(start, "/v1/chat/completions", messages=ASKED, stream=True, n=count)
    events = [json.loads(event[6:]) for event in body.split(b"\n\n")[:-2]]
    assert body.endswith(b"data: [DONE]\n\n")
    for index in range(count):
        choices = [c for event in events for c in event["choices"] if c["index"] == index]
        assert choices[0]["delta"] == {"role": "assistant", "content": ""}
        assert "".join(c["delta"].get("content", "") for c in choices) == "Hello you"
        assert [c["finish_reason"] for c in choices if c["finish_reason"]] == ["stop"]


async def test_as_many_choices_as_asked_for(start: Start) -> None:
    assert [c["message"]["content"] for c in (await chat(start, n=3))["choices"]] == ["Hello you"] * 3


@pytest.mark.parametrize("inputs", ["one", ["one"], ["one", "two", "three"], [1, 2, 3], [[1, 2], [3]]])
async def test_a_vector_for_each_input(start: Start, inputs: Any) -> None:
    found = json.loads(await posted(start, "/v1/embeddings", input=inputs, dimensions=5))
    count = len(inputs) if isinstance(inputs, list) and not isinstance(inputs[0], int) else 1
    assert [each["index"] for each in found["data"]] == list(range(count))
    assert {len(each["embedding"]) for each in found["data"]} == {5}


async def test_vectors_in_base64_where_they_are_asked_for_so(start: Start) -> None:
    found = json.loads(await posted(start, "/v1/embeddings", input="x", encoding_format="base64", dimensions=4))
    assert struct.unpack("<4f", base64.b64decode(found["data"][0]["embedding"])) == (0.0,) * 4


async def test_log_probabilities(start: Start) -> None:
    (choice,) = (await chat(start, logprobs=True))["choices"]
    assert "".join(token["token"] for token in choice["logprobs"]["content"]) == "Hello you"
    assert (await chat(start))["choices"][0]["logprobs"] is None
    found = json.loads(await posted(start, "/v1/completions", prompt="x", logprobs=1))
    assert "".join(found["choices"][0]["logprobs"]["tokens"]) == "Hello you"


@pytest.mark.parametrize(
    ("choice", "called"),
    [("required", "other"), ({"type": "function", "function": {"name": "wanted"}}, "wanted"), ("auto", None)],
)
async def test_a_call_where_one_must_be_made(start: Start, choice: Any, called: str | None) -> None:
    (found,) = (await chat(start, tools=TOOLS, tool_choice=choice))["choices"]
    calls = found["message"].get("tool_calls") or []
    assert [call["function"]["name"] for call in calls] == ([called] if called else [])
    assert found["finish_reason"] == ("tool_calls" if called else "stop")
    body = await posted(start, "/v1/chat/completions", messages=ASKED, tools=TOOLS, tool_choice=choice, stream=True)
    assert (b'"tool_calls"' in body) is bool(called)
