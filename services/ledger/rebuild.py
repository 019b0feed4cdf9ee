"""`rebuild-rollups`: compute the rollups again from request_book. `--check` only compares, and says where they differ.

Comparing reads one snapshot, so it may run beside the service: rows and rollups change together. Rebuilding stops the
recorders for as long as it takes, by holding their positions.
"""

import asyncio
import os
import sys

import asyncpg

from services.ledger import config
from services.ledger.database import DATABASE_ERRORS, QUERIES, Connection, Database
from shared.config import ConfigError
from shared.settings import SettingsError

DIFFERENCES_SHOWN_MAX = 100
TIMEOUT_S = 4 * 3600.0


def command(arguments: list[str]) -> int:
    if not set(arguments) <= {"--check"}:
        print("usage: rebuild-rollups [--check]", file=sys.stderr)
        return 2
    return main(check_only="--check" in arguments)


def main(*, check_only: bool) -> int:
    """Exit status: 0 the same (or rebuilt), 1 different, 2 could not be done."""
    try:
        settings = asyncio.run(config.read(os.environ))
        return asyncio.run(run(config.database(settings), check_only=check_only))
    except (SettingsError, ConfigError, *DATABASE_ERRORS) as error:
        print(f"rebuild-rollups: {error}", file=sys.stderr)
        return 2


async def run(database: Database, *, check_only: bool) -> int:
    connection = await database.owner()
    try:
        if check_only:
            async with connection.transaction(isolation="repeatable_read", readonly=True):
                differences = await _differences(connection)
        else:
            async with connection.transaction():
                await connection.execute("SELECT FROM stream_position FOR UPDATE", timeout=TIMEOUT_S)
                differences = await _differences(connection)
                if differences:
                    await _rebuild(connection)
    finally:
        await connection.close(timeout=5)
    for row in differences[:DIFFERENCES_SHOWN_MAX]:
        kept, again = (_counts(row[name]) for name in ("kept", "again"))
        print(f"{row['day']} {row['dimension']} {row['value']!r} {row['scope']!r}: kept {kept}, computed {again}")
    if not differences:
        print("the rollups are what request_book says")
        return 0
    print("the rollups differ" if check_only else "the rollups differed, and were rebuilt")
    return 1 if check_only else 0


async def _differences(connection: Connection) -> list[asyncpg.Record]:
    return await connection.fetch(
        f"{QUERIES['rollup_again']}\n{QUERIES['rollup_differences']}", DIFFERENCES_SHOWN_MAX + 1, timeout=TIMEOUT_S
    )


async def _rebuild(connection: Connection) -> None:
    dropped = "SELECT day FROM retention_drop WHERE source = 'request_log'"
    await connection.execute(f"DELETE FROM rollup WHERE day NOT IN ({dropped})", timeout=TIMEOUT_S)  # noqa: S608
    await connection.execute(f"{QUERIES['rollup_again']}\n{QUERIES['rollup_fill']}", timeout=TIMEOUT_S)


def _counts(numbers: list[object] | None) -> str:
    """requests, successes, failures, input and output tokens, unpriced, spend in pico-USD."""
    return "nothing" if numbers is None or numbers[0] is None else "/".join(str(number) for number in numbers)
