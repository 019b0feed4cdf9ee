"""Answers given before: never another's, never half of one, byte for byte, and once for many who ask at the same time."""

import asyncio
import json
import time
from collections.abc import AsyncIterator
from typing import Any

import msgspec
import pytest
import pytest_asyncio
from hypothesis import given, settings
from hypothesis import strategies as st

from services.edge.cache import control, key
from services.edge.cache.control import Settings
from services.edge.cache.state import Cache
from services.edge.cache.store import ENTRY_BYTES_MAX, Kept, Local, Near, Redis
from services.edge.formats.base import Call
from shared import subjects
from shared.billing import Usage
from shared.config import ConfigError
from shared.errors import RefusedError
from shared.facts import Caller, Settled
from shared.grant import Candidate, Grant, Permit
from shared.ids import DeploymentId, KeyDigest
from shared.requests import DecideReply
from tests.edge.fakes import (
    DONE,
    LAST_CHUNK,
    STREAM_HEAD,
    USAGE_EVENT,
    Answer,
    Peer,
    chunk,
    completion,
    delta,
    response,
    until,
)
from tests.edge.fakes import Provider as FakeProvider
from tests.edge.harness import Edge
from tests.support.ports import free_port


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


@pytest_asyncio.fixture
async def world() -> AsyncIterator[World]:
    made = World()
    async with FakeProvider(made.script) as made.provider, Edge({"m": [made.provider.url]}) as made.edge:
        yield made


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


async def test_a_hits_two_facts_ride_in_one_message(world: World) -> None:
    world.cache()
    await world.edge.chat()
    await until(lambda: len(world.edge.facts()) == 2)
    before = len(world.edge.publisher.landed)
    await world.edge.chat()
    await until(lambda: len(world.edge.facts()) == 4)
    assert len(world.edge.publisher.landed) == before + 1


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


# ── controls ──


async def test_controls_of_a_request(world: World) -> None:
    world.cache(ttl=60)
    assert await world.text() == "answer 1"
    assert await world.text(cache={"no-cache": True}) == "answer 2"
    assert await world.text() == "answer 2", "kept anew"
    assert await world.text(cache={"no-cache": True, "no-store": True}) == "answer 3"
    assert await world.text() == "answer 2"
    assert await world.text(cache={"namespace": "apart"}) == "answer 4"
    assert await world.text(cache={"s-maxage": 3600}) == "answer 2"
    assert await world.text(cache={"s-maxage": 0}) == "answer 5"
    assert await world.text(cache={"ttl": 5, "namespace": "short"}) == "answer 6"
    world.clock = 6.0
    assert await world.text(cache={"namespace": "short"}) == "answer 7"
    world.clock = 61.0
    assert await world.text() == "answer 8"
    for wrong in ({"ttl": "x"}, {"ttl": -1}, {"s-maxage": True}, {"namespace": 5}, {"tll": 1}, 5):
        answer = await world.edge.chat(cache=wrong)
        assert answer.status == 400, wrong
        assert str(answer.json()["error"]["param"]).startswith("cache")
    assert b'"cache"' not in b"".join(world.provider.bodies)


async def test_key_and_team_have_the_last_word(world: World) -> None:
    world.cache()
    who = Caller(KeyDigest("ab" * 32))
    world.caller(who, cache={"no-cache": True, "no-store": True})
    assert [await world.text(), await world.text(cache={"no-cache": False})] == ["answer 1", "answer 2"]
    world.caller(who, cache_controls=["ttl"])
    assert (await world.edge.chat(cache={"no-cache": True})).status == 400
    assert (await world.edge.chat(cache={"ttl": 5})).status == 200


async def test_off_by_default_until_somebody_says_otherwise(world: World) -> None:
    world.cache(mode="default_off")
    assert [await world.text(), await world.text()] == ["answer 1", "answer 2"]
    assert [await world.text(cache={"use-cache": True}), await world.text(cache={"use-cache": True})] == [
        "answer 3",
        "answer 3",
    ]
    world.caller(Caller(KeyDigest("ab" * 32)), cache={"use-cache": True})
    assert [await world.text(), await world.text()] == ["answer 4", "answer 4"]


async def test_only_the_calls_that_are_named(world: World) -> None:
    world.cache(supported_call_types=["embedding"])
    assert [await world.text(), await world.text()] == ["answer 1", "answer 2"]


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
    """Over keys, teams, namespaces, bodies, streams: never another tenant's answer, nor another request's."""

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


# ── where they are kept ──


def kept(body: bytes = b"x") -> Kept:
    return Kept(1, body, "application/json", False, Usage(1, 2, source="provider"), 5)


async def test_what_is_kept_here_is_bounded_by_bytes() -> None:
    store = Local(100_000, lambda: 0.0)
    for number in range(1_000):
        await store.put(str(number), kept(bytes(1_000)), 60)
    assert store.bytes <= 100_000
    assert await store.get("999") is not None and await store.get("0") is None
    await store.put("large", kept(bytes(ENTRY_BYTES_MAX + 1)), 60)
    assert await store.get("large") is None
    assert await store.delete(["999", "0"]) == 1
    await store.clear()
    assert store.bytes == 0


class Far(Local):
    """Somewhere else, for several edges."""

    asked = 0

    async def get(self, key: str) -> Kept | None:
        self.asked += 1
        return await super().get(key)


async def test_what_is_kept_elsewhere_is_fetched_once_a_second_and_never_given_past_its_term() -> None:
    clock = [100.0]
    far = Far(1_000_000, lambda: clock[0])
    one, other = (Near(far, lambda: clock[0], lambda: int(clock[0] * 1000)) for _ in range(2))

    def until(seconds: float) -> Kept:
        return msgspec.structs.replace(kept(), until_ms=int((clock[0] + seconds) * 1000))

    await one.put("k", until(60), 60)
    assert one.here("k") is None, "only what was read"
    assert await one.get("k") is not None and far.asked == 1
    assert one.here("k") is not None and await one.get("k") is not None and far.asked == 1
    clock[0] += 1.1
    assert one.here("k") is None and await one.get("k") is not None and far.asked == 2
    assert await one.delete(["k"]) == 1
    assert one.here("k") is None and await one.get("k") is None, "forgotten here at once"
    await one.put("k", until(60), 60)
    await one.get("k"), await other.get("k")
    assert await one.clear() and one.here("k") is None
    assert other.here("k") is not None
    clock[0] += 1.1
    assert await other.get("k") is None, "and elsewhere within a second"
    await one.put("short", until(0.4), 0.4)
    assert await one.get("short") is not None
    clock[0] += 0.5
    assert one.here("short") is None and await one.get("short") is None
    await one.put("k", until(60), 60)
    await one.get("k")
    await one.put("k", msgspec.structs.replace(until(60), body=b"newer"), 60)
    found = await one.get("k")
    assert found is not None and found.body == b"newer"
    await far.put("of an earlier version", kept(), 60)
    assert await one.get("of an earlier version") is not None and one.here("of an earlier version") is None


@pytest.mark.parametrize("how", ["delete", "clear", "put"])
async def test_who_looks_while_it_is_forgotten_does_not_keep_it_near(how: str, monkeypatch: pytest.MonkeyPatch) -> None:
    far = Far(1_000_000, float)
    near = Near(far, float, lambda: 0)
    old = msgspec.structs.replace(kept(), until_ms=60_000)
    await near.put("k", old, 60)
    forget = getattr(far, how)

    async def slowly(*args: Any) -> Any:
        assert await near.get("k") is not None
        return await forget(*args)

    monkeypatch.setattr(far, how, slowly)
    given: dict[str, tuple[Any, ...]] = {"delete": (["k"],), "put": ("k", old, 60)}
    await getattr(near, how)(*given.get(how, ()))
    assert near.here("k") is None


async def test_a_redis_that_is_away_or_slow_is_a_miss_at_once() -> None:
    clock = [0.0]
    store = Redis(f"redis://127.0.0.1:{free_port()}", lambda: clock[0])
    assert await store.get("k") is None
    before = time.monotonic()
    for _ in range(100):
        assert await store.get("k") is None
        await store.put("k", kept(), 5)
    assert time.monotonic() - before < 0.2, "it isn't asked again for a while"
    assert not await store.ping()
    await store.close()

    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    server = await asyncio.start_server(silent, "127.0.0.1", 0)
    store = Redis(f"redis://127.0.0.1:{server.sockets[0].getsockname()[1]}", lambda: 0.0)
    before = time.monotonic()
    assert await store.get("k") is None
    assert time.monotonic() - before < 0.5
    await store.close()
    server.close()


# ── the routes, and the configuration ──


async def test_forgetting(world: World) -> None:
    async def ask(method: str, path: str, body: bytes = b"") -> Answer:
        async with await world.edge.connect() as caller:
            line = f"{method} {path} HTTP/1.1\r\nHost: e\r\nAuthorization: Bearer sk-client-key\r\nContent-Length: {len(body)}\r\n\r\n"
            await caller.send(line.encode() + body)
            return await caller.answer()

    assert (await ask("GET", "/cache/ping")).status == 400
    world.cache()
    assert (await ask("GET", "/cache/ping")).json()["status"] == "healthy"
    await world.text()
    answer = await world.edge.chat()
    digest = answer.headers["x-litellm-cache-key"]
    assert (await ask("POST", "/cache/delete", json.dumps({"keys": [digest, "x"]}).encode())).json()["deleted"] == 1
    assert await world.text() == "answer 2"
    assert (await ask("POST", "/cache/flushall")).status == 200
    assert await world.text() == "answer 3"
    for wrong in (b"", b"{}", b'{"keys": 5}', b'{"keys": [1]}', b"["):
        assert (await ask("POST", "/cache/delete", wrong)).status == 400


@pytest.mark.parametrize(
    "wrong",
    [
        {"type": "s3"},
        {"mode": "on"},
        {"ttl": "x"},
        {"ttl": -1},
        {"supported_call_types": "x"},
        {"cache_scope": "user"},
        {"type": "redis"},
    ],
)
def test_what_is_no_cache_is_refused_at_start(wrong: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match="cache_params"):
        control.read(True, wrong, {})
    assert control.read(False, wrong, {}) is None


def test_where_redis_is() -> None:
    def url(params: dict[str, Any], **environ: str) -> str:
        found = control.read(True, {"type": "redis", **params}, environ)
        assert isinstance(found, Settings)
        return found.redis_url

    assert url({"host": "h", "port": 7, "password": "p@:/"}) == "redis://:p%40%3A%2F@h:7"
    assert url({}, REDIS_HOST="h") == "redis://h:6379"
    assert url({"ssl": True}, REDIS_HOST="h", REDIS_PASSWORD="p") == "rediss://:p@h:6379"
    assert url({}, REDIS_URL="redis://x") == "redis://x"


def test_a_request_cannot_say_what_is_wrong_quietly() -> None:
    with pytest.raises(RefusedError):
        control.control(Settings(), "acompletion", msgspec.Raw(b'{"ttl":'), {}, None)
    assert isinstance(control.control(Settings(), "acompletion", msgspec.Raw(b"null"), {}, None), control.Control)
    assert Settled.__struct_fields__
