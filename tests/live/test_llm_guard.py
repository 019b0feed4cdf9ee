"""The page's LLM Guard, in its three modes, through the whole suite: what the provider gets, and
who is asked about.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from tests.live.conftest import new_key
from tests.support.serving import handled_by, serving
from tests.support.suite import RunningSuite
from tests.support.upstream import FakeUpstream

pytestmark = pytest.mark.asyncio(loop_scope="session")

CONFIG = """
model_list:
  - {{model_name: fake-openai-endpoint, litellm_params: {{model: openai/fake, api_base: "{base}", api_key: k,
      input_cost_per_token: 0.000001, output_cost_per_token: 0.000002}}}}
litellm_settings:
  {settings}
{more}
general_settings:
  master_key: sk-1234
"""


class LLMGuardServer:
    """Answers as the real server was recorded (LLM Guard API 0.3.16)."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.delay_s = 0.0

    async def analyze(self, request: web.Request) -> web.Response:
        prompt = (await request.json())["prompt"]
        self.asked.append(prompt)
        await asyncio.sleep(self.delay_s)
        found = 1.0 if "BOMB" in prompt else -1.0
        clean = prompt.replace("Ann", "[REDACTED_PERSON_1]")
        body = {"is_valid": "BOMB" not in prompt, "scanners": {"BanSubstrings": found}, "sanitized_prompt": clean}
        return web.json_response(body)


@asynccontextmanager
async def llm_guard() -> AsyncIterator[tuple[LLMGuardServer, str]]:
    server = LLMGuardServer()
    async with serving(handled_by(server.analyze, "POST", "/analyze/prompt")) as url:
        yield server, url


async def chat(
    http: aiohttp.ClientSession, suite: RunningSuite, content: str, key: str = "sk-1234", **fields: Any
) -> int:
    body = {"model": "fake-openai-endpoint", "messages": [{"role": "user", "content": content}], **fields}
    headers = {"Authorization": f"Bearer {key}"}
    async with http.post(suite.edge_url + "/v1/chat/completions", json=body, headers=headers) as answer:
        await answer.read()
        return answer.status


Run = Callable[[RunningSuite, FakeUpstream, LLMGuardServer], Any]


@asynccontextmanager
async def running(
    directory: Path, settings: str, more: str = ""
) -> AsyncIterator[tuple[RunningSuite, FakeUpstream, LLMGuardServer]]:
    async with FakeUpstream() as upstream, llm_guard() as (server, url):
        config = CONFIG.format(base=upstream.base_url, settings=settings, more=more.replace("LLM_GUARD", url))
        async with RunningSuite(directory, config, env={"LLM_GUARD_API_BASE": url}) as suite:
            yield suite, upstream, server


async def test_for_all_the_sanitised_prompt_is_what_the_provider_gets(
    tmp_path: Path, http: aiohttp.ClientSession
) -> None:
    async with running(tmp_path, 'callbacks: ["llmguard_moderations"]') as (suite, upstream, server):
        assert await chat(http, suite, "I am Ann") == 200
        assert upstream.requests[-1].json["messages"][0]["content"] == "I am [REDACTED_PERSON_1]"
        before = len(upstream.requests)
        assert await chat(http, suite, "a BOMB") == 400
        assert len(upstream.requests) == before, "not one byte"
        server.asked.clear()
        assert await chat(http, suite, "x", stream=True) == 200 and server.asked == ["x"]


async def test_by_key_and_by_request(tmp_path: Path, http: aiohttp.ClientSession) -> None:
    settings = 'callbacks: ["llmguard_moderations"]\n  llm_guard_mode: "key-specific"'
    async with running(tmp_path / "key", settings) as (suite, _, server):
        permissions = {"enable_llm_guard_check": True}
        key = await new_key(http, suite, models=["fake-openai-endpoint"], permissions=permissions)
        assert await chat(http, suite, "What do you know?") == 200 and server.asked == []
        assert await chat(http, suite, "What do you know?", key) == 200 and server.asked == ["What do you know?"]
        server.asked.clear()
        assert await chat(http, suite, "x", metadata={"permissions": permissions}) == 200 and server.asked == []
    settings = settings.replace("key-specific", "request-specific")
    async with running(tmp_path / "request", settings) as (suite, _, server):
        assert await chat(http, suite, "one") == 200 and server.asked == []
        assert await chat(http, suite, "two", metadata={"permissions": permissions}) == 200 and server.asked == ["two"]


async def test_what_runs_beside_the_call_holds_its_answer_back(tmp_path: Path, http: aiohttp.ClientSession) -> None:
    """And where its service is away, `on_error` decides."""
    more = """
guardrails:
  - guardrail_name: beside
    litellm_params: {guardrail: openai_moderation, mode: during_call, default_on: false, api_base: "http://127.0.0.1:9", deadline_ms: 500}
  - guardrail_name: lenient
    litellm_params: {guardrail: openai_moderation, mode: during_call, default_on: false, on_error: allow, api_base: "http://127.0.0.1:9"}
"""
    async with running(tmp_path, "drop_params: false", more) as (suite, upstream, _):
        assert await chat(http, suite, "x", guardrails=["lenient"]) == 200
        assert await chat(http, suite, "x", guardrails=["beside"]) == 503
        assert len(upstream.requests) == 2, "it ran beside the call"
