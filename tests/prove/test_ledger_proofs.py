"""The ledger's long proofs: a thousand attacks, a hundred kills, a million rows, and yesterday's
ledger on today's schema.

The figures are printed: `make prove PYTEST_ARGS="-s -k ledger_proofs"`.
"""

import asyncio
import os
import random
import subprocess
import sys
import time
from datetime import UTC, datetime
from pathlib import Path

import aiohttp
import pytest
from nats.aio.client import Client

from services.ledger import chain, verify
from services.ledger.chain import EMPTY
from services.ledger.database import Database
from services.ledger.message import Message
from services.ledger.migrate import migrate
from services.ledger.verify import Asked
from shared.facts import encode_control
from tests.ledger import killing
from tests.ledger.conftest import book, client, database_url, nats_server, postgres
from tests.ledger.ledger_kit import Book, control, eventually, now_ms, publish, settled
from tests.ledger.servers import Nats, Postgres
from tests.ledger.test_ledger_tampering import attack, signed_book
from tests.ledger.test_ledger_terms import drop_beside_inserts
from tests.prove.old_release import OLD, unpacked
from tests.support.ports import free_port

__all__ = ["book", "client", "database_url", "nats_server", "postgres"]

ROOT = Path(__file__).resolve().parents[2]
MILLION = int(os.environ.get("PROVE_ROWS", "1000000"))
ATTACKS = int(os.environ.get("PROVE_ATTACKS", "1000"))
KILLS = int(os.environ.get("PROVE_KILLS", "100"))


@pytest.mark.timeout(3600)
async def test_a_thousand_random_attacks_are_all_found(book: Book, capsys: pytest.CaptureFixture[str]) -> None:
    await signed_book(book)
    seed = random.randrange(10**6)
    counts = await attack(book, ATTACKS, seed)
    capsys.readouterr()
    with capsys.disabled():
        print(f"\n{sum(counts.values())} attacks (seed {seed}), all found: {counts}")


@pytest.mark.timeout(7200)
async def test_a_hundred_kills_of_ledger_and_postgresql_lose_nothing(
    nats_server: Nats, client: Client, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    seed = random.randrange(10**6)
    sent = await killing.kill(tmp_path, nats_server, client, KILLS, seed)
    with capsys.disabled():
        print(f"\n{KILLS} kills (seed {seed}): {sent.calls} calls and {sent.controls} control facts, all there once")


@pytest.mark.timeout(3600)
async def test_a_million_audit_rows_are_verified_in_20_seconds(
    book: Book, postgres: Postgres, capsys: pytest.CaptureFixture[str]
) -> None:
    """By the CPU of both sides together, where other programs keep it waiting: alone it takes less,
    as the two work side by side.
    """
    end, seq = EMPTY, 0
    while seq < MILLION:
        count = min(20_000, MILLION - seq)
        facts = [
            control(entity_id=f"team-{(seq + n) % 5_000}", after={"team_id": "t", "n": seq + n}) for n in range(count)
        ]
        messages = [
            Message(seq + n, seq + n, f"control.team.{fact.entity_id}", encode_control(fact))
            for n, fact in enumerate(facts, 1)
        ]
        made = chain.extend(messages, end, {})
        await book.owner.copy_records_to_table("audit_log", records=made.rows, columns=chain.COLUMNS)
        end, seq = made.end, seq + count
    await book.owner.execute(
        "INSERT INTO stream_position (stream, shard, seq, chain_n, chain_sha256) VALUES ('CONTROL', 0, $1, $2, $3)",
        seq,
        *end,
    )
    await book.owner.execute("ANALYZE audit_log")
    started, ours_s, theirs_s = time.monotonic(), time.process_time(), postgres.cpu_s()
    assert await verify.run(book.database) == 0
    took_s, ours_s = time.monotonic() - started, time.process_time() - ours_s
    await asyncio.sleep(0.5)  # the server adds up a connection's when it has ended
    theirs_s = postgres.cpu_s() - theirs_s
    capsys.readouterr()
    with capsys.disabled():
        print(
            f"\nverify of {MILLION:,} audit rows: {took_s:.1f} s; CPU {ours_s:.1f} s and PostgreSQL's {theirs_s:.1f} s"
        )
    assert min(took_s, ours_s + theirs_s) < 20 * MILLION / 1_000_000 + 1


@pytest.mark.timeout(3600)
async def test_a_day_of_a_million_rows_goes_in_less_than_a_second(
    book: Book, capsys: pytest.CaptureFixture[str]
) -> None:
    drop = await drop_beside_inserts(book, MILLION, 5_000)
    with capsys.disabled():
        print(
            f"\na day of {MILLION:,} rows: gone in {drop.gone_s * 1000:.0f} ms, its files removed in {drop.whole_s * 1000:.0f} ms,"
            f" longest insert beside it {drop.longest_insert_s * 1000:.0f} ms"
        )
    assert drop.gone_s < 1
    assert drop.longest_insert_s < 1


@pytest.mark.timeout(600)
async def test_yesterdays_ledger_works_on_todays_schema(
    nats_server: Nats, client: Client, postgres: Postgres, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Expand, then contract: an old replica beside a new one, while they are replaced one by
    one.
    """
    old = unpacked(tmp_path / "old")
    url = await postgres.new_database()
    await migrate(Database(url))
    made = Book(url)
    await made.open()
    probe, port = free_port(), free_port()
    env = {name: value for name, value in os.environ.items() if not name.startswith("TOLLGATE_")}
    env |= {
        "TOLLGATE_NATS_URL": nats_server.url, "TOLLGATE_DATABASE_URL": url, "TOLLGATE_LEDGER_PORT": str(port),
        "TOLLGATE_LEDGER_PROBE_PORT": str(probe), "PYTHONPATH": str(old), "TOLLGATE_SPEND_LOGS_RETENTION": "5d",
    }  # fmt: skip
    with (tmp_path / "old.log").open("wb") as log:
        ledger = subprocess.Popen([sys.executable, "-m", "services.ledger"], cwd=old, env=env, stdout=log, stderr=log)
    try:

        async def ready() -> bool:
            try:
                async with aiohttp.ClientSession() as http, http.get(f"http://127.0.0.1:{probe}/ready") as answer:
                    return answer.status == 200
            except aiohttp.ClientError:
                assert ledger.poll() is None, (tmp_path / "old.log").read_text()[-2000:]
                return False

        await eventually(ready, "the old ledger is ready", 40)
        for _ in range(5):
            await publish(client, settled(), settled())

        async def summed() -> bool:
            # Where a release from before migration 0013 has them, or where one since then has.
            found = [
                await made.value(f"SELECT sum(requests) FROM {rows}")
                for rows in ("spend_day WHERE tags = 'all'", "spend_calls")
            ]
            return 10 in found

        await eventually(summed, "recorded and summed by the old ledger")
    finally:
        ledger.terminate()
        ledger.wait(20)
    assert "schema_is_newer" in (tmp_path / "old.log").read_text()
    # And the new one goes on where the old one was.
    await made.post(settled())
    assert await verify.run(made.database, Asked()) == 0
    assert await made.rollups_agree() or await made.value("SELECT count(*) FROM spend_position") > 0
    await made.close()
    capsys.readouterr()
    with capsys.disabled():
        print(f"\nledger of {OLD} recorded on the schema of {datetime.fromtimestamp(now_ms() / 1000, UTC):%Y-%m-%d}")
