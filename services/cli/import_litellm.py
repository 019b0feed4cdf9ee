"""`tollgate import-litellm --database-url URL [--dry-run]`: take over what a LiteLLM database
holds, into a Tollgate that has been set up.

Keys (LiteLLM keeps their SHA-256, as we do: each goes on working), teams, users, customers,
organisations, projects, budgets, tags, models and credentials that were added by API, and what each
has spent so far. The database is only read, in one snapshot. Run it with policy's environment
(TOLLGATE_NATS_URL and its login). LITELLM_SALT_KEY seals what is secret, and opens what LiteLLM
encrypted where it had the same; else IMPORT_LITELLM_SALT_KEY is LiteLLM's. It may be run again:
what is there already is left alone, unless --overwrite says that LiteLLM's word counts.
"""

import argparse
import asyncio
import os
import subprocess
import sys
from typing import IO
from urllib.parse import urlsplit, urlunsplit

import asyncpg
import msgspec

TABLES = (
    "LiteLLM_AccessGroupTable", "LiteLLM_BudgetTable", "LiteLLM_ModelTable", "LiteLLM_OrganizationMembership", "LiteLLM_TeamMembership",
    "LiteLLM_OrganizationTable", "LiteLLM_TeamTable", "LiteLLM_ProjectTable", "LiteLLM_UserTable", "LiteLLM_EndUserTable", "LiteLLM_TagTable",
    "LiteLLM_VerificationToken", "LiteLLM_DeprecatedVerificationToken", "LiteLLM_JWTKeyMapping", "LiteLLM_CredentialsTable",
    "LiteLLM_ProxyModelTable",
)  # fmt: skip
"""In this order: each after those it refers to."""
OTHERS = (
    "LiteLLM_ObjectPermissionTable",
    "LiteLLM_GuardrailsTable", "LiteLLM_MCPServerTable", "LiteLLM_AgentsTable", "LiteLLM_PromptTable",
    "LiteLLM_Config", "LiteLLM_PolicyTable",
)  # fmt: skip
"""Whose rows mean something, and aren't taken over: told."""
_NOT_IN_URLS_OF_ASYNCPG = ("schema", "connection_limit", "pool_timeout", "pgbouncer", "socket_timeout")
CONNECT_S = 15
ROWS_AT_ONCE = 1_000


class ReadError(Exception):
    """The database can't be read; the message says why, without the URL's password."""


def command(arguments: list[str]) -> int:
    """Exit status: the import's; 2 where the database can't be read, or the command is wrong."""
    parser = argparse.ArgumentParser(prog="tollgate import-litellm", description=__doc__)
    parser.add_argument(
        "--database-url",
        default=os.environ.get("LITELLM_DATABASE_URL"),
        help="LiteLLM's DATABASE_URL (or LITELLM_DATABASE_URL)",
    )
    parser.add_argument("--dry-run", action="store_true", help="say what would be written, and write nothing")
    parser.add_argument("--overwrite", action="store_true", help="also change what is here already and differs")
    given = parser.parse_args(arguments)
    if not given.database_url:
        parser.error("--database-url is needed")
    flags = [name for name in ("--dry-run", "--overwrite") if getattr(given, name[2:].replace("-", "_"))]
    into = subprocess.Popen(  # noqa: S603
        [sys.executable, "-m", "services.policy", "import-litellm", *flags], stdin=subprocess.PIPE
    )
    assert into.stdin is not None
    try:
        asyncio.run(write_rows(given.database_url, into.stdin))
    except ReadError as error:
        into.kill()
        into.wait()
        print(f"tollgate import-litellm: {error}", file=sys.stderr)
        return 2
    except BrokenPipeError:
        pass  # it has said why itself
    try:
        into.stdin.close()
    except BrokenPipeError:
        pass
    return into.wait()


async def write_rows(url: str, out: IO[bytes]) -> None:
    """Every row of the tables as a line of JSON. Raises ReadError, BrokenPipeError."""
    address, schema = _address(url)
    try:
        connection = await asyncpg.connect(address, timeout=CONNECT_S, server_settings={"search_path": f'"{schema}"'})
    except (OSError, ValueError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
        raise ReadError(f"the database can't be reached: {type(error).__name__}: {_first_line(error)}") from None
    try:
        async with connection.transaction(isolation="repeatable_read", readonly=True):
            known = {row["table_name"] for row in await connection.fetch(_KNOWN, schema)}
            if "LiteLLM_VerificationToken" not in known:
                raise ReadError(
                    f"there is no table LiteLLM_VerificationToken in the schema {schema!r}: is this LiteLLM's database?"
                )
            for table in TABLES:
                if table in known:
                    await _table(connection, table, out)
            left = {table: await connection.fetchval(_COUNT.format(table)) for table in OTHERS if table in known}
        out.write(msgspec.json.encode({"left": {table: rows for table, rows in left.items() if rows}}) + b"\n")
        out.flush()
    except asyncpg.PostgresError as error:
        raise ReadError(f"the database doesn't answer as LiteLLM's does: {_first_line(error)}") from None
    finally:
        await connection.close()


_COUNT, _ROWS = 'SELECT count(*) FROM "{}"', 'SELECT row_to_json(t)::text AS row FROM "{}" AS t ORDER BY 1'
_KNOWN = "SELECT table_name FROM information_schema.tables WHERE table_schema = $1"


async def _table(connection: "asyncpg.Connection[asyncpg.Record]", table: str, out: IO[bytes]) -> None:
    """In the order of its first column, its key: the same in every run."""
    name = msgspec.json.encode(table)
    cursor = connection.cursor(_ROWS.format(table), prefetch=ROWS_AT_ONCE)
    async for record in cursor:
        out.write(b'{"table":' + name + b',"row":' + record["row"].encode() + b"}\n")


def _address(url: str) -> tuple[str, str]:
    """(without what only Prisma understands, the schema)"""
    parts = urlsplit(url)
    kept, schema = [], "public"
    for pair in filter(None, parts.query.split("&")):
        name, _, value = pair.partition("=")
        if name == "schema":
            schema = value
        if name not in _NOT_IN_URLS_OF_ASYNCPG:
            kept.append(pair)
    if '"' in schema:
        raise ReadError("the schema's name can't be used")
    return urlunsplit(parts._replace(query="&".join(kept))), schema


def _first_line(error: BaseException) -> str:
    return (str(error).splitlines() or [""])[0][:200]
