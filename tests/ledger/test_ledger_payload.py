"""Prompts and answers: recorded once, no evidence, and put together as they are shown."""

from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest

from services.ledger.book import Position, PositionMovedError
from services.ledger.message import Message
from services.ledger.payload import PayloadPoster, PayloadTally
from services.ledger.retention import Terms
from shared import payloads
from shared.facts import pack
from shared.ids import new_request_id
from shared.payloads import Payload
from tests.ledger.ledger_kit import ALICE, Book, now_ms
from tests.ledger.retention_kit import NOW, TODAY, at, hold, run


def payload(**changed: Any) -> Payload:
    fields: dict[str, Any] = {
        "id": new_request_id(), "at_ms": now_ms(), "caller": ALICE, "kept": True, "request": b'{"messages":[]}', "answer": b"{}",
    }  # fmt: skip
    return Payload(**{**fields, **changed})


def message(seq: int, *found: Payload, data: bytes | None = None) -> Message:
    return Message(seq, seq, "payload.0", pack([payloads.encode(each) for each in found]) if data is None else data)


async def test_each_comes_in_once_and_what_cant_be_read_stops_nobody(book: Book) -> None:
    poster = PayloadPoster(book.database)
    tally = PayloadTally(await book.database.writer())
    known = await tally.position()
    one, two = payload(), payload(request=b"\x00\xff", kept=False)
    old = payload(id="018bcfe5-687b-7000-8000-000000000000")  # 2023: nobody sends that now
    batch = await poster.read([message(1, one, one), message(2, data=b"junk"), message(3, two, old)])
    await poster.post(tally, batch, known)
    assert await tally.position() == Position(3, 3)
    rows = await book.fetch("SELECT id::text, kept, request, user_id FROM request_payload ORDER BY id")
    assert [tuple(row.values()) for row in rows] == sorted(
        [(one.id, True, one.request, "alice"), (two.id, False, two.request, "alice")]
    )
    assert await book.anomalies() == ["unreadable"]
    again = await poster.read([message(4, payload(id=one.id, request=b"other"))])
    await poster.post(tally, again, Position(3, 3))
    assert await book.value("SELECT request FROM request_payload WHERE id = $1::uuid", one.id) == one.request
    with pytest.raises(PositionMovedError):
        await poster.post(tally, again, Position(3, 3))
    today = datetime.now(UTC).date()
    assert await book.value("SELECT to_regclass($1)::text", f"request_payload_{today:%Y%m%d}") is not None
    tally.terminate()


def test_a_streams_events_are_put_together() -> None:
    def event(**delta: Any) -> bytes:
        body = {"id": "c", "object": "chat.completion.chunk", "choices": [{"index": 0, "delta": delta}]}
        return b"data: " + msgspec.json.encode(body) + b"\n\n"

    call = {"index": 0, "id": "t", "function": {"name": "f", "arguments": '{"a"'}}
    events = (
        event(role="assistant", content="Hel") + event(content="lo") + event(tool_calls=[call])
        + event(tool_calls=[{"index": 0, "function": {"arguments": ":1}"}}])
        + b'data: {"choices":[{"index":0,"delta":{},"finish_reason":"stop"}],"usage":null}\n\n'
        + b'data: {"choices":[],"usage":{"total_tokens":3}}\n\ndata: [DONE]\n\n'
    )  # fmt: skip
    made = payloads.assembled(events)
    assert made == {
        "id": "c", "object": "chat.completion", "usage": {"total_tokens": 3},
        "choices": [{"index": 0, "finish_reason": "stop", "message": {
            "role": "assistant", "content": "Hello", "tool_calls": [
                {"index": 0, "id": "t", "function": {"name": "f", "arguments": '{"a":1}'}}]}}],
    }  # fmt: skip
    other = b'data: {"type":"response.created"}\n\n'
    assert payloads.assembled(other) == other.decode()


@pytest.mark.parametrize(
    ("request_", "answer", "cut", "wanted"),
    [
        (b'{"input":"a"}', b'{"data":[]}', [], ("a", {"data": []})),
        (b'{"prompt":["a"]}', b"", [], (["a"], {})),
        (b'{"messages":[{"co', b"{", ["request", "answer"], ('{"messages":[{"co', "{")),
        (b"", b"\xff", [], ({}, "\ufffd")),
    ],
)
def test_what_is_shown(request_: bytes, answer: bytes, cut: list[str], wanted: Any) -> None:
    shown = payloads.shown(request_, answer, cut, stream=False)
    assert (shown["messages"], shown["response"]) == wanted and shown["truncated"] == cut


async def test_prompts_end_on_their_own_term(book: Book) -> None:
    """Calls stay; a held call's prompt stays with it."""
    poster, tally = PayloadPoster(book.database), PayloadTally(await book.database.writer())
    calls = {back: at(TODAY - timedelta(days=back), tags=[f"t{back}"]) for back in (0, 3, 9, 20)}
    await book.post(*calls.values())
    batch = await poster.read([message(n, payload(id=call.opened.id)) for n, call in enumerate(calls.values(), 1)])
    await poster.post(tally, batch, await tally.position())
    tally.terminate()

    async def left() -> list[int]:
        return [
            (TODAY - row["day"]).days for row in await book.fetch("SELECT day FROM request_payload ORDER BY day DESC")
        ]

    assert await left() == [0, 3, 9, 20]
    await hold(book, "tag", "t20")
    await run(book, Terms(payload=5), NOW, [])
    assert await left() == [0, 3, 20]
    assert await book.value("SELECT count(*) FROM request_log") == 4
    drops = await book.fetch("SELECT source, day FROM retention_drop")
    assert [tuple(row.values()) for row in drops] == [("request_payload", TODAY - timedelta(days=9))]
