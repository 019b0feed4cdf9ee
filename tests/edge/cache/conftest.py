"""An edge whose answers are kept, as a test says."""

from collections.abc import AsyncIterator

import pytest_asyncio

from tests.edge.cache.cache_kit import World
from tests.edge.fakes import Provider as FakeProvider
from tests.edge.harness import Edge


@pytest_asyncio.fixture
async def world() -> AsyncIterator[World]:
    made = World()
    async with FakeProvider(made.script) as made.provider, Edge({"m": [made.provider.url]}) as made.edge:
        yield made
