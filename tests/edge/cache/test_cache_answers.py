"""Answers given before: never another's, never half of one, byte for byte, and once for many who
ask at the same time.
"""

import asyncio
import json
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.edge.cache import key
from services.edge.cache.store import Local
from services.edge.formats.base import Call
from shared.facts import Caller, Opened, Settled
from shared.grant import Candidate, Grant, Permit
from shared.ids import DeploymentId, KeyDigest
from tests.edge.cache.cache_kit import World
from tests.edge.fakes import (
    DONE,
    LAST_CHUNK,
    STREAM_HEAD,
    USAGE_EVENT,
    Answer,
    chunk,
    delta,
    response,
    until,
)


async def test_a_hit_is_the_same_bytes_without_a_provider_and_a_fact_that_cost_nothing(world: World) -> None:
    world.cache()
    first, second = await world.edge.chat(), await world.edge.chat()
    assert first.body == second.body and world.asked == 1
    assert "x-litellm-cache-key" not in first.headers
    assert len(second.headers["x-litellm-cache-key"]) == 64
    assert float(second.headers["x-litellm-response-cost"]) == 0
    assert second.headers["content-type"] == first.headers["content-type"]
    await until(lambda: len(world.edge.settled()) == 2)
    paid, free = world.edge.settled()
    assert paid.cost_picousd and free.cost_picousd == 0
    assert (free.outcome, free.status, free.usage) == ("success", 200, paid.usage)
    metadata = free.opened.spend_logs_metadata
    assert metadata["cache_hit"] is True and metadata["cache_key"] == second.headers["x-litellm-cache-key"]
    assert float(metadata["saved_cache_cost"]) == paid.cost_picousd / 1e12
    assert "cache_hit" not in paid.opened.spend_logs_metadata
    assert free.opened.id != paid.opened.id


async def test_a_hit_in_one_piece_leaves_one_fact_its_end(world: World) -> None:
    """Nobody was asked: between its beginning and its end nothing can be lost."""
    world.cache()
    await world.edge.chat()
    await until(lambda: len(world.edge.facts()) == 2)
    await world.edge.chat()
    assert [type(fact) for fact in world.edge.facts()] == [Opened, Settled, Settled], "durable before it is answered"
    world.answers = [STREAM_HEAD + b"".join(map(chunk, [delta("a"), USAGE_EVENT, DONE])) + LAST_CHUNK]
    for _ in range(2):
        await world.edge.chat(stream=True)
    await until(lambda: len(world.edge.facts()) == 7)
    assert [type(fact) for fact in world.edge.facts()[3:]] == [Opened, Settled] * 2, "a replay may be cut off"


async def test_streams_are_recorded_and_replayed_as_streams(world: World) -> None:
    world.cache()
    events = [delta("a"), delta("b"), USAGE_EVENT, DONE]
    world.answers = [STREAM_HEAD + b"".join(map(chunk, events)) + LAST_CHUNK]
    first = await world.edge.chat(stream=True)
    second = await world.edge.chat(stream=True)
    assert first.body == second.body and first.body.endswith(DONE) and world.asked == 1
    assert second.headers["content-type"].startswith("text/event-stream")
    await world.text()
    assert world.asked == 2, "in one piece is another request"
    await until(lambda: len(world.edge.settled()) == 3)
    assert world.edge.settled()[1].cost_picousd == 0


@pytest.mark.parametrize(
    "half",
    [
        STREAM_HEAD + chunk(delta("a")) + LAST_CHUNK,
        STREAM_HEAD + chunk(delta("a")) + chunk(b'data: {"error": {"message": "x"}}\n\n') + LAST_CHUNK,
        STREAM_HEAD + chunk(delta("a")) + b"zz",
    ],
)
async def test_half_an_answer_is_never_replayed(world: World, half: bytes) -> None:
    cache = world.cache()
    world.answers = [half]
    try:
        await world.edge.chat(stream=True)
    except (asyncio.IncompleteReadError, ConnectionError):
        pass
    assert isinstance(cache.store, Local) and not cache.store.bytes
    world.answers = [STREAM_HEAD + b"".join(map(chunk, [delta("whole"), DONE])) + LAST_CHUNK]
    assert b"whole" in (await world.edge.chat(stream=True)).body


@pytest.mark.parametrize("status", ["500 Internal Server Error", "400 Bad Request", "429 Too Many Requests"])
async def test_a_failure_is_not_kept(world: World, status: str) -> None:
    cache = world.cache()
    world.answers = [response(b'{"error": {"message": "no"}}', status)] * 3
    assert (await world.edge.chat()).status >= 400
    assert isinstance(cache.store, Local) and not cache.store.bytes


async def test_a_client_that_leaves_leaves_no_half(world: World) -> None:
    cache = world.cache()
    world.delay_s = 0.2
    async with await world.edge.connect() as caller:
        await caller.chat()
        await until(lambda: world.asked)
    await until(lambda: world.edge.settled())
    assert isinstance(cache.store, Local) and not cache.store.bytes and not cache.flights
    assert await world.text() == "answer 2"


async def test_a_hundred_equal_requests_at_once_are_one_call(world: World) -> None:
    world.cache()
    world.delay_s = 0.1
    answers = await asyncio.gather(*(world.edge.chat() for _ in range(100)))
    assert world.asked == 1
    assert len({answer.body for answer in answers}) == 1
    await until(lambda: len(world.edge.settled()) == 100)
    assert sum(1 for fact in world.edge.settled() if fact.cost_picousd) == 1


async def test_when_the_first_fails_the_next_one_calls(world: World) -> None:
    world.cache()
    world.delay_s = 0.05
    world.answers = [response(b'{"error": {"message": "no"}}', "400 Bad Request")]
    answers: list[Answer] = await asyncio.gather(*(world.edge.chat() for _ in range(5)))
    assert sorted(answer.status for answer in answers) == [200, 200, 200, 200, 400]
    assert world.asked == 2


# ── whose it is ──


async def test_no_other_team_gets_it(world: World) -> None:
    world.cache()
    one, other = Caller(KeyDigest("a" * 64), team_id="one"), Caller(KeyDigest("b" * 64), team_id="other")
    world.caller(one)
    assert await world.text() == "answer 1"
    world.caller(other)
    assert await world.text() == "answer 2"
    world.caller(Caller(KeyDigest("c" * 64), team_id="one"))
    assert await world.text() == "answer 1", "of the same team"
    world.caller(Caller(KeyDigest("d" * 64)))
    assert await world.text() == "answer 3"
    world.caller(Caller(KeyDigest("e" * 64)))
    assert await world.text() == "answer 4", "without a team, each key apart"


def permit(caller: Caller) -> Permit:
    candidates = [Candidate(DeploymentId("d"), "openai", "m-up")]
    return Permit(Grant(caller, "/chat/completions", "m", 1, [], candidates), candidates, [], {})


def call(fields: dict[str, Any], *, stream: bool = False, model: str = "m") -> Call:
    raw = {name: msgspec.Raw(json.dumps(value).encode()) for name, value in fields.items()}
    return Call(b"", raw, model, stream)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=2), inner, max_size=2),
    max_leaves=4,
)


CALLERS = st.builds(
    Caller,
    st.sampled_from([None, KeyDigest("a" * 64), KeyDigest("b" * 64)]),
    team_id=st.sampled_from([None, "", "one", "two", "key " + "a" * 64]),
)


ASKED = st.tuples(
    CALLERS,
    st.dictionaries(st.sampled_from(["messages", "n", "x"]), JSON),
    st.sampled_from(["", "n1", "n"]),
    st.booleans(),
)


@settings(max_examples=400, deadline=None)
@given(one=ASKED, other=ASKED)
def test_keys_are_equal_only_where_everything_is(one: Any, other: Any) -> None:
    """Over keys, teams, namespaces, bodies, streams: never another tenant's answer, nor another
    request's.
    """

    def made(asked: Any) -> str | None:
        caller, fields, namespace, stream = asked
        whose = key.apart(permit(caller), "/chat/completions", "m", namespace, "team")
        return key.digest(call(fields, stream=stream), whose, key.Bodies())

    def whose(caller: Caller) -> tuple[str, str | None]:
        return ("team", caller.team_id) if caller.team_id else ("key", caller.key_sha256)

    def meaning(asked: Any) -> Any:
        return whose(asked[0]), json.dumps(asked[1], sort_keys=True), asked[2], asked[3]

    assert (made(one) == made(other)) is (meaning(one) == meaning(other))


def test_order_and_white_space_mean_nothing_and_the_gateways_own_is_left_out() -> None:
    who = permit(Caller(KeyDigest("a" * 64)))

    def made(raw: dict[str, bytes]) -> str | None:
        fields = {n: msgspec.Raw(v) for n, v in raw.items()}
        return key.digest(Call(b"", fields, "m"), key.apart(who, "/c", "m", "", "team"), key.Bodies())

    plain = made({"messages": b'[{"role":"user","content":"a"}]', "n": b"1"})
    assert plain == made({"n": b" 1", "messages": b'[ {"content": "\\u0061", "role": "user"} ]'})
    assert plain == made(
        {
            "messages": b'[{"role":"user","content":"a"}]',
            "n": b"1",
            "metadata": b'{"a":1}',
            "user": b'"u"',
            "cache": b"{}",
        }
    )
    assert plain != made({"messages": b'[{"role":"user","content":"a"}]', "n": b"2"})
    assert made({"messages": b"[" * 5000 + b"]" * 5000}) is None
