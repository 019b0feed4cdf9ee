"""Starting, migrating, rebuilding, stopping."""

import asyncio
import os
import subprocess
import sys
from pathlib import Path

import asyncpg
import pytest
from nats.aio.client import Client

from services.ledger import config, migrate, rebuild
from services.ledger.config import LedgerSettings
from services.ledger.database import QUERIES, SQL, Database, plain_url
from services.ledger.migrate import MigrationError
from shared.settings import SettingsError
from tests.ledger.ledger_kit import Book, eventually, opened, publish, refused, running, settled
from tests.ledger.servers import Nats, Postgres


async def test_several_ledgers_migrate_at_once_and_each_file_once(database_url: str) -> None:
    databases = [Database(database_url) for _ in range(4)]
    applied = await asyncio.gather(*(migrate.migrate(database) for database in databases))
    files = len([file for file in (SQL / "migrations").iterdir() if file.name.endswith(".sql")])
    assert sorted(map(len, applied)) == [0, 0, 0, files]
    assert all(database.made for database in databases)


async def test_ledgers_of_several_databases_make_their_logins_at_once(postgres: Postgres) -> None:
    urls = [await postgres.new_database() for _ in range(3)]
    admin = await asyncpg.connect(postgres.url("postgres"))
    databases = [Database(url) for url in urls]
    await asyncio.gather(*(migrate.migrate(database) for database in databases))
    assert all(database.made for database in databases)
    await admin.close()
    for url in urls:
        await postgres.drop_database(url)


async def test_a_migration_that_was_changed_is_refused(book: Book) -> None:
    await book.owner.execute("UPDATE schema_migration SET sha256 = 'other'")
    with pytest.raises(MigrationError, match=r"0001_book\.sql was changed"):
        await migrate.migrate(Database(book.url))


async def test_a_migrations_earlier_text_that_left_the_same_is_taken_for_it(book: Book) -> None:
    """Who tried the newest main has it."""
    ((name, earlier),) = migrate.EARLIER_TEXTS.items()
    for sha256 in earlier:
        await book.owner.execute("UPDATE schema_migration SET sha256 = $2 WHERE name = $1", name, sha256)
        assert await migrate.migrate(Database(book.url)) == []


async def test_an_owner_without_the_right_to_make_roles_relies_on_the_triggers(
    postgres: Postgres, database_url: str
) -> None:
    admin = await asyncpg.connect(database_url)
    name = database_url.rpartition("/")[2]
    await admin.execute(f"CREATE ROLE plain_{name} LOGIN; GRANT CREATE ON DATABASE {name} TO plain_{name}")
    book = Book(database_url.replace("owner@", f"plain_{name}@"))
    await book.open()
    assert not book.database.restricted
    await book.post(settled())
    with pytest.raises(asyncpg.InsufficientPrivilegeError, match="append-only"):
        await book.owner.execute("DELETE FROM request_log")
    await book.close()
    await admin.execute(f"DROP OWNED BY plain_{name} CASCADE; DROP ROLE plain_{name}")
    await admin.close()


async def test_rebuild_finds_a_difference_and_mends_it(book: Book, capsys: pytest.CaptureFixture[str]) -> None:
    await book.post(settled(opened(tags=["a", "b"])), refused(tags=["c"]), settled(opened(price=None)))
    assert await rebuild.run(book.database, rebuild.Asked(check_only=True)) == 0
    await book.owner.execute(
        "UPDATE rollup SET spend_picousd = spend_picousd + 1 WHERE dimension = 'tag' AND value = 'a'"
    )
    await book.owner.execute("DELETE FROM rollup WHERE dimension = 'team'")
    await book.owner.execute(
        "INSERT INTO rollup (scope, dimension, day, value, requests, successes, failures, input_tokens, output_tokens, unpriced,"
        " spend_picousd) VALUES ('', 'tag', current_date, 'ghost', 1, 1, 0, 0, 0, 0, 0)"
    )
    capsys.readouterr()
    assert await rebuild.run(book.database, rebuild.Asked(check_only=True)) == 1
    told = capsys.readouterr().out
    assert told.count("\n") == 4  # the tag, the team, the ghost; and the verdict
    assert "13500001" in told
    assert await rebuild.run(book.database) == 0
    assert await rebuild.run(book.database, rebuild.Asked(check_only=True)) == 0
    assert await book.spend("tag", "a") == (1, 13_500_000)


def test_rebuild_as_a_command(postgres: Postgres, tmp_path: Path) -> None:
    url = asyncio.run(postgres.new_database())
    command = [sys.executable, "-m", "services.ledger", "rebuild-rollups", "--check"]

    def run() -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            command, env={**os.environ, "TOLLGATE_DATABASE_URL": url}, capture_output=True, text=True, timeout=60
        )

    assert run().returncode == 2  # nothing there yet
    asyncio.run(_post_one(url))
    done = run()
    assert (done.returncode, done.stdout) == (0, "the sums are what the rows say\n")
    asyncio.run(postgres.drop_database(url))


async def _post_one(url: str) -> None:
    book = Book(url)
    await book.open()
    await book.post(settled())
    await book.close()


def test_settings_come_from_the_environment_or_the_configuration_file(tmp_path: Path) -> None:
    file = tmp_path / "config.yaml"
    file.write_text("general_settings:\n  database_url: os.environ/BOOK_URL\n")
    found = asyncio.run(config.read({"TOLLGATE_CONFIG": str(file), "BOOK_URL": "postgresql://from-file"}))
    assert found.database_url == "postgresql://from-file"
    assert (
        asyncio.run(config.read({"TOLLGATE_DATABASE_URL": "postgresql://given"})).database_url == "postgresql://given"
    )
    file.write_text("model_list: []\n")
    with pytest.raises(SettingsError, match="no database"):
        asyncio.run(config.read({"TOLLGATE_CONFIG": str(file)}))
    with pytest.raises(SettingsError, match="TOLLGATE_TRAFFIC_SHARDS"):
        asyncio.run(config.read({"TOLLGATE_DATABASE_URL": "x", "TOLLGATE_TRAFFIC_SHARDS": "0"}))
    assert LedgerSettings().ledger_port == 4100


def test_a_url_written_for_litellm_is_understood() -> None:
    assert plain_url("postgresql://u:p@h:5/d?schema=public&connection_limit=10") == "postgresql://u:p@h:5/d"
    assert plain_url("postgresql://u@h/d?sslmode=require&pool_timeout=60") == "postgresql://u@h/d?sslmode=require"
    assert plain_url("postgresql://u@h/d") == "postgresql://u@h/d"


def test_a_wrong_setting_ends_the_process_with_a_sentence() -> None:
    env = {name: value for name, value in os.environ.items() if not name.startswith("TOLLGATE_")}
    done = subprocess.run(
        [sys.executable, "-m", "services.ledger"], env={**env, "TOLLGATE_LEDGER_PORT": "none"},
        capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert done.returncode == 2
    assert "TOLLGATE_LEDGER_PORT" in done.stderr
    assert "Traceback" not in done.stderr


async def test_stopping_finishes_the_batch_under_way(nats_server: Nats, client: Client, book: Book) -> None:
    """A stopped ledger's rows are those of the messages up to its position, no more and no less;
    the next one goes on from there.
    """
    for _ in range(40):
        await publish(client, *(settled() for _ in range(50)))
    async with running(nats_server.url, book.url, batch_messages_max=2):

        async def begun() -> bool:
            return (await book.spend())[0] > 0

        await eventually(begun)
    assert (await book.spend())[0] == 50 * (await book.position()).seq
    async with running(nats_server.url, book.url):

        async def all_done() -> bool:
            return (await book.spend())[0] >= 2_000

        await eventually(all_done)
    assert await book.value("SELECT count(*) FROM request_log") == 2_000


def test_every_query_is_used_somewhere() -> None:
    source = "".join(path.read_text() for path in Path("services/ledger").rglob("*.py"))
    unused = [name for name in QUERIES if f'"{name}"' not in source and f"'{name}'" not in source]
    assert unused == []
