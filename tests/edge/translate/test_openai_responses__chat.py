"""Responses as chat and back: what Codex and OpenAI's client say, before models of anybody's."""

import json
from typing import Any

import msgspec
import pytest
from openai.types.responses import Response

from services.edge.providers.translate import openai_responses__chat as responses
from services.edge.providers.translate.openai_responses__chat_stream import Stream, of_response
from shared.errors import RefusedError

split = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
PATCH: Any = {
    "type": "custom",
    "name": "patch",
    "description": "Change",
    "format": {"type": "grammar", "syntax": "lark", "definition": "start: x"},
}
SHELL: Any = {"type": "function", "name": "shell", "parameters": {"type": "object"}, "strict": False}
THOUGHT = {"type": "thinking", "thinking": "hm", "signature": "Er+/=="}


def chat(marks: bool = True, **given: Any) -> dict[str, Any]:
    given.setdefault("input", "hi")
    made = responses.fields(split(json.dumps({"model": "m", **given}).encode()), marks=marks)
    found: dict[str, Any] = json.loads(msgspec.json.encode(made))
    return found


def call(id: str, name: str = "shell", arguments: str = "{}") -> dict[str, Any]:
    return {"id": id, "type": "function", "function": {"name": name, "arguments": arguments}}


# ── requests ──

U = {"role": "user", "content": "hi"}
CONVERSATIONS: list[tuple[Any, list[dict[str, Any]]]] = [
    ("hi", [U]),
    ([], []),
    ([{"role": "user", "content": "hi"}], [U]),
    ([{"type": "message", "role": "user", "content": [{"type": "input_text", "text": "hi"}]}], [U]),
    ([{"role": "developer", "content": [{"type": "input_text", "text": "a"}, {"type": "input_text", "text": "b"}]}],
     [{"role": "system", "content": "a\nb"}]),
    ([{"role": "user", "content": [{"type": "input_text", "text": "see"}, {"type": "input_image", "image_url": "data:x", "detail": "low"},
                                   {"type": "input_file", "filename": "f.pdf", "file_data": "data:y"}]}],
     [{"role": "user", "content": [{"type": "text", "text": "see"}, {"type": "image_url", "image_url": {"url": "data:x", "detail": "low"}},
                                   {"type": "file", "file": {"filename": "f.pdf", "file_data": "data:y"}}]}]),
    # one turn of an assistant: thoughts, words, calls
    ([{"type": "reasoning", "id": "rs", "summary": [], "encrypted_content": responses.signed([THOUGHT])},
      {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "so"}]},
      {"type": "function_call", "call_id": "c1", "name": "shell", "arguments": '{"a":1}'},
      {"type": "custom_tool_call", "call_id": "c2", "name": "patch", "input": 'say "x"\n'},
      {"type": "function_call_output", "call_id": "c1",
       "output": [{"type": "input_text", "text": "r"}, {"type": "input_image", "image_url": "data:z"}]},
      {"type": "custom_tool_call_output", "call_id": "c2", "output": "done"}],
     [{"role": "assistant", "content": "so", "thinking_blocks": [THOUGHT],
       "tool_calls": [call("c1", arguments='{"a":1}'), call("c2", "patch", '{"input":"say \\"x\\"\\n"}')]},
      {"role": "tool", "tool_call_id": "c1", "content": "r"}, {"role": "tool", "tool_call_id": "c2", "content": "done"},
      {"role": "user", "content": [{"type": "image_url", "image_url": {"url": "data:z"}}]}]),
    # others' reasoning can't be read; what ran elsewhere is over
    ([{"type": "reasoning", "summary": [], "encrypted_content": "gAAA"}, {"type": "web_search_call", "id": "w"}, U], [U]),
    ([{"type": "reasoning", "summary": [], "encrypted_content": responses.SIGNED + "!!"}, U], [U]),
    ([{"type": "function_call", "call_id": "c", "name": "f", "arguments": ""}, {"type": "function_call_output", "call_id": "c", "output": ""}],
     [{"role": "assistant", "content": None, "tool_calls": [call("c", "f")]}, {"role": "tool", "tool_call_id": "c", "content": ""}]),
]  # fmt: skip


@pytest.mark.parametrize(("said", "messages"), CONVERSATIONS)
def test_a_conversation(said: Any, messages: list[dict[str, Any]]) -> None:
    assert chat(input=said)["messages"] == messages


def test_what_codex_sends_besides() -> None:
    made = chat(
        instructions="You are Codex", tools=[SHELL, PATCH, {"type": "web_search", "external_web_access": False}], tool_choice="auto",
        parallel_tool_calls=False, reasoning={"effort": "high", "summary": "auto"}, store=False, stream=True, prompt_cache_key="k",
        include=["reasoning.encrypted_content"], text={"verbosity": "low"}, client_metadata={"x": "y"}, max_output_tokens=50,
    )  # fmt: skip
    assert made["messages"][0] == {"role": "system", "content": "You are Codex"}
    assert [tool["function"]["name"] for tool in made["tools"]] == ["shell", "patch"]
    assert "start: x" in made["tools"][1]["function"]["description"]
    del made["messages"], made["tools"]
    assert made == {
        "stream": True, "stream_options": {"include_usage": True}, "parallel_tool_calls": False, "max_tokens": 50, "tool_choice": "auto",
        "reasoning_effort": "high",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("given", "name", "made"),
    [
        ({"tools": [SHELL], "tool_choice": {"type": "function", "name": "shell"}}, "tool_choice",
         {"type": "function", "function": {"name": "shell"}}),
        ({"tools": [SHELL], "tool_choice": {"type": "allowed_tools", "mode": "required", "tools": []}}, "tool_choice", "required"),
        ({"tools": [{"type": "web_search"}], "tool_choice": "auto", "parallel_tool_calls": True}, "tool_choice", None),
        ({"tools": [{"type": "web_search"}], "parallel_tool_calls": True}, "parallel_tool_calls", None),
        ({"text": {"format": {"type": "json_schema", "name": "n", "schema": {}, "strict": True}}}, "response_format",
         {"type": "json_schema", "json_schema": {"name": "n", "schema": {}, "strict": True}}),
        ({"text": {"format": {"type": "text"}}}, "response_format", None),
        ({"previous_response_id": None, "background": False, "stream": False}, "stream", False),
    ],
)  # fmt: skip
def test_a_setting(given: dict[str, Any], name: str, made: Any) -> None:
    assert chat(**given).get(name) == made


@pytest.mark.parametrize(
    ("given", "param"),
    [
        ({"previous_response_id": "resp_1"}, "previous_response_id"),
        ({"conversation": "conv_1"}, "conversation"),
        ({"background": True}, "background"),
        ({"tools": [{"type": "code_interpreter"}]}, "tools[0].type"),
        ({"tools": [SHELL], "tool_choice": {"type": "file_search"}}, "tool_choice"),
        ({"input": [{"type": "item_reference", "id": "rs_1"}]}, "input[0]"),
        ({"input": [{"role": "robot", "content": "x"}]}, "input[0].role"),
        ({"input": [{"role": "user", "content": 5}]}, "input[0].content"),
        ({"input": [{"role": "user", "content": [{"type": "input_audio"}]}]}, "input[0].content[0]"),
        ({"input": 5}, "input"),
        ({"input": [5]}, "input[0]"),
    ],
)
def test_what_cant_be_said_is_named(given: dict[str, Any], param: str) -> None:
    with pytest.raises(RefusedError) as no:
        chat(**given)
    assert (no.value.refusal.status, no.value.refusal.param) == (400, param)


# ── answers ──

HEAD = responses.head(split(b'{"model":"m","input":"x","tools":[]}'), "resp_1", "m", 7)
CUSTOMS = frozenset({"patch"})
USAGE = {
    "prompt_tokens": 20, "completion_tokens": 5, "total_tokens": 25, "prompt_tokens_details": {"cached_tokens": 8},
    "completion_tokens_details": {"reasoning_tokens": 2},
}  # fmt: skip
MESSAGE: dict[str, Any] = {
    "role": "assistant", "reasoning_content": "hm", "thinking_blocks": [THOUGHT], "content": "I look.",
    "tool_calls": [call("c1", arguments='{"a":1}'), call("c2", "patch", '{"input":"*** x"}'), call("c3", "patch", "not asked so")],
}  # fmt: skip


def whole(message: dict[str, Any] = MESSAGE, finish: str = "tool_calls") -> dict[str, Any]:
    body = {"id": "c", "model": "real", "choices": [{"message": message, "finish_reason": finish}], "usage": USAGE}
    found = responses.response(json.dumps(body).encode(), dict(HEAD), CUSTOMS)
    assert found is not None
    told: dict[str, Any] = json.loads(msgspec.json.encode(found))
    return told


def test_an_answer() -> None:
    found = whole()
    assert [(item["type"], item.get("call_id")) for item in found["output"]] == [
        ("reasoning", None), ("message", None), ("function_call", "c1"), ("custom_tool_call", "c2"), ("custom_tool_call", "c3")
    ]  # fmt: skip
    assert found["output"][2]["arguments"] == '{"a":1}'
    assert [item["input"] for item in found["output"][3:]] == ["*** x", "not asked so"]
    assert found["output"][0]["encrypted_content"] == responses.signed([THOUGHT])
    assert (found["status"], found["model"], found["created_at"]) == ("completed", "real", 7)
    assert found["usage"] == {
        "input_tokens": 20, "input_tokens_details": {"cached_tokens": 8, "cache_write_tokens": 0}, "output_tokens": 5,
        "output_tokens_details": {"reasoning_tokens": 2}, "total_tokens": 25,
    }  # fmt: skip
    assert Response.model_validate(found).output_text == "I look."


@pytest.mark.parametrize(
    ("finish", "reason"), [("length", "max_output_tokens"), ("content_filter", "content_filter"), ("stop", None)]
)
def test_how_it_ended(finish: str, reason: str | None) -> None:
    found = whole({"content": "x"}, finish)
    assert (found["incomplete_details"] or {}).get("reason") == reason
    assert found["status"] == ("incomplete" if reason else "completed")


@pytest.mark.parametrize("body", [b"", b"[]", b'{"choices":[]}', b'{"error":"x"}', b"<html>"])
def test_what_is_no_answer(body: bytes) -> None:
    assert responses.response(body, dict(HEAD), CUSTOMS) is None


def events_of(data: bytes) -> list[dict[str, Any]]:
    return [json.loads(line[6:]) for line in data.decode().splitlines() if line.startswith("data: ")]


CHUNKS: list[dict[str, Any]] = [
    {"choices": [{"delta": {"role": "assistant", "content": ""}}], "model": "real"},
    {"choices": [{"delta": {"reasoning_content": "h"}}]},
    {"choices": [{"delta": {"reasoning_content": "m"}}]},
    {"choices": [{"delta": {"thinking_blocks": [THOUGHT]}}]},
    {"choices": [{"delta": {"content": "I "}}]},
    {"choices": [{"delta": {"content": "look."}}]},
    {"choices": [{"delta": {"tool_calls": [{"index": 0, "id": "c1", "function": {"name": "shell", "arguments": '{"a"'}}]}}]},
    {"choices": [{"delta": {"tool_calls": [{"index": 1, "id": "c2", "function": {"name": "patch", "arguments": '{"input":'}}]}}]},
    {"choices": [{"delta": {"tool_calls": [{"index": 0, "function": {"arguments": ":1}"}},
                                           {"index": 1, "function": {"arguments": '"*** x"}'}}]}}]},
    {"choices": [{"delta": {"tool_calls": [{"index": 2, "id": "c3", "function": {"name": "patch", "arguments": "not asked so"}}]}}]},
    {"choices": [{"delta": {}, "finish_reason": "tool_calls"}]},
    {"choices": [], "usage": USAGE},
]  # fmt: skip


def streamed(
    chunks: list[dict[str, Any]], size: int = 10_000, done: bytes = b"data: [DONE]\n\n"
) -> list[dict[str, Any]]:
    stream = Stream(dict(HEAD), CUSTOMS)
    data = b"".join(b"data: %b\n\n" % json.dumps(each).encode() for each in chunks) + done
    out = [piece for at in range(0, len(data), size) for piece in stream.feed(data[at : at + size])]
    return events_of(b"".join([*out, *stream.finish()]))


@pytest.mark.parametrize("size", [1, 7, 10_000])
def test_a_stream_says_what_the_whole_says(size: int) -> None:
    events = streamed(CHUNKS, size)
    assert [event["sequence_number"] for event in events] == list(range(len(events)))
    assert [event["type"] for event in events[:2]] == ["response.created", "response.in_progress"]
    last = events[-1]
    assert last["type"] == "response.completed"
    for mine, theirs in zip(last["response"]["output"], whole()["output"], strict=True):
        assert {**mine, "id": ""} == {**theirs, "id": ""}
    assert last["response"]["usage"] == whole()["usage"] and last["response"]["model"] == "real"
    done = [event["item"] for event in events if event["type"] == "response.output_item.done"]
    assert done == last["response"]["output"]
    text = "".join(event["delta"] for event in events if event["type"] == "response.output_text.delta")
    assert text == "I look."


def test_a_whole_answer_to_who_wants_a_stream_has_the_same_events() -> None:
    """But that texts come in one piece."""
    found = events_of(b"".join(of_response(whole())))
    theirs = [event["type"] for event in streamed(CHUNKS)]
    once = [kind for i, kind in enumerate(theirs) if i == 0 or kind != theirs[i - 1]]
    assert [event["type"] for event in found] == once


def test_an_error_within_is_told_and_a_cut_is_a_cut() -> None:
    events = streamed([*CHUNKS[:5], {"error": {"message": "no more"}}, *CHUNKS[5:]])
    assert (events[-1]["type"], events[-1]["response"]["error"]["message"]) == ("response.failed", "no more")
    assert streamed(CHUNKS[:6], done=b"")[-1]["type"] == "response.output_text.delta"
