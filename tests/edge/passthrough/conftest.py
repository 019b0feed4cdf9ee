"""An edge with pass-through endpoints, and the API behind them."""

from collections.abc import AsyncIterator

import pytest_asyncio

from shared import errors, subjects
from shared.grant import Denial
from shared.requests import DecideReply, DecideRequest
from tests.edge.harness import Edge
from tests.edge.passthrough.passthrough_kit import WHO, Target, World, told_by


@pytest_asyncio.fixture
async def world() -> AsyncIterator[World]:
    made = World()
    async with told_by(Target()) as made.target, Edge({"m": ["mock:x"]}) as made.edge:
        edge = made.edge

        def decide(asked: DecideRequest) -> DecideReply:
            if asked.route == "/pass-through-public" or asked.key_sha256 == WHO.key_sha256:
                grant = edge.grant(asked)
                assert not isinstance(grant, Denial)
                return DecideReply(grant.__class__(WHO, asked.route, asked.model, 1, ["control.key.test"]))
            return DecideReply(Denial(errors.no_key(), 1, ["control.key.x"]))

        edge.bus.answers[subjects.POLICY_DECIDE] = decide
        yield made
