"""OpenAI's Responses in front, its chat behind, and so whatever chat is translated to: for clients
such as Codex before models of anybody's.

Nothing is kept: what only a store could answer (`previous_response_id`) is refused. Claude's signed
thoughts travel as `encrypted_content`, and come back signed. A tool with a grammar becomes one with
a single string. A search that the model can't do is left out; other tools of OpenAI's servers are
refused.
"""

import base64
import binascii
from collections.abc import Mapping
from typing import Any

import msgspec

from services.edge.providers.translate import chat
from services.edge.providers.translate.chat_answer import THOUGHTS, Function, Usage, whole
from services.edge.providers.translate.wire import encode, read, refuse
from shared.decoding import UNREADABLE

Item = dict[str, Any]

_input = msgspec.json.Decoder(str | list[dict[str, Any]])
_string = msgspec.json.Decoder(str | None)
_mapping = msgspec.json.Decoder(dict[str, Any] | None)
_list = msgspec.json.Decoder(list[dict[str, Any]] | None)
_choice = msgspec.json.Decoder(str | dict[str, Any] | None)
_SAME = ("temperature", "top_p", "stream", "parallel_tool_calls", "user")
_KEPT_ELSEWHERE = ("previous_response_id", "conversation", "background", "prompt")
"""What needs somebody who keeps responses."""
_ECHOED = (
    "instructions", "max_output_tokens", "metadata", "parallel_tool_calls", "reasoning", "temperature", "text", "tool_choice", "tools", "top_p",
)  # fmt: skip
_DEFAULTS: Mapping[str, Any] = {"parallel_tool_calls": True, "tool_choice": "auto", "tools": [], "metadata": {}}
_ROLES = {"user": "user", "assistant": "assistant", "system": "system", "developer": "system"}
_HOSTED_CALLS = (
    "web_search_call", "file_search_call", "code_interpreter_call", "image_generation_call", "mcp_list_tools", "mcp_call",
)  # fmt: skip
"""Said by other models, of tools that ran elsewhere."""
SIGNED = "claude:"
"""Before thoughts in `encrypted_content`: others' aren't ours to read."""
CUSTOM_INPUT = "input"
"""Of a tool that takes text: the one argument of what stands for it."""


def fields(given: Mapping[str, msgspec.Raw], *, marks: bool) -> dict[str, msgspec.Raw]:
    """A chat request's. Raises RefusedError (400) for what can't be said in it.

    Args:
        marks: signed thoughts may be said.
    """
    for name in _KEPT_ELSEWHERE:
        if name in given and bytes(given[name]) not in (b"null", b"false"):
            refuse(f"{name}: nothing is kept of this model's responses", name)
    made: dict[str, Any] = {name: given[name] for name in _SAME if name in given and chat.is_said(given[name])}
    if "max_output_tokens" in given and chat.is_said(given["max_output_tokens"]):
        made["max_tokens"] = given["max_output_tokens"]
    messages: list[dict[str, Any]] = []
    instructions = read(given, "instructions", _string)
    if instructions:
        messages.append({"role": "system", "content": instructions})
    said = read(given, "input", _input)
    items = [{"role": "user", "content": said}] if isinstance(said, str) else said or []
    _Conversation(messages, marks=marks).add(items)
    made["messages"] = messages
    if bytes(given.get("stream", b"")) == b"true":
        made["stream_options"] = {"include_usage": True}
    _tools(given, made)
    _output(given, made)
    return {name: raw if isinstance(raw, msgspec.Raw) else msgspec.Raw(encode(raw)) for name, raw in made.items()}


# ── what was said ──


class _Conversation:
    """Items become messages: what an assistant thought, said and called one after another is one
    message.
    """

    def __init__(self, messages: list[dict[str, Any]], *, marks: bool) -> None:
        self._messages, self._marks = messages, marks
        self._assistant: dict[str, Any] | None = None
        self._shown: list[dict[str, Any]] = []
        """Images of tools' results: in OpenAI's chat only users show those, behind the results."""

    def add(self, items: list[Item]) -> None:
        for i, item in enumerate(items):
            kind = item.get("type") or "message"
            if not str(kind).endswith("_output"):
                self._show()
            self._one(str(kind), item, f"input[{i}]")
        self._show()

    def _one(self, kind: str, item: Item, where: str) -> None:
        if kind == "message":
            self._message(item, where)
        elif kind == "function_call":
            self._call(item, str(item.get("arguments") or "{}"))
        elif kind == "custom_tool_call":
            self._call(item, encode({CUSTOM_INPUT: item.get("input") or ""}).decode())
        elif kind in ("function_call_output", "custom_tool_call_output"):
            self._assistant = None
            words, shown = _parts(item.get("output"), f"{where}.output")
            said = {"role": "tool", "tool_call_id": str(item.get("call_id") or ""), "content": "\n".join(words)}
            self._messages.append(said)
            self._shown += shown
        elif kind == "reasoning":
            thoughts = _signed(item.get("encrypted_content")) if self._marks else []
            if thoughts:
                self._last().setdefault("thinking_blocks", []).extend(thoughts)
        elif kind not in _HOSTED_CALLS:
            refuse(f"{where}: this model takes no item of type {kind[:40]!r}", where)

    def _message(self, item: Item, where: str) -> None:
        role = _ROLES.get(str(item.get("role")))
        if role is None:
            refuse(f"{where}.role: must be one of {', '.join(_ROLES)}", f"{where}.role")
        words, shown = _parts(item.get("content"), f"{where}.content")
        if role == "assistant":
            last = self._last()
            text = "\n".join(words)
            last["content"] = f"{last['content']}\n{text}" if last.get("content") else text
            return
        self._assistant = None
        parts = [{"type": "text", "text": text} for text in words]
        plain = role == "system" or (len(parts) == 1 and not shown)
        self._messages.append({"role": role, "content": "\n".join(words) if plain else [*parts, *shown] or ""})

    def _call(self, item: Item, arguments: str) -> None:
        function = {"name": str(item.get("name") or ""), "arguments": arguments}
        call = {"id": str(item.get("call_id") or ""), "type": "function", "function": function}
        self._last().setdefault("tool_calls", []).append(call)

    def _last(self) -> dict[str, Any]:
        if self._assistant is None:
            self._assistant = {"role": "assistant", "content": None}
            self._messages.append(self._assistant)
        return self._assistant

    def _show(self) -> None:
        if self._shown:
            self._messages.append({"role": "user", "content": self._shown})
            self._shown = []


def _parts(content: Any, where: str) -> tuple[list[str], list[dict[str, Any]]]:
    """(its texts, its images and files in chat's words)."""
    if content is None or isinstance(content, str):
        return [content or ""], []
    if not isinstance(content, list) or not all(isinstance(part, dict) for part in content):
        refuse(f"{where}: must be a string or a list of parts", where)
    words: list[str] = []
    shown: list[dict[str, Any]] = []
    for j, part in enumerate(content):
        kind = part.get("type")
        if kind in ("input_text", "output_text", "text"):
            words.append(str(part.get("text") or ""))
        elif kind == "refusal":
            words.append(str(part.get("refusal") or ""))
        elif kind == "input_image" and isinstance(part.get("image_url"), str):
            image = {"url": part["image_url"], **({"detail": part["detail"]} if part.get("detail") else {})}
            shown.append({"type": "image_url", "image_url": image})
        elif kind == "input_file" and isinstance(part.get("file_data"), str):
            file = {"filename": str(part.get("filename") or "document.pdf"), "file_data": part["file_data"]}
            shown.append({"type": "file", "file": file})
        else:
            refuse(f"{where}[{j}]: this model takes no part of type {str(kind)[:40]!r}", f"{where}[{j}]")
    return words, shown


def signed(thoughts: list[dict[str, Any]]) -> str:
    return SIGNED + base64.b64encode(encode(thoughts)).decode()


def _signed(content: Any) -> list[dict[str, Any]]:
    if not isinstance(content, str) or not content.startswith(SIGNED):
        return []
    try:
        found = msgspec.json.decode(base64.b64decode(content.removeprefix(SIGNED)), type=list[dict[str, Any]])
    except (*UNREADABLE, binascii.Error):
        return []
    return [block for block in found if block.get("type") in THOUGHTS]


# ── tools and settings ──


def _tools(given: Mapping[str, msgspec.Raw], made: dict[str, Any]) -> None:
    tools = []
    for i, tool in enumerate(read(given, "tools", _list) or ()):
        kind = tool.get("type")
        if kind == "function":
            function = {name: tool[name] for name in ("name", "description", "strict") if tool.get(name) is not None}
            function["parameters"] = tool.get("parameters") or {"type": "object", "properties": {}}
        elif kind == "custom":
            function = _custom(tool)
        elif isinstance(kind, str) and kind.startswith("web_search"):
            continue
        else:
            refuse(f"tools[{i}]: this model has no tool of type {str(kind)[:40]!r}", f"tools[{i}].type")
        tools.append({"type": "function", "function": function})
    if not tools:
        made.pop("parallel_tool_calls", None)
        return
    made["tools"] = tools
    choice = read(given, "tool_choice", _choice)
    if isinstance(choice, dict):
        if choice.get("type") in ("function", "custom"):
            made["tool_choice"] = {"type": "function", "function": {"name": choice.get("name")}}
        elif choice.get("type") == "allowed_tools":
            made["tool_choice"] = choice.get("mode") or "auto"
        else:
            refuse("tool_choice: this model has no such tool", "tool_choice")
    elif choice is not None:
        made["tool_choice"] = choice


def _custom(tool: Item) -> dict[str, Any]:
    format = tool.get("format")
    text = str(tool.get("description") or "")
    if isinstance(format, dict) and format.get("definition"):
        text += f"\nThe input follows this grammar ({format.get('syntax')}):\n{format['definition']}"
    properties = {CUSTOM_INPUT: {"type": "string"}}
    parameters = {"type": "object", "properties": properties, "required": [CUSTOM_INPUT]}
    return {"name": tool.get("name"), "description": text.strip(), "parameters": parameters}


def _output(given: Mapping[str, msgspec.Raw], made: dict[str, Any]) -> None:
    text = read(given, "text", _mapping) or {}
    format = text.get("format")
    if isinstance(format, dict) and format.get("type") == "json_schema":
        schema = {name: format[name] for name in ("name", "description", "schema", "strict") if name in format}
        made["response_format"] = {"type": "json_schema", "json_schema": schema}
    elif isinstance(format, dict) and format.get("type") == "json_object":
        made["response_format"] = format
    effort = (read(given, "reasoning", _mapping) or {}).get("effort")
    if effort:
        made["reasoning_effort"] = effort


# ── the answer ──


def custom_names(given: Mapping[str, msgspec.Raw]) -> frozenset[str]:
    """The tools that take text."""
    return frozenset(
        str(tool.get("name")) for tool in read(given, "tools", _list) or () if tool.get("type") == "custom"
    )


def head(given: Mapping[str, msgspec.Raw], response_id: str, model: str, now_s: int) -> dict[str, Any]:
    """What an answer says besides what was said: OpenAI's repeats most of the request."""
    echoed = {name: given[name] if name in given else _DEFAULTS.get(name) for name in _ECHOED}
    return {
        "id": response_id, "object": "response", "created_at": now_s, "status": "in_progress", "error": None, "incomplete_details": None,
        "model": model, "output": [], "previous_response_id": None, "store": False, "truncation": "disabled", "usage": None, **echoed,
    }  # fmt: skip


def usage(found: Usage) -> dict[str, Any]:
    given, made = found.prompt_tokens or 0, found.completion_tokens or 0
    return {
        "input_tokens": given, "input_tokens_details": {"cached_tokens": found.cached, "cache_write_tokens": found.written},
        "output_tokens": made, "output_tokens_details": {"reasoning_tokens": found.thought}, "total_tokens": given + made,
    }  # fmt: skip


def ended(head: dict[str, Any], output: list[Item], finish: str | None, used: Usage) -> dict[str, Any]:
    """The whole response."""
    reason = {"length": "max_output_tokens", "content_filter": "content_filter"}.get(finish or "")
    return {
        **head,
        "status": "incomplete" if reason else "completed",
        "incomplete_details": {"reason": reason} if reason else None,
        "output": output,
        "usage": usage(used),
    }


def reasoning(item_id: str, thoughts: str, blocks: list[dict[str, Any]]) -> Item:
    made: Item = {"id": item_id, "type": "reasoning", "summary": []}
    if thoughts:
        made["summary"] = [{"type": "summary_text", "text": thoughts}]
    if blocks:
        made["encrypted_content"] = signed(blocks)
    return made


def message(item_id: str, text: str, status: str = "completed") -> Item:
    content = [{"type": "output_text", "text": text, "annotations": [], "logprobs": []}]
    return {"id": item_id, "type": "message", "status": status, "role": "assistant", "content": content}


def call(item_id: str, call_id: str, name: str, arguments: str, customs: frozenset[str]) -> Item:
    made: Item = {"id": item_id, "status": "completed", "call_id": call_id, "name": name}
    if name in customs:
        return {**made, "type": "custom_tool_call", "input": custom_input(arguments)}
    return {**made, "type": "function_call", "arguments": arguments or "{}"}


def custom_input(arguments: str) -> str:
    """What isn't as it was asked for is passed on as it is."""
    try:
        found = msgspec.json.decode(arguments, type=dict[str, Any])
    except UNREADABLE:
        return arguments
    said = found.get(CUSTOM_INPUT)
    return said if isinstance(said, str) else arguments


def response(body: bytes, head: dict[str, Any], customs: frozenset[str]) -> dict[str, Any] | None:
    """A whole chat answer as a response; None: it is none."""
    read = whole(body)
    if read is None:
        return None
    found, said, finish = read
    tail = str(head["id"]).removeprefix("resp_")
    output: list[Item] = []
    if said.thoughts or said.signed:
        output.append(reasoning(f"rs_{tail}", said.thoughts, said.signed))
    if said.text:
        output.append(message(f"msg_{tail}", said.text))
    for n, each in enumerate(said.tool_calls or ()):
        function = each.function or Function()
        name, arguments = function.name or "", function.arguments or ""
        output.append(call(f"fc_{tail}_{n}", each.id or f"call_{tail}_{n}", name, arguments, customs))
    return ended({**head, "model": found.model or head["model"]}, output, finish, found.usage or Usage())
