"""The partitions of the next days and months, made ahead, so that no batch has to wait for one."""

import asyncio
from collections.abc import Callable

import structlog

from services.ledger import book, facts_in
from services.ledger.database import DATABASE_ERRORS, Database
from shared.waiting import set_within

log = structlog.get_logger()

EVERY_S = 3600.0


async def keep_ahead(database: Database, stopping: asyncio.Event, now_ms: Callable[[], int]) -> None:
    """Until `stopping` is set."""
    while not stopping.is_set():
        await set_within(stopping, EVERY_S)
        try:
            await make_ahead(database, now_ms())
        except DATABASE_ERRORS as error:
            log.warning("days_not_made", error=type(error).__name__, detail=str(error)[:200])


async def make_ahead(database: Database, now_ms: int) -> None:
    """Raises one of DATABASE_ERRORS."""
    connection = await database.writer()
    try:
        await book.make_days_ahead(connection, facts_in.today(now_ms))
        await book.make_months_ahead(connection, facts_in.today(now_ms))
    finally:
        connection.terminate()
