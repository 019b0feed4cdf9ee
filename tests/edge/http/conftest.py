"""Every async test here runs on asyncio's loop and on uvloop; those with `serve` also with both
servers.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
import pytest_asyncio

from services.edge.http import connection, listener
from tests.edge.http.http_kit import LOOPS, Handler, Ours, Served, Theirs


def pytest_asyncio_loop_factories(config: pytest.Config, item: pytest.Item) -> dict[str, Any]:
    return dict(LOOPS)


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "LINGERING_S", 0.3)
    monkeypatch.setattr(listener, "HANDSHAKES_S", 0.02)
    monkeypatch.setattr(listener, "SWEEP_DRAINING_S", 0.02)
    logging.getLogger("aiohttp").setLevel(logging.CRITICAL)


async def _serving(kinds: Callable[[Handler], Served]) -> AsyncIterator[Callable[[Handler], Any]]:
    """Whatever a test does: nothing is left of it, and no exception went past the code."""
    surprises: list[Any] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: surprises.append(context))
    made: list[Served] = []

    async def one(handler: Handler) -> Served:
        made.append(await kinds(handler).start())
        return made[-1]

    yield one
    for server in made:
        await server.end()
    await asyncio.sleep(0.01)
    if all(server.is_ours for server in made):
        assert asyncio.all_tasks() == {asyncio.current_task()}
        assert not surprises, surprises


@pytest_asyncio.fixture(params=["ours", "aiohttp"])
async def serve(request: pytest.FixtureRequest) -> AsyncIterator[Callable[[Handler], Any]]:
    async for one in _serving(Ours if request.param == "ours" else Theirs):
        yield one


@pytest_asyncio.fixture
async def ours() -> AsyncIterator[Callable[[Handler], Any]]:
    """As `serve`, ours only: where aiohttp's differs, or where the test looks inside."""
    async for one in _serving(Ours):
        yield one
