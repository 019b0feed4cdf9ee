"""`verify` finds whatever is done to the book behind its back, and nothing where nothing was done. On a real PostgreSQL."""

import asyncio
import hashlib
import os
import struct
import subprocess
import sys
import uuid
from collections.abc import AsyncIterator
from datetime import date
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from nats.aio.client import Client

from services.ledger import batch_chain, chain, evidence, rows, verify
from services.ledger.audit import AuditTally
from services.ledger.batch_chain import Made
from services.ledger.book import Position, Tally
from services.ledger.chain import EMPTY, Link
from services.ledger.evidence import Chunk, Walk
from services.ledger.facts_in import Anomaly, Batch
from services.ledger.message import Message
from services.ledger.rows import settled_row
from shared import subjects
from shared.facts import Settled, encode_control, encode_fact, pack
from shared.ids import new_request_id
from tests.ledger.ledger_kit import (
    Book,
    Told,
    control,
    eventually,
    findings,
    now_ms,
    opened,
    packed,
    publish,
    publish_control,
    refused,
    running,
    settled,
)
from tests.ledger.servers import Nats, Postgres
from tests.ledger.test_ledger_junk import POSTED, openeds, refuseds, settleds


async def post_control(book: Book, *names: str) -> None:
    tally = AuditTally(await book.database.writer(), subjects.CONTROL_STREAM)
    known = await tally.position()
    facts = [control(entity_id=name, after={"team_id": name}) for name in names]
    await tally.post_control(
        [
            Message(known.seq + n, known.seq + n, f"control.team.{fact.entity_id}", encode_control(fact))
            for n, fact in enumerate(facts, 1)
        ],
        known,
    )
    tally.terminate()


async def post_to(tally: Tally, *facts: Any) -> None:
    known = await tally.position()
    batch = Batch(now_ms())
    batch.add(Message(known.seq + 1, known.seq + 1, "traffic.1", packed(*facts)))
    await tally.post(batch, known, now_ms())


@pytest.fixture
async def full(book: Book) -> AsyncIterator[Book]:
    """Two shards, four control facts; batch 1 of shard 0 is the oldest of four, each of three rows."""
    await post_control(book, "a", "b", "c", "d")
    other = Tally(await book.database.writer(), subjects.TRAFFIC_STREAM, 1)
    for n in range(4):
        await book.post(
            *(settled(opened(tags=[f"tag-{n}-{k}"], spend_logs_metadata={"n": n, "k": k})) for k in range(3))
        )
        await post_to(other, settled(), refused())
    other.terminate()
    yield book


async def tamper(book: Book, *statements: str) -> None:
    """As the owner, who can switch the triggers off."""
    await book.owner.execute("SET session_replication_role = replica")
    for statement in statements:
        await book.owner.execute(statement)
    await book.owner.execute("RESET session_replication_role")


async def ids_of(book: Book, shard: int, batch: int) -> list[str]:
    query = "SELECT id FROM request_log WHERE shard = $1 AND batch = $2 ORDER BY id"
    return [str(row["id"]) for row in await book.fetch(query, shard, batch)]


async def test_a_book_with_everything_that_happens_in_one_is_clean(book: Book, capsys: Told) -> None:
    """Expired, outranked, refused, conflicting, rejected and altered rows, duplicates, empty batches, a rewind, two shards."""
    await book.owner.execute("ALTER TABLE request_log ADD CONSTRAINT poison CHECK (model <> 'poison')")
    late, never, first = opened(expires_at_ms=1), opened(expires_at_ms=1), settled()
    await book.post(late, never, opened())
    assert await book.value("SELECT count(*) FROM batch_log") == 0  # only rows make a batch
    assert await book.tally.expire(await book.position(), now_ms(), now_ms(), 100) == 2
    await book.post(settled(late), refused(tags=["x"]), first)
    await book.post(first)
    await book.post(settled(first.opened, (9, 9)), b"junk", settled(cost_picousd=-1))
    await book.post(*(settled(opened(model="poison" if n % 3 == 0 else "gpt")) for n in range(8)))
    await book.post(settled(opened(model="poison")))
    await book.post(
        settled(opened(model="m\x00", tags=["t" * 999, "\U0001f600"], spend_logs_metadata={"\x00": "\x00"}))
    )
    await book.tally.rewind(await book.position(), Position(0, 0), Anomaly("rewind", 1, None, "lost"))
    await book.post(first, settled(late), settled())
    other = Tally(await book.database.writer(), subjects.TRAFFIC_STREAM, 1)
    await post_to(other, settled(), settled())
    await post_control(book, "a", "b")
    await post_control(book, "c")
    assert await findings(book, capsys) == []
    assert await book.rollups_agree()
    batches = await book.fetch("SELECT shard, n, first_seq, last_seq, rows FROM batch_log ORDER BY shard, n")
    assert [tuple(row.values()) for row in batches] == [
        (0, 1, 0, 0, 2), (0, 2, 4, 6, 3), (0, 3, 8, 10, 1), (0, 4, 11, 18, 5), (0, 5, 20, 20, 1), (0, 6, 1, 3, 1), (1, 1, 1, 1, 2),
    ]  # fmt: skip
    other.terminate()


async def test_an_empty_book_is_clean(book: Book, capsys: Told) -> None:
    assert await findings(book, capsys) == []


@pytest.mark.parametrize(
    "change",
    [
        "cost_picousd = cost_picousd + 1",
        "cost_picousd = NULL",
        "tags = array_append(tags, 'b')",
        "tags = '{}'",
        "outcome = 'timeout'",
        'spend_logs_metadata = \'{"n":2,"k":7}\'',
        'spend_logs_metadata = \'{"k":1,"n":1}\'',
        "at_ms = at_ms + 1",
        "stream = NOT stream",
        "key_sha256 = NULL",
        "organization_id = ''",
        "provisional = true",
        "fact_sha256 = sha256(fact_sha256)",
        "stream_seq = NULL",
        "day = day + 1",
        "images = 1",
        "flags = '{x}'",
    ],
)
async def test_a_changed_cell_is_found(full: Book, capsys: Told, change: str) -> None:
    victim = (await ids_of(full, 0, 2))[1]
    await tamper(full, f"UPDATE request_log SET {change} WHERE id = '{victim}'")
    assert await findings(full, capsys) == [
        f"changed request_log shard 0 batch 2 id {victim}: its cells aren't those its batch has the digest of"
    ]


async def test_every_column_is_in_the_digest_or_names_the_batch(book: Book) -> None:
    named = await book.fetch(
        "SELECT column_name FROM information_schema.columns WHERE table_schema = 'tollgate' AND table_name = 'request_log'"
    )
    assert {row["column_name"] for row in named} == {*rows.COLUMNS, "shard", "batch"}


async def test_a_removed_row_is_found(full: Book, capsys: Told) -> None:
    victim = (await ids_of(full, 1, 3))[0]
    await tamper(full, f"DELETE FROM request_log WHERE id = '{victim}'")
    assert await findings(full, capsys) == [f"missing request_log shard 1 batch 3 id {victim}"]


async def copy_of(book: Book, victim: str, new_id: str, **cells: str) -> str:
    """SQL that adds a row like another."""
    values = {name: name for name in (*rows.COLUMNS, "shard", "batch")} | {"id": f"'{new_id}'::uuid"} | cells
    return f"INSERT INTO request_log ({', '.join(values)}) SELECT {', '.join(values.values())} FROM request_log WHERE id = '{victim}'"


async def test_forged_rows_are_found(full: Book, capsys: Told) -> None:
    victim = (await ids_of(full, 0, 1))[0]
    forged = [victim[:-12] + f"{n:012x}" for n in range(3)]
    await tamper(
        full,
        await copy_of(full, victim, forged[0]),
        await copy_of(full, victim, forged[1], batch="77"),
        await copy_of(full, victim, forged[2], batch="77"),
        await copy_of(full, victim, victim, provisional="true", cost_picousd="0"),
    )
    assert set(await findings(full, capsys)) == {
        f"added request_log shard 0 batch 1 id {forged[0]}: its batch was written without it",
        f"added request_log shard 0 batch 1 id {victim}: its batch was written without it",
        f"added request_log shard 0 batch 77 id {forged[1]}: it names a batch that isn't there, as 1 more rows do",
    }


async def test_a_row_moved_to_another_batch_is_found(full: Book, capsys: Told) -> None:
    victim = (await ids_of(full, 0, 1))[0]
    await tamper(full, f"UPDATE request_log SET batch = 4 WHERE id = '{victim}'")
    assert set(await findings(full, capsys)) == {
        f"moved request_log shard 0 batch 1 id {victim}: it stands under shard 0 batch 4",
        f"added request_log shard 0 batch 4 id {victim}: its batch was written without it",
    }
    await tamper(full, f"UPDATE request_log SET batch = 1, shard = 1 WHERE id = '{victim}'")
    assert set(await findings(full, capsys)) == {
        f"moved request_log shard 0 batch 1 id {victim}: it stands under shard 1 batch 1",
        f"added request_log shard 1 batch 1 id {victim}: its batch was written without it",
    }


async def test_swapped_batches_are_found(full: Book, capsys: Told) -> None:
    await tamper(
        full,
        *(f"UPDATE batch_log SET n = {new} WHERE shard = 0 AND n = {old}" for old, new in [(2, 99), (3, 2), (99, 3)]),
    )
    assert await findings(full, capsys) == [
        "reordered batch_log shard 0 n 2: its place is n 3",
        "reordered batch_log shard 0 n 3: its place is n 2",
    ]


async def test_a_chain_cut_short_is_found_with_its_rows_or_without(full: Book, capsys: Told) -> None:
    victim = (await ids_of(full, 0, 4))[0]
    await tamper(full, "DELETE FROM batch_log WHERE shard = 0 AND n = 4")
    truncated = "truncated batch_log shard 0 n 4: stream_position has them"
    assert await findings(full, capsys) == [
        truncated,
        f"added request_log shard 0 batch 4 id {victim}: it names a batch that isn't there, as 2 more rows do",
    ]
    await tamper(full, "DELETE FROM request_log WHERE shard = 0 AND batch = 4")
    assert await findings(full, capsys) == [truncated]
    await tamper(full, "DELETE FROM batch_log WHERE shard = 0", "DELETE FROM request_log WHERE shard = 0")
    assert await findings(full, capsys) == ["truncated batch_log shard 0 n 1 to 4: stream_position has them"]
    await tamper(full, "DELETE FROM stream_position WHERE shard = 1")
    assert "missing stream_position of batch_log shard 1" in await findings(full, capsys)


async def test_batches_removed_from_the_middle_are_found(full: Book, capsys: Told) -> None:
    await tamper(
        full, "DELETE FROM batch_log WHERE shard = 0 AND n < 3", "DELETE FROM request_log WHERE shard = 0 AND batch < 3"
    )
    assert await findings(full, capsys) == ["missing batch_log shard 0 n 1 to 2"]


@pytest.mark.parametrize(
    "change",
    [
        "at_ms = at_ms + 1",
        "last_seq = 0",
        "previous_sha256 = ''",
        "rows = rows + 1",
        "manifest = '\\x00'",
        "sha256 = ''",
        "format = 1",
        "format = 2",
    ],
)
async def test_a_changed_batch_is_found(full: Book, capsys: Told, change: str) -> None:
    await tamper(full, f"UPDATE batch_log SET {change} WHERE shard = 1 AND n = 2")
    assert await findings(full, capsys) == ["changed batch_log shard 1 n 2: its hash isn't that of its cells"]


async def forge_batch(book: Book, n: int) -> None:
    """Take a row out of the batch, and make the batch's own hash fit again."""
    row = (await book.fetch("SELECT * FROM batch_log WHERE shard = 0 AND n = $1", n))[0]
    manifest = row["manifest"][16 : 16 * row["rows"]] + row["manifest"][16 * row["rows"] + 32 :]
    made = Made(row["first_seq"], row["last_seq"], row["at_ms"])
    link = batch_chain.link(Link(n - 1, row["previous_sha256"]), 0, made, row["rows"] - 1, manifest, row["format"])
    await book.owner.execute("SET session_replication_role = replica")
    await book.owner.execute(
        "UPDATE batch_log SET manifest = $2, sha256 = $3, rows = rows - 1 WHERE shard = 0 AND n = $1",
        n, manifest, link.sha256,
    )  # fmt: skip


async def test_a_batch_written_anew_doesnt_fit_the_next_nor_the_end(full: Book, capsys: Told) -> None:
    await forge_batch(full, 2)
    found = await findings(full, capsys)
    assert "changed batch_log shard 0 n 2: n 3 follows another row than this" in found
    await forge_batch(full, 4)
    assert "changed batch_log shard 0 n 4: it isn't the end stream_position has" in await findings(full, capsys)


async def test_a_batch_behind_the_end_is_found(full: Book, capsys: Told) -> None:
    last = (await full.fetch("SELECT * FROM batch_log WHERE shard = 0 AND n = 4"))[0]
    manifest = bytes(48)
    link = batch_chain.link(Link(4, last["sha256"]), 0, Made(9, 9, 9), 1, manifest, 2)
    await full.owner.execute(
        "INSERT INTO batch_log VALUES (0, 5, $1, $2, 9, 9, 9, 1, $3, 2)", last["sha256"], link.sha256, manifest
    )
    found = await findings(full, capsys)
    assert "added batch_log shard 0 n 5: behind stream_position's end" in found


async def test_what_is_done_to_the_audit_log_is_found(full: Book, capsys: Told) -> None:
    await tamper(full, "UPDATE audit_log SET message = replace(message::text, '61', '62')::bytea WHERE n = 2")
    assert await findings(full, capsys) == ["changed audit_log n 2: its hash isn't that of its cells"]
    await tamper(full, "DELETE FROM audit_log WHERE n = 2")
    assert await findings(full, capsys) == ["missing audit_log n 2"]
    await tamper(full, "DELETE FROM audit_log WHERE n = 4")
    assert await findings(full, capsys) == [
        "missing audit_log n 2", "truncated audit_log n 4: stream_position has them",
    ]  # fmt: skip


async def test_swapped_audit_rows_are_found(full: Book, capsys: Told) -> None:
    await tamper(full, *(f"UPDATE audit_log SET n = {new} WHERE n = {old}" for old, new in [(1, 99), (4, 1), (99, 4)]))
    assert await findings(full, capsys) == [
        "reordered audit_log n 1: its place is n 4", "reordered audit_log n 4: its place is n 1",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("change", "columns"),
    [
        ("actor_user_id = 'somebody-else'", "actor_user_id"),
        ('after = \'{"team_id":"z"}\', at_ms = 1', "at_ms, after"),
        ("fact_id = NULL", "fact_id"),
    ],
)
async def test_an_audit_row_that_says_other_than_its_message_is_found(
    full: Book, capsys: Told, change: str, columns: str
) -> None:
    await tamper(full, f"UPDATE audit_log SET {change} WHERE n = 3")
    assert await findings(full, capsys) == [f"changed audit_log n 3: {columns}: not what its message says"]


async def test_many_findings_are_counted_and_some_shown(
    full: Book, capsys: Told, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(verify, "FINDINGS_SHOWN_MAX", 3)
    await tamper(full, "DELETE FROM request_log")
    assert await verify.run(full.database) == 1
    told = capsys.readouterr().out.splitlines()
    assert len([line for line in told if line.startswith("missing")]) == 3
    assert told[-1].endswith("20 findings, 17 of them not shown")


async def test_chunks_of_any_size_say_the_same(full: Book, capsys: Told, monkeypatch: pytest.MonkeyPatch) -> None:
    victim = (await ids_of(full, 0, 2))[1]
    await tamper(full, f"UPDATE request_log SET cost_picousd = 1 WHERE id = '{victim}'")
    whole = await findings(full, capsys)
    for size in (1, 4, 7):
        monkeypatch.setattr(verify, "CHUNK_ROWS", size)
        monkeypatch.setattr(verify, "BATCHES_AHEAD", size)
        assert await findings(full, capsys) == whole


async def test_verifying_while_the_ledger_records(nats_server: Nats, client: Client, book: Book, capsys: Told) -> None:
    async with running(nats_server.url, book.url, batch_messages_max=3):
        sending = asyncio.create_task(_send(client))
        while not sending.done():
            assert await findings(book, capsys) == []
        await sending

        async def recorded() -> bool:
            return (await book.spend())[0] == 600 and await book.value("SELECT count(*) FROM audit_log") == 60

        await eventually(recorded)
    assert await findings(book, capsys) == []
    assert await book.value("SELECT max(n) FROM batch_log") > 5


async def _send(client: Client) -> None:
    for n in range(60):
        await publish(client, *(settled() for _ in range(10)))
        await publish_control(client, control(entity_id=f"t{n}"))


def test_verify_as_a_command(postgres: Postgres) -> None:
    url = asyncio.run(postgres.new_database())
    env = {**os.environ, "TOLLGATE_DATABASE_URL": url}

    def run() -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "services.ledger", "verify"]
        return subprocess.run(command, env=env, capture_output=True, text=True, timeout=60)

    nothing = run()
    assert (nothing.returncode, nothing.stderr[:8]) == (2, "verify: ")
    asyncio.run(_post_and_change(url, change=False))
    done = run()
    assert (done.returncode, done.stdout) == (
        0, "0 rows of audit_log, 1 batches, 1 rows of request_log: all as they were written\n",
    )  # fmt: skip
    asyncio.run(_post_and_change(url, change=True))
    done = run()
    assert (done.returncode, done.stdout.count("changed ")) == (1, 2)
    asyncio.run(postgres.drop_database(url))


async def _post_and_change(url: str, *, change: bool) -> None:
    book = Book(url)
    await book.open()
    await book.post(settled())
    if change:
        await tamper(book, "UPDATE request_log SET cost_picousd = 0")
    await book.close()


# What is hashed when it is written must come out the same when it is read.


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
    """Numbers beyond a double, two keys of one name, white space, escapes; quotes, commas and NULL in tags."""
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
