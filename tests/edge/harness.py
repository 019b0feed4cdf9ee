"""All of an edge that runs in one process, between a scripted bus, broker and provider."""

import asyncio
import contextlib
import json
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from services.edge.clock import Clock
from services.edge.config import EdgeSettings
from services.edge.grants import Grants
from services.edge.group_commit import GroupCommit
from services.edge.http import Budget, Limits
from services.edge.journal import Journal
from services.edge.metrics import RecorderMetrics
from services.edge.own_ids import KEY_BYTES, OwnIds
from services.edge.parts import Parts
from services.edge.providers import table
from services.edge.server import Server
from services.edge.strangers import Strangers
from services.edge.tasks import Tasks
from services.edge.tokens import Tokens
from services.edge.upstream import Client, Origin
from shared import config, subjects
from shared.asker import Signer
from shared.billing import Price
from shared.config.schema import LitellmSettings
from shared.facts import Caller, Opened, Settled, TrafficFact
from shared.grant import Candidate, Denial, Grant, GuardrailRef
from shared.outbound import Guard, Outbound, OutboundSettings
from shared.requests import AdminReply, CountReply, DecideReply, DecideRequest, ScreenRequest, Verdict
from tests.edge.fakes import (
    LAST_CHUNK,
    STREAM_HEAD,
    Answer,
    Caller_,
    FakeBus,
    FakeFeed,
    FakePublisher,
    NoJournal,
    Peer,
    Script,
    always,
    chunk,
    until,
)
from tests.support.ports import free_port

PRICE = Price(1_000_000, 2_000_000)
CALLER = Caller(key_sha256=None, key_alias="test")


class Edge:
    """All of an edge that runs in one process, on real sockets; broker, bus and control feed are
    scripted.

    Args:
        models: model name → URLs of its providers, or `mock:<text>`.
        params: more of every entry's litellm_params.
        litellm: litellm_settings.
        guardrails: of every grant. `banned` is blocked wherever it stands in a text.
    """

    def __init__(
        self,
        models: dict[str, list[str]],
        *,
        directory: Path | None = None,
        guardrails: list[GuardrailRef] | None = None,
        banned: str = "forbidden",
        timeout_s: float = 5,
        wait_ms: int = 3_000,
        limits: dict[str, int] | None = None,
        params: dict[str, Any] | None = None,
        litellm: LitellmSettings | None = None,
        tokens: Tokens | None = None,
        **settings: Any,
    ) -> None:
        self.tokens = tokens or Tokens()
        self.limits = {"bytes_max": 2**30, "requests_max": settings.get("edge_requests_max", 4096), **(limits or {})}
        self.guardrails = guardrails or []
        self.banned = banned
        entries = [
            {
                "model_name": name,
                "litellm_params": {
                    "model": f"openai/{name}-upstream",
                    "api_key": "sk-of-the-provider-0000",
                    "timeout": timeout_s,
                    **({"mock_response": url[5:]} if url.startswith("mock:") else {"api_base": url}),
                    **(params or {}),
                },
                "model_info": {"id": f"{name}-{i}"},
            }
            for name, urls in models.items()
            for i, url in enumerate(urls)
        ]
        self.deployments = config.parse(json.dumps({"model_list": entries}), {}).deployments
        self.litellm = litellm
        self.settings = EdgeSettings(edge_settle_wait_ms=wait_ms, **settings)
        self.bus, self.feed, self.publisher = FakeBus(), FakeFeed(), FakePublisher()
        self.bus.answers = {
            subjects.POLICY_DECIDE: self.decide,
            subjects.POLICY_ADMIN: lambda asked: AdminReply(
                200, b'{"key": "%b"}' % asked.body.get("token", "").encode(), 1
            ),
            subjects.MODERATION_SCREEN: self.screen,
            subjects.MODERATION_COUNT: lambda asked: CountReply([len(text.split()) for text in asked.texts]),
        }
        self._directory = directory
        self.stopping = False

    def decide(self, asked: DecideRequest) -> DecideReply:
        return DecideReply(self.grant(asked))

    def grant(self, asked: DecideRequest, **fields: Any) -> Grant | Denial:
        if asked.customer_id is not None:
            return Grant(CALLER, "", "", 1, ["control.customer.test"])
        candidates = [
            Candidate(d.id, f"provider{i}", d.upstream_model, PRICE, order=i)
            for i, d in enumerate(self.deployments)
            if d.model_name == asked.model
        ]
        names = [d.model_name for d in self.deployments]
        return Grant(
            CALLER, asked.route, asked.model, 1, ["control.key.test"], candidates, guardrails=self.guardrails, models=names, **fields
        )  # fmt: skip

    def screen(self, asked: ScreenRequest) -> Verdict:
        if any(self.banned in text for text in asked.texts):
            return Verdict("block", [], f"Keyword banned. Keyword={self.banned}")
        return Verdict("allow", [])

    async def __aenter__(self) -> "Edge":
        self.journal = None if self._directory is None else Journal(self._directory / "journal", 1_000_000)
        self.recorder = GroupCommit(
            self.publisher,
            self.journal or NoJournal(),
            "traffic.0",
            500,
            self.settings.edge_settle_wait_ms,
            RecorderMetrics(),
        )
        self.recorder.start()
        bus: Any = self.bus
        feed: Any = self.feed
        self.grants = Grants(
            bus, lambda: feed, ttl_ms=60_000, entries_max=100, timeout_ms=500, stale_ms=3_000, claims=self.tokens.claims
        )
        self.customers = Grants(bus, lambda: feed, ttl_ms=60_000, entries_max=100, timeout_ms=500, stale_ms=3_000)
        self.upstream, self.tasks = Client(), Tasks()
        self.outbound = Outbound(OutboundSettings(), Guard(any_address=True))
        clock = Clock()
        self.parts = Parts(
            settings=self.settings,
            edge_id="edge-1",
            bus_client=bus,
            grants=self.grants,
            customers=self.customers,
            recorder=self.recorder,
            upstream=self.upstream,
            targets=table.build(self.deployments, "test", self.litellm),
            tasks=self.tasks,
            tokens=self.tokens,
            ledger=Origin("http", "127.0.0.1", 9),
            passthrough_outbound=self.outbound,
            own_ids=OwnIds(lambda: [bytes(KEY_BYTES)], clock.seconds),
            ledger_path="",
            signer=Signer("edge-1"),
            strangers=Strangers(self.recorder, clock.unix_ms),
            clock=clock,
            stopping=lambda: self.stopping,
            reason_not_ready=lambda: None,
        )
        self.server = Server(self.parts, Budget(Limits(**self.limits)))
        self.listener = self.server.listener()
        listening = socket.create_server(("127.0.0.1", 0))
        self.port = listening.getsockname()[1]
        await self.listener.listen_on(listening)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.listener.close()
        await self.tasks.finish(2)
        self.parts.strangers.close()
        await self.recorder.close()
        await self.upstream.close()
        await self.outbound.close()
        await self.tokens.close()

    def facts(self) -> list[TrafficFact]:
        return self.publisher.facts()

    def settled(self) -> list[Settled]:
        return [fact for fact in self.facts() if isinstance(fact, Settled)]

    async def the_settled(self) -> Settled:
        """The only one; waits for it, and a moment more for a second one that must not come."""
        await until(lambda: self.settled())
        await asyncio.sleep(0.03)
        (settled,) = self.settled()
        return settled

    async def connect(self) -> "Caller_":
        return await Caller_.connect(self.port)

    async def chat(self, model: str = "m", **fields: Any) -> "Answer":
        """One call on a connection of its own."""
        async with await self.connect() as caller:
            await caller.chat(model, **fields)
            return await caller.answer()


def stream(*events: bytes, end: bytes = LAST_CHUNK) -> Script:
    return always(STREAM_HEAD, *map(chunk, events), end)


async def silent(peer: Peer) -> None:
    await peer.request()
    await peer.gone()


def dead_url() -> str:
    return f"http://127.0.0.1:{free_port()}/v1"


@contextlib.contextmanager
def full_backlog() -> Iterator[str]:
    """The URL of a server that accepts nobody: connecting to it takes for ever."""
    with contextlib.ExitStack() as open_:
        listening = open_.enter_context(socket.socket())
        listening.bind(("127.0.0.1", 0))
        listening.listen(0)
        for _ in range(3):
            filler = open_.enter_context(socket.socket())
            filler.setblocking(False)
            filler.connect_ex(listening.getsockname())
        yield f"http://127.0.0.1:{listening.getsockname()[1]}/v1"


async def told(edge: Edge) -> tuple[Opened, Settled]:
    """The whole book of one call: opened, then settled, and both tell the same."""
    settled = await edge.the_settled()
    (opened,) = [fact for fact in edge.facts() if isinstance(fact, Opened)]
    assert settled.opened.id == opened.id
    assert len(edge.facts()) == 2
    return opened, settled
