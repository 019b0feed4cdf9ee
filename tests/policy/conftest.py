"""A real broker for the live tests, and policy replicas in this process."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest
from nats.aio.client import Client

from services.policy.app import serve
from services.policy.current import Current
from shared import bus, streams, subjects
from shared.grant import Denial, Grant
from shared.ids import digest_key
from shared.requests import AdminReply, AdminRequest, DecideReply, DecideRequest
from shared.service import Life
from tests.policy.world import MASTER_KEY, catalog
from tests.support.broker import Broker


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Broker]:
    with Broker(tmp_path) as running:
        yield running


@pytest.fixture
async def client(broker: Broker) -> AsyncIterator[Client]:
    """Connected as policy, with CONTROL made."""
    connected = await bus.connect("policy", broker.url)
    await streams.ensure_control(connected)
    yield connected
    await bus.close(connected)


class Replica:
    """One policy replica. Asked through the bus on subjects of its own, so that a test knows who
    answers.
    """

    def __init__(self, client: Client, life: Life, prefix: str) -> None:
        self.client = client
        self.life = life
        self._prefix = prefix

    async def decide(
        self, credential: str | None, model: str = "gpt", route: str = "/chat/completions", min_seq: int = 0
    ) -> Grant | Denial:
        question = DecideRequest(None if credential is None else digest_key(credential), route, model, min_seq)
        reply = await bus.ask(self.client, self._prefix + subjects.POLICY_DECIDE, question, DecideReply, 3_000)
        return reply.decision

    async def admin(
        self,
        route: str,
        body: dict[str, Any] | None = None,
        query: dict[str, str] | None = None,
        *,
        credential: str = MASTER_KEY,
        min_seq: int = 0,
        **kw: Any,
    ) -> tuple[int, Any, AdminReply]:
        question = AdminRequest(digest_key(credential), route, query or {}, body or {}, min_control_seq=min_seq, **kw)
        reply = await bus.ask(self.client, self._prefix + subjects.POLICY_ADMIN, question, AdminReply, 8_000)
        return reply.status, msgspec.json.decode(reply.body), reply


@asynccontextmanager
async def replica(
    broker: Broker,
    name: str,
    monkeypatch: pytest.MonkeyPatch,
    environ: dict[str, str] | None = None,
    text: str | None = None,
    **kw: Any,
) -> AsyncIterator[Replica]:
    """Runs `serve`, on `<name>.policy.decide` and `<name>.policy.admin`; stops it as SIGTERM
    would.
    """
    client = await bus.connect("policy", broker.url)
    life = Life("policy")
    real = bus.answer

    async def renamed(client: Client, subject: str, *rest: Any) -> Any:
        return await real(client, f"{name}.{subject}", *rest)

    monkeypatch.setattr(bus, "answer", renamed)
    task = asyncio.create_task(
        serve(life, client, Current(catalog(environ=environ) if text is None else catalog(text, environ=environ)), **kw)
    )
    try:
        async with asyncio.timeout(10):
            while life.reason_not_ready() is not None:
                if task.done():
                    task.result()
                await asyncio.sleep(0.01)
        monkeypatch.setattr(bus, "answer", real)
        asker = await bus.connect("edge", broker.url)
        try:
            yield Replica(asker, life, f"{name}.")
        finally:
            await bus.close(asker)
    finally:
        life.stop()
        await asyncio.wait_for(task, 10)
        await bus.close(client)
