"""What users of other gateways reported of Messages and Responses in the hands of agents (Claude
Code, Codex): one row a report.
"""

import json
from typing import Any

import pytest

from services.edge.own_ids import IdRules
from tests.edge.fakes import LAST_CHUNK, STREAM_HEAD, Peer, chunk, response
from tests.edge.relayed.relayed_kit import ENDED, GOOD, Wires, World


def error(status: int, message: str, code: str | None = None) -> bytes:
    body = {"error": {"message": message, "type": "invalid_request_error", "param": None, "code": code}}
    return response(json.dumps(body).encode(), f"{status} X")


# ── errors as Anthropic's clients read them ──


@pytest.mark.parametrize(
    ("said", "status", "kind"),
    [
        (error(429, "slow down"), 429, "rate_limit_error"),
        (error(529, "too much"), 529, "overloaded_error"),
        (error(400, "no such field"), 400, "invalid_request_error"),
        (error(401, "our key"), 401, "authentication_error"),
        (response(b"<html>", "503 X"), 503, "api_error"),
        (response(b'{"type": "error", "error": {"type": "its_own", "message": "x"}}', "400 X"), 400, "its_own"),
        (response(b""), 502, "api_error"),
    ],
)
async def test_a_providers_error_is_anthropics(wires: Wires, said: bytes, status: int, kind: str) -> None:
    answer = await wires.ask("/v1/messages", said)
    assert answer.status == status
    found = answer.json()
    assert (found["type"], found["error"]["type"]) == ("error", kind) and found["error"]["message"]


@pytest.mark.parametrize(
    ("path", "body", "kind"),
    [
        ("/v1/messages", {"model": "claude"}, "invalid_request_error"),
        ("/v1/messages", {"model": "no-such", "messages": []}, "api_error"),
        ("/v1/messages/count_tokens", [], "invalid_request_error"),
    ],
)
async def test_so_is_our_own(world: World, path: str, body: Any, kind: str) -> None:
    found = (await world.post(path, json=body)).json()
    assert found["type"] == "error" and found["error"]["message"]
    assert found["error"]["type"] in (kind, "invalid_request_error")


async def test_the_error_of_another_route_is_openais_alone(world: World) -> None:
    assert list((await world.post("/v1/responses", json={"model": "gpt"})).json()) == ["error"]


# ── counting ──

SAID: dict[str, Any] = {"messages": [{"role": "user", "content": "one two three"}]}
MORE: dict[str, Any] = {
    "messages": [
        {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "t", "content": [
            {"type": "text", "text": "one two three"}, {"type": "tool_reference", "tool_name": "a"},
            {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "A" * 9_000}}]}]},
    ],
    "system": [{"type": "text", "text": "four five"}],
    "tools": [{"name": "get", "description": "six seven eight", "input_schema": {"type": "object"}}],
}  # fmt: skip


@pytest.mark.parametrize(("asked", "least", "most"), [(SAID, 3, 3), (MORE, 8, 20)])
async def test_where_nobody_counts_it_is_estimated(world: World, asked: dict[str, Any], least: int, most: int) -> None:
    answer = await world.post("/v1/messages/count_tokens?beta=true", json={"model": "gpt", **asked})
    assert answer.status_code == 200 and least <= answer.json()["input_tokens"] <= most
    assert answer.headers["x-tollgate-count"] == "estimated" and not world.maker.seen


@pytest.mark.parametrize("status", [404, 405, 501])
async def test_also_where_the_server_has_no_such_route(world: World, status: int) -> None:
    world.maker.moods = [status, status]
    answer = await world.post("/v1/messages/count_tokens", json={"model": "claude", **SAID})
    assert (answer.status_code, answer.json()) == (200, {"input_tokens": 3})


@pytest.mark.parametrize("status", [400, 401, 429, 500])
async def test_what_it_says_of_the_request_isnt_masked(world: World, status: int) -> None:
    world.maker.moods = [status, status]
    assert (await world.post("/v1/messages/count_tokens", json={"model": "claude", **SAID})).status_code == status


# ── what only one deployment has ──


@pytest.mark.parametrize(
    "said",
    [
        error(400, "Previous response with id 'resp_1' not found.", "previous_response_not_found"),
        error(404, "Previous response with id 'resp_1' not found."),
        error(400, "The encrypted content gAA could not be verified.", "invalid_encrypted_content"),
        error(404, "Item with id 'rs_1' not found. Items are not persisted when `store` is set to false."),
    ],
)
async def test_another_deployment_may_know_what_this_one_doesnt(wires: Wires, said: bytes) -> None:
    wires.edge.parts.id_rules = IdRules(of_nobody=True)
    answer = await wires.ask("/v1/responses", said, GOOD["/v1/responses"], previous_response_id="resp_1")
    assert answer.status == 200
    first, second = await wires.settled(2)
    assert (first.outcome, first.cost_picousd, second.outcome) == ("provider_error", 0, "success")


async def test_nobody_waits_for_the_words_of_one_that_is_down(wires: Wires) -> None:
    async def down(peer: Peer) -> None:
        await peer.request()
        await peer.send(b"HTTP/1.1 503 X\r\nContent-Length: 100\r\n\r\n")
        await peer.gone()

    async def up(peer: Peer) -> None:
        await peer.request()
        await peer.send(GOOD["/v1/responses"])

    await wires.deployed("/v1/responses", down, up)
    assert (await wires.post("/v1/responses", json={"model": "m", "input": "x"})).status_code == 200


async def test_when_nobody_knows_the_client_is_told(wires: Wires) -> None:
    said = error(400, "Previous response with id 'resp_1' not found.", "previous_response_not_found")
    answer = await wires.ask("/v1/responses", said, said)
    assert (answer.status, answer.json()["error"]["code"]) == (400, "previous_response_not_found")


async def test_a_bad_request_is_bad_everywhere(wires: Wires) -> None:
    answer = await wires.ask("/v1/responses", error(400, "no such field"), GOOD["/v1/responses"])
    assert answer.status == 400


# ── Codex's other routes ──


async def test_compact_is_booked_and_counting_is_free(world: World) -> None:
    for path in ("/v1/responses/compact", "/responses/input_tokens"):
        assert (await world.post(path, json={"model": "gpt", "input": "x"})).status_code == 200
    compacted, counted = await world.settled(2)
    assert [path for path, _, _ in world.maker.seen] == ["/v1/responses/compact", "/v1/responses/input_tokens"]
    assert compacted.cost_picousd and counted.cost_picousd == 0


async def test_proxies_before_us_are_told_not_to_collect_events_and_limits_have_both_names(wires: Wires) -> None:
    more = "x-ratelimit-remaining-requests: 7\r\nx-accel-buffering: yes\r\n"
    answer = await wires.ask(
        "/v1/responses", STREAM_HEAD.replace(b"\r\n\r\n", f"\r\n{more}\r\n".encode()) + chunk(ENDED) + LAST_CHUNK
    )
    headers = answer.headers
    assert (headers["x-accel-buffering"], headers["cache-control"]) == ("no", "no-cache")
    assert headers["x-ratelimit-remaining-requests"] == headers["llm_provider-x-ratelimit-remaining-requests"] == "7"
    assert (headers["x-litellm-attempted-retries"], headers["x-litellm-attempted-fallbacks"]) == ("0", "0")
    assert 0 < float(headers["x-litellm-response-duration-ms"]) < 60_000 and headers["x-litellm-version"]
