"""The bucket of answers that edges share, where the configuration asks for one: made here, for who
may make a stream may have it copy another.

It lies in the broker's memory: one that was restarted has it no more, and it is made again, empty.
"""

import asyncio

import structlog

from services.ledger.ordered_consumer import BUS_ERRORS
from shared import streams
from shared.bus import BusClient
from shared.config import Config, caching
from shared.settings import SettingsError
from shared.waiting import set_within

log = structlog.get_logger()

EVERY_S = 2.0


def wanted(file: Config) -> bool:
    """Raises ConfigError."""
    is_on = bool(file.litellm.cache) or file.router.cache_responses
    return is_on and caching.kind(file.litellm.cache_params) == "nats"


async def keep(client: BusClient, bytes_max: int, stopping: asyncio.Event) -> None:
    """Until the service stops. Without it calls go on: edges take a bucket that isn't there for a
    miss.
    """
    trouble = ""
    while not stopping.is_set():
        try:
            await streams.ensure_cache(client, bytes_max)
            trouble = ""
        except (*BUS_ERRORS, SettingsError) as error:
            if trouble != str(error):
                trouble = str(error)
                log.warning("cache_bucket_not_made", error=type(error).__name__, detail=trouble[:200])
        await set_within(stopping, EVERY_S)
