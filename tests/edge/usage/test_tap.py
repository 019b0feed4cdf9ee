"""What a call used, read from answers of every wire while they flow by in pieces."""

import base64
import json
import struct
import tracemalloc
import zlib
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.edge.passthrough import spoken
from services.edge.passthrough.spoken import Spoken
from services.edge.usage.tap import HELD_BYTES_MAX, TAIL_BYTES, Tap
from shared.billing import Usage
from tests.edge.wires_kit import CLAUDE_EVENTS, MESSAGE, RESPONSE, sse

SSE, JSON, AWS = "text/event-stream; charset=utf-8", "application/json", "application/vnd.amazon.eventstream"


def amazon(*events: dict[str, Any]) -> bytes:
    found = b""
    for event in events:
        payload = json.dumps(event).encode()
        start = struct.pack(">II", 16 + len(payload), 0)
        message = start + struct.pack(">I", zlib.crc32(start)) + payload
        found += message + struct.pack(">I", zlib.crc32(message))
    return found


CHAT = {
    "id": "c",
    "model": "gpt-4o-2024-08-06",
    "choices": [{"message": {"content": "hi"}}],
    "usage": {
        "prompt_tokens": 20,
        "completion_tokens": 5,
        "total_tokens": 25,
        "prompt_tokens_details": {"cached_tokens": 8},
    },
}
GEMINI: dict[str, Any] = {
    "modelVersion": "gemini-2.0-flash",
    "candidates": [],
    "usageMetadata": {
        "promptTokenCount": 20,
        "cachedContentTokenCount": 8,
        "candidatesTokenCount": 5,
        "totalTokenCount": 25,
    },
}
CONVERSE = {
    "output": {},
    "usage": {"inputTokens": 12, "cacheReadInputTokens": 8, "outputTokens": 5, "totalTokens": 25},
}

CASES = {
    "chat": ("openai", JSON, json.dumps(CHAT).encode()),
    "chat stream": (
        "openai",
        SSE,
        sse(
            {"model": "gpt-4o-2024-08-06", "choices": [{"delta": {"content": "hi"}}], "usage": None},
            {"model": "gpt-4o-2024-08-06", "choices": [], "usage": CHAT["usage"]},
        )
        + b"data: [DONE]\n\n",
    ),
    "responses": ("openai", JSON, json.dumps(RESPONSE).encode()),
    "responses stream": (
        "openai",
        SSE,
        sse(
            {"type": "response.created", "response": {**RESPONSE, "usage": None}},
            {"type": "response.output_text.delta", "delta": "hi"},
            {"type": "response.completed", "response": RESPONSE},
            names=True,
        ),
    ),
    "messages": ("anthropic", JSON, json.dumps(MESSAGE).encode()),
    "messages stream": ("anthropic", SSE, sse(*CLAUDE_EVENTS, names=True)),
    "gemini": ("gemini", JSON, json.dumps(GEMINI).encode()),
    "gemini stream": (
        "gemini",
        SSE,
        sse({**GEMINI, "usageMetadata": {**GEMINI["usageMetadata"], "candidatesTokenCount": 1, "totalTokenCount": 21}}, GEMINI),
    ),
    "converse": ("bedrock", JSON, json.dumps(CONVERSE).encode()),
    "converse stream": (
        "bedrock",
        AWS,
        amazon({"contentBlockIndex": 0, "delta": {"text": "hi"}}, {"usage": CONVERSE["usage"], "metrics": {}}),
    ),
    "claude at bedrock": (
        "anthropic",
        AWS,
        amazon(*({"bytes": base64.b64encode(json.dumps(event).encode()).decode()} for event in CLAUDE_EVENTS)),
    ),
}  # fmt: skip


def read(wire: str, kind: str, body: bytes, step: int) -> Tap:
    tap = Tap(wire, "", kind)
    for at in range(0, len(body), step):
        tap.feed(body[at : at + step])
    tap.finish()
    return tap


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("step", [1, 7, 10**6])
def test_every_wire_in_pieces_of_any_size(case: str, step: int) -> None:
    tap = read(*CASES[case], step)
    assert tap.usage is not None
    assert (tap.usage.input_tokens, tap.usage.output_tokens, tap.usage.cached_tokens) == (20, 5, 8), tap.usage
    assert tap.usage.source == "provider" and tap.usage.flags == ()
    if "converse" not in case:
        assert tap.model in ("gpt-4o-2024-08-06", "claude-sonnet-4-5-20250929", "gemini-2.0-flash")


@pytest.mark.parametrize("bytes_", ["abc", "é", 7, None])
def test_amazons_events_that_hold_no_base64_say_nothing_and_break_nothing(bytes_: Any) -> None:
    good = {"bytes": base64.b64encode(json.dumps(CLAUDE_EVENTS[0]).encode()).decode()}
    tap = read("anthropic", AWS, amazon(good, {"bytes": bytes_}), 10**6)
    assert tap.usage is not None and tap.usage.input_tokens == 20


def test_a_long_answer_is_read_at_its_end_and_not_kept() -> None:
    vectors = b'{"object":"list","data":[' + b",".join([b'{"embedding":[' + b"0.12345," * 1500 + b"1]}"] * 800)
    body = vectors + b'],"model":"text-embedding-3-small","usage":{"prompt_tokens":7,"total_tokens":7}}'
    assert len(body) > 8 * HELD_BYTES_MAX
    tracemalloc.start()
    tap = Tap("openai", "openai", JSON, generates=False)
    for at in range(0, len(body), 65_536):
        tap.feed(body[at : at + 65_536])
    held = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert held < 3 * HELD_BYTES_MAX
    assert tap.finish() == Usage(7, 0, source="provider")


@pytest.mark.parametrize("end", [b"\n\n", b"\r\n\r\n", b"\r\r", b""])
def test_the_usage_behind_an_image_is_read_however_long_the_line_is(end: bytes) -> None:
    event = b'data: {"b64_json": "' + b"QUJD" * 700_000 + b'", "usage": {"input_tokens": 3, "output_tokens": 4}}'
    tap = Tap("openai", "openai", SSE)
    for at in range(0, len(event), 65_536):
        tap.feed(event[at : at + 65_536])
        assert len(tap._rest) <= HELD_BYTES_MAX
    tap.feed(end)
    found = tap.finish()
    assert found is not None and (found.input_tokens, found.output_tokens) == (3, 4)


@pytest.mark.parametrize("end", [b"\r", b"\r\n"])
def test_lines_end_however_they_end(end: bytes) -> None:
    """The usage before more events, each a line of its own."""
    tap = Tap("openai", "openai", SSE)
    tap.feed(sse(CHAT, {"choices": []}, {"choices": []}).replace(b"\n", end))
    assert tap.usage is not None and tap.usage.output_tokens == 5


def test_a_line_without_end_is_not_kept_and_what_follows_it_is_read() -> None:
    tap = Tap("openai", "", SSE)
    for _ in range(100):
        tap.feed(b"data: " + b"x" * 65_536)
    assert len(tap._rest) <= TAIL_BYTES
    tap.feed(b"\n\n" + sse({"choices": [], "usage": CHAT["usage"]}))
    found = tap.finish()
    assert found is not None and found.output_tokens == 5


@settings(max_examples=150, deadline=None)
@given(
    wire=st.sampled_from(["openai", "anthropic", "gemini", "bedrock", "cohere", "ollama"]),
    kind=st.sampled_from([SSE, JSON, AWS, "text/plain", "", "application/x-ndjson"]),
    pieces=st.lists(
        st.binary(max_size=60) | st.sampled_from([case[2][:90] for case in CASES.values()] + [b'{"usage":', b'"usage"']),
        max_size=6,
    ),
)  # fmt: skip
def test_whatever_comes_raises_nothing(wire: str, kind: str, pieces: list[bytes]) -> None:
    tap = Tap(wire, "", kind)
    for piece in pieces:
        tap.feed(piece)
    tap.finish()


@pytest.mark.parametrize(
    ("url", "found", "model"),
    [
        ("https://api.openai.com/v1/chat/completions", Spoken("openai", "openai"), ""),
        ("https://api.anthropic.com/v1/messages", Spoken("anthropic", "anthropic"), ""),
        (
            "https://generativelanguage.googleapis.com/v1beta/models/gemini-2.0-flash:streamGenerateContent?alt=sse",
            Spoken("gemini", "gemini"),
            "gemini-2.0-flash",
        ),
        (
            "https://bedrock-runtime.us-east-1.amazonaws.com/model/anthropic.claude-3-haiku-20240307-v1%3A0/invoke",
            Spoken("anthropic", "bedrock"),
            "anthropic.claude-3-haiku-20240307-v1:0",
        ),
        (
            "https://bedrock-runtime.eu-west-1.amazonaws.com/model/amazon.nova-lite-v1:0/converse-stream",
            Spoken("bedrock", "bedrock"),
            "amazon.nova-lite-v1:0",
        ),
        (
            "https://us-central1-aiplatform.googleapis.com/v1/projects/p/locations/l/publishers/anthropic/models/claude-opus-4:rawPredict",
            Spoken("anthropic", "vertex_ai"),
            "claude-opus-4",
        ),
        (
            "https://x.openai.azure.com/openai/deployments/gpt-4o/chat/completions?api-version=1",
            Spoken("openai", "azure"),
            "gpt-4o",
        ),
        ("http://10.0.0.5:8000/v1/chat/completions", Spoken("openai", ""), ""),
        ("https://api.openai.com.evil.example/v1/chat/completions", Spoken("openai", ""), ""),
        ("https://evilopenai.azure.com/x", Spoken("", ""), ""),
        ("https://example.com/x", Spoken("", ""), ""),
    ],
)
def test_what_an_address_tells(url: str, found: Spoken, model: str) -> None:
    assert spoken.of(url) == found and spoken.model_in(url) == model
