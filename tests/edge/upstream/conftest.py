"""Every async test here runs on asyncio's loop and on uvloop; those with `make` also with both
clients.
"""

from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
import pytest_asyncio

from services.edge.upstream import Client
from tests.edge.upstream.upstream_kit import LOOPS, Authority, Reference


def pytest_asyncio_loop_factories(config: pytest.Config, item: pytest.Item) -> dict[str, Any]:
    return dict(LOOPS)


@pytest_asyncio.fixture(params=["ours", "aiohttp"])
async def make(request: pytest.FixtureRequest) -> AsyncIterator[Callable[..., Any]]:
    """Makes a client, ours or the reference; all are closed at the end, and ours then has nothing
    open.
    """
    made: list[Any] = []

    def one(**options: Any) -> Any:
        made.append(Client(**options) if request.param == "ours" else Reference(**options))
        return made[-1]

    yield one
    for client in made:
        await closed_empty(client)


@pytest_asyncio.fixture
async def ours() -> AsyncIterator[Callable[..., Client]]:
    """As `make`, ours only."""
    made: list[Client] = []

    def one(**options: Any) -> Client:
        made.append(Client(**options))
        return made[-1]

    yield one
    for client in made:
        await closed_empty(client)


async def closed_empty(client: Any) -> None:
    await client.close()
    if isinstance(client, Client):
        assert (client.open, client.idle, client.waiting) == (0, 0, 0)
        assert not client._pools


@pytest.fixture(scope="session")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))
