"""Counting tokens: the right encoding, loaded only when somebody asks, and bounded."""

import asyncio
import subprocess
import sys

import pytest

from services.moderation import count
from services.moderation.count import TokenCounter, encoding_name
from shared.bus import BusError
from shared.requests import CountRequest


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


async def test_counts_as_openai_does() -> None:
    """Known counts; the text of a special token is text, and costs what its characters cost."""
    counter = TokenCounter()
    reply = await counter.count(CountRequest("gpt-4", ["hello world", "", "<|endoftext|>", "tiktoken is great!"]))
    assert reply.tokens == [2, 0, 7, 6]
    reply = await counter.count(CountRequest("gpt-4o", ["hello world", "お誕生日おめでとう"]))
    assert reply.tokens == [2, 8]


async def test_a_long_text_is_counted_too() -> None:
    reply = await TokenCounter().count(CountRequest("gpt-4", ["hello world" * 20_000, "hello"]))
    assert reply.tokens[1] == 1 and 30_000 <= reply.tokens[0] <= 50_000


async def test_too_much_is_refused() -> None:
    with pytest.raises(BusError) as refusal:
        await TokenCounter().count(CountRequest("gpt-4", ["x" * 500_001] * 2))
    assert refusal.value.code == "bad_request"


async def test_an_encoding_is_loaded_once_for_all_who_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    loads: list[str] = []

    def load(name: str) -> object:
        loads.append(name)
        if len(loads) == 1:
            raise OSError("no")
        return len

    monkeypatch.setattr(count, "_load", load)
    counter = TokenCounter()
    request = CountRequest("gpt-4", ["abc"])
    with pytest.raises(OSError):
        await counter.count(request)
    replies = await asyncio.gather(*(counter.count(request) for _ in range(20)))
    assert {tuple(reply.tokens) for reply in replies} == {(3,)}
    assert loads == ["cl100k_base"] * 2


async def test_who_gives_up_does_not_stop_the_loading_for_others(monkeypatch: pytest.MonkeyPatch) -> None:
    import threading

    go = threading.Event()
    monkeypatch.setattr(count, "_load", lambda name: (go.wait(5), len)[1])
    counter = TokenCounter()
    impatient = asyncio.create_task(counter.count(CountRequest("gpt-4", ["abc"])))
    patient = asyncio.create_task(counter.count(CountRequest("gpt-4", ["abc"])))
    await asyncio.sleep(0.05)
    impatient.cancel()
    go.set()
    assert (await patient).tokens == [3]


def test_the_tokenizer_is_not_imported_at_start() -> None:
    code = "import sys, services.moderation.app; print('quicktok' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=30, check=True)
    assert done.stdout.strip() == "False"
