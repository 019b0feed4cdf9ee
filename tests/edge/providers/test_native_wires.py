"""Calls through a whole edge to providers of other wires: where they go, with which credential, and
what comes back.
"""

import json
from typing import Any

import pytest

from shared.config.schema import LitellmSettings
from tests.edge.conftest import Start
from tests.edge.harness import told
from tests.edge.translate import test_openai_chat__anthropic as anthropic
from tests.edge.translate import test_openai_chat__bedrock as bedrock
from tests.edge.translate import test_openai_chat__cohere as cohere
from tests.edge.translate import test_openai_chat__gemini as gemini
from tests.edge.translate import test_openai_chat__ollama as ollama
from tests.edge.wires_kit import AWS, answering

KEY = "sk-of-the-provider-0000"
WIRES: dict[str, tuple[Any, dict[str, Any], str, str, str]] = {
    # module of answers, entry, path, path of a stream, the credential's header line
    "anthropic": (
        anthropic,
        {"model": "anthropic/claude-sonnet-4-5"},
        "/v1/messages",
        "/v1/messages",
        f"x-api-key: {KEY}",
    ),
    "gemini": (
        gemini,
        {"model": "gemini/gemini-2.5-flash"},
        "/v1/models/gemini-2.5-flash:generateContent",
        "/v1/models/gemini-2.5-flash:streamGenerateContent?alt=sse",
        f"x-goog-api-key: {KEY}",
    ),
    "vertex": (
        gemini,
        {"model": "vertex_ai/gemini-2.5-flash", "vertex_project": "p1", "vertex_location": "europe-west4"},
        "/v1/projects/p1/locations/europe-west4/publishers/google/models/gemini-2.5-flash:generateContent",
        "/v1/projects/p1/locations/europe-west4/publishers/google/models/gemini-2.5-flash:streamGenerateContent?alt=sse",
        f"x-goog-api-key: {KEY}",
    ),
    "vertex claude": (
        anthropic,
        {"model": "vertex_ai/claude-sonnet-4-5@20250929", "vertex_project": "p1", "vertex_location": "global"},
        "/v1/projects/p1/locations/global/publishers/anthropic/models/claude-sonnet-4-5@20250929:rawPredict",
        "/v1/projects/p1/locations/global/publishers/anthropic/models/claude-sonnet-4-5@20250929:streamRawPredict",
        f"x-goog-api-key: {KEY}",
    ),
    "bedrock": (
        bedrock,
        {"model": "bedrock/us.anthropic.claude-sonnet-4-5-20250929-v1:0", **AWS},
        "/v1/model/us.anthropic.claude-sonnet-4-5-20250929-v1%3A0/converse",
        "/v1/model/us.anthropic.claude-sonnet-4-5-20250929-v1%3A0/converse-stream",
        "authorization: AWS4-HMAC-SHA256 Credential=AKID/",
    ),
    "bedrock with a key": (
        bedrock,
        {"model": "bedrock/eu-central-1/amazon.nova-pro-v1:0"},
        "/v1/model/amazon.nova-pro-v1%3A0/converse",
        "/v1/model/amazon.nova-pro-v1%3A0/converse-stream",
        f"authorization: Bearer {KEY}",
    ),
    "ollama": (ollama, {"model": "ollama/llama3.2"}, "/api/chat", "/api/chat", f"authorization: Bearer {KEY}"),
    "cohere": (cohere, {"model": "cohere/command-a-03-2025"}, "/v2/chat", "/v2/chat", f"authorization: Bearer {KEY}"),
}


@pytest.mark.parametrize("wire", WIRES)
async def test_a_whole_answer(start: Start, wire: str) -> None:
    module, entry, path, _, credential = WIRES[wire]
    script = answering(json.dumps(module.REPLIES["text"]).encode())
    edge = await start(script, params=entry)
    answer = await edge.chat()
    assert answer.status == 200, answer.body
    said = json.loads(answer.body)
    assert said["choices"][0]["message"]["content"].startswith("Grüße")
    (request, *headers), body = script.asked
    assert request == f"POST {path} HTTP/1.1"
    assert any(line.startswith(credential) for line in headers), headers
    assert ("anthropic-version: 2023-06-01" in headers) == (wire == "anthropic")
    assert "Hello you" in json.dumps(body)
    _, settled = await told(edge)
    usage = said["usage"]
    assert (settled.outcome, settled.usage.source) == ("success", "provider")
    assert (settled.usage.input_tokens, settled.usage.output_tokens) == (
        usage["prompt_tokens"],
        usage["completion_tokens"],
    )
    assert settled.cost_picousd == usage["prompt_tokens"] * 1_000_000 + usage["completion_tokens"] * 2_000_000


@pytest.mark.parametrize("wire", WIRES)
async def test_a_stream(start: Start, wire: str) -> None:
    module, entry, _, path, _ = WIRES[wire]
    kind = "application/vnd.amazon.eventstream" if "bedrock" in wire else "text/event-stream"
    if wire == "ollama":
        kind = "application/x-ndjson"
    script = answering(module.stream_of(module.REPLIES["tools"]), content_type=kind)
    edge = await start(script, params=entry)
    answer = await edge.chat(stream=True)
    assert (answer.status, answer.headers["content-type"]) == (200, "text/event-stream"), answer.body
    events = answer.body.strip().split(b"\n\n")
    assert events[-1] == b"data: [DONE]"
    chunks = [json.loads(event[6:]) for event in events[:-1]]
    assert all(chunk["choices"] for chunk in chunks)  # nobody asked for the usage
    assert chunks[-1]["choices"][0]["finish_reason"] == "tool_calls"
    assert script.asked[0][0] == f"POST {path} HTTP/1.1"
    _, settled = await told(edge)
    assert (settled.outcome, settled.usage.source) == ("success", "provider")
    assert settled.usage.output_tokens > 0


ERRORS = {
    "anthropic": (
        b'{"type":"error","error":{"type":"overloaded_error","message":"Overloaded"}}',
        "529 Overloaded",
        503,
    ),
    "gemini": (b'{"error":{"code":429,"message":"Quota","status":"RESOURCE_EXHAUSTED"}}', "429 Too Many", 429),
    "bedrock": (b'{"message":"The model is not ready"}', "424 Failed", 424),
    "ollama": (b'{"error":"model not found"}', "404 Not Found", 404),
    "cohere": (b'{"message":"no such model"}', "404 Not Found", 404),
}


@pytest.mark.parametrize("wire", ERRORS)
async def test_an_error_in_openais_shape_costs_nothing(start: Start, wire: str) -> None:
    _, entry, *_ = WIRES[wire]
    body, line, status = ERRORS[wire]
    edge = await start(answering(body, line), params={**entry, "max_retries": 0})
    answer = await edge.chat()
    assert answer.status == status
    error = json.loads(answer.body)["error"]
    assert error["message"] and set(error) >= {"message", "type", "param", "code"}
    _, settled = await told(edge)
    assert (settled.outcome, settled.cost_picousd) == ("provider_error", 0)


async def test_embeddings_as_openais_own_client_asks_for_them(start: Start) -> None:
    script = answering(json.dumps({"embeddings": [[0.5, 1.0]], "prompt_eval_count": 3}).encode())
    edge = await start(script, params={"model": "ollama/nomic-embed-text"})
    async with await edge.connect() as caller:
        await caller.post("/v1/embeddings", b'{"model":"m","input":"hi","encoding_format":"base64"}')
        answer = await caller.answer()
    assert answer.status == 200
    said = json.loads(answer.body)
    assert said["data"][0]["embedding"] == "AAAAPwAAgD8=" and said["usage"]["prompt_tokens"] == 3
    assert script.asked[0][0] == "POST /api/embed HTTP/1.1"


async def test_an_entrys_defaults_reach_a_provider_of_the_same_wire(start: Start) -> None:
    script = answering(json.dumps({"id": "x", "choices": [{"index": 0, "message": {"content": "x"}}]}).encode())
    edge = await start(script, params={"temperature": 0.25, "max_tokens": 7, "extra_body": {"own": {"a": 1}}})
    assert (await edge.chat(max_tokens=9)).status == 200
    body = script.asked[1]
    assert (body["temperature"], body["max_tokens"], body["own"]) == (0.25, 9, {"a": 1})


@pytest.mark.parametrize(("drop", "status"), [(True, 200), (False, 400)])
async def test_drop_params(start: Start, drop: bool, status: int) -> None:
    script = answering(json.dumps(anthropic.REPLIES["text"]).encode())
    edge = await start(script, params=WIRES["anthropic"][1], litellm=LitellmSettings(drop_params=drop))
    answer = await edge.chat(seed=1)
    assert answer.status == status
    if status == 400:
        assert json.loads(answer.body)["error"]["param"] == "seed"
        assert not hasattr(script, "asked"), "nothing was sent"
    else:
        assert "seed" not in script.asked[1]


async def test_what_a_wire_cant_say_is_a_400_and_nothing_is_sent(start: Start) -> None:
    script = answering(b"{}")
    edge = await start(script, params=WIRES["ollama"][1])
    part = {"type": "image_url", "image_url": {"url": "https://x/a.png"}}
    answer = await edge.chat(messages=[{"role": "user", "content": [part]}])
    assert answer.status == 400
    assert json.loads(answer.body)["error"]["param"] == "messages[0].content[0]"
    assert not hasattr(script, "asked")


async def test_token_ids_are_their_own_count_where_the_provider_gives_none(start: Start) -> None:
    data = [{"object": "embedding", "index": n, "embedding": [0.1]} for n in range(2)]
    edge = await start(answering(json.dumps({"object": "list", "model": "e", "data": data}).encode()))
    async with await edge.connect() as caller:
        await caller.post("/v1/embeddings", b'{"model":"m","input":[[1,2,3,4],[5,6,7,8,9,10,11,12]]}')
        assert (await caller.answer()).status == 200
    _, settled = await told(edge)
    assert (settled.usage.input_tokens, settled.usage.source) == (12, "estimated")
