"""The configuration, read again while we run: when its file changes, or on SIGHUP (after a secret
manager has another value).

What can't be read or isn't right changes nothing: what was in force stays, the log says why, and
`tollgate_configuration_in_force` is 0 until a file is taken. A file is read once it has stayed the
same for a moment: nobody gets half of one that is being written.
"""

from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path

import prometheus_client
import structlog

from shared.config import Config, ConfigError, reading
from shared.service import Life
from shared.settings import SettingsError
from shared.startup import Source
from shared.waiting import set_within

log = structlog.get_logger()

EVERY_S = 1.0
"""How often the files are looked at."""

Stamp = tuple[int, int, int]
"""Inode, time of the last change, size."""
Apply = Callable[[Config, Mapping[str, str]], Awaitable[list[str]]]
"""(configuration, environment with its plaintexts) → names of what only a restart puts into force.

Raises ConfigError or SettingsError, having changed nothing."""

in_force = prometheus_client.Gauge(
    "tollgate_configuration_in_force", "1 when the configuration file as it stands is in force, 0 when it was refused"
)
reloads = prometheus_client.Counter("tollgate_configuration_reloads", "Configurations put into force since the start")


class Files:
    """The file with those it includes: what tells whether one of them has changed."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._main: Stamp | None = None
        self._included: list[Path] = []

    def stamps(self) -> tuple[Stamp | None, ...]:
        """None in it: that one can't be read."""
        main = _stamp(Path(self._path))
        if main != self._main:
            self._main, self._included = main, reading.included(self._path)
        return (main, *map(_stamp, self._included))


def _stamp(file: Path) -> Stamp | None:
    """Kubernetes swaps a link: the inode of what it leads to is another one."""
    try:
        found = file.stat()
    except OSError:
        return None
    return found.st_ino, found.st_mtime_ns, found.st_size


async def keep(life: Life, source: Source, apply: Apply) -> None:
    """For ever: never raises but for cancellation."""
    in_force.set(1)
    files = Files(source.path)
    taken = seen = files.stamps()
    while True:
        asked = await set_within(life.asked_to_reload, EVERY_S)
        life.asked_to_reload.clear()
        before, seen = seen, files.stamps()
        if not asked and (seen == taken or seen != before):
            continue
        taken = seen
        await _take(source, apply)


async def _take(source: Source, apply: Apply) -> None:
    try:
        found = await source.reread()
        try:
            if not found.config.keys:
                raise ConfigError(f"{source.path} says nothing")
            later = await apply(found.config, found.environ)
            await source.become(found)
        finally:
            await found.close()
    except (ConfigError, SettingsError) as error:
        in_force.set(0)
        log.error("configuration_refused", reason=str(error))
    except Exception as error:  # a service that serves isn't ended by what it can't take over
        in_force.set(0)
        log.exception("configuration_not_applied", error=type(error).__name__)
    else:
        in_force.set(1)
        reloads.inc()
        log.info("configuration_in_force", after_a_restart_only=later)
