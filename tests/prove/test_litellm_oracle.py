"""200 generated conversations, said to Anthropic, Gemini and Bedrock by us and by LiteLLM: every
difference is one of those judged here.

Needs the Python of an environment with litellm 1.109 in `LITELLM_PYTHON`; run by `make prove`,
skipped without it.
"""

import json
import os
import random
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest

from services.edge.providers.translate import openai_chat__anthropic, openai_chat__bedrock, openai_chat__gemini
from tests.edge.translate import test_openai_chat__anthropic as anthropic
from tests.edge.translate import test_openai_chat__bedrock as bedrock
from tests.edge.translate import test_openai_chat__gemini as gemini
from tests.edge.translate.translate_kit import JSON_SCHEMA, PIXEL, WEATHER, fields, options

PYTHON = os.environ.get("LITELLM_PYTHON", "")
SEED = 7
CONVERSATIONS = 200
WORDS = ["sun", "moon", "tree", "river", "stone", "wind", "cloud", "fire", "snow", "leaf"]
WIRES: list[tuple[str, str, Any, Any]] = [
    ("anthropic", "anthropic/claude-sonnet-4-5", openai_chat__anthropic, anthropic),
    ("gemini", "gemini/gemini-2.5-flash", openai_chat__gemini, gemini),
    ("bedrock", "bedrock/us.anthropic.claude-sonnet-4-5-20250929-v1:0", openai_chat__bedrock, bedrock),
]

JUDGED: dict[str, list[str]] = {
    "anthropic": [
        r"\.tools\[\]\.type: absent | custom",  # the default, said
        r"\.output_format: ",  # LiteLLM's beta field; ours is the one that replaced it
        r"\.output_config: ",
        r"\.thinking: absent | ",  # no room below max_tokens: LiteLLM sends a budget above it, which Anthropic refuses
        r"\.thinking\.budget_tokens: ",  # the same: ours is lowered below max_tokens
        r"\.max_tokens: 64000 | ",  # unbounded in OpenAI's wire: as much as the model can; LiteLLM cuts at 4096 + budget
    ],
    "gemini": [
        r"\.tools\[\]\.functionDeclarations\[\]\.parameters",  # the schema as it is (parametersJsonSchema), not Google's dialect
        r"\.contents\[\]\.parts: ",  # LiteLLM drops the second of two equal calls
    ],
    "bedrock": [
        r"\.inferenceConfig: absent | (?:\{\}|\{'maxTokens': 8192\})$",  # empty, or the same as the next
        r"\.inferenceConfig\.maxTokens: absent | ",  # optional here: the model's own maximum
        r"\.additionalModelRequestFields: absent | \{'thinking'",  # no room below max_tokens to think in: see anthropic
        r"\.additionalModelRequestFields\.thinking\.budget_tokens: ",
        r"\.additionalModelResponseFieldPaths: absent | ",  # asks for Claude's count of thinking tokens: not what is billed
        r"\.outputConfig\.textFormat\.structure\.jsonSchema\.schema: ",  # the same schema, other words for its constraints
    ],
}
"""Differences of requests, and why ours stays."""
DECORATION = re.compile(
    r"\.(id|created|model|usage\.\w*details.*|usage\.cache_\w+|choices\[\]\.provider_specific_fields"
    r"|choices\[\]\.message\.(provider_specific_fields|images.*|thinking_blocks|tool_calls\[\]\.(index|id|provider_specific_fields))"
    r"|choices\[\]\.message\.tool_calls\[\]\.function\.arguments|choices\[\]\.message\.content): "
)
"""Differences of answers: names LiteLLM adds, ids of its own, white space of arguments, the text of
a blocked answer (it drops it).
"""


def conversation(draw: random.Random) -> dict[str, Any]:
    def text() -> str:
        return " ".join(draw.choice(WORDS) for _ in range(draw.randint(1, 8)))

    def user() -> dict[str, Any]:
        if draw.random() < 0.7:
            return {"role": "user", "content": text()}
        image = {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PIXEL}"}}
        return {"role": "user", "content": [{"type": "text", "text": text()}, image]}

    messages: list[dict[str, Any]] = [{"role": "system", "content": text()}] if draw.random() < 0.5 else []
    calling = draw.random() < 0.5
    number = 0
    for _ in range(draw.randint(1, 3)):
        messages.append(user())
        if calling and draw.random() < 0.6:
            calls = []
            for _ in range(draw.randint(1, 3)):
                number += 1
                arguments = json.dumps({"city": draw.choice(WORDS)})
                calls.append(
                    {
                        "id": f"call_{number}",
                        "type": "function",
                        "function": {"name": "weather", "arguments": arguments},
                    }
                )
            messages.append({"role": "assistant", "content": draw.choice([None, text()]), "tool_calls": calls})
            messages += [{"role": "tool", "tool_call_id": call["id"], "content": text()} for call in calls]
        else:
            messages.append({"role": "assistant", "content": text()})
    request: dict[str, Any] = {"messages": [*messages, user()]}
    if calling:
        request["tools"] = [WEATHER]
        if draw.random() < 0.5:
            request["tool_choice"] = draw.choice(
                ["auto", "required", {"type": "function", "function": {"name": "weather"}}]
            )
    for name, share, value in (
        ("max_tokens", 0.6, draw.randint(10, 3000)),
        ("temperature", 0.4, round(draw.random(), 2)),
        ("top_p", 0.3, round(draw.random(), 2)),
        ("stop", 0.3, draw.choice(["END", ["a", "b"]])),
        ("user", 0.2, "u1"),
    ):
        if draw.random() < share:
            request[name] = value
    if draw.random() < 0.2 and not calling:
        request["response_format"] = draw.choice([{"type": "json_object"}, JSON_SCHEMA])
    if draw.random() < 0.2 and not {"tool_choice", "temperature", "top_p"} & set(request):
        request["reasoning_effort"] = draw.choice(["low", "medium", "high"])
    return request


def camel(tree: Any) -> Any:
    """LiteLLM writes Google's fields with underscores, which Google takes as well."""
    if isinstance(tree, dict):
        return {re.sub(r"_(\w)", lambda found: found[1].upper(), key): camel(value) for key, value in tree.items()}
    return [camel(item) for item in tree] if isinstance(tree, list) else tree


def differences(ours: Any, theirs: Any, place: str = "") -> list[str]:
    if isinstance(ours, dict) and isinstance(theirs, dict):
        found = []
        for key in sorted({*ours, *theirs}):
            where = f"{place}.{key}"
            if key not in ours:
                found += [f"{where}: absent | {theirs[key]}"] if theirs[key] not in (None, []) else []
            elif key not in theirs:
                found.append(f"{where}: {ours[key]} | absent")
            else:
                found += differences(ours[key], theirs[key], where)
        return found
    if isinstance(ours, list) and isinstance(theirs, list) and len(ours) == len(theirs):
        return [
            each for mine, other in zip(ours, theirs, strict=True) for each in differences(mine, other, f"{place}[]")
        ]
    return [] if ours == theirs else [f"{place}: {ours} | {theirs}"]


@pytest.mark.skipif(not PYTHON, reason="LITELLM_PYTHON isn't set")
def test_every_difference_to_litellm_is_judged() -> None:
    draw = random.Random(SEED)
    cases = []
    for number in range(CONVERSATIONS):
        wire, model, translator, kit = WIRES[number % len(WIRES)]
        request, reply = conversation(draw), kit.REPLIES[draw.choice(sorted(kit.REPLIES))]
        ours = json.loads(translator.request(fields(request), model.partition("/")[2], options()))
        answer = json.loads(translator.answer(json.dumps(reply).encode(), options()))
        cases.append({"wire": wire, "model": model, "request": request, "reply": reply, "ours": ours, "answer": answer})
    asked = json.dumps([{name: case[name] for name in ("wire", "model", "request", "reply")} for case in cases])
    script = Path(__file__).parent / "litellm_calls.py"
    done = subprocess.run([PYTHON, str(script)], input=asked, capture_output=True, text=True, timeout=600, check=True)
    theirs = json.loads(done.stdout[done.stdout.index("[") :])
    unjudged = []
    for case, found in zip(cases, theirs, strict=True):
        body = camel(found["body"]) if case["wire"] == "gemini" else found["body"]
        rules = [re.compile(rule.replace(" | ", r" \| ")) for rule in JUDGED[case["wire"]]]
        unjudged += [
            f"{case['wire']}{each}"
            for each in differences(case["ours"], body)
            if not any(rule.match(each) for rule in rules)
        ]
        unjudged += [each for each in differences(case["answer"], found["answer"]) if not DECORATION.match(each)]
    assert not unjudged, "\n".join(unjudged[:40])
