"""`dump-control`: the audit log as lines of JSON, from which `python -m services.policy
restore-control` rebuilds CONTROL.

Two commands, because only policy's credentials may write control facts, and only the ledger's may
read the book.
"""

import asyncio
import os
import sys
from typing import BinaryIO

import msgspec

from services.ledger import config
from services.ledger.database import DATABASE_ERRORS, QUERIES, Database
from services.ledger.verify import ROWS_AHEAD, TIMEOUT_S
from shared.audit_chain import Entry
from shared.config import ConfigError
from shared.settings import SettingsError


def command(arguments: list[str]) -> int:
    if arguments:
        print("dump-control: takes no arguments", file=sys.stderr)
        return 2
    return main()


def main() -> int:
    """Exit status: 0 all of it is written, 2 it could not be read."""
    try:
        settings = asyncio.run(config.read(os.environ))
        count = asyncio.run(dump(config.database(settings), sys.stdout.buffer))
    except (SettingsError, ConfigError, *DATABASE_ERRORS) as error:
        print(f"dump-control: {error}", file=sys.stderr)
        return 2
    print(f"dump-control: {count} control facts", file=sys.stderr)
    return 0


async def dump(database: Database, out: BinaryIO) -> int:
    """One snapshot, in the log's order. Memory is bounded. Raises one of DATABASE_ERRORS."""
    connection = await database.inspector()
    count = 0
    try:
        async with connection.transaction(isolation="repeatable_read", readonly=True):
            kept = "SELECT * FROM audit_kept k WHERE n < coalesce((SELECT min(n) FROM audit_log), n + 1) ORDER BY n"
            alone = True
            for query, span in ((kept, ()), (QUERIES["verify_audit"], (None, None))):
                async for row in connection.cursor(query, *span, prefetch=ROWS_AHEAD, timeout=TIMEOUT_S):
                    previous = row["previous_sha256"] if alone and row["n"] > 1 else b""
                    entry = Entry(row["n"], row["seq"], row["subject"], row["message"], row["sha256"], previous)
                    out.write(msgspec.json.encode(entry) + b"\n")
                    count += 1
                    alone = query is kept
    finally:
        await connection.close(timeout=5)
    out.flush()
    return count
