"""What an answer's head says, whatever the route: LiteLLM's headers, the provider's, and whose
trace a call belongs to.
"""

from collections.abc import AsyncIterator

import msgspec
import pytest
import pytest_asyncio

from services.edge import own_headers
from services.edge.cache import control
from services.edge.cache.state import Cache
from services.edge.cache.store import Local
from shared import errors, subjects, tracing
from shared.facts import Refused
from shared.grant import Denial
from shared.ids import DeploymentId
from shared.requests import DecideReply
from tests.edge.fakes import DONE, USAGE_EVENT, Answer, Peer, completion, delta, response, until
from tests.edge.fakes import Provider as FakeProvider
from tests.edge.harness import Edge, stream

TRACEPARENT = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
BODY = b'{"model": "m", "messages": [{"role": "user", "content": "hi"}]}'


async def answering(peer: Peer) -> None:
    while True:
        await peer.request()
        await peer.send(
            response(
                completion("hi"),
                extra="x-ratelimit-remaining-requests: 7\r\nx-request-id: req_1\r\nset-cookie: a=b\r\n",
            )
        )


class World:
    edge: Edge
    provider: FakeProvider

    async def ask(self, path: str = "/v1/chat/completions", body: bytes = BODY, **headers: str) -> Answer:
        async with await self.edge.connect() as caller:
            await caller.post(path, body, {name.replace("_", "-"): value for name, value in headers.items()})
            return await caller.answer()


@pytest_asyncio.fixture
async def world() -> AsyncIterator[World]:
    made = World()
    async with FakeProvider(answering) as made.provider, Edge({"m": [made.provider.url]}) as made.edge:
        yield made


async def test_a_whole_answers_head(world: World) -> None:
    answer = await world.ask(x_litellm_call_id="mine")
    (settled,) = world.edge.settled()
    said = answer.headers
    assert answer.status == 200 and said["x-litellm-call-id"] == "mine"
    assert said["x-tollgate-request-id"] == settled.opened.id
    assert said["x-litellm-model-id"] == "m-0" and said["x-litellm-model-group"] == "m"
    assert said["x-litellm-model-name"] == "provider0/m-upstream"
    assert said["x-litellm-model-api-base"] == world.provider.url
    assert said["x-litellm-version"]
    assert (said["x-litellm-attempted-retries"], said["x-litellm-attempted-fallbacks"]) == ("0", "0")
    assert float(said["x-litellm-response-duration-ms"]) >= float(said["x-litellm-overhead-duration-ms"]) >= 0
    # 10 tokens at 1 and 5 at 2 millionths of a dollar.
    assert (said["x-litellm-response-cost"], said["x-litellm-response-cost-original"]) == ("0.00002", "0.00002")
    assert (said["x-litellm-response-cost-input"], said["x-litellm-response-cost-output"]) == ("0.00001", "0.00001")
    assert said["x-ratelimit-remaining-requests"] == said["llm_provider-x-ratelimit-remaining-requests"] == "7"
    assert said["x-request-id"] == said["llm_provider-x-request-id"] == "req_1" and "set-cookie" not in said
    assert (said["x-frame-options"], said["x-content-type-options"], said["vary"]) == ("DENY", "nosniff", "Origin")
    assert said["content-security-policy"] == "frame-ancestors 'none'"
    assert "sk-of-the-provider" not in str(said)


async def test_a_streams_head_has_no_cost(world: World) -> None:
    world.provider.script = stream(delta("a"), USAGE_EVENT, DONE)
    said = (await world.edge.chat(stream=True)).headers
    assert said["x-litellm-model-name"] == "provider0/m-upstream" and "x-litellm-response-duration-ms" in said
    assert not [name for name in said if name.startswith("x-litellm-response-cost")]


async def test_a_hits_head(world: World) -> None:
    wanted = control.read(True, {"type": "local"}, {})
    assert wanted is not None
    world.edge.parts.cache = Cache(wanted, Local(1_000_000, float))
    await world.ask()
    said = (await world.ask()).headers
    assert len(said["x-litellm-cache-key"]) == 64 and said["x-litellm-response-cost"] == "0"
    assert said["x-litellm-model-name"] == "provider0/m-upstream" and "x-litellm-response-cost-input" not in said


async def test_a_deployment_that_moved_is_said_to_be_where_it_is(world: World) -> None:
    """What is said of it was worked out once a decision, which outlives a file that is read
    again.
    """
    for _ in range(2):  # the second finds the decision kept
        await world.ask()
    targets, name = world.edge.parts.targets, DeploymentId("m-0")
    targets[name] = msgspec.structs.replace(targets[name], base_path="/v2")
    assert (await world.ask()).headers["x-litellm-model-api-base"] == world.provider.url.removesuffix("/v1") + "/v2"


async def test_a_refusals_head(world: World) -> None:
    said = (await world.ask(body=b'{"model": "m"}', x_litellm_call_id="mine")).headers
    assert said["x-litellm-call-id"] == "mine" and said["vary"] == "Origin" and said["x-frame-options"] == "DENY"


# ── whose trace it belongs to ──


async def test_a_trace_is_in_the_book_and_its_provider_is_told_where_that_is_wanted(world: World) -> None:
    await world.ask(traceparent=TRACEPARENT, tracestate="a=b")
    assert b"traceparent" not in world.provider.heads[0].lower()
    world.edge.parts.forwards_trace = True
    await world.ask(traceparent=TRACEPARENT, tracestate="a=b")
    first, second = world.edge.settled()
    assert first.opened.spend_logs_metadata == second.opened.spend_logs_metadata == {"traceparent": TRACEPARENT}
    head = world.provider.heads[1].decode().lower()
    assert (
        f"\r\ntraceparent: {tracing.child(TRACEPARENT, second.opened.id)}\r\n" in head
        and "\r\ntracestate: a=b\r\n" in head
    )
    await world.ask()
    assert b"traceparent" not in world.provider.heads[2].lower(), "it belongs to none"
    assert world.edge.settled()[2].opened.spend_logs_metadata == {}


@pytest.mark.parametrize("junk", ["", "x", TRACEPARENT + "x", "00-" + "0" * 32 + "-00f067aa0ba902b7-01", "\xff\xfe"])
async def test_what_is_no_trace_is_none(world: World, junk: str) -> None:
    world.edge.parts.forwards_trace = True
    assert (await world.ask(traceparent=junk, tracestate="a=b")).status == 200
    assert b"trace" not in world.provider.heads[0].lower()
    assert world.edge.settled()[0].opened.spend_logs_metadata == {}


async def test_a_clients_own_headers_go_on_where_that_is_wanted(world: World) -> None:
    more = {"x-team-note": "n", "anthropic-beta": "b1", "x-api-key": "sk-other", "x-litellm-tags": "t", "x-forwarded-for": "1.2.3.4",
            "x-stainless-os": "Linux", "x-odd": "\u00e4"}  # fmt: skip
    named = {name.replace("-", "_"): value for name, value in more.items()}
    await world.ask(**named)
    world.edge.parts.forwards_headers = True
    await world.ask(**named)
    before, after = (head.decode("latin-1").lower() for head in world.provider.heads)
    assert not [name for name in more if f"\r\n{name}:" in before]
    assert {name for name in more if f"\r\n{name}:" in after} == {"x-team-note", "anthropic-beta", "x-odd"}
    assert "sk-other" not in after
    assert own_headers.forwarded({"x-a": "1", "x-b": "2"}, [("X-A", "ours")]) == [("x-b", "2")], (
        "the entry's word stands"
    )


async def test_a_refused_call_and_its_agent_are_in_the_book_too(world: World) -> None:
    await world.ask(traceparent=TRACEPARENT, x_litellm_agent_id="planner", x_litellm_spend_logs_metadata='{"own": 1}')
    (settled,) = world.edge.settled()
    assert settled.opened.spend_logs_metadata == {"own": 1, "traceparent": TRACEPARENT, "agent_id": "planner"}
    denial = Denial(errors.bad_request("no"), 1, ["control.key.test"], rule="key_models")
    world.edge.bus.answers[subjects.POLICY_DECIDE] = lambda asked: DecideReply(denial)
    world.edge.grants.forget_all()
    assert (await world.ask(traceparent=TRACEPARENT)).status == 400
    await until(lambda: [fact for fact in world.edge.facts() if isinstance(fact, Refused)])
    (refused,) = [fact for fact in world.edge.facts() if isinstance(fact, Refused)]
    assert refused.spend_logs_metadata["traceparent"] == TRACEPARENT
