"""One PostgreSQL for all tests, a fresh database for each; one nats-server a test."""

import importlib
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime, time, timedelta
from pathlib import Path
from time import sleep

import pytest
from nats.aio.client import Client

from services.ledger.book import Tally
from shared import bus, errors, subjects
from shared.facts import Caller
from shared.grant import Denial
from shared.requests import DecideRequest, NoteReply, NoteRequest, ShownRequest
from tests.ledger import retention_kit
from tests.ledger.alerts_kit import Slack
from tests.ledger.ledger_kit import (
    ADMIN,
    ALICE,
    BOB,
    ROBOT,
    VIEWER,
    Book,
    Policy,
    Running,
    control,
    make_streams,
    publish_control,
    running,
)
from tests.ledger.servers import Nats, Postgres
from tests.support.serving import handled_by, serving

MIDNIGHT_S = 60.0
"""A test that begins so shortly before midnight (UTC) waits for it: what it posts is all of one
day.
"""


@pytest.fixture(autouse=True)
def one_day(request: pytest.FixtureRequest) -> None:
    """A module's TODAY, and what it makes of it, is the day of each of its tests, also when
    midnight came since it was imported.
    """
    now = datetime.now(UTC)
    left_s = (datetime.combine(now.date() + timedelta(days=1), time(), UTC) - now).total_seconds()
    if left_s < MIDNIGHT_S:
        sleep(left_s + 0.01)
    for module in (retention_kit, request.module):
        if getattr(module, "TODAY", None) not in (None, datetime.now(UTC).date()):
            importlib.reload(module)


@pytest.fixture(scope="session")
def postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Postgres]:
    with Postgres(tmp_path_factory.mktemp("postgres")) as server:
        yield server


@pytest.fixture
async def database_url(request: pytest.FixtureRequest, postgres: Postgres) -> AsyncIterator[str]:
    """Of an empty database; with a `book`, of one that needs no more than its logins."""
    url = await (postgres.new_book() if "book" in request.fixturenames else postgres.new_database())
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
    with Nats(tmp_path) as server:
        yield server


@pytest.fixture
async def client(nats_server: Nats) -> AsyncIterator[Client]:
    """Connected, with both streams made."""
    connected = await bus.connect("test", nats_server.url)
    await make_streams(connected)
    yield connected
    await connected.close()


@pytest.fixture
async def policy(client: Client) -> Policy:
    stub = Policy(
        {
            "sk-admin": ADMIN, "sk-viewer": VIEWER, "sk-alice": ALICE, "sk-bob": BOB, "sk-robot": ROBOT,
            "sk-gone": Denial(errors.unknown_key("d" * 64), 0, []), None: Denial(errors.no_key(), 0, []),
            "anonymous": Caller(),
        }
    )  # fmt: skip
    await bus.answer(client, subjects.POLICY_DECIDE, "policy", DecideRequest, stub.decide)
    await bus.answer(client, subjects.POLICY_SHOWN, "policy", ShownRequest, stub.shown)

    async def note(request: NoteRequest) -> NoteReply:
        fact = control(
            kind=request.kind,
            entity_id=request.entity_id,
            action=request.action,
            actor=request.actor,
            after=request.after,
        )
        return NoteReply(await publish_control(client, fact))

    await bus.answer(client, subjects.POLICY_NOTE, "policy", NoteRequest, note)
    await client.flush()
    return stub


@pytest.fixture
async def ledger(nats_server: Nats, client: Client, policy: Policy, book: Book) -> AsyncIterator[Running]:
    # Facts are posted as another shard's, so that the ledger's own recorder isn't disturbed.
    book.tally.terminate()
    book.tally = Tally(await book.database.writer(), subjects.TRAFFIC_STREAM, 7)
    async with running(nats_server.url, book.url) as started:
        yield started


@pytest.fixture
async def slack() -> AsyncIterator[Slack]:
    made = Slack()
    async with serving(handled_by(made.answer, "POST")) as made.url:
        yield made
