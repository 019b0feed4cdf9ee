"""Whatever comes out of the stream, the book takes it, says what was wrong with it, and goes on.
Properties, on a real PostgreSQL.
"""

from typing import Any

import msgspec
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from services.ledger import sanitize
from services.ledger.facts_in import Batch
from services.ledger.message import Message
from shared.billing import Price, Usage
from shared.facts import Caller, GuardrailOutcome, Opened, Refused, Settled, encode_fact, pack
from shared.ids import DeploymentId, KeyDigest, RequestId, new_request_id
from tests.ledger.ledger_kit import ALICE, Book, now_ms, packed, settled

POSTED = settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])

texts = st.one_of(
    st.text(max_size=20),
    st.text(alphabet="\x00aé\U0001f600\u202e", min_size=1, max_size=8),
    st.integers(200, 3_000).map(lambda n: "\U0001f600" * n),
    st.just("\x00" * 300),
)
maybe_texts = st.none() | texts
numbers = st.one_of(st.integers(-(2**63), 2**63 - 1), st.integers(0, 10**9), st.just(2**64 - 1))
json_values: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | numbers | st.floats(allow_nan=True, allow_infinity=True) | texts | st.binary(max_size=5)
    | st.datetimes(),
    lambda inner: st.lists(inner, max_size=3)
    | st.dictionaries(texts | st.integers(-5, 5), inner, max_size=3),
    max_leaves=8,
)  # fmt: skip
metadata = st.dictionaries(texts, json_values, max_size=3)
callers = st.builds(
    Caller, maybe_texts.map(lambda t: None if t is None else KeyDigest(t)), maybe_texts, maybe_texts, maybe_texts,
    maybe_texts, maybe_texts, texts,
)  # fmt: skip
prices = st.none() | st.builds(Price, numbers, numbers, st.none() | numbers, st.none() | numbers, numbers, texts, texts)
outcomes = st.lists(
    st.builds(GuardrailOutcome, texts, texts, texts, st.floats(allow_nan=True, allow_infinity=True)), max_size=2
)
ids = st.one_of(st.builds(new_request_id), texts.map(RequestId), st.uuids().map(lambda u: RequestId(str(u))))
openeds = st.builds(
    Opened, ids, numbers, texts, callers, texts, texts, texts, texts.map(DeploymentId), texts, texts, prices, st.booleans(),
    maybe_texts, st.lists(texts, max_size=4), metadata, maybe_texts, maybe_texts, st.lists(texts, max_size=2),
    st.none() | numbers, maybe_texts, numbers,
)  # fmt: skip
usages = st.builds(Usage, numbers, numbers, numbers, numbers, numbers, texts)
settleds = st.builds(
    Settled, openeds, numbers, texts, numbers, usages, st.none() | numbers, st.none() | numbers, maybe_texts, maybe_texts,
    numbers, maybe_texts, outcomes,
)  # fmt: skip
refuseds = st.builds(
    Refused, ids, numbers, texts, callers, texts, texts, numbers, texts, texts, maybe_texts, st.lists(texts, max_size=3),
    maybe_texts, maybe_texts, maybe_texts, outcomes, texts, metadata,
)  # fmt: skip


async def post_all(book: Book, *messages: bytes) -> tuple[list[str], int]:
    """Post as one batch; kinds of anomalies, and rows that went in."""
    before = await book.value("SELECT coalesce(max(n), 0) FROM anomalies")
    written = await book.post(*messages)
    kinds = [r["kind"] for r in await book.fetch("SELECT kind FROM anomalies WHERE n > $1 ORDER BY n", before)]
    assert await book.rollups_agree()
    return kinds, written.rows


@POSTED
@given(facts=st.lists(openeds | settleds | refuseds, min_size=1, max_size=4))
async def test_any_fact_is_recorded_or_set_aside(book: Book, facts: list[Any]) -> None:
    ends = sum(not isinstance(fact, Opened) for fact in facts)
    good = settled()
    kinds, rows = await post_all(book, packed(*facts, good))
    assert "rejected" not in kinds, "PostgreSQL refused what should have been cleaned"
    assert set(kinds) <= {"invalid_id", "out_of_range", "conflict"}
    assert 1 <= rows <= ends + 1


@POSTED
@given(data=st.binary(max_size=200))
async def test_any_bytes_are_set_aside(book: Book, data: bytes) -> None:
    kinds, rows = await post_all(book, data, packed(settled()))
    assert rows == 1
    assert set(kinds) <= {"unreadable"}


@POSTED
@given(data=st.data())
async def test_a_damaged_message_is_set_aside_and_its_neighbours_recorded(book: Book, data: st.DataObject) -> None:
    whole = bytearray(packed(settled(), settled()))
    for _ in range(data.draw(st.integers(1, 6))):
        whole[data.draw(st.integers(0, len(whole) - 1))] = data.draw(st.integers(0, 255))
    kinds, rows = await post_all(book, bytes(whole), packed(settled()))
    assert "rejected" not in kinds
    assert rows >= 1


def test_deep_and_strange_metadata() -> None:
    deep: Any = "x"
    for _ in range(5_000):
        deep = [deep]
    for value in ({"a": float("nan")}, {"a": msgspec.msgpack.Ext(5, b"x")}, {(1, 2): 3}, deep, {"\x00": ["\x00"]}):
        text, _ = sanitize.json_text(value)
        assert "\\u0000" not in text


async def test_metadata_as_deep_as_it_can_be_read_is_stored(book: Book) -> None:
    for depth in (50, 400, 900, 3_000):
        raw = encode_fact(settled())
        empty = raw.index(b"\x80", raw.index(b"app"))
        nested = raw[:empty] + b"\x81\xa1k" + b"\x91" * depth + b"\xc0" + raw[empty + 1 :]
        await book.post(pack([nested]), settled())
    assert set(await book.anomalies()) <= {"unreadable"}
    assert (await book.spend())[0] >= 4


async def test_altered_fields_are_named_and_two_long_values_stay_two(book: Book) -> None:
    long_tags = ["t" * 400 + str(n) for n in range(2)]
    facts = [
        settled(Opened(
            new_request_id(), now_ms(), "e", ALICE, "acompletion", "/chat/completions", "m\x00odel", DeploymentId("d"),
            "openai", "gpt", None, tags=[tag], spend_logs_metadata={"k\x00": "v\x00"}, expires_at_ms=1,
        ))
        for tag in long_tags
    ]  # fmt: skip
    await book.post(*facts)
    rows = await book.fetch("SELECT model, tags, altered, spend_logs_metadata FROM request_book")
    assert {row["model"] for row in rows} == {"m\N{REPLACEMENT CHARACTER}odel"}
    assert all(set(row["altered"]) == {"model", "tags", "spend_logs_metadata"} for row in rows)
    assert len({row["tags"][0] for row in rows}) == 2
    assert all(len(row["tags"][0]) == sanitize.TEXT_CHARACTERS_MAX for row in rows)
    assert await book.anomalies() == []
    assert await book.rollups_agree()


@given(value=texts)
def test_cleaned_text_is_storable_and_stays_what_it_is(value: str) -> None:
    cleaned = sanitize.text(value)
    assert sanitize.storable((cleaned,))
    assert sanitize.text(cleaned) == cleaned
    if sanitize.storable((value,)):
        assert cleaned == value


def test_reading_never_raises_on_a_truncated_fact() -> None:
    whole = packed(settled())
    for end in range(len(whole)):
        batch = Batch(now_ms())
        batch.add(Message(1, 1, "traffic.0", whole[:end]))
        assert len(batch.anomalies) + len(batch.ended) == 1 or end < 6
