"""A stream of OpenAI's chat as Anthropic's client reads it, cut at every byte."""

import json
from typing import Any

import pytest

from services.edge.providers.base import UnreadableAnswerError
from services.edge.providers.translate import anthropic_messages__chat_stream as stream
from tests.edge.translate.translate_kit import folded_messages, shown_blocks


def chunk(finish: str | None = None, **delta: Any) -> bytes:
    body = {"id": "c", "model": "gpt-4o", "choices": [{"index": 0, "delta": delta, "finish_reason": finish}]}
    return b"data: " + json.dumps(body).encode() + b"\n\n"


def grown(index: int | None, arguments: str = "", **more: Any) -> bytes:
    call: dict[str, Any] = {
        "function": {"arguments": arguments, **({"name": more.pop("name")} if "name" in more else {})},
        **more,
    }
    return chunk(tool_calls=[call if index is None else {"index": index, **call}])


USAGE = b'data: {"choices": [], "usage": {"prompt_tokens": 20, "completion_tokens": 5}}\n\n'
DONE = b"data: [DONE]\n\n"
ROLE = chunk(role="assistant", content="")
STREAMS = {
    "words": (
        [ROLE, chunk(content="hel"), b": keep-alive\n\n", chunk(content="lo"), chunk("stop"), USAGE, DONE],
        "end_turn",
        [("text", "hello")],
    ),
    "thoughts": (
        [chunk(reasoning_content="h"), chunk(reasoning="m"), chunk(content="so"), chunk("stop"), USAGE, DONE],
        "end_turn",
        [("thinking", "hm"), ("text", "so")],
    ),
    "calls": (
        [
            chunk(content="I look."),
            grown(0, id="a", name="look"),
            grown(0, '{"at":'),
            grown(0, '"1"}'),
            grown(1, id="b", name="look"),
            grown(1, '{"at":"2"}'),
            chunk("tool_calls"),
            USAGE,
            DONE,
        ],
        "tool_use",
        [("text", "I look."), ("tool_use", {"at": "1"}), ("tool_use", {"at": "2"})],
    ),
    "arguments before the name": (
        [
            grown(None, '{"at"', id="a"),
            grown(None, ':"1"', id="a", name="look"),
            grown(None, "}", id="a"),
            chunk("tool_calls"),
            USAGE,
            DONE,
        ],
        "tool_use",
        [("tool_use", {"at": "1"})],
    ),
    "interleaved": (
        [
            grown(0, id="a", name="look"),
            grown(1, id="b", name="look"),
            grown(0, '{"at":'),
            grown(1, '{"at":'),
            grown(0, '"1"}'),
            grown(1, '"2"}'),
            chunk("tool_calls"),
            USAGE,
            DONE,
        ],
        "tool_use",
        [("tool_use", {"at": "1"}), ("tool_use", {"at": "2"})],
    ),
    "without an index": (
        [
            grown(None, '{"at":"1"}', id="a", name="look"),
            grown(None, '{"at":"2"}', id="b", name="look"),
            chunk("stop"),
            USAGE,
            DONE,
        ],
        "tool_use",
        [("tool_use", {"at": "1"}), ("tool_use", {"at": "2"})],
    ),
    "without arguments": (
        [grown(0, id="a", name="look"), chunk("tool_calls"), USAGE, DONE],
        "tool_use",
        [("tool_use", {})],
    ),
    "without done": ([chunk(content="hello"), chunk("stop"), USAGE], "end_turn", [("text", "hello")]),
    "usage beside": (
        [
            chunk(content="hello"),
            chunk("stop")[:-3] + b', "usage": {"prompt_tokens": 20, "completion_tokens": 5}}\n\n',
            DONE,
        ],
        "end_turn",
        [("text", "hello")],
    ),
    "signed": (
        [
            chunk(reasoning_content="hm"),
            chunk(thinking_blocks=[{"type": "thinking", "thinking": "hm", "signature": "s"}]),
            chunk(content="so"),
            chunk("stop"),
            USAGE,
            DONE,
        ],
        "end_turn",
        [("thinking", "hm"), ("text", "so")],
    ),
    "nothing": ([ROLE, chunk("stop"), USAGE, DONE], "end_turn", []),
}


@pytest.mark.parametrize("name", STREAMS)
def test_streams_are_put_together_by_anthropics_client(name: str) -> None:
    pieces, stop, content = STREAMS[name]
    data = b"".join(pieces)
    whole: bytes | None = None
    for cut in (len(data), 1, 7):
        made = stream.Stream("m", "msg_1")
        out = [event for at in range(0, len(data), cut) for event in made.feed(data[at : at + cut])] + made.finish()
        whole = whole or b"".join(out)
        assert b"".join(out) == whole, "however it is cut"
        message = folded_messages(out)
        assert (message["stop_reason"], shown_blocks(message), message["model"]) == (stop, content, "gpt-4o")
        assert (message["usage"]["input_tokens"], message["usage"]["output_tokens"]) == (20, 5)


def test_a_stream_that_breaks_off_has_no_end() -> None:
    made = stream.Stream("m", "msg_1")
    out = b"".join(made.feed(ROLE + chunk(content="hel")) + made.finish())
    assert b"text_delta" in out and b"message_stop" not in out


def test_an_error_in_a_stream_is_said() -> None:
    made = stream.Stream("m", "msg_1")
    out = b"".join(made.feed(ROLE + b'data: {"error": {"message": "too hot", "code": 503}}\n\n' + DONE) + made.finish())
    assert b'"message":"too hot"' in out and b"message_stop" not in out
    with pytest.raises(UnreadableAnswerError):
        stream.Stream("m", "x").feed(b"data: {nothing}\n\n")
