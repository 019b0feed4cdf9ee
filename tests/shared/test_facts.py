"""Facts: what is written is read back, and a field's place never changes."""

import typing
from typing import Any

import msgspec
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from shared import billing, facts, grant, requests
from shared.facts import Caller, ControlFact, Opened, Refused, Settled, decode_control, encode_control

ORDER: dict[type[msgspec.Struct], str] = {
    facts.Caller: "key_sha256 key_alias team_id team_alias user_id organization_id role",
    facts.Opened: "id at_ms edge_id caller call_type route model deployment_id provider upstream_model price stream customer_id"
    " tags spend_logs_metadata requester_ip user_agent guardrails max_cost_picousd litellm_call_id expires_at_ms"
    " session_id log_off",
    facts.GuardrailOutcome: "name stage action duration_ms cost_picousd rules",
    facts.Settled: "opened ended_at_ms outcome status usage cost_picousd first_byte_at_ms response_id response_model attempts"
    " error_code guardrail_outcomes flags",
    facts.Refused: "id at_ms edge_id caller route model status error_code refused_by customer_id tags requester_ip user_agent"
    " litellm_call_id guardrail_outcomes call_type spend_logs_metadata",
    billing.Price: "input_picousd output_picousd cache_read_picousd cache_write_picousd request_picousd source version rates",
    billing.Rate: "unit picousd above_tokens service",
    billing.Usage: "input_tokens output_tokens cached_tokens cache_write_tokens reasoning_tokens source cache_write_1h_tokens"
    " audio_input_tokens cached_audio_tokens image_input_tokens audio_output_tokens image_output_tokens input_characters"
    " output_characters input_ms output_ms input_images images input_pixels pixels searches search_context service flags",
    grant.Candidate: "deployment_id provider upstream_model price weight order",
    grant.GuardrailRef: "name stages on_error deadline_ms window_characters",
    requests.ScreenRequest: "guardrails stage texts call_type customer_id",
    requests.Redaction: "text start end replacement",
    requests.Verdict: "action outcomes message status redactions",
    requests.CountRequest: "model texts",
    requests.CountReply: "tokens",
    requests.Fault: "code",
}
"""The wire is arrays: a field's position is its name. Append here what is appended there; never
insert, remove or reorder.
"""


@pytest.mark.parametrize("kind", ORDER, ids=lambda kind: kind.__name__)
def test_fields_are_only_ever_appended(kind: type[msgspec.Struct]) -> None:
    pinned = tuple(ORDER[kind].split())
    assert kind.__struct_config__.array_like
    assert kind.__struct_fields__[: len(pinned)] == pinned
    for field in msgspec.structs.fields(kind)[len(pinned) :]:
        assert not field.required, f"{field.name} was appended without a default: older facts have none"


def test_tags_stay() -> None:
    tags = {kind: kind.__struct_config__.tag for kind in (Opened, Settled, Refused, ControlFact, requests.Fault)}
    assert list(tags.values()) == ["opened.v1", "settled.v1", "refused.v1", "control.v1", "fault.v1"]


text = st.text(max_size=8)
objects = st.dictionaries(
    text, st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.lists(text, max_size=2), max_size=2
)
SCALARS: dict[Any, st.SearchStrategy[Any]] = {
    str: text,
    int: st.integers(0, 2**53),
    float: st.floats(0, 1e6),
    bool: st.booleans(),
    type(None): st.none(),
    dict[str, Any]: objects,
}


def of(kind: Any) -> st.SearchStrategy[Any]:
    """Values of a field's type; of a Struct with every field filled."""
    kind = getattr(kind, "__supertype__", kind)
    if kind in SCALARS:
        return SCALARS[kind]
    if isinstance(kind, type) and issubclass(kind, msgspec.Struct):
        return st.builds(kind, **{field.name: of(field.type) for field in msgspec.structs.fields(kind)})
    if typing.get_origin(kind) is list:
        return st.lists(of(typing.get_args(kind)[0]), max_size=2)
    if typing.get_origin(kind) is tuple:
        first, *rest = typing.get_args(kind)
        if rest == [...]:
            return st.lists(of(first), max_size=2).map(tuple)
        return st.tuples(of(first), *map(of, rest))
    return st.one_of(*map(of, typing.get_args(kind)))


opened = of(Opened)


@settings(max_examples=50)
@given(st.lists(opened | of(Settled) | of(Refused), max_size=3))
def test_a_message_is_the_list_of_its_facts(some: list[facts.TrafficFact]) -> None:
    message = facts.pack([facts.encode_fact(fact) for fact in some])
    assert facts.unpack(message) == some
    assert msgspec.msgpack.decode(message) == [msgspec.msgpack.decode(facts.encode_fact(fact)) for fact in some]


@settings(max_examples=50)
@given(of(Settled))
def test_a_fact_put_together_from_its_parts_is_the_same_bytes(fact: Settled) -> None:
    fields = [getattr(fact.opened, name) for name in Opened.__struct_fields__]
    heading, rest = facts.encode_heading(*fields[2:11]), facts.encode_rest_of_opened(*fields[11:])
    opened = facts.encode_opened(fact.opened.id, fact.opened.at_ms, heading, rest)
    assert opened == facts.encode_fact(fact.opened)
    more = [getattr(fact, name) for name in Settled.__struct_fields__[1:]]
    assert facts.encode_settled(opened, *more) == facts.encode_fact(fact)


@settings(max_examples=50)
@given(of(ControlFact))
def test_a_control_fact_is_json(fact: ControlFact) -> None:
    written = encode_control(fact)
    assert decode_control(written) == fact
    assert msgspec.json.decode(written)["type"] == "control.v1"


def test_a_newer_writer_is_understood_and_an_older_one_too() -> None:
    """Unknown trailing fields are passed over; missing trailing ones get their default."""
    fact = Refused("id", 1, "edge", Caller(), "/x", "m", 400, "code", "policy")
    fields = msgspec.msgpack.decode(facts.encode_fact(fact))
    newer, older = msgspec.msgpack.encode([*fields, "new", [1, {"a": 2}]]), msgspec.msgpack.encode(fields[:10])
    assert facts.unpack(facts.pack([newer, older])) == [fact, fact]


@given(st.binary(max_size=60))
@example(b"\x90")
@example(b"\xdd\x00\x00\x00\x00")
def test_junk_is_a_decode_error(junk: bytes) -> None:
    """Bytes that nobody wrote on purpose hold no fact: they are refused, or are an empty list,
    which is no junk.
    """
    try:
        assert facts.unpack(junk) == []
    except msgspec.DecodeError:
        pass
    with pytest.raises(msgspec.DecodeError):
        decode_control(junk)


@given(opened, st.data())
def test_a_damaged_message_is_read_or_refused(fact: Opened, data: st.DataObject) -> None:
    message = bytearray(facts.pack([facts.encode_fact(fact)]))
    for _ in range(data.draw(st.integers(1, 4))):
        message[data.draw(st.integers(0, len(message) - 1))] = data.draw(st.integers(0, 255))
    try:
        facts.unpack(bytes(message))
    except msgspec.DecodeError:
        pass


def test_not_text_and_nested_without_end_are_decode_errors() -> None:
    bad_text = facts.pack([b"\x93\xa9opened.v1\xa2\xff\xfe\x01"])
    deep = facts.pack([b"\x93\xa9opened.v1" + b"\x91" * 100_000])
    for message in (bad_text, deep):
        with pytest.raises(msgspec.DecodeError):
            facts.unpack(message)
    for message in (b'{"type":"control.v1","id":"\xff"}', b'{"type":"control.v1","before":{"a":' + b"[" * 100_000):
        with pytest.raises(msgspec.DecodeError):
            decode_control(message)
