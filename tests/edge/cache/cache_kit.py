"""A provider that counts how often it was asked, and an edge in front of it that keeps answers."""

import asyncio
from typing import Any

import msgspec

from services.edge.cache import control
from services.edge.cache.state import Cache
from services.edge.cache.store import Local
from shared import subjects
from shared.facts import Caller
from shared.grant import Grant
from shared.requests import DecideReply
from tests.edge.fakes import (
    Peer,
    completion,
    response,
)
from tests.edge.fakes import Provider as FakeProvider
from tests.edge.harness import Edge


class World:
    edge: Edge
    provider: FakeProvider
    clock = 0.0
    delay_s = 0.0
    answers: list[bytes]

    def __init__(self) -> None:
        self.asked = 0
        self.answers = []

    async def script(self, peer: Peer) -> None:
        while True:
            await peer.request()
            self.asked += 1
            await asyncio.sleep(self.delay_s)
            body = self.answers.pop(0) if self.answers else response(completion(f"answer {self.asked}"))
            await peer.send(body)

    def cache(self, **params: Any) -> Cache:
        wanted = control.read(True, params, {})
        assert wanted is not None
        self.edge.parts.cache = Cache(wanted, Local(10_000_000, lambda: self.clock))
        return self.edge.parts.cache

    def caller(self, caller: Caller, **fields: Any) -> None:
        def decide(asked: Any) -> DecideReply:
            grant = self.edge.grant(asked, **fields)
            assert isinstance(grant, Grant)
            return DecideReply(msgspec.structs.replace(grant, caller=caller))

        self.edge.bus.answers[subjects.POLICY_DECIDE] = decide
        self.edge.grants.forget_all()

    async def text(self, **fields: Any) -> str:
        answer = await self.edge.chat(**fields)
        assert answer.status == 200, answer.body
        return str(answer.json()["choices"][0]["message"]["content"])
