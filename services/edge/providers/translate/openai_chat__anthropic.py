"""OpenAI's chat in front, Anthropic's Messages API behind
(https://docs.anthropic.com/en/api/messages).

The differences that matter: system texts stand apart; tool results are the user's, all those of one
turn in one message; `max_tokens` is required; input tokens don't include the cached ones. A schema
goes to `output_config`, or, for models before it, into a tool (`JSON_TOOL`) whose call is turned
back into content.
"""

import base64
from collections.abc import Mapping
from typing import Any

import msgspec

from services.edge.providers import call_ids
from services.edge.providers.base import Options
from services.edge.providers.translate import chat, claude
from services.edge.providers.translate.anthropic_answer import JSON_TOOL, Stream, answer, error
from services.edge.providers.translate.wire import encode, refuse

__all__ = ["JSON_TOOL", "Stream", "answer", "body", "error", "request"]

_BUDGETS = {"minimal": 1024, "low": 1024, "medium": 2048, "high": 4096, "xhigh": 8192, "max": 16384}
"""Tokens to think, for models that take a budget."""
_EFFORTS = {"minimal": "low"}
BUDGET_MIN = 1024
_PLACEHOLDER = "Please continue."
_TIERS = {"auto": "auto", "default": "standard_only", "standard_only": "standard_only"}
_HANDLED = chat.READ_HERE | {"stream", "user", "service_tier", "web_search_options", "thinking", "n", "metadata"}

Block = dict[str, Any]


def request(fields: Mapping[str, msgspec.Raw], model: str, options: Options) -> bytes:
    return encode({"model": model, **body(fields, model, options)})


def body(fields: Mapping[str, msgspec.Raw], model: str, options: Options) -> dict[str, Any]:
    """All but the model, which other sellers of Claude want elsewhere."""
    traits, said, mend = claude.of(model), chat.messages(fields), options.modify_params
    system, messages = _messages(said, mend)
    made: dict[str, Any] = {"messages": messages}
    if system:
        made["system"] = system
    if options.stream:
        made["stream"] = True
    max_tokens = chat.max_tokens(fields)
    thinking(fields, made, traits, max_tokens, lost=chat.lost_thoughts(said), mend=mend)
    made["max_tokens"] = traits.output_tokens_max if max_tokens is None else max_tokens
    stop = [text for text in chat.stop(fields) if text.strip()]
    if stop:
        made["stop_sequences"] = stop
    _tools(fields, made, traits, said if mend else [])
    user = chat.string(fields, "user")
    if user and "@" not in user:  # Anthropic refuses what looks like somebody's address
        made["metadata"] = {"user_id": user}
    tier = chat.string(fields, "service_tier")
    if tier is not None:
        if tier not in _TIERS:
            refuse(f"service_tier: Anthropic has none called {tier[:40]!r}", "service_tier")
        made["service_tier"] = _TIERS[tier]
    for name, raw in fields.items():
        if name not in _HANDLED and chat.is_said(raw):
            made.setdefault(name, raw)
    return made


# ── messages ──


def _messages(messages: list[chat.Message], mend: bool) -> tuple[list[Block], list[dict[str, Any]]]:
    system: list[Block] = []
    turns: list[dict[str, Any]] = []
    last = len(messages) - 1
    for i, message in enumerate(messages):
        where = f"messages[{i}]"
        if message.role in ("system", "developer"):
            system += _blocks(message, where)
            continue
        if message.role == "assistant":
            role, blocks = "assistant", _assistant(message, where)
            if i == last and blocks and blocks[-1]["type"] == "text":  # refused with white space at its end
                blocks[-1]["text"] = blocks[-1]["text"].rstrip()
        elif message.role == "tool":
            role, blocks = "user", [_result(message, where)]
        else:
            role, blocks = "user", _blocks(message, where)
        if not blocks:
            if not mend:
                if role == "assistant":
                    continue  # said nothing and called nothing: as if it weren't there
                refuse(f"{where}.content: Anthropic takes no empty message", f"{where}.content")
            blocks = [{"type": "text", "text": _PLACEHOLDER}]
        if turns and turns[-1]["role"] == role:
            chat.put(turns[-1]["content"], blocks, _is_result)
        else:
            turns.append({"role": role, "content": blocks})
    if mend and (not turns or turns[0]["role"] != "user"):
        turns.insert(0, {"role": "user", "content": [{"type": "text", "text": _PLACEHOLDER}]})
    if not turns:
        refuse("messages: Anthropic needs a message of the user's besides system messages", "messages")
    return system, turns


def _is_result(block: Block) -> bool:
    return bool(block["type"] == "tool_result")


def _blocks(message: chat.Message, where: str) -> list[Block]:
    content = message.content
    if isinstance(content, str):
        if not content.strip():  # refused, as an empty one is
            return []
        block: Block = {"type": "text", "text": content}
        if chat.is_said(message.cache_control):
            block["cache_control"] = message.cache_control
        return [block]
    found = []
    for j, part in enumerate(content or ()):
        block_ = _part(part, f"{where}.content[{j}]")
        if block_ is not None:
            if chat.is_said(part.cache_control):
                block_["cache_control"] = part.cache_control
            found.append(block_)
    if found and chat.is_said(message.cache_control):
        found[-1].setdefault("cache_control", message.cache_control)
    return found


def _part(part: chat.Part, where: str) -> Block | None:
    if part.type in ("text", "refusal", "input_text"):
        text = part.text or part.refusal
        return {"type": "text", "text": text} if text and text.strip() else None
    if part.type == "image_url":
        url, media = chat.image_url(part)
        return {"type": "image", "source": _source(url, media, where)}
    if part.type == "file" and part.file is not None:
        if part.file.file_data:
            return _file(part.file, part.file.file_data, where)
        if part.file.file_id:
            source = {"type": "file", "file_id": part.file.file_id}
            if part.file.file_id.startswith(("http://", "https://")):
                source = {"type": "url", "url": part.file.file_id}
            return {"type": "document", "source": source}
    return refuse(f"{where}: Anthropic takes no part of type {part.type[:40]!r}", where)


_WORDS = ("text/", "application/json", "application/xml", "application/yaml", "application/x-yaml")
"""Documents that are words."""


def _file(file: chat.File, url: str, where: str) -> Block:
    source = _source(url, file.format, where)
    media = source.get("media_type", "")
    if media.startswith("image/"):
        return {"type": "image", "source": source}
    if media.startswith(_WORDS):  # in base64 Anthropic takes PDFs alone
        try:
            text = base64.b64decode(source["data"]).decode()
        except ValueError:
            refuse(f"{where}.file.file_data: no text in UTF-8, in base64", f"{where}.file.file_data")
        source = {"type": "text", "media_type": "text/plain", "data": text}
    return {"type": "document", "source": source, **({"title": file.filename} if file.filename else {})}


def _source(url: str, media: str | None, where: str) -> dict[str, str]:
    inline = chat.data_url(url)
    if inline is not None:
        return {"type": "base64", "media_type": media or inline[0], "data": inline[1]}
    if url.startswith(("https://", "http://")):
        return {"type": "url", "url": url}
    return refuse(f"{where}: neither a data URL in base64 nor an http address", where)


def _assistant(message: chat.Message, where: str) -> list[Block]:
    """Thinking that Claude signed comes first; unsigned reasoning of others isn't taken, and stays
    here.
    """
    blocks: list[Any] = list(message.thinking_blocks or ())
    blocks += _blocks(message, where)
    for j, call in enumerate(message.tool_calls or ()):
        at = f"{where}.tool_calls[{j}]"
        if call.function is None or not call.function.name:
            refuse(f"{at}.function.name: a call names its function", at)
        blocks.append(
            {
                "type": "tool_use",
                "id": call_ids.for_claude(call.id),
                "name": call.function.name,
                "input": chat.arguments(call, at),
            }
        )
    return blocks


def _result(message: chat.Message, where: str) -> Block:
    block: Block = {"type": "tool_result", "tool_use_id": call_ids.for_claude(message.tool_call_id or "")}
    content = message.content
    if isinstance(content, str):
        if content:
            block["content"] = content
    elif content:
        block["content"] = inner = _blocks(message, where)
        for each in inner:  # Anthropic refuses it inside of a result: it is said of all of it
            if "cache_control" in each:
                block["cache_control"] = each.pop("cache_control")
    if chat.is_said(message.cache_control):
        block["cache_control"] = message.cache_control
    return block


# ── tools, schemas, thinking ──


def _tools(
    fields: Mapping[str, msgspec.Raw], made: dict[str, Any], traits: claude.Claude, said: list[chat.Message]
) -> None:
    """
    Args:
        said: messages whose calls may be of tools that aren't given any more, which Claude refuses.
    """
    tools: list[Any] = [_tool(tool) for tool in chat.tools(fields)]
    choice = _choice(chat.tool_choice(fields))
    searches = chat.mapping(fields, "web_search_options")
    if searches is not None:
        tools.append(_web_search(searches))
    wanted = chat.response_format(fields)
    if wanted is not None and wanted.schema and traits.schemas:
        made.setdefault("output_config", {})["format"] = {"type": "json_schema", "schema": closed(wanted.schema)}
    elif wanted is not None and wanted.schema:  # `json_object` alone: the prompt asks for it, as OpenAI demands
        forced = traits.forced_tools and not is_thinking(made)
        if choice is None or choice["type"] == "auto":
            choice = (
                {"type": "auto"} if not forced else {"type": "any"} if tools else {"type": "tool", "name": JSON_TOOL}
            )
        tools.append(
            {"name": JSON_TOOL, "description": "Give the answer with this tool.", "input_schema": wanted.schema}
        )
    if not tools:
        tools = [{"name": name, "input_schema": _NO_PARAMETERS} for name in chat.called(said)]
    if not tools:
        return
    if chat.boolean(fields, "parallel_tool_calls") is False and (choice is None or choice["type"] != "none"):
        choice = {**(choice or {"type": "auto"}), "disable_parallel_tool_use": True}
    made["tools"] = tools
    if choice is not None:
        made["tool_choice"] = choice


_NO_PARAMETERS = msgspec.Raw(b'{"type":"object","properties":{}}')


def _tool(tool: chat.Tool) -> Any:
    function = tool.function
    if function is None:
        return tool.raw  # Anthropic's own: web_search_20250305, bash_20250124, ...
    made: dict[str, Any] = {"name": function.name}
    if function.description:
        made["description"] = function.description
    made["input_schema"] = object_schema(function.parameters)
    if function.strict:
        made["strict"] = True
    if chat.is_said(tool.cache_control):
        made["cache_control"] = tool.cache_control
    return made


def object_schema(parameters: msgspec.Raw) -> Any:
    """Anthropic wants `type: object` said."""
    if not parameters or bytes(parameters) == b"null":
        return _NO_PARAMETERS
    if _typed(parameters).type == "object":
        return parameters
    return {**msgspec.json.decode(parameters), "type": "object"}


class _Typed(msgspec.Struct):
    type: Any = None


_typed = msgspec.json.Decoder(_Typed).decode


def _choice(choice: chat.ToolChoice | None) -> dict[str, Any] | None:
    if choice is None:
        return None
    if choice.mode == "function":
        return {"type": "tool", "name": choice.name}
    return {"type": {"required": "any"}.get(choice.mode, choice.mode)}


def _web_search(options: dict[str, Any]) -> dict[str, Any]:
    tool: dict[str, Any] = {"type": "web_search_20250305", "name": "web_search"}
    location = options.get("user_location")
    if isinstance(location, dict):
        tool["user_location"] = {"type": "approximate", **(location.get("approximate") or {})}
    uses = {"low": 1, "medium": 5, "high": 10}.get(str(options.get("search_context_size")))
    return tool if uses is None else {**tool, "max_uses": uses}


_CONSTRAINTS = frozenset(
    {
        "maxItems", "uniqueItems", "contains", "minContains", "maxContains", "prefixItems", "minimum", "maximum", "exclusiveMinimum",
        "exclusiveMaximum", "multipleOf", "minLength", "maxLength", "minProperties", "maxProperties", "patternProperties",
        "propertyNames", "dependentRequired", "dependentSchemas", "unevaluatedProperties", "if", "then", "else", "not",
    }
)  # fmt: skip
"""Keywords that Anthropic's structured outputs refuse; they are said in the description instead."""


def closed(schema: msgspec.Raw) -> Any:
    """A schema as structured outputs take it: objects closed, `oneOf` as `anyOf`, constraints as
    words.
    """
    return _closed(msgspec.json.decode(schema))


def _closed(node: Any) -> Any:
    if not isinstance(node, dict):
        return node
    made: dict[str, Any] = {}
    words = []
    for key, value in node.items():
        if key in _CONSTRAINTS or (key == "minItems" and value not in (0, 1)):
            if value is not False:
                words.append(f"{key}: {encode(value).decode()}")
        elif key in ("properties", "$defs", "definitions") and isinstance(value, dict):
            made[key] = {name: _closed(inner) for name, inner in value.items()}
        elif key in ("anyOf", "oneOf", "allOf") and isinstance(value, list):
            name = "allOf" if key == "allOf" else "anyOf"
            made[name] = made.get(name, []) + [_closed(inner) for inner in value]
        else:
            made[key] = _closed(value) if key == "items" else value
    if words:
        made["description"] = f"{made.get('description', '')} ({', '.join(words)})".strip()
    if made.get("type") == "object" or "properties" in made:
        made["additionalProperties"] = False
    return made


def is_thinking(made: dict[str, Any]) -> bool:
    said = made.get("thinking")
    if isinstance(said, msgspec.Raw):
        return str(_typed(said).type) != "disabled"
    return isinstance(said, dict) and said["type"] != "disabled"


def thinking(
    fields: Mapping[str, msgspec.Raw], made: dict[str, Any], traits: claude.Claude, max_tokens: int | None,
    *, lost: bool, mend: bool,
) -> None:  # fmt: skip
    """`thinking` as the client wrote it goes before `reasoning_effort`, which says the same less
    exactly.

    Args:
        lost: the turn that goes on had thoughts which weren't brought back. Claude refuses to think
            on then, where it has a budget for it; clients of OpenAI's know no such thing.
    """
    if "thinking" in fields:
        if not (lost and mend and _typed(fields["thinking"]).type == "enabled"):
            made["thinking"] = fields["thinking"]
        return
    effort = chat.reasoning_effort(fields)
    if effort is None or not traits.thinks:
        return
    if effort == "none":
        if traits.version >= (5, 0):  # think unless told not to
            made["thinking"] = {"type": "disabled"}
        return
    if traits.effort:
        word = _EFFORTS.get(effort, effort)
        made["output_config"] = {"effort": "high" if word == "xhigh" and not traits.xhigh else word}
    if traits.adaptive:
        made["thinking"] = {"type": "adaptive", "display": "summarized"}
        return
    budget = _BUDGETS[effort]
    if max_tokens is not None:
        budget = min(budget, max_tokens - 1)
    if budget >= BUDGET_MIN and not lost:  # else there is no room to think in
        made["thinking"] = {"type": "enabled", "budget_tokens": budget}
