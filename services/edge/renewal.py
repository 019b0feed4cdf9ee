"""What a running edge does when its configuration is another one: the file was changed, or a secret
manager has other secrets.

Calls that run go on with what they began with; what begins from now on has the new ones.
"""

from collections.abc import Callable, Mapping

import msgspec
import structlog

from services.edge import configured
from services.edge.config import EdgeSettings
from services.edge.configured import Configured
from services.edge.parts import Parts
from shared import settings
from shared.config import Config, ConfigError
from shared.settings import SettingsError
from shared.startup import Source

log = structlog.get_logger()

Read = Callable[[Config, Mapping[str, str]], Configured]


class Renewal:
    """
    Args:
        found: what is in force.
        read: makes it of a configuration, as at start.
    """

    def __init__(self, source: Source, conf: EdgeSettings, found: Configured, read: Read) -> None:
        self._source = source
        self._nats_url = conf.nats_url
        self._found = found
        self._read = read
        self._parts: Parts | None = None
        source.on_change = self._changed

    async def run(self, parts: Parts) -> None:
        """Until it is cancelled."""
        self._parts = parts
        await self._source.watch(lambda: not parts.bus_client.is_up)

    async def refused(self) -> None:
        """A provider refused a key: look whether there is another one."""
        await self._source.refused()

    async def apply(self, config: Config, environ: Mapping[str, str]) -> list[str]:
        """Put it into force. Names of what waits for a restart. Raises ConfigError or
        SettingsError, having changed nothing.
        """
        return self._apply(config, environ)

    def _apply(self, config: Config, environ: Mapping[str, str]) -> list[str]:
        url = settings.read(EdgeSettings, environ).nats_url
        before, found = self._found, self._read(config, environ)
        if self._parts is None:
            return []
        self._found = msgspec.structs.replace(found, targets_before=frozenset(before.targets))
        if url != self._nats_url:
            self._nats_url = url
            self._parts.bus_client.use(url)
        return configured.replace(self._parts, before, found)

    def _changed(self) -> None:
        try:
            self._apply(self._source.config, self._source.environ)
        except (ConfigError, SettingsError) as error:
            log.error("changed_secrets_not_used", reason=str(error)[:300])
