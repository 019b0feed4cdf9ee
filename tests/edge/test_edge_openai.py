"""Reading a request and what the provider gets of it: nobody smuggles anything past us, and nothing
is changed without need.
"""

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.edge.formats import fields as fields_
from services.edge.formats.base import Call, Hints
from services.edge.formats.openai import CHAT, COMPLETIONS, EMBEDDINGS
from services.edge.formats.table import BY_ROUTE
from services.edge.formats.wire import without_lone_surrogates
from shared.errors import RefusedError, render
from shared.facts import Caller, Opened, encode_fact, pack, unpack
from shared.ids import DeploymentId, new_request_id

MESSAGES = [{"role": "user", "content": "Hi"}]


def body(**fields: Any) -> bytes:
    return json.dumps({"model": "m", "messages": MESSAGES, **fields}).encode()


def call(
    raw: bytes | None = None, *, header_tags: str | None = None, header_metadata: str | None = None, **fields: Any
) -> Call:
    return CHAT.read(body(**fields) if raw is None else raw, Hints(header_tags, header_metadata))


def refusal(raw: bytes, **headers: Any) -> Any:
    with pytest.raises(RefusedError) as refused:
        call(raw, **headers)
    found = refused.value.refusal
    assert found.status == (401 if found.code == "unsafe_field" else 400)
    render(found)
    return found


def sent(raw: bytes | None = None, upstream: str = "up", **fields: Any) -> Any:
    return json.loads(CHAT.upstream_body(call(raw, **fields), upstream))


# ── what a provider gets ──


def test_the_model_is_the_deployments_and_stands_once() -> None:
    assert sent()["model"] == "up"
    assert CHAT.upstream_body(call(), "up").count(b'"model"') == 1


SMUGGLED = {
    "model": [b'"model":"m"', b'"model":"expensive"', b'"mod\\u0065l":"expensive"', b'"\\u006Dodel":"expensive"'],
    "messages": [
        b'"messages":[{"role":"user","content":"ok"}]',
        b'"messages":[{"content":"bad"}]',
        b'"mess\\u0061ges":[{}]',
    ],
    "stream": [b'"stream":false', b'"stream":true'],
    "max_tokens": [b'"max_tokens":1', b'"max_tokens":100000'],
    "tools": [b'"tools":[]', b'"tools":[{"type":"function"}]'],
    "n": [b'"n":1', b'"n":100'],
    "user": [b'"user":"a"', b'"user":"b"'],
    "response_format": [b'"response_format":{}', b'"response_format":{"type":"text"}'],
}


@pytest.mark.parametrize("field", SMUGGLED)
def test_a_field_named_twice_is_refused_by_name(field: str) -> None:
    """A provider may take the first of two, or not see through an escape, where we'd read the
    other.
    """
    others = [variants[0] for name, variants in SMUGGLED.items() if name in ("model", "messages") and name != field]
    for space in (b"", b" ", b"\n  "):
        for one in SMUGGLED[field]:
            for two in SMUGGLED[field]:
                raw = b"{" + (b"," + space).join([*others, one, two]) + b"}"
                with pytest.raises(RefusedError) as refused:
                    call(raw)
                assert refused.value.refusal.status == 400


@pytest.mark.parametrize(("path", "field"), [("/completions", "prompt"), ("/embeddings", "input")])
def test_a_prompt_or_input_named_twice_neither(path: str, field: str) -> None:
    raw = b'{"model":"m","%b":"bad","%b":"ok"}' % (field.encode(), field.encode())
    with pytest.raises(RefusedError) as refused:
        BY_ROUTE[path].read(raw, Hints())
    assert refused.value.refusal.message == f"{field} stands twice in one object"


@pytest.mark.parametrize(
    "name", ["Messages", "MODEL", "meſſages", "ｍｅｓｓａｇｅｓ", "Api_Base", "Stream", "Tools", "metaData"]
)
def test_a_name_that_only_looks_like_a_known_one_is_refused(name: str) -> None:
    with pytest.raises(RefusedError) as refused:
        call(json.dumps({"model": "m", "messages": [{}], name: "x"}, ensure_ascii=False).encode())
    assert refused.value.refusal.status == 400 and "in this case and spelling" in refused.value.refusal.message
    call(json.dumps({"model": "m", "messages": [{}], "Some_Other": 1, "strasse": 1, "straße": 2}).encode())


def test_the_usage_of_a_stream_is_asked_for_beside_the_clients_options() -> None:
    assert sent(stream=True)["stream_options"] == {"include_usage": True}
    assert sent(stream=True, stream_options=None)["stream_options"] == {"include_usage": True}
    assert sent(stream=True, stream_options={"include_usage": False, "x": 1})["stream_options"] == {
        "include_usage": True,
        "x": 1,
    }
    assert sent(stream=True, stream_options={"include_usage": True})["stream_options"] == {"include_usage": True}
    assert "stream_options" not in sent(stream=False)
    assert not call(stream=True).wants_usage
    assert call(stream=True, stream_options={"include_usage": True}).wants_usage


def test_a_stream_that_asks_for_its_usage_itself_is_forwarded_as_it_is() -> None:
    raw = b'{"model":"m","messages":[1],"stream":true,"stream_options":{"include_usage":true}}'
    assert CHAT.upstream_body(call(raw), "m") is raw


def test_what_is_for_the_gateway_stays_here() -> None:
    gateway = {name: ["x"] if name in ("tags", "guardrails", "fallbacks") else {} for name in fields_.GATEWAY_FIELDS}
    assert set(sent(**gateway)) == {"model", "messages"}


def test_metadata_reaches_a_provider_only_to_be_stored_and_without_ours() -> None:
    metadata = {"tags": ["a"], "spend_logs_metadata": {"x": 1}, "guardrails": [], "project": "p", "é": "\u00e9"}
    assert "metadata" not in sent(metadata=metadata)
    assert "metadata" not in sent(metadata=metadata, store=False)
    assert sent(metadata=metadata, store=True)["metadata"] == {"project": "p", "é": "é"}
    assert "metadata" not in sent(metadata={"tags": ["a"]}, store=True)
    assert "metadata" not in sent(metadata=None, store=True)


# ── tags and metadata ──


@pytest.mark.parametrize(
    ("in_metadata", "in_root", "in_header", "expected"),
    [
        (["a", "b"], None, None, ["a", "b"]),
        (None, None, " a, b ,,c", ["a", "b", "c"]),
        (["m"], None, "h,m", ["m", "h"]),
        (None, ["r"], "h", ["r"]),
        (["m"], ["r", "m"], "h", ["m", "r"]),
        (["m"], [], "h", ["m"]),
        (["a", "a"], None, "a,a", ["a"]),
        (None, None, " , ", []),
    ],
)
def test_tags_are_the_union_without_repeats_and_root_tags_replace_the_header(
    in_metadata: Any, in_root: Any, in_header: str | None, expected: list[str]
) -> None:
    fields: dict[str, Any] = {"metadata": {"tags": in_metadata}}
    if in_root is not None:
        fields["tags"] = in_root
    assert call(header_tags=in_header, **fields).tags == expected


def test_the_bodys_spend_metadata_wins_over_the_headers_key_by_key() -> None:
    read = call(header_metadata='{"a": 1, "b": {"x": 1}}', metadata={"spend_logs_metadata": {"b": 2}})
    assert read.spend_logs_metadata == {"a": 1, "b": 2}


def test_the_customer_is_the_user_or_the_metadatas_user_id() -> None:
    assert call(user="u", metadata={"user_id": "m"}).customer_id == "u"
    assert call(metadata={"user_id": "m"}).customer_id == "m"
    assert call(metadata={"user_id": 7}).customer_id == "7"
    assert call(user="").customer_id is None
    assert len(call(user="x" * 5000).customer_id or "") == 256


@pytest.mark.parametrize(
    ("fields", "bound"),
    [
        ({"max_tokens": 5}, 5),
        ({"max_completion_tokens": 7, "max_tokens": 5}, 7),
        ({"max_tokens": 5, "n": 3}, 15),
        ({"max_tokens": 5, "n": 0}, 5),
        ({"max_tokens": None}, None),
        ({}, None),
        ({"max_tokens": -1}, None),
        ({"max_tokens": 2**70}, None),
    ],
)
def test_the_most_that_may_come_out(fields: dict[str, Any], bound: int | None) -> None:
    assert call(**fields).max_output_tokens == bound


# ── refusals ──


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"model": 5}, "model"),
        ({"model": None}, "model"),
        ({"model": ""}, "model"),
        ({"model": "x" * 257}, "model"),
        ({"model": "a\x00b"}, "model"),
        ({"messages": "hi"}, "messages"),
        ({"messages": {}}, "messages"),
        ({"messages": []}, "messages"),
        ({"messages": None}, "messages"),
        ({"stream": "yes"}, "stream"),
        ({"stream_options": []}, "stream_options"),
        ({"stream": True, "stream_options": {"include_usage": "x"}}, "stream_options.include_usage"),
        ({"metadata": []}, "metadata"),
        ({"metadata": {"tags": {}}}, "metadata.tags"),
        ({"metadata": {"tags": ["a", None]}}, "metadata.tags[1]"),
        ({"metadata": {"tags": [""]}}, "metadata.tags"),
        ({"metadata": {"tags": ["x" * 257]}}, "metadata.tags"),
        ({"metadata": {"tags": ["a\x00"]}}, "metadata.tags"),
        ({"metadata": {"tags": [str(i) for i in range(65)]}}, "metadata.tags"),
        ({"metadata": {"spend_logs_metadata": []}}, "metadata.spend_logs_metadata"),
        ({"metadata": {"spend_logs_metadata": {"a": 2**64}}}, "metadata.spend_logs_metadata"),
        ({"metadata": {"spend_logs_metadata": {"a": "x" * 70_000}}}, "metadata.spend_logs_metadata"),
        ({"tags": [None]}, "tags[0]"),
        ({"user": 5}, "user"),
        ({"max_tokens": "5"}, "max_tokens"),
        ({"max_tokens": 1.5}, "max_tokens"),
        ({"max_completion_tokens": []}, "max_completion_tokens"),
        ({"max_tokens": 1, "n": "2"}, "n"),
        ({"api_base": "http://evil"}, "api_base"),
        ({"base_url": "http://evil"}, "base_url"),
        ({"api_key": "sk-x"}, "api_key"),
    ],
)
def test_each_wrong_field_is_named(fields: dict[str, Any], param: str) -> None:
    assert refusal(body(**fields)).param == param


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b" ",
        b"null",
        b"[]",
        b'"x"',
        b"{",
        b"{}",
        b'{"model":"m"}',
        b'{"model":"m","messages":[1]} x',
        b'{"model":"m","messages":[NaN]}',
        b'{"model":"m","messages":[Infinity]}',
        b'{"model":"m","messages":["\xff"]}',
        b'{"model":"\xff","messages":[1]}',
        b'{"\xff":1}',
        b'{"model":"m","messages":[1],"x":' + b"[" * 100_000 + b"]" * 100_000 + b"}",
        b'{"model":"m","messages":' + b"[" * 100_000,
        b'{"model":"m","messages":[1],"metadata":{"spend_logs_metadata":{"a":' + b"9" * 5_000 + b"}}}",
        b'{"model":"m","messages":[1],"metadata":{"spend_logs_metadata":{"a":1e999}}}',
        b'{"model":"m","messages":[1],"max_tokens":' + b"9" * 5_000 + b"}",
    ],
)
def test_what_is_no_request_is_refused(raw: bytes) -> None:
    refusal(raw)


@pytest.mark.parametrize("depth", [40, 200, 700, 900, 950, 980, 990])
def test_metadata_nested_too_deeply_for_the_ledger_to_read_is_refused(depth: int) -> None:
    nested = b'{"a":' * depth + b"1" + b"}" * depth
    raw = b'{"model":"m","messages":[1],"metadata":{"spend_logs_metadata":%b}}' % nested
    refusal(raw)
    refusal(body(), header_metadata=nested.decode())


def test_metadata_that_is_taken_can_be_recorded_and_read_again() -> None:
    nested: dict[str, Any] = {"a": [1, -1, 2**63, 1.5, None, True, "é😀", {"b": []}]}
    for _ in range(10):
        nested = {"x": nested}
    read = call(metadata={"spend_logs_metadata": nested})
    assert _recorded(read).spend_logs_metadata == nested


@pytest.mark.parametrize(
    "header", ["[]", "x", "", '{"a":', '{"a":"\\ud800"}', '{"a":"\udcff"}', '{"a":' + "9" * 5000 + "}"]
)
def test_a_metadata_header_that_is_no_object_is_refused(header: str) -> None:
    if header == "":
        call(header_metadata=header)
    else:
        assert "spend" in refusal(body(), header_metadata=header).param


def _recorded(read: Call) -> Any:
    """As it comes out of the ledger's end."""
    opened = Opened(
        new_request_id(), 1, "e", Caller(), "acompletion", "/chat/completions", read.model, DeploymentId("d"), "p", "u", None,
        read.stream, read.customer_id, read.tags, read.spend_logs_metadata,
    )  # fmt: skip
    return unpack(pack([encode_fact(opened)]))[0]


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(st.characters(exclude_categories=[]), max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
NAMES = st.sampled_from(
    [*fields_._decoders, *fields_.GATEWAY_FIELDS, "messages", "prompt", "input", "tools", "store", "\ud800"]
)


def _survives(raw: bytes, header_tags: str | None, header_metadata: str | None) -> None:
    """A request is read, forwarded and recorded, or refused with a reason."""
    for format in (CHAT, COMPLETIONS, EMBEDDINGS):
        try:
            read = format.read(raw, Hints(header_tags, header_metadata))
        except RefusedError as no:
            assert no.refusal.status == 400
            render(no.refusal)
            continue
        for upstream in (read.model, "other"):
            json.loads(format.upstream_body(read, upstream))
        _recorded(read)


HEADERS = st.none() | st.text(st.characters(exclude_categories=[]), max_size=20)


@given(raw=st.binary(max_size=200), tags=HEADERS.filter(lambda t: t is None or t.isprintable()))
@settings(max_examples=200, deadline=None)
def test_random_bytes_are_refused_and_never_raise_anything_else(raw: bytes, tags: str | None) -> None:
    _survives(raw, tags, None)


@given(fields=st.dictionaries(NAMES, JSON, max_size=6), metadata=HEADERS | JSON.map(json.dumps))
@settings(max_examples=400, deadline=None)
def test_random_json_is_read_or_refused_and_never_raises_anything_else(
    fields: dict[str, Any], metadata: str | None
) -> None:
    base = {"model": "m", "messages": MESSAGES, "prompt": "x", "input": ["x"]}
    _survives(json.dumps({**base, **fields}).encode("utf-8", "surrogatepass"), None, metadata)
    _survives(json.dumps({**base, **fields}, ensure_ascii=False).encode("utf-8", "surrogatepass"), None, metadata)


@given(raw=st.binary(max_size=60), at=st.integers(0, 200))
@settings(max_examples=200, deadline=None)
def test_a_good_request_with_junk_in_it_neither(raw: bytes, at: int) -> None:
    good = body(metadata={"tags": ["a"], "spend_logs_metadata": {"b": 1}}, stream=True, max_tokens=5)
    _survives(good[:at] + raw + good[at:], None, None)
    _survives(good[:at] + raw + good[at + len(raw) :], None, None)


@given(
    place=st.sampled_from(["content", "user", "tag", "name", "extra"]),
    half=st.sampled_from(["\\ud83d", "\\udc00", "\\uD83Dx"]),
)
def test_half_a_surrogate_pair_is_read_wherever_it_stands(place: str, half: str) -> None:
    """JavaScript cuts strings between the halves: each place has another of the decoder's words for
    it.
    """
    here = {each: half if each == place else "x" for each in ("content", "user", "tag", "name", "extra")}
    raw = (
        '{{"model":"m","messages":[{{"role":"user","name":"{name}","content":"{content}"}}],"user":"{user}",'
        '"metadata":{{"tags":["{tag}"],"k":"{extra}"}}}}'.format(**here)
    )
    read = CHAT.read(raw.encode(), Hints(None, None))
    json.loads(CHAT.upstream_body(read, "m"))
    _recorded(read)


@given(
    pieces=st.lists(
        st.sampled_from(
            ["\\ud83d", "\\ude00", "\\\\", "\\n", "a", "\\u00e9", "\\uD83D\\uDE00", "\\uDC00", "ud83d", "\\u0041"]
        )
    )
)
def test_lone_surrogates_become_the_replacement_character_and_nothing_else_changes(pieces: list[str]) -> None:
    """Against Python's own reader, whose strings may hold them."""
    text = json.loads('"' + "".join(pieces) + '"')
    mended = without_lone_surrogates(('"' + "".join(pieces) + '"').encode())
    assert msgspec.json.decode(mended) == "".join("\ufffd" if 0xD800 <= ord(c) < 0xE000 else c for c in text)
