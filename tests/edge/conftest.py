"""The edge's own modules run on the loop they run on in production; a real broker where it
matters.
"""

from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
import uvloop
from structlog.testing import capture_logs

from services.edge import group_commit as recorder_
from services.edge.http import connection
from services.edge.publisher import LibraryPublisher, Publisher, WirePublisher
from shared import bus, streams
from tests.edge.fakes import Provider, Script, until
from tests.edge.harness import Edge
from tests.edge.raw import SECRET
from tests.support.broker import Broker


def pytest_asyncio_loop_factories(config: pytest.Config, item: pytest.Item) -> dict[str, Any]:
    return {"uvloop": uvloop.new_event_loop}


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Broker]:
    with Broker(tmp_path) as running:
        yield running


@pytest_asyncio.fixture(params=["wire", "library"])
async def publisher(request: pytest.FixtureRequest, broker: Broker) -> AsyncIterator[Publisher]:
    """Both ways to the broker; the stream is there."""
    client = await bus.connect("edge", broker.url)
    await streams.ensure_traffic(client, 100_000_000)
    if request.param == "wire":
        assert client.wire is not None
        yield WirePublisher(client.wire)
    else:
        library = LibraryPublisher(client)
        await library.start()
        yield library
    await client.close()


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recorder_, "RETRY_S", 0.005)
    monkeypatch.setattr(recorder_, "SWEEP_S", 0.02)


Start = Callable[..., Any]


@pytest_asyncio.fixture
async def start() -> AsyncIterator[Start]:
    """An edge in front of scripted providers (or URLs), all for the model `m`."""
    opened: list[Any] = []

    async def one(*scripts: Script | str, **options: Any) -> Edge:
        urls = []
        for script in scripts:
            if isinstance(script, str):
                urls.append(script)
                continue
            provider = await Provider(script).__aenter__()
            opened.append(provider)
            urls.append(provider.url)
        edge = await Edge({"m": urls}, **options).__aenter__()
        edge.providers = opened[:]  # type: ignore[attr-defined]
        opened.append(edge)
        return edge

    yield one
    for part in reversed(opened):
        await part.__aexit__(None)


@pytest_asyncio.fixture
async def edge(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Edge]:
    """Whatever a test does to it: nothing is answered 500, no secret is logged, and the next good
    request is served.
    """
    monkeypatch.setattr(connection, "LINGERING_S", 0.3)
    with capture_logs() as logs:
        async with Edge({"m": ["mock:Hello"]}, edge_body_timeout_ms=300) as running:
            yield running
            assert (await running.chat()).status == 200
            await until(lambda: running.server.running == 0)
    assert not [line for line in logs if line["log_level"] in ("error", "critical")], logs
    assert SECRET not in str(logs)
