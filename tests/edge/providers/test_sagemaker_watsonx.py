"""SageMaker endpoints in OpenAI's format, and IBM watsonx.ai: whole, streamed, embedded,
refused.
"""

import json
import struct
import zlib
from typing import Any

import pytest
from aiohttp import web

from services.edge.providers import table
from services.edge.providers.base import CredentialsError, UnreadableAnswerError
from services.edge.providers.translate import openai_chat__sagemaker as sagemaker
from services.edge.providers.translate import openai_chat__watsonx as watsonx
from services.edge.providers.translate import openai_embeddings__watsonx as embeddings
from shared import config
from tests.edge.conftest import Start
from tests.edge.harness import told
from tests.edge.translate.translate_kit import WEATHER, cut_everywhere, events, fields, fold, options, user
from tests.edge.wires_kit import AWS, WHOLE, answering, sse
from tests.support.serving import handled_by, serving

CHUNKS: list[dict[str, Any]] = [
    {
        "id": "c",
        "object": "chat.completion.chunk",
        "created": 1,
        "model": "m",
        "choices": [{"index": 0, "delta": {"role": "assistant", "content": "Grü"}, "finish_reason": None}],
    },
    {
        "id": "c",
        "object": "chat.completion.chunk",
        "created": 1,
        "model": "m",
        "choices": [{"index": 0, "delta": {"content": "ße"}, "finish_reason": "stop"}],
    },
    {
        "id": "c",
        "object": "chat.completion.chunk",
        "created": 1,
        "model": "m",
        "choices": [],
        "usage": {"prompt_tokens": 3, "completion_tokens": 4, "total_tokens": 7},
    },
]


def frame(payload: bytes, kind: str = "PayloadPart", message: str = "event") -> bytes:
    name = ":event-type" if message == "event" else ":exception-type"
    headers = b"".join(
        bytes([len(key)]) + key.encode() + b"\x07" + struct.pack(">H", len(value)) + value.encode()
        for key, value in ((name, kind), (":message-type", message))
    )
    prelude = struct.pack(">II", 16 + len(headers) + len(payload), len(headers))
    start = prelude + struct.pack(">I", zlib.crc32(prelude)) + headers + payload
    return start + struct.pack(">I", zlib.crc32(start))


ENTRY = {"model": "sagemaker_chat/my-endpoint", **AWS}


async def test_a_sagemaker_endpoint(start: Start) -> None:
    script = answering(json.dumps(WHOLE).encode())
    edge = await start(script, params=ENTRY)
    answer = await edge.chat()
    assert answer.status == 200 and json.loads(answer.body)["choices"][0]["message"]["content"] == "Grüße"
    (request, *headers), body = script.asked
    assert request == "POST /v1/endpoints/my-endpoint/invocations HTTP/1.1"
    assert any("/eu-west-1/sagemaker/aws4_request" in line for line in headers)
    assert body["model"] == "my-endpoint"
    _, settled = await told(edge)
    assert (settled.usage.input_tokens, settled.usage.output_tokens) == (3, 4)


async def test_a_sagemaker_stream(start: Start) -> None:
    raw = sse(*CHUNKS) + b"data: [DONE]\n\n"
    framed = b"".join(frame(raw[i : i + 50]) for i in range(0, len(raw), 50))
    script = answering(framed, content_type="application/vnd.amazon.eventstream")
    edge = await start(script, params=ENTRY)
    answer = await edge.chat(stream=True)
    assert answer.status == 200 and answer.body.endswith(b"data: [DONE]\n\n")
    assert script.asked[0][0] == "POST /v1/endpoints/my-endpoint/invocations-response-stream HTTP/1.1"
    _, settled = await told(edge)
    assert (settled.outcome, settled.usage.output_tokens) == ("success", 4)


def test_sagemakers_frames_cut_everywhere_and_its_errors() -> None:
    raw = sse(*CHUNKS) + b"data: [DONE]\n\n"
    framed = b"".join(frame(raw[i : i + 70]) for i in range(0, len(raw), 70))
    folded = fold(cut_everywhere(lambda: sagemaker.Stream(options()), framed))
    assert (folded["message"]["content"], folded["usage"]["total_tokens"]) == ("Grüße", 7)
    broken = frame(sse(*CHUNKS[:1])) + frame(b'{"Message":"gone"}', "InternalStreamFailure", "exception")
    assert events(cut_everywhere(lambda: sagemaker.Stream(options()), broken))[-1]["error"]["message"] == "gone"
    said = sagemaker.error(
        b'{"ErrorCode":"X","OriginalMessage":"maximum context length is 5","Message":"Received 400"}', 400
    )
    assert said is not None and said.code == "context_length_exceeded"
    with pytest.raises(UnreadableAnswerError):
        sagemaker.answer(b'[{"generated_text":"x"}]', options())


IBM_WHOLE = {"id": "c", "model_id": "ibm/granite", "created": 5, **{k: WHOLE[k] for k in ("choices", "usage")}}


def ibm_stream() -> bytes:
    out = b""
    for i, chunk in enumerate(CHUNKS):
        body = {"id": "c", "model_id": "ibm/granite", "created": 5, "choices": chunk["choices"]}
        if "usage" in chunk:
            body["usage"] = chunk["usage"]
        out += b"id: %d\nevent: message\ndata: %b\n\n" % (i, json.dumps(body).encode())
    return out


async def test_watsonx(start: Start) -> None:
    entry = {
        "model": "watsonx/ibm/granite",
        "project_id": "p1",
        "api_key": None,
        "extra_headers": {"authorization": "Bearer t"},
    }
    script = answering(json.dumps(IBM_WHOLE).encode())
    edge = await start(script, params=entry)
    answer = await edge.chat(tools=[WEATHER], tool_choice="required", max_completion_tokens=5)
    assert answer.status == 200 and json.loads(answer.body)["model"] == "ibm/granite"
    (request, *_), body = script.asked
    assert request.startswith("POST /v1/ml/v1/text/chat?version=")
    assert (body["model_id"], body["project_id"], body["max_tokens"]) == ("ibm/granite", "p1", 5)
    assert (body["tool_choice_option"], "model" in body, "stream" in body) == ("required", False, False)
    _, settled = await told(edge)
    assert (settled.usage.input_tokens, settled.usage.output_tokens) == (3, 4)


def test_watsonx_streams_and_errors() -> None:
    folded = fold(cut_everywhere(lambda: watsonx.Stream(options()), ibm_stream()))
    assert (folded["message"]["content"], folded["finish_reason"], folded["usage"]["total_tokens"]) == (
        "Grüße",
        "stop",
        7,
    )
    short = ibm_stream()[: ibm_stream().index(b"id: 1")]
    assert "[DONE]" not in events(cut_everywhere(lambda: watsonx.Stream(options()), short))
    body = b'{"errors":[{"code":"authentication_token_expired","message":"Failed"}],"status_code":401}'
    said = watsonx.error(body, 401)
    assert said is not None and said.message == "Failed"
    failing = short + b"data: " + body + b"\n\n"
    assert events(cut_everywhere(lambda: watsonx.Stream(options()), failing))[-1]["error"]["message"] == "Failed"
    with pytest.raises(UnreadableAnswerError):
        watsonx.answer(b"{}", options())
    made = json.loads(
        watsonx.request(
            fields({"messages": user(), "tool_choice": {"type": "function", "function": {"name": "f"}}}),
            "deployment/d",
            options(),
        )
    )
    assert made == {"messages": user(), "tool_choice": {"type": "function", "function": {"name": "f"}}}


def test_watsonx_embeddings() -> None:
    made = json.loads(embeddings.request(fields({"input": ["a", "b"], "model": "x"}), "ibm/slate", options()))
    assert made == {"model_id": "ibm/slate", "inputs": ["a", "b"]}
    answer = json.loads(embeddings.answer(b'{"results":[{"embedding":[0.5]}],"input_token_count":4}', options()))
    assert (answer["data"][0]["embedding"], answer["usage"]["prompt_tokens"]) == ([0.5], 4)


async def test_ibm_gives_a_token_for_a_key() -> None:
    asked: list[Any] = []

    async def token(request: web.Request) -> web.Response:
        asked.append(dict(await request.post()))
        if len(asked) > 1:
            return web.json_response({"errorMessage": "no"}, status=400)
        return web.json_response({"access_token": "ibm-token", "expires_in": 10})

    entry = {"model": "watsonx/ibm/granite", "api_base": "https://w.example", "api_key": "ibm-key"}
    (deployment,) = config.parse(
        json.dumps({"model_list": [{"model_name": "m", "litellm_params": entry}]}), {}
    ).deployments
    async with serving(handled_by(token, "POST", "/identity/token")) as url:
        environ = {"WATSONX_IAM_URL": url + "/identity/token", "WATSONX_PROJECT_ID": "p2"}
        (target,) = table.build([deployment], "test", None, environ).values()
        assert target.deployment.params.project_id == "p2" and target.credentials is not None
        assert await target.credentials.headers("POST", "/", b"") == b"authorization: Bearer ibm-token\r\n"
        assert asked == [{"grant_type": "urn:ibm:params:oauth:grant-type:apikey", "apikey": "ibm-key"}]
        target.credentials._until = 0  # type: ignore[attr-defined]
        with pytest.raises(CredentialsError) as refused:
            await target.credentials.headers("POST", "/", b"")
        assert "ibm-key" not in str(refused.value)
