"""Usage in the wires of Anthropic, Gemini, Bedrock, Cohere and Ollama."""

import json
from typing import Any

import pytest

from services.edge.usage import native as usage
from shared.billing import Usage
from tests.edge.usage.test_usage_readers import used

NATIVE: list[tuple[str, dict[str, Any], Usage]] = [
    (
        "anthropic",
        {
            "usage": {
                "input_tokens": 12,
                "output_tokens": 34,
                "cache_read_input_tokens": 100,
                "cache_creation_input_tokens": 50,
                "cache_creation": {"ephemeral_1h_input_tokens": 20},
                "output_tokens_details": {"thinking_tokens": 5},
                "server_tool_use": {"web_search_requests": 2},
                "service_tier": "batch",
            }
        },
        used(
            162,
            34,
            cached_tokens=100,
            cache_write_tokens=50,
            cache_write_1h_tokens=20,
            reasoning_tokens=5,
            searches=2,
            service="batch",
        ),
    ),
    (
        "anthropic",
        {"type": "message_start", "message": {"usage": {"input_tokens": 12, "output_tokens": 1}}},
        used(12, 1),
    ),
    (
        "gemini",
        {
            "usageMetadata": {
                "promptTokenCount": 10,
                "candidatesTokenCount": 20,
                "thoughtsTokenCount": 5,
                "totalTokenCount": 35,
                "cachedContentTokenCount": 3,
            }
        },
        used(10, 25, cached_tokens=3, reasoning_tokens=5),
    ),
    (
        "gemini",
        {
            "usageMetadata": {
                "promptTokenCount": 10,
                "candidatesTokenCount": 20,
                "totalTokenCount": 30,
                "promptTokensDetails": [{"modality": "AUDIO", "tokenCount": 6}],
                "serviceTier": "flex",
            }
        },
        used(10, 20, audio_input_tokens=6, service="flex"),
    ),
    (
        "bedrock",
        {
            "usage": {"inputTokens": 12, "outputTokens": 34, "totalTokens": 46, "cacheReadInputTokens": 8},
            "serviceTier": {"type": "priority"},
        },
        used(20, 34, cached_tokens=8, service="priority"),
    ),
    (
        "cohere",
        {"usage": {"billed_units": {"input_tokens": 7.0, "output_tokens": 9.0}, "tokens": {"input_tokens": 70.0}}},
        used(7, 9),
    ),
    (
        "cohere",
        {"type": "message-end", "delta": {"usage": {"billed_units": {"input_tokens": 7, "output_tokens": 9}}}},
        used(7, 9),
    ),
    ("cohere", {"meta": {"billed_units": {"input_tokens": 7}}}, used(7, 0)),
    ("ollama", {"prompt_eval_count": 7, "eval_count": 9, "done": True}, used(7, 9)),
]


@pytest.mark.parametrize(("wire", "body", "expected"), NATIVE)
def test_other_wires(wire: str, body: dict[str, Any], expected: Usage) -> None:
    assert usage.read(wire, json.dumps(body).encode()) == expected


@pytest.mark.parametrize("wire", usage.READERS)
@pytest.mark.parametrize("body", [b"", b"{}", b"[]", b"null", b'{"usage":{}}', b'{"usage":5}', b"[" * 9999])
def test_no_wire_makes_usage_of_nothing(wire: str, body: bytes) -> None:
    assert usage.read(wire, body) is None
