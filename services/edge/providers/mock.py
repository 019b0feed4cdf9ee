"""A deployment with `mock_response`: it answers by itself, as completely as a provider would: every
choice, a vector for each input, log probabilities, tool calls where the request forces one.

The usage is what LiteLLM's mock claims, whatever was asked.
"""

import base64
import struct
from collections.abc import Iterator, Mapping
from typing import Any

import msgspec

from services.edge.formats import fields as fields_
from services.edge.formats.base import Call
from services.edge.formats.openai import CHAT, CHOICES_MAX, EMBEDDINGS, IMAGES, MODERATIONS, RERANK
from services.edge.providers import base
from services.edge.providers.base import Target, Translator
from services.edge.providers.openai import WIRES
from shared.config import Deployment
from shared.decoding import UNREADABLE

INPUT_TOKENS = 10
OUTPUT_TOKENS = 20
DIMENSIONS = 8
DIMENSIONS_MAX = 4096
INPUTS_MAX = 2048
LOG_PROBABILITY = -0.1
IMAGES_MAX = 10
PIXEL = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
"""The smallest PNG."""

USAGE = {
    "prompt_tokens": INPUT_TOKENS,
    "completion_tokens": OUTPUT_TOKENS,
    "total_tokens": INPUT_TOKENS + OUTPUT_TOKENS,
}

_one_of_many = msgspec.json.Decoder(str | list[msgspec.Raw]).decode
_any = msgspec.json.Decoder().decode


class Mock:
    """See base.Provider."""

    wires: Mapping[str, str] = WIRES
    translators: Mapping[str, Translator] = {}

    def target(self, deployment: Deployment, user_agent: str) -> Target:
        deadlines = base.deadlines(deployment.timeout_ms)
        return Target(deployment, self, None, "", b"", deadlines, deadlines)

    def path(self, target: Target, format: str, model: str, *, stream: bool) -> str:
        return ""

    def play(self, target: Target, format: str, call: Call, response_id: str, now_s: int) -> Iterator[bytes]:
        text = target.deployment.mock_response or ""
        model = target.deployment.upstream_model
        if format == EMBEDDINGS.name:
            return iter((msgspec.json.encode(_vectors(call, model)),))
        if format == MODERATIONS.name:
            return iter((msgspec.json.encode(_unflagged(call, model, response_id)),))
        if format == IMAGES.name:
            count = max(1, min(fields_.whole_number(call.fields, "n") or 1, IMAGES_MAX))
            return iter((msgspec.json.encode({"created": now_s, "data": [{"b64_json": PIXEL}] * count}),))
        if format == RERANK.name:
            results = [{"index": index, "relevance_score": 1.0 - index / 1e4} for index in range(_documents(call))]
            return iter((msgspec.json.encode({"id": response_id, "results": results, "meta": {}}),))
        head = {"id": response_id, "object": "", "created": now_s, "model": model}
        said = _Said(call, text, chat=format == CHAT.name)
        if call.stream:
            return _stream({**head, "object": CHAT.chunk if said.chat else "text_completion"}, said)
        head["object"] = "chat.completion" if said.chat else "text_completion"
        return iter((msgspec.json.encode({**head, "choices": said.choices(), "usage": USAGE}),))


def _documents(call: Call) -> int:
    """How many are to be ranked; what can't be read is one."""
    try:
        given = _one_of_many(call.fields.get("documents", b'""'))
    except UNREADABLE:
        return 1
    return max(1, min(len(given), INPUTS_MAX)) if isinstance(given, list) else 1


def _unflagged(call: Call, model: str, response_id: str) -> dict[str, Any]:
    """Nothing is wrong with any of the inputs."""
    given = _any(call.fields["input"])
    count = len(given) if isinstance(given, list) and all(isinstance(each, str) for each in given) else 1
    result = {"flagged": False, "categories": {}, "category_scores": {}}
    return {"id": response_id.replace("chatcmpl", "modr"), "model": model, "results": [result] * count}


class _Said:
    """What the request asks of the answer."""

    def __init__(self, call: Call, text: str, *, chat: bool) -> None:
        fields = call.fields
        self.chat = chat
        self.text = text
        self.count = max(1, min(fields_.whole_number(fields, "n") or 1, CHOICES_MAX))
        asked = bytes(fields.get("logprobs", b"null"))
        self.logprobs = asked not in (b"null", b"false", b"0")
        self.tool = _forced_tool(fields) if chat else None

    def pieces(self) -> list[str]:
        """The text in words, each with the space after it."""
        words = self.text.split(" ")
        return [word + " " for word in words[:-1]] + words[-1:]

    def probabilities(self, pieces: list[str]) -> Any:
        if not self.logprobs:
            return None
        if self.chat:
            return {
                "content": [
                    {"token": p, "logprob": LOG_PROBABILITY, "bytes": list(p.encode()), "top_logprobs": []}
                    for p in pieces
                ],
                "refusal": None,
            }
        offsets = [sum(map(len, pieces[:i])) for i in range(len(pieces))]
        return {
            "tokens": pieces,
            "token_logprobs": [LOG_PROBABILITY] * len(pieces),
            "top_logprobs": None,
            "text_offset": offsets,
        }

    def choices(self) -> list[dict[str, Any]]:
        return [self._choice(index) for index in range(self.count)]

    def _choice(self, index: int) -> dict[str, Any]:
        if self.tool is not None:
            message = {"role": "assistant", "content": None, "tool_calls": [_tool_call(self.tool, index)]}
            return {"index": index, "message": message, "logprobs": None, "finish_reason": "tool_calls"}
        said = {"message": {"role": "assistant", "content": self.text}} if self.chat else {"text": self.text}
        return {"index": index, **said, "logprobs": self.probabilities(self.pieces()), "finish_reason": "stop"}


def _stream(head: dict[str, Any], said: _Said) -> Iterator[bytes]:
    """The role, one event a word and choice, the end of each, the usage, `[DONE]`."""

    def event(**body: Any) -> bytes:
        return b"data: " + msgspec.json.encode({**head, **body}) + b"\n\n"

    def choice(index: int, finish: str | None, probabilities: Any = None, **what: Any) -> bytes:
        shown = what if said.chat is False else {"delta": what}
        return event(choices=[{"index": index, **shown, "logprobs": probabilities, "finish_reason": finish}])

    for index in range(said.count):
        if said.chat:
            yield choice(index, None, role="assistant", content=None if said.tool is not None else "")
        if said.tool is not None:
            yield choice(index, None, tool_calls=[{"index": 0, **_tool_call(said.tool, index)}])
            yield choice(index, "tool_calls")
            continue
        for piece in said.pieces():
            yield choice(index, None, said.probabilities([piece]), **{"content" if said.chat else "text": piece})
        yield choice(index, "stop", **({} if said.chat else {"text": ""}))
    yield event(choices=[], usage=USAGE)
    yield b"data: [DONE]\n\n"


def _tool_call(name: str, index: int) -> dict[str, Any]:
    return {"id": f"call_mock_{index}", "type": "function", "function": {"name": name, "arguments": "{}"}}


def _forced_tool(fields: dict[str, msgspec.Raw]) -> str | None:
    """The function the request says must be called; None: it leaves that open."""
    try:
        choice = _any(fields.get("tool_choice", b"null"))
        tools = _any(fields.get("tools", b"null")) if choice not in (None, "none", "auto") else None
    except UNREADABLE:
        return None
    names = [tool["function"]["name"] for tool in tools if _is_function(tool)] if isinstance(tools, list) else []
    if isinstance(choice, dict):
        function = choice.get("function")
        name = function.get("name") if isinstance(function, dict) else None
        return name if isinstance(name, str) and name in names else None
    return names[0] if names and choice == "required" else None


def _is_function(tool: Any) -> bool:
    function = tool.get("function") if isinstance(tool, dict) else None
    return isinstance(function, dict) and isinstance(function.get("name"), str)


def _vectors(call: Call, model: str) -> dict[str, Any]:
    """One for each input: a list of numbers is one input of tokens."""
    fields = call.fields
    try:
        given = _one_of_many(fields["input"])
    except UNREADABLE:
        given = ""
    numbers = isinstance(given, list) and given and bytes(given[0])[:1] not in b'"['
    count = 1 if isinstance(given, str) or numbers else max(1, min(len(given), INPUTS_MAX))
    dimensions = max(1, min(fields_.whole_number(fields, "dimensions") or DIMENSIONS, DIMENSIONS_MAX))
    vector: Any = [0.0] * dimensions
    if bytes(fields.get("encoding_format", b"")) == b'"base64"':
        vector = base64.b64encode(struct.pack(f"<{dimensions}f", *vector)).decode()
    data = [{"object": "embedding", "index": index, "embedding": vector} for index in range(count)]
    usage = {"prompt_tokens": INPUT_TOKENS, "total_tokens": INPUT_TOKENS}
    return {"object": "list", "data": data, "model": model, "usage": usage}
