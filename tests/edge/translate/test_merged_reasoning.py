"""`merge_reasoning_content_in_choices`: thoughts stand in the text of a stream, once opened and
once closed, wherever it is cut.
"""

import json
from typing import Any

import pytest

from services.edge.providers.translate import openai_chat__openai
from services.edge.providers.translate.merged_reasoning import MergedReasoning
from shared import config
from tests.edge.conftest import Start
from tests.edge.harness import told
from tests.edge.translate.translate_kit import cut_everywhere, options
from tests.edge.wires_kit import WHOLE, answering, sse

DONE = b"data: [DONE]\n\n"


def chunk(delta: dict[str, Any], finish: str | None = None, index: int = 0) -> dict[str, Any]:
    return {"id": "c", "choices": [{"index": index, "delta": delta, "finish_reason": finish}]}


def through(chunks: list[dict[str, Any]]) -> list[dict[str, Any]]:
    stream = MergedReasoning(openai_chat__openai).Stream(options())
    made = [*stream.feed(sse(*chunks) + DONE), *stream.finish()]
    assert made[-1] == DONE
    return [json.loads(event.removeprefix(b"data: ")) for event in made[:-1]]


def text(chunks: list[dict[str, Any]], index: int = 0) -> str:
    found = [choice["delta"] for one in chunks for choice in one["choices"] if choice["index"] == index]
    assert not any("reasoning" in name for delta in found for name in delta)
    return "".join(delta.get("content") or "" for delta in found)


@pytest.mark.parametrize("name", ["reasoning_content", "reasoning"])
def test_thoughts_stand_before_the_answer(name: str) -> None:
    said = [chunk({"role": "assistant", "content": ""}), chunk({name: "I th"}), chunk({name: "ink", "content": None}),
            chunk({"content": "Yes"}), chunk({"content": "!"}), chunk({}, "stop")]  # fmt: skip
    assert text(through(said)) == "<think>I think</think>Yes!"


def test_both_names_say_it_once_and_both_at_once_are_closed() -> None:
    said = [chunk({"reasoning": "a", "reasoning_content": "a", "content": "b"}), chunk({"content": "c"}, "stop")]
    assert text(through(said)) == "<think>a</think>bc"


def test_a_call_or_the_end_closes_them_too() -> None:
    call = {"tool_calls": [{"index": 0, "id": "1", "function": {"name": "f", "arguments": "{}"}}]}
    made = through([chunk({"reasoning_content": "a"}), chunk(call), chunk({}, "tool_calls")])
    assert text(made) == "<think>a</think>" and made[1]["choices"][0]["delta"]["tool_calls"] == call["tool_calls"]
    assert text(through([chunk({"reasoning_content": "a"}), chunk({}, "length")])) == "<think>a</think>"


def test_each_choice_has_its_own() -> None:
    said = [chunk({"reasoning_content": "a"}), chunk({"content": "x"}, index=1), chunk({"content": "b"}, "stop")]
    made = through(said)
    assert (text(made), text(made, 1)) == ("<think>a</think>b", "x")


def test_what_has_no_thoughts_goes_byte_for_byte() -> None:
    raw = b'data: {"choices":[{"index":0,"delta":{"content":"a \\u00e9"}}]}\n\n'
    odd = b'data: {"error":{"message":"\\"reasoning\\" no"}}\n\n'
    stream = MergedReasoning(openai_chat__openai).Stream(options())
    assert stream.feed(raw + odd + DONE) == [raw, odd, DONE]


def test_cut_at_every_byte_it_is_the_same() -> None:
    raw = sse(chunk({"reasoning_content": "é"}), chunk({"content": "b"}, "stop")) + DONE
    made = cut_everywhere(lambda: MergedReasoning(openai_chat__openai).Stream(options()), raw)
    assert b"".join(made).count(b"think>") == 2


PARAMS = {"model": "openai/m", "api_key": "k", "merge_reasoning_content_in_choices": True}


async def test_a_stream_through_the_edge(start: Start) -> None:
    usage = {"id": "c", "choices": [], "usage": {"prompt_tokens": 3, "completion_tokens": 4, "total_tokens": 7}}
    raw = sse(chunk({"reasoning_content": "hm"}), chunk({"content": "yes"}), chunk({}, "stop"), usage) + DONE
    script = answering(raw, content_type="text/event-stream")
    edge = await start(script, params=PARAMS)
    answer = await edge.chat(stream=True)
    assert answer.status == 200 and answer.body.endswith(DONE)
    chunks = [json.loads(line.removeprefix(b"data: ")) for line in answer.body.split(b"\n\n")[:-2]]
    assert text(chunks) == "<think>hm</think>yes" and not any(one.get("usage") for one in chunks)
    _, body = script.asked
    assert body["model"] == "m" and body["stream_options"] == {"include_usage": True}
    _, settled = await told(edge)
    assert (settled.outcome, settled.usage.input_tokens, settled.usage.output_tokens) == ("success", 3, 4)


async def test_a_whole_answer_stays_as_it_is_and_an_error_is_the_providers(start: Start) -> None:
    script = answering(json.dumps(WHOLE).encode())
    edge = await start(script, params=PARAMS)
    answer = await edge.chat()
    assert answer.status == 200 and answer.body == json.dumps(WHOLE).encode()


def test_the_key_acts() -> None:
    loaded = config.parse(json.dumps({"model_list": [{"model_name": "m", "litellm_params": PARAMS}]}), {})
    assert {key.verdict for key in loaded.keys if "merge_" in key.place} == {"acts"}
