"""OpenAI's chat in front, Ollama's own /api/chat behind, for what its OpenAI address can't do:
`num_ctx`, `keep_alive`, `think`.

Whole answers are one JSON object, streams one a line. Images are plain base64; calls have no ids,
so ours count.
"""

from collections.abc import Mapping
from typing import Any

import msgspec

from services.edge.providers.base import ErrorSaid, Options, UnreadableAnswerError
from services.edge.providers.translate import chat, wire
from services.edge.providers.translate.wire import DONE, EVENT_BYTES_MAX, Chunks, encode, refuse
from shared.decoding import UNREADABLE

_OPTIONS = {
    "temperature": "temperature", "top_p": "top_p", "top_k": "top_k", "min_p": "min_p", "typical_p": "typical_p", "seed": "seed",
    "presence_penalty": "presence_penalty", "frequency_penalty": "repeat_penalty", "repeat_penalty": "repeat_penalty",
    "repeat_last_n": "repeat_last_n", "num_ctx": "num_ctx", "num_predict": "num_predict", "num_keep": "num_keep", "num_gpu": "num_gpu",
    "num_thread": "num_thread", "num_batch": "num_batch", "main_gpu": "main_gpu", "use_mmap": "use_mmap", "numa": "numa",
    "mirostat": "mirostat", "mirostat_eta": "mirostat_eta", "mirostat_tau": "mirostat_tau", "tfs_z": "tfs_z",
    "penalize_newline": "penalize_newline",
}  # fmt: skip
"""Fields -> `options`. OpenAI's frequency penalty is what LiteLLM, too, takes for Ollama's repeat
penalty.
"""
_HANDLED = chat.READ_HERE | {"user", "metadata", "n", "options", "thinking", "service_tier"}
_FINISH = {"length": "length"}


def request(fields: Mapping[str, msgspec.Raw], model: str, options: Options) -> bytes:
    made: dict[str, Any] = {
        "model": model,
        "messages": _messages(chat.messages(fields)),
        "stream": options.stream,  # Ollama's default is true
    }
    tools = [{"type": "function", "function": _function(tool)} for tool in chat.tools(fields)]
    choice = chat.tool_choice(fields)
    if tools and (choice is None or choice.mode != "none"):
        made["tools"] = tools
    settings: dict[str, Any] = chat.mapping(fields, "options") or {}
    for name, raw in fields.items():
        if name in _OPTIONS:
            settings[_OPTIONS[name]] = raw
        elif name not in _HANDLED:
            made[name] = raw  # keep_alive, think, format, ...
    max_tokens = chat.max_tokens(fields)
    if max_tokens is not None:
        settings["num_predict"] = max_tokens
    stop = chat.stop(fields)
    if stop:
        settings["stop"] = stop
    if settings:
        made["options"] = settings
    wanted = chat.response_format(fields)
    if wanted is not None:
        made.setdefault("format", wanted.schema or "json")
    effort = chat.reasoning_effort(fields)
    if effort is not None:
        made.setdefault("think", _think(effort, model))
    return encode(made)


def _think(effort: str, model: str) -> bool | str:
    """gpt-oss takes a level; other models think or don't."""
    if "gpt-oss" not in model:
        return effort != "none"
    return {"none": "low", "minimal": "low", "xhigh": "high", "max": "high"}.get(effort, effort)


def _messages(messages: list[chat.Message]) -> list[dict[str, Any]]:
    made = []
    names: dict[str, str] = {}
    for i, message in enumerate(messages):
        where = f"messages[{i}]"
        one: dict[str, Any] = {
            "role": "system" if message.role == "developer" else message.role,
            "content": chat.text_of(message.content),
        }
        images = [] if isinstance(message.content, str) else _images(message.content, where)
        if images:
            one["images"] = images
        if message.reasoning_content:
            one["thinking"] = message.reasoning_content
        calls = []
        for j, call in enumerate(message.tool_calls or ()):
            at = f"{where}.tool_calls[{j}]"
            if call.function is None or not call.function.name:
                refuse(f"{at}.function.name: a call names its function", at)
            names[call.id] = call.function.name
            calls.append({"function": {"name": call.function.name, "arguments": chat.arguments(call, at)}})
        if calls:
            one["tool_calls"] = calls
        if message.role == "tool":
            name = names.get(message.tool_call_id or "") or message.name
            if name:
                one["tool_name"] = name
        made.append(one)
    return made


def _images(content: list[chat.Part] | None, where: str) -> list[str]:
    found = []
    for j, part in enumerate(content or ()):
        at = f"{where}.content[{j}]"
        if part.type in ("text", "refusal", "input_text"):
            continue
        if part.type != "image_url":
            refuse(f"{at}: Ollama takes no part of type {part.type[:40]!r}", at)
        url, _ = chat.image_url(part)
        inline = chat.data_url(url)
        if inline is None and "://" in url:
            refuse(f"{at}: Ollama fetches nothing: give the image as a data URL in base64", at)
        found.append(inline[1] if inline is not None else url)
    return found


def _function(tool: chat.Tool) -> dict[str, Any]:
    function = tool.function
    if function is None:
        refuse(f"tools: Ollama takes no tool of type {tool.type[:40]!r}", "tools")
    made: dict[str, Any] = {"name": function.name}
    if function.description:
        made["description"] = function.description
    if function.parameters and bytes(function.parameters) != b"null":
        made["parameters"] = function.parameters
    return made


class _CallFunction(msgspec.Struct):
    name: str = ""
    arguments: msgspec.Raw = msgspec.Raw(b"{}")


class _Call(msgspec.Struct):
    function: _CallFunction
    id: str = ""


class _Message(msgspec.Struct):
    content: str | None = None
    thinking: str | None = None
    tool_calls: list[_Call] | None = None


class _Answer(msgspec.Struct):
    """A whole answer, or a line of a stream."""

    model: str = ""
    message: _Message | None = None
    done: bool = False
    done_reason: str | None = None
    prompt_eval_count: int | None = None
    eval_count: int | None = None
    error: str | None = None

    def usage(self) -> dict[str, Any] | None:
        """None where Ollama counted only one side: then neither is known."""
        if self.prompt_eval_count is None or self.eval_count is None:
            return None
        return wire.usage(self.prompt_eval_count, self.eval_count)


class _ErrorBody(msgspec.Struct):
    error: str


_answer = msgspec.json.Decoder(_Answer).decode
_error = msgspec.json.Decoder(_ErrorBody).decode


def _arguments(raw: msgspec.Raw) -> str:
    """Ollama's are an object; servers like it send a string that holds one, or nothing."""
    text = bytes(raw).decode()
    if text[:1] == '"':
        text = msgspec.json.decode(raw, type=str).strip()
    return "{}" if text in ("", "null") else text


def _call_id(options: Options, call: _Call, n: int) -> str:
    return call.id or f"call_{options.response_id.removeprefix('chatcmpl-')}_{n}"


def answer(body: bytes, options: Options) -> bytes:
    try:
        found = _answer(body)
    except UNREADABLE as problem:
        raise UnreadableAnswerError(f"no answer of Ollama's: {problem}") from None
    if found.message is None or not found.done:
        raise UnreadableAnswerError("no answer of Ollama's: it has no message, or isn't done")
    calls = [
        wire.tool_call(_call_id(options, call, n), call.function.name, _arguments(call.function.arguments))
        for n, call in enumerate(found.message.tool_calls or ())
    ]
    message: dict[str, Any] = {"role": "assistant", "content": found.message.content or (None if calls else "")}
    if calls:
        message["tool_calls"] = calls
    if found.message.thinking:
        message["reasoning_content"] = found.message.thinking
    finish = "tool_calls" if calls else _FINISH.get(found.done_reason or "", "stop")
    return wire.completion(
        options.response_id, found.model or options.model, options.now_s, message, finish, found.usage()
    )


def error(body: bytes, status: int) -> ErrorSaid | None:
    try:
        return wire.said(status, _error(body).error)
    except UNREADABLE:
        return None


class Stream:
    def __init__(self, options: Options) -> None:
        self._options = options
        self._chunks: Chunks | None = None
        self._rest = b""
        self._calls = 0
        self._over = False

    def feed(self, data: bytes) -> list[bytes]:
        data = self._rest + data
        lines = data.split(b"\n")
        self._rest = lines.pop()
        if len(self._rest) > EVENT_BYTES_MAX:
            raise UnreadableAnswerError("a line of the stream is too large")
        out: list[bytes] = []
        for line in lines:
            self._read(line, out)
        return out

    def finish(self) -> list[bytes]:
        out: list[bytes] = []
        self._read(self._rest, out)
        self._rest = b""
        return out

    def _read(self, line: bytes, out: list[bytes]) -> None:
        if self._over or not line.strip():
            return
        try:
            found = _answer(line)
        except UNREADABLE as problem:
            raise UnreadableAnswerError(f"no line of Ollama's: {problem}") from None
        if found.error is not None:
            out.append(wire.error_event(wire.said(500, found.error)))
            self._over = True
            return
        if self._chunks is None:
            self._chunks = Chunks(self._options.response_id, found.model or self._options.model, self._options.now_s)
            out.append(self._chunks.role())
        message = found.message
        if message is not None:
            if message.thinking:
                out.append(self._chunks.reasoning(message.thinking))
            if message.content:
                out.append(self._chunks.text(message.content))
            for call in message.tool_calls or ():
                call_id, arguments = _call_id(self._options, call, self._calls), _arguments(call.function.arguments)
                out.append(self._chunks.tool(self._calls, call_id, call.function.name, arguments))
                self._calls += 1
        if found.done:
            finish = "tool_calls" if self._calls else _FINISH.get(found.done_reason or "", "stop")
            out.append(self._chunks.delta(b"{}", finish))
            usage = found.usage()
            if usage is not None:
                out.append(self._chunks.usage(usage))
            out.append(DONE)
            self._over = True
