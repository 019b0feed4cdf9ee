"""Sinks running on a test's book, and a server that plays their target."""

import asyncio
from typing import Any

import msgspec
from aiohttp import web

from services.ledger.sinks import choose
from services.ledger.sinks.choose import Sink
from services.ledger.sinks.run import Sinks, maker
from shared.outbound import Guard, Outbound, OutboundSettings
from tests.ledger.ledger_kit import Book, control, eventually, post_changes


class Target:
    """Somebody's Langfuse, collector or webhook. `mood`: what it answers."""

    def __init__(self) -> None:
        self.mood: Any = 200
        self.asked: list[tuple[str, dict[str, str], bytes]] = []
        self.got: list[tuple[str, dict[str, str], bytes]] = []
        self.url = ""

    async def answer(self, request: web.Request) -> web.StreamResponse:
        one = (request.path, dict(request.headers), await request.read())
        self.asked.append(one)
        if self.mood == "unheard":
            self.got.append(one)
        if self.mood in ("cut", "unheard"):
            assert request.transport is not None
            request.transport.abort()
        elif self.mood == "slow":
            await asyncio.sleep(5)
            self.got.append(one)  # who waited that long is told that it came
        elif self.mood != 200:
            return web.Response(status=self.mood, text="secret-of-theirs")
        else:
            self.got.append(one)
        return web.json_response({"successes": [], "errors": []}, status=207 if "ingestion" in request.path else 200)

    def ids(self) -> list[str]:
        return [one["id"] for _, _, body in self.got for one in msgspec.json.decode(body)]


async def nowhere(_stream: str) -> int:
    """It is empty: the book is never behind it."""
    return 0


class Fed:
    """Sinks running on the book."""

    def __init__(self, book: Book, config: list[Sink], environ: dict[str, str], *, nameless: bool = False) -> None:
        self.stopping = asyncio.Event()
        self.outbound = Outbound(OutboundSettings.read({}), Guard(any_address=True))
        made = maker(lambda: environ, self.outbound, self.outbound)
        self.sinks = Sinks(book.database, config, made, nowhere, self.stopping, nameless=nameless)
        self.task = asyncio.create_task(self.sinks.run())

    async def end(self, *, kill: bool = False) -> None:
        self.stopping.set() if not kill else self.task.cancel()
        await asyncio.gather(self.task, return_exceptions=True)
        await self.outbound.close()


def webhook(**changed: Any) -> Sink:
    return choose.of_config({"success_callback": ["webhook"], "failure_callback": ["webhook"]})[0]._replace(**changed)


async def begun(book: Book, count: int = 1) -> None:
    async def is_so() -> bool:
        return bool(
            await book.value("SELECT count(DISTINCT sink) FROM sink_position WHERE sink <> 'audit_log'") == count
        )

    await eventually(is_so)


async def post_entity(book: Book, kind: str, entity_id: str, logging: Any) -> None:
    await post_changes(book, control(kind=kind, entity_id=entity_id, after={"metadata": {"logging": logging}}))
