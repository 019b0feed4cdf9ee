"""Keeps the catalog in step with the settings that somebody set while we run
(`/config/field/update`). Pure.
"""

import structlog

from services.policy import access
from services.policy.catalog import Catalog
from services.policy.directory import Directory
from shared.config import ConfigError

log = structlog.get_logger()


class StoredSettings:
    """Changes the rules in force in place, between two awaits of everything else."""

    def __init__(self, directory: Directory, catalog: Catalog) -> None:
        self._directory, self._catalog = directory, catalog
        directory.watchers.append(self.changed)
        self.changed("", "")

    def close(self) -> None:
        """The catalog isn't in force any more."""
        self._directory.watchers.remove(self.changed)

    def changed(self, kind: str, name: str) -> None:
        if kind and (kind != "setting" or name not in access.AT_RUN_TIME):
            return
        found = stored(self._directory)
        try:
            self._catalog.in_force.now = access.read({**self._catalog.general, **found}, self._catalog.environ, found)
        except ConfigError as error:  # a fact of another version: what held before goes on to hold
            log.warning("setting_not_understood", error=str(error)[:200])


def stored(directory: Directory) -> dict[str, object]:
    """Name → value of what is set."""
    return {name: directory.settings[name].value for name in access.AT_RUN_TIME if name in directory.settings}
