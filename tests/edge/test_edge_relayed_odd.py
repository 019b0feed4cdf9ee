"""Answers of relayed calls that are none, or end in the middle: told as what they are, asked of the next deployment, and free."""

import asyncio
import gzip
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio

from services.edge.http import Request
from services.edge.passthrough.judge import Judge
from services.edge.providers import table
from services.edge.routing.rooms import Place, Rooms
from services.edge.surfaces import relayed
from shared import config, subjects
from shared.facts import Caller, Settled
from shared.grant import Candidate, Grant
from shared.outbound import Guard, Outbound, OutboundSettings
from shared.requests import DecideReply, DecideRequest
from tests.edge.fakes import LAST_CHUNK, STREAM_HEAD, Answer, Peer, Provider, Script, chunk, response, until
from tests.edge.harness import Edge
from tests.edge.test_edge_relayed import PRICE, Maker, World
from tests.edge.usage.test_tap import CLAUDE_EVENTS, MESSAGE, RESPONSE, sse

Bytes = list[bytes]
ASKED: dict[str, dict[str, Any]] = {
    "/v1/messages": {"max_tokens": 1, "messages": [{"role": "user", "content": "x"}]},
    "/v1/responses": {"input": "x"},
    "/v1/audio/speech": {"input": "x", "voice": "v"},
}
GOOD: dict[str, bytes] = {
    "/v1/messages": response(json.dumps({"type": "message", **MESSAGE}).encode()),
    "/v1/responses": response(json.dumps({"object": "response", "error": None, "output": [], **RESPONSE}).encode()),
    "/v1/audio/speech": response(b'{"sound', kind="audio/mpeg"),
}
ERROR = b'{"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}}'
FAILED_EVENT = b'event: response.failed\ndata: {"type": "response.failed", "response": {"status": "failed", "error": {"message": "died"}}}\n\n'


CUT = b"cut"


def streamed(*events: bytes) -> bytes:
    return b"".join((STREAM_HEAD, *map(chunk, events), LAST_CHUNK))


NONE: dict[str, tuple[bytes, int]] = {
    # what comes first, what the client is told where nobody follows
    "empty": (response(b""), 502),
    "blank": (response(b" \r\n "), 502),
    "a page": (response(b"<html>busy</html>", kind="text/html"), 502),
    "an error": (response(b'{"error": {"message": "slow down", "code": 429}}'), 429),
    "not JSON": (response(b'{"id": "x", '), 502),
    "401": (response(b'{"error": {"message": "bad key sk-secret"}}', "401 Unauthorized"), 401),
    "404": (response(b'{"error": {"message": "deployment deleted"}}', "404 Not Found"), 404),
    "a page of 502": (response(b"<html>bad gateway</html>", "502 Bad Gateway", "text/html"), 502),
    "a redirect": (response(b"", "302 Found", extra="location: http://127.0.0.1:1/\r\n"), 502),
}
NO_STREAM: dict[str, tuple[bytes, int]] = {
    "a response that failed at once": (streamed(b'data: {"type": "response.created"}\n\n', FAILED_EVENT), 502),
    "no event": (streamed(b": ping\n\n"), 502),
    "an error event": (streamed(b"event: error\ndata: " + ERROR + b"\n\n"), 502),
    "an error event behind a ping": (
        streamed(b'event: ping\ndata: {"type": "ping"}\n\n', b"data: " + ERROR + b"\n\n"),
        502,
    ),
}


def asking(path: str, **more: Any) -> bytes:
    return json.dumps({"model": "m", **ASKED.get(path, {}), **more}).encode()


class Wires(World):
    def __init__(self) -> None:
        self.maker, self.guardrails = Maker(), []
        self.providers: list[Provider] = []

    async def ask(self, path: str, *answers: bytes, **more: Any) -> Answer:
        """Of as many deployments, each of which answers so."""

        def saying(data: bytes) -> Script:
            async def script(peer: Peer) -> None:
                await peer.request()
                await peer.send(data)

            return script

        await self.deployed(path, *map(saying, answers))
        async with await self.edge.connect() as caller:
            await caller.post(path, asking(path, **more))
            return await caller.answer()

    async def deployed(self, path: str, *scripts: Script, **params: Any) -> None:
        """As many deployments of one model."""
        entries = []
        for i, script in enumerate(scripts):
            provider = await Provider(script).__aenter__()
            self.providers.append(provider)
            model = "anthropic/claude-sonnet-4-5" if path == "/v1/messages" else "openai/gpt-4o"
            base = provider.url.removesuffix("/v1") if path == "/v1/messages" else provider.url
            params_ = {"model": model, "api_key": "k", "api_base": base, **params}
            entries.append({"model_name": "m", "litellm_params": params_, "model_info": {"id": f"m-{i}"}})
        self.edge.parts.targets = table.build(config.parse(json.dumps({"model_list": entries}), {}).deployments, "test")

    def decide(self, asked: DecideRequest) -> DecideReply:
        candidates = [
            Candidate(each.id, each.provider, each.upstream_model, PRICE, order=i)
            for i, each in enumerate(self.deployments)
        ]
        return DecideReply(Grant(Caller(key_alias="k"), asked.route, asked.model, 1, ["control.key.x"], candidates))

    async def facts(self, count: int) -> list[Settled]:
        await until(lambda: len(self.edge.settled()) == count)
        return self.edge.settled()


@pytest_asyncio.fixture
async def wires() -> AsyncIterator[Wires]:
    made = Wires()
    outbound = Outbound(OutboundSettings(), Guard(any_address=True))
    async with Edge({}) as made.edge:
        made.edge.parts.passthrough_outbound = outbound
        made.edge.bus.answers[subjects.POLICY_DECIDE] = made.decide
        yield made
    await outbound.close()
    for provider in made.providers:
        await provider.__aexit__(None)


@pytest.mark.parametrize("what", NONE)
@pytest.mark.parametrize("path", ASKED)
async def test_an_answer_that_is_none_is_asked_elsewhere_told_and_free(wires: Wires, path: str, what: str) -> None:
    first, status = NONE[what]
    if what == "not JSON" and path == "/v1/audio/speech":
        first = first.replace(b"application/json", b"text/json")
    answer = await wires.ask(path, first, GOOD[path])
    assert answer.status == 200
    answer = await wires.ask(path, first)
    assert answer.status == status and answer.json()["error"]["message"], answer
    assert b"sk-secret" not in answer.body and "location" not in answer.headers
    one, two, three = await wires.facts(3)
    assert (one.outcome, two.outcome, three.outcome) == ("provider_error", "success", "provider_error")
    assert (one.cost_picousd or 0, three.cost_picousd or 0) == (0, 0)


@pytest.mark.parametrize("what", NO_STREAM)
@pytest.mark.parametrize("path", ["/v1/messages", "/v1/responses"])
async def test_a_stream_that_is_none_is_asked_elsewhere_told_and_free(wires: Wires, path: str, what: str) -> None:
    first, status = NO_STREAM[what]
    good = streamed(
        *(sse(event, names=True) for event in CLAUDE_EVENTS), b'event: message_stop\ndata: {"type": "message_stop"}\n\n'
    )
    answer = await wires.ask(path, first, good, stream=True)
    assert answer.status == 200 and b"message_stop" in answer.body and b"ping" not in answer.body
    answer = await wires.ask(path, first, stream=True)
    assert answer.status == status and answer.json()["error"]["message"], answer
    assert [fact.outcome for fact in await wires.facts(3)] == ["provider_error", "success", "provider_error"]


@pytest.mark.parametrize(
    ("path", "last", "added"),
    [
        ("/v1/messages", b"event: error\ndata: " + ERROR + b"\n\n", b""),
        ("/v1/responses", FAILED_EVENT, b""),
        ("/v1/responses", FAILED_EVENT.rstrip(), b""),
        ("/v1/messages", b"", b"api_error"),
        ("/v1/responses", b"", b"server_error"),
        ("/v1/messages", CUT, b"api_error"),
        ("/v1/responses", CUT, b"server_error"),
    ],
)
async def test_a_stream_that_fails_or_breaks_off_says_so_and_is_booked_so(
    wires: Wires, path: str, last: bytes, added: bytes
) -> None:
    begin = b'data: {"type": "response.created"}\n\ndata: {"type": "response.output_text.delta"}\n\n'
    if path == "/v1/messages":
        begin = b"".join(sse(event, names=True) for event in CLAUDE_EVENTS[:2])
    if last is CUT:  # the connection is cut, in the middle of an event
        said, last = b"".join((STREAM_HEAD, chunk(begin), chunk(b"data: {"))), b"data: {\n\n"
    else:
        said = streamed(begin, last) if last else streamed(begin)
    answer = await wires.ask(path, said, stream=True)
    assert answer.status == 200 and answer.body.startswith(begin + last)
    rest = answer.body[len(begin + last) :]
    assert added in rest and bool(rest) == bool(added) and (not rest or rest.startswith(b"event: error\ndata: {"))
    assert [fact.outcome for fact in await wires.facts(1)] == ["provider_error"]


@pytest.mark.parametrize("how", ["gzip", "two members", "deflate"])
async def test_what_nobody_asked_to_be_compressed_is_readable_and_counted(wires: Wires, how: str) -> None:
    body = json.dumps({"object": "response", "output": [], **RESPONSE}).encode()
    packed = gzip.compress(body)
    if how == "two members":
        packed = gzip.compress(body[:50]) + gzip.compress(body[50:])
    if how == "deflate":
        packed = gzip.compress(body)[10:-8]
    encoding = "deflate" if how == "deflate" else "gzip"
    answer = await wires.ask("/v1/responses", response(packed, extra=f"content-encoding: {encoding}\r\n"))
    assert answer.body == body and "content-encoding" not in answer.headers
    (fact,) = await wires.facts(1)
    assert fact.usage.input_tokens == 20


async def test_a_response_that_failed_is_passed_on_and_booked_as_failed(wires: Wires) -> None:
    body = json.dumps({"object": "response", "status": "failed", "error": {"message": "died"}, **RESPONSE}).encode()
    answer = await wires.ask("/v1/responses", response(body))
    assert (answer.status, answer.body) == (200, body)
    assert [fact.outcome for fact in await wires.facts(1)] == ["provider_error"]


CREATED = b'data: {"type": "response.created"}\n\n'
ENDED = b'data: {"type": "response.output_text.delta"}\n\ndata: {"type": "response.completed"}\n\n'
SLOW = {
    # the head and the first piece, the rest, and what is in the book
    "comments of one that still thinks": (STREAM_HEAD + chunk(b": wait\n\n"), chunk(ENDED) + LAST_CHUNK, "success"),
    "a beginning": (STREAM_HEAD + chunk(CREATED), chunk(ENDED) + LAST_CHUNK, "success"),
    "a beginning and an end": (STREAM_HEAD + chunk(CREATED), LAST_CHUNK, "provider_error"),
    "half of what is whole": (GOOD["/v1/responses"][:-5], GOOD["/v1/responses"][-5:], "success"),
}


@pytest.mark.parametrize("what", SLOW)
@pytest.mark.parametrize("limit", ["HOLD_S", "START_BYTES_MAX", "budget"])
async def test_what_takes_long_to_become_an_answer_goes_out_as_it_comes(
    wires: Wires, what: str, limit: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A provider that thinks for a minute and says so meanwhile is no failure, and what it says by then is not kept without end."""
    start, rest, outcome = SLOW[what]
    go = asyncio.Event()

    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(start)
        await go.wait()
        await peer.send(rest)

    async def never(peer: Peer) -> None:
        raise AssertionError("the first one answers")

    if limit == "budget":
        monkeypatch.setattr(Request, "hold", lambda *_, **__: False)
    else:
        monkeypatch.setattr(relayed, limit, 0)
    await wires.deployed("/v1/responses", script, never)
    async with await wires.edge.connect() as caller:
        await caller.post("/v1/responses", asking("/v1/responses", stream=True))
        assert (await caller.head()).status == 200
        said = await caller.chunk()
        assert said and not go.is_set()
        go.set()
        while piece := await caller.chunk():
            said += piece
    if outcome == "success":
        assert said.endswith(ENDED) or json.loads(said)["output"] == []
    else:
        assert said.startswith(CREATED) and b"server_error" in said
    assert [fact.outcome for fact in await wires.facts(1)] == [outcome]


async def test_who_leaves_while_nothing_has_come_is_booked_and_ends_the_providers_work(wires: Wires) -> None:
    gone, begun = asyncio.Event(), asyncio.Event()

    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(STREAM_HEAD + chunk(CREATED))
        begun.set()
        await peer.gone()
        gone.set()

    await wires.deployed("/v1/responses", script, max_parallel_requests=1)
    caller = await wires.edge.connect()
    await caller.post("/v1/responses", asking("/v1/responses", stream=True))
    async with asyncio.timeout(10):
        await begun.wait()
        caller.leave()
        await gone.wait()
    assert [fact.outcome for fact in await wires.facts(1)] == ["client_gone"]
    assert not wires.edge.parts.rooms._rooms, "its place is free"


async def test_where_one_has_as_many_calls_as_it_may_the_next_is_asked(wires: Wires) -> None:
    go = asyncio.Event()

    async def slow(peer: Peer) -> None:
        await peer.request()
        await go.wait()
        await peer.send(GOOD["/v1/responses"])

    async def quick(peer: Peer) -> None:
        await peer.request()
        await peer.send(GOOD["/v1/responses"])

    await wires.deployed("/v1/responses", slow, quick, max_parallel_requests=1)
    first, second = [await wires.edge.connect() for _ in range(2)]
    async with first, second:
        await first.post("/v1/responses", asking("/v1/responses"))
        await until(lambda: wires.providers[0].bodies)
        await second.post("/v1/responses", asking("/v1/responses"))
        assert (await second.answer()).status == 200 and len(wires.providers[1].bodies) == 1
        go.set()
        assert (await first.answer()).status == 200
    assert not wires.edge.parts.rooms._rooms


# ── the judge alone ──

GOOD_EVENTS = b"".join(
    (
        b": ping\n\n",
        b'event: response.created\ndata: {"type": "response.created", "response": {"error": null}}\n\n',
        b'data: {"type": "response.output_text.delta", "delta": "event: error \\"response.failed\\" [DONE]"}\n\n',
        b'data: {"type": "response.completed", "response": {"error": null}}\n\n',
    )
)


@pytest.mark.parametrize("size", [1, 2, 7, 1000])
@pytest.mark.parametrize("end", [b"\n", b"\r\n", b"\r"])
def test_however_it_is_cut_it_is_judged_the_same(size: int, end: bytes) -> None:
    data = GOOD_EVENTS.replace(b"\n", end)
    for events, problem in (
        (data, None),
        (data[: data.index(b"response.completed")], "early_end"),
        (data.replace(b"response.completed", b"response.failed"), "error_answer"),
    ):
        judge = Judge("text/event-stream", is_sound=False, may_be_text=False, has_end=True)
        for at in range(0, len(events), size):
            judge.feed(events[at : at + size])
        assert judge.finish() == problem and judge.begun


@pytest.mark.parametrize(
    ("body", "kind", "problem"),
    [
        (b"hello", "text/plain", None),
        (b"", "text/plain", None),
        (b"", "application/json", "empty"),
        (b'{"error": "x"}', "text/plain", "error_answer"),
        (b"<html>", "text/html", "unreadable"),
        (b"WEBVTT\n\n00:00.000 --> 00:01.000\nhello", "text/vtt", None),
        (b"[Music]", "text/plain; charset=utf-8", None),
        (b"hello", "text/html", None),
        (b'"hello"', "application/json", None),
        (b'{"text": ""}', "application/json", None),
    ],
)
def test_a_transcription_may_be_text(body: bytes, kind: str, problem: str | None) -> None:
    judge = Judge(kind, is_sound=False, may_be_text=True, has_end=False)
    judge.feed(body)
    assert judge.finish() == problem


IMAGE = {"type": "image_generation.completed", "b64_json": "QUJD" * 400_000, "usage": RESPONSE["usage"]}


async def test_images_asked_for_as_a_stream_are_relayed_as_one(wires: Wires) -> None:
    """Their last event is long, and says behind the image what it cost."""
    events = [
        b'event: image_generation.partial_image\ndata: {"type": "image_generation.partial_image"}\n\n',
        sse(IMAGE),
    ]
    answer = await wires.ask("/v1/images/generations", streamed(*events), prompt="a cat", stream=True, partial_images=1)
    assert (answer.status, answer.body) == (200, b"".join(events))
    (fact,) = await wires.facts(1)
    assert (fact.outcome, fact.usage.input_tokens, fact.opened.call_type) == ("success", 20, "aimage_generation")
    assert json.loads(wires.providers[0].bodies[0])["stream"] is True


async def test_silence_behind_a_beginning_keeps_nobodys_head_back(
    wires: Wires, monkeypatch: pytest.MonkeyPatch
) -> None:
    go = asyncio.Event()

    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(STREAM_HEAD + chunk(CREATED))
        await go.wait()
        await peer.send(chunk(ENDED) + LAST_CHUNK)

    monkeypatch.setattr(relayed, "HOLD_S", 0.05)
    await wires.deployed("/v1/responses", script)
    async with await wires.edge.connect() as caller:
        await caller.post("/v1/responses", asking("/v1/responses", stream=True))
        assert (await caller.head()).status == 200
        said = await caller.chunk()
        assert said == CREATED and not go.is_set()
        go.set()
        while piece := await caller.chunk():
            said += piece
    assert said == CREATED + ENDED
    assert [fact.outcome for fact in await wires.facts(1)] == ["success"]


async def test_the_wait_for_a_place_and_the_answer_have_one_deadline(
    wires: Wires, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each call's own (`timeout`), and what is left of it goes on to the provider's answer."""
    left: list[float] = []
    wait = Rooms.wait

    async def noted(self: Rooms, place: Place, within_s: float) -> bool:
        left.append(within_s)
        return await wait(self, place, within_s)

    go = asyncio.Event()

    async def slow(peer: Peer) -> None:
        await peer.request()
        await go.wait()

    monkeypatch.setattr(Rooms, "wait", noted)
    await wires.deployed("/v1/responses", slow, max_parallel_requests=1, timeout=60)
    first, second = [await wires.edge.connect() for _ in range(2)]
    async with first, second:
        await first.post("/v1/responses", asking("/v1/responses"))
        await until(lambda: wires.providers[0].bodies)
        await second.post("/v1/responses", asking("/v1/responses", timeout=0.2))
        assert (await second.answer()).status in (429, 503, 408, 504)
        go.set()
    assert 50 < left[0] <= 60 and 0 < left[1] <= 0.2
    assert json.loads(wires.providers[0].bodies[0]).get("timeout") is None


async def test_what_an_edge_notes_of_a_call_is_not_its_callers_to_say(wires: Wires) -> None:
    """Operators are told of fallbacks by it."""
    said = {"spend_logs_metadata": {"tollgate_fallback_to": "x", "mine": 1}}
    await wires.ask("/v1/responses", GOOD["/v1/responses"], metadata=said)
    (fact,) = await wires.facts(1)
    assert fact.opened.spend_logs_metadata == {"mine": 1}
