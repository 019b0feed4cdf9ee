"""Recording PAYLOAD: beside the other streams, by one ledger at a time, and no reason for not being ready, as it is no evidence."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

from services.ledger.config import LedgerSettings
from services.ledger.database import Database
from services.ledger.lag import LagWatch
from services.ledger.lock import Lock
from services.ledger.payload import PayloadPoster
from services.ledger.record import Recorder
from services.ledger.trim import Trimmer
from shared.bus import BusClient

LOCK = 1_000_010
KEEP_HOURS = 1.0
"""What the book has of prompts stays no longer in the broker."""


def works(
    client: BusClient, database: Database, settings: LedgerSettings, stopping: asyncio.Event, now_ms: Callable[[], int]
) -> list[Coroutine[Any, Any, None]]:
    poster = PayloadPoster(database)
    recorder = Recorder(client, poster, settings, stopping)
    trimmer = Trimmer(client, recorder, poster.stream, poster.subject, KEEP_HOURS, stopping, now_ms)
    lock = Lock(database, LOCK, poster.label, stopping)

    async def work() -> None:
        async with asyncio.TaskGroup() as group:
            for part in (recorder.run(), trimmer.run()):
                group.create_task(part)

    watch = LagWatch(client, recorder, lock, poster.stream, poster.label, stopping)
    return [lock.run(work), watch.run()]
