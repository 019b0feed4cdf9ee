"""A model added on one edge is called by the other at once, changed and taken away likewise; its
key is nowhere but sealed.
"""

import asyncio
import time
from typing import Any

import aiohttp
import pytest

from tests.live.conftest import MASTER, eventually, new_key
from tests.support.suite import RunningSuite

pytestmark = pytest.mark.asyncio(loop_scope="session")

TRIES = 25
LIMIT_MS = 100.0
SECRET = "sk-live-provider-key-7f3a9c2e"
CALL = {"messages": [{"role": "user", "content": "hi"}], "max_tokens": 2}


async def ask(http: aiohttp.ClientSession, method: str, url: str, body: Any = None, key: str = "") -> tuple[int, Any]:
    headers = {"Authorization": f"Bearer {key}"} if key else MASTER
    async with http.request(method, url, json=body, headers=headers) as answer:
        return answer.status, await answer.json()


@pytest.mark.alone
async def test_at_once_on_every_edge(suite: RunningSuite, http: aiohttp.ClientSession, model_url: str) -> None:
    one, other = suite.edge_urls
    key = await new_key(http, suite)
    delays_ms: list[float] = []

    async def said(model: str, url: str) -> str:
        status, answer = await ask(http, "POST", url + "/v1/chat/completions", {"model": model, **CALL}, key)
        return str(answer["choices"][0]["message"]["content"]) if status == 200 else str(status)

    async def after(model: str, wanted: str) -> None:
        began = time.perf_counter()
        while await said(model, other) != wanted:
            assert time.perf_counter() - began < 5
        delays_ms.append((time.perf_counter() - began) * 1000)

    for number in range(TRIES):
        model = f"added-{number}"
        assert await said(model, other) == "400"  # the refusal is kept there
        params = {"model": "openai/x", "mock_response": "first", "api_key": SECRET}
        status, row = await ask(http, "POST", one + "/model/new", {"model_name": model, "litellm_params": params})
        assert status == 200, row
        await after(model, "first")
        path = f"{one}/model/{row['model_id']}/update"
        status, _ = await ask(http, "PATCH", path, {"litellm_params": {"mock_response": "second"}})
        assert status == 200
        await after(model, "second")
        status, _ = await ask(http, "POST", one + "/model/delete", {"id": row["model_id"]})
        assert status == 200
        await after(model, "400")
        assert await said(model, one) == "400"
    delays_ms.sort()
    print(f"{len(delays_ms)} changes: median {delays_ms[len(delays_ms) // 2]:.1f} ms, worst {delays_ms[-1]:.1f} ms")
    assert delays_ms[-1] < LIMIT_MS


async def test_a_real_call_and_no_trace_of_its_key(
    suite: RunningSuite, http: aiohttp.ClientSession, model_url: str
) -> None:
    one, other = suite.edge_urls
    credential = {"credential_name": "live", "credential_values": {"api_key": SECRET + "2", "api_base": model_url}}
    assert (await ask(http, "POST", one + "/credentials", credential))[0] == 200
    params = {"model": "openai/smollm2", "litellm_credential_name": "live", "input_cost_per_token": 1e-6}
    body = {
        "model_name": "by-credential",
        "litellm_params": {**params, "api_key": SECRET},
        "model_info": {"id": "live-1"},
    }
    assert (await ask(http, "POST", one + "/model/new", body))[0] == 200
    for url in (one, other):
        status, answer = await ask(http, "POST", url + "/v1/chat/completions", {"model": "by-credential", **CALL})
        assert status == 200, answer
    answers = [
        await ask(http, "GET", url + path)
        for url in (one, other)
        for path in (
            "/model/info",
            "/v1/model/info?litellm_model_id=live-1",
            "/credentials",
            "/credentials/by_name/live",
        )
    ]
    assert all(status == 200 and SECRET not in str(answer) for status, answer in answers)
    (row,) = answers[1][1]["data"]
    assert row["model_info"]["db_model"] is True and row["litellm_params"]["model"] == "openai/smollm2"

    async def audited() -> str:
        return str(await ask(http, "GET", one + "/audit?object_id=live-1"))

    await eventually(audited, lambda found: "live-1" in found and "LiteLLM_ProxyModelTable" in found)
    assert SECRET not in await audited()
    assert (await ask(http, "POST", one + "/model/delete", {"id": "live-1"}))[0] == 200
    assert (await ask(http, "DELETE", one + "/credentials/live"))[0] == 200
    for place in (suite.data_dir, suite.log_path):
        files = [place] if place.is_file() else [each for each in place.rglob("*") if each.is_file()]
        assert files
        for file in files:
            assert SECRET.encode() not in file.read_bytes(), f"the key is in {file}"


@pytest.mark.alone
async def test_a_cooldown_is_every_edges_within_a_tenth_of_a_second(
    suite: RunningSuite, http: aiohttp.ClientSession
) -> None:
    """One edge finds out that a deployment is dead; the other, asked for the first time after 100
    ms, doesn't try it.
    """
    one, other = suite.edge_urls
    key = await new_key(http, suite)
    tried: list[str] = []

    async def retries(url: str, model: str) -> str:
        headers = {"Authorization": f"Bearer {key}"}
        async with http.post(url + "/v1/chat/completions", json={"model": model, **CALL}, headers=headers) as answer:
            assert answer.status == 200, await answer.text()
            return answer.headers.get("x-litellm-attempted-retries", "0")

    for number in range(10):
        model, ids = f"rests-{number}", []
        for params in (
            {"model": "openai/dead", "api_key": "k", "api_base": "http://127.0.0.1:9/v1", "order": 0},
            {"model": "openai/x", "api_key": "k", "mock_response": "hi", "order": 1},
        ):
            status, row = await ask(http, "POST", one + "/model/new", {"model_name": model, "litellm_params": params})
            assert status == 200, row
            ids.append(row["model_id"])
        await ask(http, "POST", other + "/v1/chat/completions", {"model": f"nobody-{number}", **CALL}, key)
        assert await retries(one, model) == "1", "the dead one was tried, and the other answered"
        await asyncio.sleep(0.1)
        tried.append(await retries(other, model))
        for each in ids:
            await ask(http, "POST", one + "/model/delete", {"id": each})
    assert tried == ["0"] * 10
