"""References to values, with a cache that survives a manager's bad hour.

One asking at a time for a name, however many want it; a value is used for `ttl_s` and asked for
again in the background from half of that on; a name that isn't there is remembered for
`missing_ttl_s`; while the manager can't say, the last value it gave stands.
"""

import asyncio
import time
from collections.abc import Callable, Iterable, Mapping

import msgspec
import structlog

from shared.secrets import managers, references
from shared.secrets.base import Manager, SecretError
from shared.secrets.settings import KeyManagement
from shared.secrets.value import Secret
from shared.waiting import ended

log = structlog.get_logger()

DEADLINE_S = 5.0
TTL_S = 300.0
MISSING_TTL_S = 30.0
AGAIN_S = 5.0
"""How long a manager that couldn't say isn't asked for the same name, while there is a last
value.
"""
ENTRIES_MAX = 10_000
ASKED_AT_ONCE_MAX = 32

Make = Callable[[str, Mapping[str, str], KeyManagement], Manager]


class _Entry(msgspec.Struct):
    value: Secret | None
    fresh_until: float
    ends_at: float


class Secrets:
    """
    Args:
        make: makes a manager by its name; `managers.make` but in tests.
        now: monotonic seconds.
    """

    def __init__(
        self,
        environ: Mapping[str, str],
        settings: KeyManagement | None = None,
        *,
        make: Make = managers.make,
        now: Callable[[], float] = time.monotonic,
        deadline_s: float = DEADLINE_S,
        ttl_s: float = TTL_S,
        missing_ttl_s: float = MISSING_TTL_S,
    ) -> None:
        self._environ = environ
        self._settings = settings or KeyManagement()
        self._make = make
        self._now = now
        self._deadline_s = deadline_s
        self._ttl_s = ttl_s
        self._missing_ttl_s = missing_ttl_s
        self._managers: dict[str, Manager] = {}
        self._entries: dict[tuple[str, str], _Entry] = {}
        self._asking: dict[tuple[str, str], asyncio.Task[Secret | None]] = {}
        self._gate = asyncio.Semaphore(ASKED_AT_ONCE_MAX)

    async def resolve(self, text: str) -> Secret | None:
        """The value of a reference; of what is no reference, itself. None: there is no such secret,
        or it is empty.

        Raises SecretError where the manager that the reference names can't say and never could. A
        manager that only stands in front of the environment (`os.environ/NAME`) and can't say is
        logged, and the environment answers.
        """
        reference = references.parse(text)
        if reference is None:
            return Secret(text)
        if reference.manager:
            return await self._from(reference.manager, reference.name)
        if self._settings.hosts(reference.name):
            try:
                found = await self._from(self._settings.system, reference.name)
            except SecretError as error:
                if not self._environ.get(reference.name):
                    raise
                log.warning(
                    "secret_manager_failed", manager=self._settings.system, name=reference.name, code=error.code
                )
                found = None
            if found is not None:
                return found
        value = self._environ.get(reference.name)
        return Secret(value) if value else None

    async def resolve_all(self, texts: Iterable[str]) -> dict[str, Secret | None]:
        """Side by side, at most ASKED_AT_ONCE_MAX at a manager. Raises the first SecretError."""
        wanted = list(dict.fromkeys(texts))
        return dict(zip(wanted, await asyncio.gather(*map(self.resolve, wanted)), strict=True))

    async def again(self, text: str, refused: Secret) -> Secret | None:
        """After a provider refused a value: asks the manager now, unless another value is known
        already. Raises SecretError.
        """
        reference = references.parse(text)
        if reference is None:
            return None
        manager = reference.manager or (self._settings.system if self._settings.hosts(reference.name) else "")
        if manager:
            key = (manager, reference.name)
            entry = self._entries.get(key)
            if entry is not None and entry.value == refused:
                entry.fresh_until = entry.ends_at = 0.0
        found = await self.resolve(text)
        return None if found == refused else found

    def doubt(self) -> None:
        """Nothing that is known is believed any more: the next to want a value has its manager
        asked. Kept is it all the same, for a manager that can't say."""
        for entry in self._entries.values():
            entry.fresh_until = entry.ends_at = 0.0

    async def close(self) -> None:
        await ended(*self._asking.values())
        for manager in self._managers.values():
            await manager.close()

    def manager(self, name: str) -> Manager:
        """Raises SecretError or SettingsError."""
        found = self._managers.get(name)
        if found is None:
            found = self._managers[name] = self._make(name, self._environ, self._settings)
        return found

    async def _from(self, manager: str, name: str) -> Secret | None:
        key = (manager, name)
        entry, now = self._entries.get(key), self._now()
        if entry is not None and now < entry.fresh_until:
            return entry.value
        asking = self._asking.get(key)
        if asking is None:
            asking = self._asking[key] = asyncio.create_task(self._ask(key))
            asking.add_done_callback(_retrieved)
        if entry is not None and now < entry.ends_at:
            return entry.value  # fetched ahead in the background
        return await asyncio.shield(asking)

    async def _ask(self, key: tuple[str, str]) -> Secret | None:
        manager, name = key
        entry = self._entries.get(key)
        try:
            async with self._gate:
                try:
                    async with asyncio.timeout(self._deadline_s):
                        found = await self.manager(manager).read(name)
                except TimeoutError:
                    raise SecretError("timeout", manager, name) from None
        except SecretError as error:
            if entry is None or entry.value is None:
                raise
            log.warning("secret_kept", manager=manager, name=name, code=error.code)
            entry.fresh_until = entry.ends_at = self._now() + AGAIN_S
            return entry.value
        finally:
            self._asking.pop(key, None)
        value = Secret(found) if found else None
        ttl_s, now = self._ttl_s if value is not None else self._missing_ttl_s, self._now()
        if len(self._entries) >= ENTRIES_MAX:
            self._entries.pop(next(iter(self._entries)))
        self._entries[key] = _Entry(value, now + (ttl_s / 2 if value is not None else ttl_s), now + ttl_s)
        return value


def _retrieved(task: "asyncio.Task[Secret | None]") -> None:
    """Its failure is nobody's when all who asked have left."""
    if not task.cancelled():
        task.exception()
