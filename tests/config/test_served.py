"""Every model of every file in the likeness of real ones is called through the edge's own code,
against stand-ins that hold what they are asked to the providers' published schemas."""

import json
from typing import Any

import pytest

from services.edge.providers import table
from services.edge.routing.settings import with_defaults
from services.policy import catalog
from services.policy.catalog import Catalog
from shared import prices, subjects
from shared.config import Deployment
from shared.grant import Grant
from shared.requests import DecideReply, DecideRequest
from tests.config.stand_ins import Asked, StandIn, here
from tests.config.test_likeness import NAMES, loaded
from tests.edge.fakes import Provider
from tests.edge.harness import CALLER, Edge

RELAYED = ("whisper", "tts")
"""Byte for byte, by another way out than the others: tests/edge/relayed/test_relayed_calls.py calls
such models.
"""
EMBEDS = ("embed", "voyage", "bge-", "jina")
DRAWS = ("dall-e", "gpt-image")
HELLO = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hello you"}]


def call_of(deployment: Deployment, asked: str) -> tuple[str, dict[str, Any]]:
    """(path, body) that a client of such a model sends."""
    name = deployment.upstream_model.lower()
    if any(word in name for word in EMBEDS):
        return "/v1/embeddings", {"model": asked, "input": ["Hello you"]}
    if any(word in name for word in DRAWS):
        return "/v1/images/generations", {"model": asked, "prompt": "Hello you"}
    return "/v1/chat/completions", {"model": asked, "messages": HELLO}


async def test_every_model_of_every_file_is_served() -> None:
    stand_in, failed, called = StandIn(), {}, 0
    async with Provider(stand_in) as provider, Edge({"own": ["mock:hello"]}) as edge:
        for name in NAMES:
            config, environ = loaded(name)
            made = catalog.build(config, prices.lookup, environ)
            deployments = with_defaults(config.deployments, config)
            targets = table.build(deployments, "tollgate", config.litellm, environ)
            edge.parts.targets.update({each: here(target, provider.port) for each, target in targets.items()})
            for deployment in deployments:
                try:
                    called += await _called(edge, stand_in, made, deployment)
                except AssertionError as error:
                    failed[f"{name}: {deployment.model_name}"] = str(error)[:600]
                stand_in.asked.clear()
                stand_in.wrong.clear()
    assert not failed, "\n".join(f"{where}: {why}" for where, why in failed.items())
    assert called > 100


async def _called(edge: Edge, stand_in: StandIn, made: Catalog, deployment: Deployment) -> int:
    """How many calls were made; each checked."""
    asked = deployment.model_name.replace("*", "some-model")
    candidates = [each for each in made.candidates(asked) if each.deployment_id == deployment.id]
    assert candidates, asked

    def decide(request: DecideRequest) -> DecideReply:
        return DecideReply(Grant(CALLER, request.route, request.model, 1, ["control.model.>"], candidates))

    edge.bus.answers[subjects.POLICY_DECIDE] = decide
    edge.grants.forget_all()
    path, body = call_of(deployment, asked)
    if deployment.upstream_model.startswith(RELAYED):
        return 0
    chat = path.endswith("/chat/completions")
    for more in ({}, {"stream": True}) if chat else ({},):
        before = len(stand_in.asked)
        answer = await _ask(edge, path, {**body, **more})
        assert answer.status == 200 and not stand_in.wrong, (answer.body[:300], stand_in.wrong)
        if deployment.mock_response is not None:
            continue
        (seen,) = stand_in.asked[before:]
        _as_the_entry_says(deployment, candidates[0].upstream_model, seen, chat=chat)
        if chat:
            assert "Grüße" in (_streamed(answer.body) if more else str(json.loads(answer.body)))
    return 2 if chat else 1


def _streamed(body: bytes) -> str:
    *events, last, _ = body.split(b"\n\n")
    assert last == b"data: [DONE]"
    choices = [choice for event in events for choice in json.loads(event[6:])["choices"]]
    return "".join(choice["delta"].get("content") or "" for choice in choices)


def _as_the_entry_says(deployment: Deployment, model: str, seen: Asked, *, chat: bool) -> None:
    """Address, model, credential, headers and parameters."""
    last = model.removeprefix("converse/").rpartition("/")[2].removeprefix("us-east-1/")
    sent = json.dumps(seen.body) + seen.path
    assert last.replace(":", "%3A") in sent or last in sent, (model, seen.path, seen.body)
    key = deployment.api_key
    if key is not None and seen.wire != "":
        assert any(key.reveal() in value for value in seen.headers.values()) or "made-for-a-test" in str(seen.headers)
    for name, value in deployment.extra_headers.items():
        assert seen.headers[name.lower()] == value
    if chat and seen.wire == "openai":
        assert {*deployment.parameters, *deployment.params.extra_body} <= set(seen.body), seen.body


async def _ask(edge: Edge, path: str, body: dict[str, Any]) -> Any:
    async with await edge.connect() as caller:
        await caller.post(path, json.dumps(body).encode())
        return await caller.answer()


def test_the_schemas_are_really_looked_at() -> None:
    from tests.config.stand_ins import answered

    for path, body in (
        ("/v1/chat/completions", {"model": "m"}),
        ("/v1/messages", {"model": "m", "messages": []}),
        ("/v1beta/models/m:generateContent", {"contents": "text"}),
        ("/model/m/converse", {"messages": "text"}),
        ("/v2/chat", {"model": "m"}),
        ("/api/chat", {"model": "m", "max_tokens": 3}),
        ("/nowhere", {}),
    ):
        with pytest.raises((AssertionError, AttributeError, TypeError)):
            answered(path, body)
