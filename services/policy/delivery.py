"""How a key that policy itself makes (automatic rotation) reaches whoever uses it: a secret manager
that stores keys.

Without one nobody could hand the new key out, so `auto_rotate` is refused (catalog.nobody).
"""

from typing import Protocol

from shared.entities import Key
from shared.secrets import Secret

DELIVER_S_MAX = 30.0
"""Then the delivery counts as failed, and is tried again later."""


class Deliverer(Protocol):
    def refuses(self, key: Key) -> str | None:
        """Why this key's secret can't be delivered (it has no alias to be stored under), as the end
        of a sentence; None: it can. Pure.
        """
        ...

    async def deliver(self, key: Key, plaintext: Secret) -> None:
        """Store the secret where the key's users read it. Raises SecretError, OSError or
        TimeoutError: nobody has it, or nobody can say.

        It may come again with another secret for the same key: the last one counts.
        """
        ...
