"""What moderation makes of a configuration before it knows the bus: for `check-config`."""

import asyncio
from collections.abc import Mapping

from services.moderation.config import ModerationSettings, cache_dir
from services.moderation.guardrails import table
from services.moderation.guardrails.parts import Parts
from shared import settings
from shared.outbound import Guard, Outbound, OutboundSettings
from shared.startup import configuration


async def reads(environ: Mapping[str, str]) -> dict[str, str]:
    """Nothing. Raises ConfigError or SettingsError."""
    config, found = await configuration(settings.read(ModerationSettings, environ).config, environ, "moderation")
    where = str(cache_dir(settings.read(ModerationSettings, found).cache_dir, found))
    outbound = Outbound(OutboundSettings.read(found), Guard(any_address=True))
    try:
        await asyncio.to_thread(
            table.load, Parts(config=config, environ=dict(found), cache_dir=where, outbound=outbound)
        )
    finally:
        await outbound.close()
    return {}
