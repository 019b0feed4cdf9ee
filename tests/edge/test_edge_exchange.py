"""One opened call has one end, and the client has the last byte only once it is recorded."""

import asyncio
import gzip
import json
import time
from typing import Any

import pytest

from services.edge import texts
from shared import subjects
from shared.billing import Usage
from shared.facts import Opened
from shared.grant import GuardrailRef
from shared.requests import Fault
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
    until,
)
from tests.edge.harness import stream, told

pytestmark = pytest.mark.usefixtures("impatient")
COST = 10 * 1_000_000 + 5 * 2_000_000
GONE_WITHIN_S = 0.1
POST = GuardrailRef("ban", ["post_call"], window_characters=9)
PRE = GuardrailRef("ban", ["pre_call"])


# ── answers ──


async def test_an_answer_passes_byte_for_byte_and_is_settled_with_its_usage(start: Start) -> None:
    body = completion()
    edge = await start(always(response(body)))
    answer = await edge.chat(user="u", metadata={"tags": ["a"]})
    assert (answer.status, answer.body) == (200, body)
    opened, settled = await told(edge)
    assert (opened.model, opened.upstream_model, opened.tags, opened.customer_id) == ("m", "m-upstream", ["a"], "u")
    assert (settled.outcome, settled.status, settled.cost_picousd) == ("success", 200, COST)
    assert settled.usage == Usage(10, 5, source="provider")
    assert (settled.response_id, settled.response_model, settled.attempts) == ("chatcmpl-p", "gpt-x-1", 1)
    assert answer.headers["x-tollgate-request-id"] == opened.id
    assert answer.headers["x-litellm-model-id"] == "m-0"
    assert answer.headers["x-litellm-response-cost"] == "0.00002"


async def test_the_provider_gets_its_own_key_and_model_and_nothing_of_the_client(start: Start) -> None:
    edge = await start(always(response(completion())))
    await edge.chat(metadata={"tags": ["secret-tag"]})
    (provider,) = edge.providers
    head = provider.heads[0].lower()
    assert b"authorization: bearer sk-of-the-provider-0000" in head
    assert b"sk-client-key" not in head + provider.bodies[0]
    assert json.loads(provider.bodies[0]) == {
        "model": "m-upstream",
        "messages": [{"role": "user", "content": "Hello you"}],
    }


async def test_opened_is_on_the_wire_before_the_provider_sees_a_byte(start: Start) -> None:
    edge = await start(always(response(completion())))
    edge.publisher.default = "away"
    async with await edge.connect() as caller:
        await caller.chat()
        await until(lambda: edge.publisher.tries)
        await asyncio.sleep(0.05)
        assert edge.providers[0].connections == 0
        edge.publisher.default = "ack"
        assert (await caller.answer()).status == 200


async def test_the_end_is_durable_before_the_client_has_the_last_byte(start: Start) -> None:
    edge = await start(always(response(completion())))
    edge.publisher.script = ["ack", "hold"]
    async with await edge.connect() as caller:
        await caller.chat()
        await until(lambda: len(edge.publisher.tries) == 2)
        await asyncio.sleep(0.05)
        assert not caller.reader._buffer
        edge.publisher.release.set()
        assert (await caller.answer()).status == 200


@pytest.mark.parametrize("wants", [False, True])
async def test_a_stream_passes_as_it_comes_and_ends_once_it_is_settled(start: Start, wants: bool) -> None:
    edge = await start(stream(delta("Hi"), delta(" you"), USAGE_EVENT, DONE))
    edge.publisher.script = ["ack", "hold"]
    async with await edge.connect() as caller:
        await caller.chat(stream=True, **({"stream_options": {"include_usage": True}} if wants else {}))
        head = await caller.head()
        assert head.headers["content-type"] == "text/event-stream"
        got = b""
        expected = delta("Hi") + delta(" you") + (USAGE_EVENT if wants else b"")
        while len(got) < len(expected):
            got += await caller.chunk()
        assert got == expected
        await until(lambda: len(edge.publisher.tries) == 2)
        await asyncio.sleep(0.03)
        assert not caller.reader._buffer, "[DONE] before the end was recorded"
        edge.publisher.release.set()
        assert await caller.chunk() == DONE
        assert await caller.chunk() == b""
    _, settled = await told(edge)
    assert (settled.outcome, settled.usage, settled.cost_picousd) == ("success", Usage(10, 5, source="provider"), COST)


async def test_the_first_event_is_not_held_for_the_second(start: Start) -> None:
    going = asyncio.Event()

    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(STREAM_HEAD, chunk(delta("Hi")))
        await going.wait()
        await peer.send(chunk(DONE), LAST_CHUNK)

    edge = await start(script)
    async with await edge.connect() as caller:
        await caller.chat(stream=True)
        await caller.head()
        assert await caller.chunk() == delta("Hi")
        going.set()
        assert await caller.chunk() == DONE


async def test_a_providers_connection_is_used_again_after_a_stream(start: Start) -> None:
    edge = await start(stream(delta("Hi"), USAGE_EVENT, DONE))
    for _ in range(3):
        answer = await edge.chat(stream=True)
        assert answer.body.endswith(DONE)
        await asyncio.sleep(0.02)
    assert edge.providers[0].connections == 1


async def test_without_usage_it_is_counted_and_marked_so(start: Start) -> None:
    edge = await start(always(response(completion("three words here", usage=None))))
    await edge.chat()
    _, settled = await told(edge)
    assert settled.usage == Usage(2, 3, source="estimated")


async def test_a_stream_without_usage_is_counted_and_marked_so(start: Start) -> None:
    edge = await start(stream(delta("three "), delta("words "), delta("here"), DONE))
    await edge.chat(stream=True)
    _, settled = await told(edge)
    assert settled.usage == Usage(2, 3, source="estimated")
    assert settled.cost_picousd == 2 * 1_000_000 + 3 * 2_000_000


async def test_where_even_moderation_cannot_count_a_rule_of_thumb_does(start: Start) -> None:
    edge = await start(always(response(completion("x" * 40, usage=None))))
    edge.bus.answers[subjects.MODERATION_COUNT] = lambda _: Fault("unavailable")
    await edge.chat()
    _, settled = await told(edge)
    assert settled.usage == Usage(3, 10, source="estimated")


NO_ANSWERS: dict[str, bytes] = {
    "nothing": b"",
    "blank": b" \n",
    "text": b"not json",
    "a page": b"<html><body>hello</body></html>",
    "a list": b"[]",
    "no choices": b'{"id": 5, "usage": {"prompt_tokens": 5, "completion_tokens": 5}}',
    "none of them": b'{"id":"x","choices":[]}',
    "null": b'{"id":"x","choices":null}',
    "not UTF-8": b'{"id":"\xff"}',
    "deep": b"[" * 50_000,
    "an error": b'{"error":{"message":"upstream exploded","code":502}}',
    "an error's text": b'{"error":"upstream exploded"}',
}


@pytest.mark.parametrize("streaming", [False, True])
@pytest.mark.parametrize("what", NO_ANSWERS)
async def test_a_200_that_is_no_answer_is_an_error_and_costs_nothing(start: Start, what: str, streaming: bool) -> None:
    edge = await start(always(response(NO_ANSWERS[what])))
    answer = await edge.chat(stream=streaming)
    assert answer.status == 502
    assert ("exploded" in answer.error_message()) == what.startswith("an error")
    _, settled = await told(edge)
    assert (settled.outcome, settled.status, settled.cost_picousd) == ("provider_error", 502, 0)


@pytest.mark.parametrize("what", NO_ANSWERS)
async def test_a_200_that_is_no_answer_goes_on_to_the_next(start: Start, what: str) -> None:
    body = completion()
    edge = await start(always(response(NO_ANSWERS[what])), always(response(body)))
    answer = await edge.chat()
    assert (answer.status, answer.body) == (200, body)
    _, settled = await told(edge)
    assert (settled.attempts, settled.cost_picousd) == (2, COST)


@pytest.mark.parametrize(
    "odd",
    [
        completion().replace(b'"Hi there"', b'"\\ud800"'),
        completion().replace(b'"index": 0', b'"index": 0, "logprobs": NaN'),
        b"\xef\xbb\xbf" + completion(),
        b"\n\n\n " + completion(),
    ],
)
async def test_an_answer_that_isnt_strict_json_passes_with_its_usage(start: Start, odd: bytes) -> None:
    edge = await start(always(response(odd)))
    answer = await edge.chat()
    assert (answer.status, answer.body) == (200, odd)
    _, settled = await told(edge)
    assert (settled.outcome, settled.usage, settled.response_id) == (
        "success",
        Usage(10, 5, source="provider"),
        "chatcmpl-p",
    )


async def test_whatever_a_provider_claims_fits_a_fact(start: Start) -> None:
    huge = {"prompt_tokens": 10**30, "completion_tokens": 10**30}
    edge = await start(always(response(completion(usage=huge, id="x" * 2_000_000, model="\x00" * 5_000))))
    assert (await edge.chat()).status == 200
    _, settled = await told(edge)
    assert len(edge.publisher.tries[-1][1]) < 20_000
    assert settled.cost_picousd is not None
    assert settled.cost_picousd > 0


async def test_whatever_a_client_asks_for_fits_a_fact(start: Start) -> None:
    edge = await start(always(response(completion())))
    assert (await edge.chat(max_tokens=2**31 - 1, n=128)).status == 200
    await told(edge)


async def test_a_stream_a_provider_answers_in_one_piece_comes_as_the_stream_that_was_asked_for(start: Start) -> None:
    edge = await start(always(response(completion("Hi there"))))
    answer = await edge.chat(stream=True)
    assert answer.headers["content-type"] == "text/event-stream"
    events = [json.loads(e[6:]) for e in answer.body.split(b"\n\n")[:-2]]
    assert [e["object"] for e in events] == ["chat.completion.chunk"] * 2
    assert events[0]["choices"][0]["delta"] == {"role": "assistant", "content": "Hi there"}
    assert events[1]["choices"][0]["finish_reason"] == "stop"
    assert answer.body.endswith(DONE)
    _, settled = await told(edge)
    assert (settled.outcome, settled.usage) == ("success", Usage(10, 5, source="provider"))


@pytest.mark.parametrize("kind", ["text/plain", "", "application/octet-stream"])
async def test_a_stream_is_one_however_it_is_labelled_and_packed(start: Start, kind: str) -> None:
    """Nobody asked for gzip, and it comes cut anywhere, in two members."""
    events = delta("Hi") + delta(" you") + USAGE_EVENT
    packed = gzip.compress(events) + gzip.compress(DONE)
    head = b"HTTP/1.1 200 OK\r\ncontent-type: %b\r\ncontent-encoding: gzip\r\ntransfer-encoding: chunked\r\n\r\n"
    pieces = [chunk(packed[at : at + 7]) for at in range(0, len(packed), 7)]
    edge = await start(always(head % kind.encode(), *pieces, LAST_CHUNK))
    answer = await edge.chat(stream=True)
    assert answer.headers["content-type"] == "text/event-stream" and "content-encoding" not in answer.headers
    assert answer.body == delta("Hi") + delta(" you") + DONE
    _, settled = await told(edge)
    assert (settled.outcome, settled.usage) == ("success", Usage(10, 5, source="provider"))


# ── guardrails ──


async def test_a_request_that_is_blocked_leaves_one_refused_fact_and_no_byte(start: Start) -> None:
    edge = await start(always(response(completion())), guardrails=[PRE])
    answer = await edge.chat(messages=[{"role": "user", "content": "forbidden"}])
    assert (answer.status, answer.error()["message"]) == (400, "Keyword banned. Keyword=forbidden")
    await until(lambda: edge.facts())
    (refused,) = edge.facts()
    assert (refused.refused_by, refused.error_code, refused.status) == ("moderation", "blocked_content", 400)
    assert edge.providers[0].connections == 0


async def test_an_answer_that_is_blocked_is_settled_with_what_it_cost(start: Start) -> None:
    edge = await start(always(response(completion("this is forbidden"))), guardrails=[POST])
    answer = await edge.chat()
    assert answer.status == 400
    assert b"this is" not in answer.body
    answer.error()
    _, settled = await told(edge)
    assert (settled.outcome, settled.status, settled.cost_picousd) == ("blocked", 400, COST)
    assert settled.opened.guardrails == ["ban"]


async def test_a_stream_that_is_blocked_ends_at_once_for_client_and_provider(start: Start) -> None:
    gone_at = 0.0

    async def script(peer: Peer) -> None:
        nonlocal gone_at
        await peer.request()
        await peer.send(STREAM_HEAD, chunk(delta("it is quite long and ")), chunk(delta("forbid")), chunk(delta("den")))
        await peer.gone()
        gone_at = time.monotonic()

    edge = await start(script, guardrails=[POST])
    answer = await edge.chat(stream=True)
    ended_at = time.monotonic()
    await until(lambda: gone_at)
    assert gone_at - ended_at < GONE_WITHIN_S
    assert b"forbid" not in answer.body.split(b'data: {"error"')[0]
    assert b"[DONE]" not in answer.body
    _, settled = await told(edge)
    assert (settled.outcome, settled.usage.source) == ("blocked", "lower_bound")


async def test_a_stream_that_is_allowed_comes_out_whole(start: Start) -> None:
    events = [delta(f"word{i} ") for i in range(20)]
    edge = await start(stream(*events, USAGE_EVENT, DONE), guardrails=[POST])
    answer = await edge.chat(stream=True)
    assert answer.body == b"".join(events) + DONE
    assert (await told(edge))[1].outcome == "success"


async def test_what_cannot_be_read_is_not_let_past_a_guardrail(start: Start) -> None:
    edge = await start(always(response(completion())), guardrails=[PRE])
    body = b'{"model":"m","messages":[{"role":"user","content":"forbidden"},1e999]}'
    async with await edge.connect() as caller:
        await caller.post("/v1/chat/completions", body)
        answer = await caller.answer()
    assert (answer.status, answer.error()["param"]) == (400, "messages")
    assert edge.providers[0].connections == 0


# ── ourselves ──


@pytest.mark.parametrize("streaming", [False, True])
async def test_a_fault_of_ours_is_settled_and_never_mixed_into_an_answer(
    start: Start, monkeypatch: pytest.MonkeyPatch, streaming: bool
) -> None:
    def fail(*_: object) -> Any:
        raise ZeroDivisionError("secret detail")

    edge = await start(stream(delta("Hi"), DONE) if streaming else always(response(completion("x", usage=None))))
    async with await edge.connect() as caller:
        monkeypatch.setattr(texts, "of_chunk" if streaming else "of_answer", fail)
        await caller.chat(stream=streaming)
        if streaming:
            await caller.head()
            assert await caller.chunk() == delta("Hi")
            with pytest.raises((asyncio.IncompleteReadError, ConnectionError)):
                await caller.chunk()
        else:
            answer = await caller.answer()
            assert (answer.status, answer.error()["message"]) == (500, "Internal server error")
    _, settled = await told(edge)
    assert (settled.outcome, settled.status) == ("edge_error", 500)
    assert settled.usage.source == "lower_bound"


async def test_mocks_are_opened_and_settled_like_the_rest(start: Start) -> None:
    edge = await start("mock:Hello you")
    assert (await edge.chat()).json()["choices"][0]["message"]["content"] == "Hello you"
    assert (await edge.chat(stream=True)).body.endswith(DONE)
    await until(lambda: len(edge.settled()) == 2)
    assert {s.usage for s in edge.settled()} == {Usage(10, 20, source="provider")}


async def test_many_at_once_each_have_one_end(start: Start) -> None:
    edge = await start(stream(delta("Hi"), USAGE_EVENT, DONE))

    async def one(number: int) -> None:
        async with await edge.connect() as caller:
            await caller.chat(stream=True)
            await asyncio.sleep(number % 5 / 300)
            if number % 3 == 0:
                caller.leave()
            else:
                assert (await caller.answer()).body.endswith(DONE)

    await asyncio.gather(*(one(number) for number in range(60)))
    await until(lambda: edge.server.running == 0)
    await edge.tasks.finish(2)
    await edge.recorder.flush()
    opened = [fact.id for fact in edge.facts() if isinstance(fact, Opened)]
    assert sorted(fact.opened.id for fact in edge.settled()) == sorted(opened)
    assert len(opened) >= 40
