"""What was screened is what is forwarded: every string is read, wherever it stands; what could be
read in two ways is refused.
"""

import base64
import json
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.edge.content import answer
from services.edge.content.replace import replace
from services.edge.content.request import of_fields, with_texts
from services.edge.formats.base import Text
from shared.errors import RefusedError


def fields(body: Any) -> dict[str, msgspec.Raw]:
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    return msgspec.json.decode(raw, type=dict[str, msgspec.Raw])


def said(body: Any) -> list[Text]:
    return of_fields(fields(body)).texts


def kinds(body: Any) -> dict[str, str]:
    return {text.text: text.kind for text in said(body)}


BAD = "FIND ME"


@pytest.mark.parametrize(
    "more",
    [
        {"documents": [BAD]},
        {"documents": [{"x": {"y": BAD}}]},
        {"chat_template": BAD},
        {"system": BAD},
        {"system": [{"type": "text", "text": BAD}]},
        {"instructions": BAD},
        {"guided_choice": ["a", BAD]},
        {"guided_regex": BAD},
        {"extra_body": {"a": {"b": [BAD]}}},
        {"tool_choice": {"type": "function", "function": {"name": BAD}}},
        {"models": [BAD]},
        {"a_field_nobody_knows": BAD},
        {BAD: 1},
        {"stop": [BAD]},
        {"metadata": {"x": BAD}, "store": True},
        {"tools": [{"type": "function", "function": {"name": "f", "parameters": {"properties": {BAD: {}}}}}]},
        {"tools": [{"type": "function", "function": {"name": "f", "parameters": {"properties": {"a": {"pattern": BAD}}}}}]},
        {"tools": [{"type": "function", "function": {"name": "f", "parameters": {"enum": [BAD]}}}]},
        {"response_format": {"type": "json_schema", "json_schema": {"name": BAD, "schema": {}}}},
        {"messages": [{"role": BAD, "content": "x"}]},
        {"messages": [{"role": "user", "content": "x", "a_name_nobody_knows": {"z": BAD}}]},
        {"messages": [{"role": "user", "content": "x", BAD: 1}]},
        {"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "http://x/" + BAD}}]}]},
        {"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "data:image/png," + BAD}}]}]},
        {"messages": [{"role": "user", "content": [{"type": BAD}]}]},
        {"messages": [{"role": "assistant", "tool_calls": [{"id": BAD, "function": {"name": "f", "arguments": "{}"}}]}]},
    ],
    ids=lambda more: json.dumps(more)[:50],
)  # fmt: skip
def test_no_place_hides_a_text(more: dict[str, Any]) -> None:
    body = {"model": "m", "messages": [{"role": "user", "content": "hi"}], **more}
    assert any(BAD in text.text for text in said(body))


def test_what_the_gateway_keeps_for_itself_is_not_said() -> None:
    body = {"model": BAD, "messages": [], "metadata": {"x": BAD}, "tags": [BAD], "litellm_metadata": {"x": BAD}}
    assert said(body) == []


def test_metadata_that_goes_on_is_said_without_what_is_ours_in_it() -> None:
    body = {"metadata": {"user_id": BAD, "tags": ["ours"], "guardrails": ["g"], "spend_logs_metadata": {"a": "b"}}}
    said = {text.text for text in of_fields(fields(body), metadata=True).texts}
    assert BAD in said and not said & {"ours", "g", "b"}


@pytest.mark.parametrize(("data", "read"), [(b"short, " + BAD.encode(), "file"), (bytes(range(128, 168)), "url")])
def test_a_short_file_in_base64_is_read_where_it_is_text(data: bytes, read: str) -> None:
    encoded = base64.b64encode(data).decode()
    source = {"type": "base64", "media_type": "text/plain", "data": encoded}
    found = said({"messages": [{"role": "user", "content": [{"type": "document", "source": source}]}]})
    assert [(text.kind, text.text) for text in found if text.address[-1] == "data"] == [
        (read, data.decode() if read == "file" else encoded)
    ]


def test_words_that_formats_are_made_of_are_not_texts() -> None:
    """Who bans the word "user" or "text" doesn't mean the roles and types of the wire."""
    tool = {
        "type": "function",
        "function": {"name": "f", "parameters": {"type": "object", "properties": {"q": {"type": "string"}}}},
    }
    body = {
        "messages": [{"role": "user", "content": [{"type": "text", "text": "hi"}]}],
        "tools": [tool],
        "tool_choice": "auto",
    }
    assert {text.text for text in said(body)} == {"hi", "f", "q"}


@pytest.mark.parametrize(
    "body",
    [
        b'{"messages":[{"role":"user","content":"BAD","content":"hi"}]}',
        b'{"messages":[{"role":"user","content":"BAD","\\u0063ontent":"hi"}]}',
        b'{"messages":[{"role":"user","content":[{"type":"text","text":"BAD","text":"hi"}]}]}',
        b'{"messages":[{"role":"user","Content":"BAD","content":"hi"}]}',
        b'{"messages":[{"role":"user","CONTENT":"BAD"}]}',
        '{"messages":[{"role":"user","ｃontent":"BAD"}]}'.encode(),
        b'{"messages":[{"tool_calls":[{"function":{"arguments":"BAD","arguments":"{}"}}]}]}',
        b'{"tools":[{"function":{"description":"BAD","description":"x"}}]}',
        b'{"tools":[{"type":"function","Function":{"description":"BAD"}}]}',
        b'{"input":[{"role":"user","content":"BAD","content":"hi"}]}',
    ],
)
def test_what_could_be_read_in_two_ways_is_refused(body: bytes) -> None:
    with pytest.raises(RefusedError) as refused:
        said(body)
    assert refused.value.refusal.status == 400


@pytest.mark.parametrize(
    "body",
    [
        b'{"tools":[{"function":{"parameters":{"properties":{"a":{"description":"BAD"},"a":{"description":"ok"}}}}}]}',
        b'{"extra_body":{"x":"BAD","x":"ok"}}',
        b'{"response_format":{"json_schema":{"schema":{"title":"BAD","title":"ok"}}}}',
    ],
)
def test_a_name_twice_in_a_map_is_rebuilt_as_it_was_read(body: bytes) -> None:
    content = of_fields(fields(body))
    assert content.fields is not None
    forwarded = b"".join(bytes(raw) for raw in content.fields.values())
    assert b"BAD" not in forwarded and b"ok" in forwarded
    assert "BAD" not in [text.text for text in content.texts]


def test_names_of_maps_are_free() -> None:
    properties = {"Content": {"type": "string"}, "content": {"type": "string"}, "ROLE": {}}
    schema = {"type": "object", "properties": properties}
    assert said({"tools": [{"type": "function", "function": {"name": "f", "parameters": schema}}]})


def test_roles_and_kinds() -> None:
    body = {
        "messages": [
            {"role": "system", "content": "a"},
            {
                "role": "user",
                "content": [{"type": "text", "text": "b"}, {"type": "image_url", "image_url": {"url": "http://u"}}],
            },
            {
                "role": "assistant",
                "reasoning_content": "c",
                "tool_calls": [{"id": "call_1", "function": {"name": "n", "arguments": "{}"}}],
            },
            {"role": "tool", "tool_call_id": "call_1", "content": "d"},
        ],
        "tools": [{"function": {"description": "e"}}],
        "documents": ["f"],
    }
    found = {text.text: (text.kind, text.role) for text in said(body)}
    assert found == {
        "a": ("text", "system"), "b": ("text", "user"), "http://u": ("url", "user"), "c": ("reasoning", "assistant"),
        "n": ("name", "assistant"), "{}": ("arguments", "assistant"), "d": ("result", "tool"), "e": ("schema", ""),
        "f": ("unknown", ""), "call_1": ("id", "tool"),
    }  # fmt: skip


# ── files ──


def data_url(data: bytes, mime: str) -> str:
    return f"data:{mime};base64,{base64.b64encode(data).decode()}"


def of_file(value: str) -> Text:
    (found,) = [text for text in said({"messages": [{"role": "user", "content": [{"type": "file", "file": {"file_data": value}}]}]})
                if text.kind != "id"]  # fmt: skip
    return found


def test_files_that_are_text_are_read_and_pictures_are_not() -> None:
    assert (of_file(data_url(b"my secret", "text/plain")).kind, of_file(data_url(b"my secret", "text/plain")).text) == (
        "file",
        "my secret",
    )
    assert of_file(data_url(b'{"a": 1}', "application/json")).text == '{"a": 1}'
    assert of_file(data_url(b"<svg>words</svg>", "image/svg+xml")).text == "<svg>words</svg>"
    assert of_file(data_url(b"\x89PNG\x00\xff" * 40, "image/png")).kind == "data"
    assert of_file(data_url(b"%PDF\x00\xff\xfe", "application/pdf")).kind == "binary"
    assert of_file("data:image/png;base64,words that are none").kind == "url"
    assert of_file("data:,plain words").kind == "url"
    assert of_file(base64.b64encode(b"plain text without a mark " * 20).decode()).kind == "file"


def test_a_file_s_text_goes_back_as_a_file() -> None:
    body = {"messages": [{"content": [{"file": {"file_data": data_url(b"my secret", "text/plain")}}]}]}
    texts = said(body)
    index = next(i for i, text in enumerate(texts) if text.kind == "file")
    out = json.loads(bytes(with_texts(fields(body), {index: "my [REDACTED]"}, texts)["messages"]))
    assert base64.b64decode(out[0]["content"][0]["file"]["file_data"].partition(",")[2]) == b"my [REDACTED]"


# ── other texts ──


def test_only_what_changes_is_written_anew() -> None:
    body = b'{"model":"m","x": 1.0, "messages":[ {"role":"user","content":"a","n":1e2,"z":null}, {"role":"user",  "content":"b"}]}'
    texts = said(body)
    index = next(i for i, text in enumerate(texts) if text.text == "a")
    out = with_texts(fields(body), {index: 'new "one"\n'}, texts)
    assert (
        bytes(out["messages"])
        == b'[{"role":"user","content":"new \\"one\\"\\n","n":1e2,"z":null},{"role":"user",  "content":"b"}]'
    )
    assert bytes(out["x"]) == b"1.0"


def test_token_ids_become_texts_all_of_them() -> None:
    body = {"model": "m", "prompt": [[1, 2], [3]]}
    texts = said(body)
    assert [(text.kind, text.text) for text in texts] == [("tokens", "1 2"), ("tokens", "3")]
    decoded = [msgspec.structs.replace(text, text=word) for text, word in zip(texts, ("secret", "fine"), strict=True)]
    assert json.loads(bytes(with_texts(fields(body), {0: "[REDACTED]"}, decoded)["prompt"])) == ["[REDACTED]", "fine"]
    assert said({"prompt": [1, 2]})[0].address == ("prompt",)
    assert kinds({"input": [[5, 6]]}) == {"5 6": "tokens"}


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.text(max_size=6) | st.sampled_from(["content", "text", "parameters", "role"]), inner, max_size=4
        )
    ),
    max_leaves=12,
)


@given(JSON, st.data())
@settings(max_examples=200, deadline=None)
def test_any_text_can_be_replaced_and_nothing_else_changes(value: Any, data: st.DataObject) -> None:
    body = {"messages": value}
    try:
        content = of_fields(fields(body))
    except RefusedError:
        return
    texts = [t for t in content.texts if t.kind not in ("tokens", "file", "data", "binary")]
    if not texts:
        return
    chosen = data.draw(st.sampled_from(texts))
    index = content.texts.index(chosen)
    out = {
        name: json.loads(bytes(raw)) for name, raw in with_texts(fields(body), {index: "NEW"}, content.texts).items()
    }

    def put(inner: Any, address: tuple[Any, ...]) -> Any:
        if not address:
            return "NEW"
        if address[1:] == (-1,):
            return {("NEW" if k == address[0] else k): v for k, v in inner.items()}
        if isinstance(inner, list):
            return [put(v, address[1:]) if i == address[0] else v for i, v in enumerate(inner)]
        return {k: put(v, address[1:]) if k == address[0] else v for k, v in inner.items()}

    assert out == put(body, chosen.address)


def test_an_address_that_is_not_there_is_an_error() -> None:
    for address in ((1,), ("a", "b"), ("x",), (0,)):
        with pytest.raises((LookupError, msgspec.DecodeError)):
            replace(b'{"a": [1]}', {address: b'"x"'})


# ── answers ──


def test_an_answer_s_text_is_replaced_and_its_echoes_go() -> None:
    choice = {
        "index": 0,
        "message": {"role": "assistant", "content": "my key"},
        "logprobs": {"content": [{"token": "key"}]},
    }
    body = json.dumps(
        {"id": "x", "choices": [choice, {"index": 1, "message": {"content": "b"}, "logprobs": {}}], "usage": {"a": 1}}
    )
    texts = answer.of_answer(body.encode())
    assert [text.text for text in texts] == ["my key", "b"]
    out = json.loads(answer.with_texts(body.encode(), {0: "my [REDACTED]"}, texts))
    assert out["choices"][0] == {
        **choice,
        "message": {"role": "assistant", "content": "my [REDACTED]"},
        "logprobs": None,
    }
    assert out["choices"][1]["logprobs"] == {} and out["usage"] == {"a": 1}


def test_in_an_event_a_channel_is_named_by_its_index() -> None:
    event = {"choices": [{"index": 1, "delta": {"tool_calls": [{"index": 2, "function": {"arguments": "x"}}]}}]}
    (grown,) = answer.of_event(json.dumps(event).encode())
    assert grown.channel == ("choices", 1, "delta", "tool_calls", 2, "function", "arguments")
    assert grown.real == ("choices", 0, "delta", "tool_calls", 0, "function", "arguments")
    out = json.loads(answer.event_with_texts(json.dumps(event).encode(), {grown.real: "y"}))
    assert out["choices"][0]["delta"]["tool_calls"][0]["function"]["arguments"] == "y"
