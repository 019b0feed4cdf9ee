"""OpenAI chat to Anthropic's Messages API: requests and answers against both vendors' schemas,
streams cut at every byte.
"""

import json
from typing import Any

import pytest

from services.edge.providers.base import UnreadableAnswerError
from services.edge.providers.translate import claude
from services.edge.providers.translate import openai_chat__anthropic as anthropic
from tests.edge.translate.translate_kit import (
    cut_everywhere,
    events,
    fields,
    fold,
    options,
    valid,
    valid_completion,
)

MODEL = "claude-sonnet-4-5-20250929"
OLD = "claude-3-5-haiku-20241022"


def sent(request: dict[str, Any], model: str = MODEL, **more: Any) -> dict[str, Any]:
    body: dict[str, Any] = json.loads(anthropic.request(fields(request), model, options(**more)))
    valid(body, "anthropic", "CreateMessageParams")
    return body


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
