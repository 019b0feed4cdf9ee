"""Bring the schema up to date: the files of sql/migrations in the order of their names, each once,
each in one transaction.

Several ledgers may start at once: an advisory lock lets one work while the others wait. A file that
was changed after it had been applied is refused, because then nobody knows what the database is.
"""

import asyncio
import hashlib
import os
from collections.abc import Mapping
from functools import partial

import asyncpg
import structlog

from services.ledger import logins
from services.ledger.database import CONNECT_TIMEOUT_S, ROLE, SCHEMA, SQL, Connection, Database

log = structlog.get_logger()

LOCK = 0x746F6C6C
"""Any number, the same in every ledger."""
MEMBERSHIP_TRIES = 5
FILE_TIMEOUT_S = 24 * 3600.0
"""One that takes over much may take long; were it given up in between, it would begin anew for
ever.
"""
EARLIER_TEXTS = {
    # Stopped at a row of zeros, and so left nothing; where it didn't stop, it left what the text of
    # today leaves.
    "0013_spend_sums.sql": frozenset(("6d4952f09cb29cdeea777ef499aea5d9c4113cb630a4ee42edb140b317efcb5b",)),
}
"""File -> SHA-256 of texts it had before, after which a database is the same."""

_TABLE = """
CREATE TABLE IF NOT EXISTS schema_migration (
    name text PRIMARY KEY, sha256 text NOT NULL, applied_at timestamptz NOT NULL DEFAULT now())
"""


class MigrationError(Exception):
    """The database and the files disagree; the message says where."""


class TooOldError(Exception):
    """The schema lacks what this program needs, and who we are can't change it."""


async def migrate(database: Database) -> list[str]:
    """Apply what is missing, then the logins and their grants. Returns the names of the files
    applied.

    Afterwards connections use a login of their own purpose, or (where the owner may not make any)
    the service's role. Who is given a writer's login alone changes nothing, and needs a schema that
    is not too old. Raises MigrationError or one of DATABASE_ERRORS.
    """
    connection = await database.owner()
    try:
        if not database.given.owner and not await _may_own(connection):
            await _refuse_old(connection)
            log.info("schema_not_ours", detail="the login can't change it: another ledger, or its owner, migrates")
            return []
        await connection.execute("SELECT pg_advisory_lock($1)", LOCK)
        applied = await apply_missing(connection)
        await _set_logins(connection, database)
        return applied
    finally:
        await connection.close(timeout=2)


async def missing(connection: Connection) -> list[str]:
    """Files this program has and the schema hasn't: it is too old for it."""
    done = {row["name"] for row in await connection.fetch("SELECT name FROM schema_migration")}
    return [name for name in names() if name not in done]


def names() -> list[str]:
    return sorted(file.name for file in (SQL / "migrations").iterdir() if file.name.endswith(".sql"))


async def _may_own(connection: Connection) -> bool:
    """Whether who we are makes, or made, the schema."""
    return bool(
        await connection.fetchval(
            "SELECT CASE WHEN to_regnamespace($1) IS NULL THEN has_database_privilege(current_database(), 'CREATE')"
            " ELSE (SELECT pg_has_role(nspowner, 'USAGE') FROM pg_namespace WHERE nspname = $1) END",
            SCHEMA,
        )
    )


async def _refuse_old(connection: Connection) -> None:
    """Raises TooOldError: waiting may help, when somebody migrates it."""
    there = await connection.fetchval("SELECT to_regclass($1) IS NOT NULL", f"{SCHEMA}.schema_migration")
    lacking = await missing(connection) if there else names()
    if lacking:
        raise TooOldError(
            f"the database's schema is too old: it lacks {', '.join(lacking)}, and this login can't change it"
        )


async def _set_logins(connection: Connection, database: Database) -> None:
    """Those the operator gave get their rights; those that are missing are made, where the owner
    may.
    """
    given = await _given_users(database)
    if database.given.owner:
        database.restricted = False
        await _grant_to(connection, given)
        return
    wanted = await _wanted(connection, database, [purpose for purpose in logins.PURPOSES if purpose not in given])
    try:
        async with connection.transaction():
            await logins.make(connection, wanted)
            await logins.grant(connection, {**given, **{purpose: login.user for purpose, login in wanted.items()}})
    except asyncpg.InsufficientPrivilegeError as error:
        log.warning("logins_not_made", detail=str(error)[:200], instead="the owner's login, and a role it takes on")
    else:
        reason = await logins.works(database.url, wanted["writer"])
        if reason is None:
            database.made = {**wanted}
            database.restricted = False
            database.made_again = partial(_make_again, database)
            log.info("database_logins", **{purpose: login.user for purpose, login in wanted.items()})
            return
        log.warning("logins_not_usable", detail=reason, instead="the owner's login, and a role it takes on")
    database.made = {}
    database.restricted = await _grant(connection)
    if given:
        await _grant_to(connection, given)


async def _wanted(connection: Connection, database: Database, purposes: list[str]) -> dict[str, logins.Login]:
    book = str(await connection.fetchval("SELECT current_database()"))
    secret = logins.secret_of(database.url, os.environ)
    users = {purpose: logins.name(purpose, book) for purpose in purposes}
    made = [asyncio.to_thread(logins.derived, secret, user) for user in users.values()]
    return {
        purpose: logins.Login(user, password)
        for (purpose, user), password in zip(users.items(), await asyncio.gather(*made), strict=True)
    }


async def _make_again(database: Database) -> None:
    """The owner's password was changed: the passwords that follow from it are set anew."""
    connection = await database.owner()
    try:
        wanted = await _wanted(connection, database, list(database.made))
        await logins.make(connection, wanted)
        database.made = {**wanted}
    finally:
        await connection.close(timeout=2)


async def _given_users(database: Database) -> dict[str, str]:
    """Purpose -> user of the logins the operator gave."""
    found = {}
    for purpose in logins.PURPOSES:
        if getattr(database.given, purpose, "") or (purpose == "writer" and database.given.owner):
            connection = await asyncpg.connect(database.url_of(purpose), timeout=CONNECT_TIMEOUT_S)
            found[purpose] = str(await connection.fetchval("SELECT current_user"))
            await connection.close(timeout=2)
    return found


async def _grant_to(connection: Connection, users: Mapping[str, str]) -> None:
    async with connection.transaction():
        await logins.grant(connection, users)
    for purpose in await logins.too_strong(connection, users):
        log.warning(
            "login_too_strong",
            purpose=purpose,
            user=users[purpose],
            detail="it can change the book: only the triggers stop it",
        )
    log.info("database_logins", **users)


async def apply_missing(connection: Connection) -> list[str]:
    """Who calls it holds the lock, or is alone. Returns the names of the files applied."""
    await connection.execute(f"CREATE SCHEMA IF NOT EXISTS {SCHEMA}")
    await connection.execute(_TABLE)
    done = {row["name"]: row["sha256"] for row in await connection.fetch("SELECT name, sha256 FROM schema_migration")}
    applied = []
    for file in sorted((SQL / "migrations").iterdir(), key=lambda file: file.name):
        if not file.name.endswith(".sql"):
            continue
        text = file.read_text("utf-8")
        sha256 = hashlib.sha256(text.encode()).hexdigest()
        known = done.pop(file.name, None)
        if known is None:
            log.info("migration_begins", file=file.name)
            async with connection.transaction():
                await connection.execute(text, timeout=FILE_TIMEOUT_S)
                await connection.execute(
                    "INSERT INTO schema_migration (name, sha256) VALUES ($1, $2)", file.name, sha256
                )
            applied.append(file.name)
            log.info("migration_applied", file=file.name)
        elif known != sha256 and known not in EARLIER_TEXTS.get(file.name, ()):
            raise MigrationError(f"{file.name} was changed after it had been applied to this database")
    if done:
        log.info("schema_is_newer", unknown=sorted(done))
    return applied


async def _grant(connection: Connection) -> bool:
    """Make the service's role and give it its rights. False where the owner may not: then the
    triggers alone protect the book.
    """
    for attempt in range(1, MEMBERSHIP_TRIES + 1):
        try:
            async with connection.transaction():
                await _make_role(connection)
                await connection.execute((SQL / "grants.sql").read_text("utf-8"))
                await connection.execute(f"SET LOCAL ROLE {ROLE}")
            return True
        except asyncpg.InsufficientPrivilegeError as error:
            log.warning("role_not_available", role=ROLE, detail=str(error)[:200], protected_by="triggers")
            return False
        except (asyncpg.UniqueViolationError, asyncpg.DuplicateObjectError, asyncpg.InternalServerError) as error:
            # Roles belong to the whole cluster: a ledger of another database is making the same
            # one. ("tuple concurrently updated" is an internal error.)
            if attempt == MEMBERSHIP_TRIES:
                raise
            log.info("role_made_elsewhere", detail=str(error)[:100])
    return False


async def _make_role(connection: Connection) -> None:
    if not await connection.fetchval("SELECT EXISTS (SELECT FROM pg_roles WHERE rolname = $1)", ROLE):
        await connection.execute(f"CREATE ROLE {ROLE} NOLOGIN")
    privilege = "SET" if connection.get_server_version().major >= 16 else "MEMBER"
    if not await connection.fetchval("SELECT pg_has_role(current_user, $1, $2)", ROLE, privilege):
        await connection.execute(f"GRANT {ROLE} TO CURRENT_USER")
