"""Keys that rotate by themselves are delivered to the secret manager that stores keys
(delivery.py).
"""

from collections.abc import Callable

from services.policy.directory import Directory
from services.policy.key_moves import place
from shared.entities import Key
from shared.secrets import Secret, SecretError
from shared.secrets.stored_keys import StoredKeys


class KeyStore:
    """
    Args:
        directory: the replica's, as it is now: where a key's team keeps its keys.
    """

    def __init__(self, stored: StoredKeys, directory: Callable[[], Directory]) -> None:
        self._stored = stored
        self._directory = directory

    def refuses(self, key: Key) -> str | None:
        if key.key_alias is None:
            return "needs a key_alias: it is the name under which the secret manager has the key"
        try:
            self._stored.name(key.key_alias, key.token)
        except SecretError as error:
            return f"can't be delivered: {error}"
        return None

    async def deliver(self, key: Key, plaintext: Secret) -> None:
        name = self._stored.name(key.key_alias, key.token)
        await self._stored.put(name, plaintext, place(self._directory(), key.team_id))
