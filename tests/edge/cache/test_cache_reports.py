"""What users of other gateways reported of their caches: one row a report."""

import asyncio
from typing import Any

import pytest

from services.edge.cache import control
from tests.edge.cache.cache_kit import World
from tests.edge.fakes import response
from tests.edge.harness import Edge

CHAT = b'{"model": "m", "messages": [{"role": "user", "content": "x"}]}'


async def ask(world: World, **headers: str) -> int:
    """How often a provider was asked by then."""
    async with await world.edge.connect() as caller:
        await caller.post(
            "/v1/chat/completions", CHAT, {name.replace("_", "-"): text for name, text in headers.items()}
        )
        assert (await caller.answer()).status == 200
    return world.asked


async def test_headers_that_providers_get_are_part_of_what_makes_two_requests_equal(world: World) -> None:
    world.cache()
    assert [await ask(world, x_mode=mode) for mode in ("a", "b")] == [1, 1], "nobody gets them"
    world.edge.parts.forwards_headers = True
    asked = [await ask(world, x_mode=mode) for mode in ("a", "b", "a", "b")]
    assert asked == [2, 3, 3, 3]
    assert (
        await ask(world, x_mode="a", x_request_id="7", x_stainless_os="Linux", authorization="Bearer sk-client-key")
        == 3
    )
    assert await ask(world, anthropic_beta="b1") == 4


async def test_a_fallbacks_answer_is_not_given_as_the_models_own_later(world: World) -> None:
    """But whoever asked at the same time gets it: they would have been answered by it too."""
    async with Edge({"m": [world.provider.url], "other": [world.provider.url]}) as world.edge:
        world.cache()
        fallback = {"fallbacks": ["other"], "num_retries": 0}
        world.delay_s = 0.05
        world.answers = [response(b'{"error": {"message": "down"}}', "503 Service Unavailable")]
        answers = await asyncio.gather(*(world.edge.chat(**fallback) for _ in range(20)))
        assert {answer.status for answer in answers} == {200} and len({answer.body for answer in answers}) == 1
        assert world.asked == 2
        world.edge.parts.health.of(world.edge.deployments[0].id).resting_until = 0.0
        assert (await world.edge.chat(**fallback)).body != answers[0].body, "the model is there again"
        assert world.asked == 3


@pytest.mark.parametrize(
    ("params", "ttl_s"),
    [
        ({"type": "local", "default_in_memory_ttl": 7}, 7),
        ({"type": "local", "default_in_memory_ttl": 7, "ttl": 9}, 9),
        ({"type": "local", "default_in_redis_ttl": 7}, control.TTL_S),
        ({"type": "nats", "default_in_redis_ttl": 7, "default_in_memory_ttl": 3}, 7),
        ({"type": "redis", "host": "h", "default_redis_ttl": 2147483647}, 30 * 86_400),
        ({"type": "redis", "host": "h", "port": "6379", "password": "", "ttl": None}, control.TTL_S),
    ],
)
def test_which_term_an_answer_has(params: dict[str, Any], ttl_s: float) -> None:
    settings = control.read(True, params, {})
    assert settings is not None and settings.ttl_s == ttl_s
