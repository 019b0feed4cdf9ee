"""One opened call has one end, whoever answers, fails or leaves in between."""

import asyncio
import json
import socket
import time
from collections.abc import AsyncIterator, Callable
from typing import Any

import msgspec
import pytest
import pytest_asyncio

from services.edge import recorder as recorder_
from services.edge import texts
from shared import subjects
from shared.facts import Opened, Settled
from shared.grant import GuardrailRef
from shared.money import Usage
from shared.requests import Fault
from tests.edge.fakes import (
    DONE,
    LAST_CHUNK,
    STREAM_HEAD,
    USAGE_EVENT,
    Edge,
    Peer,
    Provider,
    Script,
    always,
    chunk,
    completion,
    delta,
    response,
    until,
)

COST = 10 * 1_000_000 + 5 * 2_000_000
GONE_WITHIN_S = 0.1
POST = GuardrailRef("ban", ["post_call"], window_characters=9)
PRE = GuardrailRef("ban", ["pre_call"])


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recorder_, "RETRY_S", 0.005)
    monkeypatch.setattr(recorder_, "SWEEP_S", 0.02)


Start = Callable[..., Any]


@pytest_asyncio.fixture
async def start() -> AsyncIterator[Start]:
    """An edge in front of scripted providers (or URLs), all for the model `m`."""
    opened: list[Any] = []

    async def one(*scripts: Script | str, **options: Any) -> Edge:
        urls = []
        for script in scripts:
            if isinstance(script, str):
                urls.append(script)
                continue
            provider = await Provider(script).__aenter__()
            opened.append(provider)
            urls.append(provider.url)
        edge = await Edge({"m": urls}, **options).__aenter__()
        edge.providers = opened[:]  # type: ignore[attr-defined]
        opened.append(edge)
        return edge

    yield one
    for part in reversed(opened):
        await part.__aexit__(None)


def stream(*events: bytes, end: bytes = LAST_CHUNK) -> Script:
    return always(STREAM_HEAD, *map(chunk, events), end)


def dead_url() -> str:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        return f"http://127.0.0.1:{listening.getsockname()[1]}/v1"


async def told(edge: Edge) -> tuple[Opened, Settled]:
    """The whole book of one call: opened, then settled, and both tell the same."""
    settled = await edge.the_settled()
    (opened,) = [fact for fact in edge.facts() if isinstance(fact, Opened)]
    assert settled.opened.id == opened.id
    assert len(edge.facts()) == 2
    return opened, settled


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
        assert not caller.reader._buffer  # type: ignore[attr-defined]
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
        assert not caller.reader._buffer, "[DONE] before the end was recorded"  # type: ignore[attr-defined]
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


@pytest.mark.parametrize("odd", [b"", b"not json", b"[]", b'{"id": 5, "usage": "x"}', b'{"id":"\xff"}', b"[" * 50_000])
async def test_an_odd_answer_passes_and_is_settled(start: Start, odd: bytes) -> None:
    edge = await start(always(response(odd)))
    answer = await edge.chat()
    assert (answer.status, answer.body) == (200, odd)
    _, settled = await told(edge)
    assert (settled.outcome, settled.usage.source) == ("success", "estimated")


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


async def test_a_stream_a_provider_answers_in_one_piece_is_an_answer(start: Start) -> None:
    body = completion()
    edge = await start(always(response(body)))
    answer = await edge.chat(stream=True)
    assert answer.body == body
    assert (await told(edge))[1].outcome == "success"


# ── providers that refuse or break ──


@pytest.mark.parametrize(
    "status", ["400 Bad Request", "404 Not Found", "422 X", "429 Too Many", "500 X", "503 X", "418 X"]
)
@pytest.mark.parametrize("streaming", [False, True])
async def test_a_providers_error_passes_and_costs_nothing(start: Start, status: str, streaming: bool) -> None:
    body = json.dumps({"error": {"message": "as it said", "type": "x", "param": None, "code": "y"}}).encode()
    edge = await start(always(response(body, status)))
    answer = await edge.chat(stream=streaming)
    assert (answer.status, answer.body) == (int(status[:3]), body)
    _, settled = await told(edge)
    assert (settled.outcome, settled.status, settled.cost_picousd) == ("provider_error", answer.status, 0)
    assert settled.error_code == f"provider_{status[:3]}"
    assert "x-litellm-response-cost" not in answer.headers


@pytest.mark.parametrize("status", ["301 Moved", "302 Found", "307 X"])
async def test_a_redirect_is_neither_followed_nor_passed_on(start: Start, status: str) -> None:
    edge = await start(always(response(b"{}", status, extra="location: http://127.0.0.1:1/\r\n")))
    answer = await edge.chat()
    assert answer.status == 502
    assert "location" not in answer.headers
    assert (await told(edge))[1].outcome == "provider_error"


async def test_a_provider_that_cannot_be_reached_costs_nothing(start: Start) -> None:
    edge = await start(dead_url())
    answer = await edge.chat()
    assert (answer.status, answer.error()["type"]) == (502, "api_connection_error")
    _, settled = await told(edge)
    assert (settled.outcome, settled.usage, settled.cost_picousd) == ("provider_error", Usage(), 0)


BREAKS: dict[str, bytes] = {
    "before a byte": b"",
    "in the head": b"HTTP/1.1 200 OK\r\ncontent-le",
    "in the body": response(completion())[:-10],
    "with junk": b"\x00\x01\x02 not http\r\n\r\n",
    "in a chunk": STREAM_HEAD.replace(b"text/event-stream", b"application/json") + b"ff\r\n{",
}


@pytest.mark.parametrize("where", BREAKS)
async def test_a_provider_that_breaks_off_is_a_502_and_its_work_is_a_lower_bound(start: Start, where: str) -> None:
    edge = await start(always(BREAKS[where], close=True))
    answer = await edge.chat()
    assert answer.status == 502
    answer.error()
    _, settled = await told(edge)
    assert (settled.outcome, settled.status) == ("provider_error", 502)
    assert settled.usage == Usage(2, 0, source="lower_bound")


@pytest.mark.parametrize("end", [b"", b"5\r\nda", b"zz\r\n"])
async def test_a_stream_that_breaks_off_ends_with_an_error_event_and_no_done(start: Start, end: bytes) -> None:
    edge = await start(always(STREAM_HEAD, chunk(delta("three words here")), end, close=True))
    answer = await edge.chat(stream=True)
    events = answer.body.split(b"\n\n")
    assert events[0] + b"\n\n" == delta("three words here")
    assert set(json.loads(events[1][6:])["error"]) == {"message", "type", "param", "code"}
    assert b"[DONE]" not in answer.body
    _, settled = await told(edge)
    assert (settled.outcome, settled.usage) == ("provider_error", Usage(2, 3, source="lower_bound"))


async def silent(peer: Peer) -> None:
    await peer.request()
    await peer.gone()


async def test_a_provider_that_stays_silent_is_a_timeout(start: Start) -> None:
    edge = await start(silent, timeout_s=0.15)
    answer = await edge.chat()
    assert (answer.status, answer.error()["type"]) == (504, "timeout_error")
    _, settled = await told(edge)
    assert (settled.outcome, settled.status, settled.usage) == ("timeout", 504, Usage(2, 0, source="lower_bound"))


async def test_a_stream_that_falls_silent_is_a_timeout(start: Start) -> None:
    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(STREAM_HEAD, chunk(delta("Hi")))
        await peer.gone()

    edge = await start(script, timeout_s=0.2)
    answer = await edge.chat(stream=True)
    assert b'"type":"timeout_error"' in answer.body
    _, settled = await told(edge)
    assert (settled.outcome, settled.usage.output_tokens) == ("timeout", 1)


async def test_an_answer_past_its_bound_is_cut_off(start: Start) -> None:
    edge = await start(always(response(b"x" * 5_000)), edge_answer_bytes_max=1_000)
    assert (await edge.chat()).status == 502
    assert (await told(edge))[1].outcome == "provider_error"


# ── the next candidate ──


@pytest.mark.parametrize("first", ["dead", "503 Service Unavailable", "429 Too Many", "500 X"])
async def test_where_the_first_did_not_do_the_work_the_second_is_asked(start: Start, first: str) -> None:
    body = completion()
    edge = await start(dead_url() if first == "dead" else always(response(b"{}", first)), always(response(body)))
    answer = await edge.chat()
    assert (answer.status, answer.body, answer.headers["x-litellm-model-id"]) == (200, body, "m-1")
    opened, settled = await told(edge)
    assert (opened.deployment_id, opened.provider) == ("m-0", "provider0")
    assert (settled.opened.deployment_id, settled.opened.provider, settled.attempts) == ("m-1", "provider1", 2)
    assert settled.cost_picousd == COST


async def test_a_first_that_never_accepts_is_passed_over(start: Start) -> None:
    with full_backlog() as url:
        edge = await start(url, always(response(completion())), timeout_s=1)
        # The deployment's own deadline bounds both; the first one's connecting may take a part of it.
        for found in edge.pipeline.targets.values():
            msgspec.structs.force_setattr(found.deadlines, "connect_ms", 100)
        assert (await edge.chat()).status == 200
        assert (await told(edge))[1].attempts == 2


@pytest.mark.parametrize("status", ["400 Bad Request", "401 Unauthorized", "404 Not Found"])
async def test_an_error_of_the_request_is_not_asked_elsewhere(start: Start, status: str) -> None:
    edge = await start(always(response(b"{}", status)), always(response(completion())))
    assert (await edge.chat()).status == int(status[:3])
    assert edge.providers[1].connections == 0
    await told(edge)


async def test_what_may_have_been_done_is_not_done_twice(start: Start) -> None:
    edge = await start(always(b"HTTP/1.1 200 OK\r\n", close=True), always(response(completion())))
    assert (await edge.chat()).status == 502
    assert edge.providers[1].connections == 0


async def test_all_candidates_share_one_deadline(start: Start) -> None:
    async def late(peer: Peer) -> None:
        await peer.request()
        await asyncio.sleep(0.4)
        await peer.send(response(b"{}", "503 X"))

    edge = await start(late, silent, timeout_s=0.6)
    before = time.monotonic()
    assert (await edge.chat()).status == 504
    assert time.monotonic() - before < 0.9
    opened, _ = await told(edge)
    assert opened.expires_at_ms >= opened.at_ms + 600


async def test_with_none_left_it_is_the_last_ones_answer(start: Start) -> None:
    edge = await start(always(response(b"{}", "503 X")), always(response(b"{}", "500 X")))
    assert (await edge.chat()).status == 500
    assert (await told(edge))[1].attempts == 2


# ── clients that leave ──


class full_backlog:
    """A server that accepts nobody: connecting to it takes for ever."""

    def __enter__(self) -> str:
        self.listening = socket.socket()
        self.listening.bind(("127.0.0.1", 0))
        self.listening.listen(0)
        self.fillers = []
        for _ in range(3):
            filler = socket.socket()
            filler.setblocking(False)
            filler.connect_ex(self.listening.getsockname())
            self.fillers.append(filler)
        return f"http://127.0.0.1:{self.listening.getsockname()[1]}/v1"

    def __exit__(self, *_: object) -> None:
        for one in (self.listening, *self.fillers):
            one.close()


async def left(edge: Edge) -> Settled:
    _, settled = await told(edge)
    assert (settled.outcome, settled.status, settled.error_code) == ("client_gone", 499, "client_gone")
    return settled


async def test_a_client_that_leaves_before_opened_is_on_the_wire(start: Start) -> None:
    edge = await start(always(response(completion())))
    edge.publisher.default = "away"
    async with await edge.connect() as caller:
        await caller.chat()
        await until(lambda: edge.publisher.tries)
        caller.leave()
        await until(lambda: edge.server.running == 0)
    edge.publisher.default = "ack"
    settled = await left(edge)
    assert (settled.usage, settled.cost_picousd, settled.attempts) == (Usage(), 0, 0)
    assert edge.providers[0].connections == 0


async def test_a_client_that_leaves_while_connecting(start: Start) -> None:
    with full_backlog() as url:
        edge = await start(url)
        async with await edge.connect() as caller:
            await caller.chat()
            await until(lambda: edge.facts())
            await asyncio.sleep(0.05)
            caller.leave()
            await until(lambda: edge.server.running == 0)
        await left(edge)


@pytest.mark.parametrize("where", ["waiting for the head", "in the body", "in a stream", "in a slow stream"])
async def test_a_client_that_leaves_ends_the_providers_work_at_once(start: Start, where: str) -> None:
    reached, gone_at = asyncio.Event(), 0.0

    async def script(peer: Peer) -> None:
        nonlocal gone_at
        await peer.request()
        if where == "in the body":
            await peer.send(response(completion())[:-5])
        elif where == "in a stream":
            await peer.send(STREAM_HEAD, chunk(delta("three words here")))
        reached.set()
        if where == "in a slow stream":
            await peer.send(STREAM_HEAD)
            try:
                while True:
                    await peer.send(chunk(delta("word ")))
                    await asyncio.sleep(0.01)
            except ConnectionError:
                pass
        await peer.gone()
        gone_at = time.monotonic()

    edge = await start(script)
    async with await edge.connect() as caller:
        await caller.chat(stream="stream" in where)
        if "stream" in where:
            await caller.head()
            await caller.chunk()
        await asyncio.wait_for(reached.wait(), 2)
        left_at = time.monotonic()
        caller.leave()
        await until(lambda: gone_at)
    assert gone_at - left_at < GONE_WITHIN_S
    settled = await left(edge)
    assert settled.usage.source == "lower_bound"
    assert settled.usage.input_tokens == 2
    if where == "in a stream":
        assert settled.usage.output_tokens == 3


async def test_a_client_that_leaves_while_its_end_is_recorded_leaves_that_end(start: Start) -> None:
    edge = await start(always(response(completion())))
    edge.publisher.script = ["ack", "hold"]
    async with await edge.connect() as caller:
        await caller.chat()
        await until(lambda: len(edge.publisher.tries) == 2)
        caller.leave()
        await until(lambda: edge.server.running == 0)
    edge.publisher.release.set()
    _, settled = await told(edge)
    assert (settled.outcome, settled.cost_picousd) == ("success", COST)


async def test_a_client_that_stops_reading_slows_the_provider_down_and_nothing_grows(start: Start) -> None:
    sent = 0

    async def script(peer: Peer) -> None:
        nonlocal sent
        await peer.request()
        await peer.send(STREAM_HEAD)
        piece = chunk(delta("x" * 50_000))
        while sent < 100_000_000:
            peer.writer.write(piece)
            await peer.writer.drain()
            sent += len(piece)

    edge = await start(script)
    async with await edge.connect() as caller:
        caller.writer.transport.pause_reading()  # type: ignore[attr-defined]
        await caller.chat(stream=True)
        await until(lambda: sent)
        stuck = -1
        while stuck != sent:
            stuck = sent
            await asyncio.sleep(0.1)
        assert sent < 30_000_000
        caller.leave()
    await left(edge)


# ── when nothing can be recorded ──


async def test_an_answer_whose_end_never_becomes_durable_is_cut_off_and_recorded_later(start: Start) -> None:
    edge = await start(always(response(completion())), wait_ms=100)
    edge.publisher.script, edge.publisher.default = ["ack"], "refuse"
    async with await edge.connect() as caller:
        await caller.chat()
        with pytest.raises((asyncio.IncompleteReadError, ConnectionError)):
            await caller.answer()
    edge.publisher.default = "ack"
    assert (await told(edge))[1].outcome == "success"


async def test_a_stream_whose_end_never_becomes_durable_has_no_done(start: Start) -> None:
    edge = await start(stream(delta("Hi"), USAGE_EVENT, DONE), wait_ms=100)
    edge.publisher.script, edge.publisher.default = ["ack"], "refuse"
    async with await edge.connect() as caller:
        await caller.chat(stream=True)
        await caller.head()
        assert await caller.chunk() == delta("Hi")
        with pytest.raises((asyncio.IncompleteReadError, ConnectionError)):
            await caller.chunk()
    edge.publisher.default = "ack"
    await told(edge)


async def test_a_call_that_cannot_be_opened_is_refused_and_never_reaches_the_provider(start: Start) -> None:
    edge = await start(always(response(completion())), wait_ms=400)
    edge.publisher.default = "away"
    answer = await edge.chat()
    assert (answer.status, answer.headers["retry-after"]) == (503, "1")
    answer.error()
    await until(lambda: not edge.recorder.healthy)
    before = time.monotonic()
    assert (await edge.chat()).status == 503
    assert time.monotonic() - before < 0.3, "once it is known, at once"
    edge.publisher.default = "ack"
    _, settled = await told(edge)
    assert (settled.outcome, settled.status, settled.cost_picousd) == ("edge_error", 503, 0)
    assert edge.providers[0].connections == 0
    await until(lambda: edge.recorder.healthy)
    assert (await edge.chat()).status == 200


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
