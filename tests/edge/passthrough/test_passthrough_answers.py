"""Pass-through answers: passed on as they are said, and booked at their price, however the call
ends.
"""

import asyncio
import json

import pytest

from services.edge.passthrough import spoken
from shared import passthrough as entries
from shared import prices
from shared.billing import Usage, cost
from shared.outbound import Guard, Outbound, OutboundSettings
from shared.passthrough import Entries, Entry
from tests.edge.fakes import until
from tests.edge.passthrough.passthrough_kit import World, head


async def test_events_come_as_they_are_said(world: World) -> None:
    world.endpoint(include_subpath=True)
    async with await world.edge.connect() as caller:
        await caller.send(head("/their/sse", "GET"))
        assert (await caller.head()).headers["content-type"] == "text/event-stream"
        assert await caller.chunk() == b"data: 0\n\n"
        assert not world.edge.settled(), "the end isn't there yet"
        assert await caller.chunk() == b"data: 1\n\n"
    settled = await world.settled()
    assert settled.outcome in ("client_gone", "success")


@pytest.mark.parametrize(
    ("path", "status", "outcome"),
    [
        ("/their/teapot", 418, "provider_error"),
        ("/their/away", 302, "success"),
        ("/their/broken", None, "provider_error"),
    ],
)
async def test_whatever_the_target_says_is_passed_on_and_recorded(
    world: World, path: str, status: int | None, outcome: str
) -> None:
    world.endpoint(include_subpath=True)
    if status is None:
        with pytest.raises((asyncio.IncompleteReadError, ConnectionError)):
            await world.ask(path)
    else:
        answer = await world.ask(path)
        assert answer.status == status
        if status == 418:
            assert answer.body == b"\x00\xff short and stout"
    settled = await world.settled()
    assert settled.outcome == outcome


async def test_a_client_that_leaves_takes_the_targets_call_with_it(world: World) -> None:
    world.endpoint(include_subpath=True)
    caller = await world.edge.connect()
    await caller.send(head("/their/slow", "GET"))
    await until(lambda: world.target.seen)
    caller.leave()
    await until(lambda: world.target.left)
    settled = await world.settled()
    assert (settled.outcome, settled.status) == ("client_gone", 499)


async def test_a_target_that_is_slow_or_away(world: World) -> None:
    world.endpoint(include_subpath=True, timeout=0.2)
    answer = await world.ask("/their/slow")
    assert answer.status == 504
    assert (await world.settled()).outcome == "timeout"
    world.edge.parts.passthrough = entries.read([{"path": "/their", "target": "http://127.0.0.1:9/x"}], {})
    answer = await world.ask()
    assert answer.status == 502 and "127.0.0.1" not in answer.body.decode()
    await until(lambda: len(world.edge.settled()) == 2)
    assert world.edge.settled()[1].cost_picousd == 0, "it was never reached"


# ── addresses ──

PRIVATE = [
    "http://127.0.0.1:{port}/", "http://localhost:{port}/", "http://[::1]:{port}/", "http://[::ffff:127.0.0.1]:{port}/", "http://2130706433:{port}/",
    "http://0177.0.0.1:{port}/", "http://0x7f000001:{port}/", "http://127.1:{port}/", "http://0:{port}/", "http://169.254.169.254/",
    "http://[64:ff9b::7f00:1]:{port}/", "http://localhost.:{port}/",
]  # fmt: skip


@pytest.mark.parametrize("target", PRIVATE)
async def test_a_named_target_in_a_private_network_is_not_asked(world: World, target: str) -> None:
    port = world.target.url.rpartition(":")[2]
    named = Outbound(OutboundSettings(), Guard.for_named_targets())
    world.edge.parts.passthrough_outbound = named
    world.edge.parts.passthrough = Entries([Entry(id="e", path="/their", target=target.format(port=port))])
    answer = await world.ask()
    await named.close()
    assert answer.status == 502, answer.body
    assert not world.target.seen


# ── what the target says it cost ──


@pytest.mark.parametrize("stream", [False, True])
async def test_what_the_target_says_was_used_is_priced_and_booked(
    world: World, stream: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(spoken, "_of_host", lambda host: spoken.Spoken("openai", "openai"))
    entry = world.endpoint(include_subpath=True)
    usage = {"prompt_tokens": 1000, "completion_tokens": 100, "total_tokens": 1100}
    said = {"model": "gpt-4o-2024-08-06", "choices": [], "usage": usage}
    world.target.said = (b"data: %b\n\ndata: [DONE]\n\n" if stream else b"%b") % json.dumps(said).encode()
    world.target.said_type = "text/event-stream" if stream else "application/json"
    body = json.dumps({"model": "gpt-4o", "stream": stream}).encode()
    answer = await world.ask("/their/said", body=body, content_type="application/json")
    assert answer.body == world.target.said, "as it was said"
    settled = await world.settled()
    price = prices.lookup("openai", "gpt-4o-2024-08-06")
    assert price is not None and settled.opened.price == price
    assert (settled.usage.input_tokens, settled.usage.output_tokens, settled.usage.source) == (1000, 100, "provider")
    assert settled.cost_picousd == cost(price, Usage(1000, 100, source="provider")).picousd
    assert settled.cost_picousd and settled.flags == ()
    assert (settled.opened.provider, settled.opened.upstream_model) == ("openai", "gpt-4o-2024-08-06")
    assert settled.opened.model == "gpt-4o" and settled.opened.deployment_id == f"pass_through:{entry.id}"


async def test_the_operators_price_goes_before_and_nobodys_is_unpriced(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = {"prompt_tokens": 10, "completion_tokens": 1, "total_tokens": 11}
    world.target.said = json.dumps({"model": "gpt-4o", "usage": usage}).encode()
    world.endpoint(target=f"{world.target.url}/v1/chat/completions/said")
    monkeypatch.setattr(spoken, "_of_host", lambda host: spoken.Spoken("openai", ""))
    await world.ask("/their", body=b"{}", content_type="application/json")
    await until(lambda: len(world.edge.settled()) == 1)
    settled = world.edge.settled()[0]
    assert settled.cost_picousd is None and settled.usage.input_tokens == 10, (
        "a server of one's own has no price of OpenAI's"
    )
    monkeypatch.setattr(spoken, "_of_host", lambda host: spoken.Spoken("openai", "openai"))
    world.endpoint(target=f"{world.target.url}/said", cost_per_request=0.5)
    await world.ask("/their", body=b"{}", content_type="application/json")
    await until(lambda: len(world.edge.settled()) == 2)
    settled = world.edge.settled()[1]
    assert settled.cost_picousd == 500_000_000_000 and settled.usage.output_tokens == 1
    world.endpoint(target=f"{world.target.url}/base")
    await world.ask("/their", "GET")
    await until(lambda: len(world.edge.settled()) == 3)
    assert world.edge.settled()[2].cost_picousd == 0, "looking is free"
