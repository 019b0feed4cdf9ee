"""Providers for tests: one server that answers every wire, and holds what it is asked to the
vendor's published schema.

Ollama publishes no schema: its fields are those of docs/api.md in its repository. Answers are those
of the translators' tests.
"""

import json
from typing import Any

import msgspec

from services.edge.providers.base import Target
from services.edge.upstream import Origin
from tests.edge.fakes import Peer, response
from tests.edge.translate import test_openai_chat__anthropic as anthropic
from tests.edge.translate import test_openai_chat__bedrock as bedrock
from tests.edge.translate import test_openai_chat__cohere as cohere
from tests.edge.translate import test_openai_chat__gemini as gemini
from tests.edge.translate import test_openai_chat__ollama as ollama
from tests.edge.translate.translate_kit import valid, valid_discovery, valid_operation

USAGE = {"prompt_tokens": 3, "completion_tokens": 4, "total_tokens": 7}
CHAT = {
    "id": "c", "object": "chat.completion", "created": 1, "model": "m",
    "choices": [{"index": 0, "message": {"role": "assistant", "content": "Grüße"}, "finish_reason": "stop"}], "usage": USAGE,
}  # fmt: skip
TEXT = {
    "id": "c", "object": "text_completion", "created": 1, "model": "m", "usage": USAGE,
    "choices": [{"index": 0, "text": "Grüße", "finish_reason": "stop", "logprobs": None}],
}  # fmt: skip
CHUNKS = [
    {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "m", "choices": [
        {"index": 0, "delta": {"role": "assistant", "content": "Grüße"}, "finish_reason": "stop"}]},
    {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "m", "choices": [], "usage": USAGE},
]  # fmt: skip
VECTORS = {
    "object": "list", "model": "m", "usage": {"prompt_tokens": 3, "total_tokens": 3},
    "data": [{"object": "embedding", "index": 0, "embedding": [0.5, 0.25]}],
}  # fmt: skip
OLLAMA = frozenset({"model", "messages", "tools", "think", "format", "options", "stream", "keep_alive"})
OLLAMA_EMBED = frozenset({"model", "input", "truncate", "options", "keep_alive", "dimensions"})


class Asked(msgspec.Struct):
    path: str
    headers: dict[str, str]
    body: dict[str, Any]
    wire: str


class StandIn:
    """A script of a Provider. `asked` has what came; what breaks a schema fails the call with 400
    and stands in `wrong`.
    """

    def __init__(self) -> None:
        self.asked: list[Asked] = []
        self.wrong: list[str] = []

    async def __call__(self, peer: Peer) -> None:
        while True:
            head, raw = await peer.request()
            first, *lines = head.decode("latin-1").split("\r\n")
            headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines if line)}
            path, body = first.split(" ")[1], json.loads(raw)
            try:
                wire, answer, kind = answered(path, body)
            except AssertionError as error:
                self.wrong.append(f"{path}: {error}")
                wire, answer, kind = "", b'{"error": {"message": "against the schema"}}', ""
            self.asked.append(Asked(path, headers, body, wire))
            await peer.send(response(answer, "200 OK" if wire else "400 Bad Request", kind or "application/json"))


def answered(path: str, body: dict[str, Any]) -> tuple[str, bytes, str]:
    """(wire, answer, content type). AssertionError for what the vendor's schema doesn't take."""
    path = path.partition("?")[0]
    if path.endswith("/chat/completions"):
        valid(body, "openai", "CreateChatCompletionRequest") if "/openai/" not in path else _azure(body)
        if body.get("stream"):
            events = b"".join(b"data: " + json.dumps(each).encode() + b"\n\n" for each in CHUNKS)
            return "openai", events + b"data: [DONE]\n\n", "text/event-stream"
        return "openai", json.dumps(CHAT).encode(), ""
    if path.endswith("/images/generations"):
        valid(body, "openai", "CreateImageRequest")
        return "openai", b'{"created": 1, "data": [{"b64_json": "AA=="}]}', ""
    if path.endswith("/embeddings"):
        valid(body, "openai", "CreateEmbeddingRequest")
        return "openai", json.dumps(VECTORS).encode(), ""
    if path.endswith("/completions"):
        valid(body, "openai", "CreateCompletionRequest")
        return "openai", json.dumps(TEXT).encode(), ""
    if path.endswith(("/messages", ":rawPredict", ":streamRawPredict")):
        checked = dict(body)
        if "anthropic_version" in checked:  # Vertex AI's way to say the version; the model is in the path
            checked |= {"model": checked.get("model", "in-the-path")}
            checked.pop("anthropic_version")
        valid(checked, "anthropic", "CreateMessageParams")
        return _reply("anthropic", anthropic, stream=bool(body.get("stream")))
    if path.endswith((":generateContent", ":streamGenerateContent")):
        valid_discovery(body, "gemini", "GenerateContentRequest")
        if "/projects/" in path:
            valid_discovery(body, "vertex", f"{gemini.VERTEX}GenerateContentRequest")
        return _reply("gemini", gemini, stream="stream" in path)
    if path.endswith(("/converse", "/converse-stream")):
        name = "ConverseStream" if path.endswith("stream") else "Converse"
        bedrock.valid(body, bedrock.operation(name).input_shape, modelId="in-the-path")
        return _reply("bedrock", bedrock, stream=path.endswith("stream"))
    if path.endswith("/v2/chat"):
        valid_operation(body, "cohere", "/v2/chat")
        return _reply("cohere", cohere, stream=bool(body.get("stream")))
    if path.endswith("/api/chat"):
        assert set(body) <= OLLAMA, set(body) - OLLAMA
        return _reply("ollama", ollama, stream=bool(body.get("stream")))
    if path.endswith("/api/embed"):
        assert set(body) <= OLLAMA_EMBED, set(body) - OLLAMA_EMBED
        return "ollama", b'{"model": "m", "embeddings": [[0.5, 0.25]], "prompt_eval_count": 3}', ""
    raise AssertionError("nobody has such an address")


def _azure(body: dict[str, Any]) -> None:
    """Its schema wants the model in the path alone; it takes the field."""
    valid({"model": "in-the-path", **body}, "openai", "CreateChatCompletionRequest")


KINDS = {"bedrock": "application/vnd.amazon.eventstream", "ollama": "application/x-ndjson"}


def _reply(wire: str, module: Any, *, stream: bool) -> tuple[str, bytes, str]:
    if stream:
        return wire, module.stream_of(module.REPLIES["text"]), KINDS.get(wire, "text/event-stream")
    return wire, json.dumps(module.REPLIES["text"]).encode(), ""


class Made:
    """In the place of a token that would be fetched, or of keys that a machine would offer."""

    async def headers(self, method: str, path: str, body: bytes) -> bytes:
        return b"authorization: Bearer made-for-a-test\r\n"


def here(target: Target, port: int) -> Target:
    """The target with the stand-in in its provider's place; all else is as the entry says."""
    if target.origin is None:
        return target
    credentials = None if target.credentials is None else Made()
    return msgspec.structs.replace(target, origin=Origin("http", "127.0.0.1", port), credentials=credentials)
