"""What OpenAI chat becomes in Anthropic's Messages API: against the vendor's schema, field by
field.
"""

import json
from typing import Any

import pytest

from services.edge.providers.translate import openai_chat__anthropic as anthropic
from shared.errors import RefusedError
from tests.edge.translate.test_openai_chat__anthropic import MODEL, OLD, reply, sent, stream_of
from tests.edge.translate.translate_kit import (
    CONVERSATION,
    JSON_SCHEMA,
    PIXEL,
    SCHEMA,
    WEATHER,
    cut_everywhere,
    fields,
    fold,
    options,
    user,
)


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


@pytest.mark.parametrize("model", [MODEL, OLD])
def test_a_json_object_without_a_schema_adds_nothing_to_the_bill(model: str) -> None:
    plain = sent({"messages": user()}, model)
    assert sent({"messages": user(), "response_format": {"type": "json_object"}}, model) == plain


def test_null_says_nothing_and_a_result_is_cached_as_a_whole() -> None:
    """Anthropic refuses `null` for what it knows, and `cache_control` within a result."""
    cached = {"type": "text", "text": "19 °C", "cache_control": {"type": "ephemeral"}}
    plain = {"type": "text", "text": "hi", "cache_control": None}
    call = {"id": "c", "type": "function", "function": {"name": "weather", "arguments": "{}"}}
    body = sent(
        {
            "messages": [
                {"role": "user", "content": [plain], "cache_control": None},
                {"role": "assistant", "content": None, "tool_calls": [call]},
                {"role": "tool", "tool_call_id": "c", "content": [cached]},
            ],
            "tools": [{**WEATHER, "cache_control": None}],
            "temperature": None,
            "top_k": None,
        }
    )
    assert body["messages"][-1]["content"] == [
        {
            "type": "tool_result",
            "tool_use_id": "c",
            "content": [{"type": "text", "text": "19 °C"}],
            "cache_control": {"type": "ephemeral"},
        }
    ]
    assert "null" not in json.dumps(body)
