"""Anthropic's Messages, OpenAI's Responses, speech, transcriptions, image edits: as their makers' own clients send them, byte for byte."""

import json
from collections.abc import AsyncIterator
from typing import Any

import anthropic
import httpx
import msgspec
import openai
import pytest
import pytest_asyncio
from aiohttp import web

from services.edge.passthrough.files import MultipartError
from services.edge.passthrough.form import Form
from services.edge.providers import table
from shared import config, errors, subjects
from shared.billing import Price, cost
from shared.facts import Caller, GuardrailOutcome, Refused, Settled
from shared.grant import Candidate, Denial, Grant, GuardrailRef
from shared.requests import DecideReply, DecideRequest, Redaction, ScreenRequest, Verdict
from tests.edge.fakes import until
from tests.edge.harness import Edge
from tests.edge.usage.test_tap import CLAUDE_EVENTS, MESSAGE, RESPONSE, sse
from tests.support.ports import free_port
from tests.support.serving import handled_by, serving

PRICE = Price(1_000_000, 2_000_000, 100_000)


class Maker:
    """A provider that speaks both wires. `moods`: statuses of the next answers."""

    def __init__(self) -> None:
        self.seen: list[tuple[str, dict[str, str], bytes]] = []
        self.moods: list[int] = []
        self.port = free_port()

    async def answer(self, request: web.Request) -> web.StreamResponse:
        body = await request.read()
        self.seen.append((request.path, {name.lower(): value for name, value in request.headers.items()}, body))
        if self.moods and (status := self.moods.pop(0)) != 200:
            return web.json_response(
                {"type": "error", "error": {"type": "overloaded_error", "message": "no"}}, status=status
            )
        if request.path.endswith("/audio/speech"):
            return web.Response(body=b"\xff\xf3sound" * 1000, content_type="audio/mpeg")
        if request.path.endswith(("/transcriptions", "/translations")):
            return web.json_response(
                {
                    "text": "hello",
                    "usage": {"type": "tokens", "input_tokens": 14, "output_tokens": 2, "total_tokens": 16},
                }
            )
        if "/images/" in request.path:
            return web.json_response({"created": 1, "data": [{"b64_json": "eA=="}], "usage": RESPONSE["usage"]})
        if request.path.endswith("/count_tokens"):
            return web.json_response({"input_tokens": 14})
        asked = json.loads(body)
        if "/messages" in request.path:
            whole = {"id": "msg_1", "role": "assistant", "stop_reason": "end_turn", "stop_sequence": None, **MESSAGE}
            start = {
                "id": "msg_1",
                "type": "message",
                "role": "assistant",
                "content": [],
                "stop_reason": None,
                "stop_sequence": None,
            }
            events: list[Any] = [dict(event) for event in CLAUDE_EVENTS]
            events[0] = {"type": "message_start", "message": {**start, **events[0]["message"]}}
            events.insert(1, {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}})
            events.insert(3, {"type": "content_block_stop", "index": 0})
            events[4]["delta"]["stop_sequence"] = None
        else:
            whole = {**RESPONSE, "created_at": 1, "status": "completed", "output": [{"id": "o", "type": "message", "role": "assistant",
                     "status": "completed", "content": [{"type": "output_text", "text": "hi", "annotations": []}]}]}  # fmt: skip
            events = [{"type": "response.output_text.delta", "delta": "hi", "item_id": "o", "output_index": 0, "content_index": 0,
                       "sequence_number": 1, "logprobs": []},
                      {"type": "response.completed", "response": whole, "sequence_number": 2}]  # fmt: skip
        if not asked.get("stream"):
            return web.json_response(whole, headers={"request-id": "req_1", "set-cookie": "a=b"})
        out = web.StreamResponse(headers={"content-type": "text/event-stream"})
        await out.prepare(request)
        for event in events:
            await out.write(sse(event, names=True))
        return out


class World:
    edge: Edge
    maker: Maker
    guardrails: list[GuardrailRef]
    denied: Denial | None = None

    def decide(self, asked: DecideRequest) -> DecideReply:
        if self.denied is not None and asked.model:
            return DecideReply(self.denied)
        found = [each for each in self.deployments if each.model_name == asked.model]
        candidates = [Candidate(each.id, each.provider, each.upstream_model, PRICE) for each in found]
        return DecideReply(
            Grant(
                Caller(key_alias="k"),
                asked.route,
                asked.model,
                1,
                ["control.key.x"],
                candidates,
                guardrails=self.guardrails,
                tags=["of-key"],
            )
        )

    @property
    def deployments(self) -> list[Any]:
        return [target.deployment for target in self.edge.parts.targets.values()]

    def anthropic(self) -> anthropic.AsyncAnthropic:
        return anthropic.AsyncAnthropic(base_url=f"http://127.0.0.1:{self.edge.port}", api_key="sk-ours", max_retries=0)

    def openai(self) -> openai.AsyncOpenAI:
        return openai.AsyncOpenAI(base_url=f"http://127.0.0.1:{self.edge.port}/v1", api_key="sk-ours", max_retries=0)

    async def post(self, path: str, **kw: Any) -> httpx.Response:
        async with httpx.AsyncClient() as client:
            return await client.post(
                f"http://127.0.0.1:{self.edge.port}{path}",
                headers={"authorization": "Bearer sk-ours", **kw.pop("headers", {})},
                **kw,
            )

    async def settled(self, count: int = 1) -> list[Settled]:
        await until(lambda: len(self.edge.settled()) == count)
        return self.edge.settled()


@pytest_asyncio.fixture
async def world() -> AsyncIterator[World]:
    made = World()
    made.maker, made.guardrails = Maker(), []
    server = serving(handled_by(made.maker.answer, "POST", body_bytes_max=50_000_000), port=made.maker.port)
    url = f"http://127.0.0.1:{made.maker.port}"
    entries = [
        {"model_name": name, "litellm_params": {"model": model, "api_key": f"sk-of-{id}", "api_base": url + base}, "model_info": {"id": id}}
        for name, model, base, id in (
            ("claude", "anthropic/claude-sonnet-4-5", "", "c1"),
            ("claude", "anthropic/claude-sonnet-4-5", "/second", "c2"),
            ("gpt", "openai/gpt-4o", "/v1", "g1"),
            ("both", "openai/gpt-4o", "/v1", "b1"),
        )
    ]  # fmt: skip
    async with server, Edge({}) as made.edge:
        made.edge.parts.targets = table.build(config.parse(json.dumps({"model_list": entries}), {}).deployments, "test")
        made.edge.parts.random = lambda: 0.5
        made.edge.bus.answers[subjects.POLICY_DECIDE] = made.decide
        yield made


# ── Anthropic's ──


async def test_anthropics_client_plain_stream_and_count(world: World) -> None:
    async with world.anthropic() as client:
        messages: Any = [{"role": "user", "content": "hi"}]
        whole = await client.messages.create(
            model="claude",
            max_tokens=9,
            messages=messages,
            metadata={"user_id": "u1"},
            extra_headers={"anthropic-beta": "b1"},
        )
        assert whole.content[0].text == "hi" and whole.usage.output_tokens == 5
        async with client.messages.stream(model="claude", max_tokens=9, messages=messages) as stream:
            text = "".join([piece async for piece in stream.text_stream])
        assert text == '"usage": {"output_tokens": 999}'
        counted = await client.messages.count_tokens(model="claude", messages=messages)
        assert counted.input_tokens == 14
    path, headers, body = world.maker.seen[0]
    assert (
        path == "/v1/messages"
        and headers["x-api-key"] in ("sk-of-c1", "sk-of-c2")
        and "sk-ours" not in str(world.maker.seen)
    )
    assert json.loads(body) == {
        "model": "claude-sonnet-4-5",
        "max_tokens": 9,
        "messages": messages,
        "metadata": {"user_id": "u1"},
    }
    assert headers["anthropic-beta"] == "b1" and headers["anthropic-version"]
    one, two, three = await world.settled(3)
    for fact in (one, two):
        assert (fact.usage.input_tokens, fact.usage.output_tokens, fact.usage.cached_tokens) == (20, 5, 8)
        assert fact.cost_picousd == cost(PRICE, fact.usage).picousd and fact.flags == ()
        assert (fact.opened.route, fact.opened.call_type, fact.opened.model) == (
            "/messages",
            "anthropic_messages",
            "claude",
        )
    assert one.opened.customer_id == "u1" and one.opened.tags == ["of-key"] and two.opened.stream
    assert three.cost_picousd == 0 and three.opened.route == "/messages/count_tokens"


@pytest.mark.parametrize("status", [429, 503, 529])
async def test_the_next_deployment_is_asked_and_each_has_its_row(world: World, status: int) -> None:
    world.maker.moods = [status, 200]
    answer = await world.post(
        "/v1/messages", json={"model": "claude", "max_tokens": 1, "messages": [{"role": "user", "content": "x"}]}
    )
    assert answer.status_code == 200 and answer.headers["request-id"] == "req_1" and "set-cookie" not in answer.headers
    first, second = await world.settled(2)
    assert (first.outcome, first.cost_picousd, second.outcome) == ("provider_error", 0, "success")
    assert {first.opened.deployment_id, second.opened.deployment_id} == {"c1", "c2"}
    assert answer.headers["x-litellm-model-id"] == second.opened.deployment_id
    assert answer.headers["x-tollgate-request-id"] == second.opened.id
    world.maker.moods = [status, status]
    last = await world.post(
        "/v1/messages", json={"model": "claude", "max_tokens": 1, "messages": [{"role": "user", "content": "x"}]}
    )
    assert last.status_code == status and last.json()["error"]["type"] == "overloaded_error", "as it was said"
    await world.settled(4)


# ── OpenAI's ──


async def test_openais_client_responses_speech_transcription_and_edit(world: World) -> None:
    async with world.openai() as client:
        whole = await client.responses.create(model="gpt", input="hi", metadata={"mine": "1"})
        assert whole.output_text == "hi"
        stream = await client.responses.create(model="gpt", input="hi", stream=True)
        assert [event.type async for event in stream] == ["response.output_text.delta", "response.completed"]
        spoken = await client.audio.speech.create(model="gpt", voice="alloy", input="say this")
        assert spoken.content == b"\xff\xf3sound" * 1000
        heard = await client.audio.transcriptions.create(model="gpt", file=("a.mp3", bytes(300_000)), prompt="names")
        assert heard.text == "hello"
        edited = await client.images.edit(model="gpt", image=("a.png", b"\x89PNG\r\n--x\r\n"), prompt="a hat")
        assert edited.data is not None and edited.data[0].b64_json == "eA=="
    assert [path for path, _, _ in world.maker.seen] == [
        "/v1/responses", "/v1/responses", "/v1/audio/speech", "/v1/audio/transcriptions", "/v1/images/edits",
    ]  # fmt: skip
    assert json.loads(world.maker.seen[0][2]) == {"model": "gpt-4o", "input": "hi", "metadata": {"mine": "1"}}
    assert all(headers["authorization"] == "Bearer sk-of-g1" for _, headers, _ in world.maker.seen)
    form = Form(world.maker.seen[3][1]["content-type"], world.maker.seen[3][2])
    assert (
        form.fields["model"] == "gpt-4o"
        and form.fields["prompt"] == "names"
        and bytes(300_000) in world.maker.seen[3][2]
    )
    facts = await world.settled(5)
    assert [fact.usage.input_tokens for fact in facts] == [20, 20, 0, 14, 20]
    assert facts[2].usage.input_characters == 8 and facts[2].usage.source == "estimated"
    assert [fact.opened.call_type for fact in facts] == [
        "aresponses",
        "aresponses",
        "aspeech",
        "atranscription",
        "aimage_edit",
    ]


async def test_a_model_that_does_not_speak_the_wire_says_so(world: World) -> None:
    answer = await world.post(
        "/v1/messages", json={"model": "gpt", "max_tokens": 1, "messages": [{"role": "user", "content": "x"}]}
    )
    assert answer.status_code in (400, 404) and "/messages" in answer.json()["error"]["message"]
    answer = await world.post("/v1/responses", json={"model": "claude", "input": "x"})
    assert answer.status_code in (400, 404) and not world.maker.seen and not world.edge.settled()


@pytest.mark.parametrize(
    ("path", "body", "param"),
    [
        ("/v1/messages", {"model": "claude"}, "messages"),
        ("/v1/messages", {"messages": []}, "model"),
        ("/v1/responses", {"model": "gpt", "input": "x", "api_base": "http://evil"}, None),
        ("/v1/responses", [], None),
        ("/v1/responses", {"model": "gpt", "input": "x", "metadata": 5}, None),
    ],
)
async def test_bad_input_is_a_clear_no(world: World, path: str, body: Any, param: str | None) -> None:
    answer = await world.post(path, json=body)
    assert 400 <= answer.status_code < 500 and answer.json()["error"]["message"]
    assert param is None or answer.json()["error"]["param"] == param
    assert not world.maker.seen


async def test_who_may_not_is_refused_before_anything_goes_out(world: World) -> None:
    world.denied = Denial(errors.model_not_allowed("gpt", "key"), 1, [], Caller(key_alias="k"), "key_models")
    for path, kw in (
        ("/v1/responses", {"json": {"model": "gpt", "input": "x"}}),
        ("/v1/audio/transcriptions", {"files": {"file": b"x"}, "data": {"model": "gpt"}}),
    ):
        answer = await world.post(path, **kw)
        assert answer.status_code in (401, 403) and not world.maker.seen
    await until(lambda: len([f for f in world.edge.facts() if isinstance(f, Refused)]) == 2)


# ── guardrails, limits ──


def screening(asked: ScreenRequest) -> Verdict:
    outcomes = [GuardrailOutcome(name, asked.stage, "allow") for name in asked.guardrails]
    if any("forbidden" in text for text in asked.texts):
        return Verdict("block", outcomes, "no")
    found = [
        Redaction(i, text.index("secret"), text.index("secret") + 6, "[X]")
        for i, text in enumerate(asked.texts)
        if "secret" in text
    ]
    if found:
        outcomes = [msgspec.structs.replace(each, action="redact") for each in outcomes]
    return Verdict("redact" if found else "allow", outcomes, "", redactions=found)


async def test_guardrails_see_every_string_and_their_redactions_are_forwarded(world: World) -> None:
    world.edge.bus.answers[subjects.MODERATION_SCREEN] = screening
    world.guardrails = [GuardrailRef("g", ["pre_call"])]
    body = {
        "model": "claude",
        "max_tokens": 1,
        "system": "a secret",
        "messages": [{"role": "user", "content": [{"type": "text", "text": "my secret"}]}],
    }
    assert (await world.post("/v1/messages", json=body)).status_code == 200
    sent = json.loads(world.maker.seen[0][2])
    assert sent["system"] == "a [X]" and sent["messages"][0]["content"][0]["text"] == "my [X]"
    for wrong in (
        {**body, "system": "forbidden"},
        {**body, "tools": [{"name": "x", "input_schema": {"description": "forbidden"}}]},
        {**body, "metadata": {"user_id": "forbidden"}},
    ):
        assert (await world.post("/v1/messages", json=wrong)).status_code == 400
    for file, prompt in ((b"x", "forbidden"), (b"a forbidden text", "a")):
        form = {"model": "gpt", "prompt": prompt}
        assert (await world.post("/v1/audio/transcriptions", files={"file": file}, data=form)).status_code == 400
    assert (
        await world.post("/v1/audio/transcriptions", files={"file": b"x"}, data={"model": "gpt", "prompt": "secret"})
    ).status_code == 503
    assert len(world.maker.seen) == 1, "not a byte went out"


@pytest.mark.parametrize("stream", [False, True])
async def test_an_answer_is_held_until_a_guardrail_has_seen_it(world: World, stream: bool) -> None:
    def verdict(asked: ScreenRequest) -> Verdict:
        assert asked.stage == "post_call"
        said = "".join(asked.texts)
        return Verdict("block", [], "no") if "999" in said or said.endswith("hi") else Verdict("allow", [])

    world.edge.bus.answers[subjects.MODERATION_SCREEN] = verdict
    world.guardrails = [GuardrailRef("g", ["post_call"])]
    body = {"model": "claude", "max_tokens": 1, "stream": stream, "messages": [{"role": "user", "content": "x"}]}
    answer = await world.post("/v1/messages", json=body)
    assert answer.status_code == 400 and "999" not in answer.text and '"hi"' not in answer.text
    (fact,) = await world.settled()
    assert fact.outcome == "blocked" and fact.usage.output_tokens == 5, "it was billed all the same"


async def test_limits_of_answers_and_files(world: World) -> None:
    world.edge.parts.sizes = msgspec.structs.replace(
        world.edge.parts.sizes, response_mb=0.001, blocked_extensions=("exe",)
    )
    answer = await world.post("/v1/audio/speech", json={"model": "gpt", "voice": "x", "input": "x"})
    assert answer.status_code == 400 and "Response size is too large" in answer.json()["error"]["message"]
    (fact,) = await world.settled()
    assert fact.outcome == "blocked"
    answer = await world.post("/v1/audio/transcriptions", files={"file": ("a.exe", b"x")}, data={"model": "gpt"})
    assert answer.status_code == 400 and len(world.maker.seen) == 1


@pytest.mark.parametrize(
    ("body", "wrong"),
    [
        (b'--b\r\nContent-Disposition: form-data; name="model"\r\n\r\ngpt\r\n--b--\r\n', ""),
        (b'--b\r\nContent-Disposition: form-data; name="model"\r\n\r\n\r\n--b--', ""),
        (b'\r\n--b\r\nContent-Disposition: form-data; name=model\r\n\r\ngpt\r\n--b--', ""),
        (2 * b'--b\r\nContent-Disposition: form-data; name=model\r\n\r\na\r\n' + b"--b--", "more than one"),
        (2 * b'--b\r\nContent-Disposition: form-data; name="model"\r\n\r\na\r\n' + b"--b--", "more than one"),
        (b'--b\r\nContent-Disposition: form-data; name="Model"\r\n\r\na\r\n--b--', "more than one"),
        (b'--b\r\nContent-Disposition: form-data; name="model"; filename="x"\r\n\r\na\r\n--b--', "file"),
        (b'--b\r\nContent-Disposition: form-data; name="model"\r\n\r\ngpt', "middle"),
        (b'x--b\r\n\r\n--b--', "begin"),
        (b'--b\r\nContent-Disposition: form-data\r\n\r\nx\r\n--b--', "no name"),
        (b'--b\r\nContent-Disposition: form-data; name="x"\r\n\r\n\xff\r\n--b--', "UTF-8"),
        (b"", "begin"),
    ],
)  # fmt: skip
def test_forms(body: bytes, wrong: str) -> None:
    if wrong:
        with pytest.raises(MultipartError, match=wrong):
            Form("multipart/form-data; boundary=b", body)
        return
    form = Form('multipart/form-data; boundary="b"', body)
    assert Form("multipart/form-data; boundary=b", form.with_model("other")).fields == {"model": "other"}
