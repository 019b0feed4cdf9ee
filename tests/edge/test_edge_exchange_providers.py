"""Providers that refuse, break off, stay silent or cannot be reached: one end, an honest price, and
the next candidate.
"""

import asyncio
import json
import time
from typing import Any

import msgspec
import pytest

from shared.billing import Usage
from tests.edge.conftest import Start
from tests.edge.fakes import (
    STREAM_HEAD,
    USAGE_EVENT,
    Peer,
    always,
    chunk,
    completion,
    delta,
    response,
)
from tests.edge.harness import dead_url, full_backlog, silent, told

pytestmark = pytest.mark.usefixtures("impatient")
COST = 10 * 1_000_000 + 5 * 2_000_000


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


CLOSED_HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n"
LAST = delta("end").replace(b'"delta"', b'"finish_reason": "stop", "delta"')


@pytest.mark.parametrize("reason", ["null", '""'])
async def test_a_clean_end_in_the_middle_of_a_stream_is_no_success(start: Start, reason: str) -> None:
    choice = b'{"index":0,"delta":{"content":"three words here"},"finish_reason":%b}' % reason.encode()
    said = b'data: {"id":"chatcmpl-p","choices":[%b]}\n\n' % choice
    edge = await start(always(CLOSED_HEAD, said, close=True))
    answer = await edge.chat(stream=True)
    assert answer.body.startswith(said)
    assert b"[DONE]" not in answer.body and b'"error"' in answer.body
    _, settled = await told(edge)
    assert (settled.outcome, settled.usage) == ("provider_error", Usage(2, 3, source="lower_bound"))


@pytest.mark.parametrize("last", [LAST, LAST.rstrip(), USAGE_EVENT])
async def test_a_stream_that_said_all_is_whole_without_done(start: Start, last: bytes) -> None:
    edge = await start(always(CLOSED_HEAD, delta("three words here"), last, close=True))
    answer = await edge.chat(stream=True)
    assert answer.body.endswith(b"data: [DONE]\n\n")
    assert (await told(edge))[1].outcome == "success"


@pytest.mark.parametrize("more", [b"", b"data: [DONE]\n\n"])
async def test_an_error_event_of_the_provider_passes_and_is_the_outcome(start: Start, more: bytes) -> None:
    event = b'data: {"error": {"message": "overloaded", "type": "x", "param": null, "code": null}}\n\n'
    said = delta('says \\"error\\": {} and "usage": too')
    edge = await start(always(STREAM_HEAD, chunk(said), chunk(event + more), b"0\r\n\r\n"))
    answer = await edge.chat(stream=True)
    assert answer.body == said + event
    _, settled = await told(edge)
    assert (settled.outcome, settled.status, settled.usage.source) == ("provider_error", 502, "lower_bound")


async def test_when_a_provider_says_to_come_back_reaches_the_client(start: Start) -> None:
    extra = "retry-after: 7\r\nretry-after-ms: 7000\r\nset-cookie: a=b\r\n"
    edge = await start(always(response(b'{"error": {}}', "429 Too Many", extra=extra)))
    answer = await edge.chat()
    assert (answer.headers["retry-after"], answer.headers["retry-after-ms"]) == ("7", "7000")
    assert "set-cookie" not in answer.headers


async def test_an_error_nobody_can_unpack_keeps_its_status_and_when_to_come_back(start: Start) -> None:
    extra = "content-encoding: br\r\nretry-after: 7\r\n"
    edge = await start(always(response(b"\x0b\x02\x80junk", "429 Too Many", extra=extra)))
    answer = await edge.chat()
    assert (answer.status, answer.headers["retry-after"]) == (429, "7") and "content-encoding" not in answer.headers
    assert answer.error()["message"].endswith("answered with status 429")
    _, settled = await told(edge)
    assert (settled.status, settled.error_code, settled.cost_picousd) == (429, "provider_429", 0)


async def test_what_failed_can_be_found_in_the_book(start: Start) -> None:
    edge = await start(dead_url())
    answer = await edge.chat()
    opened, _ = await told(edge)
    assert answer.headers["x-tollgate-request-id"] == answer.headers["x-litellm-call-id"] == opened.id


@pytest.mark.parametrize(
    ("usage", "found"),
    [
        ({"prompt_tokens": 10.0, "completion_tokens": 5.0}, Usage(10, 5, source="provider")),
        (
            {"prompt_tokens": 1e300, "completion_tokens": -1},
            Usage(10**10, 2, source="provider", flags=("completion_tokens",)),
        ),
        ({"prompt_tokens": "10"}, Usage(10, 2, source="provider", flags=("completion_tokens",))),
        ("none", Usage(2, 2, source="estimated")),
    ],
)
async def test_odd_usage_costs_neither_the_id_nor_what_can_be_read(start: Start, usage: Any, found: Usage) -> None:
    edge = await start(always(response(completion(usage=usage))))
    assert (await edge.chat()).status == 200
    _, settled = await told(edge)
    assert (settled.usage, settled.response_id) == (found, "chatcmpl-p")


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


@pytest.mark.parametrize(
    "first", ["dead", "503 Service Unavailable", "429 Too Many", "500 X", "401 X", "403 X", "404 X", "529 X"]
)
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
        # The deployment's own deadline bounds both; the first one's connecting may take a part of
        # it.
        for found in edge.parts.targets.values():
            msgspec.structs.force_setattr(found.deadlines, "connect_ms", 100)
        assert (await edge.chat()).status == 200
        assert (await told(edge))[1].attempts == 2


@pytest.mark.parametrize("status", ["400 Bad Request", "413 X", "422 X"])
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
        await asyncio.sleep(1)
        await peer.send(response(b"{}", "503 X"))

    edge = await start(late, silent, timeout_s=1.5)
    before = time.monotonic()
    assert (await edge.chat()).status == 504
    assert time.monotonic() - before < 2.3, "not 1 s and then 1.5 s more"
    opened, _ = await told(edge)
    assert opened.expires_at_ms >= opened.at_ms + 1_500


async def test_with_none_left_it_is_the_last_ones_answer(start: Start) -> None:
    edge = await start(always(response(b"{}", "503 X")), always(response(b"{}", "500 X")))
    assert (await edge.chat()).status == 500
    assert (await told(edge))[1].attempts == 2
