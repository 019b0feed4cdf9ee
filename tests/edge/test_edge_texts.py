"""What guardrails get to read: everything that reaches a model as text, wherever it stands."""

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.edge import texts
from services.edge.formats.base import Call, Hints
from services.edge.formats.table import BY_ROUTE
from shared.errors import RefusedError


def call(path: str = "/chat/completions", raw: bytes | None = None, **fields: Any) -> Call:
    base = {"model": "m", BY_ROUTE[path].required: ["x"]}
    return BY_ROUTE[path].read(json.dumps({**base, **fields}).encode() if raw is None else raw, Hints())


def of_messages(*messages: Any) -> list[str]:
    return texts.of_request(call(messages=list(messages)))[0]


def deep(inner: Any, levels: int) -> Any:
    for _ in range(levels):
        inner = {"properties": [inner]}
    return inner


def test_every_role_and_every_part_in_order() -> None:
    found = of_messages(
        {"role": "system", "content": "a"},
        {
            "role": "user",
            "content": [{"type": "text", "text": "b"}, {"type": "image_url", "image_url": {"url": "data:x"}}],
        },
        {"role": "assistant", "content": None, "refusal": "c"},
        {
            "role": "assistant",
            "tool_calls": [{"id": "1", "function": {"name": "d", "arguments": '{"x": "e"}'}}],
            "reasoning_content": "f",
        },
        {"role": "tool", "tool_call_id": "1", "content": "g"},
        {"role": "user", "name": "h", "content": "i"},
    )
    assert found == ["a", "b", "c", "d", '{"x": "e"}', "f", "g", "h", "i"]


def test_prompts_inputs_and_suffixes() -> None:
    assert texts.of_request(call("/completions", prompt="a", suffix="b"))[0] == ["a", "b"]
    assert texts.of_request(call("/completions", prompt=["a", "b"]))[0] == ["a", "b"]
    assert texts.of_request(call("/embeddings", input="a"))[0] == ["a"]
    assert texts.of_request(call("/embeddings", input=["a", "b"]))[0] == ["a", "b"]


@pytest.mark.parametrize(
    "fields",
    [
        {"tools": [{"type": "function", "function": {"name": "f", "description": "FIND ME"}}]},
        {"tools": [{"function": {"parameters": {"properties": {"x": {"description": "FIND ME"}}}}}]},
        {"tools": [{"function": {"parameters": {"properties": {"file": {"description": "FIND ME"}}}}}]},
        {"tools": [{"function": {"parameters": {"properties": {"usage": {"enum": ["FIND ME"]}}}}}]},
        {"tools": [{"function": {"parameters": {"title": "FIND ME"}}}]},
        {"functions": [{"description": "FIND ME"}]},
        {"response_format": {"type": "json_schema", "json_schema": {"schema": {"description": "FIND ME"}}}},
        {"prediction": {"type": "content", "content": [{"type": "text", "text": "FIND ME"}]}},
        {"tools": deep({"description": "FIND ME"}, 100)},
        {"messages": [{"role": "user", "content": deep({"text": "FIND ME"}, 400)}]},
    ],
)
def test_no_place_and_no_depth_hides_a_text(fields: dict[str, Any]) -> None:
    assert "FIND ME" in texts.of_request(call(**fields))[0]


@pytest.mark.parametrize(
    "raw",
    [
        b'{"model":"m","messages":[{"role":"user","content":"bad"},1e999]}',
        b'{"model":"m","messages":[{"role":"user","content":"bad","x":' + b"9" * 5000 + b"}]}",
        b'{"model":"m","messages":[{"content":"x"}],"tools":[{"description":"bad","x":1e999}]}',
    ],
)
def test_what_we_cannot_read_is_refused_and_not_passed_over(raw: bytes) -> None:
    with pytest.raises(RefusedError) as refused:
        texts.of_request(call(raw=raw))
    assert refused.value.refusal.param in ("messages", "tools")


@pytest.mark.parametrize("levels", [300, 470, 485, 490, 494, 495, 496, 497])
def test_near_the_limit_of_nesting_it_is_read_or_refused(levels: int) -> None:
    nested = b'{"x":[' * levels + b'{"text":"FIND ME"}' + b"]}" * levels
    raw = b'{"model":"m","messages":[%b]}' % nested
    try:
        found = texts.of_request(call(raw=raw))[0]
    except RefusedError:
        return
    assert found == ["FIND ME"]


def test_an_answers_choices_are_read_and_an_unreadable_answer_is_a_text_itself() -> None:
    answer = {"id": "x", "choices": [{"message": {"role": "assistant", "content": "a"}}, {"text": "b"}], "usage": {}}
    assert texts.of_answer(json.dumps(answer).encode()) == ["a", "b"]
    assert texts.of_answer(b'{"content": "a", "model": "m"}') == ["a"]
    assert texts.of_answer(b'{"choices": [{"message": {"content": "a"}, "x": 1e999}]}')
    assert texts.of_answer(b"<html>\xff") == ["<html>\ufffd"]
    assert texts.of_answer(b'{"object": "list", "data": [{"embedding": [0.1], "text": "x"}]}') == []


def chunk(**choice: Any) -> bytes:
    return json.dumps({"choices": [{"index": 0, **choice}]}).encode()


def test_each_field_of_each_choice_is_a_channel_of_its_own() -> None:
    channels = [
        texts.of_chunk(chunk(delta={"content": "x"})),
        texts.of_chunk(chunk(delta={"reasoning_content": "x"})),
        texts.of_chunk(chunk(delta={"tool_calls": [{"index": 0, "function": {"arguments": "x"}}]})),
        texts.of_chunk(chunk(delta={"tool_calls": [{"index": 1, "function": {"arguments": "x"}}]})),
        texts.of_chunk(chunk(text="x")),
        texts.of_chunk(json.dumps({"choices": [{"index": 1, "delta": {"content": "x"}}]}).encode()),
    ]
    assert all([text for _, text in found] == ["x"] for found in channels)
    assert len({found[0][0] for found in channels}) == len(channels)


def test_a_channel_keeps_its_name_from_chunk_to_chunk() -> None:
    both = json.dumps({"choices": [{"index": i, "delta": {"content": str(i)}} for i in (1, 0)]}).encode()
    names = {text: channel for channel, text in texts.of_chunk(both)}
    assert texts.of_chunk(chunk(delta={"content": "0"})) == [(names["0"], "0")]


def test_a_chunk_in_another_shape_is_read_all_the_same() -> None:
    assert [text for _, text in texts.of_chunk(b'{"content": "a", "stop": false}')] == ["a"]
    assert [text for _, text in texts.of_chunk(chunk(message={"content": "a"}))] == ["a"]
    assert [text for _, text in texts.of_chunk(b'{"choices": [{"delta": {"content": "a\xff"}}]}')]
    assert texts.of_chunk(b"") == []


SHAPES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["choices", "delta", "content", "index", "text", "message", "tool_calls", "data", "x"]),
            inner,
            max_size=4,
        )
    ),
    max_leaves=10,
)


@given(shape=SHAPES)
@settings(max_examples=200, deadline=None)
def test_odd_shapes_never_raise(shape: Any) -> None:
    raw = json.dumps(shape).encode()
    texts.of_chunk(raw)
    texts.of_answer(raw)
    texts.of_answer(raw[:-1])
    texts.of_request(call(messages=[shape], tools=shape, response_format=shape))
