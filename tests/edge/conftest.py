"""The edge's own modules run on the loop they run on in production; a real broker where it matters."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
import uvloop

from services.edge.lean_publisher import LeanPublisher
from services.edge.publisher import NatsPublisher, Publisher
from shared import bus
from tests.edge.broker import Broker


def pytest_asyncio_loop_factories(config: pytest.Config, item: pytest.Item) -> dict[str, Any]:
    return {"uvloop": uvloop.new_event_loop}


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Broker]:
    with Broker(tmp_path) as running:
        yield running


@pytest_asyncio.fixture(params=["lean", "library"])
async def publisher(request: pytest.FixtureRequest, broker: Broker) -> AsyncIterator[Publisher]:
    """Both ways to the broker; the stream is there."""
    client = await bus.connect("edge", broker.url)
    await bus.ensure_traffic_stream(client, 100_000_000)
    if request.param == "lean":
        lean = LeanPublisher(broker.url)
        assert await lean.start()
        yield lean
        await lean.close()
    else:
        library = NatsPublisher(client)
        await library.start()
        yield library
    await client.close()
