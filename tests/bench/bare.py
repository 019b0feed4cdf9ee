"""The reference: a bare aiohttp pass-through. `python -m tests.bench.bare PORT UPSTREAM_URL
uvloop|asyncio`.

What a careful programmer writes in an hour with aiohttp on both sides: no key, no check, no record.
It forwards the bytes both ways, streams chunk by chunk, and keeps connections alive.
"""

import asyncio
import sys
from collections.abc import Callable, Coroutine
from typing import Any

import aiohttp
import uvloop
from aiohttp import web

BODY_BYTES_MAX = 64 * 1024 * 1024
FORWARDED = ("Content-Type", "Authorization", "Accept")


def handler(
    session: aiohttp.ClientSession, upstream: str
) -> Callable[[web.Request], Coroutine[Any, Any, web.StreamResponse]]:
    async def forward(request: web.Request) -> web.StreamResponse:
        headers = {name: request.headers[name] for name in FORWARDED if name in request.headers}
        body = await request.read()
        async with session.post(upstream + request.path_qs, data=body, headers=headers) as answer:
            kind = answer.headers.get("Content-Type", "application/json")
            if not kind.startswith("text/event-stream"):
                return web.Response(status=answer.status, body=await answer.read(), headers={"Content-Type": kind})
            response = web.StreamResponse(status=answer.status, headers={"Content-Type": kind})
            await response.prepare(request)
            async for chunk in answer.content.iter_any():
                await response.write(chunk)
            await response.write_eof()
            return response

    return forward


async def main(port: int, upstream: str) -> None:
    connector = aiohttp.TCPConnector(limit=0, keepalive_timeout=60)
    async with aiohttp.ClientSession(connector=connector, auto_decompress=False) as session:
        app = web.Application(client_max_size=BODY_BYTES_MAX)
        app.router.add_post("/{path:.*}", handler(session, upstream))
        runner = web.AppRunner(app, access_log=None)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", port, backlog=1024).start()
        await asyncio.Event().wait()


if __name__ == "__main__":
    start = uvloop.run if sys.argv[3] == "uvloop" else asyncio.run
    start(main(int(sys.argv[1]), sys.argv[2]))
