"""OpenAI's chat in front, Amazon Bedrock's Converse behind (one wire for all models it sells).

The model stands in the address. What Converse has no name for goes to
`additionalModelRequestFields`, which the model itself reads: Claude's `thinking` and `top_k`, for
example. Images and documents travel inside the request, or lie in S3.
"""

import re
from collections.abc import Mapping
from typing import Any

import msgspec

from services.edge.providers import call_ids
from services.edge.providers.base import Options
from services.edge.providers.translate import chat, claude
from services.edge.providers.translate.bedrock_answer import JSON_TOOL, Stream, answer, error
from services.edge.providers.translate.openai_chat__anthropic import closed, is_thinking, object_schema, thinking
from services.edge.providers.translate.wire import encode, refuse
from shared.decoding import UNREADABLE

__all__ = ["Stream", "answer", "error", "request"]

_PLACEHOLDER = "Please continue."
_FORMATS = {
    "image/jpeg": "jpeg", "image/jpg": "jpeg", "image/png": "png", "image/gif": "gif", "image/webp": "webp", "application/pdf": "pdf",
    "text/csv": "csv", "text/html": "html", "text/plain": "txt", "text/markdown": "md", "application/msword": "doc",
    "application/vnd.openxmlformats-officedocument.wordprocessingml.document": "docx", "application/vnd.ms-excel": "xls",
    "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet": "xlsx", "video/mp4": "mp4", "video/quicktime": "mov",
    "video/webm": "webm", "video/x-matroska": "mkv",
}  # fmt: skip
_CONVERSE = frozenset(
    {
        "guardrailConfig", "performanceConfig", "requestMetadata", "promptVariables", "additionalModelResponseFieldPaths",
        "outputConfig",
    }
)  # fmt: skip
"""Fields that Converse itself knows, by its own names."""
_HANDLED = chat.READ_HERE | {"user", "metadata", "temperature", "top_p", "thinking", "service_tier", "n", "top_k"}
_SCHEMAS = (
    "deepseek.v3", "google.gemma-3", "minimax.minimax-m", "mistral.magistral", "mistral.ministral", "mistral.mistral-large-3",
    "mistral.voxtral", "moonshot", "nvidia.nemotron", "openai.gpt-oss", "qwen.qwen3",
)  # fmt: skip
"""Models besides Claude that answer in a given schema (`outputConfig.textFormat`)."""
_CHOOSES = ("anthropic", "amazon.nova", "mistral", "cohere", "ai21")
"""Makers whose models take a `toolChoice` other than auto."""

Block = dict[str, Any]


def request(fields: Mapping[str, msgspec.Raw], model: str, options: Options) -> bytes:
    name = base_name(model)
    is_claude = "claude" in name
    traits = claude.of(name)
    builder, said = _Messages(options.modify_params), chat.messages(fields)
    builder.add(said)
    made: dict[str, Any] = {"messages": builder.turns}
    if builder.system:
        made["system"] = builder.system
    extra: dict[str, Any] = {}
    max_tokens = chat.max_tokens(fields)
    _inference(fields, made, max_tokens)
    if is_claude:
        lost = chat.lost_thoughts(said)
        thinking(fields, extra, traits, max_tokens, lost=lost, mend=options.modify_params)
    else:
        _effort(fields, extra, name)
    _tools(fields, made, extra, name, traits, said if options.modify_params else [])
    if "top_k" in fields:
        extra["inferenceConfig" if "nova" in name else "top_k"] = (
            {"topK": fields["top_k"]} if "nova" in name else fields["top_k"]
        )
    tier = chat.string(fields, "service_tier")
    if tier not in (None, "auto", "default"):
        made["serviceTier"] = {"type": tier}
    for field, raw in fields.items():
        if field in _CONVERSE:
            made.setdefault(field, raw)
        elif field == "additionalModelRequestFields":
            extra = {**extra, **(chat.mapping(fields, field) or {})}
        elif field not in _HANDLED:
            extra.setdefault(field, raw)
    if extra:
        made["additionalModelRequestFields"] = extra
    return encode(made)


_REGION = re.compile(r"^(?:us|eu|apac|global|au|jp|ca|us-gov)\.")


def base_name(model: str) -> str:
    """Without the inference profile's region, an ARN's head, or LiteLLM's `converse/`."""
    return _REGION.sub("", model.rpartition("/")[2])


class _Messages:
    """Turns alternate here, and results of calls are the user's."""

    def __init__(self, mend: bool) -> None:
        self._mend = mend
        self._documents = 0
        self.system: list[Block] = []
        self.turns: list[dict[str, Any]] = []

    def add(self, messages: list[chat.Message]) -> None:
        for i, message in enumerate(messages):
            where = f"messages[{i}]"
            if message.role in ("system", "developer"):
                self.system += self._blocks(message, where)
                continue
            if message.role == "assistant":
                role, blocks = "assistant", self._assistant(message, where)
            elif message.role == "tool":
                role, blocks = "user", self._result(message, where)
            else:
                role, blocks = "user", self._blocks(message, where)
            if not blocks:
                if not self._mend:
                    if role == "assistant":
                        continue
                    refuse(f"{where}.content: Bedrock takes no empty message", f"{where}.content")
                blocks = [{"text": _PLACEHOLDER}]
            if self.turns and self.turns[-1]["role"] == role:
                chat.put(self.turns[-1]["content"], blocks, _is_result)
            else:
                self.turns.append({"role": role, "content": blocks})
        if self._mend and (not self.turns or self.turns[0]["role"] != "user"):
            self.turns.insert(0, {"role": "user", "content": [{"text": _PLACEHOLDER}]})
        if not self.turns:
            refuse("messages: Bedrock needs a message of the user's besides system messages", "messages")

    def _blocks(self, message: chat.Message, where: str) -> list[Block]:
        found: list[Block] = []
        if isinstance(message.content, str):
            if message.content.strip():  # Converse refuses blank texts
                found.append({"text": message.content})
        else:
            for j, part in enumerate(message.content or ()):
                block = self._part(part, f"{where}.content[{j}]")
                if block is not None:
                    found.append(block)
                    if chat.is_said(part.cache_control):
                        found.append(_cache_point(part.cache_control))
        if found and chat.is_said(message.cache_control):
            found.append(_cache_point(message.cache_control))
        return found

    def _part(self, part: chat.Part, where: str) -> Block | None:
        if part.type in ("text", "refusal", "input_text"):
            text = part.text or part.refusal
            return {"text": text} if text and text.strip() else None
        if part.type == "image_url":
            return self._media(*chat.image_url(part), where)
        if part.type == "file" and part.file is not None:
            return self._media(part.file.file_data or part.file.file_id or "", part.file.format, where)
        return refuse(f"{where}: Bedrock takes no part of type {part.type[:40]!r}", where)

    def _media(self, url: str, media: str | None, where: str) -> Block:
        inline = chat.data_url(url)
        if inline is not None:
            media, source = media or inline[0], {"bytes": inline[1]}
        elif url.startswith("s3://"):
            media, source = media or chat.media_type(url) or "", {"s3Location": {"uri": url}}  # type: ignore[dict-item]
        else:
            return refuse(f"{where}: Bedrock fetches nothing: give a data URL in base64, or s3://", where)
        kind = _FORMATS.get(media)
        if kind is None:
            return refuse(f"{where}: Bedrock takes no {media[:60]!r}", where)
        if media.startswith("image/"):
            return {"image": {"format": kind, "source": source}}
        if media.startswith("video/"):
            return {"video": {"format": kind, "source": source}}
        self._documents += 1
        return {"document": {"format": kind, "name": f"document-{self._documents}", "source": source}}

    def _assistant(self, message: chat.Message, where: str) -> list[Block]:
        blocks = [made for raw in message.thinking_blocks or () if (made := _reasoning(raw)) is not None]
        blocks += self._blocks(message, where)
        for j, call in enumerate(message.tool_calls or ()):
            at = f"{where}.tool_calls[{j}]"
            if call.function is None or not call.function.name:
                refuse(f"{at}.function.name: a call names its function", at)
            use = {
                "toolUseId": call_ids.for_claude(call.id),
                "name": call.function.name,
                "input": chat.arguments(call, at),
            }
            blocks.append({"toolUse": use})
        return blocks

    def _result(self, message: chat.Message, where: str) -> list[Block]:
        blocks = self._blocks(message, where)
        points = [block for block in blocks if "cachePoint" in block]
        content = [block for block in blocks if "cachePoint" not in block]
        return [
            {"toolResult": {"toolUseId": call_ids.for_claude(message.tool_call_id or ""), "content": content}},
            *points,
        ]


def _is_result(block: Block) -> bool:
    """Or the mark behind one."""
    return "toolResult" in block or "cachePoint" in block


class _CacheControl(msgspec.Struct):
    ttl: str | None = None


_cache_control = msgspec.json.Decoder(_CacheControl).decode


def _cache_point(control: msgspec.Raw) -> Block:
    try:
        ttl = _cache_control(control).ttl
    except UNREADABLE:
        ttl = None
    return {"cachePoint": {"type": "default", **({"ttl": ttl} if ttl in ("5m", "1h") else {})}}


class _ThinkingBlock(msgspec.Struct):
    type: str = ""
    thinking: str = ""
    signature: str = ""
    data: str = ""


_thinking_block = msgspec.json.Decoder(_ThinkingBlock).decode


def _reasoning(raw: msgspec.Raw) -> Block | None:
    try:
        block = _thinking_block(raw)
    except UNREADABLE:
        return None
    if block.type == "redacted_thinking":
        return {"reasoningContent": {"redactedContent": block.data}}
    if not block.signature:
        return None
    return {"reasoningContent": {"reasoningText": {"text": block.thinking, "signature": block.signature}}}


def _inference(fields: Mapping[str, msgspec.Raw], made: dict[str, Any], max_tokens: int | None) -> None:
    config: dict[str, Any] = {}
    if max_tokens is not None:
        config["maxTokens"] = max_tokens
    for ours, theirs in (("temperature", "temperature"), ("top_p", "topP")):
        if ours in fields:
            config[theirs] = fields[ours]
    stop = [text for text in chat.stop(fields) if text.strip()]
    if stop:
        config["stopSequences"] = stop
    if config:
        made["inferenceConfig"] = config


def _effort(fields: Mapping[str, msgspec.Raw], extra: dict[str, Any], name: str) -> None:
    effort = chat.reasoning_effort(fields)
    if effort is None:
        return
    if "nova-2" in name:
        word = {"minimal": "low", "xhigh": "high", "max": "high"}.get(effort, effort)
        extra["reasoningConfig"] = (
            {"type": "disabled"} if effort == "none" else {"type": "enabled", "maxReasoningEffort": word}
        )
    elif name.startswith("openai."):
        extra["reasoning_effort"] = effort


def _tools(
    fields: Mapping[str, msgspec.Raw],
    made: dict[str, Any],
    extra: dict[str, Any],
    name: str,
    traits: claude.Claude,
    said: list[chat.Message],
) -> None:
    is_claude = "claude" in name
    tools: list[Block] = []
    for tool in chat.tools(fields):
        if tool.function is None:
            refuse(f"tools: Bedrock takes no tool of type {tool.type[:40]!r}", "tools")
        tools.append({"toolSpec": _spec(tool.function)})
        if chat.is_said(tool.cache_control):
            tools.append(_cache_point(tool.cache_control))
    choice = _choice(chat.tool_choice(fields)) if name.startswith(_CHOOSES) else None
    wanted = chat.response_format(fields)
    if wanted is not None and wanted.schema and (traits.schemas if is_claude else name.startswith(_SCHEMAS)):
        schema = {"schema": encode(closed(wanted.schema)).decode(), "name": "answer"}
        made["outputConfig"] = {"textFormat": {"type": "json_schema", "structure": {"jsonSchema": schema}}}
    elif wanted is not None and wanted.schema:  # `json_object` alone: the prompt asks for it, as OpenAI demands
        if name.startswith(_CHOOSES) and choice is None and not is_thinking(extra) and traits.forced_tools:
            choice = {"any": {}} if tools else {"tool": {"name": JSON_TOOL}}
        spec = {
            "name": JSON_TOOL,
            "description": "Give the answer with this tool.",
            "inputSchema": {"json": wanted.schema},
        }
        tools.append({"toolSpec": spec})
    if not tools:  # Converse refuses a conversation with calls whose tools aren't given
        empty = {"json": {"type": "object", "properties": {}}}
        tools = [{"toolSpec": {"name": function, "inputSchema": empty}} for function in chat.called(said)]
    if not tools:
        return
    if choice == {"none": {}}:
        if not is_claude:
            return
        choice, extra["tool_choice"] = None, {"type": "none"}
    elif is_claude and chat.boolean(fields, "parallel_tool_calls") is False:
        kind = next(iter(choice or {"auto": {}}))
        named = {"name": choice["tool"]["name"]} if choice and kind == "tool" else {}
        extra["tool_choice"] = {"type": kind, **named, "disable_parallel_tool_use": True}
    made["toolConfig"] = {"tools": tools, **({"toolChoice": choice} if choice is not None else {})}


def _spec(function: chat.ToolFunction) -> dict[str, Any]:
    spec: dict[str, Any] = {
        "name": function.name,
        "inputSchema": {"json": object_schema(function.parameters)},
    }
    if function.description:
        spec["description"] = function.description
    return spec


def _choice(choice: chat.ToolChoice | None) -> dict[str, Any] | None:
    if choice is None:
        return None
    if choice.mode == "function":
        return {"tool": {"name": choice.name}}
    return {{"required": "any"}.get(choice.mode, choice.mode): {}}
