"""Messages to people about what is going on (`general_settings.alerting: ["slack"]`,
`SLACK_WEBHOOK_URL`).

They never are in a call's way: `tell` puts a message into a bounded queue, a task of its own sends
it, trying again for an hour when Slack doesn't answer. One message a minute for each kind and
caller; what was kept back is counted in the next one.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

import msgspec
import structlog

from shared.config import ConfigError
from shared.outbound import Outbound, OutboundError
from shared.secrets.value import Secret
from shared.waiting import ended

log = structlog.get_logger()

EVERY_S = 60.0
WAITING_MAX = 256
KINDS_MAX = 10_000
"""Of (kind, caller) in a minute; past that, who comes is one of `others`."""
TRY_AFTER_S = (0.0, 1.0, 5.0, 30.0, *(60.0,) * 60)
"""An hour and more: Slack is away for minutes now and then. What waits meanwhile is bounded."""
DEADLINE_MS = 10_000
TEXT_CHARACTERS_MAX = 3_000


def webhook(general_settings: Mapping[str, Any], environ: Mapping[str, str]) -> Secret | None:
    """Where alerts go; None: nowhere. Raises ConfigError where they are asked for and can't go
    anywhere.
    """
    alerting = general_settings.get("alerting")
    if alerting is None:
        return None
    if not isinstance(alerting, list) or not all(isinstance(each, str) for each in alerting):
        raise ConfigError("general_settings.alerting: a list is needed, such as ['slack']")
    if "slack" not in alerting:
        return None
    url = environ.get("SLACK_WEBHOOK_URL", "").strip()
    if not url and not general_settings.get("alert_to_webhook_url"):
        raise ConfigError("general_settings.alerting: 'slack' needs SLACK_WEBHOOK_URL in the environment")
    return Secret(url) if url else None


class Alerts:
    """
    Args:
        url: Slack's incoming webhook; None: nobody is told.
        seconds: a clock that only goes forward.
    """

    def __init__(self, outbound: Outbound | None, url: Secret | None, seconds: Callable[[], float]) -> None:
        self._outbound = outbound
        self._url = url
        self._seconds = seconds
        self._told: dict[tuple[str, str], tuple[float, int]] = {}
        """(kind, caller) → when the last message was, and how many were kept back since."""
        self._waiting: deque[str] = deque()
        self._task: asyncio.Task[None] | None = None
        self.sent = self.lost = 0

    @property
    def can_tell(self) -> bool:
        return self._url is not None and self._outbound is not None

    def tell(self, kind: str, who: str, text: str) -> None:
        """At most one message a minute for each kind and caller. Returns at once."""
        if self._url is None or self._outbound is None:
            return
        now = self._seconds()
        key = kind, who
        if key not in self._told and len(self._told) >= KINDS_MAX:
            self._told = {each: told for each, told in self._told.items() if now - told[0] < EVERY_S}
            if len(self._told) >= KINDS_MAX:
                key = kind, "others"
        last, kept_back = self._told.get(key, (None, 0))
        if last is not None and now - last < EVERY_S:
            self._told[key] = last, kept_back + 1
            return
        self._told[key] = now, 0
        if kept_back:
            text += f"\nSince the last message of this kind: {kept_back} more"
        if len(self._waiting) >= WAITING_MAX:
            self._waiting.popleft()
            self.lost += 1
        self._waiting.append(_slack(text))
        if self._task is None or self._task.done():
            self._task = asyncio.get_running_loop().create_task(self._run())

    async def close(self) -> None:
        if self._task is not None:
            await ended(self._task)

    async def _run(self) -> None:
        while self._waiting:
            message = self._waiting.popleft()  # at once: the oldest of those that wait may have to make room meanwhile
            if await self._send(message.encode()):
                self.sent += 1
            else:
                self.lost += 1
                log.warning("alert_not_delivered")

    async def _send(self, body: bytes) -> bool:
        assert self._outbound is not None and self._url is not None
        for wait_s in TRY_AFTER_S:
            await asyncio.sleep(wait_s)
            try:
                answer = await self._outbound.send(
                    "POST",
                    self._url.reveal(),
                    headers={"Content-Type": "application/json"},
                    body=body,
                    deadline_ms=DEADLINE_MS,
                    answer_bytes_max=65_536,
                )
            except OutboundError as error:
                log.info("alert_delayed", error=error.code)
                continue
            if answer.status < 300:
                return True
            if answer.status < 500 and answer.status != 429:
                return False  # Slack won't take it however often it comes
        return False


def _slack(text: str) -> str:
    """A message as LiteLLM's look: level, time, text."""
    now = datetime.now(UTC).strftime("%H:%M:%S")
    text = text[:TEXT_CHARACTERS_MAX].replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return msgspec.json.encode({"text": f"Level: `Medium`\nTimestamp: `{now}`\n\nMessage: {text}"}).decode()
