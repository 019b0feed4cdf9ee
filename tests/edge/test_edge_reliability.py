"""Retries, fallbacks and rests, end to end: what the provider sees, what the client gets, what the
book says.
"""

import asyncio
import contextlib
import json
import time
from collections.abc import AsyncIterator
from functools import partial
from typing import Any

import msgspec
import pytest

from services.edge import fallen_account
from services.edge.clock import Clock
from services.edge.rests import Rests
from services.edge.routing.health import Health
from services.edge.routing.plan import Rules
from services.edge.routing.settings import RoutingSettings
from services.edge.series import Series
from shared import bus
from shared.billing import Price, Usage
from shared.facts import Opened
from shared.grant import Candidate, Fallback
from shared.ids import DeploymentId
from shared.requests import DecideReply, DecideRequest
from tests.edge.conftest import Start
from tests.edge.fakes import (
    DONE,
    STREAM_HEAD,
    USAGE_EVENT,
    Peer,
    Provider,
    Script,
    always,
    chunk,
    completion,
    delta,
    response,
    until,
)
from tests.edge.harness import PRICE, Edge, dead_url, silent, stream, told
from tests.support.broker import Broker

pytestmark = pytest.mark.usefixtures("impatient")
COST = 10 * 1_000_000 + 5 * 2_000_000
DEARER = Price(3_000_000, 4_000_000)
OK = response(completion())


def in_turn(*answers: bytes) -> Script:
    """One answer a request, the last one for all that follow; each connection serves one."""
    left = list(answers)

    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(left.pop(0) if len(left) > 1 else left[0])

    return script


def failing(status: str, extra: str = "") -> bytes:
    return response(
        b'{"error":{"message":"no","type":"x","param":null,"code":null}}', status, extra=f"connection: close\r\n{extra}"
    )


@contextlib.asynccontextmanager
async def two_models(first: Script | str, second: Script | str, reason: str = "") -> AsyncIterator[Edge]:
    """`m`, and `f` as its fallback at another price."""
    async with contextlib.AsyncExitStack() as stack:
        providers, urls = [], []
        for script in (first, second):
            if isinstance(script, str):
                urls.append(script)
                continue
            providers.append(await stack.enter_async_context(Provider(script)))
            urls.append(providers[-1].url)
        edge = await stack.enter_async_context(Edge({"m": [urls[0]], "f": [urls[1]]}))
        edge.providers = providers  # type: ignore[attr-defined]

        def decide(asked: DecideRequest) -> DecideReply:
            others = [Candidate(DeploymentId("f-0"), "providerf", "f-upstream", DEARER)]
            return DecideReply(edge.grant(asked, fallbacks=[Fallback("f", others, reason)]))

        edge.bus.answers["policy.decide"] = decide
        yield edge


# ── the same model ──


async def test_num_retries_ask_the_only_deployment_again(start: Start) -> None:
    edge = await start(in_turn(failing("503 X"), failing("500 X"), OK))
    edge.parts.routing = RoutingSettings(Rules(retries=3))
    answer = await edge.chat()
    assert (answer.status, answer.body) == (200, completion())
    _, settled = await told(edge)
    assert (settled.attempts, settled.cost_picousd) == (3, COST)


async def test_settings_and_targets_of_today_count_for_a_caller_of_yesterday(start: Start) -> None:
    """What was worked out once a decision is worked out anew where the file was read again, or a
    deployment is another one now.
    """
    failed = failing("503 X")
    edge = await start(in_turn(OK, failed, failed, OK, OK, failed, OK))
    statuses = [(await edge.chat()).status for _ in range(2)]
    edge.parts.routing = RoutingSettings(Rules(retries=1))
    statuses.append((await edge.chat()).status)  # refused, then answered
    edge.parts.routing = RoutingSettings()
    statuses.append((await edge.chat()).status)
    name = DeploymentId("m-0")
    target = edge.parts.targets[name]
    again = msgspec.structs.replace(target.deployment, retries=1)
    edge.parts.targets[name] = msgspec.structs.replace(target, deployment=again)
    statuses.append((await edge.chat()).status)
    assert statuses == [200, 503, 200, 200, 200]


@pytest.mark.parametrize(("fields", "headers"), [({"num_retries": 1}, {}), ({}, {"x-litellm-num-retries": "1"})])
async def test_a_request_may_say_how_often(start: Start, fields: dict[str, Any], headers: dict[str, str]) -> None:
    edge = await start(in_turn(failing("503 X"), failing("500 X"), OK))
    body = {"model": "m", "messages": [{"role": "user", "content": "Hi"}], **fields}
    async with await edge.connect() as caller:
        await caller.post("/v1/chat/completions", json.dumps(body).encode(), headers)
        assert (await caller.answer()).status == 500
    assert (await told(edge))[1].attempts == 2


async def test_nobody_said_so_and_nothing_is_tried_twice(start: Start) -> None:
    edge = await start(in_turn(failing("503 X"), OK))
    assert (await edge.chat()).status == 503
    assert (await told(edge))[1].attempts == 1


async def test_a_provider_that_asks_to_wait_is_waited_for(start: Start) -> None:
    edge = await start(in_turn(failing("429 X", "retry-after-ms: 400\r\n"), OK))
    edge.parts.routing = RoutingSettings(Rules(retries=1))
    before = time.monotonic()
    assert (await edge.chat()).status == 200
    assert time.monotonic() - before >= 0.4


async def test_who_asks_to_wait_for_too_long_isnt_waited_for_and_the_client_learns_it(start: Start) -> None:
    edge = await start(in_turn(failing("429 X", "retry-after: 3600\r\n"), OK))
    edge.parts.routing = RoutingSettings(Rules(retries=1))
    answer = await edge.chat()
    assert (answer.status, answer.headers["retry-after"]) == (429, "3600")


@pytest.mark.parametrize("unsafe", [False, True])
async def test_a_timeout_is_tried_elsewhere_only_where_that_is_allowed(start: Start, unsafe: bool) -> None:
    edge = await start(silent, always(OK), timeout_s=5)
    target = edge.parts.targets[DeploymentId("m-0")]
    msgspec.structs.force_setattr(target.deadlines, "first_byte_ms", 150)
    edge.parts.routing = RoutingSettings(Rules(unsafe=unsafe))
    answer = await edge.chat()
    assert answer.status == (200 if unsafe else 504)
    await until(lambda: len(edge.settled()) == 1 + unsafe)
    first = edge.settled()[0]
    assert (first.outcome, first.usage) == ("timeout", Usage(2, 0, source="lower_bound"))
    if unsafe:
        last = edge.settled()[1]
        assert (last.outcome, last.cost_picousd, last.opened.deployment_id) == ("success", COST, "m-1")
        assert last.opened.id != first.opened.id, "what may have been billed has its own row"


async def test_who_hangs_up_without_a_byte_is_passed_over_and_booked_by_itself(start: Start) -> None:
    edge = await start(always(b"", close=True), always(OK))
    assert (await edge.chat()).status == 200
    await until(lambda: len(edge.settled()) == 2)
    first, last = edge.settled()
    assert (first.outcome, first.usage.source) == ("provider_error", "lower_bound")
    assert (last.outcome, last.cost_picousd) == ("success", COST)
    opened = [fact.id for fact in edge.facts() if isinstance(fact, Opened)]
    assert opened == [first.opened.id, last.opened.id]


async def test_a_longer_deadline_of_the_second_counts(start: Start) -> None:
    """Two deployments, 0.5 s and 5 s: the second isn't cut to what the first may take."""

    async def late(peer: Peer) -> None:
        await peer.request()
        await asyncio.sleep(0.8)
        await peer.send(OK)

    edge = await start(dead_url(), late)
    import msgspec

    first = edge.parts.targets[DeploymentId("m-0")]
    edge.parts.targets[DeploymentId("m-0")] = msgspec.structs.replace(
        first, deployment=msgspec.structs.replace(first.deployment, timeout_ms=500)
    )
    assert (await edge.chat()).status == 200


@pytest.mark.parametrize("field", ["timeout", "stream_timeout"])
async def test_a_request_may_bound_its_own_time(start: Start, field: str) -> None:
    edge = await start(silent)
    before = time.monotonic()
    answer = await edge.chat(stream=field == "stream_timeout", **{field: 0.2})
    assert answer.status == 504
    assert time.monotonic() - before < 1.5


@pytest.mark.parametrize("odd", [0, -1, "x", [], 1e300])
async def test_a_time_that_is_none_is_refused(start: Start, odd: Any) -> None:
    edge = await start(always(OK))
    assert (await edge.chat(timeout=odd)).status == 400


# ── rests ──


async def test_a_dead_deployment_costs_one_failed_attempt_a_rest(start: Start) -> None:
    edge = await start(dead_url(), always(OK))
    for _ in range(5):
        assert (await edge.chat()).status == 200
    await until(lambda: len(edge.settled()) == 5)
    assert [settled.attempts for settled in edge.settled()] == [2, 1, 1, 1, 1]


async def test_where_all_rest_they_are_asked_all_the_same(start: Start) -> None:
    edge = await start(in_turn(failing("429 X"), OK), in_turn(failing("429 X"), OK))
    assert (await edge.chat()).status == 429
    assert (await edge.chat()).status == 200


async def test_edges_tell_each_other_who_rests(broker: Broker) -> None:
    one, two = await bus.connect("edge", broker.url), await bus.connect("edge", broker.url)
    clock, mine, theirs = Clock(), Health(), Health()
    first, second = Rests(one, "edge-1", mine, clock), Rests(two, "edge-2", theirs, clock)
    try:
        await first.start()
        await second.start()
        await one.flush()
        await two.flush()
        took_s = []
        for deployment in map(DeploymentId, "abcd"):
            before = time.monotonic()
            first.tell(deployment, 5.0)
            await until(partial(theirs.is_resting, deployment, clock.seconds()))
            took_s.append(time.monotonic() - before)
        assert min(took_s) < 0.1, took_s
        await asyncio.sleep(0.02)
        assert not mine.is_resting(DeploymentId("d"), clock.seconds()), "one's own notice says nothing new"
        await two.publish("edge.rests", b"\xc1 junk")
        await two.flush()
    finally:
        await first.close()
        await second.close()
        await bus.close(one)
        await bus.close(two)


# ── another model ──


async def test_when_a_model_fails_another_answers_and_each_has_its_row_and_price(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    counted = Series()
    monkeypatch.setattr(fallen_account, "SERIES", counted)
    async with two_models(in_turn(failing("500 X")), always(OK)) as edge:
        answer = await edge.chat()
        assert (answer.status, answer.headers["x-litellm-model-id"]) == (200, "f-0")
        assert json.loads(edge.providers[1].bodies[0])["model"] == "f-upstream"  # type: ignore[attr-defined]
        await until(lambda: len(edge.settled()) == 2)
        first, last = edge.settled()
        assert (first.outcome, first.cost_picousd, first.opened.price) == ("provider_error", 0, PRICE)
        assert (last.outcome, last.cost_picousd) == ("success", 10 * 3_000_000 + 5 * 4_000_000)
        assert (last.opened.provider, last.opened.price, last.opened.model) == ("providerf", DEARER, "m")
        assert answer.headers["x-tollgate-request-id"] == last.opened.id
        assert first.opened.spend_logs_metadata == {} and last.opened.spend_logs_metadata == {
            "tollgate_fallback_to": "f"
        }
        ((labels, count),) = counted.fallen._good.items()
        assert (labels[:2], labels[-2:], count, counted.fallen._failed) == (("m", "f"), ("failed", "f-0"), 1, {})


async def test_a_fallback_whose_first_deployment_hangs_up_counts_with_the_one_that_answers(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    counted = Series()
    monkeypatch.setattr(fallen_account, "SERIES", counted)

    async def hangs_up(peer: Peer) -> None:
        await peer.request()

    async with (
        Provider(always(failing("500 X"))) as m,
        Provider(hangs_up) as one,
        Provider(always(OK)) as two,
        Edge({"m": [m.url], "f": [one.url, two.url]}) as edge,
    ):
        others = [Candidate(DeploymentId(f"f-{n}"), "providerf", "f-upstream", DEARER) for n in range(2)]
        edge.parts.random = lambda: 0.0
        edge.bus.answers["policy.decide"] = lambda asked: DecideReply(
            edge.grant(asked, fallbacks=[Fallback("f", others)])
        )
        assert (await edge.chat()).headers["x-litellm-model-id"] == "f-1"
    assert [labels[-1] for labels in counted.fallen._good] == ["f-1"]
    assert [labels[-1] for labels in counted.fallen._failed] == ["f-0"]


TOO_LONG = response(
    b'{"error":{"message":"This model\'s maximum context length is 4096 tokens","code":"context_length_exceeded"}}',
    "400 X",
)
FILTERED = response(b'{"error":{"message":"filtered","code":"content_filter"}}', "400 X")


@pytest.mark.parametrize(
    ("said", "reason", "status"),
    [
        (TOO_LONG, "context_window", 200), (FILTERED, "content_policy", 200), (TOO_LONG, "", 200),
        (TOO_LONG, "content_policy", 400), (failing("500 X"), "context_window", 500), (failing("400 X"), "", 400),
    ],
)  # fmt: skip
async def test_a_fallback_is_for_what_it_is_for(said: bytes, reason: str, status: int) -> None:
    async with two_models(always(said), always(OK), reason) as edge:
        assert (await edge.chat()).status == status


async def test_a_request_may_forbid_fallbacks() -> None:
    async with two_models(in_turn(failing("500 X")), always(OK)) as edge:
        assert (await edge.chat(disable_fallbacks=True)).status == 500


async def test_a_stream_falls_back_before_its_first_content_and_never_after() -> None:
    role = delta("").replace(b'"content": ""', b'"role": "assistant", "content": ""')

    async def before(peer: Peer) -> None:
        await peer.request()
        await peer.send(STREAM_HEAD, chunk(b": comment\n\n"), chunk(role))

    async with two_models(before, stream(delta("from f"), USAGE_EVENT, DONE)) as edge:
        answer = await edge.chat(stream=True)
        assert answer.body == delta("from f") + DONE, "nothing of the first one's is there"
        await until(lambda: len(edge.settled()) == 2)
        assert edge.settled()[0].usage.source == "lower_bound"

    async def after(peer: Peer) -> None:
        await peer.request()
        await peer.send(STREAM_HEAD, chunk(role), chunk(delta("half a ")))

    async with two_models(after, stream(delta("from f"), USAGE_EVENT, DONE)) as edge:
        answer = await edge.chat(stream=True)
        assert delta("half a ") in answer.body and b"from f" not in answer.body and b'"error"' in answer.body
        await told(edge)


@pytest.mark.parametrize(
    "nothing", [DONE, b"", b": x\n\n" + DONE, b'data: {"error":{"message":"busy","code":429}}\n\n']
)
async def test_a_stream_of_nothing_costs_nothing_and_the_next_is_asked(start: Start, nothing: bytes) -> None:
    first = always(STREAM_HEAD, *([chunk(nothing)] if nothing else []), b"0\r\n\r\n")
    edge = await start(first, stream(delta("from b"), USAGE_EVENT, DONE))
    answer = await edge.chat(stream=True)
    assert answer.body == delta("from b") + DONE
    _, settled = await told(edge)
    assert (settled.attempts, settled.cost_picousd) == (2, COST)
    alone = await start(first)
    refused = await alone.chat(stream=True)
    assert refused.status in (429, 502) and (await told(alone))[1].cost_picousd == 0


# ── a provider that doesn't know stream_options ──


async def test_stream_options_only_we_added_are_left_out_where_they_are_refused(start: Start) -> None:
    refusal = response(b'{"object":"error","message":"extra_forbidden: stream_options","code":400}', "400 X")

    async def script(peer: Peer) -> None:
        while True:
            _, body = await peer.request()
            if b"stream_options" in body:
                await peer.send(refusal)
            else:
                await peer.send(STREAM_HEAD, chunk(delta("fine")), chunk(DONE), b"0\r\n\r\n")

    edge = await start(script)
    for _ in range(2):
        assert (await edge.chat(stream=True)).body == delta("fine") + DONE
    (provider,) = edge.providers
    assert [b"stream_options" in body for body in provider.bodies] == [True, False, False], (
        "learnt, and not tried again"
    )
    asked = await edge.chat(stream=True, stream_options={"include_usage": True})
    assert asked.status == 400, "what the client itself asks for is the provider's to refuse"
