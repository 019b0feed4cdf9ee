"""What a running replica does when a secret manager has other secrets: the master key, the login at
the broker.

That there is another master key is a control fact (`control.setting.master_key`, without anything
of the key), so every edge forgets what it was told of the one before, and the audit log has it.
Each replica says so once it knows the key itself: an edge that forgot at the first one's word may
have asked one that didn't yet.
"""

import asyncio
import contextlib
from collections.abc import Callable, Mapping

import structlog

from services.policy.admin import Admin
from services.policy.config import PolicySettings
from services.policy.current import insist
from services.policy.directory import Directory
from services.policy.master_key import MasterKey
from services.policy.plan import Change, setting
from shared import settings
from shared.bus import BusClient
from shared.clock import unix_ms
from shared.config import Config
from shared.entities import iso
from shared.startup import Source

log = structlog.get_logger()

NAME = "master_key"
ASK_S_MAX = 0.5
"""A decision waits so long for the manager: others may have been asked for in the same message."""


def announced(directory: Directory, now_ms: int) -> Change:
    return setting(directory, NAME, {"changed_at": iso(now_ms)}, "secret manager", now_ms)


class Renewal:
    def __init__(
        self,
        source: Source,
        key: MasterKey,
        client: BusClient,
        wanted: PolicySettings,
        now_ms: Callable[[], int] = unix_ms,
    ) -> None:
        self._source = source
        self._key = key
        self._client = client
        self._nats_url = wanted.nats_url
        self._grace_ms = int(wanted.master_key_grace_s * 1000)
        self._now_ms = now_ms
        self._untold = asyncio.Event()
        source.on_change = self._changed

    async def unknown_key(self) -> bool:
        """Somebody came with a key that nobody has: whether there is another master key since a
        moment.
        """
        before = self._key.changes
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._source.refused(), ASK_S_MAX)
        return self._key.changes != before

    @property
    def is_worth_asking(self) -> bool:
        return self._source.may_ask

    async def run(self, admin: Admin) -> None:
        """Until it is cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._source.watch(lambda: not self._client.is_up))
            group.create_task(self._tell(admin))

    async def _tell(self, admin: Admin) -> None:
        async def tell() -> bool:
            self._untold.clear()
            return await admin.announce(announced)

        while True:
            await self._untold.wait()
            await insist(tell)

    def _changed(self) -> None:
        self.take(self._source.config, self._source.environ)

    def take(self, config: Config, environ: Mapping[str, str]) -> None:
        """The secrets of this configuration, from now on."""
        key = config.master_key
        if key is not None and self._key.replace(key, self._now_ms(), self._grace_ms):
            log.info("master_key_changed")
            self._untold.set()
        url = settings.read(PolicySettings, environ).nats_url
        if url != self._nats_url:
            self._nats_url = url
            self._client.use(url)
