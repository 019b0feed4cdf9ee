"""Somebody's API, and an edge with a pass-through endpoint before it."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, TypeVar

import msgspec
from aiohttp import web

from shared import passthrough as entries
from shared import subjects
from shared.facts import Caller, Opened, Settled
from shared.grant import Denial
from shared.ids import KeyDigest, digest_key
from shared.passthrough import Entry
from shared.requests import DecideReply, DecideRequest
from tests.edge.fakes import Answer, until
from tests.edge.harness import Edge
from tests.support.serving import handled_by, serving

MB = 1024 * 1024


KEY = "sk-client-key"


WHO = Caller(KeyDigest(digest_key(KEY)), "alias", "team")


class Target:
    """Somebody's API: says what it was asked, or does as it is told."""

    url: str

    def __init__(self) -> None:
        self.seen: list[tuple[str, str, dict[str, str], bytes]] = []
        self.received = 0
        self.left = 0
        self.said, self.said_type = b"{}", "application/json"
        self.said_status, self.said_more = 200, dict[str, str]()

    async def take(self, request: web.Request) -> web.StreamResponse:
        if request.path.endswith("/upload"):
            async for chunk in request.content.iter_any():
                self.received += len(chunk)
            return web.json_response({"received": self.received})
        body = await request.read()
        headers = {name.lower(): value for name, value in request.headers.items()}
        self.seen.append((request.method, request.raw_path, headers, body))
        if request.path.endswith("/said"):
            more = {"Content-Type": self.said_type, **self.said_more}
            return web.Response(body=self.said, status=self.said_status, headers=more)
        if request.path.endswith("/sse"):
            answer = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
            await answer.prepare(request)
            for number in range(3):
                await answer.write(b"data: %d\n\n" % number)
                await asyncio.sleep(0.05)
            return answer
        if request.path.endswith("/large"):
            answer = web.StreamResponse()
            await answer.prepare(request)
            for _ in range(100):
                await answer.write(bytes(MB))
            return answer
        if request.path.endswith("/broken"):
            answer = web.StreamResponse(headers={"Content-Length": "1000"})
            await answer.prepare(request)
            await answer.write(b"half")
            assert request.transport is not None
            request.transport.abort()
            return answer
        if request.path.endswith("/slow"):
            try:
                await asyncio.sleep(30)
            finally:
                self.left += 1
        if request.path.endswith("/teapot"):
            return web.Response(status=418, body=b"\x00\xff short and stout")
        if request.path.endswith("/away"):
            return web.Response(status=302, headers={"Location": "http://169.254.169.254/"})
        return web.json_response(
            {"ok": True},
            headers={
                "X-Kept": "1",
                "Set-Cookie": "a=b",
                "Server": "theirs",
                "Content-Security-Policy": "x",
                "X-Request-Id": "req_theirs",
            },
        )


class World:
    edge: Edge
    target: Target

    def endpoint(self, **given: Any) -> Entry:
        self.edge.parts.passthrough = entries.read(
            [{"path": "/their", "target": f"{self.target.url}/base", **given}], {"SECRET": "s3cret", "EMPTY": ""}
        )
        return self.edge.parts.passthrough.all[0]

    async def ask(
        self, path: str = "/their", method: str = "POST", body: bytes = b"", key: str | None = KEY, **headers: str
    ) -> Answer:
        async with await self.edge.connect() as caller:
            await caller.send(head(path, method, body, key, **headers))
            return await caller.answer()

    async def settled(self) -> Settled:
        await until(self.edge.settled)
        (settled,) = self.edge.settled()
        (opened,) = [fact for fact in self.edge.facts() if isinstance(fact, Opened)]
        assert settled.opened.id == opened.id
        return settled


@asynccontextmanager
async def told_by(target: Target) -> AsyncIterator[Target]:
    """The target while it serves, with its URL. It takes bodies of any size."""
    server = serving(handled_by(target.take, body_bytes_max=0), handler_cancellation=True)
    async with server as target.url:
        yield target


class Given(World):
    """Where only those have an endpoint who were given it."""

    role = "internal_user"
    allowed: list[str] | None = None
    """What the caller was given."""

    def decide(self, asked: DecideRequest) -> DecideReply:
        grant = self.edge.grant(asked)
        assert not isinstance(grant, Denial)
        caller = Caller(KeyDigest(digest_key(KEY)), "alias", role=self.role)
        return DecideReply(msgspec.structs.replace(grant, caller=caller, passthrough_routes=self.allowed))


G = TypeVar("G", bound=Given)


@asynccontextmanager
async def deciding(made: G, target: Target) -> AsyncIterator[G]:
    """The world with its target and an edge, while they serve."""
    async with told_by(target) as made.target, Edge({"m": ["mock:x"]}) as made.edge:
        made.edge.bus.answers[subjects.POLICY_DECIDE] = made.decide
        yield made


def head(path: str, method: str, body: bytes = b"", key: str | None = KEY, **headers: str) -> bytes:
    fields = {"Host": "edge", "Content-Length": str(len(body)), **{n.replace("_", "-"): v for n, v in headers.items()}}
    if key is not None:
        fields.setdefault("Authorization", f"Bearer {key}")
    lines = [f"{method} {path} HTTP/1.1", *(f"{name}: {value}" for name, value in fields.items()), "", ""]
    return "\r\n".join(lines).encode() + body
