"""What the HTTP server's tests share: one handler's view of a request, and our server and aiohttp's
behind it.
"""

import asyncio
import socket
import struct
from collections.abc import Awaitable, Callable
from types import SimpleNamespace
from typing import Any

import uvloop
from aiohttp import web

from services.edge.http import BrokenBodyError, Listener, Request, StreamAnswer, WholeAnswer
from tests.edge.fakes import Caller_

LOOPS = {"asyncio": asyncio.SelectorEventLoop, "uvloop": uvloop.new_event_loop}
GET = b"GET /a HTTP/1.1\r\nHost: h\r\n\r\n"
HEAD = b"POST /a HTTP/1.1\r\nHost: h\r\n"


def post(body: bytes, *headers: bytes) -> bytes:
    return HEAD + b"".join(h + b"\r\n" for h in headers) + b"Content-Length: %d\r\n\r\n" % len(body) + body


def chunked(*pieces: bytes, end: bytes = b"0\r\n\r\n") -> bytes:
    return HEAD + b"Transfer-Encoding: chunked\r\n\r\n" + b"".join(b"%x\r\n%b\r\n" % (len(p), p) for p in pieces) + end


class Asked:
    """A request, whoever parsed it. `chunk` raises BrokenBodyError for a body that isn't what its
    head said.
    """

    method: str
    path: str
    query: str
    remote: str | None
    inner: Any

    def header(self, name: str) -> str | None:
        raise NotImplementedError

    async def chunk(self) -> bytes:
        raise NotImplementedError

    async def stream(self, status: int = 200) -> Any:
        """Started; with `write` and `end`."""
        raise NotImplementedError

    async def body(self) -> bytes:
        whole = b""
        while piece := await self.chunk():
            whole += piece
        return whole


Handler = Callable[[Asked], Awaitable[Any]]
"""Returns (status, body), or the stream it has ended."""


async def echo(asked: Asked) -> tuple[int, bytes]:
    body = await asked.body()
    return 200, b"%s %s [%s] " % (asked.method.encode(), asked.path.encode(), asked.query.encode()) + body


class Served:
    """A running server. `running`, `most_running` and `cancelled` count handlers."""

    is_ours = False

    def __init__(self, handler: Handler) -> None:
        self.handler = handler
        self.running = self.most_running = self.begun = self.cancelled = 0
        self.raised: list[BaseException] = []
        self.callers: list[Caller_] = []

    async def run(self, asked: Asked) -> Any:
        self.begun += 1
        self.running += 1
        self.most_running = max(self.most_running, self.running)
        try:
            return await self.handler(asked)
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        except (ConnectionError, BrokenBodyError) as error:
            self.raised.append(error)
            return 400, b"broken"
        finally:
            self.running -= 1

    async def connect(self) -> Caller_:
        self.callers.append(await Caller_.connect(self.port))
        return self.callers[-1]

    async def said(self, data: bytes, *, half_close: bool = False) -> bytes:
        """All that comes back for these bytes until the server closes."""
        caller = await self.connect()
        caller.writer.write(data)
        if half_close:
            caller.writer.write_eof()
        try:
            return await asyncio.wait_for(caller.reader.read(), 5)
        except ConnectionError:
            return b""

    async def start(self) -> "Served":
        listening = socket.create_server(("127.0.0.1", 0))
        self.port = listening.getsockname()[1]
        await self.listen(listening)
        return self

    async def listen(self, listening: socket.socket) -> None:
        raise NotImplementedError

    async def end(self) -> None:
        for caller in self.callers:
            caller.writer.transport.abort()
        await self.close()

    async def close(self) -> None:
        raise NotImplementedError


class _OurAsked(Asked):
    def __init__(self, inner: Request) -> None:
        self.inner = inner
        self.method, self.path, self.query, self.remote = inner.method, inner.path, inner.query, inner.remote
        self.header = inner.header  # type: ignore[method-assign]
        self.chunk = inner.next_chunk  # type: ignore[method-assign]

    async def stream(self, status: int = 200) -> StreamAnswer:
        answer = StreamAnswer(status, "X-Kind: stream\r\n")
        await answer.start(self.inner)
        return answer


class Ours(Served):
    is_ours = True

    async def listen(self, listening: socket.socket) -> None:
        self.listener = Listener(self._handle, lambda status: WholeAnswer(status, "", b"malformed"))
        await self.listener.listen_on(listening)

    async def _handle(self, request: Request) -> WholeAnswer | StreamAnswer:
        found: Any = await self.run(_OurAsked(request))
        return WholeAnswer(found[0], "X-Kind: whole\r\n", found[1]) if isinstance(found, tuple) else found

    def connection(self) -> Any:
        """The only one."""
        (found,) = self.listener.connections
        return found

    async def close(self) -> None:
        await self.listener.close()
        assert not self.listener.connections
        assert self.running == 0


class _TheirAsked(Asked):
    def __init__(self, inner: web.BaseRequest) -> None:
        self.inner = inner
        self.method, self.path, self.remote = inner.method, inner.path, inner.remote
        self.query = inner.rel_url.raw_query_string
        self._told = False

    def header(self, name: str) -> str | None:
        return self.inner.headers.get(name)

    async def chunk(self) -> bytes:
        content = self.inner.content
        expects = self.inner.headers.get("Expect", "").lower() == "100-continue"
        if expects and not self._told and not content.is_eof():
            self._told = True
            self.inner.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        try:
            return await content.readany()
        except web.RequestPayloadError:
            raise BrokenBodyError from None

    async def stream(self, status: int = 200) -> Any:
        answer = web.StreamResponse(status=status, headers={"X-Kind": "stream"})
        await answer.prepare(self.inner)
        return SimpleNamespace(write=answer.write, end=answer.write_eof, inner=answer)


class Theirs(Served):
    async def listen(self, listening: socket.socket) -> None:
        server = web.Server(
            self._handle,
            handler_cancellation=True,
            access_log=None,
            max_line_size=8190,
            max_headers=100,
            max_field_size=16_384,
            lingering_time=0.3,
            auto_decompress=False,
        )
        self.runner = web.ServerRunner(server, handle_signals=False, shutdown_timeout=0.1)
        await self.runner.setup()
        await web.SockSite(self.runner, listening).start()

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        found: Any = await self.run(_TheirAsked(request))
        if isinstance(found, tuple):
            return web.Response(status=found[0], body=found[1], headers={"X-Kind": "whole"})
        answer: web.StreamResponse = found.inner
        return answer

    async def close(self) -> None:
        await self.runner.cleanup()


def reset(caller: Caller_) -> None:
    """RST instead of FIN."""
    tcp = caller.writer.get_extra_info("socket")
    if tcp is None or tcp.fileno() < 0:  # closed under us
        return
    tcp.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    caller.writer.transport.abort()


async def closed(caller: Caller_, within_s: float = 3) -> bool:
    """Nothing more comes but the end."""
    try:
        return await asyncio.wait_for(caller.reader.read(), within_s) == b""
    except ConnectionError:
        return True
