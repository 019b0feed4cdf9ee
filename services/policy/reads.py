"""What policy makes of a configuration before it knows the bus: for `check-config`."""

from collections.abc import Mapping

from services.policy.catalog import build
from services.policy.config import PolicySettings
from shared import prices, sealing, settings
from shared.config import opening
from shared.secrets import KeyManagement
from shared.secrets.stored_keys import of as stored
from shared.startup import configuration


async def reads(environ: Mapping[str, str]) -> dict[str, str]:
    """Nothing. Raises ConfigError or SettingsError."""
    config, found = await configuration(settings.read(PolicySettings, environ).config, environ, "policy")
    wanted = settings.read(PolicySettings, found)  # with what its values refer to
    opening.refuse(config.master_key, wanted.edge_host, allow=config.allow_open_gateway)
    build(config, prices.lookup, found)
    stored(KeyManagement.of(config.general_settings), found)
    sealing.ring(found)
    return {}
