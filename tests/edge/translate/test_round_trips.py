"""Whatever is said comes back: generated conversations and answers, through every translator and
into the schemas.
"""

import json
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.edge.translate import test_openai_chat__anthropic as anthropic
from tests.edge.translate import test_openai_chat__bedrock as bedrock
from tests.edge.translate import test_openai_chat__cohere as cohere
from tests.edge.translate import test_openai_chat__gemini as gemini
from tests.edge.translate import test_openai_chat__ollama as ollama
from tests.edge.translate.translate_kit import PIXEL, WEATHER, fold, options, run

TEXT = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=12).filter(str.strip)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | TEXT,
    lambda inner: st.lists(inner, max_size=2),
    max_leaves=4,
)
ARGUMENTS = st.dictionaries(TEXT, JSON, max_size=3)
USER = st.one_of(
    TEXT,
    st.lists(
        st.one_of(
            TEXT.map(lambda text: {"type": "text", "text": text}),
            st.just({"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PIXEL}"}}),
        ),
        min_size=1,
        max_size=3,
    ),
)


@st.composite
def conversations(draw: st.DrawFn) -> list[dict[str, Any]]:
    messages: list[dict[str, Any]] = []
    if draw(st.booleans()):
        messages.append({"role": "system", "content": draw(TEXT)})
    for turn in range(draw(st.integers(1, 3))):
        messages.append({"role": "user", "content": draw(USER)})
        calls = [
            {
                "id": f"call_{turn}_{i}",
                "type": "function",
                "function": {"name": "weather", "arguments": json.dumps(arguments)},
            }
            for i, arguments in enumerate(draw(st.lists(ARGUMENTS, max_size=2)))
        ]
        said: dict[str, Any] = {"role": "assistant", "content": draw(TEXT)}
        if calls:
            said["tool_calls"] = calls
        messages.append(said)
        messages += [{"role": "tool", "tool_call_id": call["id"], "content": draw(TEXT)} for call in calls]
    messages.append({"role": "user", "content": draw(USER)})
    return messages


def strings(tree: Any) -> list[str]:
    if isinstance(tree, str):
        return [tree]
    if isinstance(tree, dict):
        return [text for value in tree.values() for text in strings(value)]
    return [text for value in tree for text in strings(value)] if isinstance(tree, list) else []


MODULES: dict[str, Any] = {
    "anthropic": anthropic,
    "bedrock": bedrock,
    "cohere": cohere,
    "gemini": gemini,
    "ollama": ollama,
}
FAST = settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])


@pytest.mark.parametrize("wire", MODULES)
@FAST
@given(messages=conversations())
def test_nothing_of_a_conversation_is_lost_and_the_schema_holds(wire: str, messages: list[dict[str, Any]]) -> None:
    body = MODULES[wire].sent({"messages": messages, "tools": [WEATHER]})
    sent = "\x00".join(strings(body))
    for message in messages:
        content = message["content"]
        texts = [content] if isinstance(content, str) else [part["text"] for part in content if "text" in part]
        for text in texts:
            assert text.rstrip() in sent
        for call in message.get("tool_calls", ()):
            arguments = json.loads(call["function"]["arguments"])
            assert contains(body, arguments) or call["function"]["arguments"] in sent
    images = sum(isinstance(m["content"], list) and sum("image_url" in part for part in m["content"]) for m in messages)
    assert json.dumps(body).count(PIXEL) == images


def contains(tree: Any, wanted: Any) -> bool:
    if tree == wanted:
        return True
    if isinstance(tree, dict):
        return any(contains(value, wanted) for value in tree.values())
    return isinstance(tree, list) and any(contains(value, wanted) for value in tree)


@pytest.mark.parametrize("wire", ["anthropic", "bedrock", "gemini", "ollama"])
@FAST
@given(text=TEXT, arguments=st.lists(ARGUMENTS, max_size=2), size=st.integers(1, 40))
def test_a_streamed_answer_is_the_whole_one(wire: str, text: str, arguments: list[Any], size: int) -> None:
    module = MODULES[wire]
    reply = {
        "anthropic": lambda: anthropic.reply(
            [
                anthropic.text(text),
                *({"type": "tool_use", "id": f"t{i}", "name": "f", "input": a} for i, a in enumerate(arguments)),
            ],
            "tool_use" if arguments else "end_turn",
        ),
        "bedrock": lambda: bedrock.reply(
            [
                {"text": text},
                *({"toolUse": {"toolUseId": f"t{i}", "name": "f", "input": a}} for i, a in enumerate(arguments)),
            ],
            "tool_use" if arguments else "end_turn",
        ),
        "gemini": lambda: gemini.reply(
            [{"text": text}, *({"functionCall": {"name": "f", "args": a}} for a in arguments)]
        ),
        "ollama": lambda: ollama.reply(
            {
                "content": text,
                **(
                    {"tool_calls": [{"function": {"name": "f", "arguments": a}} for a in arguments]}
                    if arguments
                    else {}
                ),
            }
        ),
    }[wire]()
    translator = getattr(module, wire)
    raw = module.stream_of(reply)
    whole = json.loads(translator.answer(json.dumps(reply).encode(), options()))["choices"][0]
    pieces = [raw[i : i + size] for i in range(0, len(raw), size)]
    folded = fold(run(lambda: translator.Stream(options()), pieces))
    assert folded["finish_reason"] == whole["finish_reason"]
    assert folded["message"]["content"] == whole["message"]["content"] == text
    calls = [json.loads(call["function"]["arguments"]) for call in folded["message"].get("tool_calls", ())]
    assert calls == arguments
    assert [json.loads(call["function"]["arguments"]) for call in whole["message"].get("tool_calls", ())] == arguments
