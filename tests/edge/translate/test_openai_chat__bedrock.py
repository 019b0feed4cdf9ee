"""OpenAI chat to Amazon Bedrock's Converse: shapes against botocore's service model, frames against
botocore's decoder.
"""

import base64
import functools
import json
import struct
import zlib
from typing import Any

import botocore.session
import pytest
from botocore.eventstream import EventStreamBuffer
from botocore.validate import ParamValidator

from services.edge.providers.base import UnreadableAnswerError
from services.edge.providers.translate import bedrock_answer
from services.edge.providers.translate import openai_chat__bedrock as bedrock
from services.edge.providers.translate.event_stream import Decoder
from shared.errors import RefusedError
from tests.edge.translate.translate_kit import (
    CONVERSATION,
    JSON_SCHEMA,
    PIXEL,
    SCHEMA,
    WEATHER,
    cut_everywhere,
    events,
    fields,
    fold,
    options,
    run,
    user,
    valid_completion,
)

MODEL = "us.anthropic.claude-sonnet-4-5-20250929-v1:0"
OLD = "anthropic.claude-3-haiku-20240307-v1:0"


@functools.cache
def operation(name: str) -> Any:
    return botocore.session.get_session().get_service_model("bedrock-runtime").operation_model(name)


def blobs(value: Any, shape: Any) -> Any:
    """Base64 as bytes, where the shape says blob."""
    if shape.type_name == "blob":
        return base64.b64decode(value)
    if shape.type_name == "list":
        return [blobs(item, shape.member) for item in value]
    if shape.type_name == "structure" and not getattr(shape, "is_document_type", False):
        return {key: blobs(item, shape.members[key]) if key in shape.members else item for key, item in value.items()}
    return value


def valid(value: dict[str, Any], shape: Any, **more: Any) -> None:
    report = ParamValidator().validate({**blobs(value, shape), **more}, shape)
    assert not report.has_errors(), report.generate_report()
    unknown = set(value) - set(shape.members)
    assert not unknown, unknown


def sent(request: dict[str, Any], model: str = MODEL, **more: Any) -> dict[str, Any]:
    body: dict[str, Any] = json.loads(bedrock.request(fields(request), model, options(**more)))
    valid(body, operation("Converse").input_shape, modelId=model)
    return body


def test_a_conversation_with_tools_and_an_image() -> None:
    assert sent({"messages": CONVERSATION, "tools": [WEATHER], "max_tokens": 9, "temperature": 0.5, "stop": "END"}) == {
        "system": [{"text": "Be brief."}],
        "messages": [
            {"role": "user", "content": [
                {"text": "What is this, and the weather in Oslo and Rome?"},
                {"image": {"format": "png", "source": {"bytes": PIXEL}}},
            ]},
            {"role": "assistant", "content": [
                {"text": "Let me see."},
                {"toolUse": {"toolUseId": "call_1", "name": "weather", "input": {"city": "Oslo"}}},
                {"toolUse": {"toolUseId": "call_2", "name": "weather", "input": {"city": "Rome"}}},
            ]},
            {"role": "user", "content": [
                {"toolResult": {"toolUseId": "call_1", "content": [{"text": "3 °C"}]}},
                {"toolResult": {"toolUseId": "call_2", "content": [{"text": "19 °C"}]}},
                {"text": "Thanks. And tomorrow?"},
            ]},
        ],
        "inferenceConfig": {"maxTokens": 9, "temperature": 0.5, "stopSequences": ["END"]},
        "toolConfig": {"tools": [{"toolSpec": {
            "name": "weather", "description": "The weather somewhere", "inputSchema": {"json": WEATHER["function"]["parameters"]},
        }}]},
    }  # fmt: skip


def test_blank_texts_are_left_out() -> None:
    """Converse refuses them: line breaks beside an agent's calls, results without a word."""
    call = {"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    messages = [
        {"role": "system", "content": " "},
        *user(),
        {"role": "assistant", "content": "\n\n", "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "c", "content": ""},
        {"role": "user", "content": [{"type": "text", "text": "\t"}, {"type": "text", "text": " yes "}]},
    ]
    body = sent({"messages": messages})
    assert "system" not in body
    assert body["messages"][1]["content"] == [{"toolUse": {"toolUseId": "c", "name": "f", "input": {}}}]
    assert body["messages"][2]["content"] == [{"toolResult": {"toolUseId": "c", "content": []}}, {"text": " yes "}]


def test_nothing_is_added() -> None:
    said = {"messages": [{"role": "user", "content": [{"text": "hi"}]}]}
    assert sent({"messages": user(), "stream": True, "user": "u", "service_tier": "auto"}) == said


@pytest.mark.parametrize(
    ("model", "choice", "made", "extra"),
    [
        (MODEL, "auto", {"auto": {}}, None),
        (MODEL, "required", {"any": {}}, None),
        (MODEL, "none", None, {"tool_choice": {"type": "none"}}),
        (MODEL, {"type": "function", "function": {"name": "weather"}}, {"tool": {"name": "weather"}}, None),
        ("amazon.nova-pro-v1:0", "required", {"any": {}}, None),
        ("meta.llama3-3-70b-instruct-v1:0", "required", None, None),
    ],
)
def test_tool_choice(model: str, choice: Any, made: Any, extra: Any) -> None:
    body = sent({"messages": user(), "tools": [WEATHER], "tool_choice": choice}, model)
    assert (body["toolConfig"].get("toolChoice"), body.get("additionalModelRequestFields")) == (made, extra)


def test_a_choice_of_none_leaves_the_tools_out_where_nothing_else_says_it() -> None:
    assert "toolConfig" not in sent(
        {"messages": user(), "tools": [WEATHER], "tool_choice": "none"}, "amazon.nova-pro-v1:0"
    )


def test_calls_one_by_one_is_claudes_own_field() -> None:
    body = sent({"messages": user(), "tools": [WEATHER], "parallel_tool_calls": False})
    choice = {"type": "auto", "disable_parallel_tool_use": True}
    assert body["additionalModelRequestFields"] == {"tool_choice": choice}


def test_a_schema() -> None:
    body = sent({"messages": user(), "response_format": JSON_SCHEMA})
    schema = body["outputConfig"]["textFormat"]["structure"]["jsonSchema"]["schema"]
    assert json.loads(schema)["properties"] == {"n": {"type": "integer", "description": "(minimum: 3)"}}
    body = sent({"messages": user(), "response_format": JSON_SCHEMA}, OLD)
    assert body["toolConfig"]["tools"][0]["toolSpec"]["inputSchema"] == {"json": SCHEMA}
    assert body["toolConfig"]["toolChoice"] == {"tool": {"name": bedrock_answer.JSON_TOOL}}
    use = {"toolUse": {"toolUseId": "t", "name": bedrock_answer.JSON_TOOL, "input": {"n": 4}}}
    answer = reply([use], "tool_use")
    whole = json.loads(bedrock.answer(json.dumps(answer).encode(), options()))["choices"][0]
    folded = fold(cut(stream_of(answer)))
    assert whole["message"] == folded["message"] == {"role": "assistant", "content": '{"n": 4}'}
    assert whole["finish_reason"] == folded["finish_reason"] == "stop"


def test_what_only_the_model_knows_goes_to_the_model() -> None:
    body = sent({"messages": user(), "top_k": 5, "reasoning_effort": "low", "anthropic_beta": ["x"]})
    thinking = {"type": "enabled", "budget_tokens": 1024}
    assert body["additionalModelRequestFields"] == {"top_k": 5, "thinking": thinking, "anthropic_beta": ["x"]}
    body = sent(
        {"messages": user(), "top_k": 5, "service_tier": "flex", "reasoning_effort": "high"}, "amazon.nova-2-lite-v1:0"
    )
    config = {"type": "enabled", "maxReasoningEffort": "high"}
    assert body["additionalModelRequestFields"] == {"inferenceConfig": {"topK": 5}, "reasoningConfig": config}
    assert body["serviceTier"] == {"type": "flex"}


def test_converses_own_fields_pass() -> None:
    guard = {"guardrailIdentifier": "g", "guardrailVersion": "1"}
    assert sent({"messages": user(), "guardrailConfig": guard})["guardrailConfig"] == guard


def test_cache_points_and_signed_reasoning() -> None:
    mark = {"type": "ephemeral", "ttl": "1h"}
    blocks = [
        {"type": "thinking", "thinking": "hm", "signature": "s"},
        {"type": "redacted_thinking", "data": "eA=="},
        {"type": "thinking", "thinking": "unsigned"},
    ]
    turn = {"role": "assistant", "content": "x", "thinking_blocks": blocks}
    text = [{"type": "text", "text": "long", "cache_control": mark}]
    body = sent(
        {
            "messages": [{"role": "system", "content": text}, *user(), turn, *user()],
            "tools": [{**WEATHER, "cache_control": {}}],
        }
    )
    assert body["system"] == [{"text": "long"}, {"cachePoint": {"type": "default", "ttl": "1h"}}]
    assert body["toolConfig"]["tools"][1] == {"cachePoint": {"type": "default"}}
    assert body["messages"][1]["content"] == [
        {"reasoningContent": {"reasoningText": {"text": "hm", "signature": "s"}}},
        {"reasoningContent": {"redactedContent": "eA=="}},
        {"text": "x"},
    ]


def test_documents_and_s3() -> None:
    parts = [
        {"type": "file", "file": {"file_data": "data:application/pdf;base64,AA=="}},
        {"type": "image_url", "image_url": {"url": "s3://bucket/a.webp"}},
    ]
    assert sent({"messages": [{"role": "user", "content": parts}]})["messages"][0]["content"] == [
        {"document": {"format": "pdf", "name": "document-1", "source": {"bytes": "AA=="}}},
        {"image": {"format": "webp", "source": {"s3Location": {"uri": "s3://bucket/a.webp"}}}},
    ]


def test_modify_params_gives_tools_that_the_conversation_used() -> None:
    body = sent({"messages": [*CONVERSATION[2:3], *CONVERSATION[3:]]}, modify_params=True)
    assert body["toolConfig"]["tools"][0]["toolSpec"]["name"] == "weather"
    assert body["messages"][0]["role"] == "user"


WEB_IMAGE = {"type": "image_url", "image_url": {"url": "https://x/a.png"}}


@pytest.mark.parametrize(
    ("change", "param"),
    [
        ({"messages": [{"role": "user", "content": [WEB_IMAGE]}]}, "messages[0].content[0]"),
        ({"messages": [{"role": "user", "content": []}]}, "messages[0].content"),
        ({"messages": [{"role": "system", "content": "only"}]}, "messages"),
        ({"tools": [{"type": "web_search"}]}, "tools"),
    ],
)
def test_what_cant_be_said_is_refused_by_its_place(change: dict[str, Any], param: str) -> None:
    with pytest.raises(RefusedError) as refused:
        bedrock.request(fields({"messages": user(), **change}), MODEL, options())
    assert (refused.value.refusal.status, refused.value.refusal.param) == (400, param)


def reply(content: list[dict[str, Any]], stop: str = "end_turn", **usage: Any) -> dict[str, Any]:
    answer = {
        "output": {"message": {"role": "assistant", "content": content}},
        "stopReason": stop,
        "usage": {"inputTokens": 12, "outputTokens": 34, "totalTokens": 46, **usage},
        "metrics": {"latencyMs": 5},
    }
    valid(answer, operation("Converse").output_shape)
    return answer


def frame(kind: str, payload: dict[str, Any], message: str = "event") -> bytes:
    """As Amazon's services write it."""
    name = ":event-type" if message == "event" else ":exception-type"
    pairs = ((name, kind), (":content-type", "application/json"), (":message-type", message))
    headers = b"".join(
        bytes([len(key)]) + key.encode() + b"\x07" + struct.pack(">H", len(value)) + value.encode()
        for key, value in pairs
    )
    if message == "event":
        shape = operation("ConverseStream").output_shape.members["stream"].members[kind]
        report = ParamValidator().validate(blobs(payload, shape), shape)
        assert not report.has_errors(), report.generate_report()
    body = json.dumps(payload).encode()
    prelude = struct.pack(">II", 16 + len(headers) + len(body), len(headers))
    start = prelude + struct.pack(">I", zlib.crc32(prelude)) + headers + body
    return start + struct.pack(">I", zlib.crc32(start))


def stream_of(answer: dict[str, Any]) -> bytes:
    out = [frame("messageStart", {"role": "assistant"})]
    for i, block in enumerate(answer["output"]["message"]["content"]):
        deltas: list[dict[str, Any]] = []
        if "toolUse" in block:
            use = block["toolUse"]
            start = {"toolUse": {"toolUseId": use["toolUseId"], "name": use["name"]}}
            out.append(frame("contentBlockStart", {"start": start, "contentBlockIndex": i}))
            text = json.dumps(use["input"]) if use["input"] else ""
            deltas = [{"toolUse": {"input": piece}} for piece in (text[:3], text[3:])]
        elif "text" in block:
            deltas = [{"text": piece} for piece in (block["text"][:2], block["text"][2:])]
        elif "reasoningText" in block["reasoningContent"]:
            text, signature = (block["reasoningContent"]["reasoningText"][name] for name in ("text", "signature"))
            deltas = [{"reasoningContent": {"text": text}}, {"reasoningContent": {"signature": signature}}]
        else:
            deltas = [{"reasoningContent": block["reasoningContent"]}]
        out += [frame("contentBlockDelta", {"delta": delta, "contentBlockIndex": i}) for delta in deltas]
        out.append(frame("contentBlockStop", {"contentBlockIndex": i}))
    out.append(frame("messageStop", {"stopReason": answer["stopReason"]}))
    out.append(frame("metadata", {"usage": answer["usage"], "metrics": answer["metrics"]}))
    return b"".join(out)


def cut(raw: bytes) -> list[bytes]:
    return cut_everywhere(lambda: bedrock.Stream(options()), raw)


REPLIES = {
    "text": reply([{"text": "Grüße"}]),
    "cut": reply([{"text": "so far"}], "max_tokens"),
    "filtered": reply([{"text": "no"}], "content_filtered"),
    "thinking": reply(
        [
            {"reasoningContent": {"reasoningText": {"text": "hm", "signature": "s"}}},
            {"reasoningContent": {"redactedContent": "eA=="}},
            {"text": "42"},
        ]
    ),
    "tools": reply(
        [
            {"text": "I ask."},
            {"toolUse": {"toolUseId": "a", "name": "weather", "input": {"city": "Oslo"}}},
            {"toolUse": {"toolUseId": "b", "name": "now", "input": {}}},
        ],
        "tool_use",
    ),
    "caches": reply(
        [{"text": "ok"}],
        cacheReadInputTokens=2000,
        cacheWriteInputTokens=300,
        totalTokens=2346,
        cacheDetails=[{"ttl": "1h", "inputTokens": 200}, {"ttl": "5m", "inputTokens": 100}],
    ),
}


@pytest.mark.parametrize("name", REPLIES)
def test_a_stream_says_what_the_whole_answer_says_wherever_it_is_cut(name: str) -> None:
    answer = REPLIES[name]
    whole = valid_completion(bedrock.answer(json.dumps(answer).encode(), options()))
    folded = fold(cut(stream_of(answer)))
    choice = whole["choices"][0]
    assert folded["message"] == choice["message"]
    assert folded["finish_reason"] == choice["finish_reason"]
    assert (folded["usage"], folded["id"], folded["model"]) == (whole["usage"], "chatcmpl-1", "up-model")


def test_what_an_answer_says() -> None:
    choice = json.loads(bedrock.answer(json.dumps(REPLIES["tools"]).encode(), options()))["choices"][0]
    assert choice["finish_reason"] == "tool_calls"
    assert [(call["id"], call["function"]["arguments"]) for call in choice["message"]["tool_calls"]] == [
        ("a", '{"city": "Oslo"}'),
        ("b", "{}"),
    ]
    usage = json.loads(bedrock.answer(json.dumps(REPLIES["caches"]).encode(), options()))["usage"]
    assert (usage["prompt_tokens"], usage["total_tokens"]) == (2312, 2346)
    assert usage["prompt_tokens_details"]["cache_creation_token_details"] == {
        "ephemeral_5m_input_tokens": 100,
        "ephemeral_1h_input_tokens": 200,
    }


def test_frames_are_those_that_botocore_reads() -> None:
    raw = stream_of(REPLIES["tools"])
    buffer = EventStreamBuffer()
    buffer.add_data(raw)
    theirs = [(event.headers, event.payload) for event in buffer]
    assert Decoder().feed(raw) == theirs


def test_a_flipped_bit_is_noticed() -> None:
    raw = frame("messageStart", {"role": "assistant"})
    for at in range(len(raw)):
        broken = raw[:at] + bytes([raw[at] ^ 1]) + raw[at + 1 :]
        with pytest.raises(UnreadableAnswerError):
            bedrock.Stream(options()).feed(broken)
            assert at < 4, "a length may ask for more bytes"
            raise UnreadableAnswerError


def test_an_exception_within_a_stream_is_its_last_event() -> None:
    raw = frame("messageStart", {"role": "assistant"})
    broken = raw + frame("throttlingException", {"message": "Too many requests"}, "exception")
    assert events(cut(broken))[-1]["error"] == {
        "message": "Too many requests",
        "type": "rate_limit_error",
        "param": None,
        "code": "rate_limit_exceeded",
    }


def test_a_short_stream_never_says_done() -> None:
    raw = stream_of(REPLIES["text"])
    metadata = frame("metadata", {"usage": REPLIES["text"]["usage"], "metrics": {"latencyMs": 5}})
    assert "[DONE]" in events(cut(raw[: -len(metadata)]))  # said all but the numbers
    stop = frame("messageStop", {"stopReason": "end_turn"})
    assert "[DONE]" not in events(cut(raw[: -len(metadata) - len(stop)]))
    assert "[DONE]" not in events(run(lambda: bedrock.Stream(options()), [raw[:-5]]))


def test_errors() -> None:
    said = bedrock.error(b'{"message":"Input is too long for requested model."}', 400)
    assert said is not None and said.code == "context_length_exceeded"
    assert bedrock.error(b"<html>", 503) is None and bedrock.error(b"{}", 503) is None
    for body in (b"", b"{}", b"[]", b'{"message":"x"}'):
        with pytest.raises(UnreadableAnswerError):
            bedrock.answer(body, options())


@pytest.mark.parametrize("model", [MODEL, OLD])
def test_a_json_object_without_a_schema_adds_nothing_to_the_bill(model: str) -> None:
    plain = sent({"messages": user()}, model)
    assert sent({"messages": user(), "response_format": {"type": "json_object"}}, model) == plain
