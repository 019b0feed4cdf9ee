"""A database put back from a backup gets back what the broker has, and says so; calls that are
under way. On real parts.
"""

import asyncio
from pathlib import Path
from typing import Any

import asyncpg
from nats.aio.client import Client

from services.ledger import restore
from shared import subjects
from tests.ledger.ledger_kit import (
    ALICE,
    BOB,
    Book,
    Policy,
    Running,
    Told,
    eventually,
    findings,
    opened,
    publish,
    running,
    settled,
    tamper,
)
from tests.ledger.servers import Nats, Postgres


async def backup(postgres: Postgres, url: str) -> str:
    """A copy of the database, as of now. Nobody may be connected to it."""
    admin = await asyncpg.connect(postgres.url("postgres"))
    name = url.rpartition("/")[2]
    await admin.execute(f"CREATE DATABASE {name}_backup TEMPLATE {name}")
    await admin.close()
    return f"{url}_backup"


async def rows(book: Book, wanted: int) -> None:
    async def there() -> bool:
        return bool(await book.value("SELECT count(*) FROM request_log") >= wanted)

    await eventually(there)


async def test_a_restored_database_gets_back_what_the_broker_has_and_says_why_checkpoints_are_missing(
    nats_server: Nats, client: Client, policy: Policy, postgres: Postgres, tmp_path: Path, capsys: Told
) -> None:
    made: dict[str, Any] = {
        "checkpoint_minutes": 0.005, "data_dir": str(tmp_path / "key"), "checkpoint_copies": str(tmp_path / "copies"),
    }  # fmt: skip
    url = await postgres.new_database()
    async with running(nats_server.url, url, **made):
        for _ in range(5):
            await publish(client, settled())
        await asyncio.sleep(1)
    old = await backup(postgres, url)
    book = Book(url)
    await book.open()
    signed = await book.value("SELECT max(n) FROM checkpoint")
    async with running(nats_server.url, url, **made):
        for _ in range(7):
            await publish(client, settled())
        await rows(book, 12)

        async def more() -> bool:
            """Also copied: what was signed and not copied can't be seen to be forked."""
            return len(list((tmp_path / "copies").rglob(f"{signed + 3:012d}-*.json"))) == 1

        await eventually(more)
    await book.close()
    restored = Book(old)
    await restored.open()
    assert await restored.value("SELECT count(*) FROM request_log") == 5
    async with running(nats_server.url, old, **made):
        await rows(restored, 12)

        async def known() -> bool:
            return bool(await restored.value("SELECT count(*) FROM audit_log WHERE kind = 'checkpoint'") > signed + 2)

        await eventually(known)
        found = await findings(restored, capsys)
        assert [line.split(" n ")[0] for line in found] == ["truncated checkpoint"], "CONTROL remembers what was signed"

        async def told_apart() -> bool:
            """Once the restored book has signed again under a number that a copy has otherwise."""
            found = await findings(restored, capsys, copies=tmp_path / "copies")
            return {line.split()[0] for line in found} >= {"forked", "truncated"}

        await eventually(told_apart)
        assert await restore.run(restored.database, client, check_only=True, everything=False, wait_s=20) == 0
        assert await findings(restored, capsys) != [], "--check changes nothing"
        assert await restore.run(restored.database, client, check_only=False, everything=False, wait_s=20) == 0

        async def recorded() -> bool:
            return bool(await restored.value("SELECT count(*) FROM audit_log WHERE kind = 'restore'"))

        await eventually(recorded)
        assert await findings(restored, capsys) == []
        assert await findings(restored, capsys, copies=tmp_path / "copies") == []
    assert await restored.value("SELECT count(*) FROM request_log") == 12
    assert await restored.anomalies() == []
    await restored.close()


async def test_a_book_that_lost_rows_reads_all_again(
    nats_server: Nats, client: Client, policy: Policy, book: Book, capsys: Told
) -> None:
    async with running(nats_server.url, book.url):
        for _ in range(6):
            await publish(client, settled())
        await rows(book, 6)
        await tamper(book, "DELETE FROM request_log WHERE stream_seq > 2")
        capsys.readouterr()
        assert await restore.run(book.database, client, check_only=False, everything=False, wait_s=20) == 0
        assert "\n0 rows came back" in capsys.readouterr().out
        assert await restore.run(book.database, client, check_only=False, everything=True, wait_s=20) == 0
        assert "\n4 rows came back" in capsys.readouterr().out
    assert await book.value("SELECT count(DISTINCT id) FROM request_log") == 6
    assert await book.anomalies() == [], "it was asked for: the audit log says so"


async def test_what_the_broker_has_trimmed_is_told_as_lost(
    nats_server: Nats, client: Client, policy: Policy, book: Book, capsys: Told
) -> None:
    async with running(nats_server.url, book.url):
        await publish(client, settled())
        await rows(book, 1)
    for _ in range(5):
        await publish(client, settled())
    await client.jetstream().purge_stream(subjects.TRAFFIC_STREAM, seq=4)
    capsys.readouterr()
    assert await restore.run(book.database, client, check_only=True, everything=False, wait_s=1) == 1
    told = capsys.readouterr().out
    assert "the broker has 3 after it" in told and "2 messages from between" in told
    assert await restore.run(book.database, client, check_only=False, everything=False, wait_s=0.5) == 2, (
        "no ledger runs"
    )
    async with running(nats_server.url, book.url):
        await rows(book, 4)


async def test_nothing_is_done_that_policy_doesnt_record(
    nats_server: Nats, client: Client, book: Book, capsys: Told
) -> None:
    await publish(client, settled())
    assert await restore.run(book.database, client, check_only=False, everything=True, wait_s=1) == 2
    assert "nothing is changed" in capsys.readouterr().err
    assert await book.anomalies() == []


async def test_open_calls_are_told_to_whose_they_are(ledger: Running, book: Book) -> None:
    mine = opened(tags=["a"], max_cost_picousd=5 * 10**12)
    await book.post(
        mine, opened(caller=BOB, max_cost_picousd=None), opened(caller=BOB, max_cost_picousd=10**12), settled()
    )
    status, body, _ = await ledger.get("/spend/open")
    assert (status, body["open"], body["max_spend_usd"], body["without_bound"], body["counted_all"]) == (
        200,
        3,
        "6",
        1,
        True,
    )
    status, body, _ = await ledger.get("/spend/open", key="sk-alice")
    assert (status, body["open"], [row["request_id"] for row in body["data"]]) == (200, 1, [mine.id])
    row = body["data"][0]
    assert (row["user"], row["api_key"], row["request_tags"], row["max_spend_usd"]) == (
        "alice",
        ALICE.key_sha256,
        ["a"],
        "5",
    )
    assert (await ledger.get("/spend/open", limit="1"))[1]["open"] == 3
    assert len((await ledger.get("/spend/open", limit="1"))[1]["data"]) == 1
    assert (await ledger.get("/spend/open", key="sk-robot"))[1]["open"] == 0
    for wrong in ("0", "x", "5000", "-1"):
        assert (await ledger.get("/spend/open", limit=wrong))[0] == 400
    await book.post(settled(mine))
    assert (await ledger.get("/spend/open", key="sk-alice"))[1]["open"] == 0
