"""What the judge of relayed answers says of a body, however it comes."""

import pytest

from services.edge.passthrough.judge import Judge

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
