"""Every spelling of usage that providers are known to write, and what it comes to."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.edge.usage import native as usage
from services.edge.usage.reconcile import filled, is_half
from services.edge.usage.tap import Tap
from shared import prices
from shared.billing import Usage, cost
from shared.money import CALL_TOKENS_MAX

P, C, T = "prompt_tokens", "completion_tokens", "total_tokens"
PD, CD = "prompt_tokens_details", "completion_tokens_details"


def said(tree: dict[str, Any], **more: Any) -> Usage | None:
    beside = {name: more.pop(name) for name in ("service_tier",) if name in more}
    return usage.read("openai", json.dumps({"usage": tree, **beside}).encode(), **more)


def used(given: int = 0, made: int = 0, **more: Any) -> Usage:
    return Usage(given, made, source="provider", **more)


OPENAI: list[tuple[str, dict[str, Any], Usage]] = [
    ("openai", {P: 10, C: 20, T: 30}, used(10, 20)),
    (
        "openai",
        {P: 10, C: 20, T: 30, PD: {"cached_tokens": 4, "audio_tokens": 0}, CD: {"reasoning_tokens": 5}},
        used(10, 20, cached_tokens=4, reasoning_tokens=5),
    ),
    (
        "openai audio",
        {P: 100, C: 50, T: 150, PD: {"audio_tokens": 80, "cached_tokens": 0}, CD: {"audio_tokens": 40}},
        used(100, 50, audio_input_tokens=80, audio_output_tokens=40),
    ),
    (
        "openai cached audio",
        {
            P: 100,
            C: 0,
            T: 100,
            PD: {"audio_tokens": 80, "cached_tokens": 30, "cached_tokens_details": {"audio_tokens": 30}},
        },
        used(100, 0, cached_tokens=30, audio_input_tokens=50, cached_audio_tokens=30),
    ),
    (
        "responses",
        {
            "input_tokens": 10,
            "output_tokens": 20,
            T: 30,
            "input_tokens_details": {"cached_tokens": 3},
            "output_tokens_details": {"reasoning_tokens": 7},
        },
        used(10, 20, cached_tokens=3, reasoning_tokens=7),
    ),
    (
        "images",
        {
            "input_tokens": 50,
            "output_tokens": 1000,
            T: 1050,
            "input_tokens_details": {"image_tokens": 40, "text_tokens": 10},
            "output_tokens_details": {"image_tokens": 1000},
        },
        used(50, 1000, image_input_tokens=40, image_output_tokens=1000),
    ),
    (
        "transcription",
        {
            "type": "tokens",
            "input_tokens": 14,
            "input_token_details": {"text_tokens": 0, "audio_tokens": 14},
            "output_tokens": 45,
            T: 59,
        },
        used(14, 45, audio_input_tokens=14),
    ),
    ("transcription", {"type": "duration", "seconds": 12.5}, used(input_ms=12_500)),
    (
        "deepseek",
        {P: 10, C: 20, T: 30, "prompt_cache_hit_tokens": 8, "prompt_cache_miss_tokens": 2},
        used(10, 20, cached_tokens=8),
    ),
    ("moonshot", {P: 10, C: 20, T: 30, "cached_tokens": 8}, used(10, 20, cached_tokens=8)),
    (
        "xai: reasoning only in the total",
        {P: 10, C: 20, T: 130, CD: {"reasoning_tokens": 100}},
        used(10, 120, reasoning_tokens=100),
    ),
    ("xai: live search", {P: 10, C: 20, T: 30, "num_sources_used": 4}, used(10, 20, searches=4)),
    (
        "anthropic's names",
        {P: 2010, C: 20, T: 2030, "cache_read_input_tokens": 1500, "cache_creation_input_tokens": 500},
        used(2010, 20, cached_tokens=1500, cache_write_tokens=500),
    ),
    (
        "input without the cached",
        {P: 10, C: 20, T: 1530, "cache_read_input_tokens": 1500},
        used(1510, 20, cached_tokens=1500),
    ),
    (
        "input without either",
        {P: 10, C: 20, T: 2030, "cache_read_input_tokens": 1500, "cache_creation_input_tokens": 500},
        used(2010, 20, cached_tokens=1500, cache_write_tokens=500),
    ),
    (
        "input without, no total",
        {P: 10, C: 20, "cache_read_input_tokens": 1500},
        used(1510, 20, cached_tokens=1500, flags=("cached_tokens",)),
    ),
    (
        "dashscope's writes",
        {
            P: 2500,
            C: 20,
            T: 2520,
            PD: {
                "text_tokens": 2500,
                "cached_tokens": 0,
                "cache_creation_input_tokens": 2400,
                "cache_creation": {"ephemeral_5m_input_tokens": 2400},
                "cache_type": "ephemeral",
            },
        },
        used(2500, 20, cache_write_tokens=2400),
    ),
    (
        "litellm's writes",
        {
            P: 300,
            C: 2,
            T: 302,
            PD: {
                "cached_tokens": 0,
                "cache_creation_tokens": 250,
                "cache_creation_token_details": {"ephemeral_1h_input_tokens": 200},
            },
        },
        used(300, 2, cache_write_tokens=250, cache_write_1h_tokens=200),
    ),
    (
        "openrouter",
        {P: 10, C: 20, T: 30, "cost": 0.1, PD: {"cached_tokens": 1, "cache_write_tokens": 2, "audio_tokens": None}},
        used(10, 20, cached_tokens=1, cache_write_tokens=2),
    ),
    (
        "perplexity",
        {P: 10, C: 20, T: 30, "search_context_size": "high", "num_search_queries": 3, "cost": {"total_cost": 1}},
        used(10, 20, searches=3, search_context="high"),
    ),
    ("mistral audio", {P: 10, C: 20, T: 30, "prompt_audio_seconds": 7}, used(10, 20, input_ms=7000)),
    ("server tools", {P: 10, C: 20, T: 30, "server_tool_use": {"web_search_requests": 2}}, used(10, 20, searches=2)),
    ("strings", {P: "10", C: "20.0", T: "30"}, used(10, 20)),
    ("floats", {P: 10.0, C: 20.0, T: 30.0}, used(10, 20)),
    ("one odd field", {P: 10, C: {"x": 1}, T: 30}, used(10, 20, flags=("completion_tokens",))),
    (
        "odd details",
        {P: 10, C: 20, T: 30, PD: "none", CD: {"reasoning_tokens": "many"}},
        used(10, 20, flags=("reasoning_tokens",)),
    ),
    ("below zero", {P: 10, C: -5, T: 30}, used(10, 20, flags=("completion_tokens",))),
    ("a list of ids", {P: [1, 2, 3], C: 4}, used(3, 4)),
    ("no total", {P: 10, C: 20}, used(10, 20)),
    ("no prompt", {C: 20, T: 30}, used(10, 20)),
    ("no completion", {P: 10, T: 30}, used(10, 20)),
    ("only the prompt", {P: 10}, used(10, 0, flags=("completion_tokens",))),
    ("only the completion", {C: 10}, used(0, 10, flags=("prompt_tokens",))),
    ("only a total", {T: 30}, used(0, 30, flags=("total_tokens", "prompt_tokens"))),
    ("an empty prompt", {P: 0, C: 20, T: 20}, used(0, 20, flags=("prompt_tokens",))),
    ("more than its parts", {P: 10, C: 20, T: 99}, used(10, 89, flags=("total_tokens",))),
    ("less than its parts", {P: 10, C: 20, T: 5}, used(10, 20, flags=("total_tokens",))),
    (
        "more thought than written",
        {P: 10, C: 20, T: 30, CD: {"reasoning_tokens": 50}},
        used(10, 20, reasoning_tokens=20, flags=("reasoning_tokens",)),
    ),
    ("beyond any call", {P: 10**30, C: 20}, used(CALL_TOKENS_MAX, 20)),
]


@pytest.mark.parametrize(("name", "tree", "expected"), OPENAI, ids=[f"{i}-{row[0]}" for i, row in enumerate(OPENAI)])
def test_openais_wire(name: str, tree: dict[str, Any], expected: Usage) -> None:
    assert said(tree) == expected


def test_what_gemini_thought_is_in_the_total_alone() -> None:
    tree = {P: 10, C: 20, T: 130}
    assert said(tree, provider="gemini") == used(10, 120, reasoning_tokens=100)
    assert said(tree, provider="openai") == used(10, 120, flags=("total_tokens",))


def test_a_lone_total_of_embeddings_is_all_input() -> None:
    assert said({T: 30}, generates=False) == used(30, 0)
    assert said({P: 30, T: 30}, generates=False) == used(30, 0)


@pytest.mark.parametrize(
    ("tier", "service"),
    [
        ("flex", "flex"),
        ("priority", "priority"),
        ("batch", "batch"),
        ("default", ""),
        ("auto", ""),
        ("on_demand", ""),
        (None, ""),
        (5, ""),
    ],
)
def test_service_tiers(tier: Any, service: str) -> None:
    for tree in ({P: 1, C: 1, T: 2}, {P: 1, C: 1, T: 2, "odd": 1}):
        found = said(tree, service_tier=tier)
        assert found is not None and found.service == service
    inside = said({P: 1, C: 1, T: 2, "service_tier": tier})
    assert inside is not None and inside.service == service


@pytest.mark.parametrize(
    "body",
    [
        {"x_groq": {"id": "r", "usage": {P: 10, C: 20, T: 30}}, "choices": []},
        {"usage": None, "choices": [{"index": 0, "delta": {}, "usage": {P: 10, C: 20, T: 30}}]},
        {"usage": {P: 10, C: 20, T: 30}},
    ],
)
def test_wherever_it_stands(body: dict[str, Any]) -> None:
    assert usage.read("openai", json.dumps(body).encode()) == used(10, 20)


@pytest.mark.parametrize(
    "body",
    [
        b"{}", b"", b"[]", b"null", b'{"usage":null}', b'{"usage":[]}', b'{"usage":{}}', b'{"usage":{"total_tokens":0}}', b"[" * 9999,
        b'{"usage":{"prompt_tokens":0,"completion_tokens":0,"total_tokens":0}}', b'{"x_groq":{}}', b'{"choices":[{"usage":7}]}',
        b'{"usage":{"prompt_tokens":NaN}}', b'{"usage":{"prompt_tokens":"many"}}',
    ],
)  # fmt: skip
def test_nothing_said_and_placeholder_zeros_are_no_usage(body: bytes) -> None:
    assert usage.read("openai", body) is None


NAMES = [
    P,
    C,
    T,
    PD,
    CD,
    "cached_tokens",
    "reasoning_tokens",
    "audio_tokens",
    "cache_read_input_tokens",
    "seconds",
    "service_tier",
]
JUNK = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(NAMES), inner, max_size=4),
    max_leaves=12,
)


@given(st.dictionaries(st.sampled_from(NAMES), JUNK), st.booleans())
def test_whatever_is_written_there_it_is_bounded_and_fits_together(tree: dict[str, Any], generates: bool) -> None:
    found = said(tree, generates=generates)
    if found is not None:
        counts = [
            value for value in (getattr(found, name) for name in Usage.__struct_fields__) if isinstance(value, int)
        ]
        assert all(0 <= count <= CALL_TOKENS_MAX for count in counts)
        assert found.reasoning_tokens <= found.output_tokens
        assert found.source == "provider"


@given(st.integers(1, 10**6), st.integers(0, 10**6), st.integers(0, 10**6), st.integers(0, 10**6))
def test_the_same_numbers_in_other_spellings_are_the_same_usage(
    given: int, made: int, cached: int, reasoning: int
) -> None:
    cached, reasoning = min(cached, given), min(reasoning, made)
    expected = used(given, made, cached_tokens=cached, reasoning_tokens=reasoning)
    plain = {P: given, C: made, T: given + made, PD: {"cached_tokens": cached}, CD: {"reasoning_tokens": reasoning}}
    assert said(plain) == expected
    assert said({**plain, "unknown": 1}) == expected
    assert (
        said(
            {
                P: str(given),
                C: float(made),
                T: given + made,
                "prompt_cache_hit_tokens": cached,
                CD: {"reasoning_tokens": reasoning},
            }
        )
        == expected
    )
    gemini = {
        "promptTokenCount": given,
        "candidatesTokenCount": made - reasoning,
        "thoughtsTokenCount": reasoning,
        "totalTokenCount": given + made,
        "cachedContentTokenCount": cached,
    }
    assert usage.read("gemini", json.dumps({"usageMetadata": gemini}).encode()) == expected
    anthropic = {
        "input_tokens": given - cached,
        "output_tokens": made,
        "cache_read_input_tokens": cached,
        "output_tokens_details": {"thinking_tokens": reasoning},
    }
    assert usage.read("anthropic", json.dumps({"usage": anthropic}).encode()) == expected


def test_the_side_that_wasnt_said_is_counted_by_us_and_flagged() -> None:
    counted = Usage(7, 8, source="estimated")
    only_prompt, only_completion, whole = said({P: 10}), said({C: 20}), said({P: 10, C: 20})
    assert only_prompt is not None and only_completion is not None and whole is not None
    assert is_half(only_prompt, generates=True) and is_half(only_completion, generates=True)
    assert not is_half(whole, generates=True)
    assert filled(only_prompt, counted) == used(10, 8, flags=("completion_tokens",))
    assert filled(only_completion, counted) == used(7, 20, flags=("prompt_tokens",))
    placeholder = said({P: 10, C: 0, T: 10})
    assert (
        placeholder is not None and is_half(placeholder, generates=True) and not is_half(placeholder, generates=False)
    )
    assert filled(placeholder, counted) == used(10, 8, flags=("completion_tokens",))
    assert filled(placeholder, Usage(7, 0)) == used(10, 0)  # nothing was written: the zero is true


RESPONSE: dict[str, Any] = {"object": "response", "usage": {"input_tokens": 10, "output_tokens": 5, "total_tokens": 15}}
SEARCH: dict[str, Any] = {"type": "web_search_call", "status": "completed", "action": {"type": "search", "query": "x"}}


@pytest.mark.parametrize(
    ("output", "searches", "flags"),
    [
        ([SEARCH, {"type": "message", "content": []}, SEARCH], 2, ()),
        ([{"type": "web_search_call", "status": "completed"}], 1, ()),
        ([{**SEARCH, "action": {"type": "open_page", "url": "x"}}, {**SEARCH, "status": "failed"}, SEARCH], 1, ()),
        ([{"type": "function_call", "name": "web_search_call"}], 0, ()),
        ([{"type": "file_search_call"}, {"type": "code_interpreter_call"}, {"type": "file_search_call"}], 0,
         ("unpriced:file_search", "unpriced:code_interpreter")),
        ("_call", 0, ()),
        ([7, "_call"], 0, ()),
        ([7, {"type": "reasoning", "status": None}, {"type": "x", "action": ["odd"]}, {**SEARCH, "status": None}], 1, ()),
    ],
)  # fmt: skip
def test_what_a_providers_own_tools_did_is_billed_beside_the_tokens(output: Any, searches: int, flags: Any) -> None:
    found = usage.read("openai", json.dumps({**RESPONSE, "output": output}).encode(), provider="openai")
    assert found == used(10, 5, searches=searches, flags=flags)
    streamed = Tap("openai", "openai", "text/event-stream")
    event = {"type": "response.completed", "response": {**RESPONSE, "output": output}}
    streamed.feed(b"data: %b\n\n" % json.dumps(event).encode())
    assert streamed.finish() == found


def test_a_search_of_gpt_5_costs_a_cent() -> None:
    found = usage.read("openai", json.dumps({**RESPONSE, "output": [SEARCH] * 4}).encode(), provider="openai")
    price = prices.lookup("openai", "gpt-5")
    assert found is not None and price is not None
    came = cost(price, found)
    assert (came.picousd, came.flags) == (10 * 1_250_000 + 5 * 10_000_000 + 4 * 10_000_000_000, ())


def test_a_transcription_in_full_says_how_long_the_sound_was() -> None:
    said = {"task": "transcribe", "language": "english", "duration": 8.47, "text": "x", "segments": []}
    assert usage.read("openai", json.dumps(said).encode()) == used(input_ms=8_470)
    assert usage.read("openai", json.dumps({**said, "choices": []}).encode()) is None
