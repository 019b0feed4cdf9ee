"""The account: opened once, settled once, with the price of whoever answered, and an honest
bound.
"""

import json
from typing import Any

import msgspec
import pytest

from services.edge.account import _NEXT, FALLBACK_TO, NOTHING, max_cost
from services.edge.formats.base import Hints
from services.edge.formats.openai import CHAT, EMBEDDINGS
from shared.billing import Price, Rate
from shared.facts import Settled
from shared.grant import Candidate
from shared.ids import DeploymentId
from shared.requests import DecideReply, DecideRequest
from tests.edge.conftest import Start
from tests.edge.fakes import always, completion, response, until
from tests.edge.harness import PRICE, Edge, told

pytestmark = pytest.mark.usefixtures("impatient")
DEARER = Price(3_000_000, 4_000_000)


def test_an_account_ends_once_and_only_after_it_began() -> None:
    assert _NEXT == {("new", "open"): "opened", ("opened", "settle"): "settled"}


def call(text: str, format: Any = CHAT, **fields: Any) -> Any:
    body = {"model": "m", "messages": [{"role": "user", "content": text}], "input": text, **fields}
    return format.read(json.dumps(body).encode(), Hints())


def test_the_most_a_call_may_cost_is_bound_by_its_bytes_and_its_own_limit() -> None:
    candidate = Candidate(DeploymentId("d"), "p", "u", PRICE)
    short, long = call("x", max_tokens=7), call("x" * 1_000, max_tokens=7)
    assert max_cost(candidate, short) == len(short.body) * 1_000_000 + 7 * 2_000_000
    assert max_cost(candidate, long) == len(long.body) * 1_000_000 + 7 * 2_000_000
    bound = max_cost(candidate, short)
    assert bound is not None
    assert max_cost(candidate, call("x", max_tokens=7, n=3)) == bound + 14 * 2_000_000 + 8 * 1_000_000
    assert max_cost(candidate, call("x")) is None, "without a limit there is no bound"
    vector = call("x", EMBEDDINGS)
    assert max_cost(candidate, vector) == len(vector.body) * 1_000_000
    tiered = msgspec.structs.replace(PRICE, rates=(Rate("input", 9_000_000, above_tokens=10),))
    assert (
        max_cost(Candidate(DeploymentId("d"), "p", "u", tiered), short) == len(short.body) * 9_000_000 + 7 * 2_000_000
    )
    assert max_cost(Candidate(DeploymentId("d"), "p", "u", None), short) is None


async def test_what_an_edge_notes_of_a_call_is_not_its_callers_to_say(start: Start) -> None:
    edge = await start(always(response(completion())))
    await edge.chat(metadata={"spend_logs_metadata": {FALLBACK_TO: "x", "mine": 1}})
    await until(edge.settled)
    assert edge.settled()[0].opened.spend_logs_metadata == {"mine": 1}


async def test_who_answers_is_whose_price_counts(start: Start) -> None:
    """Two deployments of one model at different prices: the row has the second's."""
    edge = await start(always(response(b"{}", "503 X")), always(response(completion())))

    def decide(asked: DecideRequest) -> DecideReply:
        grant = edge.grant(asked)
        if not grant.candidates:
            return DecideReply(grant)
        first, second = grant.candidates
        return DecideReply(
            msgspec.structs.replace(grant, candidates=[first, msgspec.structs.replace(second, price=DEARER)])
        )

    edge.bus.answers["policy.decide"] = decide
    answer = await edge.chat()
    opened, settled = await told(edge)
    assert (opened.price, settled.opened.price) == (PRICE, DEARER)
    assert settled.cost_picousd == 10 * 3_000_000 + 5 * 4_000_000
    assert (answer.headers["x-litellm-attempted-retries"], answer.headers["x-litellm-attempted-fallbacks"]) == (
        "1",
        "0",
    )


async def test_nothing_used_costs_nothing_even_per_request(start: Start) -> None:
    edge = await start(always(response(b'{"error":{"message":"no"}}', "400 X")))

    def decide(asked: DecideRequest) -> DecideReply:
        grant = edge.grant(asked)
        price = msgspec.structs.replace(PRICE, request_picousd=5)
        priced = [msgspec.structs.replace(each, price=price) for each in grant.candidates]
        return DecideReply(msgspec.structs.replace(grant, candidates=priced))

    edge.bus.answers["policy.decide"] = decide
    assert (await edge.chat()).status == 400
    _, settled = await told(edge)
    assert (settled.usage, settled.cost_picousd) == (NOTHING, 0)


async def test_no_attempt_begins_after_the_deadline(start: Start) -> None:
    edge = await start(always(response(b"{}", "503 X")), always(response(completion())), timeout_s=30)
    clock = edge.parts.clock

    class Late(type(clock)):  # type: ignore[misc]
        """Minutes pass between the first attempt and the next."""

        def __init__(self) -> None:
            self.calls = 0

        def seconds(self) -> float:
            return clock.seconds() + (60.0 if edge.providers[0].bodies else 0.0)

    edge.parts.clock = Late()
    assert (await edge.chat()).status == 503
    assert edge.providers[1].connections == 0


# ── what a request itself names ──


async def two(first: Any, second: Any) -> tuple[Edge, list[Any]]:
    from tests.edge.fakes import Provider

    providers = [await Provider(each).__aenter__() for each in (first, second)]
    edge = Edge({"m": [providers[0].url], "f": [providers[1].url]})
    return edge, providers


async def test_a_request_may_name_its_own_fallbacks() -> None:
    failing = always(response(b'{"error":{"message":"no"}}', "500 X", extra="connection: close\r\n"), close=True)
    edge, providers = await two(failing, always(response(completion())))
    async with edge:
        answer = await edge.chat(fallbacks=["f"])
        assert (answer.status, answer.headers["x-litellm-model-id"]) == (200, "f-0")
        assert answer.headers["x-litellm-attempted-fallbacks"] == "1"
        await until(lambda: len(edge.settled()) == 2)
        settled: list[Settled] = edge.settled()
        assert [each.outcome for each in settled] == ["provider_error", "success"]
        assert b"fallbacks" not in providers[1].bodies[0]
    for provider in providers:
        await provider.__aexit__(None)


async def test_it_may_only_name_what_it_could_call(start: Start) -> None:
    from shared import errors
    from shared.grant import Denial

    edge = await start(always(response(completion())))

    def decide(asked: DecideRequest) -> DecideReply:
        if asked.model == "secret":
            return DecideReply(Denial(errors.model_not_allowed("secret"), 1, []))
        return DecideReply(edge.grant(asked))

    edge.bus.answers["policy.decide"] = decide
    assert (await edge.chat(fallbacks=[{"model": "secret"}])).status == 403
    assert edge.providers[0].connections == 0


@pytest.mark.parametrize("odd", ["x", [5], [{}], [{"model": "f", "api_base": "http://evil"}], [""], ["f"] * 9])
async def test_fallbacks_that_are_none_are_refused(start: Start, odd: Any) -> None:
    edge = await start(always(response(completion())))
    answer = await edge.chat(fallbacks=odd)
    assert (answer.status, answer.error()["param"].partition("[")[0]) in ((400, "fallbacks"), (400, "model"))
