"""What a running edge does when a secret manager has other secrets: providers' keys, the admin page's, the login at the broker.

Calls that run go on with what they began with; what begins from now on has the new ones.
"""

from collections.abc import Callable
from typing import Any

import structlog

from services.edge.config import EdgeSettings
from services.edge.parts import Parts
from services.edge.providers.base import Target
from services.edge.sso.state import Sso
from shared import settings
from shared.config import Config, ConfigError
from shared.ids import DeploymentId
from shared.settings import SettingsError
from shared.startup import Source

log = structlog.get_logger()

Build = Callable[[Config, Any], tuple[dict[DeploymentId, Target], dict[DeploymentId, str]]]
"""(configuration, environment) → (targets, those that can't be called with the reasons)."""
BuildSso = Callable[[Config, Any], Sso]


class Renewal:
    """
    Args:
        targets, sso: make them of a configuration, as at start.
    """

    def __init__(self, source: Source, conf: EdgeSettings, targets: Build, sso: BuildSso) -> None:
        self._source = source
        self._nats_url = conf.nats_url
        self._targets = targets
        self._sso = sso
        self._own = frozenset(each.id for each in source.config.deployments)
        self._parts: Parts | None = None

    async def run(self, parts: Parts) -> None:
        """Until it is cancelled, or where nothing can change."""
        self._parts = parts
        await self._source.watch(self._changed, lambda: not parts.bus_client.is_up)

    async def refused(self) -> None:
        """A provider refused a key: look whether there is another one."""
        if await self._source.refused():
            self._changed()

    def _changed(self) -> None:
        parts, config, environ = self._parts, self._source.config, self._source.environ
        if parts is None:
            return
        try:
            url = settings.read(EdgeSettings, environ).nats_url
            targets, left_out = self._targets(config, environ)
            sso = self._sso(config, environ)
        except (ConfigError, SettingsError) as error:
            log.error("changed_secrets_not_used", reason=str(error)[:300])
            return
        for gone in self._own.difference(targets):
            parts.targets.pop(gone, None)
        for name in self._own.union(targets):
            parts.left_out.pop(name, None)
        parts.targets.update(targets)
        parts.left_out.update(left_out)
        parts.stored.renew(config, environ)
        self._own = frozenset((*targets, *left_out))
        parts.sso.take(sso)
        if url != self._nats_url:
            self._nats_url = url
            parts.bus_client.use(url)
