"""Each login may do what it is for and no more: tried, on a real PostgreSQL with passwords."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from nats.aio.client import Client

from services.ledger import logins, retention_run
from services.ledger import migrate as migrate_module
from services.ledger.book import Tally
from services.ledger.database import Database, Given
from services.ledger.migrate import TooOldError, migrate
from services.ledger.retention import Terms
from shared import subjects
from tests.ledger.ledger_kit import Book, eventually, post_control, publish, running, settled
from tests.ledger.retention_kit import at
from tests.ledger.servers import Nats, Postgres
from tests.ledger.signing import sign

TODAY = datetime.now(UTC).date()
PASSWORD = "owner's own: päss%word"
CONNECTIONS_MAX = 34
"""Of a ledger with one shard, as docs/database.md has it."""
REFUSED = (asyncpg.InsufficientPrivilegeError, asyncpg.UndefinedFunctionError)


@pytest.fixture(scope="module")
def strict(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Postgres]:
    """A server that asks everybody for a password; its owners are no superusers."""
    server = Postgres(tmp_path_factory.mktemp("strict"))
    server.start()
    asyncio.run(server.ready())
    asyncio.run(_prepare(server))
    hba = server.directory / "data/pg_hba.conf"
    hba.write_text("host all owner 127.0.0.1/32 trust\nhost all all 127.0.0.1/32 scram-sha-256\n")
    asyncio.run(_reload(server))
    yield server
    server.stop(signal.SIGQUIT)


async def _prepare(server: Postgres) -> None:
    connection = await asyncpg.connect(server.url("postgres"))
    await connection.execute(f"CREATE ROLE boss LOGIN CREATEROLE PASSWORD $p${PASSWORD}$p$")
    await connection.execute(f"CREATE ROLE plain LOGIN PASSWORD $p${PASSWORD}$p$")
    await connection.close()


async def _reload(server: Postgres) -> None:
    connection = await asyncpg.connect(server.url("postgres"))
    await connection.execute("SELECT pg_reload_conf()")
    await connection.close()


async def owned_by(server: Postgres, owner: str) -> str:
    """A database of somebody who isn't the server's own superuser. Returns his URL."""
    url = await server.new_database()
    connection = await asyncpg.connect(server.url("postgres"))
    await connection.execute(f"ALTER DATABASE {url.rpartition('/')[2]} OWNER TO {owner}")
    await connection.close()
    return url.replace("owner@", f"{owner}:owner%27s%20own%3A%20p%C3%A4ss%25word@")


@pytest.fixture
async def url(strict: Postgres) -> AsyncIterator[str]:
    yield await owned_by(strict, "boss")


@pytest.fixture
async def filled(url: str) -> AsyncIterator[Book]:
    book = Book(url)
    await book.open()
    await book.post(settled(), at(TODAY - timedelta(days=40)))
    await post_control(book, "a")
    yield book
    await book.close()


async def users(database: Database) -> dict[str, str]:
    found = {}
    for purpose, connect in (("writer", database.writer), ("keeper", database.keeper), ("reader", database.inspector)):
        connection = await connect()
        found[purpose] = await connection.fetchval("SELECT session_user")
        await connection.close()
    return found


async def test_one_url_is_enough_and_each_purpose_gets_a_login_of_its_own(filled: Book) -> None:
    name = filled.url.rpartition("/")[2]
    assert await users(filled.database) == {purpose: f"tollgate_{purpose}_{name}" for purpose in logins.PURPOSES}
    again = Database(filled.url)
    await migrate(again)
    assert again.made == filled.database.made, "every ledger knows the same passwords"
    assert PASSWORD not in repr(filled.database.made) and all(
        len(password or "") > 20 for _, password in again.made.values()
    )


ATTEMPTS = [
    *(f"{verb.format(table)}" for table in ("request_log", "batch_log", "audit_log", "retention_drop", "checkpoint", "checkpoint_key")
      for verb in ("DELETE FROM {}", "TRUNCATE {}", "ALTER TABLE {} DISABLE TRIGGER ALL", "DROP TABLE {}")),
    "UPDATE request_log SET cost_picousd = 0", "UPDATE batch_log SET rows = 1", "UPDATE audit_log SET action = 'x'",
    "UPDATE checkpoint SET at_ms = 0", "UPDATE retention_drop SET rows = 0",
    "INSERT INTO retention_drop (at_ms, source, day, rows) VALUES (1, 'x', now(), 1)",
    f"ALTER TABLE request_log DETACH PARTITION request_log_{TODAY:%Y%m%d}", f"DROP TABLE request_log_{TODAY:%Y%m%d}",
    f"TRUNCATE request_log_{TODAY:%Y%m%d}", f"UPDATE request_log_{TODAY:%Y%m%d} SET status = 1", "DROP SCHEMA tollgate CASCADE",
    "SET session_replication_role = replica", "SET ROLE boss", "DROP FUNCTION refuse_change() CASCADE",
    "CREATE OR REPLACE FUNCTION refuse_change() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END'",
    "ALTER ROLE boss PASSWORD 'x'", "COPY request_log TO PROGRAM 'cat'",
]  # fmt: skip


@pytest.mark.parametrize("purpose", logins.PURPOSES)
async def test_no_login_can_change_what_is_written(filled: Book, purpose: str) -> None:
    user, password = filled.database.made[purpose]
    connection = await asyncpg.connect(
        filled.url, user=user, password=password, server_settings={"search_path": "tollgate"}
    )
    try:
        for reset in (False, True):
            if reset:
                await connection.execute("RESET ROLE")
                await connection.execute("RESET SESSION AUTHORIZATION")
                await connection.execute("DISCARD ALL")
                await connection.execute("SET search_path = tollgate")
            for statement in ATTEMPTS:
                with pytest.raises(REFUSED):
                    await connection.execute(statement)
                    pytest.fail(f"{purpose}: {statement}")
        assert await connection.fetchval("SELECT current_user") == user
    finally:
        await connection.close()
    assert await filled.value("SELECT count(*) FROM request_log") == 2
    assert await filled.value("SELECT count(*) FROM audit_log") == 1


OWN = {
    "writer": [
        "INSERT INTO anomalies (stream, shard, kind, detail) VALUES ('x', 0, 'x', 'x')",
        "SELECT request_log_ensure_day('2026-01-01')",
    ],
    "keeper": ["DELETE FROM anomalies WHERE false", "SELECT retention_keep(0, 0)"],
    "reader": ["SELECT * FROM request_book", "SELECT * FROM audit_log"],
}


@pytest.mark.parametrize("purpose", logins.PURPOSES)
async def test_a_login_can_do_its_own_work_and_nobody_else_s(filled: Book, purpose: str) -> None:
    user, password = filled.database.made[purpose]
    connection = await asyncpg.connect(
        filled.url, user=user, password=password, server_settings={"search_path": "tollgate"}
    )
    for owner, statements in OWN.items():
        for statement in statements:
            if owner in (purpose, "reader"):
                await connection.execute(statement)
            else:
                with pytest.raises(REFUSED):
                    await connection.execute(statement)
    await connection.close()


async def test_the_keeper_drops_what_it_keeps_a_record_of_and_nothing_else(filled: Book) -> None:
    async def note(action: str, after: dict[str, Any]) -> None:
        pass

    keeper = await filled.database.keeper()
    day = TODAY - timedelta(days=40)
    name = f"request_log_{day:%Y%m%d}"
    drop = "SELECT retention_drop_partition($1, $2, 1, 'request_log', $3, 0, NULL, $4, 0)"
    for spans in ("{}", '{"0": [0, 0]}'):
        assert await keeper.fetchval(drop, "request_log", name, day, spans) is False, (
            "rows that no record names keep their day"
        )
    for parent, other in (
        ("request_log", "batch_log"),
        ("batch_log", name),
        ("request_log", "request_log_default"),
        ("pg_class", "x"),
    ):
        with pytest.raises(asyncpg.RaiseError, match="no such partition"):
            await keeper.fetchval(drop, parent, other, day, "{}")
    await keeper.close()
    assert await retention_run.run(filled.database, Terms(spend=5), datetime.now(UTC), note) == 1
    assert await filled.value("SELECT count(*) FROM request_log") == 1


async def test_a_drop_that_no_checkpoint_covers_is_refused_by_the_database_itself(filled: Book) -> None:
    async def note(action: str, after: dict[str, Any]) -> None:
        pass

    await sign(filled)
    await filled.post(at(TODAY - timedelta(days=30)))
    with pytest.raises(asyncpg.RaiseError, match="no checkpoint covers"):
        await retention_run.run(filled.database, Terms(spend=5), datetime.now(UTC), note)
    await sign(filled)
    assert await retention_run.run(filled.database, Terms(spend=5), datetime.now(UTC), note) >= 1


async def test_a_ledger_records_and_answers_with_made_logins(
    nats_server: Nats, client: Client, url: str, strict: Postgres
) -> None:
    async with running(nats_server.url, url) as ledger:
        await publish(client, settled())
        connection = await asyncpg.connect(strict.url(url.rpartition("/")[2]))

        async def recorded() -> bool:
            return bool(await connection.fetchval("SELECT count(*) FROM tollgate.request_log"))

        await eventually(recorded)
        rows = await connection.fetch(
            "SELECT usename, application_name FROM pg_stat_activity WHERE application_name LIKE 'tollgate-%'"
        )
        assert {row["usename"].rpartition("_book")[0] for row in rows} == {"tollgate_writer"}, (
            "the owner's login is gone after the start"
        )
        await connection.close()
        assert len(rows) <= CONNECTIONS_MAX, [row["application_name"] for row in rows]
        assert ledger.life.reason_not_ready() is None


async def test_an_owner_that_may_make_no_logins_takes_on_the_role_or_is_guarded_by_triggers(
    strict: Postgres, capsys: pytest.CaptureFixture[str]
) -> None:
    book = Book(await owned_by(strict, "plain"))
    await book.open()
    assert "logins_not_made" in capsys.readouterr().out
    assert book.database.made == {}
    await book.post(settled())
    for statement in ("DELETE FROM request_log", "TRUNCATE request_log"):
        with pytest.raises(asyncpg.InsufficientPrivilegeError, match="append-only"):
            await book.owner.execute(statement)
    await book.close()


async def test_logins_the_operator_gives_are_used_and_given_their_rights(strict: Postgres, url: str) -> None:
    name = url.rpartition("/")[2]
    admin = await asyncpg.connect(strict.url("postgres"))
    urls = {}
    for purpose in logins.PURPOSES:
        await admin.execute(f"CREATE ROLE mine_{purpose}_{name} LOGIN PASSWORD 'p'")
        urls[purpose] = f"postgresql://mine_{purpose}_{name}:p@127.0.0.1:{strict.port}/{name}"
    await admin.close()
    with pytest.raises(TooOldError, match="0001_book"):
        await migrate(Database(urls["writer"]))
    database = Database(urls["writer"], None, Given(url, urls["reader"], urls["keeper"]))
    await migrate(database)
    assert await users(database) == {purpose: f"mine_{purpose}_{name}" for purpose in logins.PURPOSES}
    tally = Tally(await database.writer(), subjects.TRAFFIC_STREAM, 0)
    assert (await tally.position()).seq == 0
    tally.terminate()
    alone = Database(urls["writer"])
    assert await migrate(alone) == [], "a writer's login alone does, once the schema is there"
    assert (await users(alone))["writer"] == f"mine_writer_{name}"


async def test_a_schema_that_is_too_old_is_not_ready_until_somebody_migrates_it(
    nats_server: Nats, client: Client, url: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    database = Database(url)
    await migrate(database)
    user, password = database.made["writer"]
    assert password is not None
    writer = url.replace(url.split("//")[1].split("@")[0], f"{user}:{password}")
    known = migrate_module.names()
    monkeypatch.setattr(migrate_module, "names", lambda: [*known, "9999_tomorrow.sql"])
    migrated = False

    async def somebody_migrates() -> None:
        nonlocal migrated
        await asyncio.sleep(1.5)
        migrated = True
        monkeypatch.setattr(migrate_module, "names", lambda: known)

    later = asyncio.create_task(somebody_migrates())
    async with running(nats_server.url, writer) as ledger:
        assert migrated, "ready only then"
        assert ledger.life.reason_not_ready() is None
    await later
    assert "lacks 9999_tomorrow.sql" in capsys.readouterr().out


async def test_a_changed_password_of_the_owner_changes_theirs(strict: Postgres, url: str) -> None:
    database = Database(url)
    await migrate(database)
    admin = await asyncpg.connect(strict.url("postgres"))
    name = url.rpartition("/")[2]
    await admin.execute(f"CREATE ROLE boss2_{name} LOGIN CREATEROLE PASSWORD 'first' IN ROLE boss")
    await admin.close()
    before = database.made["writer"]
    user, _ = before
    stale = Database(url)
    await migrate(stale)
    owner = await asyncpg.connect(url)
    await owner.execute(f"ALTER ROLE {logins.quoted(user)} PASSWORD 'somebody changed it'")
    await owner.close()
    connection = await stale.writer()
    assert await connection.fetchval("SELECT session_user") == user, (
        "made anew, as what follows from the owner's password"
    )
    await connection.close()


def test_the_verifier_is_what_the_server_makes_of_the_password(strict: Postgres) -> None:
    async def check() -> None:
        connection = await asyncpg.connect(strict.url("postgres"))
        await connection.execute(f"CREATE ROLE v LOGIN PASSWORD '{logins.verifier('sécret', 'v')}'")
        await connection.close()
        one = await asyncpg.connect(strict.url("postgres").replace("owner@", "v:s%C3%A9cret@"))
        await one.close()
        with pytest.raises(asyncpg.InvalidPasswordError):
            await asyncpg.connect(strict.url("postgres").replace("owner@", "v:wrong@"))

    asyncio.run(check())
    assert os.environ.get("PGPASSWORD") is None or logins.secret_of("postgresql://u@h/d", {}) is None
    assert logins.secret_of("postgresql://u:a%25b@h/d", {}) == "a%b"
    assert logins.secret_of("postgresql://u@h/d", {"PGPASSWORD": "x"}) == "x"
    assert len(logins.name("writer", "x" * 80)) <= 63 and Path("/").exists()
