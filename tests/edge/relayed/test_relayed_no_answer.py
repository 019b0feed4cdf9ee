"""Answers of relayed calls that are none, or end in the middle: told as what they are, asked of the
next deployment, and free.
"""

import gzip
import json

import pytest

from tests.edge.fakes import STREAM_HEAD, chunk, response
from tests.edge.relayed.relayed_kit import ASKED, GOOD, Wires, said, streamed
from tests.edge.wires_kit import CLAUDE_EVENTS, RESPONSE, sse

ERROR = b'{"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}}'
FAILED_EVENT = b'event: response.failed\ndata: {"type": "response.failed", "response": {"status": "failed", "error": {"message": "died"}}}\n\n'
CUT = b"cut"
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
    one, two, three = await wires.settled(3)
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
    assert [fact.outcome for fact in await wires.settled(3)] == ["provider_error", "success", "provider_error"]


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
        said = b"".join((STREAM_HEAD, chunk(begin), chunk(b"data: {")))
        last = b"data: {\n\n" if path == "/v1/messages" else b""  # of Responses whole events go on, for their ids
    else:
        said = streamed(begin, last) if last else streamed(begin)
    answer = await wires.ask(path, said, stream=True)
    assert answer.status == 200 and answer.body.startswith(begin + last)
    rest = answer.body[len(begin + last) :]
    assert added in rest and bool(rest) == bool(added) and (not rest or rest.startswith(b"event: error\ndata: {"))
    assert [fact.outcome for fact in await wires.settled()] == ["provider_error"]


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
    assert said(answer.body) == said(body) and "content-encoding" not in answer.headers
    (fact,) = await wires.settled()
    assert fact.usage.input_tokens == 20


async def test_a_response_that_failed_is_passed_on_and_booked_as_failed(wires: Wires) -> None:
    body = json.dumps({"object": "response", "status": "failed", "error": {"message": "died"}, **RESPONSE}).encode()
    answer = await wires.ask("/v1/responses", response(body))
    assert (answer.status, said(answer.body)) == (200, said(body))
    assert [fact.outcome for fact in await wires.settled()] == ["provider_error"]
