"""Kept grants, and a policy that answers with what is true at its sequence."""

import asyncio
from typing import Any

from services.edge.grants import Grants
from shared import subjects
from shared.facts import Caller
from shared.grant import Denial, Grant
from shared.ids import KeyDigest
from shared.requests import DecideReply, DecideRequest
from tests.edge.fakes import FakeBus, FakeFeed

KEY, OTHER = KeyDigest("a" * 64), KeyDigest("b" * 64)


ROUTE = "/chat/completions"


class Policy:
    """Answers with what is true at its sequence; `hold` keeps the answers back."""

    def __init__(self) -> None:
        self.seq = 1
        self.depends_on = ["control.key.k", "control.team.t"]
        self.asked: list[DecideRequest] = []
        self.away = False
        self.gate = asyncio.Event()
        self.gate.set()
        self.decision: Grant | Denial | None = None

    def at(self, seq: int) -> Grant:
        return Grant(Caller(), ROUTE, "m", seq, self.depends_on)

    async def answer(self, asked: DecideRequest) -> DecideReply:
        self.asked.append(asked)
        decision = self.decision or self.at(self.seq)
        await self.gate.wait()
        if self.away:
            raise TimeoutError
        return DecideReply(decision)


class World:
    def __init__(self, *, ttl_ms: int = 60_000, entries_max: int = 100) -> None:
        self.policy, self.bus, self.feed = Policy(), FakeBus(), FakeFeed()
        self.bus.answers[subjects.POLICY_DECIDE] = self.policy.answer
        bus: Any = self.bus
        feed: Any = self.feed
        self.grants = Grants(
            bus, lambda: feed, ttl_ms=ttl_ms, entries_max=entries_max, timeout_ms=200, stale_ms=3_000
        )  # fmt: skip

    async def decide(self, digest: KeyDigest | None = KEY, model: str = "m") -> Grant | Denial:
        return await self.grants.decide(digest, "sk", ROUTE, model)

    @property
    def askings(self) -> int:
        return len(self.policy.asked)
