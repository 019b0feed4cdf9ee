"""What the tests of alerts share: a server that plays Slack, and alerts on a book."""

import asyncio
import time
from datetime import UTC, datetime, timedelta
from typing import Any

from aiohttp import web

from services.ledger.alerts.channels import Channels
from services.ledger.alerts.run import Alerts
from services.ledger.alerts.settings import AlertSettings
from services.ledger.app import ALERTS_LOCK
from services.ledger.lock import Lock
from shared.outbound import Guard, Outbound, OutboundSettings
from shared.secrets.value import Secret
from tests.ledger.ledger_kit import Book, eventually

NOON = datetime.now(UTC).replace(hour=12, minute=0, second=0, microsecond=0) - timedelta(days=1)
"""Of yesterday: a span of the alerts' ids begins, and the day's report is due afterwards."""


class Slack:
    """Takes what Slack's incoming webhook takes, and says what it says."""

    def __init__(self) -> None:
        self.mood: Any = 200
        self.refused = 0
        self.got: list[tuple[str, dict[str, Any]]] = []
        self.url = ""

    async def answer(self, request: web.Request) -> web.Response:
        if self.mood != 200:
            self.refused += 1
            return web.Response(status=self.mood, text="no_service")
        body = await request.json()
        if request.path.startswith("/services/"):
            wrong = self.wrong(request, body)
            if wrong:
                return web.Response(status=400, text=wrong)
        self.got.append((request.path, body))
        return web.Response(text="ok")

    @staticmethod
    def wrong(request: web.Request, body: Any) -> str:
        if request.content_type != "application/json" or not isinstance(body, dict):
            return "invalid_payload"
        known = {
            "text",
            "blocks",
            "attachments",
            "thread_ts",
            "mrkdwn",
            "username",
            "icon_url",
            "icon_emoji",
            "channel",
        }
        if set(body) - known or not isinstance(body.get("text"), str):
            return "invalid_payload"
        if not body["text"]:
            return "no_text"
        if len(body["text"]) > 40_000:
            return "msg_too_long"
        return "" if "<" not in body["text"] and ">" not in body["text"] else "unescaped"

    def texts(self) -> list[str]:
        return [body["text"] for _, body in self.got if "text" in body]

    def types(self) -> list[str]:
        return [text.split("`")[1] for text in self.texts()]


def wanted(slack: Slack, *types: str, **changed: Any) -> AlertSettings:
    url = (Secret(slack.url + "/services/T/B/x"),)
    return AlertSettings(types=frozenset(types), slack={"*": url}, **changed)


class Running:
    """Alerts on the book; `clock` begins at noon, when no report is due by itself."""

    def __init__(self, book: Book, chosen: AlertSettings, clock: Any = time.time) -> None:
        self.stopping = asyncio.Event()
        self.outbound = Outbound(OutboundSettings.read({}), Guard(any_address=True))
        self.alerts = Alerts(book.database, None, chosen, Channels(chosen, self.outbound), self.stopping, clock)
        lock = Lock(book.database, ALERTS_LOCK, "alerts", self.stopping)
        self.task = asyncio.create_task(lock.run(self.alerts.run))

    async def begun(self, book: Book) -> "Running":
        async def is_so() -> bool:
            return bool(await book.value("SELECT count(*) FROM sink_position WHERE sink = 'alerts' AND shard = -1"))

        await eventually(is_so)
        return self

    async def end(self, *, kill: bool = False) -> None:
        self.task.cancel() if kill else self.stopping.set()
        await asyncio.gather(self.task, return_exceptions=True)
        await self.outbound.close()
