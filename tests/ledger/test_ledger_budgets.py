"""Budgets end to end: a ledger that records, and a policy replica that asks it, on one broker."""

from datetime import UTC, datetime, timedelta

import pytest
from nats.aio.client import Client

from shared import bus, subjects
from shared.bus import BusError
from shared.grant import Denial, Grant
from shared.requests import SpentBy, SpentReply, SpentRequest
from tests.ledger.ledger_kit import Book, Running, eventually, opened, opened_at, settled
from tests.ledger.servers import Nats
from tests.policy.conftest import Replica, replica
from tests.policy.world import MASTER_KEY

CONFIG = f"""
model_list:
  - {{model_name: gpt, litellm_params: {{model: openai/gpt-4o, api_key: k, max_budget: 2, budget_duration: 1d}}, model_info: {{id: one}}}}
  - {{model_name: gpt, litellm_params: {{model: groq/llama, api_key: k}}, model_info: {{id: two}}}}
litellm_settings: {{max_budget: 3, budget_duration: 30d}}
general_settings: {{master_key: {MASTER_KEY}}}
"""
USD = 10**12


async def spent(client: Client, *wanted: SpentBy) -> list[int]:
    reply = await bus.ask(client, subjects.LEDGER_SPENT, SpentRequest(list(wanted)), SpentReply, 3_000)
    return [int(each) for each in reply.picousd]


async def test_what_was_spent_since_a_day(ledger: Running, client: Client, book: Book) -> None:
    today = datetime.now(UTC)
    ago = today - timedelta(days=3)
    old = opened_at(int(ago.timestamp() * 1000), deployment_id="one", provider="openai")
    await book.post(settled(old, cost_picousd=7), settled(opened(deployment_id="one", provider="groq"), cost_picousd=2))
    since = [None, ago, ago + timedelta(days=1), today + timedelta(days=1)]
    days = ["" if each is None else each.date().isoformat() for each in since]

    async def sums(dimension: str, value: str) -> list[int]:
        return await spent(client, *(SpentBy(dimension, [value], day) for day in days))

    assert await sums("total", "") == [9, 9, 2, 0]
    assert await sums("deployment", "one") == [9, 9, 2, 0]
    assert await sums("provider", "openai") == [7, 7, 0, 0]
    with pytest.raises(BusError):
        await spent(client, SpentBy("total", [""], "yesterday"))


async def test_calls_end_when_the_book_has_the_limit(
    ledger: Running, nats_server: Nats, book: Book, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("services.policy.budget_watch.EVERY_S", 0.05)
    async with replica(nats_server, "one", monkeypatch, text=CONFIG) as one:
        assert await asked(one) == ["one", "two"]
        await book.post(settled(opened(deployment_id="one"), cost_picousd=2 * USD))
        await becomes(one, ["two"])
        await book.post(settled(opened(deployment_id="two"), cost_picousd=USD))
        await becomes(one, "over_budget")
    async with replica(nats_server, "two", monkeypatch, text=CONFIG) as two:
        assert await asked(two) == "over_budget", "it is a fact: a replica begins with it"
    async with replica(
        nats_server, "three", monkeypatch, text=CONFIG.replace("max_budget: 3", "max_budget: 4")
    ) as three:
        assert await asked(three) == ["two"]


async def asked(replica: Replica) -> str | list[str]:
    decision: Grant | Denial = await replica.decide(MASTER_KEY)
    if isinstance(decision, Denial):
        return decision.refusal.code
    return [each.deployment_id for each in decision.candidates]


async def becomes(replica: Replica, wanted: str | list[str]) -> None:
    async def holds() -> bool:
        return await asked(replica) == wanted

    await eventually(holds, f"{wanted}")
