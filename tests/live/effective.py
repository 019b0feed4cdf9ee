"""How long it takes until a change holds on every one of several edges: kind by kind."""

import asyncio
import json
import time
import uuid
from typing import Any

import aiohttp

from tests.live.conftest import new_key
from tests.support.suite import RunningSuite

CONFIG = """
model_list:
  - model_name: mock
    litellm_params: {model: openai/mock, mock_response: "Hello!"}
  - model_name: other
    litellm_params: {model: openai/other, mock_response: "Hello!"}
general_settings: {master_key: sk-1234}
"""


async def post(http: aiohttp.ClientSession, url: str, body: Any, key: str = "sk-1234") -> tuple[int, Any]:
    async with http.post(url, json=body, headers={"Authorization": f"Bearer {key}"}) as answer:
        return answer.status, json.loads(await answer.read())


async def insist(http: aiohttp.ClientSession, url: str, body: Any) -> tuple[Any, int]:
    """Until it isn't refused because somebody else was faster. (answer, conflicts)"""
    for conflicts in range(500):
        status, answer = await post(http, url, body)
        if status != 409:
            assert status == 200, answer
            return answer, conflicts
        assert answer["error"]["type"] == "conflict_error"
        await asyncio.sleep(0.002)
    raise AssertionError("never got through")


async def measured(
    suite: RunningSuite, http: aiohttp.ClientSession, tries: int
) -> tuple[dict[str, list[float]], int, int]:
    """(kind of change -> milliseconds from its answer until the last edge acts by it, once a try;
    how many calls that took, and how many of them were still answered by what was before). The time
    holds a whole call: only the last number is about how changes spread."""
    base, edges = suite.edge_url, suite.edge_urls
    found: dict[str, list[float]] = {}
    calls = [0, 0]

    async def call(edge: str, key: str, user: str) -> int:
        body = {"model": "mock", "messages": [{"role": "user", "content": "hi"}], "user": user}
        return (await post(http, edge + "/v1/chat/completions", body, key))[0]

    async def change(what: str, route: str, body: Any, user: str, *expected: tuple[str, int, int]) -> Any:
        """`expected`: (key, status before, status after)."""
        for key, before, _ in expected:
            for edge in edges:
                assert await call(edge, key, user) == before, what
        answer, _ = await insist(http, base + route, body)
        await holds(what, user, *((key, after) for key, _, after in expected))
        return answer

    async def holds(what: str, user: str, *expected: tuple[str, int]) -> None:
        start = time.perf_counter()

        async def seen(edge: str, key: str, after: int) -> float:
            calls[0] += 1
            while await call(edge, key, user) != after:
                calls[0] += 1
                calls[1] += 1
                assert time.perf_counter() - start < 5, what
            return (time.perf_counter() - start) * 1000

        delays = await asyncio.gather(*(seen(edge, key, after) for edge in edges for key, after in expected))
        found.setdefault(what, []).append(max(delays))

    for _ in range(tries):
        user = f"user-{uuid.uuid4().hex[:8]}"
        _, team = await post(http, base + "/team/new", {"models": ["mock", "other"]})
        key = await new_key(http, suite, team_id=team["team_id"])
        team_id, one = {"team_id": team["team_id"]}, {"key": key}
        models = {**team_id, "models": ["mock"]}
        for what, route, body, before, after in (
            ("block a customer", "/customer/block", {"user_ids": [user]}, 200, 400),
            ("unblock a customer", "/customer/unblock", {"user_ids": [user]}, 400, 200),
            ("block a key", "/key/block", one, 200, 401),
            ("unblock a key", "/key/unblock", one, 401, 200),
            ("take a model from a team", "/team/model/delete", models, 200, 403),
            ("give a team a model", "/team/model/add", models, 403, 200),
            ("limit a key's routes", "/key/update", {**one, "allowed_routes": ["/embeddings"]}, 200, 403),
            ("let a key call again", "/key/update", {**one, "allowed_routes": []}, 403, 200),
        ):
            await change(what, route, body, user, (key, before, after))
        rotated = await change(
            "rotate with grace: the old one", "/key/regenerate", {**one, "grace_period": "1h"}, user, (key, 200, 200)
        )
        await holds("rotate with grace: the new one", user, (rotated["key"], 200))
        bare = await change(
            "rotate without grace: both old ones", "/key/regenerate", {"key": rotated["key"]}, user,
            (key, 200, 401), (rotated["key"], 200, 401),
        )  # fmt: skip
        await holds("rotate without grace: the new one", user, (bare["key"], 200))
        await change("delete a key", "/key/delete", {"keys": [bare["key"]]}, user, (bare["key"], 200, 401))
        await post(http, base + "/team/delete", {"team_ids": [team["team_id"]]})
    return found, calls[0], calls[1]
