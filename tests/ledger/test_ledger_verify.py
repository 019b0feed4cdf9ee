"""`verify` finds whatever is done to the book behind its back, and nothing where nothing was done.
On a real PostgreSQL.
"""

import asyncio
import os
import subprocess
import sys
from collections.abc import AsyncIterator

import pytest
from nats.aio.client import Client

from services.ledger import batch_chain, rows, verify
from services.ledger.batch_chain import Made
from services.ledger.book import Position, Tally
from services.ledger.chain import Link
from services.ledger.facts_in import Anomaly
from shared import subjects
from tests.ledger.ledger_kit import (
    Book,
    Told,
    control,
    eventually,
    findings,
    now_ms,
    opened,
    post_control,
    post_to,
    publish,
    publish_control,
    refused,
    running,
    settled,
    tamper,
)
from tests.ledger.servers import Nats, Postgres


@pytest.fixture
async def full(book: Book) -> AsyncIterator[Book]:
    """Two shards, four control facts; batch 1 of shard 0 is the oldest of four, each of three
    rows.
    """
    await post_control(book, "a", "b", "c", "d")
    other = Tally(await book.database.writer(), subjects.TRAFFIC_STREAM, 1)
    for n in range(4):
        await book.post(
            *(settled(opened(tags=[f"tag-{n}-{k}"], spend_logs_metadata={"n": n, "k": k})) for k in range(3))
        )
        await post_to(other, settled(), refused())
    other.terminate()
    yield book


async def ids_of(book: Book, shard: int, batch: int) -> list[str]:
    query = "SELECT id FROM request_log WHERE shard = $1 AND batch = $2 ORDER BY id"
    return [str(row["id"]) for row in await book.fetch(query, shard, batch)]


async def test_a_book_with_everything_that_happens_in_one_is_clean(book: Book, capsys: Told) -> None:
    """Expired, outranked, refused, conflicting, rejected and altered rows, duplicates, empty
    batches, a rewind, two shards.
    """
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
