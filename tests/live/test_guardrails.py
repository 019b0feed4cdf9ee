"""The page's guardrails through the whole suite: what reaches the provider, the client, the log and
the book.
"""

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import openai
import pytest
import pytest_asyncio
from aiohttp import web

from tests.live.conftest import MASTER, book_row, new_key
from tests.support.serving import handled_by, serving
from tests.support.suite import RunningSuite
from tests.support.upstream import Behaviour, FakeUpstream

pytestmark = pytest.mark.asyncio(loop_scope="session")

AKIA = "AKIA" + "Z7QW2ERT4YUI6OPA"


FAILING = ("down", "slow", "401", "500", "junk", "redirect")
"""What a guardrail's own service may do."""


async def failing(request: web.Request) -> web.StreamResponse:
    """Each way at a path of its own."""
    match request.path.split("/")[1]:
        case "slow":
            await asyncio.sleep(3)
        case "401" | "500" as status:
            return web.Response(status=int(status), text="TOP SECRET")
        case "redirect":
            return web.Response(status=307, headers={"Location": "/fine"})
        case "junk":
            return web.Response(text="<html>TOP SECRET")
    return web.json_response({"action": "NONE"})


def failing_guardrails(url: str) -> str:
    return "".join(
        f"""
  - guardrail_name: {how}-{on_error}
    litellm_params: {{guardrail: generic_guardrail_api, mode: pre_call, default_on: false, on_error: {on_error}, deadline_ms: 400,
      api_base: "{"http://127.0.0.1:9" if how == "down" else f"{url}/{how}"}"}}"""
        for how in FAILING
        for on_error in ("block", "allow")
    )


def config(base_url: str, guardrails_url: str) -> str:
    return f"""
model_list:
  - {{model_name: fake, litellm_params: {{model: openai/fake, api_base: "{base_url}", api_key: provider-key-1,
      input_cost_per_token: 0.000001, output_cost_per_token: 0.000002}}}}
  - {{model_name: omni-moderation-latest, litellm_params: {{model: openai/omni-moderation-latest, mock_response: x}}}}
litellm_settings:
  callbacks: ["hide_secrets", "banned_keywords"]
  banned_keywords_list: words.txt
guardrails:
  - guardrail_name: hide-in-answers
    litellm_params: {{guardrail: hide-secrets, mode: post_call, default_on: false}}
  - guardrail_name: watcher
    litellm_params: {{guardrail: hide-secrets, mode: logging_only, default_on: false}}{failing_guardrails(guardrails_url)}
general_settings:
  master_key: sk-1234
"""


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def upstream() -> AsyncIterator[FakeUpstream]:
    async with FakeUpstream() as running:
        yield running


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def guarded(tmp_path_factory: pytest.TempPathFactory, upstream: FakeUpstream) -> AsyncIterator[RunningSuite]:
    directory: Path = tmp_path_factory.mktemp("guarded")
    (directory / "words.txt").write_text("forbiddenword\n")
    async with (
        serving(handled_by(failing)) as url,
        RunningSuite(directory, config(upstream.base_url, url)) as running,
    ):
        yield running


async def chat(
    http: aiohttp.ClientSession, suite: RunningSuite, content: Any, key: str = "sk-1234", **fields: Any
) -> Any:
    body = {"model": "fake", "messages": [{"role": "user", "content": content}], **fields}
    headers = {"Authorization": f"Bearer {key}"}
    async with http.post(suite.edge_url + "/chat/completions", json=body, headers=headers) as answer:
        return answer.status, answer.headers, await answer.read()


def said_by(row: dict[str, Any]) -> dict[str, str]:
    """What the book has each guardrail say."""
    return {one["name"]: one["action"] for one in row["metadata"]["guardrail_information"]}


async def test_the_page_s_secret_goes_on_redacted_and_the_log_says_so(
    guarded: RunningSuite, upstream: FakeUpstream, http: aiohttp.ClientSession
) -> None:
    said = "what is the value of my open ai key? openai_api_key=sk-1234998222"
    status, headers, _ = await chat(http, guarded, said)
    assert status == 200
    assert upstream.requests[-1].json["messages"][0]["content"] == said.replace("sk-1234998222", "[REDACTED]")
    assert headers["x-litellm-applied-guardrails"] == "hide_secrets,banned_keywords"
    log = guarded.log()
    assert "Detected and redacted secrets in message: ['Secret Keyword']" in log
    assert "1234998222" not in log
    row = await book_row(http, guarded.edge_url, headers["x-tollgate-request-id"], MASTER)
    assert "1234998222" not in json.dumps(row)


async def test_a_key_may_turn_it_off_and_on(
    guarded: RunningSuite, upstream: FakeUpstream, http: aiohttp.ClientSession
) -> None:
    key = await new_key(http, guarded, permissions={"hide_secrets": False})
    said = "does my openai key look well formatted OpenAI_API_KEY=sk-1234777"
    await chat(http, guarded, said, key)
    assert upstream.requests[-1].json["messages"][0]["content"] == said
    update = {"key": key, "permissions": {}}
    async with http.post(guarded.edge_url + "/key/update", json=update, headers=MASTER) as answer:
        assert answer.status == 200
    await chat(http, guarded, said, key)
    assert upstream.requests[-1].json["messages"][0]["content"] == said.replace("sk-1234777", "[REDACTED]")


async def test_every_place_that_a_secret_may_stand_in(
    guarded: RunningSuite, upstream: FakeUpstream, http: aiohttp.ClientSession
) -> None:
    called = {"name": "f", "arguments": json.dumps({"k": AKIA})}
    messages = [
        {"role": "system", "content": f"key {AKIA}"},
        {"role": "user", "content": [{"type": "text", "text": f"key {AKIA}"}, {"type": "text", "text": "x"}]},
        {"role": "assistant", "tool_calls": [{"id": "call_1", "type": "function", "function": called}]},
        {"role": "tool", "tool_call_id": "call_1", "content": f"key {AKIA}"},
    ]  # fmt: skip
    status, _, _ = await chat(http, guarded, "", messages=messages)
    assert status == 200
    sent = upstream.requests[-1].json
    assert AKIA not in json.dumps(sent) and json.dumps(sent).count("[REDACTED]") == 4
    assert json.loads(sent["messages"][2]["tool_calls"][0]["function"]["arguments"]) == {"k": "[REDACTED]"}


async def test_a_request_names_a_guardrail_and_an_unknown_name_is_refused(
    guarded: RunningSuite, upstream: FakeUpstream, http: aiohttp.ClientSession
) -> None:
    upstream.behaviours["fake"] = Behaviour(text=f"your key is {AKIA} and that is all")
    try:
        status, headers, body = await chat(http, guarded, "x", guardrails=["hide-in-answers"])
        assert status == 200
        assert json.loads(body)["choices"][0]["message"]["content"] == "your key is [REDACTED] and that is all"
        assert "hide-in-answers" in headers["x-litellm-applied-guardrails"].split(",")
        status, _, body = await chat(http, guarded, "x", stream=True, guardrails=["hide-in-answers"])
        events = [json.loads(line[6:]) for line in body.decode().splitlines() if line.startswith("data: {")]
        said = "".join(e["choices"][0]["delta"].get("content") or "" for e in events if e["choices"])
        assert said == "your key is [REDACTED] and that is all" and body.rstrip().endswith(b"data: [DONE]")
        _, _, body = await chat(http, guarded, "x")
        assert AKIA in body.decode()
        _, headers, body = await chat(http, guarded, "x", guardrails=["watcher"])
        assert AKIA in body.decode(), "it only watches"
    finally:
        del upstream.behaviours["fake"]
    before = len(upstream.requests)
    status, _, body = await chat(http, guarded, "x", guardrails=["nosuch"])
    assert status == 400 and "nosuch" in body.decode() and len(upstream.requests) == before


@pytest.mark.parametrize("how", FAILING)
async def test_whatever_a_guardrail_s_service_does_on_error_happens_and_the_fact_says_so(
    guarded: RunningSuite, upstream: FakeUpstream, http: aiohttp.ClientSession, how: str
) -> None:
    before = len(upstream.requests)
    status, headers, body = await chat(http, guarded, "x", guardrails=[f"{how}-block"])
    assert status == 503 and f"{how}-block" in json.loads(body)["error"]["message"]
    assert "TOP SECRET" not in body.decode() and len(upstream.requests) == before, "not one byte went upstream"
    refused = await book_row(http, guarded.edge_url, headers["x-tollgate-request-id"], MASTER)
    status, headers, _ = await chat(http, guarded, "x", guardrails=[f"{how}-allow"])
    assert status == 200 and len(upstream.requests) == before + 1
    assert f"{how}-allow" not in headers["x-litellm-applied-guardrails"], "it could not answer, so it didn't run"
    served = await book_row(http, guarded.edge_url, headers["x-tollgate-request-id"], MASTER)
    for row, name in ((refused, f"{how}-block"), (served, f"{how}-allow")):
        assert said_by(row)[name] == "error", row
    assert "TOP SECRET" not in guarded.log()


async def test_five_hostile_megabytes_through_the_suite(
    guarded: RunningSuite, upstream: FakeUpstream, http: aiohttp.ClientSession
) -> None:
    """Read to its end or refused, and meanwhile others are served; an honest one goes on."""
    size, before = 5 * 1024 * 1024, len(upstream.requests)
    hostile = [
        chat(http, guarded, (seed * (size // len(seed) + 1))[:size]) for seed in ("pwd=a1B2c3D4 ", "password: a1")
    ]
    asked = asyncio.gather(*hostile)
    served = 0
    while not asked.done():
        assert (await chat(http, guarded, "small"))[0] == 200
        served += 1
    for status, headers, body in await asked:
        assert status == 503 and "hide_secrets" in json.loads(body)["error"]["message"]
        row = await book_row(http, guarded.edge_url, headers["x-tollgate-request-id"], MASTER)
        assert said_by(row)["hide_secrets"] == "error"
    assert served and len(upstream.requests) == before + served
    prose = ("the quick brown fox jumps over the lazy dog, " * (size // 45)) + f"key {AKIA}"
    status, _, _ = await chat(http, guarded, prose)
    assert status == 200
    assert upstream.requests[-1].json["messages"][0]["content"] == prose.replace(AKIA, "[REDACTED]")


async def test_what_could_be_read_in_two_ways_never_reaches_a_provider(
    guarded: RunningSuite, upstream: FakeUpstream, http: aiohttp.ClientSession
) -> None:
    before = len(upstream.requests)
    for raw in (
        b'{"model":"fake","messages":[{"role":"user","content":"forbiddenword","content":"hi"}]}',
        b'{"model":"fake","messages":[{"role":"user","Content":"forbiddenword"}]}',
        b'{"model":"fake","Messages":[{"role":"user","content":"forbiddenword"}],"messages":[{"role":"user","content":"x"}]}',
        '{"model":"fake","meſſages":[{"role":"user","content":"forbiddenword"}],"messages":[{"role":"user","content":"x"}]}'.encode(),
        b'{"model":"fake","messages":[{"role":"user","content":"x"}],"documents":["forbiddenword"]}',
        b'{"model":"fake","messages":[{"role":"user","content":"x"}],"chat_template":"forbidden\\u200bword"}',
        b'{"model":"fake","messages":[{"role":"user","content":[{"type":"text","text":"forbidden"},{"type":"text","text":"word"}]}]}',
        b'{"model":"fake","messages":[{"role":"user","content":"x"}],"tool_choice":{"type":"function","function":{"name":"forbiddenword"}}}',
    ):
        json_ = {**MASTER, "Content-Type": "application/json"}
        async with http.post(guarded.edge_url + "/v1/chat/completions", data=raw, headers=json_) as answer:
            assert answer.status == 400, raw
    async with http.post(
        guarded.edge_url + "/v1/completions", json={"model": "fake", "prompt": [1, 2, 3]}, headers=MASTER
    ) as answer:
        assert answer.status == 400 and "token ids" in (await answer.json())["error"]["message"]
    assert len(upstream.requests) == before


async def test_moderations_in_openai_s_shape(guarded: RunningSuite, http: aiohttp.ClientSession) -> None:
    client = openai.AsyncOpenAI(api_key="sk-1234", base_url=guarded.edge_url + "/v1")
    answer = await client.moderations.create(input=["a", "b"])
    assert [result.flagged for result in answer.results] == [False, False]
    async with http.post(guarded.edge_url + "/moderations", json={"input": "a"}, headers=MASTER) as plain:
        assert plain.status == 200 and len((await plain.json())["results"]) == 1
    async with http.post(
        guarded.edge_url + "/moderations", json={"model": "nosuch", "input": "a"}, headers=MASTER
    ) as no:
        assert no.status == 400


async def test_which_guardrails_there_are_and_trying_one(guarded: RunningSuite, http: aiohttp.ClientSession) -> None:
    for path in ("/guardrails/list", "/v2/guardrails/list"):
        async with http.get(guarded.edge_url + path, headers=MASTER) as answer:
            found = (await answer.json())["guardrails"]
        assert [each["guardrail_name"] for each in found][:3] == ["hide_secrets", "hide-in-answers", "watcher"]
    async with http.get(guarded.edge_url + "/guardrails/watcher/info", headers=MASTER) as answer:
        assert (await answer.json())["litellm_params"]["mode"] == "logging_only"
    async with http.get(guarded.edge_url + "/guardrails/nosuch/info", headers=MASTER) as answer:
        assert answer.status == 404
    async with http.get(guarded.edge_url + "/guardrails/list") as answer:
        assert answer.status == 401

    async def tried(**body: str) -> tuple[int, Any]:
        url = guarded.edge_url + "/guardrails/apply_guardrail"
        async with http.post(url, json=body, headers=MASTER) as answer:
            return answer.status, await answer.json()

    assert await tried(guardrail_name="hide_secrets", text=f"my key {AKIA}") == (
        200,
        {"response_text": "my key [REDACTED]"},
    )
    assert await tried(guardrail_name="hide_secrets", text="fine") == (200, {"response_text": "fine"})
    status, body = await tried(guardrail_name="banned_keywords", text="a forbiddenword")
    assert status == 400 and body["error"]["message"] == "Keyword banned. Keyword=forbiddenword"
    assert (await tried(guardrail_name="nosuch", text="x"))[0] == 404
    assert (await tried(guardrail_name="hide_secrets"))[0] == 400
