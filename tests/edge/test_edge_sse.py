"""A model's stream, read while it passes: however it is cut, the client gets the same bytes and the
book the same numbers.
"""

import itertools
import json
import time
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.edge.formats import events as sse
from services.edge.formats.events import EventTooLargeError, Reader, data_of, split_events
from shared.billing import Usage
from tests.edge.fakes import DONE, USAGE, USAGE_EVENT, delta
from tests.support.pace import at_pace

PROVIDED = Usage(10, 5, 0, 0, 0, "provider")


def event(body: Any, end: bytes = b"\n\n") -> bytes:
    return b"data: " + json.dumps(body).encode() + end


ROLE = event(
    {"id": "chatcmpl-p", "model": "gpt-x-1", "choices": [{"index": 0, "delta": {"role": "assistant", "content": ""}}]}
)
STOP = event(
    {
        "id": "chatcmpl-p",
        "model": "gpt-x-1",
        "choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}],
        "usage": None,
    }
)

ANONYMOUS = event({"id": "", "model": "", "choices": []})

STREAMS: dict[str, tuple[bytes, bytes, Usage | None]] = {
    # name: what the provider sends, what the client gets when we asked for the usage, what was
    # learned
    "openai": (ROLE + delta("Hi") + delta(" you") + STOP + USAGE_EVENT + DONE, ROLE + delta("Hi") + delta(" you") + STOP, PROVIDED),
    "no usage": (ROLE + delta("Hi") + DONE, ROLE + delta("Hi"), None),
    "usage with choices": (
        delta("Hi", usage={**USAGE, "completion_tokens": 1}) + delta(" you", usage=USAGE) + DONE,
        delta("Hi", usage={**USAGE, "completion_tokens": 1}) + delta(" you", usage=USAGE),
        PROVIDED,
    ),
    "the end in a text": (
        delta("[DONE]") + delta("data: [DONE]\n\n") + delta('"usage": {"prompt_tokens": 1}') + USAGE_EVENT + DONE,
        delta("[DONE]") + delta("data: [DONE]\n\n") + delta('"usage": {"prompt_tokens": 1}'),
        PROVIDED,
    ),
    "events without data": (
        b"retry: 3000\n\nid: 7\n\nevent: ping\n\n" + ROLE + b": ping\n\n" + delta("retry: 1") + USAGE_EVENT + DONE,
        ROLE + b": ping\n\n" + delta("retry: 1"),
        PROVIDED,
    ),
    "data in several lines": (
        b'data: {"id":"chatcmpl-p","model":"gpt-x-1",\ndata: "choices":[]}\n\n' + USAGE_EVENT + DONE,
        b'data: {"id":"chatcmpl-p","model":"gpt-x-1",\ndata: "choices":[]}\n\n',
        PROVIDED,
    ),
    "a byte order mark": (
        b"\xef\xbb\xbf" + USAGE_EVENT + ROLE + delta("Hi") + DONE,
        ROLE + delta("Hi"),
        PROVIDED,
    ),
    "CRLF": (
        (ROLE + delta("Hi") + USAGE_EVENT + DONE).replace(b"\n", b"\r\n"),
        (ROLE + delta("Hi")).replace(b"\n", b"\r\n"),
        PROVIDED,
    ),
    "CR": ((ROLE + delta("Hi") + USAGE_EVENT + DONE).replace(b"\n", b"\r"), (ROLE + delta("Hi")).replace(b"\n", b"\r"), PROVIDED),
    "comments": (
        b": PROCESSING\n\n" + ROLE + b": keep-alive\n\n: [DONE]\n\n" + delta("Hi") + USAGE_EVENT + DONE,
        b": PROCESSING\n\n" + ROLE + b": keep-alive\n\n: [DONE]\n\n" + delta("Hi"),
        PROVIDED,
    ),
    "no blank line at the end": (delta("Hi") + USAGE_EVENT + b"data: [DONE]", delta("Hi"), PROVIDED),
    "ends without DONE": (delta("Hi") + USAGE_EVENT, delta("Hi"), PROVIDED),
    "no space after the colon": (
        delta("Hi").replace(b"data: ", b"data:") + USAGE_EVENT.replace(b"data: ", b"data:") + b"data:[DONE]\n\n",
        delta("Hi").replace(b"data: ", b"data:"),
        PROVIDED,
    ),
    "data over several lines": (
        b'event: x\ndata: {"id": "chatcmpl-p", "model": "gpt-x-1",\ndata: "choices": [], "usage":\ndata:  {"prompt_tokens": 10,\n'
        b'data: "completion_tokens": 5}}\n\n' + DONE,
        b"",
        PROVIDED,
    ),
    "event names and ids": (b"event: m\nid: 1\n" + delta("Hi") + b"id: 2\n" + USAGE_EVENT + DONE, b"event: m\nid: 1\n" + delta("Hi"), PROVIDED),
    "extra blank lines": (
        b"\n\n\n" + delta("Hi") + b"\n" + delta("a") + USAGE_EVENT + DONE,
        b"\n\n\n" + delta("Hi") + b"\n" + delta("a"),
        PROVIDED,
    ),
    "junk that isn't JSON": (b"data: {oops\n\n" + delta("Hi") + USAGE_EVENT + DONE, b"data: {oops\n\n" + delta("Hi"), PROVIDED),
    "bytes that aren't text": (
        b'data: {"id": "\xff"}\n\n' + delta("Hi") + b'data: {"id": "\xff", "usage": {}}\n\n' + USAGE_EVENT + DONE,
        b'data: {"id": "\xff"}\n\n' + delta("Hi") + b'data: {"id": "\xff", "usage": {}}\n\n',
        PROVIDED,
    ),
    "an empty id first": (ANONYMOUS + delta("Hi") + USAGE_EVENT + DONE, ANONYMOUS + delta("Hi"), PROVIDED),
    "nothing": (b"", b"", None),
}  # fmt: skip


def read(pieces: list[bytes], *, hide: bool = True) -> tuple[bytes, Reader]:
    """As the exchange does it."""
    reader = Reader(hide_usage=hide)
    out = b""
    for piece in pieces:
        if reader.done:
            break
        out += reader.feed(piece)
    return out + reader.finish(), reader


def learned(reader: Reader) -> tuple[Any, ...]:
    return reader.usage, reader.response_id, reader.response_model


@pytest.mark.parametrize("name", STREAMS)
def test_the_client_gets_everything_but_what_only_we_asked_for(name: str) -> None:
    sent, expected, usage = STREAMS[name]
    out, reader = read([sent])
    assert out == expected
    assert reader.usage == usage
    assert reader.done == (b"DONE]" in sent[-10:])
    assert b"data: [DONE]\n\n" not in out.replace(rb"\n", b"")
    if sent:
        assert (reader.response_id, reader.response_model) == ("chatcmpl-p", "gpt-x-1")


@pytest.mark.parametrize("name", STREAMS)
def test_cut_at_every_byte_it_is_the_same(name: str) -> None:
    sent, _, _ = STREAMS[name]
    whole, reader = read([sent])
    for cut in range(len(sent) + 1):
        out, again = read([sent[:cut], sent[cut:]])
        assert (out, learned(again)) == (whole, learned(reader)), f"cut at {cut}"
    out, again = read([sent[i : i + 1] for i in range(len(sent))])
    assert (out, learned(again)) == (whole, learned(reader)), "byte by byte"


TEXTS = st.lists(st.sampled_from([*'ab"\\\n\r{}[]: é😀\x00', "[DONE]", '"usage":{', "\n\n"]), max_size=8).map("".join)
EVENTS = st.lists(
    st.one_of(
        TEXTS.map(lambda text: delta(text)),
        st.just(USAGE_EVENT),
        st.just(b": keep-alive\n\n"),
        st.just(b"data: {broken\n\n"),
        TEXTS.map(lambda text: delta(text, usage=USAGE)),
    ),
    max_size=6,
)


@given(
    events=EVENTS,
    cuts=st.lists(st.integers(0, 2000), max_size=8),
    newline=st.sampled_from([b"\n", b"\r\n"]),
    hide=st.booleans(),
)
@settings(max_examples=300, deadline=None)
def test_cut_anywhere_it_is_the_same(events: list[bytes], cuts: list[int], newline: bytes, hide: bool) -> None:
    sent = b"".join([*events, DONE]).replace(b"\n", newline)
    whole, reader = read([sent], hide=hide)
    borders = [0, *sorted(min(cut, len(sent)) for cut in cuts), len(sent)]
    out, again = read([sent[a:b] for a, b in itertools.pairwise(borders)], hide=hide)
    assert (out, learned(again)) == (whole, learned(reader))
    kept = [e.replace(b"\n", newline) for e in events if not (hide and e == USAGE_EVENT)]
    assert out == b"".join(kept)
    assert reader.usage == (PROVIDED if any(b'"usage": {"prompt' in e for e in events) else None)


@given(
    junk=st.lists(
        st.binary(max_size=40) | st.sampled_from([b"data: ", b"\n\n", b'{"usage":{', b"[DONE]", b"\r"]), max_size=20
    )
)
@settings(max_examples=200, deadline=None)
def test_junk_passes_and_never_raises(junk: list[bytes]) -> None:
    out, reader = read(junk)
    for part in reader.passed():
        data_of(part)
    if b"usage" not in b"".join(junk) and b"[DONE]" not in b"".join(junk):
        assert out.startswith(b"".join(junk).rstrip(b"\r\n \t\x0b\x0c"))


def test_a_client_that_asked_for_the_usage_gets_it() -> None:
    sent, _, usage = STREAMS["openai"]
    out, reader = read([sent], hide=False)
    assert out == sent.removesuffix(DONE)
    assert reader.usage == usage


def test_zeros_stand_for_nothing_as_nothing_does() -> None:
    zero = {"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0}
    for empty in (zero, {}, {"prompt_tokens": None}, {"details": 1}):
        assert read([delta("", usage=empty)])[1].usage is None


def test_what_is_held_back_is_an_event_that_is_not_whole_yet() -> None:
    reader = Reader(hide_usage=True)
    assert reader.feed(delta("a") + b"data: {") == delta("a")
    assert reader.feed(b"}") == b""
    assert reader.feed(b"\n") == b""
    assert reader.feed(b"\n" + delta("b")) == b"data: {}\n\n" + delta("b")


@pytest.mark.parametrize("last", [delta("c"), delta("c").rstrip()])
def test_without_usage_everything_passed_is_there_to_be_counted(last: bytes) -> None:
    out, reader = read([delta("a"), delta("b") + last])
    assert b"".join(reader.passed()) == out


def test_what_is_kept_for_counting_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sse, "KEPT_BYTES_MAX", 1_000)
    reader = Reader(hide_usage=True)
    for _ in range(1_000):
        reader.feed(delta("x" * 50))
    assert sum(map(len, reader.passed())) < 2_000


def test_an_event_without_end_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sse, "EVENT_BYTES_MAX", 10_000)
    reader = Reader(hide_usage=True)
    with pytest.raises(EventTooLargeError):
        for _ in range(20):
            reader.feed(b"x" * 1_000)


@pytest.mark.alone
def test_a_large_event_in_many_pieces_costs_little() -> None:
    """An image of 4 MB in pieces of 64 kB: looked through once, not once a piece."""
    big = event({"id": "x", "b64_json": "A" * 4_000_000})
    pieces = [big[i : i + 65_536] for i in range(0, len(big), 65_536)]
    reader = Reader(hide_usage=True)
    before = time.process_time()
    out = b"".join(reader.feed(piece) for piece in pieces)
    assert out == big
    assert time.process_time() - before < at_pace(0.5)


@pytest.mark.parametrize("newline", [b"\n", b"\r\n", b"\r"])
def test_events_are_split_without_losing_a_byte(newline: bytes) -> None:
    data = (ROLE + delta("a") + b": c\n\n" + DONE).replace(b"\n", newline)
    assert len(split_events(data)) == 4
    assert b"".join(split_events(data)) == data
    assert split_events(data + b"rest")[-1] == b"rest"


# ── answers ──


@pytest.mark.parametrize("end", [b"", DONE])
@pytest.mark.parametrize(
    "event",
    [
        b'event: error\ndata: {"message":"overloaded"}\n\n',
        b"id: 4\nevent:error\ndata: out of memory\n\n",
        b'event: error\ndata: {"message":\ndata: "overloaded"}\n\n',
    ],
)
def test_an_event_named_error_is_one_whatever_it_says(event: bytes, end: bytes) -> None:
    reader = Reader(hide_usage=True)
    assert reader.feed(delta("Hi") + event + end) == delta("Hi") + event
    assert reader.failed and reader.error == data_of(event)
    quoted = Reader(hide_usage=True)
    quoted.feed(delta("\\nevent: error\\ndata: {}") + DONE)
    assert not quoted.failed
