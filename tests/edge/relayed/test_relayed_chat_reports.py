"""Odd streams and answers that users of other gateways reported in public trackers, one row a
report, looked at from the client and from the book.
"""

import json
from typing import Any

import pytest

from tests.edge.fakes import response
from tests.edge.relayed.relayed_kit import Wires, streamed
from tests.edge.wires_kit import sse

MESSAGES = [{"role": "user", "content": "x"}]
USED = {
    "prompt_tokens": 16_111, "completion_tokens": 2, "total_tokens": 16_113, "prompt_tokens_details": {"cached_tokens": 15_872},
}  # fmt: skip


def event(choices: list[dict[str, Any]], **more: Any) -> bytes:
    return sse({"id": "c", "object": "chat.completion.chunk", "model": "m", "choices": choices, **more})


def said(delta: Any, finish: str | None = None, **more: Any) -> bytes:
    return event([{"index": 0, "delta": delta, "finish_reason": finish}], **more)


def tool(**call: Any) -> dict[str, Any]:
    return {"role": None, "content": "", "tool_calls": [call]}


A, END = said({"content": "a"}), said({}, "stop", usage=USED)
STREAMS = {
    "BerriAI/litellm#36168": [A, said({}, "stop"), event([{"index": 0, "delta": {}}], usage=USED)],
    "BerriAI/litellm#36083": [A, END],
    "BerriAI/litellm#39088": [A, said({}, "stop"), event([], usage={**USED, "cost": 0.0025, "market_cost": 0.1, "gateway_cost": 0.2})],
    "microsoft/agent-framework#5734": [A, said(None, "stop"), event([], usage=USED)],
    "sgl-project/sglang#18335": [*[said({"role": None, "content": None})] * 20, A, END],
    "MiniMax-AI/MiniMax-M2.5#2": [said({"role": ""}, usage={"total_tokens": 0, "total_characters": 0}), A, END],
    "anomalyco/opencode#43328": [
        said(tool(index=0, id="c1", type="function", function={"name": "calc", "arguments": ""})),
        said(tool(index=0, id=None, type=None, function={"name": None, "arguments": "{}"})),
        said({}, "tool_calls", usage=USED),
    ],
    "iOfficeAI/aionrs#93": [
        said(tool(id="j", type="function", function={"name": "s", "arguments": "{}"}, extra_content={"google": {"thought_signature": "E"}})),
        END,
    ],
}  # fmt: skip


@pytest.mark.parametrize("report", STREAMS)
async def test_what_an_odd_stream_says_it_used_is_booked(wires: Wires, report: str) -> None:
    events = streamed(*STREAMS[report], b"data: [DONE]\n\n")
    answer = await wires.ask("/v1/chat/completions", events, messages=MESSAGES, stream=True)
    (fact,) = await wires.settled()
    assert (answer.status, fact.outcome, fact.usage.source, fact.flags) == (200, "success", "provider", ())
    assert (fact.usage.input_tokens, fact.usage.cached_tokens, fact.usage.output_tokens) == (16_111, 15_872, 2)
    assert (b"thought_signature" in answer.body) == ("aionrs" in report) and answer.body.endswith(b"data: [DONE]\n\n")


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("/v1/messages", "anthropic-ratelimit-unified-status"),  # BerriAI/litellm#37767
        ("/v1/chat/completions", "x-ratelimit-reset-requests"),  # BerriAI/litellm#21553, api7/aisix#144
    ],
)
async def test_a_client_that_is_told_to_wait_learns_how_long_and_why(wires: Wires, path: str, name: str) -> None:
    error = json.dumps({"type": "error", "error": {"type": "rate_limit_error", "message": "no"}}).encode()
    refused = response(error, "429 X", extra=f"retry-after: 287441\r\n{name}: rejected\r\n")
    answer = await wires.ask(path, refused, messages=MESSAGES)
    assert (answer.status, answer.headers["retry-after"], answer.headers[name]) == (429, "287441", "rejected")


async def test_all_that_was_written_to_a_cache_counts_not_only_what_the_beginning_said(wires: Wires) -> None:
    """BerriAI/litellm#42663: with tools that run there, the last count is of all rounds."""
    begun = {"input_tokens": 10, "cache_creation_input_tokens": 100, "output_tokens": 1,
             "cache_creation": {"ephemeral_5m_input_tokens": 100, "ephemeral_1h_input_tokens": 0}}  # fmt: skip
    ended = {"input_tokens": 10, "cache_creation_input_tokens": 600, "cache_read_input_tokens": 50, "output_tokens": 20}
    events: list[dict[str, Any]] = [
        {"type": "message_start", "message": {"type": "message", "model": "claude-sonnet-4-5", "content": [], "usage": begun}},
        {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "hi"}},
        {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": ended},
        {"type": "message_stop"},
    ]  # fmt: skip
    await wires.ask("/v1/messages", streamed(*(sse(each, names=True) for each in events)), stream=True)
    used = (await wires.settled())[0].usage
    assert (used.input_tokens, used.cached_tokens, used.cache_write_tokens, used.output_tokens) == (660, 50, 600, 20)


async def test_a_response_that_ends_with_nothing_in_it_is_passed_on_so(wires: Wires) -> None:
    """NousResearch/hermes-agent#11179."""
    head = {"id": "resp_a", "object": "response"}
    events: list[dict[str, Any]] = [
        {"type": "response.created", "response": {**head, "output": []}},
        {"type": "response.output_text.delta", "delta": "x", "item_id": "msg_a"},
        {"type": "response.completed", "response": {**head, "output": None, "usage": {"input_tokens": 3, "output_tokens": 2}}},
    ]  # fmt: skip
    answer = await wires.ask("/v1/responses", streamed(*(sse(each, names=True) for each in events)), stream=True)
    (fact,) = await wires.settled()
    assert (fact.outcome, fact.usage.input_tokens) == ("success", 3)
    assert b'"resp_a"' not in answer.body and b'"output":null' in answer.body.replace(b" ", b"")
