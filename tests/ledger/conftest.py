"""One PostgreSQL for all tests, a fresh database for each; one nats-server a test."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from nats.aio.client import Client

from shared import bus
from tests.ledger.ledger_kit import Book, make_streams
from tests.ledger.servers import Nats, Postgres


@pytest.fixture(scope="session")
def postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Postgres]:
    server = Postgres(tmp_path_factory.mktemp("postgres"))
    server.start()
    asyncio.run(server.ready())
    yield server
    server.stop()


@pytest.fixture
async def database_url(postgres: Postgres) -> AsyncIterator[str]:
    url = await postgres.new_database()
    yield url
    await postgres.drop_database(url)


@pytest.fixture
async def book(database_url: str) -> AsyncIterator[Book]:
    made = Book(database_url)
    await made.open()
    yield made
    await made.close()


@pytest.fixture
def nats_server(tmp_path: Path) -> Iterator[Nats]:
    server = Nats(tmp_path)
    server.start()
    yield server
    server.stop()


@pytest.fixture
async def client(nats_server: Nats) -> AsyncIterator[Client]:
    """Connected, with both streams made."""
    connected = await bus.connect("test", nats_server.url)
    await make_streams(connected)
    yield connected
    await connected.close()
