"""What is hashed when it is written comes out the same when it is read; and what a chain and its
rows prove, without a database.
"""

import asyncio
import hashlib
import struct
import uuid
from datetime import date
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.ledger import batch_chain, chain, evidence, rows
from services.ledger.batch_chain import Made
from services.ledger.chain import EMPTY, Link
from services.ledger.evidence import Chunk, Walk
from services.ledger.facts_in import Batch
from services.ledger.message import Message
from services.ledger.rows import settled_row
from shared.facts import Settled, encode_fact, pack
from shared.ids import new_request_id
from tests.ledger.ledger_kit import Book, Told, findings, now_ms, settled
from tests.ledger.servers import Postgres
from tests.ledger.test_ledger_junk import POSTED, openeds, refuseds, settleds


@pytest.fixture(scope="module")
def odd_url(postgres: Postgres) -> Any:
    url = asyncio.run(postgres.new_database())
    yield url
    asyncio.run(postgres.drop_database(url))


async def all_verify(url: str, capsys: Told, facts: list[Any], **cells: Any) -> None:
    """Post the facts, with these cells in place of their own, and verify."""
    book = Book(url)
    await book.open()
    try:
        batch = Batch(now_ms())
        known = await book.position()
        batch.add(Message(known.seq + 1, known.seq + 1, "traffic.0", pack([encode_fact(fact) for fact in facts])))
        for request_id, ended in batch.ended.items():
            row = list(ended.row)
            for name, value in cells.items():
                row[rows.COLUMNS.index(name)] = value
            batch.ended[request_id] = ended._replace(row=tuple(row))
        written = await book.tally.post(batch, known, now_ms())
        assert written.rows == len(batch.ended)
        await book.tally.expire(await book.position(), 2**62, now_ms(), 100)
        assert await findings(book, capsys) == []
    finally:
        await book.close()


def with_id(fact: Any) -> Any:
    if isinstance(fact, Settled):
        return msgspec.structs.replace(fact, opened=with_id(fact.opened))
    return msgspec.structs.replace(fact, id=new_request_id())


@POSTED
@given(facts=st.lists((openeds | settleds | refuseds).map(with_id), min_size=1, max_size=6))
async def test_whatever_a_fact_holds_is_read_back_as_it_was_hashed(
    odd_url: str, capsys: Told, facts: list[Any]
) -> None:
    await all_verify(odd_url, capsys, facts)


odd_numbers = st.sampled_from(
    [
        "-0.0",
        "0e0",
        "1e400",
        "-1E-400",
        "1.10",
        "10000000000000000000000000000000001",
        "1e5",
        "0.1000",
        "9007199254740993",
    ]
)


strings = st.text(alphabet=st.characters(exclude_categories=["Cs"], exclude_characters="\x00"), max_size=5)


json_texts = st.recursive(
    odd_numbers | st.sampled_from(["null", "true", "{}", "[ ]", '"\\u00e9"', '"\\/"', '"\\ud83d\\ude00"'])
    | strings.map(lambda text: msgspec.json.encode(text).decode()),
    lambda inner: st.lists(inner, max_size=3).map(lambda items: f"[{' , '.join(items)}]")
    | st.lists(st.tuples(st.sampled_from(["a", "b", "bb", ""]), inner), max_size=4).map(
        lambda pairs: "{\n" + ",".join(f'"{key}" :{value}' for key, value in pairs) + "}"
    ),
)  # fmt: skip


@POSTED
@given(text=json_texts, words=st.lists(strings, max_size=3), name=strings | st.just("e\u0301\u212b\ufeff"))
async def test_json_keeps_its_very_text_and_texts_their_code_points(
    odd_url: str, capsys: Told, text: str, words: list[str], name: str
) -> None:
    """Numbers beyond a double, two keys of one name, white space, escapes; quotes, commas and NULL
    in tags.
    """
    tags = (*words, "NULL", "", 'a"b', "{,}", "\\")
    await all_verify(
        odd_url, capsys, [settled()], spend_logs_metadata=text, price=text, tags=tags, user_agent=name, altered=tags
    )


# The decisions, without a database.


def a_chain(length: int) -> list[tuple[int, bytes, bytes, bytes]]:
    """n, previous_sha256, sha256 and content of each row."""
    made, end = [], EMPTY
    for n in range(1, length + 1):
        content = bytes([n])
        after = chain.link(end, n, "s", content)
        made.append((after.n, end.sha256, after.sha256, content))
        end = after
    return made


def walked(table: list[tuple[int, bytes, bytes, bytes]], end: Link) -> list[str]:
    walk = Walk("t")
    found = []
    for n, previous, sha256, content in sorted(table):
        found += walk.step(n, previous, sha256, lambda n, before, c=content: chain.digest(n, before, c[0], "s", c))[0]  # type: ignore[misc]
    return [finding.kind for finding in found + walk.conclude(end)]


@given(st.data())
def test_a_chain_that_isnt_the_one_written_has_findings(data: st.DataObject) -> None:
    whole = a_chain(data.draw(st.integers(1, 6)))
    end = Link(whole[-1][0], whole[-1][2])
    assert walked(whole, end) == []
    table = list(whole)
    for _ in range(data.draw(st.integers(1, 3))):
        victim = data.draw(st.integers(0, len(table) - 1)) if table else 0
        match data.draw(st.sampled_from(["remove", "change", "rehash", "swap", "repeat", "add"])) if table else "add":
            case "remove":
                del table[victim]
            case "change":
                table[victim] = (*table[victim][:3], b"\xff")
            case "rehash":
                n, previous = table[victim][:2]
                table[victim] = (n, previous, chain.link(Link(n - 1, previous), 255, "s", b"\xff").sha256, b"\xff")
            case "swap":
                other = data.draw(st.integers(0, len(table) - 1))
                a, b = table[victim], table[other]
                table[victim], table[other] = (a[0], *b[1:]), (b[0], *a[1:])
            case "repeat":
                table.append(table[victim])
            case _:
                n = data.draw(st.sampled_from([-1, 0, 7, 2**63 - 1]))
                table.append((n, EMPTY.sha256, b"", b"\x01"))
    if sorted(table) != whole:
        assert walked(table, end) != []


def test_a_chunk_says_what_it_can_name_and_counts_the_rest(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(evidence, "ADDED_KEPT_MAX", 2)
    chunk = Chunk()
    chunk.expect(5, b"a" * 16 + b"b" * 16 + b"c" * 16 + b"A" * 32 + b"B" * 32 + b"C" * 32, 2)
    chunk.see(5, b"a" * 16, b"A" * 32)
    chunk.see(5, b"b" * 16, b"X" * 32)
    for n in range(4):
        chunk.see(5, bytes([n]) * 16, b"Y" * 32)
    chunk.see(6, b"z" * 16, b"Z" * 32)  # of a batch that isn't held against its rows
    wrong, lost, unnamed = chunk.conclude()
    assert [(kind, row_id[:1]) for kind, _, row_id in wrong] == [("changed", b"b"), ("added", b"\0"), ("added", b"\1")]
    assert ([one.id[:1] for one in lost], unnamed) == ([b"c"], 2)


@pytest.mark.parametrize("leaves", ["CX", "XC"])
def test_of_two_rows_of_an_id_the_other_one_is_added(leaves: str) -> None:
    chunk = Chunk()
    chunk.expect(5, b"c" * 16 + b"C" * 32, 2)
    for leaf in leaves:
        chunk.see(5, b"c" * 16, leaf.encode() * 32)
    assert chunk.conclude() == ([("added", 5, b"c" * 16)], [], 0)


@pytest.mark.parametrize("n", [0, 2])
def test_a_second_row_of_a_number_is_added_and_the_chain_goes_on(n: int) -> None:
    table = a_chain(3)
    assert walked([*table, (n, *table[1][1:3], b"\xff")], Link(3, table[2][2])) == ["added"]


def test_a_batchs_hash_and_its_rows_digests_are_those_the_charter_says() -> None:
    """So that an auditor with another tool comes to the same."""
    made = [
        settled_row(settled(), f"01920000-0000-7000-8000-00000000000{n}", date(2026, 11, 25), b"\x07" * 32, n)
        for n in (1, 2)
    ]
    manifest = batch_chain.manifest(made)
    leaves = [hashlib.sha256(msgspec.msgpack.encode(list(row))).digest() for row in made]
    assert manifest == b"".join([*(uuid.UUID(row[1]).bytes for row in made), *leaves])
    head = b"\x05" * 32 + struct.pack(">IQQQQI", 3, 8, 40, 44, 1_000, 1)
    for number, marked in ((1, head), (2, head + b"\x00\x02")):
        assert batch_chain.link(Link(7, b"\x05" * 32), 3, Made(40, 44, 1_000), 1, manifest, number) == (
            8, hashlib.sha256(marked + manifest).digest(),
        )  # fmt: skip
