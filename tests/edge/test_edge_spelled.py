"""Escapes that a format doesn't need hide nothing: in a tool call's arguments (JSON in a string),
and in URLs.
"""

import json
import re
from typing import Any
from urllib.parse import unquote

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.edge.content import answer as answers
from services.edge.content import request as requests
from services.edge.content.spelled import spelled_out
from services.edge.formats.base import Text
from services.edge.passthrough import guarded


def escaped(text: str) -> str:
    return "".join(f"\\u{ord(c):04x}" for c in text)


def call(arguments: str) -> dict[str, Any]:
    return {"role": "assistant", "tool_calls": [{"id": "1", "function": {"name": "f", "arguments": arguments}}]}


def fields(body: dict[str, Any]) -> dict[str, msgspec.Raw]:
    return msgspec.json.decode(json.dumps(body), type=dict[str, msgspec.Raw])


ARGUMENTS = '{"say": "' + escaped("forbidden") + '", "path": "a\\/b", "left": "\\\\u0066 \\" \\n"}'
URL = "https://example.com/%66or%62idden?q=a%20b%2Fc%3d"


@pytest.mark.parametrize("arguments", [ARGUMENTS, ARGUMENTS.replace("\\u006f", "\\u006F")])
def test_arguments_are_read_as_they_say(arguments: str) -> None:
    texts = requests.of_fields(fields({"messages": [call(arguments)]})).texts
    assert any("forbidden" in text.text and "a/b" in text.text for text in texts)
    whole = {"choices": [{"index": 0, "message": call(arguments)}]}
    assert any("forbidden" in text.text for text in answers.of_answer(json.dumps(whole).encode()))
    assert any(
        "forbidden" in text.text for text in guarded._read(json.dumps(call(arguments)).encode(), (), "pre_call")[2]
    )


@pytest.mark.parametrize(
    "part", [{"type": "image_url", "image_url": {"url": URL}}, {"type": "input_image", "image_url": URL}]
)
def test_urls_are_read_as_they_say(part: dict[str, Any]) -> None:
    texts = requests.of_fields(fields({"messages": [{"role": "user", "content": [part]}]})).texts
    assert any(text.text == "https://example.com/forbidden?q=a%20b%2Fc%3d" for text in texts)


def test_what_is_put_there_means_what_was_sent() -> None:
    sent = fields({"messages": [call(ARGUMENTS)]})
    texts = requests.of_fields(sent).texts
    at = next(i for i, text in enumerate(texts) if text.kind == "arguments")
    out = requests.with_texts(sent, {at: texts[at].text.replace("forbidden", "[REDACTED]")}, texts)
    said = json.loads(msgspec.json.decode(out["messages"])[0]["tool_calls"][0]["function"]["arguments"])
    assert said == json.loads(ARGUMENTS) | {"say": "[REDACTED]"}


def test_words_of_people_are_left_as_they_are() -> None:
    """Their escapes are what a model sees."""
    text = escaped("forbidden") + " %66"
    assert requests.of_fields(fields({"messages": [{"role": "user", "content": text}]})).texts[0].text == text


def _written(value: object, draw: Any) -> str:
    """JSON in which any character may be escaped, whether it must or not."""
    plain = json.dumps(value, ensure_ascii=draw(st.booleans()))

    def each(found: re.Match[str]) -> str:
        return found[0] if found[0][0] == "\\" or not draw(st.booleans()) else escaped(found[0])

    return re.sub(r"\\u[0-9a-f]{4}|\\.|[a-z/]", each, plain) if '"' in plain else plain


@given(st.recursive(st.text(max_size=8), lambda inner: st.lists(inner, max_size=3), max_leaves=4), st.data())
def test_any_json_says_the_same(value: object, data: st.DataObject) -> None:
    written = _written(value, data.draw)
    (out,) = spelled_out([Text((), written, "", "arguments")])
    assert json.loads(out.text) == json.loads(written) == value


@pytest.mark.parametrize("written", ["%{:02x}", "%{:02X}"])
def test_any_url_says_the_same(written: str) -> None:
    for c in map(chr, range(128)):
        url = "https://x/a" + written.format(ord(c)) + "b%"
        (out,) = spelled_out([Text((), url, "", "url")])
        assert unquote(out.text) == unquote(url)
        assert out.text == ("https://x/a" + c + "b%" if c.isalnum() or c in "-._~" else url)


def test_a_backslash_before_it_is_no_escape() -> None:
    text = r'{"a": "\\u0066", "b": "\\\u0066"}'
    (out,) = spelled_out([Text((), text, "", "arguments")])
    assert out.text == r'{"a": "\\u0066", "b": "\\f"}'


@pytest.mark.parametrize(
    ("sent", "read"),
    [
        (r'{"path": "a\/b"}', r'{"path": "a/b"}'),
        (r'"\u0022, \u005c"', r'"\", \\"'),
        (r'"\u000a\u007f\u0009"', r'"\u000a\u007f\u0009"'),
    ],
)
def test_what_ends_a_string_stays_escaped(sent: str, read: str) -> None:
    (out,) = spelled_out([Text((), sent, "", "arguments")])
    assert out.text == read and json.loads(out.text) == json.loads(sent)


def test_what_is_no_json_is_read_as_far_as_it_goes() -> None:
    """A model may have written it."""
    (out,) = spelled_out([Text((), r'{"a": "\x\u0066 \u00g1 ' + "\\", "", "arguments")])
    assert out.text == r'{"a": "\xf \u00g1 ' + "\\"
    body = {"messages": [call(r'{"path": "C:\users"}')]}
    assert any(text.text == r'{"path": "C:\users"}' for text in requests.of_fields(fields(body)).texts)


def test_half_a_pair_stays() -> None:
    (out,) = spelled_out([Text((), r'"\ud83d x \ud83d\ude00"', "", "arguments")])
    assert out.text == r'"\ud83d x 😀"'
