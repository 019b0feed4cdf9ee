"""The fake upstream itself: a test that trusts it has to know that the official client does."""

import asyncio
from collections.abc import AsyncIterator

import openai
import pytest

from tests.support.upstream import Behaviour, FakeUpstream

MESSAGES = [{"role": "user", "content": "one two three"}]


@pytest.fixture
async def upstream() -> AsyncIterator[FakeUpstream]:
    async with FakeUpstream() as upstream:
        yield upstream


@pytest.fixture
async def client(upstream: FakeUpstream) -> AsyncIterator[openai.AsyncOpenAI]:
    async with openai.AsyncOpenAI(base_url=upstream.base_url, api_key="sk-up", max_retries=0) as client:
        yield client


async def test_a_plain_answer_and_its_bill(upstream: FakeUpstream, client: openai.AsyncOpenAI) -> None:
    answer = await client.chat.completions.create(model="m", messages=MESSAGES, extra_body={"fake": {"id": "a"}})
    assert answer.choices[0].message.content == "Hello from upstream"
    assert answer.usage is not None and (answer.usage.prompt_tokens, answer.usage.completion_tokens) == (3, 3)
    billed = upstream.bill["a"]
    assert (billed.calls, billed.complete, billed.prompt_tokens, billed.completion_tokens) == (1, 1, 3, 3)
    record = upstream.requests[0]
    assert record.headers["Authorization"] == "Bearer sk-up" and record.json["messages"] == MESSAGES
    assert record.outcome == "complete"


async def test_a_stream_tells_its_usage_only_when_asked(client: openai.AsyncOpenAI) -> None:
    async def usages(**options: object) -> list[object]:
        stream = await client.chat.completions.create(model="m", messages=MESSAGES, stream=True, **options)
        chunks = [chunk async for chunk in stream]
        assert "".join(c.choices[0].delta.content or "" for c in chunks if c.choices) == "Hello from upstream"
        return [(chunk.choices, chunk.usage.total_tokens) for chunk in chunks if chunk.usage]

    assert await usages() == []
    assert await usages(stream_options={"include_usage": True}) == [([], 6)]


async def test_completions_and_embeddings(client: openai.AsyncOpenAI) -> None:
    completion = await client.completions.create(model="m", prompt="one two")
    assert completion.choices[0].text == "Hello from upstream" and completion.usage is not None
    embedding = await client.embeddings.create(model="m", input=["one two", "three"], encoding_format="float")
    assert len(embedding.data) == 2 and embedding.usage.prompt_tokens == 3


async def test_errors_as_scripted_and_only_as_often(client: openai.AsyncOpenAI) -> None:
    fake = {"fake": {"status": 429, "fail_first": 1, "retry_after_s": 3, "id": "x"}}
    with pytest.raises(openai.RateLimitError) as error:
        await client.chat.completions.create(model="m", messages=MESSAGES, extra_body=fake)
    assert error.value.response.headers["Retry-After"] == "3"
    await client.chat.completions.create(model="m", messages=MESSAGES, extra_body=fake)


@pytest.mark.parametrize("stream", [True, False])
async def test_a_break_in_the_body_reaches_the_caller(
    upstream: FakeUpstream, client: openai.AsyncOpenAI, stream: bool
) -> None:
    upstream.behaviours["bad"] = Behaviour(fault="break", chunks=10, break_after=3, id="b")

    async def read_all() -> None:
        answer = await client.chat.completions.create(model="bad", messages=MESSAGES, stream=stream)
        async for _ in answer:
            pass

    with pytest.raises(Exception, match=r"incomplete|peer closed|Connection|disconnected"):
        await read_all()
    assert upstream.requests[0].outcome == "broken"
    assert (upstream.bill["b"].calls, upstream.bill["b"].complete) == (1, 0)


async def test_a_caller_that_leaves_is_noticed(upstream: FakeUpstream, client: openai.AsyncOpenAI) -> None:
    upstream.behaviours["slow"] = Behaviour(chunks=1000, chunk_delay_ms=5)
    stream = await client.chat.completions.create(model="slow", messages=MESSAGES, stream=True)
    await anext(aiter(stream))
    await stream.close()
    for _ in range(100):
        if upstream.requests[0].outcome == "cancelled":
            break
        await asyncio.sleep(0.01)
    assert upstream.requests[0].outcome == "cancelled"
