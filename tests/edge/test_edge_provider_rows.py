"""Each kind of provider: where a call goes, with which credentials, in which wire, and how its
answer comes back.
"""

import json
import re
from typing import Any

import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials as BotoCredentials

from services.edge.formats.openai import CHAT, EMBEDDINGS, RERANK
from services.edge.providers.base import Target
from services.edge.providers.table import WIRES, build
from services.edge.routing import settings as routing_settings
from shared import config
from shared.config.providers import PROVIDERS, SERVED_WIRES
from shared.config.schema.router import FAILURES
from tests.edge.fakes import Peer, Provider, Script, always, chunk, response
from tests.edge.harness import Edge, told

KEY = "sk-of-the-provider-0000"
MESSAGE = {
    "id": "msg_1", "type": "message", "role": "assistant", "model": "claude-x", "stop_reason": "tool_use",
    "content": [
        {"type": "text", "text": "I look"},
        {"type": "tool_use", "id": "toolu_1", "name": "weather", "input": {"city": "Ulm"}},
    ],
    "usage": {"input_tokens": 10, "cache_read_input_tokens": 4, "output_tokens": 5},
}  # fmt: skip
TOOLS = [{"type": "function", "function": {"name": "weather", "parameters": {"type": "object", "properties": {}}}}]


def entries(*params: dict[str, Any], environ: dict[str, str] | None = None, **sections: Any) -> config.Config:
    models = [
        {"model_name": "m", "litellm_params": each, "model_info": {"id": f"m-{i}"}} for i, each in enumerate(params)
    ]
    return config.parse(json.dumps({"model_list": models, **sections}), environ or {})


def target(environ: dict[str, str] | None = None, **params: Any) -> Target:
    loaded = entries(params, environ=environ)
    assert not loaded.left_out, loaded.left_out
    (found,) = build(
        routing_settings.with_defaults(loaded.deployments, loaded), "tollgate", loaded.litellm, environ or {}
    ).values()
    return found


def address(found: Target, format: str = CHAT.name, *, stream: bool = False) -> str:
    assert found.origin is not None
    path = found.provider.path(found, format, found.deployment.upstream_model, stream=stream)
    return f"{found.origin.scheme}://{found.origin.authority}{path}"


def headers(found: Target) -> dict[str, str]:
    return dict(line.split(": ", 1) for line in found.headers.decode("latin-1").splitlines())


def test_every_wire_that_the_configuration_takes_has_a_row() -> None:
    assert set(WIRES) == SERVED_WIRES
    assert {row.wire for row in PROVIDERS.values()} >= SERVED_WIRES


ADDRESSES: list[tuple[dict[str, Any], str, str]] = [
    ({"model": "azure/dep-1", "api_base": "https://r.openai.azure.com/", "api_version": "2024-06-01"},
     "https://r.openai.azure.com/openai/deployments/dep-1/chat/completions?api-version=2024-06-01",
     "https://r.openai.azure.com/openai/deployments/dep-1/embeddings?api-version=2024-06-01"),
    ({"model": "azure/dep", "api_base": "https://r.openai.azure.com/openai/deployments/dep/chat"},
     "https://r.openai.azure.com/openai/deployments/dep/chat/completions?api-version=2024-10-21", ""),
    ({"model": "azure/dep", "api_base": "https://r.openai.azure.com/openai/v1"},
     "https://r.openai.azure.com/openai/v1/chat/completions", ""),
    ({"model": "azure_ai/phi", "api_base": "https://r.services.ai.azure.com"},
     "https://r.services.ai.azure.com/models/chat/completions?api-version=2024-05-01-preview", ""),
    ({"model": "azure_ai/phi", "api_base": "https://phi.eastus.models.ai.azure.com/v1"},
     "https://phi.eastus.models.ai.azure.com/v1/chat/completions", ""),
    ({"model": "anthropic/claude-x"}, "https://api.anthropic.com/v1/messages", ""),
    ({"model": "anthropic/claude-x", "api_base": "http://relay:1/v1"}, "http://relay:1/v1/messages", ""),
    ({"model": "claude-sonnet-4-5"}, "https://api.anthropic.com/v1/messages", ""),
    ({"model": "gemini/gemini-x"}, "https://generativelanguage.googleapis.com/v1beta/models/gemini-x:generateContent",
     "https://generativelanguage.googleapis.com/v1beta/models/gemini-x:batchEmbedContents"),
    ({"model": "vertex_ai/gemini-x", "vertex_project": "p-1", "vertex_location": "europe-west1"},
     "https://europe-west1-aiplatform.googleapis.com/v1/projects/p-1/locations/europe-west1/publishers/google/models/"
     "gemini-x:generateContent",
     "https://europe-west1-aiplatform.googleapis.com/v1/projects/p-1/locations/europe-west1/publishers/google/models/"
     "gemini-x:predict"),
    ({"model": "vertex_ai/claude-x@1", "vertex_project": "p", "vertex_location": "global"},
     "https://aiplatform.googleapis.com/v1/projects/p/locations/global/publishers/anthropic/models/claude-x@1:rawPredict", ""),
    ({"model": "bedrock/us.anthropic.claude-x-v1:0", "aws_region_name": "us-east-1"},
     "https://bedrock-runtime.us-east-1.amazonaws.com/model/us.anthropic.claude-x-v1%3A0/converse",
     "https://bedrock-runtime.us-east-1.amazonaws.com/model/us.anthropic.claude-x-v1%3A0/invoke"),
    ({"model": "bedrock/converse/arn:aws:bedrock:eu-west-1:1:inference-profile/x"},
     "https://bedrock-runtime.eu-west-1.amazonaws.com/model/arn%3Aaws%3Abedrock%3Aeu-west-1%3A1%3Ainference-profile%2Fx/converse",
     ""),
    ({"model": "cohere/command-x"}, "https://api.cohere.com/v2/chat", "https://api.cohere.com/v2/embed"),
    ({"model": "ollama/llama3"}, "http://localhost:11434/api/chat", "http://localhost:11434/api/embed"),
    ({"model": "ollama_chat/llama3", "api_base": "http://gpu:11434/"}, "http://gpu:11434/api/chat", ""),
    ({"model": "groq/llama"}, "https://api.groq.com/openai/v1/chat/completions",
     "https://api.groq.com/openai/v1/embeddings"),
]  # fmt: skip


@pytest.mark.parametrize(("params", "chat", "embeddings"), ADDRESSES)
def test_where_a_call_goes(params: dict[str, Any], chat: str, embeddings: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_REGION_NAME", "AWS_REGION", "AWS_DEFAULT_REGION"):
        monkeypatch.delenv(name, raising=False)
    key = {} if params["model"].startswith(("bedrock", "vertex", "ollama")) else {"api_key": KEY}
    found = target(**params, **key)
    assert address(found) == chat
    if embeddings:
        assert address(found, EMBEDDINGS.name) == embeddings


@pytest.mark.parametrize("api_base", ["", "https://api.cohere.com/v1/rerank", "https://api.cohere.com/v2"])
def test_cohere_reranks(api_base: str) -> None:
    found = target(model="cohere/rerank-v3.5", api_key=KEY, **({"api_base": api_base} if api_base else {}))
    assert address(found, RERANK.name) == "https://api.cohere.com/v1/rerank"


@pytest.mark.parametrize(
    ("params", "name", "value"),
    [
        ({"model": "azure/d", "api_base": "https://r.openai.azure.com"}, "api-key", KEY),
        (
            {"model": "azure/d", "api_base": "https://r.openai.azure.com", "azure_ad_token": "tok"},
            "authorization",
            "Bearer tok",
        ),
        ({"model": "anthropic/c"}, "x-api-key", KEY),
        ({"model": "gemini/g"}, "x-goog-api-key", KEY),
        ({"model": "cohere/c"}, "authorization", f"Bearer {KEY}"),
        ({"model": "bedrock/x"}, "authorization", f"Bearer {KEY}"),
        ({"model": "groq/x"}, "authorization", f"Bearer {KEY}"),
    ],
)
def test_each_takes_its_key_its_own_way_and_no_other(params: dict[str, Any], name: str, value: str) -> None:
    found = headers(target(**params, api_key=KEY))
    assert found[name] == value
    assert [n for n, v in found.items() if KEY in v or v[-3:] == "tok"] == [name]


async def test_an_entra_token_is_fetched_once_and_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    class Token:
        token, expires_on = "entra-1", 4e9

    class Credential:
        async def get_token(self, scope: str) -> Token:
            asked.append(scope)
            return Token()

    from services.edge.providers import azure

    monkeypatch.setattr(azure, "_credential", lambda _: Credential())
    found = target(
        model="azure/d", api_base="https://r.openai.azure.com", tenant_id="t", client_id="c", client_secret="s"
    )
    assert found.credentials is not None and "api-key" not in headers(found)
    for _ in range(3):
        assert await found.credentials.headers("POST", "/", b"") == b"authorization: Bearer entra-1\r\n"
    assert asked == ["https://cognitiveservices.azure.com/.default"]


async def test_bedrock_is_signed_as_awss_own_library_signs() -> None:
    found = target(
        model="bedrock/anthropic.claude-x-v1:0", aws_region_name="us-east-1", aws_access_key_id="AKIDEXAMPLE",
        aws_secret_access_key="secret/key", aws_session_token="session",
    )  # fmt: skip
    assert found.credentials is not None and found.origin is not None
    path, body = found.provider.path(found, CHAT.name, found.deployment.upstream_model, stream=True), b'{"a":1}'
    assert path.endswith("/model/anthropic.claude-x-v1%3A0/converse-stream")
    lines = dict(
        line.split(": ", 1) for line in (await found.credentials.headers("POST", path, body)).decode().splitlines()
    )
    assert lines["x-amz-security-token"] == "session"
    request = AWSRequest(
        "POST", f"https://{found.origin.authority}{path}", data=body, headers={"X-Amz-Date": lines["x-amz-date"]}
    )
    request.context["timestamp"] = lines["x-amz-date"]
    request.headers["X-Amz-Security-Token"] = "session"
    signer = SigV4Auth(BotoCredentials("AKIDEXAMPLE", "secret/key", "session"), "bedrock", "us-east-1")
    canonical = signer.canonical_request(request)
    expected = signer.signature(signer.string_to_sign(request, canonical), request)
    assert re.search(r"Signature=([0-9a-f]{64})$", lines["authorization"])[1] == expected


async def test_where_there_is_no_credential_nothing_is_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    from services.edge.providers import bedrock

    def none(self: object) -> None:
        raise LookupError("none")

    monkeypatch.setattr(bedrock.Signing, "_fetch", none)
    async with Provider(always(response(b"{}"))) as provider:
        edge = await _edge([{"model": "bedrock/x", "aws_bedrock_runtime_endpoint": provider.url[:-3]}])
        async with edge:
            assert (await edge.chat()).status == 502
            _, settled = await told(edge)
            assert (settled.outcome, settled.cost_picousd) == ("provider_error", 0)
            assert provider.connections == 0


# ── through the edge ──


async def _edge(params: list[dict[str, Any]], **sections: Any) -> Edge:
    edge = Edge({"m": ["mock:x"] * len(params)})
    loaded = entries(*params, **sections)
    assert not loaded.left_out, loaded.left_out
    edge.deployments = routing_settings.with_defaults(loaded.deployments, loaded)
    edge.litellm = loaded.litellm
    return edge


async def test_a_claude_answers_in_openais_words_with_its_tools_and_usage() -> None:
    async with Provider(always(response(json.dumps(MESSAGE).encode()))) as provider:
        edge = await _edge([{"model": "anthropic/claude-x", "api_base": provider.url, "api_key": KEY}])
        async with edge:
            answer = await edge.chat(tools=TOOLS, user="u-1")
            assert answer.status == 200 and answer.headers["content-type"] == "application/json"
            choice = answer.json()["choices"][0]
            assert (choice["message"]["content"], choice["finish_reason"]) == ("I look", "tool_calls")
            assert json.loads(choice["message"]["tool_calls"][0]["function"]["arguments"]) == {"city": "Ulm"}
            _, settled = await told(edge)
            usage = settled.usage
            assert (usage.input_tokens, usage.cached_tokens, usage.output_tokens, usage.source) == (
                14,
                4,
                5,
                "provider",
            )
            sent = json.loads(provider.bodies[0])
            assert sent["messages"][0]["role"] == "user" and sent["tools"][0]["name"] == "weather"
            assert b"POST /v1/messages " in provider.heads[0] and b"x-api-key" in provider.heads[0]


def events(*parts: dict[str, Any]) -> Script:
    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n")
        for part in parts:
            data = f"event: {part['type']}\ndata: {json.dumps(part)}\n\n".encode()
            await peer.send(chunk(data[:7]), chunk(data[7:]))
        await peer.send(b"0\r\n\r\n")

    return script


CLAUDE_STREAM = (
    {"type": "message_start", "message": {**MESSAGE, "content": [], "usage": {"input_tokens": 10, "output_tokens": 1}}},
    {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
    {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "Hello"}},
    {"type": "content_block_stop", "index": 0},
    {
        "type": "content_block_start",
        "index": 1,
        "content_block": {"type": "tool_use", "id": "toolu_1", "name": "weather", "input": {}},
    },
    {
        "type": "content_block_delta",
        "index": 1,
        "delta": {"type": "input_json_delta", "partial_json": '{"city":"Ulm"}'},
    },
    {"type": "content_block_stop", "index": 1},
    {"type": "message_delta", "delta": {"stop_reason": "tool_use"}, "usage": {"output_tokens": 7}},
    {"type": "message_stop"},
)


@pytest.mark.parametrize("wants", [False, True])
async def test_a_claudes_stream_comes_as_openais_with_the_usage_in_the_book(wants: bool) -> None:
    async with Provider(events(*CLAUDE_STREAM)) as provider:
        edge = await _edge([{"model": "anthropic/claude-x", "api_base": provider.url, "api_key": KEY}])
        async with edge:
            answer = await edge.chat(
                stream=True, tools=TOOLS, **({"stream_options": {"include_usage": True}} if wants else {})
            )
            assert answer.headers["content-type"] == "text/event-stream"
            assert answer.body.endswith(b"data: [DONE]\n\n")
            chunks = [json.loads(event[6:]) for event in answer.body.split(b"\n\n")[:-2]]
            choices = [choice for each in chunks for choice in each["choices"]]
            assert "".join(c["delta"].get("content") or "" for c in choices) == "Hello"
            arguments = "".join(
                t["function"].get("arguments", "") for c in choices for t in c["delta"].get("tool_calls", [])
            )
            assert json.loads(arguments) == {"city": "Ulm"}
            assert choices[-1]["finish_reason"] == "tool_calls"
            assert any("usage" in each and each["usage"] for each in chunks) == wants
            _, settled = await told(edge)
            assert (settled.outcome, settled.usage.input_tokens, settled.usage.output_tokens) == ("success", 10, 7)


async def test_a_claudes_stream_that_breaks_off_is_no_success() -> None:
    async with Provider(events(*CLAUDE_STREAM[:3])) as provider:
        edge = await _edge([{"model": "anthropic/claude-x", "api_base": provider.url, "api_key": KEY}])
        async with edge:
            answer = await edge.chat(stream=True)
            assert b"Hello" in answer.body and b'"error"' in answer.body and b"[DONE]" not in answer.body
            assert (await told(edge))[1].outcome == "provider_error"


async def test_a_relay_that_speaks_openais_wire_for_a_claude_is_understood() -> None:
    from tests.edge.fakes import completion

    async with Provider(always(response(completion()))) as provider:
        edge = await _edge([{"model": "anthropic/claude-x", "api_base": provider.url, "api_key": KEY}])
        async with edge:
            answer = await edge.chat()
            assert (answer.status, answer.body) == (200, completion())


async def test_an_error_of_claudes_keeps_its_words_and_another_deployment_is_asked() -> None:
    error = json.dumps({"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}}).encode()
    async with Provider(always(response(error, "529 X"))) as provider:
        edge = await _edge([{"model": "anthropic/claude-x", "api_base": provider.url, "api_key": KEY}])
        async with edge:
            answer = await edge.chat()
            assert (answer.status, answer.error_message()) == (503, "Overloaded")


async def test_what_a_provider_has_no_word_for_is_refused_before_anything_is_opened() -> None:
    async with Provider(always(response(b"{}"))) as provider:
        edge = await _edge([{"model": "anthropic/claude-x", "api_base": provider.url, "api_key": KEY}])
        async with edge:
            answer = await edge.chat(messages=[{"role": "user", "content": [{"type": "nonsense"}]}])
            assert (answer.status, answer.error()["type"]) == (400, "invalid_request_error")
            async with await edge.connect() as caller:
                await caller.post("/v1/embeddings", b'{"model":"m","input":"x"}')
                refused = await caller.answer()
            assert (refused.status, refused.error()["param"]) == (400, "model")
            assert provider.connections == 0 and not edge.facts()


async def test_an_entrys_parameters_are_sent_unless_the_caller_says_otherwise() -> None:
    from tests.edge.fakes import completion

    async with Provider(always(response(completion()))) as provider:
        params = {
            "model": "openai/x", "api_base": provider.url, "api_key": KEY, "temperature": 0.2, "max_tokens": 50,
            "extra_body": {"top_k": 4}, "additional_drop_params": ["seed"],
        }  # fmt: skip
        async with await _edge([params]) as edge:
            await edge.chat(temperature=1.5, seed=3)
            sent = json.loads(provider.bodies[0])
            assert (sent["temperature"], sent["max_tokens"], sent["top_k"]) == (1.5, 50, 4)
            assert "seed" not in sent


@pytest.mark.parametrize("drop", [False, True])
async def test_what_a_provider_doesnt_take_is_dropped_or_refused_by_name(drop: bool) -> None:
    async with Provider(always(response(json.dumps(MESSAGE).encode()))) as provider:
        params = {"model": "anthropic/claude-x", "api_base": provider.url, "api_key": KEY}
        async with await _edge([params], litellm_settings={"drop_params": drop}) as edge:
            answer = await edge.chat(frequency_penalty=0.5)
            assert answer.status == (200 if drop else 400)
            if not drop:
                assert answer.error()["param"] == "frequency_penalty"


# ── settings ──


def test_the_files_settings_of_routing_are_read_where_litellm_reads_them() -> None:
    loaded = entries(
        {"model": "openai/x", "api_key": KEY},
        {"model": "openai/y", "api_key": KEY, "timeout": 9, "stream_timeout": 3, "max_retries": 4, "rpm": 60, "cooldown_time": 1},
        router_settings={
            "routing_strategy": "least-busy", "num_retries": 3, "retry_after": 2, "allowed_fails": 7, "cooldown_time": 30, "timeout": 40,
            "enable_pre_call_checks": True, "retry_policy": {"RateLimitErrorRetries": 1}, "retry_unsafe": True,
        },
        litellm_settings={"num_retries": 5, "request_timeout": 12, "cooldown_time": 99},
    )  # fmt: skip
    found = routing_settings.of(loaded)
    assert (found.strategy, found.cooldown_s, found.allowed_fails, found.timeout_ms) == ("least-busy", 30, 7, 40_000)
    assert (found.rules.retries, found.rules.wait_s, found.rules.unsafe, found.check_windows) == (3, 2, True, True)
    assert found.rules.retries_of("limited") == 1
    first, second = routing_settings.with_defaults(loaded.deployments, loaded)
    assert (first.timeout_ms, first.stream_timeout_ms, first.retries) == (12_000, None, None)
    assert (second.timeout_ms, second.stream_timeout_ms, second.retries, second.cooldown_s) == (9_000, 3_000, 4, 1)
    assert routing_settings.of(entries(router_settings={"disable_cooldowns": True})).cooldown_s == 0


def test_a_strategy_and_a_failure_that_arent_known_are_named_and_not_used() -> None:
    for odd in ("telepathy", 7, ["least-busy"]):
        named = entries(router_settings={"routing_strategy": odd})
        assert routing_settings.of(named).strategy == "simple-shuffle"
        (key,) = (each for each in named.keys if each.place == "router_settings.routing_strategy")
        assert key.verdict == "no effect" and "is none of simple-shuffle, least-busy" in key.note
        assert any("routing_strategy: not used" in each for each in named.warnings)
    for policy in ({"NoSuchRetries": 1}, {"RateLimitErrorRetries": -1}):
        named = entries(router_settings={"retry_policy": policy})
        assert not routing_settings.of(named).rules.by_cause
        assert any(f"retry_policy.{next(iter(policy))}: not used" in each for each in named.warnings)
    assert tuple(routing_settings.CAUSES) == FAILURES
