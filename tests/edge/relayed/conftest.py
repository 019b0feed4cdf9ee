"""An edge before providers that answer as their makers do, and one before providers that answer as
a test says.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TypeVar

import pytest_asyncio

from services.edge.config import EdgeSettings
from shared import subjects
from shared.outbound import Guard, Outbound, OutboundSettings
from tests.edge.harness import Edge
from tests.edge.relayed.relayed_kit import Maker, Wires, World
from tests.support.serving import handled_by, serving

W = TypeVar("W", bound=Wires)
WAIT_MS = EdgeSettings().edge_settle_wait_ms
"""As where edges run: clients build their types in the edge's own loop here, which takes them
seconds on a busy machine, and an edge that waited three for its book cut their streams.
"""


@pytest_asyncio.fixture
async def world() -> AsyncIterator[World]:
    made = World()
    made.maker, made.guardrails = Maker(), []
    server = serving(handled_by(made.maker.answer, "POST", body_bytes_max=50_000_000), port=made.maker.port)
    url = f"http://127.0.0.1:{made.maker.port}"
    entries = [
        {"model_name": name, "litellm_params": {"model": model, "api_key": f"sk-of-{id}", "api_base": url + base}, "model_info": {"id": id}}
        for name, model, base, id in (
            ("claude", "anthropic/claude-sonnet-4-5", "", "c1"),
            ("claude", "anthropic/claude-sonnet-4-5", "/second", "c2"),
            ("gpt", "openai/gpt-4o", "/v1", "g1"),
            ("both", "openai/gpt-4o", "/v1", "b1"),
        )
    ]  # fmt: skip
    async with server, Edge({}, wait_ms=WAIT_MS) as made.edge:
        made.serve(entries)
        made.edge.parts.random = lambda: 0.5
        made.edge.bus.answers[subjects.POLICY_DECIDE] = made.decide
        yield made


@asynccontextmanager
async def running(made: W) -> AsyncIterator[W]:
    """With its edge, before whatever providers it will have."""
    outbound = Outbound(OutboundSettings(), Guard(any_address=True))
    async with Edge({}, wait_ms=WAIT_MS) as made.edge:
        made.edge.parts.passthrough_outbound = outbound
        made.edge.bus.answers[subjects.POLICY_DECIDE] = made.decide
        yield made
    await outbound.close()
    for provider in made.providers:
        await provider.__aexit__(None)


@pytest_asyncio.fixture
async def wires() -> AsyncIterator[Wires]:
    async with running(Wires()) as made:
        yield made
