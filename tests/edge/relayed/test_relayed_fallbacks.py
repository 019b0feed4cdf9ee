"""Relayed calls that go on: to other deployments, to other models, once more to the same one, and
past those that rest.
"""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import msgspec
import pytest
import pytest_asyncio

from services.edge.account import FALLBACK_TO
from services.edge.passthrough import record
from services.edge.series import Series
from shared.errors import model_not_allowed
from shared.facts import Caller
from shared.grant import Candidate, Denial, Fallback, Grant
from shared.requests import DecideReply, DecideRequest
from tests.edge.fakes import STREAM_HEAD, Answer, Peer, Provider, chunk, response
from tests.edge.relayed.conftest import running
from tests.edge.relayed.relayed_kit import ASKED, CREATED, GOOD, PRICE, Wires, asking, entry, said, wire_of
from tests.edge.wires_kit import WHOLE

DOWN = response(b'{"error": {"message": "down"}}', "503 Service Unavailable")
BUSY = response(b'{"error": {"message": "slow down"}}', "429 Too Many Requests")
TOO_LONG = response(b'{"type": "error", "error": {"message": "prompt is too long: 9 > 8"}}', "400 Bad Request")
WRONG = response(b'{"error": {"message": "no such voice"}}', "400 Bad Request")
KEPT = b'{"object": "response", "error": null, "output": [], "id": "resp_theirs"}'


class Ways(Wires):
    """Models of one deployment each, or more; each deployment says its answers one by one, and the
    last one for ever.
    """

    def __init__(self) -> None:
        super().__init__()
        self.entries: list[dict[str, Any]] = []
        self.fallbacks: list[tuple[str, str]] = []
        """(model, reason) of the model `m`."""
        self.not_for_this_key = ""
        self.hangs = False
        """Whether providers stay silent behind what they said."""

    async def model(self, name: str, *answers: bytes, wire: str = "openai", **params: Any) -> Provider:
        left = list(answers)

        async def script(peer: Peer) -> None:
            await peer.request()
            await peer.send(left.pop(0) if len(left) > 1 else left[0])
            if self.hangs:
                await peer.gone()

        provider = await Provider(script).__aenter__()
        self.providers.append(provider)
        self.entries.append(entry(name, f"{name}-{len(self.entries)}", provider, wire, **params))
        self.serve(self.entries)
        return provider

    def of(self, name: str) -> list[Candidate]:
        return [
            Candidate(each.id, each.provider, each.upstream_model, PRICE, order=i, revision=1)
            for i, each in enumerate(self.deployments)
            if each.model_name == name
        ]

    def decide(self, asked: DecideRequest) -> DecideReply:
        caller = Caller(key_alias="k", key_sha256="0" * 64)
        if asked.model and asked.model == self.not_for_this_key:
            return DecideReply(Denial(model_not_allowed(asked.model, "key"), 1, [], caller, "key_models"))
        found = [Fallback(name, self.of(name), reason) for name, reason in self.fallbacks]
        fallbacks = found if asked.model == "m" else []
        return DecideReply(
            Grant(caller, asked.route, asked.model, 1, ["control.key.x"], self.of(asked.model), fallbacks=fallbacks)
        )

    async def call(self, path: str, **more: Any) -> Answer:
        async with await self.edge.connect() as caller:
            await caller.post(path, asking(path, **more))
            return await caller.answer()

    async def reads(self, id: str) -> int:
        async with await self.edge.connect() as caller:
            await caller.send(
                f"GET /v1/responses/{id} HTTP/1.1\r\nHost: e\r\nAuthorization: Bearer sk-client-key\r\n\r\n".encode()
            )
            return (await caller.answer()).status


@pytest_asyncio.fixture
async def ways() -> AsyncIterator[Ways]:
    async with running(Ways()) as made:
        made.edge.parts.random = lambda: 0.0
        yield made


@pytest.mark.parametrize("first", [DOWN, BUSY], ids=["down", "busy"])
@pytest.mark.parametrize("path", ASKED)
async def test_a_model_that_fails_is_followed_by_its_fallback_and_each_has_its_row(
    ways: Ways, path: str, first: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    counted = Series()
    monkeypatch.setattr(record, "SERIES", counted)
    await ways.model("m", first, wire=wire_of(path))
    other = await ways.model("other", GOOD[path], wire=wire_of(path))
    ways.fallbacks = [("other", "")]
    answer = await ways.call(path)
    assert answer.status == 200 and len(other.bodies) == 1
    headers = answer.headers
    assert (headers["x-litellm-attempted-fallbacks"], headers["x-litellm-attempted-retries"]) == ("1", "0")
    assert (headers["x-litellm-model-group"], headers["x-litellm-model-id"]) == ("m", "other-1")
    one, two = await ways.settled(2)
    assert (one.outcome, one.cost_picousd, two.outcome) == ("provider_error", 0, "success")
    assert two.opened.model == "m" and two.opened.spend_logs_metadata == {FALLBACK_TO: "other"}
    assert FALLBACK_TO not in one.opened.spend_logs_metadata
    cause = "failed" if first is DOWN else "limited"
    assert counted.fallen._good == {("m", "other", "0" * 64, "k", "", "", "", cause, "other-1"): 1}


async def test_a_form_goes_to_a_fallback_too(ways: Ways) -> None:
    await ways.model("m", DOWN)
    other = await ways.model("other", response(b'{"text": "hello"}'))
    ways.fallbacks = [("other", "")]
    answer = await ways.post(
        "/v1/audio/transcriptions", files={"file": ("a.mp3", bytes(1000))}, data={"model": "m", "num_retries": "x"}
    )
    assert answer.status_code == 200 and answer.json() == {"text": "hello"} and bytes(1000) in other.bodies[0]


async def test_what_is_too_long_goes_to_the_model_for_that_and_what_is_wrong_nowhere(ways: Ways) -> None:
    await ways.model("m", TOO_LONG, WRONG, wire="anthropic")
    usual, long = [await ways.model(name, GOOD["/v1/messages"], wire="anthropic") for name in ("usual", "long")]
    ways.fallbacks = [("usual", ""), ("long", "context_window")]
    assert (await ways.call("/v1/messages")).status == 200 and (len(usual.bodies), len(long.bodies)) == (0, 1)
    answer = await ways.call("/v1/messages")
    assert answer.status == 400 and "no such voice" in answer.json()["error"]["message"]
    assert (len(usual.bodies), len(long.bodies)) == (0, 1)


async def test_fallbacks_that_the_request_names_or_does_not_want(ways: Ways) -> None:
    first = await ways.model("m", DOWN)
    other = await ways.model("other", GOOD["/v1/responses"])
    answer = await ways.call("/v1/responses", fallbacks=["other"], num_retries=0)
    assert answer.status == 200 and len(other.bodies) == 1
    assert not {b"fallbacks", b"num_retries"} & {*first.bodies[0].split(b'"'), *other.bodies[0].split(b'"')}
    ways.fallbacks = [("other", "")]
    ways.edge.parts.grants.forget_all()
    assert (await ways.call("/v1/responses", disable_fallbacks=True)).status == 503 and len(other.bodies) == 1
    ways.not_for_this_key = "other"
    ways.edge.parts.grants.forget_all()
    answer = await ways.call("/v1/responses", fallbacks=["other"])
    assert answer.status in (401, 403) and len(other.bodies) == 1
    assert (await ways.call("/v1/responses", fallbacks=[7])).status == 400


async def test_anthropics_client_falls_back_to_a_chat(ways: Ways) -> None:
    await ways.model("m", DOWN, wire="anthropic")
    await ways.model("gpt", response(json.dumps(WHOLE).encode()))
    ways.fallbacks = [("gpt", "")]
    answer = await ways.call("/v1/messages")
    assert answer.status == 200 and answer.json()["content"][0]["text"] == "Grüße"


async def test_who_was_busy_rests_for_relayed_calls_too(ways: Ways) -> None:
    busy = await ways.model("m", BUSY)
    await ways.model("m", GOOD["/v1/responses"])
    for _ in range(3):
        assert (await ways.call("/v1/responses")).status == 200
    assert len(busy.bodies) == 1
    assert ways.edge.parts.health.of("m-1").latency_s is not None and not ways.edge.parts.health.of("m-1").running


@pytest.mark.parametrize("route", [b"not here", b""], ids=["a page", "nothing"])
async def test_a_route_that_is_not_there_is_no_fault_of_the_deployments(ways: Ways, route: bytes) -> None:
    await ways.model("m", response(route, "404 Not Found", "text/html"))
    assert (await ways.call("/v1/audio/speech")).status == 404
    assert not ways.edge.parts.health.is_resting("m-0", ways.edge.parts.clock.seconds())


async def test_the_same_one_is_asked_again_where_that_is_allowed(ways: Ways) -> None:
    await ways.model("m", DOWN, GOOD["/v1/responses"], num_retries=1, cooldown_time=0)
    answer = await ways.call("/v1/responses")
    assert (answer.status, answer.headers["x-litellm-attempted-retries"]) == (200, "1")
    assert [fact.outcome for fact in await ways.settled(2)] == ["provider_error", "success"]


async def test_a_response_that_a_fallback_made_is_found_again_there_and_gone_on_from(ways: Ways) -> None:
    first = await ways.model("m", DOWN, response(KEPT.replace(b"theirs", b"others")), cooldown_time=0)
    other = await ways.model("other", response(KEPT), cooldown_time=0)
    ways.fallbacks = [("other", "")]
    made = await ways.call("/v1/responses")
    id = made.json()["id"]
    assert id != "resp_theirs"
    again = await ways.call("/v1/responses", previous_response_id=id)
    assert again.status == 200 and said(again.body) == said(KEPT)
    assert json.loads(other.bodies[1])["previous_response_id"] == "resp_theirs" and len(first.bodies) == 1
    assert await ways.reads(id) == 200
    assert len(first.bodies) == 1


async def test_so_is_one_of_a_fallback_that_the_request_named(ways: Ways) -> None:
    await ways.model("m", DOWN)
    await ways.model("other", response(KEPT))
    made = await ways.call("/v1/responses", fallbacks=["other"])
    assert await ways.reads(made.json()["id"]) == 200


DELTA = b'data: {"type": "response.output_text.delta"}\n\n'
HALF = STREAM_HEAD + chunk(CREATED + DELTA)


async def test_half_of_a_stream_is_followed_by_no_other_not_even_where_work_may_be_done_twice(ways: Ways) -> None:
    routing = ways.edge.parts.routing
    ways.edge.parts.routing = msgspec.structs.replace(
        routing, rules=msgspec.structs.replace(routing.rules, unsafe=True, retries=2)
    )
    ways.hangs = True
    first = await ways.model("m", HALF, timeout=0.3)
    other = await ways.model("other", GOOD["/v1/responses"])
    ways.fallbacks = [("other", "")]
    async with await ways.edge.connect() as caller:
        await caller.post("/v1/responses", asking("/v1/responses", stream=True))
        assert (await caller.head()).status == 200
        with pytest.raises((asyncio.IncompleteReadError, ConnectionError)):
            while piece := await caller.chunk():
                assert b"completed" not in piece
    (fact,) = await ways.settled()
    assert fact.outcome == "timeout" and (len(first.bodies), len(other.bodies)) == (1, 0)


@pytest.mark.parametrize("is_stream", [False, True])
async def test_what_broke_off_behind_its_head_is_worked_on_once(ways: Ways, is_stream: bool) -> None:
    """Its provider bills it; unless it is a stream that said nothing yet."""
    half = STREAM_HEAD + chunk(CREATED) if is_stream else GOOD["/v1/responses"][:-5]
    await ways.model("m", half)
    other = await ways.model("other", GOOD["/v1/responses"])
    ways.fallbacks = [("other", "")]
    answer = await ways.call("/v1/responses", stream=is_stream)
    assert (answer.status, len(other.bodies)) == ((200, 1) if is_stream else (502, 0))
    first = (await ways.settled(1 + is_stream))[0]
    assert (first.outcome, first.cost_picousd) == ("provider_error", 0 if is_stream else None)
