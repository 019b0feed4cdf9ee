"""OpenAI chat to Anthropic's Messages API: requests and answers against both vendors' schemas, streams cut at every byte."""

import json
from typing import Any

import pytest

from services.edge.providers.base import UnreadableAnswerError
from services.edge.providers.translate import claude
from services.edge.providers.translate import openai_chat__anthropic as anthropic
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
    user,
    valid,
    valid_completion,
)

MODEL = "claude-sonnet-4-5-20250929"
OLD = "claude-3-5-haiku-20241022"


def sent(request: dict[str, Any], model: str = MODEL, **more: Any) -> dict[str, Any]:
    body: dict[str, Any] = json.loads(anthropic.request(fields(request), model, options(**more)))
    valid(body, "anthropic", "CreateMessageParams")
    return body


def test_a_conversation_with_tools_and_an_image() -> None:
    body = sent(
        {
            "messages": CONVERSATION,
            "tools": [WEATHER],
            "max_tokens": 100,
            "temperature": 0.5,
            "stop": "END",
            "user": "u",
        }
    )
    assert body == {
        "model": MODEL,
        "system": [{"type": "text", "text": "Be brief."}],
        "messages": [
            {"role": "user", "content": [
                {"type": "text", "text": "What is this, and the weather in Oslo and Rome?"},
                {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": PIXEL}},
            ]},
            {"role": "assistant", "content": [
                {"type": "text", "text": "Let me see."},
                {"type": "tool_use", "id": "call_1", "name": "weather", "input": {"city": "Oslo"}},
                {"type": "tool_use", "id": "call_2", "name": "weather", "input": {"city": "Rome"}},
            ]},
            {"role": "user", "content": [
                {"type": "tool_result", "tool_use_id": "call_1", "content": "3 °C"},
                {"type": "tool_result", "tool_use_id": "call_2", "content": [{"type": "text", "text": "19 °C"}]},
                {"type": "text", "text": "Thanks. And tomorrow?"},
            ]},
        ],
        "tools": [{"name": "weather", "description": "The weather somewhere", "input_schema": WEATHER["function"]["parameters"]}],
        "max_tokens": 100,
        "temperature": 0.5,
        "stop_sequences": ["END"],
        "metadata": {"user_id": "u"},
    }  # fmt: skip


@pytest.mark.parametrize(
    ("model", "most"),
    [
        ("claude-3-haiku-20240307", 4096),
        ("claude-3-5-sonnet-20241022", 8192),
        ("claude-opus-4-1-20250805", 32_000),
        ("claude-sonnet-4@20250514", 64_000),
        ("us.anthropic.claude-sonnet-4-5-20250929-v1:0", 64_000),
        ("claude-opus-4-6", 128_000),
        ("claude-fable-5", 128_000),
    ],
)
def test_without_a_bound_an_answer_may_be_as_long_as_the_model_can(model: str, most: int) -> None:
    assert sent({"messages": user()}, model)["max_tokens"] == most


def test_stream_and_nothing_else_is_added() -> None:
    request = {"messages": user(), "max_tokens": 5, "stream": True, "stream_options": {"include_usage": True}}
    assert sent(request, stream=True) == {
        "model": MODEL,
        "messages": [{"role": "user", "content": [{"type": "text", "text": "hi"}]}],
        "max_tokens": 5,
        "stream": True,
    }


@pytest.mark.parametrize(
    ("given", "made"),
    [
        ({"tool_choice": "auto"}, {"type": "auto"}),
        ({"tool_choice": "required"}, {"type": "any"}),
        ({"tool_choice": "none"}, {"type": "none"}),
        ({"tool_choice": {"type": "function", "function": {"name": "weather"}}}, {"type": "tool", "name": "weather"}),
        ({"parallel_tool_calls": False}, {"type": "auto", "disable_parallel_tool_use": True}),
        ({"parallel_tool_calls": False, "tool_choice": "required"}, {"type": "any", "disable_parallel_tool_use": True}),
        ({"parallel_tool_calls": True}, None),
    ],
)
def test_tool_choice(given: dict[str, Any], made: Any) -> None:
    assert sent({"messages": user(), "tools": [WEATHER], **given}).get("tool_choice") == made


def test_a_schema_goes_to_output_config_closed_with_its_constraints_in_words() -> None:
    body = sent({"messages": user(), "response_format": JSON_SCHEMA})
    assert body["output_config"]["format"]["schema"] == {
        "type": "object",
        "properties": {"n": {"type": "integer", "description": "(minimum: 3)"}},
        "required": ["n"],
        "additionalProperties": False,
    }
    assert "tools" not in body


def test_an_older_model_answers_a_schema_with_a_tool_that_becomes_content() -> None:
    body = sent({"messages": user(), "response_format": JSON_SCHEMA}, OLD)
    tool = {"name": anthropic.JSON_TOOL, "description": "Give the answer with this tool.", "input_schema": SCHEMA}
    assert body["tools"] == [tool]
    assert body["tool_choice"] == {"type": "tool", "name": anthropic.JSON_TOOL}
    message = reply([{"type": "tool_use", "id": "t", "name": anthropic.JSON_TOOL, "input": {"n": 4}}], "tool_use")
    answer = json.loads(anthropic.answer(json.dumps(message).encode(), options()))
    said = {"role": "assistant", "content": '{"n": 4}'}
    assert answer["choices"] == [{"index": 0, "message": said, "finish_reason": "stop"}]
    folded = fold(cut_everywhere(lambda: anthropic.Stream(options()), stream_of(message)))
    assert (folded["message"], folded["finish_reason"]) == (said, "stop")


def test_an_older_model_may_call_the_clients_tools_too_when_a_schema_is_wanted() -> None:
    body = sent({"messages": user(), "response_format": JSON_SCHEMA, "tools": [WEATHER]}, OLD)
    assert body["tool_choice"] == {"type": "any"} and len(body["tools"]) == 2


ADAPTIVE = {"type": "adaptive", "display": "summarized"}


@pytest.mark.parametrize(
    ("model", "effort", "thinking", "output"),
    [
        ("claude-3-7-sonnet-20250219", "high", {"type": "enabled", "budget_tokens": 4096}, None),
        ("claude-opus-4-5", "low", {"type": "enabled", "budget_tokens": 1024}, {"effort": "low"}),
        ("claude-opus-4-7", "xhigh", ADAPTIVE, {"effort": "xhigh"}),
        ("claude-sonnet-4-6", "xhigh", ADAPTIVE, {"effort": "high"}),
        ("claude-opus-5", "none", {"type": "disabled"}, None),
        ("claude-sonnet-4-5", "none", None, None),
        (OLD, "high", None, None),
    ],
)
def test_effort_becomes_thinking(model: str, effort: str, thinking: Any, output: Any) -> None:
    body = sent({"messages": user(), "reasoning_effort": effort}, model)
    assert (body.get("thinking"), body.get("output_config")) == (thinking, output)


def test_a_budget_fits_below_max_tokens_or_is_left_out() -> None:
    request = {"messages": user(), "reasoning_effort": "high"}
    assert sent({**request, "max_tokens": 2000})["thinking"]["budget_tokens"] == 1999
    assert "thinking" not in sent({**request, "max_tokens": 500})


def test_signed_thinking_comes_back_first_and_unsigned_reasoning_stays_here() -> None:
    signed = {"type": "thinking", "thinking": "hm", "signature": "s"}
    turn = {"role": "assistant", "content": "x", "thinking_blocks": [signed], "reasoning_content": "hm"}
    body = sent({"messages": [*user(), turn, *user("go on")], "thinking": {"type": "enabled", "budget_tokens": 1024}})
    assert body["messages"][1]["content"] == [signed, {"type": "text", "text": "x"}]
    assert body["thinking"] == {"type": "enabled", "budget_tokens": 1024}


def test_cache_control_stays_where_it_was() -> None:
    mark = {"type": "ephemeral", "ttl": "1h"}
    text = [{"type": "text", "text": "long", "cache_control": mark}]
    tools = [{**WEATHER, "cache_control": mark}]
    body = sent({"messages": [{"role": "system", "content": text}, *user()], "tools": tools})
    assert body["system"] == text
    assert body["tools"][0]["cache_control"] == mark


def test_the_providers_own_fields_and_tools_pass() -> None:
    own = {"type": "web_search_20250305", "name": "web_search", "max_uses": 2}
    body = sent({"messages": user(), "tools": [own], "top_k": 5})
    assert body["tools"] == [own] and body["top_k"] == 5


def test_legacy_functions_are_tools() -> None:
    history = [
        *user(),
        {"role": "assistant", "content": None, "function_call": {"name": "weather", "arguments": "{}"}},
        {"role": "function", "name": "weather", "content": "cold"},
    ]
    body = sent({"messages": history, "functions": [WEATHER["function"]], "function_call": {"name": "weather"}})
    call, result = body["messages"][1]["content"][0], body["messages"][2]["content"][0]
    assert call["type"] == "tool_use"
    assert result == {"type": "tool_result", "tool_use_id": call["id"], "content": "cold"}
    assert body["tool_choice"] == {"type": "tool", "name": "weather"}


AUDIO = {"type": "input_audio", "input_audio": {"data": "", "format": "wav"}}
HALF_CALL = {"role": "assistant", "tool_calls": [{"id": "c", "function": {"name": "f", "arguments": "{"}}]}


@pytest.mark.parametrize(
    ("change", "param"),
    [
        ({"messages": [{"role": "user", "content": [AUDIO]}]}, "messages[0].content[0]"),
        ({"messages": [{"role": "narrator", "content": "x"}]}, "messages[0].role"),
        ({"messages": [{"role": "user", "content": 5}]}, "messages[0].content"),
        ({"messages": [{"role": "user", "content": ""}]}, "messages[0].content"),
        ({"messages": [{"role": "system", "content": "only"}]}, "messages"),
        ({"messages": [{"role": "tool", "content": "x"}]}, "messages[0].tool_call_id"),
        ({"messages": [*user(), HALF_CALL]}, "messages[1].tool_calls[0].function.arguments"),
        ({"tools": [{"type": "function"}]}, "tools[0].function"),
        ({"tool_choice": "sometimes"}, "tool_choice"),
        ({"reasoning_effort": "huge"}, "reasoning_effort"),
        ({"response_format": {"type": "xml"}}, "response_format.type"),
        ({"service_tier": "flex"}, "service_tier"),
        ({"max_tokens": "many"}, "max_tokens"),
        ({"max_tokens": 0.5}, "max_tokens"),
    ],
)
def test_what_cant_be_said_is_refused_by_its_place(change: dict[str, Any], param: str) -> None:
    with pytest.raises(RefusedError) as refused:
        anthropic.request(fields({"messages": user(), **change}), MODEL, options())
    assert (refused.value.refusal.status, refused.value.refusal.param) == (400, param)


def test_modify_params_mends_what_would_be_refused() -> None:
    request = {"messages": [{"role": "assistant", "content": "Hello"}, {"role": "user", "content": ""}]}
    body = sent(request, modify_params=True)
    assert [turn["role"] for turn in body["messages"]] == ["user", "assistant", "user"]


def reply(content: list[dict[str, Any]], stop: str = "end_turn", **usage: Any) -> dict[str, Any]:
    """A message of Anthropic's, valid in its schema."""
    counts = {
        "input_tokens": 12, "output_tokens": 34, "cache_creation": None, "cache_creation_input_tokens": 0, "inference_geo": None,
        "cache_read_input_tokens": 0, "output_tokens_details": None, "server_tool_use": None, "service_tier": "standard",
    }  # fmt: skip
    message: dict[str, Any] = {
        "id": "msg_1", "type": "message", "role": "assistant", "model": MODEL, "content": content, "stop_reason": stop,
        "stop_sequence": None, "stop_details": None, "container": None, "usage": {**counts, **usage},
    }  # fmt: skip
    checked = json.loads(json.dumps(message))
    for block in checked["content"]:
        if block["type"] == "text":
            block["citations"] = None
        elif block["type"] == "tool_use":
            block["caller"] = {"type": "direct"}
    valid(checked, "anthropic", "Message")
    return message


def event(name: str, **data: Any) -> bytes:
    return f"event: {name}\ndata: {json.dumps({'type': name, **data})}\n\n".encode()


def stream_of(message: dict[str, Any]) -> bytes:
    """The same message as Anthropic streams it."""
    start = {**message, "content": [], "stop_reason": None, "usage": {**message["usage"], "output_tokens": 1}}
    out = [event("message_start", message=start), event("ping")]
    for i, block in enumerate(message["content"]):
        kind, empty = block["type"], {**block}
        deltas: list[dict[str, Any]] = []
        if kind == "text":
            empty["text"] = ""
            half = len(block["text"]) // 2
            deltas = [{"type": "text_delta", "text": piece} for piece in (block["text"][:half], block["text"][half:])]
        elif kind == "thinking":
            empty = {"type": "thinking", "thinking": "", "signature": ""}
            deltas = [
                {"type": "thinking_delta", "thinking": block["thinking"]},
                {"type": "signature_delta", "signature": block["signature"]},
            ]
        elif kind == "tool_use":
            empty["input"] = {}
            text = json.dumps(block["input"])
            pieces = ["", text[:3], text[3:]] if block["input"] else [""]
            deltas = [{"type": "input_json_delta", "partial_json": piece} for piece in pieces]
        out.append(event("content_block_start", index=i, content_block=empty))
        out += [event("content_block_delta", index=i, delta=delta) for delta in deltas]
        out.append(event("content_block_stop", index=i))
    usage = {name: message["usage"][name] for name in ("output_tokens", "output_tokens_details")}
    out.append(
        event("message_delta", delta={"stop_reason": message["stop_reason"], "stop_sequence": None}, usage=usage)
    )
    out.append(event("message_stop"))
    return b"".join(out)


def text(value: str) -> dict[str, Any]:
    return {"type": "text", "text": value}


REPLIES = {
    "text": reply([text('Grüße \U0001f642 "x"\n')]),
    "cut": reply([text("so far")], "max_tokens"),
    "thinking": reply(
        [
            {"type": "thinking", "thinking": "let me see", "signature": "c2ln"},
            {"type": "redacted_thinking", "data": "eA"},
            text("42"),
        ],
        output_tokens_details={"thinking_tokens": 20},
    ),
    "tools": reply(
        [
            text("I ask."),
            {"type": "tool_use", "id": "toolu_1", "name": "weather", "input": {"city": "Oslo"}},
            {"type": "tool_use", "id": "toolu_2", "name": "now", "input": {}},
        ],
        "tool_use",
    ),
    "caches": reply(
        [text("ok")],
        cache_creation_input_tokens=300,
        cache_read_input_tokens=2000,
        cache_creation={"ephemeral_5m_input_tokens": 100, "ephemeral_1h_input_tokens": 200},
        server_tool_use={"web_search_requests": 2, "web_fetch_requests": 0},
    ),
    "refused": reply([text("No.")], "refusal"),
}


@pytest.mark.parametrize("name", REPLIES)
def test_a_stream_says_what_the_whole_answer_says_wherever_it_is_cut(name: str) -> None:
    message = REPLIES[name]
    whole = valid_completion(anthropic.answer(json.dumps(message).encode(), options()))
    folded = fold(cut_everywhere(lambda: anthropic.Stream(options()), stream_of(message)))
    choice = whole["choices"][0]
    assert folded["message"] == choice["message"]
    assert folded["finish_reason"] == choice["finish_reason"]
    assert (folded["usage"], folded["id"], folded["model"]) == (whole["usage"], "msg_1", MODEL)


def test_what_an_answer_says() -> None:
    answer = json.loads(anthropic.answer(json.dumps(REPLIES["tools"]).encode(), options()))
    calls = [
        {"id": "toolu_1", "type": "function", "function": {"name": "weather", "arguments": '{"city": "Oslo"}'}},
        {"id": "toolu_2", "type": "function", "function": {"name": "now", "arguments": "{}"}},
    ]
    message = {"role": "assistant", "content": "I ask.", "tool_calls": calls}
    assert answer == {
        "id": "msg_1",
        "object": "chat.completion",
        "created": 1_700_000_000,
        "model": MODEL,
        "choices": [{"index": 0, "message": message, "finish_reason": "tool_calls"}],
        "usage": {"prompt_tokens": 12, "completion_tokens": 34, "total_tokens": 46, "service_tier": "standard"},
    }


def test_input_tokens_include_the_cached_ones_and_writes_say_how_long_they_live() -> None:
    usage = json.loads(anthropic.answer(json.dumps(REPLIES["caches"]).encode(), options()))["usage"]
    assert usage["prompt_tokens"] == 12 + 300 + 2000
    assert usage["prompt_tokens_details"] == {
        "cached_tokens": 2000,
        "cache_creation_tokens": 300,
        "cache_creation_token_details": {"ephemeral_5m_input_tokens": 100, "ephemeral_1h_input_tokens": 200},
    }
    assert usage["server_tool_use"] == {"web_search_requests": 2}


@pytest.mark.parametrize(
    ("kind", "status", "message", "code", "seen"),
    [
        ("invalid_request_error", 400, "prompt is too long: 210000 tokens > 200000", "context_length_exceeded", None),
        ("overloaded_error", 529, "Overloaded", None, 503),
        ("rate_limit_error", 429, "slow down", "rate_limit_exceeded", None),
        ("authentication_error", 401, "invalid x-api-key", "invalid_api_key", None),
    ],
)
def test_errors(kind: str, status: int, message: str, code: str | None, seen: int | None) -> None:
    body = {"type": "error", "error": {"type": kind, "message": message}, "request_id": "r"}
    valid(body, "anthropic", "ErrorResponse")
    said = anthropic.error(json.dumps(body).encode(), status)
    assert said is not None
    assert (said.message, said.type, said.code, said.status) == (message, kind, code, seen)


@pytest.mark.parametrize("body", [b"", b"<html>", b"[]", b'{"error":"x"}'])
def test_another_servers_error_is_none_of_anthropics(body: bytes) -> None:
    assert anthropic.error(body, 502) is None


@pytest.mark.parametrize(
    "body", [b"", b"{}", b"<html>", b'{"type":"error","error":{}}', b'{"type":"message"}', b"[" * 5000]
)
def test_a_200_that_is_no_message_is_no_answer(body: bytes) -> None:
    with pytest.raises(UnreadableAnswerError):
        anthropic.answer(body, options())


def test_an_error_within_a_stream_is_its_last_event() -> None:
    overloaded = {"type": "overloaded_error", "message": "Overloaded"}
    raw = event("message_start", message=reply([])) + event("error", error=overloaded)
    said = events(cut_everywhere(lambda: anthropic.Stream(options()), raw))
    assert said[-1] == {"error": {**overloaded, "param": None, "code": None}}


def test_a_stream_that_stops_short_never_says_done() -> None:
    raw = stream_of(REPLIES["text"])
    out = cut_everywhere(lambda: anthropic.Stream(options()), raw[: raw.index(b"event: message_delta")])
    assert "[DONE]" not in events(out)


def test_garbage_in_a_stream_is_unreadable() -> None:
    with pytest.raises(UnreadableAnswerError):
        anthropic.Stream(options()).feed(b"data: nonsense\n\n")


def test_windows_line_ends() -> None:
    raw = stream_of(REPLIES["tools"])
    expected = cut_everywhere(lambda: anthropic.Stream(options()), raw)
    assert cut_everywhere(lambda: anthropic.Stream(options()), raw.replace(b"\n", b"\r\n")) == expected


def test_versions_in_any_sellers_spelling() -> None:
    versions = {
        "claude-2.1": (2, 1),
        "claude-3-5-haiku@20241022": (3, 5),
        "anthropic.claude-opus-4-20250514-v1:0": (4, 0),
        "claude-haiku-4-5": (4, 5),
        "claude-mythos-preview": (9, 0),
        "gpt-4": (3, 0),
    }
    assert {name: claude.of(name).version for name in versions} == versions


@pytest.mark.parametrize("model", [MODEL, OLD])
def test_a_json_object_without_a_schema_adds_nothing_to_the_bill(model: str) -> None:
    plain = sent({"messages": user()}, model)
    assert sent({"messages": user(), "response_format": {"type": "json_object"}}, model) == plain
