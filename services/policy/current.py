"""The catalog in force: replaced whole when the configuration is read again.

That it was is a control fact (`control.setting.configuration`: the file's digest and the number of
models), so every edge forgets what it was told before, and the audit log has it. Each replica says
so once it has the file itself: an edge that forgot at the first one's word may have asked one that
hadn't yet. At start only another file than the last one is announced.
"""

import asyncio
import hashlib
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path

import msgspec

from services.policy.catalog import Catalog
from services.policy.directory import Directory
from services.policy.plan import Change, setting
from services.policy.stored_models import StoredModels
from services.policy.stored_settings import StoredSettings

NAME = "configuration"
RETRY_S = 0.2


class Current:
    """
    Args:
        sha256: of the configuration file; empty: there is none.
        blocked_file: of `blocked_user_list`, where that is a file.
    """

    def __init__(self, catalog: Catalog, sha256: str = "", blocked_file: Path | None = None) -> None:
        self.catalog, self.sha256, self.blocked_file = catalog, sha256, blocked_file
        self.replaced = asyncio.Event()
        """Set once, when another catalog is in force; the next one has an event of its own."""
        self._following: tuple[StoredModels | StoredSettings, ...] = ()
        self._directory: Directory | None = None

    def follow(self, directory: Directory) -> None:
        """Keep what was added and set by API in the catalog, also in the next ones."""
        for each in self._following:
            each.close()
        self._following = (StoredModels(directory, self.catalog), StoredSettings(directory, self.catalog))
        self._directory = directory

    def replace(self, catalog: Catalog, sha256: str, blocked_file: Path | None) -> None:
        """The master key's past and who delivers rotated keys are no matter of the file: they
        stay.
        """
        now = self.catalog
        self.catalog = msgspec.structs.replace(catalog, master_key=now.master_key, undeliverable=now.undeliverable)
        self.sha256, self.blocked_file = sha256, blocked_file
        if self._directory is not None:
            self.follow(self._directory)
        replaced, self.replaced = self.replaced, asyncio.Event()
        replaced.set()


def sha256_of(path: str) -> str:
    """Of the file as it is now; empty where it can't be read."""
    try:
        return hashlib.sha256(Path(path).read_bytes()).hexdigest()
    except OSError:
        return ""


def announced(directory: Directory, current: Current, now_ms: int, *, again: bool) -> Change | None:
    """The fact that says what is in force now; None: it says so already, and it needn't be said
    again, or there is no file.
    """
    if not current.sha256:
        return None
    value = {"sha256": current.sha256, "models": len(current.catalog.models) + len(current.catalog.patterns)}
    before = directory.settings.get(NAME)
    if not again and before is not None and before.value == value:
        return None
    return setting(directory, NAME, value, "file", now_ms)


async def keep_announced(current: Current, announce: Callable[[bool], Awaitable[bool]]) -> None:
    """For ever.

    Args:
        announce: publishes what is in force (also where that was said before); False: not now, try
            again.
    """
    again = False
    while True:
        replaced = current.replaced
        await insist(partial(announce, again))
        await replaced.wait()
        again = True


async def insist(announce: Callable[[], Awaitable[bool]]) -> None:
    """Until it is said: again and again while somebody is faster, or the broker is away."""
    while not await announce():  # noqa: ASYNC110
        await asyncio.sleep(RETRY_S)
