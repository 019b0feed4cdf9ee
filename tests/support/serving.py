"""A local web server that stands for somebody else's service."""

import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

from aiohttp import web

from tests.support.ports import free_port

Answer = Callable[[web.Request], Awaitable[web.StreamResponse]]


def handled_by(
    answer: Answer, method: str = "*", path: str = "/{path:.*}", *, body_bytes_max: int = 1024**2
) -> web.Application:
    """One handler, by default for whatever is asked."""
    app = web.Application(client_max_size=body_bytes_max)
    app.router.add_route(method, path, answer)
    return app


@asynccontextmanager
async def serving(
    app: web.Application,
    *,
    port: int | None = None,
    tls: ssl.SSLContext | None = None,
    handler_cancellation: bool = False,
) -> AsyncIterator[str]:
    """Gives its URL, which has no slash at its end. On exit it doesn't wait for handlers that are
    still running.

    Args:
        port: None: a free one.
        handler_cancellation: a handler is cancelled when its caller leaves.
    """
    runner = web.AppRunner(app, handler_cancellation=handler_cancellation, shutdown_timeout=0.1)
    await runner.setup()
    try:
        port = port or free_port()
        await web.TCPSite(runner, "127.0.0.1", port, ssl_context=tls).start()
        yield f"http{'s' if tls else ''}://127.0.0.1:{port}"
    finally:
        await runner.cleanup()
