"""Automatic rotation: a key with `auto_rotate` gets another secret whenever its `rotation_interval`
is over.

Every replica looks; one does it. Three steps, each harmless to stop after:

1. claim one batch: the old key says until when somebody is at it, and the new secret works already,
   as one that stands
              for the old key. Of two replicas the broker refuses one.
2. deliver    the new secret goes to the secret manager. Whoever reads it there can use it at once.
3. rotate     the command of /key/regenerate, with the secret that was delivered.

Who dies after 1 or 2 leaves an old key that works, and a claim that runs out: another replica
begins anew, with another secret. Secrets that never became the key end a day later.
"""

import asyncio
import random
from collections.abc import Callable

import structlog

from services.policy import metrics
from services.policy.admin import Admin
from services.policy.commands import rotation
from services.policy.delivery import DELIVER_S_MAX, Deliverer
from services.policy.directory import Directory
from shared.clock import unix_ms
from shared.entities import Key
from shared.errors import Refusal
from shared.ids import abbreviate_key, digest_key, new_virtual_key
from shared.secrets import Secret, SecretError

log = structlog.get_logger()

TRIES = 10
"""Of the last step, where somebody changes the key at the same instant: what was delivered must
become the key.
"""
PAUSE_S = 0.05


class Rotations:
    """
    Args:
        directory: the replica's, as it is now.
        every_s: between two looks; each replica's differ a little.
        mint: makes a key's plaintext.
    """

    def __init__(
        self,
        admin: Admin,
        directory: Callable[[], Directory],
        deliverer: Deliverer,
        *,
        every_s: float,
        now_ms: Callable[[], int] = unix_ms,
        mint: Callable[[], str] = new_virtual_key,
    ) -> None:
        self._admin = admin
        self._directory = directory
        self._deliverer = deliverer
        self._every_s = every_s
        self._now_ms = now_ms
        self._mint = mint

    async def run(self) -> None:
        """For ever."""
        while True:
            await asyncio.sleep(self._every_s * random.uniform(0.5, 1.0))
            await self.look()

    async def look(self) -> int:
        """Rotate what is due. Returns how many keys this replica rotated."""
        done = 0
        for key in rotation.due(self._directory(), self._now_ms()):
            done += await self._rotate(key)
        return done

    async def _rotate(self, key: Key) -> bool:
        plaintext = self._mint()
        body = {"key": key.token, "token": digest_key(plaintext), "key_name": abbreviate_key(plaintext)}
        refusal = await self._admin.own("/key/regenerate", rotation.claim, body)
        if refusal is not None:
            return self._failed(key, "claim", refusal)
        try:
            async with asyncio.timeout(DELIVER_S_MAX):
                await self._deliverer.deliver(key, Secret(plaintext))
        except (SecretError, OSError, TimeoutError) as error:
            metrics.rotated("not_delivered")
            log.error("key_not_delivered", key=key.token, alias=key.key_alias, detail=str(error)[:200])
            return False
        for attempt in range(1, TRIES + 1):
            refusal = await self._admin.own("/key/regenerate", rotation.regenerate, body)
            if refusal is None:
                metrics.rotated("rotated")
                log.info("key_rotated", key=key.token, alias=key.key_alias)
                return True
            if refusal.status != 409:
                break
            await asyncio.sleep(PAUSE_S * attempt)  # until this replica has seen what the other one wrote
        assert refusal is not None
        return self._failed(key, "rotate", refusal)

    def _failed(self, key: Key, step: str, refusal: Refusal) -> bool:
        """A conflict at the claim is another replica at work."""
        if step == "claim" and refusal.status == 409:
            metrics.rotated("elsewhere")
        else:
            metrics.rotated("refused")
            log.warning("key_not_rotated", key=key.token, alias=key.key_alias, step=step, code=refusal.code)
        return False
