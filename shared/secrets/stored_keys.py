"""Virtual keys in a secret manager (`store_virtual_keys`): written, read back, and only then used.

A key is stored as `<prefix_for_stored_virtual_keys><its alias>`; one without an alias as
`virtual-key-<its digest>`. A team may have a place of its own: `metadata.secret_manager_settings`
with `namespace`, `mount`, `path_prefix` and `data` (the field's name), for Vault.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import TypeVar

from shared.secrets import managers
from shared.secrets.base import Manager, SecretError, check_name
from shared.secrets.settings import KeyManagement
from shared.secrets.value import Secret
from shared.settings import SettingsError

SYSTEMS = frozenset({"hashicorp_vault", "aws_secret_manager", "azure_key_vault"})
"""Managers that can be written to here."""
DEADLINE_S = 5.0
PLACES_MAX = 256
"""Teams with a place of their own whose connections are kept."""

PLACE_VARIABLES = {
    "namespace": "HCP_VAULT_SECRET_NAMESPACE",
    "mount": "HCP_VAULT_MOUNT_NAME",
    "path_prefix": "HCP_VAULT_PATH_PREFIX",
    "data": "HCP_VAULT_DATA_KEY",
}
"""Of `secret_manager_settings` → the variable that says the same for all."""

Place = Mapping[str, str]
"""`secret_manager_settings` of a team; empty: as for everybody."""
T = TypeVar("T")
Make = Callable[[str, Mapping[str, str], KeyManagement], Manager]


class StoredKeys:
    def __init__(self, environ: Mapping[str, str], settings: KeyManagement, *, make: Make = managers.make) -> None:
        self._environ = environ
        self._settings = settings
        self._make = make
        self._managers: dict[tuple[tuple[str, str], ...], Manager] = {}

    def name(self, alias: str | None, digest: str) -> str:
        """Where the manager has this key. Raises SecretError for an alias that can't be a name
        there.
        """
        name = f"{self._settings.prefix_for_stored_virtual_keys}{alias or f'virtual-key-{digest}'}"
        if self._settings.system == "azure_key_vault":
            name = name.replace("/", "-") if alias is None or "/" not in alias else name
            if not all(c.isascii() and (c.isalnum() or c == "-") for c in name) or len(name) > 127:
                raise SecretError("bad_name", self._settings.system, name, "letters, digits and dashes alone")
        return check_name(self._settings.system, name)

    async def put(self, name: str, value: Secret, place: Place) -> None:
        """Written, and read back. Raises SecretError."""
        manager = self._at(place)
        await self._within(name, manager.write(name, value.reveal()))
        found = await self._within(name, manager.read(name))
        if found != value.reveal():
            raise SecretError("not_stored", self._settings.system, name, "another value came back")

    async def get(self, name: str, place: Place) -> Secret | None:
        """Raises SecretError."""
        found = await self._within(name, self._at(place).read(name))
        return Secret(found) if found else None

    async def remove(self, name: str, place: Place) -> None:
        """Raises SecretError."""
        await self._within(name, self._at(place).delete(name))

    async def close(self) -> None:
        for manager in self._managers.values():
            await manager.close()

    def _at(self, place: Place) -> Manager:
        """Raises SecretError."""
        key = tuple(sorted((name, text) for name, text in place.items() if name in PLACE_VARIABLES and text))
        found = self._managers.get(key)
        if found is None:
            if key and self._settings.system != "hashicorp_vault":
                raise SecretError("not_supported", self._settings.system, "", "a team's own place")
            if len(self._managers) >= PLACES_MAX:
                raise SecretError("not_supported", self._settings.system, "", f"more than {PLACES_MAX} places")
            environ = {**self._environ, **{PLACE_VARIABLES[name]: text for name, text in key}}
            found = self._managers[key] = self._make(self._settings.system, environ, self._settings)
        return found

    async def _within(self, name: str, work: Awaitable[T]) -> T:
        try:
            async with asyncio.timeout(DEADLINE_S):
                return await work
        except TimeoutError:
            raise SecretError("timeout", self._settings.system, name) from None


def of(settings: KeyManagement, environ: Mapping[str, str]) -> StoredKeys | None:
    """None where keys aren't stored. Raises SettingsError for a manager that can't be written
    to.
    """
    if not settings.store_virtual_keys:
        return None
    if settings.system not in SYSTEMS or settings.primary_secret_name is not None:
        known = ", ".join(sorted(SYSTEMS))
        raise SettingsError(
            "general_settings.key_management_settings.store_virtual_keys needs a key_management_system that can be written to"
            f" ({known}), without primary_secret_name"
        )
    return StoredKeys(environ, settings)
