"""Anthropic's Messages in front, OpenAI's chat behind, and so whatever chat is translated to: for
clients such as Claude Code before models of anybody's.

A signature is its maker's: thoughts without one go out, and come back, as reasoning that nobody
signed. What only Anthropic's servers can do (tools of theirs) is refused; what would only tell them
how to work (`service_tier`, `context_management` ...) isn't passed on.
"""

from collections.abc import Mapping
from typing import Any

import msgspec

from services.edge.providers.translate import chat
from services.edge.providers.translate.chat_answer import Function, Usage, whole
from services.edge.providers.translate.wire import encode, read, refuse
from shared.decoding import UNREADABLE

Block = dict[str, Any]

_system = msgspec.json.Decoder(str | list[dict[str, Any]] | None)
_mapping = msgspec.json.Decoder(dict[str, Any] | None)
_list = msgspec.json.Decoder(list[dict[str, Any]] | None)
_SAME = ("temperature", "top_p", "max_tokens", "stream")
_CHOICES = {"auto": "auto", "any": "required", "none": "none"}
_EFFORTS = ((10_000, "high"), (4_000, "medium"), (0, "low"))
"""Tokens to think, at least → how hard that is in OpenAI's words."""


def fields(given: Mapping[str, msgspec.Raw], *, marks: bool) -> dict[str, msgspec.Raw]:
    """A chat request's. Raises RefusedError (400) for what can't be said in it.

    Args:
        marks: what is Claude's own (cache marks, signed thoughts, `top_k`) may be said too: whoever
            translates chat on knows it. OpenAI's wire refuses names that it doesn't know.
    """
    made: dict[str, Any] = {name: given[name] for name in _SAME if name in given and chat.is_said(given[name])}
    messages = _of_system(read(given, "system", _system), marks=marks)
    for i, message in enumerate(read(given, "messages", _list) or []):
        messages += _messages(message, f"messages[{i}]", marks=marks)
    made["messages"] = messages
    if bytes(given.get("stream", b"")) == b"true":
        made["stream_options"] = {"include_usage": True}
    stop = read(given, "stop_sequences", msgspec.json.Decoder(list[str] | None))
    if stop:
        made["stop"] = stop
    if marks and "top_k" in given:
        made["top_k"] = given["top_k"]
    _tools(given, made, marks=marks)
    _output(given, made)
    return {name: raw if isinstance(raw, msgspec.Raw) else msgspec.Raw(encode(raw)) for name, raw in made.items()}


# ── messages ──


def _of_system(system: str | list[Block] | None, *, marks: bool) -> list[dict[str, Any]]:
    if not system:
        return []
    if isinstance(system, str):
        return [{"role": "system", "content": system}]
    parts = [_text(block, marks=marks) for block in system if block.get("type") == "text"]
    return [{"role": "system", "content": _plain(parts)}] if parts else []


def _messages(message: Block, where: str, *, marks: bool) -> list[dict[str, Any]]:
    role, content = message.get("role"), message.get("content")
    if role not in ("user", "assistant", "system"):
        refuse(f"{where}.role: must be user or assistant", f"{where}.role")
    blocks = _blocks(content, where)
    if role == "assistant":
        return [_assistant(blocks, where, marks=marks)]
    results: list[dict[str, Any]] = []
    parts: list[dict[str, Any]] = []
    for j, block in enumerate(blocks):
        at = f"{where}.content[{j}]"
        if block.get("type") == "tool_result":
            said, shown = _result(block, at, marks=marks)
            results.append(said)
            parts += shown
        else:
            parts.append(_part(block, at, marks=marks))
    return [*results, *([{"role": role, "content": _plain(parts)}] if parts or not results else [])]


def _blocks(content: Any, where: str) -> list[Block]:
    blocks = [{"type": "text", "text": content}] if isinstance(content, str) else content
    if not isinstance(blocks, list) or not all(isinstance(block, dict) for block in blocks):
        refuse(f"{where}.content: must be a string or a list of blocks", f"{where}.content")
    return blocks


def _plain(parts: list[dict[str, Any]]) -> Any:
    """A single text as a string: servers that know no parts understand it."""
    if len(parts) == 1 and parts[0].keys() == {"type", "text"}:
        return parts[0]["text"]
    return parts or ""


def _text(block: Block, *, marks: bool) -> dict[str, Any]:
    made = {"type": "text", "text": str(block.get("text") or "")}
    if marks and block.get("cache_control"):
        made["cache_control"] = block["cache_control"]
    return made


def _part(block: Block, where: str, *, marks: bool) -> dict[str, Any]:
    kind, source = block.get("type"), block.get("source")
    if kind == "text":
        return _text(block, marks=marks)
    if kind in ("image", "document") and isinstance(source, dict):
        made = _media(str(kind), source, block, where)
        if marks and block.get("cache_control"):
            made["cache_control"] = block["cache_control"]
        return made
    if kind == "search_result":
        return {"type": "text", "text": "\n".join([str(block.get("title") or ""), *_texts(block, where)])}
    return refuse(f"{where}: this model takes no block of type {str(kind)[:40]!r}", where)


def _texts(block: Block, where: str) -> list[str]:
    return [str(each.get("text") or "") for each in _blocks(block.get("content") or [], where)]


def _media(kind: str, source: dict[str, Any], block: Block, where: str) -> dict[str, Any]:
    of = source.get("type")
    if of == "text":
        return {"type": "text", "text": str(source.get("data") or "")}
    if of == "content":
        return {"type": "text", "text": "\n".join(_texts(source, f"{where}.source"))}
    if of not in ("base64", "url"):
        refuse(f"{where}.source: this model takes no source of type {str(of)[:40]!r}", f"{where}.source")
    url = (
        str(source.get("url") or "") if of == "url" else f"data:{source.get('media_type')};base64,{source.get('data')}"
    )
    if kind == "image":
        return {"type": "image_url", "image_url": {"url": url}}
    if of == "url":
        return {"type": "file", "file": {"file_id": url}}
    return {"type": "file", "file": {"filename": str(block.get("title") or "document.pdf"), "file_data": url}}


def _result(block: Block, where: str, *, marks: bool) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """(the result's words, its images and documents: in OpenAI's wire only users show those)."""
    inner = _blocks(block.get("content") or [], where)
    parts = [_part(each, f"{where}.content", marks=False) for each in inner]
    words = "\n".join(part["text"] for part in parts if part["type"] == "text")
    made: dict[str, Any] = {"role": "tool", "tool_call_id": str(block.get("tool_use_id") or ""), "content": words}
    if marks and block.get("cache_control"):
        made["cache_control"] = block["cache_control"]
    return made, [part for part in parts if part["type"] != "text"]


def _assistant(blocks: list[Block], where: str, *, marks: bool) -> dict[str, Any]:
    texts: list[dict[str, Any]] = []
    calls: list[dict[str, Any]] = []
    thoughts: list[Block] = []
    for block in blocks:
        kind = block.get("type")
        if kind == "text":
            texts.append(_text(block, marks=marks))
        elif kind == "tool_use":
            arguments = encode(block.get("input") or {}).decode()
            function = {"name": str(block.get("name") or ""), "arguments": arguments}
            calls.append({"id": str(block.get("id") or ""), "type": "function", "function": function})
        elif kind == "redacted_thinking" or (kind == "thinking" and block.get("signature")):
            thoughts.append(block)
    made: dict[str, Any] = {"role": "assistant", "content": _plain(texts) if texts or not calls else None}
    if calls:
        made["tool_calls"] = calls
    if marks and thoughts:
        made["thinking_blocks"] = thoughts
    return made


# ── tools and settings ──


def _tools(given: Mapping[str, msgspec.Raw], made: dict[str, Any], *, marks: bool) -> None:
    tools = []
    for i, tool in enumerate(read(given, "tools", _list) or ()):
        if tool.get("type") not in (None, "custom"):
            refuse(f"tools[{i}]: this model has no tool of type {str(tool['type'])[:40]!r}", f"tools[{i}].type")
        function = {
            "name": tool.get("name"),
            "parameters": tool.get("input_schema") or {"type": "object", "properties": {}},
        }
        if tool.get("description"):
            function["description"] = tool["description"]
        one = {"type": "function", "function": function}
        if marks and tool.get("cache_control"):
            one["cache_control"] = tool["cache_control"]
        tools.append(one)
    if not tools:
        return
    made["tools"] = tools
    choice = read(given, "tool_choice", _mapping)
    if choice is None:
        return
    kind = choice.get("type")
    if kind == "tool":
        made["tool_choice"] = {"type": "function", "function": {"name": choice.get("name")}}
    elif isinstance(kind, str) and kind in _CHOICES:
        made["tool_choice"] = _CHOICES[kind]
    else:
        refuse("tool_choice.type: must be auto, any, tool or none", "tool_choice.type")
    if choice.get("disable_parallel_tool_use") is True:
        made["parallel_tool_calls"] = False


def _output(given: Mapping[str, msgspec.Raw], made: dict[str, Any]) -> None:
    config = read(given, "output_config", _mapping) or {}
    format = config.get("format") or read(given, "output_format", _mapping)
    if isinstance(format, dict) and format.get("type") == "json_schema":
        schema = {"name": "answer", "schema": format.get("schema") or {}, "strict": True}
        made["response_format"] = {"type": "json_schema", "json_schema": schema}
    thinking = read(given, "thinking", _mapping)
    if config.get("effort"):
        made["reasoning_effort"] = config["effort"]
    elif thinking is not None and thinking.get("type") in ("enabled", "adaptive"):
        budget = thinking.get("budget_tokens")
        budget = max(0, budget) if isinstance(budget, int) else _EFFORTS[1][0]
        made["reasoning_effort"] = next(word for least, word in _EFFORTS if budget >= least)


# ── the answer ──


_STOPS = {"length": "max_tokens", "tool_calls": "tool_use", "function_call": "tool_use", "content_filter": "refusal"}


def stop_reason(finish: str | None, *, calls: bool) -> str:
    found = _STOPS.get(finish or "", "end_turn")
    return "tool_use" if calls and found == "end_turn" else found


def usage(found: Usage) -> dict[str, int]:
    """Its input doesn't include what was read from a cache, or written to one."""
    return {
        "input_tokens": max(0, (found.prompt_tokens or 0) - found.cached - found.written),
        "output_tokens": found.completion_tokens or 0,
        "cache_read_input_tokens": found.cached,
        "cache_creation_input_tokens": found.written,
    }


def message(body: bytes, model: str) -> dict[str, Any] | None:
    """A whole chat answer as Anthropic's message; None: it is none."""
    read = whole(body)
    if read is None:
        return None
    found, said, finish = read
    content: list[Block] = said.signed
    if said.thoughts and not content:
        content.append({"type": "thinking", "thinking": said.thoughts, "signature": ""})
    if said.text:
        content.append({"type": "text", "text": said.text})
    for n, call in enumerate(said.tool_calls or ()):
        function = call.function or Function()
        content.append(
            {
                "type": "tool_use",
                "id": call.id or f"toolu_{n}",
                "name": function.name or "",
                "input": _input(function.arguments),
            }
        )
    return {
        "id": found.id or "msg", "type": "message", "role": "assistant", "model": found.model or model, "content": content,
        "stop_reason": stop_reason(finish, calls=bool(said.tool_calls)), "stop_sequence": None,
        "usage": usage(found.usage or Usage()),
    }  # fmt: skip


def _input(arguments: str | None) -> Any:
    """What isn't an object (it broke off) can't be said here."""
    try:
        found = msgspec.json.decode((arguments or "").strip() or "{}")
    except UNREADABLE:
        return {}
    return found if isinstance(found, dict) else {}
