"""Answers that look like answers and are none, and usage that comes in pieces: kinds that users of such gateways reported."""

import json
from typing import Any

import pytest

from services.edge.formats.events import Reader
from services.edge.formats.openai import CHAT
from shared.billing import Usage
from tests.edge.conftest import Start
from tests.edge.fakes import STREAM_HEAD, USAGE_EVENT, always, chunk, completion, delta, response
from tests.edge.harness import told

FAILED: dict[str, dict[str, Any]] = {
    "an error in the choice": {
        "error": {"code": 429, "message": "Rate limit exceeded"},
        "message": {"role": "assistant", "content": ""},
        "finish_reason": "error",
    },
    "an error for its end": {"message": {"role": "assistant", "content": ""}, "finish_reason": "error"},
}
"""OpenRouter's: the answer is a 200, the choice isn't one."""


def choices(*found: dict[str, Any], **more: Any) -> bytes:
    return json.dumps({"id": "gen-1", "model": "m", "choices": list(found), **more}).encode()


def as_chunk(choice: dict[str, Any]) -> bytes:
    return b"data: " + choices({**choice, "delta": choice["message"]}) + b"\n\n"


@pytest.mark.parametrize("how", FAILED)
async def test_a_choice_that_is_an_error_is_no_answer(start: Start, how: str) -> None:
    edge = await start(always(response(choices(FAILED[how]))))
    answer = await edge.chat()
    has_words = "error" in FAILED[how]
    assert answer.status == (429 if has_words else 502)
    if has_words:
        assert answer.error_message() == "Rate limit exceeded"
    _, settled = await told(edge)
    assert (settled.outcome, settled.cost_picousd) == ("provider_error", 0)


@pytest.mark.parametrize("streaming", [False, True])
@pytest.mark.parametrize("how", FAILED)
async def test_it_is_asked_of_the_next_deployment(start: Start, how: str, streaming: bool) -> None:
    whole = [response(choices(FAILED[how]))], [response(completion())]
    events = (
        [STREAM_HEAD, chunk(as_chunk(FAILED[how])), b"0\r\n\r\n"],
        [STREAM_HEAD, chunk(delta("Hi", finish_reason="stop") + USAGE_EVENT), b"0\r\n\r\n"],
    )
    first, second = events if streaming else whole
    edge = await start(always(*first), always(*second))
    answer = await edge.chat(stream=streaming)
    assert answer.status == 200 and b"Hi" in answer.body and b"gen-1" not in answer.body
    assert (await told(edge))[1].outcome == "success"


@pytest.mark.parametrize("how", FAILED)
async def test_in_the_middle_of_a_stream_it_is_the_outcome(start: Start, how: str) -> None:
    last = as_chunk(FAILED[how]) + b"data: [DONE]\n\n"
    edge = await start(always(STREAM_HEAD, chunk(delta("three words here")), chunk(last), b"0\r\n\r\n"))
    answer = await edge.chat(stream=True)
    assert answer.body.startswith(delta("three words here") + as_chunk(FAILED[how]))
    assert b"[DONE]" not in answer.body
    assert (await told(edge))[1].outcome == "provider_error"


@pytest.mark.parametrize(
    "body",
    [
        choices({"message": {"content": "error"}, "finish_reason": "stop"}),
        choices({"message": {"content": "x"}, "error": None}, error=None),
        choices(FAILED["an error in the choice"], {"message": {"content": "x"}, "finish_reason": "stop"}),
    ],
)
def test_a_word_is_no_error_and_one_good_choice_is_an_answer(body: bytes) -> None:
    assert CHAT.judge(body).problem is None


def usage_of(*counts: tuple[int, int]) -> Usage | None:
    reader = Reader(hide_usage=True)
    for given, made in counts:
        usage = {"prompt_tokens": given, "completion_tokens": made, "total_tokens": given + made}
        reader.feed(delta("x", usage=usage))
    return reader.usage


@pytest.mark.parametrize(
    ("counts", "input_tokens", "output_tokens"),
    [
        ([(10, 1), (0, 5)], 10, 5),  # the prompt is said once, at the start (Anthropic's relays)
        ([(10, 0), (0, 5)], 10, 5),
        ([(0, 5), (10, 0)], 10, 5),
        ([(10, 1), (10, 5)], 10, 5),
        ([(12, 9), (10, 5)], 10, 5),  # both sides: what was said before is over
    ],
)
def test_a_side_that_a_later_count_leaves_out_stands(
    counts: list[tuple[int, int]], input_tokens: int, output_tokens: int
) -> None:
    usage = usage_of(*counts)
    assert usage is not None
    assert (usage.input_tokens, usage.output_tokens, usage.flags) == (input_tokens, output_tokens, ())


@pytest.mark.parametrize("name", ["x-litellm-num-retries", "x-litellm-timeout", "x-litellm-stream-timeout"])
async def test_an_empty_header_says_nothing(start: Start, name: str) -> None:
    edge = await start(always(response(completion())))
    body = json.dumps({"model": "m", "messages": [{"role": "user", "content": "x"}]}).encode()
    async with await edge.connect() as caller:
        await caller.post("/v1/chat/completions", body, {name: ""})
        assert (await caller.answer()).status == 200


CACHED = {
    "prompt_tokens": 10,
    "completion_tokens": 5,
    "total_tokens": 15,
    "prompt_tokens_details": {"cached_tokens": 6},
}
PLAIN = {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15}


@pytest.mark.parametrize(
    ("counts", "cached_tokens"),
    [([PLAIN, CACHED], 6), ([CACHED, PLAIN], 6), ([CACHED, {**PLAIN, "prompt_tokens": 11, "total_tokens": 16}], 0)],
)
def test_the_same_count_without_its_parts_keeps_them(counts: list[dict[str, Any]], cached_tokens: int) -> None:
    """vLLM says the usage with the finish, and with the cached tokens behind it; others the other way round."""
    reader = Reader(hide_usage=True)
    for usage in counts:
        reader.feed(delta("x", usage=usage))
    assert reader.usage is not None and reader.usage.cached_tokens == cached_tokens
