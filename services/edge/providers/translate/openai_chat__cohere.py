"""OpenAI's chat in front, Cohere's /v2/chat behind (https://docs.cohere.com/reference/chat).

What is billed (`billed_units`) is what counts as usage: Cohere's `tokens` include a preamble that
nobody pays for.
"""

from collections.abc import Mapping
from typing import Any

import msgspec

from services.edge.providers.base import ErrorSaid, Options, UnreadableAnswerError
from services.edge.providers.translate import chat, wire
from services.edge.providers.translate.wire import DONE, Chunks, EventStream, encode, refuse
from shared.decoding import UNREADABLE

_NAMES = {"top_p": "p", "top_k": "k"}
_HANDLED = chat.READ_HERE | {"user", "metadata", "n", "service_tier"}
FINISH = {"COMPLETE": "stop", "STOP_SEQUENCE": "stop", "MAX_TOKENS": "length", "TOOL_CALL": "tool_calls"}
_FAILED = {"ERROR", "TIMEOUT"}
_BUDGETS = {"minimal": 512, "low": 1024, "medium": 2048, "high": 4096, "xhigh": 8192, "max": 16384}


def request(fields: Mapping[str, msgspec.Raw], model: str, options: Options) -> bytes:
    made: dict[str, Any] = {"model": model, "messages": _messages(chat.messages(fields)), "stream": options.stream}
    tools = chat.tools(fields)
    if tools:
        made["tools"] = [{"type": "function", "function": _function(tool)} for tool in tools]
        if any(tool.function is not None and tool.function.strict for tool in tools):
            made["strict_tools"] = True
        _choose(chat.tool_choice(fields), made)
    max_tokens = chat.max_tokens(fields)
    if max_tokens is not None:
        made["max_tokens"] = max_tokens
    stop = chat.stop(fields)
    if stop:
        made["stop_sequences"] = stop
    wanted = chat.response_format(fields)
    if wanted is not None:
        made["response_format"] = {"type": "json_object", **({"json_schema": wanted.schema} if wanted.schema else {})}
    effort = chat.reasoning_effort(fields)
    if effort is not None:
        budget = _BUDGETS.get(effort)
        made["thinking"] = {"type": "disabled"} if budget is None else {"type": "enabled", "token_budget": budget}
    for name, raw in fields.items():
        if name not in _HANDLED:
            made[_NAMES.get(name, name)] = raw
    return encode(made)


def _messages(messages: list[chat.Message]) -> list[dict[str, Any]]:
    made = []
    for i, message in enumerate(messages):
        where = f"messages[{i}]"
        one: dict[str, Any] = {"role": "system" if message.role == "developer" else message.role}
        if message.role == "user" and not isinstance(message.content, str):
            one["content"] = [_part(part, f"{where}.content[{j}]") for j, part in enumerate(message.content or ())]
        elif message.role == "tool":
            one["tool_call_id"], one["content"] = message.tool_call_id, chat.text_of(message.content)
        else:
            text = chat.text_of(message.content)
            calls = []
            for j, call in enumerate(message.tool_calls or ()):
                at = f"{where}.tool_calls[{j}]"
                if call.function is None or not call.function.name:
                    refuse(f"{at}.function.name: a call names its function", at)
                calls.append(wire.tool_call(call.id, call.function.name, bytes(chat.arguments(call, at)).decode()))
            if calls:
                one["tool_calls"] = calls
                if text:
                    one["tool_plan"] = text  # what it said before it called
            else:
                one["content"] = text
        made.append(one)
    return made


def _part(part: chat.Part, where: str) -> dict[str, Any]:
    if part.type in ("text", "refusal", "input_text"):
        return {"type": "text", "text": part.text or part.refusal or ""}
    if part.type == "image_url":
        detail = part.image_url.detail if isinstance(part.image_url, chat.ImageUrl) else None
        return {
            "type": "image_url",
            "image_url": {"url": chat.image_url(part)[0], **({"detail": detail} if detail else {})},
        }
    return refuse(f"{where}: Cohere takes no part of type {part.type[:40]!r}", where)


_NO_PARAMETERS = msgspec.Raw(b'{"type":"object","properties":{}}')


def _function(tool: chat.Tool) -> dict[str, Any]:
    function = tool.function
    if function is None:
        refuse(f"tools: Cohere takes no tool of type {tool.type[:40]!r}", "tools")
    parameters = function.parameters
    made: dict[str, Any] = {"name": function.name}
    if function.description:
        made["description"] = function.description
    made["parameters"] = parameters if parameters and bytes(parameters) != b"null" else _NO_PARAMETERS
    return made


def _choose(choice: chat.ToolChoice | None, made: dict[str, Any]) -> None:
    if choice is None or choice.mode == "auto":
        return
    if choice.mode == "function":  # of one tool, the required one is this
        made["tools"] = [tool for tool in made["tools"] if tool["function"]["name"] == choice.name]
        if not made["tools"]:
            refuse(f"tool_choice: no tool is called {choice.name[:80]!r}", "tool_choice")
    made["tool_choice"] = "NONE" if choice.mode == "none" else "REQUIRED"


class Units(msgspec.Struct):
    input_tokens: float | None = None
    output_tokens: float | None = None
    search_units: float | None = None


class Usage(msgspec.Struct):
    billed_units: Units | None = None
    tokens: Units | None = None
    cached_tokens: float | None = None

    def openai(self) -> dict[str, Any] | None:
        counted = self.billed_units or self.tokens
        if counted is None or counted.input_tokens is None:
            return None
        prompt = int(counted.input_tokens)
        return wire.usage(prompt, int(counted.output_tokens or 0), cached=min(int(self.cached_tokens or 0), prompt))


class _Function(msgspec.Struct):
    name: str | None = None
    arguments: str | None = None


class _Call(msgspec.Struct):
    id: str = ""
    function: _Function | None = None


class _Content(msgspec.Struct):
    type: str = "text"
    text: str | None = None
    thinking: str | None = None


class _Message(msgspec.Struct):
    content: list[_Content] | None = None
    tool_plan: str | None = None
    tool_calls: list[_Call] | None = None


class _Answer(msgspec.Struct):
    message: _Message
    id: str = ""
    finish_reason: str = ""
    usage: Usage | None = None


class _ErrorBody(msgspec.Struct):
    message: str


_answer = msgspec.json.Decoder(_Answer).decode
_error = msgspec.json.Decoder(_ErrorBody).decode


def answer(body: bytes, options: Options) -> bytes:
    try:
        found = _answer(body)
    except UNREADABLE as problem:
        raise UnreadableAnswerError(f"no answer of Cohere's: {problem}") from None
    if found.finish_reason in _FAILED:
        raise UnreadableAnswerError(f"Cohere gave up: {found.finish_reason}")
    content = found.message.content or ()
    texts = [found.message.tool_plan or "", *(block.text or "" for block in content if block.type == "text")]
    thoughts = [block.thinking or "" for block in content if block.type == "thinking"]
    calls = [
        wire.tool_call(call.id, call.function.name or "", call.function.arguments or "{}")
        for call in found.message.tool_calls or ()
        if call.function is not None
    ]
    message: dict[str, Any] = {"role": "assistant", "content": "".join(texts) or (None if calls else "")}
    if calls:
        message["tool_calls"] = calls
    if thoughts:
        message["reasoning_content"] = "".join(thoughts)
    finish = FINISH.get(found.finish_reason, "stop")
    usage = found.usage.openai() if found.usage is not None else None
    return wire.completion(found.id or options.response_id, options.model, options.now_s, message, finish, usage)


def error(body: bytes, status: int) -> ErrorSaid | None:
    try:
        return wire.said(status, _error(body).message)
    except UNREADABLE:
        return None


class _LooseMessage(msgspec.Struct):
    """`content` and `tool_calls` are empty lists in the first event."""

    content: _Content | list[Any] | None = None
    tool_plan: str | None = None
    tool_calls: _Call | list[Any] | None = None


class _Delta(msgspec.Struct):
    message: _LooseMessage | None = None
    finish_reason: str = ""
    usage: Usage | None = None
    error: str | None = None


class _Event(msgspec.Struct):
    type: str = ""
    id: str = ""
    delta: _Delta | None = None


_event = msgspec.json.Decoder(_Event).decode


class Stream(EventStream):
    def __init__(self, options: Options) -> None:
        self._options = options
        super().__init__()
        self._chunks = Chunks(options.response_id, options.model, options.now_s)
        self._call = -1
        self._silent = False
        """The call being written has no arguments so far."""
        self._over = False

    def _read(self, data: bytes, out: list[bytes]) -> None:
        if self._over or data == b"[DONE]":
            return
        try:
            event = _event(data)
        except UNREADABLE as problem:
            raise UnreadableAnswerError(f"no event of Cohere's: {problem}") from None
        delta = event.delta
        message = delta.message if delta is not None else None
        if event.type == "message-start":
            self._chunks = Chunks(event.id or self._options.response_id, self._options.model, self._options.now_s)
            out.append(self._chunks.role())
        elif event.type in ("content-start", "content-delta"):
            if message is not None and isinstance(message.content, _Content):
                if message.content.thinking:
                    out.append(self._chunks.reasoning(message.content.thinking))
                if message.content.text:
                    out.append(self._chunks.text(message.content.text))
        elif event.type == "tool-plan-delta":
            if message is not None and message.tool_plan:
                out.append(self._chunks.text(message.tool_plan))
        elif event.type == "tool-call-start":
            if message is not None and isinstance(message.tool_calls, _Call):
                call = message.tool_calls
                function = call.function or _Function()
                self._call += 1
                self._silent = not function.arguments
                out.append(self._chunks.tool(self._call, call.id, function.name or "", function.arguments or ""))
        elif event.type == "tool-call-delta":
            if message is not None and isinstance(message.tool_calls, _Call):
                piece = message.tool_calls.function.arguments if message.tool_calls.function is not None else None
                if piece:
                    self._silent = False
                    out.append(self._chunks.arguments(self._call, piece))
        elif event.type == "tool-call-end":
            if self._silent:
                out.append(self._chunks.arguments(self._call, "{}"))
        elif event.type == "message-end" and delta is not None:
            self._end(delta, out)

    def _end(self, delta: _Delta, out: list[bytes]) -> None:
        self._over = True
        if delta.error or delta.finish_reason in _FAILED:
            out.append(wire.error_event(wire.said(500, delta.error or f"Cohere gave up: {delta.finish_reason}")))
            return
        out.append(self._chunks.delta(b"{}", FINISH.get(delta.finish_reason, "stop")))
        usage = delta.usage.openai() if delta.usage is not None else None
        if usage is not None:
            out.append(self._chunks.usage(usage))
        out.append(DONE)
