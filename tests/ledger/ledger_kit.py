"""What the ledger's tests are made of: facts, a book to post them to, and a ledger running in this
process.
"""

import asyncio
import re
import time
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import UTC, date, datetime
from typing import Any

import aiohttp
import asyncpg
import msgspec
import pytest
from nats.aio.client import Client

from services.ledger import rebuild, verify
from services.ledger.app import Ledger
from services.ledger.audit import AuditTally
from services.ledger.book import Position, Tally, Written
from services.ledger.config import LedgerSettings
from services.ledger.database import Database
from services.ledger.facts_in import Batch
from services.ledger.message import Message
from services.ledger.migrate import migrate
from shared import bus, streams, subjects
from shared.billing import Price, Usage, cost_picousd
from shared.config import Config
from shared.entities import KINDS
from shared.facts import Caller, ControlFact, Opened, Refused, Settled, TrafficFact, encode_control, encode_fact, pack
from shared.grant import Denial, Grant
from shared.ids import DeploymentId, KeyDigest, RequestId, digest_key, new_id, new_request_id
from shared.requests import DecideReply, DecideRequest, ShownReply, ShownRequest
from shared.service import Life
from tests.support.ports import free_port

PRICE = Price(150_000, 600_000)
"""0.15 and 0.60 USD a million tokens."""
ALICE = Caller(digest_key("sk-alice"), "alices-key", "team-a", "Team A", "alice")
BOB = Caller(digest_key("sk-bob"), None, "team-b", None, "bob")
ROBOT = Caller(digest_key("sk-robot"), "robot", "team-a", "Team A", None)
ADMIN = Caller(KeyDigest("litellm_proxy_master_key"), user_id="default_user_id", role="proxy_admin")
VIEWER = Caller(digest_key("sk-viewer"), user_id="vera", role="proxy_admin_viewer")
WAIT_S = 15.0


def now_ms() -> int:
    return time.time_ns() // 1_000_000


def opened(**changed: Any) -> Opened:
    at_ms = now_ms()
    fields: dict[str, Any] = {
        "id": new_request_id(), "at_ms": at_ms, "edge_id": "edge-1", "caller": ALICE, "call_type": "acompletion",
        "route": "/chat/completions", "model": "gpt", "deployment_id": DeploymentId("d1"), "provider": "openai",
        "upstream_model": "gpt-4o-mini", "price": PRICE, "tags": ["app"], "expires_at_ms": at_ms + 600_000,
    }  # fmt: skip
    return Opened(**{**fields, **changed})


def opened_at(at_ms: int, **changed: Any) -> Opened:
    """At that time, also by its id."""
    own = uuid.uuid4().hex[13:]
    id = str(uuid.UUID(f"{at_ms:012x}7{own}"))
    return opened(**{"id": id, "at_ms": at_ms, "expires_at_ms": at_ms + 600_000, **changed})


def on(day: date) -> RequestId:
    """An id of that day's noon."""
    ms = int(datetime(day.year, day.month, day.day, 12, tzinfo=UTC).timestamp() * 1000)
    return RequestId(f"{ms:012x}"[:8] + "-" + f"{ms:012x}"[8:] + new_request_id()[13:])


def settled(of: Opened | None = None, tokens: tuple[int, int] = (10, 20), **changed: Any) -> Settled:
    """A success that cost what its tokens cost."""
    of = of or opened()
    usage = Usage(*tokens, source="provider")
    fields: dict[str, Any] = {
        "opened": of, "ended_at_ms": of.at_ms + 250, "outcome": "success", "status": 200, "usage": usage,
        "cost_picousd": None if of.price is None else cost_picousd(of.price, usage),
    }  # fmt: skip
    return Settled(**{**fields, **changed})


def refused(**changed: Any) -> Refused:
    fields: dict[str, Any] = {
        "id": new_request_id(), "at_ms": now_ms(), "edge_id": "edge-1", "caller": ALICE, "route": "/chat/completions",
        "model": "gpt", "status": 403, "error_code": "model_not_allowed", "refused_by": "policy",
    }  # fmt: skip
    return Refused(**{**fields, **changed})


def packed(*facts: TrafficFact) -> bytes:
    return pack([encode_fact(fact) for fact in facts])


def control(**changed: Any) -> ControlFact:
    fields: dict[str, Any] = {
        "id": new_id(), "at_ms": now_ms(), "kind": "team", "entity_id": "team-a", "action": "created", "actor": ADMIN,
        "before": None, "after": {"team_id": "team-a", "max_budget_picousd": 2 * 10**12},
    }  # fmt: skip
    return ControlFact(**{**fields, **changed})


async def eventually(check: Callable[[], Awaitable[Any]], what: str = "", seconds: float = WAIT_S) -> Any:
    """Wait until `check` gives something true, and return that."""
    deadline = time.monotonic() + seconds
    while True:
        found = await check()
        if found:
            return found
        if time.monotonic() > deadline:
            raise AssertionError(f"not in {seconds} s: {what or check}")
        await asyncio.sleep(0.02)


class Book:
    """A database of its own, migrated; facts are posted to it without a broker."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.database = Database(url)
        self.owner: asyncpg.Connection[asyncpg.Record]
        self.tally: Tally
        self._seq = 0

    async def open(self) -> None:
        await migrate(self.database)
        self.owner = await asyncpg.connect(self.url, server_settings={"search_path": "tollgate"})
        self.tally = Tally(await self.database.writer(), subjects.TRAFFIC_STREAM, 0)

    async def close(self) -> None:
        self.tally.terminate()
        self.owner.terminate()

    async def post(self, *messages: bytes | tuple[TrafficFact, ...] | TrafficFact, at: int | None = None) -> Written:
        """One batch of these messages, behind the position the book has."""
        batch = Batch(at or now_ms())
        known = await self.tally.position()
        for number, message in enumerate(messages, 1):
            data = (
                message
                if isinstance(message, bytes)
                else packed(*message if isinstance(message, tuple) else (message,))
            )
            batch.add(Message(known.seq + number, 1_000 + known.seq + number, "traffic.0", data))
        return await self.tally.post(batch, known, at or now_ms())

    async def fetch(self, query: str, *arguments: Any) -> list[dict[str, Any]]:
        return [dict(row) for row in await self.owner.fetch(query, *arguments)]

    async def value(self, query: str, *arguments: Any) -> Any:
        return await self.owner.fetchval(query, *arguments)

    async def spend(self, dimension: str = "total", value: str = "") -> tuple[int, int]:
        """Requests and pico-USD in the rollups."""
        row = await self.owner.fetchrow(
            "SELECT coalesce(sum(requests), 0) AS requests, coalesce(sum(spend_picousd), 0) AS spend FROM rollup"
            " WHERE dimension = $1 AND value = $2",
            dimension,
            value,
        )
        assert row is not None
        return int(row["requests"]), int(row["spend"])

    async def anomalies(self) -> list[str]:
        return [row["kind"] for row in await self.fetch("SELECT kind FROM anomalies ORDER BY n")]

    async def rollups_agree(self) -> bool:
        return await rebuild.run(self.database, rebuild.Asked(check_only=True)) == 0

    async def position(self) -> Position:
        return await self.tally.position()


class Policy:
    """Answers policy.decide as policy would: by a table of raw keys."""

    def __init__(self, callers: dict[str | None, Caller | Denial]) -> None:
        self._callers = {None if key is None else digest_key(key): caller for key, caller in callers.items()}
        self.asked: list[DecideRequest] = []
        self.kept: dict[str, list[Any]] = {}
        """Kind → entities that it keeps."""
        self.shown_ids: list[list[str]] = []
        """Which of a kind it was asked for; empty: for all."""

    async def shown(self, question: ShownRequest) -> ShownReply:
        """One a page."""
        ids = {KINDS[question.kind].id_of(each): each for each in self.kept.get(question.kind, [])}
        self.shown_ids.append(question.ids)
        wanted = sorted(each for each in question.ids or ids if each in ids and each > question.after)
        more_after = wanted[0] if len(wanted) > 1 else ""
        return ShownReply([msgspec.to_builtins(ids[each]) for each in wanted[:1]], 0, more_after)

    async def decide(self, question: DecideRequest) -> DecideReply:
        self.asked.append(question)
        found = self._callers[question.key_sha256]
        if isinstance(found, Denial):
            return DecideReply(found)
        return DecideReply(Grant(found, question.route, question.model, 0, []))


class Running:
    """A ledger in this process."""

    def __init__(self, ledger: Ledger, life: Life, url: str) -> None:
        self.ledger = ledger
        self.life = life
        self.url = url

    async def post(self, path: str, body: Any, key: str | None = "sk-admin") -> tuple[int, Any]:
        headers = {} if key is None else {"Authorization": f"Bearer {key}"}
        data = body if isinstance(body, bytes) else msgspec.json.encode(body)
        async with aiohttp.ClientSession() as http, http.post(self.url + path, data=data, headers=headers) as answer:
            return answer.status, msgspec.json.decode(await answer.read())

    async def get(self, path: str, key: str | None = "sk-admin", **query: str) -> tuple[int, Any, dict[str, str]]:
        headers = {} if key is None else {"Authorization": f"Bearer {key}"}
        async with aiohttp.ClientSession() as http, http.get(self.url + path, params=query, headers=headers) as answer:
            return answer.status, msgspec.json.decode(await answer.read()), dict(answer.headers)


@asynccontextmanager
async def running(
    nats_url: str, database_url: str, *, file: Config | None = None, **changed: Any
) -> AsyncIterator[Running]:
    """Ready on entry; stopped as by SIGTERM on exit."""
    settings = LedgerSettings(
        **{
            "nats_url": nats_url, "database_url": database_url, "ledger_port": free_port(), "expire_check_ms": 50,
            "expire_slack_ms": 0, "linger_ms": 2, "checkpoint_minutes": 0, **changed,
        }
    )  # fmt: skip
    client = await bus.connect("ledger", nats_url)
    life = Life("ledger")
    ledger = Ledger(life, settings, client, file)
    task = asyncio.create_task(ledger.run())
    try:

        async def ready() -> bool:
            if task.done():
                task.result()
            return life.reason_not_ready() is None

        await eventually(ready, "ready")
        yield Running(ledger, life, f"http://127.0.0.1:{settings.ledger_port}")
    finally:
        life.stop()
        await asyncio.wait_for(task, 30)
        await client.close()


async def make_streams(client: Client, max_bytes: int = 64 * 1024**2) -> None:
    await streams.ensure_control(client)
    await streams.ensure_traffic(client, max_bytes)


async def publish(client: Client, *facts: TrafficFact, data: bytes | None = None, subject: str = "traffic.0") -> int:
    """One TRAFFIC message. Returns its sequence."""
    ack = await client.jetstream(timeout=5).publish(subject, packed(*facts) if data is None else data)
    return int(ack.seq)


async def publish_control(client: Client, fact: ControlFact) -> int:
    subject = subjects.control(fact.kind, fact.entity_id)
    return int((await client.jetstream(timeout=5).publish(subject, encode_control(fact))).seq)


Told = pytest.CaptureFixture[str]


async def findings(book: Book, told: Told, **asked: Any) -> list[str]:
    """What `verify` prints, without notes, log lines and its summary; its exit status has to
    fit.
    """
    told.readouterr()
    status = await verify.run(book.database, verify.Asked(**asked))
    *found, _summary = [
        line for line in told.readouterr().out.splitlines() if not re.match(r"note|\d{4}-\d\d-\d\d ", line)
    ]
    assert status == (1 if found else 0), found
    return [" ".join(line.split()) for line in found]


async def post_changes(book: Book, *facts: ControlFact) -> None:
    """Into the audit log, as policy tells of them."""
    tally = AuditTally(await book.database.writer(), subjects.CONTROL_STREAM)
    known = await tally.position()
    messages = [
        Message(known.seq + n, known.seq + n, subjects.control(fact.kind, fact.entity_id), encode_control(fact))
        for n, fact in enumerate(facts, 1)
    ]
    await tally.post_control(messages, known)
    tally.terminate()


async def post_control(book: Book, *names: str) -> None:
    """Teams of these names are made."""
    await post_changes(book, *(control(entity_id=name, after={"team_id": name}) for name in names))


async def post_to(tally: Tally, *facts: Any) -> None:
    known = await tally.position()
    batch = Batch(now_ms())
    batch.add(Message(known.seq + 1, known.seq + 1, "traffic.1", packed(*facts)))
    await tally.post(batch, known, now_ms())


async def tamper(book: Book, *statements: str) -> None:
    """As the owner, who can switch the triggers off."""
    await book.owner.execute("SET session_replication_role = replica")
    for statement in statements:
        await book.owner.execute(statement)
    await book.owner.execute("RESET session_replication_role")
