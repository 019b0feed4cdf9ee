"""OpenAI chat to Ollama's /api/chat. No schema is published; its shapes are those of docs/api.md in
its repository.
"""

import json
from typing import Any

import pytest

from services.edge.providers.base import UnreadableAnswerError
from services.edge.providers.translate import openai_chat__ollama as ollama
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
    valid_completion,
)


def sent(request: dict[str, Any], model: str = "llama3.2", **more: Any) -> dict[str, Any]:
    body: dict[str, Any] = json.loads(ollama.request(fields(request), model, options(**more)))
    return body


def test_a_conversation_with_tools_and_an_image() -> None:
    request = {"messages": CONVERSATION, "tools": [WEATHER], "max_tokens": 9, "temperature": 0.5, "stop": "END"}
    assert sent({**request, "num_ctx": 8192, "keep_alive": "5m"}) == {
        "model": "llama3.2",
        "stream": False,
        "messages": [
            {"role": "system", "content": "Be brief."},
            {"role": "user", "content": "What is this, and the weather in Oslo and Rome?", "images": [PIXEL]},
            {"role": "assistant", "content": "Let me see.", "tool_calls": [
                {"function": {"name": "weather", "arguments": {"city": "Oslo"}}},
                {"function": {"name": "weather", "arguments": {"city": "Rome"}}},
            ]},
            {"role": "tool", "content": "3 °C", "tool_name": "weather"},
            {"role": "tool", "content": "19 °C", "tool_name": "weather"},
            {"role": "user", "content": "Thanks. And tomorrow?"},
        ],
        "tools": [WEATHER],
        "options": {"num_predict": 9, "temperature": 0.5, "stop": ["END"], "num_ctx": 8192},
        "keep_alive": "5m",
    }  # fmt: skip


def test_nothing_is_added_and_whether_it_streams_is_said() -> None:
    assert sent({"messages": user(), "stream": True, "user": "u"}, stream=True) == {
        "model": "llama3.2",
        "stream": True,
        "messages": user(),
    }


@pytest.mark.parametrize(
    ("given", "name", "made"),
    [
        ({"response_format": JSON_SCHEMA}, "format", SCHEMA),
        ({"response_format": {"type": "json_object"}}, "format", "json"),
        ({"reasoning_effort": "high"}, "think", True),
        ({"reasoning_effort": "none"}, "think", False),
        ({"think": "low"}, "think", "low"),
        ({"options": {"num_ctx": 4}, "seed": 1}, "options", {"num_ctx": 4, "seed": 1}),
        ({"tools": [WEATHER], "tool_choice": "none"}, "tools", None),
    ],
)
def test_settings(given: dict[str, Any], name: str, made: Any) -> None:
    assert sent({"messages": user(), **given}).get(name) == made


def test_gpt_oss_thinks_in_levels() -> None:
    assert sent({"messages": user(), "reasoning_effort": "medium"}, "gpt-oss:20b")["think"] == "medium"


@pytest.mark.parametrize("url", ["https://x/a.png", "http://x/a.png"])
def test_an_image_by_address_is_refused(url: str) -> None:
    part = {"type": "image_url", "image_url": {"url": url}}
    with pytest.raises(RefusedError) as refused:
        sent({"messages": [{"role": "user", "content": [part]}]})
    assert refused.value.refusal.param == "messages[0].content[0]"


def reply(message: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {
        "model": "llama3.2", "created_at": "2026-01-01T00:00:00Z", "message": {"role": "assistant", "content": "", **message},
        "done": True, "done_reason": "stop", "total_duration": 5, "prompt_eval_count": 11, "eval_count": 22, **more,
    }  # fmt: skip


def stream_of(answer: dict[str, Any]) -> bytes:
    head = {"model": "llama3.2", "created_at": "2026-01-01T00:00:00Z", "done": False}
    message = answer["message"]
    pieces: list[dict[str, Any]] = [{"content": "", "thinking": c} for c in message.get("thinking", "")]
    pieces += [{"content": c} for c in message["content"]]
    pieces += [{"content": "", "tool_calls": [call]} for call in message.get("tool_calls", ())]
    lines = [{**head, "message": {"role": "assistant", **piece}} for piece in pieces]
    return b"".join(
        json.dumps(line).encode() + b"\n"
        for line in [*lines, {**answer, "message": {"role": "assistant", "content": ""}}]
    )


CALLS = [
    {"function": {"name": "weather", "arguments": {"city": "Oslo"}}},
    {"function": {"name": "now", "arguments": {}}},
]
REPLIES = {
    "text": reply({"content": "Grüße"}),
    "cut": reply({"content": "so"}, done_reason="length"),
    "thinking": reply({"content": "42", "thinking": "hm"}),
    "tools": reply({"tool_calls": CALLS}),
}


@pytest.mark.parametrize("name", REPLIES)
def test_a_stream_says_what_the_whole_answer_says_wherever_it_is_cut(name: str) -> None:
    whole = valid_completion(ollama.answer(json.dumps(REPLIES[name]).encode(), options()))
    folded = fold(cut_everywhere(lambda: ollama.Stream(options()), stream_of(REPLIES[name])))
    choice = whole["choices"][0]
    assert folded["message"] == choice["message"]
    assert (
        folded["finish_reason"] == choice["finish_reason"] == {"cut": "length", "tools": "tool_calls"}.get(name, "stop")
    )
    assert folded["usage"] == whole["usage"] == {"prompt_tokens": 11, "completion_tokens": 22, "total_tokens": 33}


def test_half_a_count_is_no_usage() -> None:
    answer = {key: value for key, value in REPLIES["text"].items() if key != "prompt_eval_count"}
    assert "usage" not in json.loads(ollama.answer(json.dumps(answer).encode(), options()))
    assert fold(cut_everywhere(lambda: ollama.Stream(options()), stream_of(answer)))["usage"] is None


def test_errors() -> None:
    said = ollama.error(b'{"error":"model \\"x\\" not found, try pulling it first"}', 404)
    assert said is not None and said.code == "model_not_found"
    assert ollama.error(b"oops", 500) is None
    for body in (b"", b"{}", b'{"error":"x"}', b'{"message":{"content":"half"},"done":false}'):
        with pytest.raises(UnreadableAnswerError):
            ollama.answer(body, options())
    raw = stream_of(REPLIES["text"])
    first = raw[: raw.index(b"\n") + 1]
    assert "[DONE]" not in events(cut_everywhere(lambda: ollama.Stream(options()), first))
    assert (
        events(cut_everywhere(lambda: ollama.Stream(options()), first + b'{"error":"boom"}\n'))[-1]["error"]["message"]
        == "boom"
    )
