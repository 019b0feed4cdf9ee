"""CONTROL into the audit log: one row a fact, in order, chained by hash."""

import asyncio
import hashlib
import struct

import msgspec
import pytest
from nats.aio.client import Client

from services.ledger import chain
from services.ledger.chain import EMPTY
from services.ledger.message import Message
from shared import streams, subjects
from shared.facts import ControlFact, encode_control
from tests.ledger.ledger_kit import Book, control, eventually, publish_control, running
from tests.ledger.servers import Nats


def message(seq: int, fact: ControlFact | bytes, subject: str = "control.team.team-a") -> Message:
    return Message(seq, seq, subject, fact if isinstance(fact, bytes) else encode_control(fact))


def test_each_link_covers_the_one_before_and_every_byte() -> None:
    facts = [message(4, control()), message(9, control())]
    rows = chain.extend(facts, EMPTY, {}).rows
    previous = b"\x00" * 32
    for number, (row, fact) in enumerate(zip(rows, facts, strict=True), 1):
        subject = fact.subject.encode()
        head = previous + struct.pack(">QQI", number, fact.seq, len(subject))
        expected = hashlib.sha256(head + subject + fact.data).digest()
        assert row[:4] == (number, previous, expected, fact.seq)
        previous = expected


def test_the_very_same_fact_again_is_a_duplicate_and_another_of_its_id_an_anomaly() -> None:
    fact = control()
    other = msgspec.structs.replace(fact, action="updated")
    chained = chain.extend([message(1, fact), message(2, fact), message(3, other)], EMPTY, {})
    assert (len(chained.rows), chained.duplicates, [a.kind for a in chained.anomalies]) == (2, 1, ["conflict"])
    chained = chain.extend([message(1, fact)], EMPTY, {fact.id: [encode_control(fact)]})
    assert (len(chained.rows), chained.duplicates) == (0, 1)


async def audited(book: Book, rows: int) -> None:
    async def check() -> bool:
        return await book.value("SELECT count(*) FROM audit_log") >= rows

    await eventually(check, f"{rows} audit rows")


async def chain_holds(book: Book) -> bool:
    previous = b"\x00" * 32
    for number, row in enumerate(await book.fetch("SELECT * FROM audit_log ORDER BY n"), 1):
        expected = chain.link(chain.Link(number - 1, previous), row["seq"], row["subject"], row["message"])
        if (row["n"], row["previous_sha256"], row["sha256"]) != (number, previous, expected.sha256):
            return False
        previous = row["sha256"]
    return True


async def test_facts_are_recorded_in_order_across_restarts(nats_server: Nats, client: Client, book: Book) -> None:
    facts = [control(at_ms=n) for n in range(1, 8)]
    async with running(nats_server.url, book.url):
        for fact in facts[:4]:
            await publish_control(client, fact)
        await audited(book, 4)
    for fact in facts[4:]:
        await publish_control(client, fact)
    async with running(nats_server.url, book.url):
        await audited(book, 7)
    rows = await book.fetch("SELECT fact_id, seq, message, after FROM audit_log ORDER BY n")
    assert [row["fact_id"] for row in rows] == [fact.id for fact in facts]
    assert [row["message"] for row in rows] == [encode_control(fact) for fact in facts]
    assert msgspec.json.decode(rows[0]["after"]) == facts[0].after
    assert await chain_holds(book)


async def test_an_unreadable_fact_is_in_the_log_all_the_same(nats_server: Nats, client: Client, book: Book) -> None:
    js = client.jetstream()
    await js.publish("control.key.x", b'{"type":"control.v1", nonsense')
    await js.publish("control.key.x", b"\xff\xfe")
    nul = encode_control(control(after={"note": "a\x00b", "k\x00": "\x00"}, on_behalf_of="\x00"))
    await js.publish("control.team.x", nul)
    await js.publish(
        "control.team.y", nul.replace(b'"before":null', b'"before":{"x":"\\ud800"}').replace(b"created", b"updated")
    )
    async with running(nats_server.url, book.url):
        await audited(book, 4)
    assert await book.anomalies() == ["unreadable", "unreadable", "unreadable"]
    assert [row["kind"] for row in await book.fetch("SELECT kind FROM audit_log ORDER BY n")] == [
        None,
        None,
        "team",
        None,
    ]
    assert await chain_holds(book)


async def test_a_control_stream_rebuilt_from_the_log_adds_nothing(
    nats_server: Nats, client: Client, book: Book
) -> None:
    facts = [control(entity_id=f"team-{n}") for n in range(4)]
    async with running(nats_server.url, book.url):
        for fact in facts:
            await publish_control(client, fact)
        await audited(book, 4)
    await client.jetstream().delete_stream(subjects.CONTROL_STREAM)
    await streams.ensure_control(client)
    for row in await book.fetch("SELECT subject, message FROM audit_log ORDER BY n"):
        await client.jetstream().publish(row["subject"], row["message"])
    async with running(nats_server.url, book.url):
        await publish_control(client, control(entity_id="team-new"))
        await audited(book, 5)
        await asyncio.sleep(0.1)
    assert await book.value("SELECT count(*) FROM audit_log") == 5
    assert await book.anomalies() == ["rewind"]
    assert await chain_holds(book)


@pytest.mark.parametrize("column", ["message", "seq", "subject"])
async def test_a_changed_row_breaks_the_chain(nats_server: Nats, client: Client, book: Book, column: str) -> None:
    async with running(nats_server.url, book.url):
        for n in range(3):
            await publish_control(client, control(entity_id=f"t{n}"))
        await audited(book, 3)
    assert await chain_holds(book)
    value = {"message": "'x'::bytea", "seq": "99", "subject": "'control.team.other'"}[column]
    await book.owner.execute("ALTER TABLE audit_log DISABLE TRIGGER ALL")
    await book.owner.execute(f"UPDATE audit_log SET {column} = {value} WHERE n = 2")
    assert not await chain_holds(book)
