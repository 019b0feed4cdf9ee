"""Answers that look like answers and are none, and usage that comes in pieces: kinds that users of
such gateways reported.
"""

import asyncio
import json
from typing import Any

import pytest

from services.edge import streaming
from services.edge.formats.events import Reader
from services.edge.formats.openai import CHAT, COMPLETIONS
from shared.billing import Usage
from tests.edge.conftest import Start
from tests.edge.fakes import (
    DONE,
    LAST_CHUNK,
    STREAM_HEAD,
    USAGE_EVENT,
    Peer,
    always,
    chunk,
    completion,
    delta,
    response,
)
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
    """vLLM says the usage with the finish, and with the cached tokens behind it; others the other
    way round.
    """
    reader = Reader(hide_usage=True)
    for usage in counts:
        reader.feed(delta("x", usage=usage))
    assert reader.usage is not None and reader.usage.cached_tokens == cached_tokens


# ── a stream that nobody asked for ──


FINISHED = b'data: {"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}\n\n'


def calling(*found: dict[str, Any], **more: Any) -> bytes:
    return b"data: " + choices({"index": 0, "delta": {"tool_calls": list(found)}, **more}) + b"\n\n"


TOLD = [delta("Hel"), delta("lo"), FINISHED, USAGE_EVENT, b"data: [DONE]\n\n"]


@pytest.mark.parametrize("kind", ["text/event-stream", "application/json"])
async def test_a_stream_that_nobody_asked_for_is_put_together(start: Start, kind: str) -> None:
    edge = await start(always(response(b": hello\n\n" + b"".join(TOLD), kind=kind)))
    answer = await edge.chat()
    assert answer.status == 200
    whole = json.loads(answer.body)
    assert (whole["object"], whole["choices"][0]["message"]["content"]) == ("chat.completion", "Hello")
    assert whole["choices"][0]["finish_reason"] == "stop" and whole["usage"]["total_tokens"] > 0
    _, settled = await told(edge)
    assert (settled.outcome, settled.usage.source) == ("success", "provider")


@pytest.mark.parametrize(
    ("events", "status"),
    [
        (TOLD[:2], 502),
        ([delta("Hel"), b'data: {"error": {"message": "slow down", "code": 429}}\n\n'], 429),
        ([delta("Hel"), b"data: {\n\n", TOLD[2]], 502),
        ([b"data: [DONE]\n\n"], 502),
    ],
    ids=["cut off", "an error", "unreadable", "nothing"],
)
async def test_half_of_one_is_no_answer(start: Start, events: list[bytes], status: int) -> None:
    edge = await start(always(response(b"".join(events))))
    assert (await edge.chat()).status == status
    assert (await told(edge))[1].outcome == "provider_error"


def test_calls_texts_and_other_choices_are_put_together() -> None:
    stream = (
        calling({"index": 0, "id": "c1", "type": "function", "function": {"name": "f", "arguments": '{"a"'}})
        + calling({"index": 0, "id": "c1", "type": "function", "function": {"arguments": ":1}"}})
        + calling({"index": 1, "id": "c2", "type": "function", "function": {"name": "g", "arguments": "{}"}})
        + calling({"index": 0, "id": "c3", "function": {"name": "h", "arguments": ""}}, index=1)
        + calling({"id": "c4", "function": {"name": "i", "arguments": "{"}}, index=1)
        + calling({"function": {"arguments": "}"}}, index=1, finish_reason="tool_calls")
        + FINISHED
    )
    first, second = json.loads(CHAT.as_whole(stream))["choices"]
    assert [call["type"] for call in first["message"]["tool_calls"]] == ["function", "function"]
    assert [call["function"]["arguments"] for call in first["message"]["tool_calls"]] == ['{"a":1}', "{}"]
    assert [call["id"] for call in first["message"]["tool_calls"]] == ["c1", "c2"], "said again as it was"
    assert [call["id"] for call in second["message"]["tool_calls"]] == ["c3", "c4"]
    assert second["message"]["tool_calls"][1]["function"]["arguments"] == "{}"
    text = b'data: {"choices": [{"index": 0, "text": "a"}]}\n\ndata: {"choices": [{"index": 0, "text": "b", "finish_reason": "stop"}]}\n\n'
    assert json.loads(COMPLETIONS.as_whole(text))["choices"][0]["text"] == "ab"


# ── what a 200 without an answer says ──


@pytest.mark.parametrize(
    "said",
    [
        {"choices": None, "base_resp": {"status_code": 1008, "status_msg": "no balance"}},
        {"code": 500, "msg": "no balance", "data": None},
        {"object": "error", "Message": "no balance"},
        {"error_code": 336003, "error_msg": "no balance"},
    ],
)
@pytest.mark.parametrize("how", ["whole", "to a stream", "as an event"])
async def test_its_words_are_passed_on(start: Start, said: dict[str, Any], how: str) -> None:
    body = json.dumps(said).encode()
    script = (
        [STREAM_HEAD, chunk(b"data: " + body + b"\n\n"), b"0\r\n\r\n"] if how == "as an event" else [response(body)]
    )
    edge = await start(always(*script))
    answer = await edge.chat(stream=how != "whole")
    assert (answer.status, answer.error_message()) == (502, "no balance")
    assert (await told(edge))[1].cost_picousd == 0


@pytest.mark.parametrize(
    "said",
    [
        {"Message": "no such model"},
        {"error": {"code": "400", "inner": {"message": "no such model"}}},
        {"statusCode": 400, "body": '{"message": "no such model"}'},
    ],
)
async def test_a_reason_is_found_wherever_it_stands(start: Start, said: dict[str, Any]) -> None:
    edge = await start(always(response(json.dumps(said).encode(), "400 Bad Request")))
    answer = await edge.chat()
    assert (answer.status, answer.error_message()) == (400, "no such model")


# ── a beginning, and then silence ──

ASKED = b'{"model": "m", "messages": [{"role": "user", "content": "x"}], "stream": true}'


@pytest.mark.parametrize("first", [b": thinking\n\n", delta("")], ids=["a comment", "a role"])
async def test_silence_behind_a_beginning_keeps_nobodys_head_back(
    start: Start, first: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A client's proxy tires of a connection on which nothing comes, however long the model
    thinks.
    """
    go = asyncio.Event()

    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(STREAM_HEAD, chunk(first))
        await go.wait()
        await peer.send(chunk(delta("Hi") + FINISHED + USAGE_EVENT + DONE), LAST_CHUNK)

    monkeypatch.setattr(streaming, "HOLD_S", 0.05)
    edge = await start(script)
    async with await edge.connect() as caller:
        await caller.post("/v1/chat/completions", ASKED)
        assert (await caller.head()).status == 200
        said = await caller.chunk()
        assert said == first and not go.is_set()
        go.set()
        while piece := await caller.chunk():
            said += piece
    assert b"Hi" in said and said.endswith(DONE)
    assert (await told(edge))[1].outcome == "success"


async def test_what_ends_while_it_is_waited_for_goes_to_the_next(start: Start) -> None:
    """The wait is for news of any kind: an end is told at once."""
    edge = await start(
        always(STREAM_HEAD, chunk(b": thinking\n\n"), LAST_CHUNK),
        always(STREAM_HEAD, chunk(delta("Hi") + FINISHED + USAGE_EVENT + DONE), LAST_CHUNK),
    )
    answer = await edge.chat(stream=True)
    assert answer.status == 200 and b"Hi" in answer.body


ONE = {"object": "embedding", "index": 0, "embedding": [0.5]}


@pytest.mark.parametrize(
    ("given", "found", "status"),
    [
        (["a", "b"], 2, 200), (["a", "b"], 1, 502), ([[1, 2], [3]], 1, 200), ([1, 2, 3], 1, 200), ("a", 1, 200), (["a"], 1, 200),
    ],
)  # fmt: skip
async def test_an_embedding_for_each_input_or_none(start: Start, given: Any, found: int, status: int) -> None:
    body = json.dumps({"object": "list", "model": "m", "data": [ONE] * found, "usage": {"prompt_tokens": 3}}).encode()
    edge = await start(always(response(body)))
    async with await edge.connect() as caller:
        await caller.post("/v1/embeddings", json.dumps({"model": "m", "input": given}).encode())
        answer = await caller.answer()
    assert answer.status == status
    _, settled = await told(edge)
    assert settled.outcome == ("success" if status == 200 else "provider_error")
