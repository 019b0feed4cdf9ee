"""What a request, a key, a team, the routes and the file say of the cache."""

import json
from typing import Any

import msgspec
import pytest

from services.edge.cache import control
from services.edge.cache.control import Settings
from shared.config import ConfigError
from shared.errors import RefusedError
from shared.facts import Caller, Settled
from shared.ids import KeyDigest
from tests.edge.cache.cache_kit import World
from tests.edge.fakes import (
    Answer,
)


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
    assert (await world.edge.chat(cache={"no-cache": True})).status == 403
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
        control.control(Settings(), "acompletion", msgspec.Raw(b'{"ttl":'), {})
    assert isinstance(control.control(Settings(), "acompletion", msgspec.Raw(b"null"), {}), control.Control)
    assert Settled.__struct_fields__
