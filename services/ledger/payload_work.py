"""Recording PAYLOAD: beside the other streams, by one ledger at a time, and no reason for not being
ready, as it is no evidence.
"""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import structlog

from services.ledger.config import LedgerSettings
from services.ledger.database import Database
from services.ledger.lag import LagWatch
from services.ledger.lock import Lock
from services.ledger.ordered_consumer import BUS_ERRORS
from services.ledger.payload import PayloadPoster
from services.ledger.trim import Trimmer
from services.ledger.writer import Writer
from shared import streams, subjects
from shared.bus import BusClient
from shared.settings import SettingsError
from shared.waiting import set_within, together

log = structlog.get_logger()

LOCK = 1_000_010
STREAM_EVERY_S = 2.0
KEEP_HOURS = 1.0
"""What the book has of prompts stays no longer in the broker."""


def works(
    client: BusClient, database: Database, settings: LedgerSettings, stopping: asyncio.Event, now_ms: Callable[[], int]
) -> list[Coroutine[Any, Any, None]]:
    poster = PayloadPoster(database)
    recorder = Writer(client, poster, settings, stopping)
    trimmer = Trimmer(client, recorder, poster.stream, poster.subject, KEEP_HOURS, stopping, now_ms)
    lock = Lock(database, LOCK, poster.label, stopping)

    async def work() -> None:
        await together(recorder.run(), trimmer.run())

    watch = LagWatch(client, recorder, lock, poster.stream, poster.label, stopping)
    return [_keep_stream(client, settings, stopping), lock.run(work), watch.run()]


async def _keep_stream(client: BusClient, settings: LedgerSettings, stopping: asyncio.Event) -> None:
    """The stream is there, also after a broker came back without its data. A broker that doesn't
    let us (its configuration is an older one) costs prompts, not the service."""
    there = told = False
    while not stopping.is_set():
        try:
            if there:
                await streams.state(client, subjects.PAYLOAD_STREAM)
            else:
                await streams.ensure_payload(client, settings.payload_stream_bytes_max, settings.stream_replicas)
            there, told = True, False
        except (*BUS_ERRORS, SettingsError) as error:
            if not told:
                log.error("payload_stream_not_there", error=type(error).__name__, detail=str(error)[:200])
            there, told = False, True
        await set_within(stopping, STREAM_EVERY_S)
