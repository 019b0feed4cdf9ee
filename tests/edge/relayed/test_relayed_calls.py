"""Anthropic's Messages, OpenAI's Responses, speech, transcriptions, image edits: as their makers'
own clients send them, byte for byte.
"""

import json
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest

from services.edge.own_hooks import OwnHooks
from services.edge.own_thread import OwnThread
from services.edge.passthrough.files import MultipartError
from services.edge.passthrough.form import Form
from shared import errors, subjects
from shared.billing import cost
from shared.facts import Caller, GuardrailOutcome, Refused
from shared.grant import Denial, GuardrailRef
from shared.requests import Redaction, ScreenRequest, Verdict
from shared.stand_ins import HTTPException
from tests.edge.fakes import always, response, until
from tests.edge.relayed.relayed_kit import GOOD, PRICE, Wires, World, asking, said, streamed
from tests.edge.wires_kit import RESPONSE, sse

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
    answer = await world.post("/v1/audio/speech", json={"model": "claude", "input": "x", "voice": "v"})
    assert answer.status_code in (400, 404) and "/audio/speech" in answer.json()["error"]["message"]
    assert not world.maker.seen and not world.edge.settled()


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


IMAGE = {"type": "image_generation.completed", "b64_json": "QUJD" * 400_000, "usage": RESPONSE["usage"]}


async def test_images_asked_for_as_a_stream_are_relayed_as_one(wires: Wires) -> None:
    """Their last event is long, and says behind the image what it cost."""
    events = [
        b'event: image_generation.partial_image\ndata: {"type": "image_generation.partial_image"}\n\n',
        sse(IMAGE),
    ]
    answer = await wires.ask("/v1/images/generations", streamed(*events), prompt="a cat", stream=True, partial_images=1)
    assert (answer.status, answer.body) == (200, b"".join(events))
    (fact,) = await wires.settled()
    assert (fact.outcome, fact.usage.input_tokens, fact.opened.call_type) == ("success", 20, "aimage_generation")
    assert json.loads(wires.providers[0].bodies[0])["stream"] is True


@pytest.mark.parametrize("text", [b"1\n00:00 --> 00:01\nhello", b'"hello"', b"\xff\xfe"])
async def test_a_hook_of_answers_is_not_asked_about_one_that_is_no_object(wires: Wires, text: bytes) -> None:
    async def no(**given: Any) -> None:
        raise HTTPException(400, "Not this answer")

    thread = OwnThread("answers_of_no_object")
    try:
        wires.edge.parts.own_hooks = OwnHooks([("h", SimpleNamespace(async_post_call_success_hook=no))], thread)
        await wires.deployed("/v1/audio/transcriptions", always(response(text, kind="text/plain")))
        answer = await wires.post("/v1/audio/transcriptions", files={"file": ("a.mp3", b"sound")}, data={"model": "m"})
        assert (answer.status_code, answer.content) == (200, text)
    finally:
        thread.close()


async def test_what_an_edge_notes_of_a_call_is_not_its_callers_to_say(wires: Wires) -> None:
    """Operators are told of fallbacks by it."""
    said = {"spend_logs_metadata": {"tollgate_fallback_to": "x", "mine": 1}}
    await wires.ask("/v1/responses", GOOD["/v1/responses"], metadata=said)
    (fact,) = await wires.settled()
    assert fact.opened.spend_logs_metadata == {"mine": 1}


async def test_where_thoughts_are_merged_and_customers_kept_out_calls_are_relayed_as_ever(wires: Wires) -> None:
    wires.edge.parts.records_customers = False
    await wires.deployed("/v1/responses", always(GOOD["/v1/responses"]), merge_reasoning_content_in_choices=True)
    async with await wires.edge.connect() as caller:
        await caller.post("/v1/responses", asking("/v1/responses", user="ann"))
        answer = await caller.answer()
    assert (answer.status, said(answer.body)) == (200, said(GOOD["/v1/responses"].partition(b"\r\n\r\n")[2]))
    (fact,) = await wires.settled()
    assert fact.opened.customer_id is None
