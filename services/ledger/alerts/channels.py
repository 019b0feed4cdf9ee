"""How an alert is sent: Slack's incoming webhook, a webhook of one's own, e-mail."""

import asyncio
import hashlib
import smtplib
import ssl
from collections.abc import Mapping
from datetime import UTC, datetime
from email.message import EmailMessage
from typing import Any

import msgspec

from services.ledger.alerts.settings import ALL, AlertSettings, Smtp
from shared.outbound import Outbound, OutboundError

DEADLINE_MS = 10_000
TEXT_CHARACTERS_MAX = 3_000
"""Slack shows about so much of a message without folding it."""

Row = Mapping[str, Any]


class ChannelError(Exception):
    """The message isn't there. The text has no secret in it.

    Args:
        lasting: it won't be taken however often it comes.
    """

    def __init__(self, reason: str, *, lasting: bool = False) -> None:
        super().__init__(reason)
        self.lasting = lasting


class Channels:
    def __init__(self, settings: AlertSettings, outbound: Outbound) -> None:
        self._settings = settings
        self._outbound = outbound

    async def send(self, channel: str, alert: Row) -> None:
        """Raises ChannelError. `alert`: id, type, level, message, found, at_ms."""
        if channel == "slack":
            urls = self._settings.slack.get(alert["type"]) or self._settings.slack.get(ALL) or ()
            for url in urls:
                await self._post("slack", url.reveal(), msgspec.json.encode(slack(alert)), alert["id"])
        elif channel == "webhook":
            url_ = self._settings.webhook
            if url_ is not None:
                await self._post("webhook", url_.reveal(), msgspec.json.encode(webhook(alert)), alert["id"])
        elif self._settings.smtp is not None:
            try:
                await asyncio.to_thread(mail, self._settings.smtp, alert)
            except (OSError, smtplib.SMTPException, ssl.SSLError) as error:
                lasting = isinstance(error, smtplib.SMTPRecipientsRefused | smtplib.SMTPSenderRefused)
                raise ChannelError(f"email: {type(error).__name__}", lasting=lasting) from None

    async def _post(self, channel: str, url: str, body: bytes, id: str) -> None:
        headers = {"Content-Type": "application/json", "Idempotency-Key": id[:200].encode("ascii", "replace").decode()}
        try:
            answer = await self._outbound.send(
                "POST", url, headers=headers, body=body, deadline_ms=DEADLINE_MS, answer_bytes_max=65_536
            )
        except OutboundError as error:
            raise ChannelError(f"{channel}: {error.code}") from None
        if answer.status >= 300:
            lasting = answer.status < 500 and answer.status not in (408, 429)
            raise ChannelError(f"{channel}: status {answer.status}", lasting=lasting)


def text(alert: Row) -> str:
    """As LiteLLM's messages look: what kind, how bad, when, what."""
    at = datetime.fromtimestamp(alert["at_ms"] / 1000, UTC).strftime("%Y-%m-%d %H:%M:%S")
    times = f"\nTimes: {alert['found']}" if alert["found"] > 1 else ""
    return f"Alert type: `{alert['type']}`\nLevel: `{alert['level']}`\nTimestamp: `{at}` UTC\n\nMessage: {alert['message']}{times}"


def slack(alert: Row) -> dict[str, str]:
    """Slack's three control characters are escaped
    (api.slack.com/reference/surfaces/formatting).
    """
    escaped = text(alert)[:TEXT_CHARACTERS_MAX].replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return {"text": escaped}


def webhook(alert: Row) -> dict[str, Any]:
    """LiteLLM's WebhookEvent, as far as an alert has its fields."""
    return {
        "id": alert["id"],
        "event": alert["type"],
        "event_group": "proxy",
        "event_message": alert["message"],
        "level": alert["level"],
        "count": alert["found"],
        "timestamp": datetime.fromtimestamp(alert["at_ms"] / 1000, UTC).isoformat(),
    }


def mail(smtp: Smtp, alert: Row) -> None:
    """Blocks: in a thread."""
    message = EmailMessage()
    message["Subject"] = f"[Tollgate] {alert['level']}: {alert['type']}"
    message["From"], message["To"] = smtp.sender, ", ".join(smtp.to)
    message["Message-ID"] = f"<{hashlib.sha256(alert['id'].encode()).hexdigest()[:32]}@tollgate>"
    message.set_content(text(alert).replace("`", ""))
    with smtplib.SMTP(smtp.host, smtp.port, timeout=DEADLINE_MS / 1000) as server:
        if smtp.tls:
            server.starttls(context=ssl.create_default_context())
        if smtp.username and smtp.password is not None:
            server.login(smtp.username, smtp.password.reveal())
        server.send_message(message)
