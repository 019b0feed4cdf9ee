"""What can't go by the table of alerts: that a ledger reaches its database or the broker no more.
Each ledger tells of itself.
"""

import asyncio
import time
from collections.abc import Callable

import structlog

from services.ledger.alerts.channels import ChannelError, Channels
from services.ledger.alerts.settings import AlertSettings
from shared.clock import unix_ms
from shared.waiting import set_within

log = structlog.get_logger()

EVERY_S = 1.0
AFTER_S = 30.0
"""A restart of either takes less."""
AGAIN_S = 30.0
"""Between two tries to tell it."""


class Watch:
    """
    Args:
        reason: why this ledger can't work; None: it can.
        name: which ledger this is.
        clock: seconds that only go forward.
    """

    def __init__(
        self,
        settings: AlertSettings,
        channels: Channels,
        reason: Callable[[], str | None],
        name: str,
        stopping: asyncio.Event,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._settings = settings
        self._channels = channels
        self._reason = reason
        self._name = name
        self._stopping = stopping
        self._clock = clock
        self._since: float | None = None
        self._waiting: list[str] = []
        """Channels that haven't been told of the present trouble."""
        self._told = False
        self._again_at = 0.0

    async def run(self) -> None:
        while not self._stopping.is_set():
            await self.look()
            await set_within(self._stopping, EVERY_S)

    async def look(self) -> None:
        now, reason = self._clock(), self._reason()
        if reason is None:
            if self._told:
                await self._tell(
                    list(self._settings.channels), "Low", f"Ledger `{self._name}` works again", "broker_degraded"
                )
            self._since, self._told = None, False
            return
        if self._since is None:
            self._since, self._waiting = now, list(self._settings.channels)
        if now - self._since >= AFTER_S and self._waiting and now >= self._again_at:
            type = "db_exceptions" if "database" in reason else "broker_degraded"
            message = f"Ledger `{self._name}` can't work since {now - self._since:.0f} s: {reason}. Facts wait in the stream; none is lost"
            self._waiting = await self._tell(self._waiting, "High", message, type)
            self._told = self._told or len(self._waiting) < len(self._settings.channels)
            self._again_at = now + AGAIN_S

    async def _tell(self, channels: list[str], level: str, message: str, type: str) -> list[str]:
        """Those that don't have it."""
        at_ms = unix_ms()
        alert = {
            "id": f"{type}:{self._name}:{at_ms}",
            "type": type,
            "level": level,
            "message": message,
            "found": 1,
            "at_ms": at_ms,
        }
        left = []
        for channel in channels:
            try:
                await self._channels.send(channel, alert)
            except ChannelError as error:
                log.warning("alert_delayed", alert=type, reason=str(error))
                left.append(channel)
        return left
