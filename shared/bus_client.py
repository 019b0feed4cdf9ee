"""A service's connection by the client library, with what the library does otherwise than we need
it.
"""

import asyncio
from typing import Any

import nats.errors
import structlog
from nats.aio.client import PING_PROTO, Client, Srv

from shared import nkeys
from shared.batching import Bundler
from shared.settings import SettingsError
from shared.wire import Wire

log = structlog.get_logger()

AUTHORIZATION_VIOLATION = "authorization violation"
SAME_EVERY_S = 10.0
"""For the library's same complaint."""
COMPLAINTS_MAX = 32
"""Of different ones at a time."""


class BusClient(Client):
    """The library's client, and beside it the wire.

    nats-py writes a PING past the commands that still wait to be sent, so that after `flush()` a
    subscription may not exist yet, and while a subscription drains questions are lost. Here the
    PING waits its turn.
    """

    wire: Wire | None = None
    """None: no server took it."""
    bundler: Bundler
    """Of the wire's questions."""
    nkey_file: str = ""
    """See BusSettings."""

    @property
    def is_up(self) -> bool:
        """Whether all of it is connected."""
        return self.is_connected and (self.wire is None or self.wire.is_connected)

    async def close(self) -> None:
        if self.wire is not None:
            await self.wire.close()
        await super().close()

    def use(self, url: str) -> None:
        """Connect as this says from the next connection on; those that stand go on standing. `url`
        as for `connect`.
        """
        self._server_pool[:] = [Srv(self._parse_server_uri(part)) for part in url.split(",")]
        if self.wire is not None:
            self.wire.use(url)

    async def _process_info(self, info: dict[str, Any], initial_connection: bool = False) -> None:
        """Servers of a cluster tell of each other, by addresses without our credentials: we go only
        where we were told to.
        """
        await super()._process_info({**info, "connect_urls": None}, initial_connection)

    def _connect_command(self) -> bytes:
        """With our signature, where the server asks for one. Raises nats.errors.Error where the
        key's file can't be read any more.
        """
        nonce = self._server_info.get("nonce")
        if self.nkey_file and nonce:
            try:
                said = nkeys.login(self.nkey_file, nonce)
            except SettingsError as error:
                raise nats.errors.Error(str(error)) from None
            self._signature_cb = lambda _: said.sig.encode()
            self._user_jwt_cb = (lambda: said.jwt.encode()) if said.jwt else None
            self._public_nkey = said.nkey
        return super()._connect_command()

    async def _process_err(self, err_msg: str) -> None:
        """Credentials that the broker no longer takes break the connection, and nothing more: they
        may be known anew by the next one. The library would close for good."""
        if AUTHORIZATION_VIOLATION in err_msg and self.is_connected:
            await self._process_op_err(nats.errors.AuthorizationError())
            return
        await super()._process_err(err_msg)

    async def _flush_pending(self, force_flush: bool = False) -> Any:
        """The socket's own words for a connection that is coming down (RuntimeError is uvloop's)
        are none that who asks or publishes expects.
        """
        try:
            return await super()._flush_pending(force_flush)
        except (RuntimeError, OSError) as error:
            raise nats.errors.ConnectionClosedError from error

    async def _send_ping(self, future: asyncio.Future[Any] | None = None) -> None:
        self._pongs.append(asyncio.get_running_loop().create_future() if future is None else future)
        await self._send_command(PING_PROTO)
        await self._flush_pending()


class Complaints:
    """What the library says of itself goes to the log. While a broker is away it says the same ten
    times a second: told once in a while.
    """

    def __init__(self, service: str) -> None:
        self._service = service
        self._told: dict[tuple[str, str], tuple[float, int]] = {}
        """(kind, detail) → (when it was told, how often it was said since)."""

    def say(self, error: Exception, now_s: float) -> None:
        key = type(error).__name__, str(error)[:200]
        told_s, since = self._told.get(key, (-SAME_EVERY_S, 0))
        if now_s - told_s < SAME_EVERY_S:
            self._told[key] = told_s, since + 1
            return
        if len(self._told) >= COMPLAINTS_MAX:
            self._told.clear()
        self._told[key] = now_s, 0
        log.warning(
            "bus_error", service=self._service, error=key[0], detail=key[1], **({"times": since} if since else {})
        )
