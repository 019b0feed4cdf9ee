"""Anthropic's Messages in front of OpenAI's chat: requests against OpenAI's schema, answers against
Anthropic's, streams cut at every byte.
"""

import json
from typing import Any

import anthropic
import pytest

from services.edge.providers.translate import anthropic_messages__chat as messages
from services.edge.providers.translate import anthropic_messages__chat_stream as stream
from shared.errors import RefusedError
from tests.edge.translate.translate_kit import fields, folded_messages, shown_blocks, valid

HI = {"role": "user", "content": "hi"}
TOOL = {
    "name": "look",
    "description": "Looks.",
    "input_schema": {"type": "object", "properties": {"at": {"type": "string"}}},
}
USE = {"type": "tool_use", "id": "toolu_1", "name": "look", "input": {"at": "x"}}
PNG = {"type": "base64", "media_type": "image/png", "data": "iVBORw0KGgo="}
MARK = {"type": "ephemeral"}


def asked(*said: dict[str, Any], marks: bool = False, **more: Any) -> Any:
    request = {"model": "m", "max_tokens": 100, "messages": list(said), **more}
    made = messages.fields(fields(request), marks=marks)
    body = {name: json.loads(bytes(raw)) for name, raw in made.items()}
    if not marks:
        valid({"model": "gpt-4o", **body}, "openai", "CreateChatCompletionRequest")
    return body


def test_a_conversation_with_tools() -> None:
    results = [
        {"type": "tool_result", "tool_use_id": "toolu_1", "content": "seen"},
        {
            "type": "tool_result",
            "tool_use_id": "toolu_2",
            "content": [{"type": "text", "text": "a"}, {"type": "image", "source": PNG}],
            "is_error": True,
        },
        {"type": "text", "text": "go on"},
    ]
    thoughts = [
        {"type": "thinking", "thinking": "hm", "signature": "s"},
        {"type": "thinking", "thinking": "mine", "signature": ""},
    ]
    turn = {
        "role": "assistant",
        "content": [*thoughts, {"type": "text", "text": "I look."}, USE, {**USE, "id": "toolu_2"}],
    }
    system = [{"type": "text", "text": "Be kind.", "cache_control": MARK}]
    conversation = (HI, turn, {"role": "user", "content": results})
    body = asked(*conversation, system=system, tools=[{**TOOL, "cache_control": MARK}])
    calls = [
        {"id": id, "type": "function", "function": {"name": "look", "arguments": '{"at":"x"}'}}
        for id in ("toolu_1", "toolu_2")
    ]
    shown = [
        {"type": "image_url", "image_url": {"url": "data:image/png;base64,iVBORw0KGgo="}},
        {"type": "text", "text": "go on"},
    ]
    assert body["messages"] == [
        {"role": "system", "content": "Be kind."},
        HI,
        {"role": "assistant", "content": "I look.", "tool_calls": calls},
        {"role": "tool", "tool_call_id": "toolu_1", "content": "seen"},
        {"role": "tool", "tool_call_id": "toolu_2", "content": "a"},
        {"role": "user", "content": shown},
    ]
    function = {"name": "look", "description": "Looks.", "parameters": TOOL["input_schema"]}
    assert body["tools"] == [{"type": "function", "function": function}]
    own = asked(*conversation, system=system, tools=[{**TOOL, "cache_control": MARK}], marks=True, top_k=5)
    assert own["messages"][0]["content"] == system and own["top_k"] == 5
    assert own["messages"][2]["thinking_blocks"] == thoughts[:1] and own["tools"][0]["cache_control"] == MARK


@pytest.mark.parametrize(
    ("choice", "chosen"),
    [
        ({"type": "auto"}, "auto"),
        ({"type": "any"}, "required"),
        ({"type": "none"}, "none"),
        ({"type": "tool", "name": "look"}, {"type": "function", "function": {"name": "look"}}),
    ],
)
def test_choices_of_tools(choice: dict[str, Any], chosen: Any) -> None:
    body = asked(HI, tools=[TOOL], tool_choice={**choice, "disable_parallel_tool_use": True})
    assert (body["tool_choice"], body["parallel_tool_calls"]) == (chosen, False)


def test_settings() -> None:
    schema = {
        "type": "object",
        "properties": {"a": {"type": "string"}},
        "required": ["a"],
        "additionalProperties": False,
    }
    body = asked(
        HI,
        temperature=0.5,
        top_p=0.9,
        top_k=3,
        stop_sequences=["x"],
        stream=True,
        metadata={"user_id": "u"},
        service_tier="auto",
        thinking={"type": "enabled", "budget_tokens": 5000},
        output_config={"format": {"type": "json_schema", "schema": schema}},
        context_management={"edits": []},
    )
    assert body == {
        "messages": [HI],
        "max_tokens": 100,
        "temperature": 0.5,
        "top_p": 0.9,
        "stop": ["x"],
        "stream": True,
        "stream_options": {"include_usage": True},
        "reasoning_effort": "medium",
        "response_format": {"type": "json_schema", "json_schema": {"name": "answer", "schema": schema, "strict": True}},
    }
    for thinking, effort in (
        ({"type": "enabled", "budget_tokens": 1024}, "low"),
        ({"type": "enabled", "budget_tokens": 31999}, "high"),
        ({"type": "adaptive"}, "medium"),
        ({"type": "enabled", "budget_tokens": -1}, "low"),
        ({"type": "disabled"}, None),
    ):
        assert asked(HI, thinking=thinking).get("reasoning_effort") == effort


@pytest.mark.parametrize(
    ("block", "part"),
    [
        (
            {"type": "image", "source": {"type": "url", "url": "https://x/y.png"}},
            {"type": "image_url", "image_url": {"url": "https://x/y.png"}},
        ),
        (
            {"type": "document", "source": {"type": "text", "media_type": "text/plain", "data": "words"}},
            {"type": "text", "text": "words"},
        ),
        (
            {
                "type": "document",
                "title": "a.pdf",
                "source": {"type": "base64", "media_type": "application/pdf", "data": "JVBERi0="},
            },
            {"type": "file", "file": {"filename": "a.pdf", "file_data": "data:application/pdf;base64,JVBERi0="}},
        ),
    ],
)
def test_images_and_documents(block: dict[str, Any], part: dict[str, Any]) -> None:
    body = asked({"role": "user", "content": [{"type": "text", "text": "see"}, block]})
    assert body["messages"][0]["content"][1] == part


def _of_user(*blocks: dict[str, Any]) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": list(blocks)}]}


@pytest.mark.parametrize(
    ("more", "param"),
    [
        ({"tools": [{"type": "web_search_20250305", "name": "web_search"}]}, "tools[0].type"),
        (
            {"messages": [{"role": "user", "content": [{"type": "container_upload", "file_id": "f"}]}]},
            "messages[0].content[0]",
        ),
        ({"messages": [{"role": "tool", "content": "x"}]}, "messages[0].role"),
        ({"messages": [{"role": "user", "content": 5}]}, "messages[0].content"),
        ({"messages": "x"}, "messages"),
        (_of_user({"type": "tool_result", "tool_use_id": "t", "content": 5}), "messages[0].content[0].content"),
        (_of_user({"type": "tool_result", "tool_use_id": "t", "content": ["x"]}), "messages[0].content[0].content"),
        (_of_user({"type": "search_result", "content": 5}), "messages[0].content[0].content"),
        (
            _of_user({"type": "document", "source": {"type": "content", "content": 5}}),
            "messages[0].content[0].source.content",
        ),
        ({"tools": [TOOL], "tool_choice": {"type": ["auto"]}}, "tool_choice.type"),
        ({"tools": [TOOL], "tool_choice": {"type": "some"}}, "tool_choice.type"),
    ],
)
def test_what_cant_be_said_is_named(more: dict[str, Any], param: str) -> None:
    with pytest.raises(RefusedError) as refused:
        asked(**{"messages": [HI], **more}) if "messages" not in more else messages.fields(fields(more), marks=False)
    assert (refused.value.refusal.status, refused.value.refusal.param) == (400, param)


# ── answers ──


def completion(message: dict[str, Any], finish: str = "stop", **usage: Any) -> dict[str, Any]:
    counts = {"prompt_tokens": 20, "completion_tokens": 5, "total_tokens": 25, **usage}
    return {
        "id": "c",
        "model": "gpt-4o",
        "choices": [{"index": 0, "message": message, "finish_reason": finish}],
        "usage": counts,
    }


CALLS = [
    {"id": f"call_{n}", "type": "function", "function": {"name": "look", "arguments": f'{{"at":"{n}"}}'}}
    for n in (1, 2)
]
ANSWERS = [
    (completion({"content": "hello"}), "end_turn", [("text", "hello")]),
    (completion({"content": "hel", "refusal": None}, "length"), "max_tokens", [("text", "hel")]),
    (
        completion({"content": None, "tool_calls": CALLS}, "tool_calls"),
        "tool_use",
        [("tool_use", {"at": "1"}), ("tool_use", {"at": "2"})],
    ),
    (
        completion({"content": "I look.", "tool_calls": CALLS[:1]}, "stop"),
        "tool_use",
        [("text", "I look."), ("tool_use", {"at": "1"})],
    ),
    (completion({"content": "so", "reasoning_content": "hm"}), "end_turn", [("thinking", "hm"), ("text", "so")]),
    (completion({"content": "so", "thinking_blocks": [{"said": "by nobody known"}]}), "end_turn", [("text", "so")]),
    (completion({"content": None}, "content_filter"), "refusal", []),
    (
        completion(
            {"content": "", "tool_calls": [{"id": "c", "function": {"name": "look", "arguments": ""}}]}, "tool_calls"
        ),
        "tool_use",
        [("tool_use", {})],
    ),
]


@pytest.mark.parametrize(("body", "stop", "content"), ANSWERS)
def test_whole_answers(body: dict[str, Any], stop: str, content: list[tuple[str, Any]]) -> None:
    found = messages.message(json.dumps(body).encode(), "m")
    assert found is not None
    assert (found["stop_reason"], shown_blocks(found), found["model"]) == (stop, content, "gpt-4o")
    anthropic.types.Message.model_validate(found)
    assert folded_messages(stream.of_message(found)) == found, "the same as a stream"


def test_usage_is_apart_from_what_was_cached() -> None:
    details = {"cached_tokens": 8, "cache_creation_tokens": 2}
    found = messages.message(json.dumps(completion({"content": "x"}, prompt_tokens_details=details)).encode(), "m")
    assert found is not None and found["usage"] == {
        "input_tokens": 10,
        "output_tokens": 5,
        "cache_read_input_tokens": 8,
        "cache_creation_input_tokens": 2,
    }


@pytest.mark.parametrize("body", [b"", b"<html>", b"{}", b'{"choices": []}', b'{"error": {"message": "x"}}', b"[]"])
def test_what_is_no_answer(body: bytes) -> None:
    assert messages.message(body, "m") is None
