"""500 generated usages priced by us and by LiteLLM's own table: the same, or a difference that is
judged here.

Needs the Python of an environment with litellm 1.109 in `LITELLM_PYTHON`; run by `make prove`,
skipped without it.
"""

import json
import os
import random
import subprocess
from pathlib import Path

import msgspec
import pytest

from shared import prices
from shared.billing import Usage, cost

PYTHON = os.environ.get("LITELLM_PYTHON", "")
SEED = 3
USAGES = 500
MODELS = {
    "openai": "gpt-4o gpt-4o-mini gpt-4.1 gpt-4.1-mini gpt-4.1-nano gpt-5 gpt-5-mini gpt-5-nano gpt-5.1 gpt-5.2 o1 o3 o3-mini o4-mini "
    "gpt-4-turbo gpt-3.5-turbo text-embedding-3-small text-embedding-3-large text-embedding-ada-002",
    "anthropic": "claude-haiku-4-5 claude-sonnet-4-5 claude-sonnet-4-6 claude-opus-4-5 claude-opus-4-6 claude-opus-4-7 claude-sonnet-5 "
    "claude-opus-5 claude-fable-5",
    "gemini": "gemini-2.5-flash gemini-2.5-flash-lite gemini-2.5-pro gemini-3-flash-preview gemini-embedding-001",
    "vertex_ai": "gemini-2.5-pro",
    "bedrock": "us.anthropic.claude-sonnet-4-5-20250929-v1:0 amazon.nova-pro-v1:0 amazon.nova-lite-v1:0",
    "groq": "openai/gpt-oss-120b",
    "mistral": "mistral-large-latest mistral-small-latest",
    "deepseek": "deepseek-chat deepseek-reasoner",
    "cerebras": "gpt-oss-120b",
    "perplexity": "sonar",
    "cohere_chat": "command-a-03-2025",
    "azure": "gpt-4o gpt-4.1",
}
JUDGED = {
    (
        "anthropic",
        "claude-sonnet-4-5",
    ): "ours has the long-context price above 200,000 tokens; LiteLLM's table has it for Bedrock only",
    (
        "bedrock",
        "us.anthropic.claude-sonnet-4-5-20250929-v1:0",
    ): "the other way round: the package's Bedrock prices have no tier",
    ("mistral", "mistral-large-latest"): "the alias stands for another model in the two tables",
    ("deepseek", "deepseek-chat"): "ours is the dearest hour of the day; the alias stands for another model",
    ("deepseek", "deepseek-reasoner"): "the same",
    ("perplexity", "sonar"): "ours has the price of a request as well",
}


def usage_for(draw: random.Random, provider: str, model: str) -> Usage:
    given = draw.choice([100, 5_000, 150_000, 250_000, 300_000])
    if "embed" in model:
        return Usage(given)
    made = draw.choice([0, 50, 3_000])
    written = draw.choice([0, given // 4]) if provider in ("anthropic", "bedrock") else 0
    return Usage(
        given,
        made,
        draw.choice([0, 0, given // 2]),
        written,
        draw.choice([0, made // 2]),
        cache_write_1h_tokens=draw.choice([0, written // 2]) if provider == "anthropic" else 0,
        audio_input_tokens=draw.choice([0, given // 8]) if model.startswith("gemini-2.5-flash") else 0,
        service=draw.choice(["", "", "flex", "priority"]) if provider == "openai" else "",
    )


@pytest.mark.skipif(not PYTHON, reason="LITELLM_PYTHON isn't set")
def test_every_difference_to_litellms_costs_is_judged() -> None:
    draw = random.Random(SEED)
    names = [(provider, model) for provider, models in MODELS.items() for model in models.split()]
    cases = [(*names[i % len(names)], usage_for(draw, *names[i % len(names)])) for i in range(USAGES)]
    asked = [{"provider": p, "model": m, "usage": msgspec.to_builtins(_named(usage))} for p, m, usage in cases]
    script = Path(__file__).parent / "litellm_costs.py"
    done = subprocess.run(
        [PYTHON, str(script)], input=json.dumps(asked), capture_output=True, text=True, timeout=600, check=True
    )
    theirs = json.loads(done.stdout[done.stdout.index("[") :])
    same, unjudged = 0, []
    for (provider, model, usage), usd in zip(cases, theirs, strict=True):
        price = prices.lookup(provider, model)
        assert price is not None, (provider, model)
        ours = cost(price, usage).picousd
        if ours is not None and abs(ours / 10**12 - usd) <= 1e-12 + usd * 1e-9:
            same += 1
        elif (provider, model) not in JUDGED:
            unjudged.append(f"{provider}/{model}: {ours} pico-USD, LiteLLM {usd} USD, {usage}")
    assert not unjudged, "\n".join(unjudged[:20])
    assert same >= USAGES * 0.85


def _named(usage: Usage) -> dict[str, object]:
    return {name: getattr(usage, name) for name in Usage.__struct_fields__}
