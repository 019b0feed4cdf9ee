"""Calls through the whole suite to a provider that misbehaves on request: what the client sees, and
what the book says.
"""

import asyncio
import json
import time
import uuid
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import pytest_asyncio

from tests.live.conftest import INPUT_PICOUSD, MASTER, OUTPUT_PICOUSD, book_row, eventually, new_key
from tests.support.suite import RunningSuite
from tests.support.upstream import Behaviour, FakeUpstream

pytestmark = pytest.mark.asyncio(loop_scope="session")

PRICES = "input_cost_per_token: 0.0000005, output_cost_per_token: 0.0000015"


def config(base_url: str) -> str:
    params = f'api_base: "{base_url}", api_key: provider-key-1, timeout: 5'
    return f"""
model_list:
  - {{model_name: fake, litellm_params: {{model: openai/fake, {params}, {PRICES}}}}}
  - {{model_name: renamed, litellm_params: {{model: openai/other-name, {params}, {PRICES}}}}}
  - {{model_name: free-lunch, litellm_params: {{model: openai/nobody-knows-its-price, {params}}}}}
  - {{model_name: twice, litellm_params: {{model: openai/down, api_base: "http://127.0.0.1:9/v1", {PRICES}, order: 1}}}}
  - {{model_name: twice, litellm_params: {{model: openai/up, {params}, {PRICES}, order: 2}}}}
litellm_settings:
  callbacks: ["banned_keywords"]
  banned_keywords_list: ["hello", "Verboten"]
general_settings:
  master_key: sk-1234
"""


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def upstream() -> AsyncIterator[FakeUpstream]:
    async with FakeUpstream() as running:
        yield running


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def calls(tmp_path_factory: pytest.TempPathFactory, upstream: FakeUpstream) -> AsyncIterator[RunningSuite]:
    directory: Path = tmp_path_factory.mktemp("calls")
    env = {"TOLLGATE_EDGE_EXPIRY_SLACK_MS": "2000"}
    async with RunningSuite(
        directory, config(upstream.base_url), replicas="edge=2,policy=2,ledger=2", env=env
    ) as running:
        yield running


class Answer:
    def __init__(self, status: int, headers: Any, body: bytes) -> None:
        self.status, self.headers, self.body = status, headers, body
        self.request_id = headers.get("x-tollgate-request-id", "")

    @property
    def json(self) -> Any:
        return json.loads(self.body)


async def call(
    http: aiohttp.ClientSession,
    suite: RunningSuite,
    fake: dict[str, Any] | None = None,
    *,
    edge: int = 0,
    **fields: Any,
) -> Answer:
    body = {"model": "fake", "messages": [{"role": "user", "content": "say it"}], **fields}
    if fake is not None:
        body["fake"] = {"text": "fine words", **fake}
    async with http.post(suite.edge_urls[edge] + "/v1/chat/completions", json=body, headers=MASTER) as answer:
        return Answer(answer.status, answer.headers, await answer.read())


async def test_unknown_fields_arrive_and_the_gateways_own_do_not(
    calls: RunningSuite, upstream: FakeUpstream, http: aiohttp.ClientSession
) -> None:
    odd = {"deep": [1, {"é": "\U0001f600"}], "big": 12345678901234567890, "exp": 1e-7}
    answer = await call(http, calls, {}, model="renamed", x_odd=odd, metadata={"tags": ["t"]}, tags=["u"])
    assert answer.status == 200
    sent = upstream.requests[-1]
    assert sent.json["x_odd"] == odd and sent.json["model"] == "other-name"
    assert "metadata" not in sent.json and "tags" not in sent.json
    assert sent.headers["Authorization"] == "Bearer provider-key-1"
    assert "sk-1234" not in str(sent.headers) + str(sent.body)
    untouched = {"model": "fake", "messages": [{"role": "user", "content": "x"}], "fake": {"text": "fine"}}
    raw = json.dumps(untouched, separators=(",", ":")).encode()
    async with http.post(calls.edge_url + "/chat/completions", data=raw, headers=MASTER) as said:
        assert said.status == 200
    assert upstream.requests[-1].body == raw


async def test_the_answer_carries_the_headers_clients_read(calls: RunningSuite, http: aiohttp.ClientSession) -> None:
    answer = await call(http, calls, {})
    usage = answer.json["usage"]
    cost = usage["prompt_tokens"] * INPUT_PICOUSD + usage["completion_tokens"] * OUTPUT_PICOUSD
    assert abs(float(answer.headers["x-litellm-response-cost"]) * 10**12 - cost) < 0.5
    assert answer.headers["x-litellm-model-group"] == "fake"
    assert 0 < float(answer.headers["x-tollgate-overhead-ms"]) < 1000
    body = {"model": "fake", "messages": [{"role": "user", "content": "x"}], "fake": {"text": "fine"}}
    chosen = f"mine-{uuid.uuid4().hex[:8]}"
    headers = {**MASTER, "x-litellm-call-id": chosen}
    async with http.post(calls.edge_url + "/chat/completions", json=body, headers=headers) as said:
        assert said.headers["x-litellm-call-id"] == chosen
    assert (await book_row(http, calls.edge_url, chosen, MASTER))["litellm_call_id"] == chosen


@pytest.mark.alone
async def test_a_client_that_leaves_ends_the_provider_call_within_100_ms_and_is_settled(
    calls: RunningSuite, upstream: FakeUpstream, http: aiohttp.ClientSession
) -> None:
    took_ms: list[float] = []
    for stream in (False, True):
        for _ in range(4):
            number = f"leaver-{uuid.uuid4().hex}"
            fake = {
                "id": number,
                "delay_ms": 0 if stream else 3000,
                "chunks": 200,
                "chunk_delay_ms": 30,
                "text": "fine",
            }
            body = {"model": "fake", "stream": stream, "messages": [{"role": "user", "content": "x"}], "fake": fake}
            headers = {**MASTER, "x-litellm-call-id": number}
            session = aiohttp.ClientSession()
            request = asyncio.create_task(
                session.post(calls.edge_url + "/v1/chat/completions", json=body, headers=headers)
            )
            await eventually(lambda n=number: found(upstream, n), True)
            await asyncio.sleep(0.1)
            left = time.monotonic()
            request.cancel()
            await session.close()
            await asyncio.gather(request, return_exceptions=True)
            await eventually(lambda n=number: ended(upstream, n), True, 3)
            record = next(r for r in upstream.requests if r.id == number)
            assert record.outcome == "cancelled"
            took_ms.append((record.ended_at - left) * 1000)
            row = await book_row(http, calls.edge_url, number, MASTER)
            assert row["status"] == "failure" and row["metadata"]["status"] == "failure"
            assert row["prompt_tokens"] > 0, "counted by us, as the provider could not tell"
    took_ms.sort()
    print(f"provider call ended after a client left: worst {took_ms[-1]:.1f} ms")
    assert took_ms[-2] < 100, "one may meet a moment in which the machine does something else"


async def found(upstream: FakeUpstream, number: str) -> bool:
    return any(r.id == number for r in upstream.requests)


async def ended(upstream: FakeUpstream, number: str) -> bool:
    return any(r.id == number and r.outcome != "running" for r in upstream.requests)


@pytest.mark.parametrize(
    ("fake", "statuses"),
    [
        ({"status": 500}, {500}),
        ({"status": 429, "retry_after_s": 1}, {429}),
        ({"status": 400}, {400}),
        ({"fault": "reset"}, {502}),
        ({"fault": "hang"}, {504}),
        ({"fault": "break"}, {502}),
    ],
)
async def test_a_failing_provider_is_told_in_openais_shape_and_booked(
    calls: RunningSuite, http: aiohttp.ClientSession, fake: dict[str, Any], statuses: set[int]
) -> None:
    number = f"failing-{uuid.uuid4().hex[:8]}"
    body = {
        "model": "fake",
        "messages": [{"role": "user", "content": "x"}],
        "fake": {"text": "fine words here", **fake},
    }
    headers = {**MASTER, "x-litellm-call-id": number}
    async with http.post(calls.edge_url + "/v1/chat/completions", json=body, headers=headers) as answer:
        assert answer.status in statuses
        assert {"message", "type"} <= set((await answer.json())["error"])
    assert (await book_row(http, calls.edge_url, number, MASTER))["status"] == "failure"


async def test_a_stream_that_breaks_off_has_an_error_event_and_no_done(
    calls: RunningSuite, http: aiohttp.ClientSession
) -> None:
    answer = await call(http, calls, {"fault": "break", "chunks": 6, "break_after": 3}, stream=True)
    assert answer.status == 200
    events = [event for event in answer.body.split(b"\n\n") if event]
    assert b'"error"' in events[-1] and b"[DONE]" not in answer.body
    row = await book_row(http, calls.edge_url, answer.request_id, MASTER)
    assert row["status"] == "failure" and row["completion_tokens"] > 0


async def test_the_next_deployment_answers_when_one_cannot_be_reached(
    calls: RunningSuite, http: aiohttp.ClientSession
) -> None:
    answer = await call(http, calls, {}, model="twice")
    assert answer.status == 200, answer.body
    assert (await book_row(http, calls.edge_url, answer.request_id, MASTER))["status"] == "success"


async def test_no_usage_is_counted_and_marked_and_no_price_is_flagged(
    calls: RunningSuite, http: aiohttp.ClientSession
) -> None:
    for stream in (False, True):
        answer = await call(http, calls, {"usage": False, "text": "one two three four"}, stream=stream)
        row = await book_row(http, calls.edge_url, answer.request_id, MASTER)
        assert row["completion_tokens"] == 4, "counted with the tokenizer, not guessed"
        assert "estimated" in json.dumps(row["metadata"])
    answer = await call(http, calls, {}, model="free-lunch")
    assert "x-litellm-response-cost" not in answer.headers
    row = await book_row(http, calls.edge_url, answer.request_id, MASTER)
    assert "unpriced" in json.dumps(row["metadata"])


async def test_banned_keywords_block_before_a_byte_leaves_and_in_answers_and_streams(
    calls: RunningSuite, upstream: FakeUpstream, http: aiohttp.ClientSession
) -> None:
    before = len(upstream.requests)
    answer = await call(
        http, calls, None, messages=[{"role": "system", "content": "x"}, {"role": "user", "content": "Hello world!"}]
    )
    assert answer.status == 400
    assert answer.json["error"]["message"] == "Keyword banned. Keyword=hello"
    assert len(upstream.requests) == before
    answer = await call(http, calls, {"text": "so VERBOTEN it is"})
    assert answer.status == 400 and len(upstream.requests) == before, "fields that nobody knows are read, too"

    async def told(text: str, **fields: Any) -> Answer:
        """What the upstream says isn't in the request here."""
        upstream.behaviours["fake"] = Behaviour(text=text)
        try:
            return await call(http, calls, **fields)
        finally:
            del upstream.behaviours["fake"]

    answer = await told("so VERBOTEN it is")
    assert answer.status == 400 and b"Keyword banned" in answer.body and b"VERBOTEN" not in answer.body
    answer = await told("an in no cent start " * 30 + "ver bo ten ver" + "boten end", stream=True)
    assert answer.status == 200
    assert b"Keyword banned" in answer.body and b"[DONE]" not in answer.body and b"verboten" not in answer.body
    answer = await call(http, calls, {"text": "all of this is harmless", "chunks": 100}, stream=True)
    assert answer.body.rstrip().endswith(b"data: [DONE]") and answer.body.count(b"harmless") == 20


async def test_two_of_everything_give_the_results_of_one(calls: RunningSuite, http: aiohttp.ClientSession) -> None:
    """A key made through one edge works on the other; calls on both are counted once; both ledgers
    answer the same.
    """
    tag = f"both-{uuid.uuid4().hex[:8]}"
    key = await new_key(http, calls, metadata={"tags": [tag]})
    bearer = {"Authorization": f"Bearer {key}"}
    body = {"model": "fake", "messages": [{"role": "user", "content": "x"}], "fake": {"text": "fine words"}}

    async def one(number: int) -> int:
        url = calls.edge_urls[number % 2] + "/v1/chat/completions"
        async with http.post(url, json=body, headers=bearer) as answer:
            usage = (await answer.json())["usage"]
            return int(usage["prompt_tokens"] * INPUT_PICOUSD + usage["completion_tokens"] * OUTPUT_PICOUSD)

    spent = sum(await asyncio.gather(*(one(number) for number in range(60))))
    for base in (*calls.edge_urls, *calls.ledger_urls):

        async def ask(url: str = base) -> Any:
            async with http.get(url + "/spend/tags", headers=MASTER) as answer:
                rows = {row["individual_request_tag"]: row for row in await answer.json()}
                return rows.get(tag, {"log_count": 0})

        row = await eventually(ask, lambda r: r["log_count"] == 60)
        assert row["total_spend"] == spent / 10**12
    async with http.get(calls.edge_url + "/spend/logs", headers=bearer) as answer:
        own = await answer.json()
        assert answer.status == 200 and len(own) == 60, "a tenant sees its own rows"
    async with http.get(calls.edge_url + "/audit", headers=bearer) as answer:
        assert answer.status in (401, 403)
