"""Bring the schema up to date: the files of sql/migrations in the order of their names, each once, each in one transaction.

Several ledgers may start at once: an advisory lock lets one work while the others wait. A file that was changed after it
had been applied is refused, because then nobody knows what the database is.
"""

import hashlib

import asyncpg
import structlog

from services.ledger.database import ROLE, SCHEMA, SQL, Connection, Database

log = structlog.get_logger()

LOCK = 0x746F6C6C
"""Any number, the same in every ledger."""
MEMBERSHIP_TRIES = 5

_TABLE = """
CREATE TABLE IF NOT EXISTS schema_migration (
    name text PRIMARY KEY, sha256 text NOT NULL, applied_at timestamptz NOT NULL DEFAULT now())
"""


class MigrationError(Exception):
    """The database and the files disagree; the message says where."""


async def migrate(database: Database) -> list[str]:
    """Apply what is missing, then the grants. Returns the names of the files applied.

    Afterwards connections take the service's own role, where the owner could make it.
    """
    connection = await database.owner()
    try:
        await connection.execute("SELECT pg_advisory_lock($1)", LOCK)
        await connection.execute(f"CREATE SCHEMA IF NOT EXISTS {SCHEMA}")
        await connection.execute(_TABLE)
        applied = await _apply_missing(connection)
        database.restricted = await _grant(connection)
        return applied
    finally:
        await connection.close(timeout=2)


async def _apply_missing(connection: Connection) -> list[str]:
    done = {row["name"]: row["sha256"] for row in await connection.fetch("SELECT name, sha256 FROM schema_migration")}
    applied = []
    for file in sorted((SQL / "migrations").iterdir(), key=lambda file: file.name):
        if not file.name.endswith(".sql"):
            continue
        text = file.read_text("utf-8")
        sha256 = hashlib.sha256(text.encode()).hexdigest()
        known = done.pop(file.name, None)
        if known is None:
            async with connection.transaction():
                await connection.execute(text)
                await connection.execute(
                    "INSERT INTO schema_migration (name, sha256) VALUES ($1, $2)", file.name, sha256
                )
            applied.append(file.name)
            log.info("migration_applied", file=file.name)
        elif known != sha256:
            raise MigrationError(f"{file.name} was changed after it had been applied to this database")
    if done:
        log.info("schema_is_newer", unknown=sorted(done))
    return applied


async def _grant(connection: Connection) -> bool:
    """Make the service's role and give it its rights. False where the owner may not: then the triggers alone protect the book."""
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
            # Roles belong to the whole cluster: a ledger of another database is making the same one. ("tuple concurrently
            # updated" is an internal error.)
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
