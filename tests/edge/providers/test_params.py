"""What an entry adds to a request, and what its provider doesn't take."""

import json
from typing import Any

import msgspec
import pytest

from services.edge.providers import params
from shared.errors import RefusedError


def applied(given: dict[str, Any], provider: str = "anthropic", model: str = "claude-sonnet-4-5", **more: Any) -> Any:
    fields = msgspec.json.decode(json.dumps(given), type=dict[str, msgspec.Raw])
    found = params.of(provider, model, **more)
    made = fields if found is None else found.apply(fields)
    return {name: json.loads(bytes(raw)) for name, raw in made.items()}


def refused(given: dict[str, Any], *more: str, **settings: Any) -> str | None:
    with pytest.raises(RefusedError) as error:
        applied(given, *more, **settings)
    assert error.value.refusal.status == 400
    return error.value.refusal.param


def test_defaults_are_sent_unless_the_caller_says_otherwise() -> None:
    entry = {"temperature": 0.2, "max_tokens": 100, "num_ctx": 4}
    assert applied({}, "ollama", "m", defaults=entry) == entry
    assert applied({"temperature": 0.9}, "ollama", "m", defaults=entry)["temperature"] == 0.9
    assert applied({"temperature": None}, "ollama", "m", defaults=entry)["temperature"] == 0.2


def test_a_bound_by_its_other_name_is_the_callers_word() -> None:
    assert applied({"max_completion_tokens": 5}, defaults={"max_tokens": 100}) == {"max_completion_tokens": 5}
    assert applied({"max_tokens": 5}, defaults={"max_completion_tokens": 100}) == {"max_tokens": 5}


def test_extra_body_is_more_fields() -> None:
    body = {"provider": {"order": ["a"]}, "transforms": []}
    assert applied({"transforms": ["x"]}, "openrouter", "m", extra_body=body) == {
        "provider": {"order": ["a"]},
        "transforms": ["x"],
    }


def test_what_isnt_taken_is_refused_by_name_or_dropped() -> None:
    assert refused({"seed": 1, "temperature": 1}) == "seed"
    assert applied({"seed": 1, "temperature": 1}, drop=True) == {"temperature": 1}
    assert applied({"seed": 1}, allowed=["seed"]) == {"seed": 1}


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("n", 1), ("logprobs", False), ("presence_penalty", 0), ("frequency_penalty", 0.0), ("store", False), ("seed", None),
        ("modalities", ["text"]), ("logit_bias", {}), ("safety_identifier", "u"), ("prompt_cache_key", "k"),
    ],
)  # fmt: skip
def test_what_asks_for_nothing_is_no_reason_to_refuse(name: str, value: Any) -> None:
    fields = {"messages": [], name: value}
    text = json.dumps(fields, separators=(",", ":"))
    made = params.of("anthropic", "claude-sonnet-4-5")
    assert made is not None
    assert set(made.apply(msgspec.json.decode(text, type=dict[str, msgspec.Raw]))) == {"messages"}


def test_the_providers_own_fields_pass() -> None:
    own = {"top_k": 5, "mcp_servers": [], "anything": 1}
    assert applied(own) == own


@pytest.mark.parametrize(
    ("provider", "model", "name", "value", "taken"),
    [
        ("anthropic", "claude-opus-4-7", "temperature", 0.5, False),
        ("anthropic", "claude-opus-4-7", "temperature", 1, None),
        ("anthropic", "claude-3-5-haiku", "reasoning_effort", "low", False),
        ("anthropic", "claude-sonnet-4-5", "reasoning_effort", "low", True),
        ("bedrock", "meta.llama3-3-70b-instruct-v1:0", "tool_choice", "required", False),
        ("bedrock", "us.anthropic.claude-sonnet-4-5-20250929-v1:0", "tool_choice", "required", True),
        ("gemini", "gemini-2.5-flash", "seed", 1, True),
        ("gemini", "gemini-2.0-flash", "reasoning_effort", "low", False),
        ("gemini", "gemini-2.5-flash", "logit_bias", {"1": 1}, False),
        ("vertex_ai", "claude-sonnet-4-5", "seed", 1, False),
        ("vertex_ai", "gemini-2.5-flash", "service_tier", "flex", False),
        ("openai", "gpt-4o", "reasoning_effort", "low", False),
        ("openai", "o3-mini", "temperature", 0.5, False),
        ("openai", "gpt-5-mini", "top_p", 0.5, False),
        ("openai", "gpt-5-chat-latest", "top_p", 0.5, True),
        ("openai", "gpt-4o", "logit_bias", {"1": 1}, True),
        ("groq", "llama-3.3-70b-versatile", "logprobs", True, False),
        ("mistral", "mistral-large-latest", "logit_bias", {"1": 1}, False),
        ("perplexity", "sonar", "tools", [{}], False),
        ("ollama", "llama3", "n", 2, False),
        ("cohere", "command-a-03-2025", "n", 2, False),
        ("hosted_vllm", "x", "logit_bias", {"1": 1}, True),
        ("openrouter", "x/y", "anything", 1, True),
        ("xai", "grok-4", "stop", ["x"], False),
    ],
)
def test_tables(provider: str, model: str, name: str, value: Any, taken: bool | None) -> None:
    if taken:
        assert applied({name: value}, provider, model) == {name: value}
    elif taken is None:
        assert applied({name: value}, provider, model) == {}
    else:
        assert refused({name: value}, provider, model) == name
        assert applied({name: value}, provider, model, drop=True) == {}


def test_the_same_parameter_by_the_name_the_provider_knows() -> None:
    assert applied({"max_tokens": 5}, "openai", "o3-mini") == {"max_completion_tokens": 5}
    assert applied({"max_tokens": 5, "max_completion_tokens": 6}, "openai", "o3-mini") == {"max_completion_tokens": 5}
    assert applied({"max_tokens": 5}, "openai", "gpt-4o") == {"max_tokens": 5}
    assert applied({"seed": 5, "max_completion_tokens": 6}, "mistral", "mistral-large-latest") == {
        "random_seed": 5,
        "max_tokens": 6,
    }


def test_additional_drop_params_are_names_or_places() -> None:
    tools = [{"type": "function", "function": {"name": "f", "strict": True}}]
    made = applied(
        {"tools": tools, "user": "u", "seed": 1},
        "openai",
        "gpt-4o",
        additional_drop=["user", "tools[*].function.strict"],
    )
    assert made == {"tools": [{"type": "function", "function": {"name": "f"}}], "seed": 1}


def test_a_deployment_that_changes_nothing_costs_nothing() -> None:
    assert params.of("hosted_vllm", "m") is None
    found = params.of("anthropic", "claude-sonnet-4-5")
    fields = msgspec.json.decode(b'{"messages":[],"temperature":0.5}', type=dict[str, msgspec.Raw])
    assert found is not None and found.apply(fields) is fields


def test_a_parameter_taken_with_some_values_only() -> None:
    assert applied({"service_tier": "auto"}) == {"service_tier": "auto"}
    assert refused({"service_tier": "flex"}) == "service_tier"
    assert applied({"service_tier": "flex"}, drop=True) == {}
    assert applied({"service_tier": "flex"}, allowed=["service_tier"]) == {"service_tier": "flex"}


def test_messages_are_marked_for_the_prompt_cache() -> None:
    mark = {"type": "ephemeral"}
    messages = [
        {"role": "system", "content": "long"},
        {"role": "user", "content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]},
        {"role": "assistant", "content": "c"},
        {"role": "user", "content": "d"},
    ]
    points = [
        {"location": "message", "role": "system"},
        {"location": "message", "index": 1},
        {"index": -1, "control": {"type": "x"}},
    ]
    made = applied({"messages": messages}, cache_points=points)["messages"]
    assert made[0] == {**messages[0], "cache_control": mark}
    assert made[1]["content"] == [messages[1]["content"][0], {"type": "text", "text": "b", "cache_control": mark}]
    assert made[2] == messages[2]
    assert made[3] == {**messages[3], "cache_control": {"type": "x"}}
    assert applied({"messages": "junk"}, cache_points=points) == {"messages": "junk"}
