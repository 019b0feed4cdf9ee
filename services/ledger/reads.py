"""What the ledger makes of a configuration before it knows bus and database: for `check-config`."""

from collections.abc import Mapping

from services.ledger import config as ledger_config
from services.ledger.alerts import settings as alerts
from services.ledger.config import LedgerSettings
from services.ledger.sinks import choose
from shared import sealing, settings
from shared.identity import settings as jwt_settings
from shared.identity.verifier import own_validate
from shared.outbound import OutboundSettings, guard_of
from shared.startup import Source

_SOME_DATABASE = {"TOLLGATE_DATABASE_URL": "postgresql:///check"}
"""A file needn't name one: who starts it all brings its own."""


async def reads(environ: Mapping[str, str]) -> dict[str, str]:
    """Nothing. Raises ConfigError or SettingsError."""
    source = await Source.open(settings.read(LedgerSettings, environ).config, {**_SOME_DATABASE, **environ}, "ledger")
    try:
        found, file = source.environ, source.config
        wanted = ledger_config.completed(source)
        ledger_config.terms(wanted)
        OutboundSettings.read(found)
        guard_of(wanted.sink_networks, "TOLLGATE_SINK_NETWORKS", offline=file.general.offline)
        choose.of_config(file.litellm_settings, file.directory, file.callback_settings)
        sealing.ring(found)
        alerts.read(file.general_settings, found)
        auth = jwt_settings.read(file.general_settings, found)
        if auth is not None:
            own_validate(auth, file.directory)
    finally:
        await source.close()
    return {}
