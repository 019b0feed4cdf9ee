"""The page's examples for tags and custom metadata, as printed, against a real model: then the
book, to the last unit.
"""

import asyncio
import json
import os
import shutil
import subprocess
import uuid
from pathlib import Path
from typing import Any

import aiohttp
import openai
import pytest
from langchain_core.messages import HumanMessage, SystemMessage
from langchain_openai import ChatOpenAI

from tests.live.conftest import INPUT_PICOUSD, MASTER, OUTPUT_PICOUSD, book_row, eventually, new_key
from tests.support.suite import RunningSuite

pytestmark = pytest.mark.asyncio(loop_scope="session")

POEM = [{"role": "user", "content": "this is a test request, write a short poem"}]
PAGE_TAGS = ["model-anthropic-claude-v2.1", "app-ishaan-prod"]
NODE = Path(__file__).parent / "node"


def by_hand(usage: dict[str, int]) -> int:
    """pico-USD: tokens x price."""
    return usage["prompt_tokens"] * INPUT_PICOUSD + usage["completion_tokens"] * OUTPUT_PICOUSD


async def curl(*arguments: str) -> Any:
    done = await asyncio.to_thread(
        subprocess.run, ["curl", "-sS", "--max-time", "60", *arguments], capture_output=True, check=True
    )
    return json.loads(done.stdout)


async def tag_row(http: aiohttp.ClientSession, base: str, tag: str, count: int) -> dict[str, Any]:
    async def ask() -> dict[str, Any]:
        async with http.get(base + "/spend/tags", headers=MASTER) as answer:
            rows = await answer.json()
            assert answer.status == 200, rows
            return next((row for row in rows if row["individual_request_tag"] == tag), {"log_count": 0})

    return dict(await eventually(ask, lambda row: row["log_count"] == count))


async def test_tags_by_key_team_request_and_header_are_counted_once_each_with_exact_spend(
    suite: RunningSuite, http: aiohttp.ClientSession
) -> None:
    run = uuid.uuid4().hex[:8]
    tags = {name: f"{name}-{run}" for name in ("key", "team", "body", "header")}
    team = await curl(
        "-L", "-X", "POST", suite.edge_url + "/team/new", "-H", "Authorization: Bearer sk-1234",
        "-H", "Content-Type: application/json", "-d", json.dumps({"metadata": {"tags": [tags["team"]]}}),
    )  # fmt: skip
    key = await new_key(http, suite, metadata={"tags": [tags["key"]]}, team_id=team["team_id"])
    client = openai.AsyncOpenAI(api_key=key, base_url=suite.edge_url, max_retries=0)
    spent, ids = 0, []
    for number in range(3):
        answer = await client.chat.completions.create(
            model="gpt-3.5-turbo",
            messages=POEM,
            max_tokens=8 + number,
            extra_body={"metadata": {"tags": [tags["body"], tags["key"]]}},
            extra_headers={"x-litellm-tags": f"{tags['header']} , {tags['body']}"},
        )
        assert answer.usage is not None
        spent += by_hand(answer.usage.model_dump())
        ids.append(answer.id)
    for tag in tags.values():
        row = await tag_row(http, suite.edge_url, tag, 3)
        assert row["total_spend"] == spent / 10**12
    row = await book_row(http, suite.edge_url, ids[0], MASTER)
    assert sorted(row["request_tags"]) == sorted(tags.values())


async def test_the_openai_client_with_extra_body_as_printed(suite: RunningSuite, http: aiohttp.ClientSession) -> None:
    client = openai.OpenAI(api_key="sk-1234", base_url=suite.edge_url)
    response = await asyncio.to_thread(
        client.chat.completions.create,
        model="gpt-3.5-turbo",
        messages=POEM,
        max_tokens=16,
        extra_body={"metadata": {"tags": PAGE_TAGS, "spend_logs_metadata": {"hello": "world"}}},
    )
    row = await book_row(http, suite.edge_url, response.id, MASTER)
    assert row["request_tags"] == PAGE_TAGS
    assert row["metadata"]["spend_logs_metadata"] == {"hello": "world"}
    assert row["request_id"] == response.id
    assert response.usage is not None
    assert row["spend"] == by_hand(response.usage.model_dump()) / 10**12


async def test_the_open_gateway_serves_the_examples_without_a_key(open_suite: RunningSuite) -> None:
    answer = await curl(
        "--location", open_suite.edge_url + "/chat/completions", "--header", "Content-Type: application/json",
        "--data", json.dumps({"model": "gpt-3.5-turbo", "messages": [{"role": "user", "content": "what llm are you"}],
                              "metadata": {"tags": PAGE_TAGS}, "max_tokens": 8}),
    )  # fmt: skip
    assert answer["choices"][0]["message"]["role"] == "assistant"
    client = openai.OpenAI(api_key="anything", base_url=open_suite.edge_url)
    said = await asyncio.to_thread(
        client.chat.completions.create,
        model="gpt-3.5-turbo",
        messages=POEM,
        max_tokens=8,
        extra_body={"metadata": {"tags": PAGE_TAGS}},
    )
    assert said.choices[0].message.role == "assistant"


async def test_langchain_as_printed(suite: RunningSuite, http: aiohttp.ClientSession) -> None:
    tag = f"langchain-{uuid.uuid4().hex[:8]}"
    chat = ChatOpenAI(
        openai_api_base=suite.edge_url,  # type: ignore[call-arg]
        openai_api_key="sk-1234",
        model="gpt-3.5-turbo",
        temperature=0.1,
        max_tokens=16,
        extra_body={"metadata": {"tags": [tag], "spend_logs_metadata": {"hello": "world"}}},
    )
    said = await chat.ainvoke(
        [
            SystemMessage(content="You are a helpful assistant that im using to make a test request to."),
            HumanMessage(content="test from litellm. tell me why it's amazing in 1 sentence"),
        ]
    )
    assert said.response_metadata["token_usage"]["completion_tokens"] > 0
    row = await tag_row(http, suite.edge_url, tag, 1)
    assert row["total_spend"] == by_hand(said.response_metadata["token_usage"]) / 10**12


@pytest.mark.skipif(shutil.which("npm") is None, reason="the Node client needs node and npm on this machine")
async def test_the_node_client_as_printed(suite: RunningSuite, http: aiohttp.ClientSession, tmp_path: Path) -> None:
    for name in ("package.json", "package-lock.json", ".npmrc", "request.js"):
        shutil.copy(NODE / name, tmp_path / name)
    await asyncio.to_thread(
        subprocess.run, ["npm", "ci", "--silent", "--no-audit", "--no-fund"], cwd=tmp_path, check=True, timeout=100
    )
    tag = f"node-{uuid.uuid4().hex[:8]}"
    metadata = json.dumps({"tags": [tag], "spend_logs_metadata": {"hello": "world"}})
    environment = {**os.environ, "KEY": "sk-1234", "BASE_URL": suite.edge_url, "METADATA": metadata}
    done = await asyncio.to_thread(
        subprocess.run, ["node", "request.js"], cwd=tmp_path, env=environment, capture_output=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    row = await tag_row(http, suite.edge_url, tag, 1)
    assert row["total_spend"] == by_hand(said["usage"]) / 10**12
    logged = await book_row(http, suite.edge_url, said["id"], MASTER)
    assert logged["metadata"]["spend_logs_metadata"] == {"hello": "world"}


async def test_spend_logs_metadata_of_key_and_team_are_defaults(
    suite: RunningSuite, http: aiohttp.ClientSession
) -> None:
    async with http.post(
        suite.edge_url + "/team/new",
        json={"metadata": {"spend_logs_metadata": {"from": "team", "team": "yes"}}},
        headers=MASTER,
    ) as answer:
        team_id = (await answer.json())["team_id"]
    key = await new_key(
        http, suite, team_id=team_id, metadata={"spend_logs_metadata": {"from": "key", "key": "yes", "hello": "key"}}
    )
    async with http.post(
        suite.edge_url + "/chat/completions",
        json={
            "model": "smollm2",
            "messages": POEM,
            "max_tokens": 4,
            "metadata": {"spend_logs_metadata": {"hello": "world"}},
        },
        headers={"Authorization": f"Bearer {key}"},
    ) as answer:
        assert answer.status == 200, await answer.text()
        said = await answer.json()
    row = await book_row(http, suite.edge_url, said["id"], MASTER)
    assert row["metadata"]["spend_logs_metadata"] == {"hello": "world", "from": "key", "key": "yes", "team": "yes"}
    assert row["call_type"] == "acompletion"
    assert row["metadata"]["user_api_key_team_id"] == team_id
    assert len(row["metadata"]["user_api_key"]) == 64


async def test_streams_are_booked_with_the_providers_usage_and_hide_the_chunk_nobody_asked_for(
    suite: RunningSuite, http: aiohttp.ClientSession
) -> None:
    tag = f"stream-{uuid.uuid4().hex[:8]}"
    client = openai.AsyncOpenAI(api_key="sk-1234", base_url=suite.edge_url, max_retries=0)
    chunks = [
        chunk
        async for chunk in await client.chat.completions.create(
            model="gpt-3.5-turbo",
            messages=POEM,
            max_tokens=12,
            stream=True,
            extra_body={"metadata": {"tags": [tag]}},
        )
    ]
    assert all(chunk.choices for chunk in chunks)
    row = await book_row(http, suite.edge_url, chunks[0].id, MASTER)
    assert row["completion_tokens"] == 12
    assert row["spend"] == by_hand({k: row[k] for k in ("prompt_tokens", "completion_tokens")}) / 10**12
    asked = [
        chunk
        async for chunk in await client.chat.completions.create(
            model="gpt-3.5-turbo",
            messages=POEM,
            max_tokens=4,
            stream=True,
            stream_options={"include_usage": True},
        )
    ]
    assert not asked[-1].choices and asked[-1].usage is not None


async def test_embeddings_completions_and_models_through_the_openai_client(
    suite: RunningSuite, http: aiohttp.ClientSession
) -> None:
    client = openai.AsyncOpenAI(api_key="sk-1234", base_url=suite.edge_url + "/v1", max_retries=0)
    assert sorted([model.id async for model in client.models.list()]) == ["gpt-3.5-turbo", "smollm2"]
    vector = await client.embeddings.create(model="smollm2", input="hello", encoding_format="float")
    assert len(vector.data[0].embedding) > 100
    text = await client.completions.create(model="smollm2", prompt="Once upon a time", max_tokens=4)
    row = await book_row(http, suite.edge_url, text.id, MASTER)
    assert row["call_type"] == "atext_completion"
