"""Counting tokens: the right encoding, loaded only when somebody asks, and bounded."""

import asyncio
import subprocess
import sys
import time
from collections.abc import Iterator

import pytest

from services.moderation.count import Tokens, encoding_name
from shared.bus import BusError
from shared.requests import CountRequest, DecodeTokensRequest


@pytest.fixture
def tokens() -> Iterator[Tokens]:
    tokens = Tokens()
    yield tokens
    tokens.close()


@pytest.mark.parametrize(
    ("model", "encoding"),
    [
        ("gpt-4o", "o200k_base"), ("openai/gpt-4o-mini", "o200k_base"), ("gpt-4.1-nano", "o200k_base"), ("gpt-5", "o200k_base"),
        ("o1", "o200k_base"), ("o3-mini", "o200k_base"), ("o4-mini", "o200k_base"), ("ft:gpt-4o-mini:org::id", "o200k_base"),
        ("claude-sonnet-4-5", "o200k_base"), ("", "o200k_base"), ("/", "o200k_base"),
        ("gpt-4", "cl100k_base"), ("gpt-4-turbo-2024-04-09", "cl100k_base"), ("GPT-3.5-turbo", "cl100k_base"),
        ("azure/gpt-35-turbo", "cl100k_base"), ("ft:gpt-3.5-turbo:org::id", "cl100k_base"),
        ("text-embedding-3-small", "cl100k_base"), ("text-embedding-ada-002", "cl100k_base"),
    ],
)  # fmt: skip
def test_encoding_by_family(model: str, encoding: str) -> None:
    assert encoding_name(model) == encoding


async def test_counts_as_openai_does(tokens: Tokens) -> None:
    """Known counts; the text of a special token is text, and costs what its characters cost."""
    counter = tokens
    reply = await counter.count(CountRequest("gpt-4", ["hello world", "", "<|endoftext|>", "tiktoken is great!"]))
    assert reply.tokens == [2, 0, 7, 6]
    reply = await counter.count(CountRequest("gpt-4o", ["hello world", "お誕生日おめでとう"]))
    assert reply.tokens == [2, 8]


async def test_a_long_text_is_counted_too(tokens: Tokens) -> None:
    reply = await tokens.count(CountRequest("gpt-4", ["hello world" * 20_000, "hello"]))
    assert reply.tokens[1] == 1 and 30_000 <= reply.tokens[0] <= 50_000


async def test_too_much_is_refused(tokens: Tokens) -> None:
    with pytest.raises(BusError) as refusal:
        await tokens.count(CountRequest("gpt-4", ["x" * 500_001] * 2))
    assert refusal.value.code == "bad_request"


@pytest.mark.alone
async def test_the_loop_is_free_while_the_tokenizer_loads(tokens: Tokens) -> None:
    """Loading takes up to a second in which an interpreter does nothing else: not ours."""
    counting = asyncio.create_task(tokens.count(CountRequest("gpt-4", ["abc"])))
    longest, before = 0.0, time.perf_counter()
    while not counting.done():
        await asyncio.sleep(0.005)
        longest, before = max(longest, time.perf_counter() - before), time.perf_counter()
    assert (await counting).tokens == [1]
    assert longest < 0.3


async def test_who_gives_up_does_not_stop_the_loading_for_others(tokens: Tokens) -> None:
    impatient = asyncio.create_task(tokens.count(CountRequest("gpt-4", ["abc"])))
    patient = asyncio.create_task(tokens.count(CountRequest("gpt-4", ["abc"])))
    await asyncio.sleep(0.05)
    impatient.cancel()
    assert (await patient).tokens == [1]


async def test_a_killed_process_is_started_anew(tokens: Tokens) -> None:
    assert (await tokens.count(CountRequest("gpt-4", ["abc"]))).tokens == [1]
    (process,) = tokens._pool._processes.values()
    process.kill()
    process.join(5)
    with pytest.raises(BusError):
        for _ in range(3):
            await tokens.count(CountRequest("gpt-4", ["abc"]))
            await asyncio.sleep(0.1)
    assert (await tokens.count(CountRequest("gpt-4", ["abc"]))).tokens == [1]


async def test_ids_are_decoded_where_the_tokenizer_is_known(tokens: Tokens) -> None:
    asked = DecodeTokensRequest("gpt-3.5-turbo-instruct", [[15339, 1917], []])
    assert (await tokens.decode(asked)).texts == ["hello world", ""]
    assert (await tokens.decode(DecodeTokensRequest("some-model", [[1]]))).texts is None
    assert (await tokens.decode(DecodeTokensRequest("gpt-4", [[99999999]]))).texts is None
    with pytest.raises(BusError):
        await tokens.decode(DecodeTokensRequest("gpt-4", [[1] * 300_001]))


def test_the_tokenizer_is_not_imported_at_start() -> None:
    code = "import sys, services.moderation.app; print('quicktok' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=30, check=True)
    assert done.stdout.strip() == "False"
