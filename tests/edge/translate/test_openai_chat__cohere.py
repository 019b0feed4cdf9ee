"""OpenAI chat to Cohere's /v2/chat, against Cohere's published schema."""

import json
from typing import Any

import pytest

from services.edge.providers.base import UnreadableAnswerError
from services.edge.providers.translate import openai_chat__cohere as cohere
from shared.errors import RefusedError
from tests.edge.translate import translate_kit
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

MODEL = "command-a-03-2025"


def sent(request: dict[str, Any], **more: Any) -> dict[str, Any]:
    body: dict[str, Any] = json.loads(cohere.request(fields(request), MODEL, options(**more)))
    translate_kit.valid_operation(body, "cohere", "/v2/chat")
    return body


def test_a_conversation_with_tools_and_an_image() -> None:
    url = f"data:image/png;base64,{PIXEL}"
    calls = [
        {"id": "call_1", "type": "function", "function": {"name": "weather", "arguments": '{"city":"Oslo"}'}},
        {"id": "call_2", "type": "function", "function": {"name": "weather", "arguments": '{"city": "Rome"}'}},
    ]
    request = {
        "messages": CONVERSATION,
        "tools": [WEATHER],
        "max_tokens": 9,
        "temperature": 0.5,
        "stop": "END",
        "top_p": 0.5,
    }
    assert sent({**request, "top_k": 3}) == {
        "model": MODEL,
        "stream": False,
        "messages": [
            {"role": "system", "content": "Be brief."},
            {"role": "user", "content": [
                {"type": "text", "text": "What is this, and the weather in Oslo and Rome?"},
                {"type": "image_url", "image_url": {"url": url, "detail": "low"}},
            ]},
            {"role": "assistant", "tool_plan": "Let me see.", "tool_calls": calls},
            {"role": "tool", "tool_call_id": "call_1", "content": "3 °C"},
            {"role": "tool", "tool_call_id": "call_2", "content": "19 °C"},
            {"role": "user", "content": "Thanks. And tomorrow?"},
        ],
        "tools": [WEATHER],
        "max_tokens": 9,
        "temperature": 0.5,
        "stop_sequences": ["END"],
        "p": 0.5,
        "k": 3,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("given", "name", "made"),
    [
        ({"response_format": JSON_SCHEMA}, "response_format", {"type": "json_object", "json_schema": SCHEMA}),
        ({"response_format": {"type": "json_object"}}, "response_format", {"type": "json_object"}),
        ({"reasoning_effort": "low"}, "thinking", {"type": "enabled", "token_budget": 1024}),
        ({"reasoning_effort": "none"}, "thinking", {"type": "disabled"}),
        ({"tools": [WEATHER], "tool_choice": "required"}, "tool_choice", "REQUIRED"),
        ({"tools": [WEATHER], "tool_choice": "none"}, "tool_choice", "NONE"),
        ({"tools": [WEATHER], "tool_choice": "auto"}, "tool_choice", None),
        ({"seed": 4}, "seed", 4),
    ],
)
def test_settings(given: dict[str, Any], name: str, made: Any) -> None:
    assert sent({"messages": user(), **given}).get(name) == made


def test_a_named_tool_is_the_only_one_and_required() -> None:
    other = {"type": "function", "function": {"name": "other"}}
    body = sent({"messages": user(), "tools": [WEATHER, other], "tool_choice": {"function": {"name": "weather"}}})
    assert (body["tools"], body["tool_choice"]) == ([WEATHER], "REQUIRED")
    with pytest.raises(RefusedError):
        sent({"messages": user(), "tools": [WEATHER], "tool_choice": {"function": {"name": "none of them"}}})


def reply(finish: str = "COMPLETE", usage: Any = None, **message: Any) -> dict[str, Any]:
    counts = {
        "billed_units": {"input_tokens": 7.0, "output_tokens": 9.0},
        "tokens": {"input_tokens": 70.0, "output_tokens": 9.0},
    }
    answer = {
        "id": "c1",
        "finish_reason": finish,
        "message": {"role": "assistant", **message},
        "usage": usage or counts,
    }
    valid(answer, "cohere", "ChatResponseV2")
    return answer


def stream_of(answer: dict[str, Any]) -> bytes:
    message = answer["message"]
    said: list[dict[str, Any]] = [
        {
            "type": "message-start",
            "id": "c1",
            "delta": {
                "message": {"role": "assistant", "content": [], "tool_plan": "", "tool_calls": [], "citations": []}
            },
        }
    ]
    for i, block in enumerate(message.get("content", ())):
        kind = block["type"]
        said.append({"type": "content-start", "index": i, "delta": {"message": {"content": {"type": kind, kind: ""}}}})
        said += [
            {"type": "content-delta", "index": i, "delta": {"message": {"content": {kind: c}}}} for c in block[kind]
        ]
        said.append({"type": "content-end", "index": i})
    said += [{"type": "tool-plan-delta", "delta": {"message": {"tool_plan": c}}} for c in message.get("tool_plan", "")]
    for i, call in enumerate(message.get("tool_calls", ())):
        empty = {**call, "function": {"name": call["function"]["name"], "arguments": ""}}
        said.append({"type": "tool-call-start", "index": i, "delta": {"message": {"tool_calls": empty}}})
        text = call["function"]["arguments"]
        if text != "{}":
            said += [
                {
                    "type": "tool-call-delta",
                    "index": i,
                    "delta": {"message": {"tool_calls": {"function": {"arguments": p}}}},
                }
                for p in (text[:4], text[4:])
            ]
        said.append({"type": "tool-call-end", "index": i})
    said.append({"type": "message-end", "delta": {"finish_reason": answer["finish_reason"], "usage": answer["usage"]}})
    return b"".join(b"event: %b\ndata: %b\n\n" % (event["type"].encode(), json.dumps(event).encode()) for event in said)  # fmt: skip


CALLS = [
    {"id": "a", "type": "function", "function": {"name": "weather", "arguments": '{"city":"Oslo"}'}},
    {"id": "b", "type": "function", "function": {"name": "now", "arguments": "{}"}},
]
REPLIES = {
    "text": reply(content=[{"type": "text", "text": "Grüße"}]),
    "cut": reply("MAX_TOKENS", content=[{"type": "text", "text": "so"}]),
    "thinking": reply(content=[{"type": "thinking", "thinking": "hm"}, {"type": "text", "text": "42"}]),
    "tools": reply("TOOL_CALL", tool_plan="I ask.", tool_calls=CALLS),
}


@pytest.mark.parametrize("name", REPLIES)
def test_a_stream_says_what_the_whole_answer_says_wherever_it_is_cut(name: str) -> None:
    whole = valid_completion(cohere.answer(json.dumps(REPLIES[name]).encode(), options()))
    folded = fold(cut_everywhere(lambda: cohere.Stream(options()), stream_of(REPLIES[name])))
    choice = whole["choices"][0]
    assert folded["message"] == choice["message"]
    assert (
        folded["finish_reason"] == choice["finish_reason"] == {"cut": "length", "tools": "tool_calls"}.get(name, "stop")
    )
    assert folded["usage"] == whole["usage"] == {"prompt_tokens": 7, "completion_tokens": 9, "total_tokens": 16}


def test_errors() -> None:
    said = cohere.error(b'{"message":"too many tokens: size limit exceeded by 10 tokens"}', 400)
    assert said is not None and said.code == "context_length_exceeded"
    assert cohere.error(b"oops", 500) is None
    for body in (b"", b"{}", b'{"message":"x"}', json.dumps(reply("ERROR")).encode()):
        with pytest.raises(UnreadableAnswerError):
            cohere.answer(body, options())
    raw = stream_of(REPLIES["text"])
    end = raw.index(b"event: message-end")
    assert "[DONE]" not in events(cut_everywhere(lambda: cohere.Stream(options()), raw[:end]))
    broken = raw[:end] + b'data: {"type":"message-end","delta":{"finish_reason":"ERROR","error":"boom"}}\n\n'
    assert events(cut_everywhere(lambda: cohere.Stream(options()), broken))[-1]["error"]["message"] == "boom"


def test_the_schema_is_really_looked_at() -> None:
    with pytest.raises(AssertionError):
        translate_kit.valid_operation({"model": MODEL}, "cohere", "/v2/chat")
