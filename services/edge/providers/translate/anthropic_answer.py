"""Anthropic's answers, streams and errors in OpenAI's chat format. Also what Vertex AI sends for
Claude.
"""

from typing import Any

import msgspec

from services.edge.providers.base import ErrorSaid, Options, UnreadableAnswerError
from services.edge.providers.translate import wire
from services.edge.providers.translate.wire import DONE, Chunks, EventStream, encode
from shared.decoding import UNREADABLE
from shared.errors.refusal import ANTHROPIC_TYPES

JSON_TOOL = "tollgate_json_answer"
"""Its call is an answer in JSON, not a call."""
FINISH = {
    "end_turn": "stop",
    "stop_sequence": "stop",
    "pause_turn": "stop",
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "tool_use": "tool_calls",
    "refusal": "content_filter",
}


class _CacheCreation(msgspec.Struct):
    ephemeral_1h_input_tokens: int | None = None


class _Thinking(msgspec.Struct):
    thinking_tokens: int | None = None


class _ServerTools(msgspec.Struct):
    web_search_requests: int | None = None


class Usage(msgspec.Struct):
    input_tokens: int | None = None
    output_tokens: int | None = None
    cache_creation_input_tokens: int | None = None
    cache_read_input_tokens: int | None = None
    cache_creation: _CacheCreation | None = None
    output_tokens_details: _Thinking | None = None
    server_tool_use: _ServerTools | None = None
    service_tier: str | None = None

    def openai(self) -> dict[str, Any]:
        cached, written = self.cache_read_input_tokens or 0, self.cache_creation_input_tokens or 0
        more: dict[str, Any] = {}
        if cached or written:  # LiteLLM's names, which its clients read
            more = {"cache_creation_input_tokens": written, "cache_read_input_tokens": cached}
        searches = self.server_tool_use.web_search_requests if self.server_tool_use is not None else None
        if searches:
            more["server_tool_use"] = {"web_search_requests": searches}
        if self.service_tier:
            more["service_tier"] = self.service_tier
        return wire.usage(
            (self.input_tokens or 0) + cached + written,
            self.output_tokens or 0,
            cached=cached,
            written=written,
            written_1h=(self.cache_creation.ephemeral_1h_input_tokens or 0) if self.cache_creation is not None else 0,
            reasoning=(self.output_tokens_details.thinking_tokens or 0)
            if self.output_tokens_details is not None
            else 0,
            more=more,
        )

    def learn(self, later: "Usage") -> None:
        """A stream's last numbers are cumulative, and don't repeat all of the first."""
        for name in self.__struct_fields__:
            value = getattr(later, name)
            if value is not None:
                setattr(self, name, value)


class _Block(msgspec.Struct):
    type: str = ""
    text: str | None = None
    thinking: str | None = None
    signature: str | None = None
    data: str | None = None
    id: str | None = None
    name: str | None = None
    input: msgspec.Raw = msgspec.Raw(b"{}")


class _Message(msgspec.Struct):
    type: str = ""
    id: str = ""
    model: str = ""
    content: list[_Block] | None = None
    stop_reason: str | None = None
    usage: Usage | None = None


class _Error(msgspec.Struct):
    type: str = "api_error"
    message: str = ""


class _ErrorBody(msgspec.Struct):
    error: _Error


class _Delta(msgspec.Struct):
    type: str = ""
    text: str | None = None
    partial_json: str | None = None
    thinking: str | None = None
    signature: str | None = None
    stop_reason: str | None = None


class _Event(msgspec.Struct):
    type: str
    index: int = 0
    delta: _Delta | None = None
    content_block: _Block | None = None
    message: _Message | None = None
    usage: Usage | None = None
    error: _Error | None = None


_message = msgspec.json.Decoder(_Message).decode
_event = msgspec.json.Decoder(_Event).decode
_error = msgspec.json.Decoder(_ErrorBody).decode


def answer(body: bytes, options: Options) -> bytes:
    try:
        found = _message(body)
    except UNREADABLE as problem:
        raise UnreadableAnswerError(f"no message of Anthropic's: {problem}") from None
    if found.type != "message" or found.content is None:
        raise UnreadableAnswerError("no message of Anthropic's: its type or content is missing")
    texts, thoughts, calls = [], [], []
    thinking: list[dict[str, Any]] = []
    as_json = False
    for block in found.content:
        if block.type == "text":
            texts.append(block.text or "")
        elif block.type == "thinking":
            thoughts.append(block.thinking or "")
            thinking.append({"type": "thinking", "thinking": block.thinking or "", "signature": block.signature or ""})
        elif block.type == "redacted_thinking":
            thinking.append({"type": "redacted_thinking", "data": block.data or ""})
        elif block.type == "tool_use":
            arguments = bytes(block.input).decode()
            if arguments == "null":
                arguments = "{}"
            if block.name == JSON_TOOL:
                texts, as_json = [arguments], True
            else:
                calls.append(wire.tool_call(block.id or "", block.name or "", arguments))
    message: dict[str, Any] = {"role": "assistant", "content": "".join(texts) if texts or not calls else None}
    if calls:
        message["tool_calls"] = calls
    if thoughts:
        message["reasoning_content"] = "".join(thoughts)
    if thinking:
        message["thinking_blocks"] = thinking
    finish = FINISH.get(found.stop_reason or "", "stop")
    if as_json and not calls and finish == "tool_calls":
        finish = "stop"
    usage = found.usage.openai() if found.usage is not None else None
    return wire.completion(
        found.id or options.response_id, found.model or options.model, options.now_s, message, finish, usage
    )


_KINDS = {
    "authentication_error": "invalid_api_key",
    "rate_limit_error": "rate_limit_exceeded",
    "billing_error": "insufficient_quota",
}


def error(body: bytes, status: int) -> ErrorSaid | None:
    try:
        found = _error(body).error
    except UNREADABLE:
        return None
    return _said(found, status)


def _said(found: _Error, status: int) -> ErrorSaid:
    return wire.said(
        status, found.message, found.type, wire.kind_of(status, found.message)[1] or _KINDS.get(found.type)
    )


_STATUS = {kind: status for status, kind in ANTHROPIC_TYPES.items()}
"""Of errors within a stream, which have no status of their own."""


class Stream(EventStream):
    def __init__(self, options: Options) -> None:
        self._options = options
        super().__init__()
        self._chunks = Chunks(options.response_id, options.model, options.now_s)
        self._usage = Usage()
        self._blocks: dict[int, str] = {}
        """What each block of the message is: its type, or `json` for a call of JSON_TOOL."""
        self._calls: dict[int, int] = {}
        """Block -> index among the tool calls."""
        self._silent: set[int] = set()
        """Calls without arguments so far: a client must be able to parse what it got, so these end
        as `{}`.
        """
        self._thoughts: dict[int, list[str]] = {}
        self._finish = "stop"
        self._over = False

    def _read(self, data: bytes, out: list[bytes]) -> None:
        if self._over:
            return
        try:
            event = _event(data)
        except UNREADABLE as problem:
            raise UnreadableAnswerError(f"no event of Anthropic's: {problem}") from None
        if event.type == "content_block_delta" and event.delta is not None:
            self._delta(event.index, event.delta, out)
        elif event.type == "content_block_start" and event.content_block is not None:
            self._start_block(event.index, event.content_block, out)
        elif event.type == "content_block_stop":
            if event.index in self._silent:
                out.append(self._chunks.arguments(self._calls[event.index], "{}"))
        elif event.type == "message_start" and event.message is not None:
            message, options = event.message, self._options
            self._chunks = Chunks(message.id or options.response_id, message.model or options.model, options.now_s)
            if message.usage is not None:
                self._usage.learn(message.usage)
            out.append(self._chunks.role())
        elif event.type == "message_delta":
            if event.usage is not None:
                self._usage.learn(event.usage)
            if event.delta is not None and event.delta.stop_reason is not None:
                finish = FINISH.get(event.delta.stop_reason, "stop")
                as_json = finish == "tool_calls" and not self._calls and "json" in self._blocks.values()
                out.append(self._chunks.delta(b"{}", "stop" if as_json else finish))
        elif event.type == "message_stop":
            out += [self._chunks.usage(self._usage.openai()), DONE]
            self._over = True
        elif event.type == "error":
            found = event.error or _Error()
            out.append(wire.error_event(_said(found, _STATUS.get(found.type, 500))))
            self._over = True

    def _start_block(self, index: int, block: _Block, out: list[bytes]) -> None:
        if block.type == "tool_use" and block.name == JSON_TOOL:
            self._blocks[index] = "json"
            return
        self._blocks[index] = block.type
        if block.type == "tool_use":
            call = self._calls[index] = len(self._calls)
            out.append(self._chunks.tool(call, block.id or "", block.name or ""))
            given = bytes(block.input).decode()
            if given not in ("{}", "null"):  # at once, as others that speak this wire do
                out.append(self._chunks.arguments(call, given))
            else:
                self._silent.add(index)
        elif block.type == "text" and block.text:
            out.append(self._chunks.text(block.text))
        elif block.type == "thinking":
            self._thoughts[index] = []
            if block.thinking:
                self._think(index, block.thinking, out)
        elif block.type == "redacted_thinking":
            self._signed({"type": "redacted_thinking", "data": block.data or ""}, out)

    def _delta(self, index: int, delta: _Delta, out: list[bytes]) -> None:
        if delta.type == "text_delta":
            if delta.text:
                out.append(self._chunks.text(delta.text))
        elif delta.type == "input_json_delta":
            if not delta.partial_json:
                return
            if index in self._calls:
                self._silent.discard(index)
                out.append(self._chunks.arguments(self._calls[index], delta.partial_json))
            elif self._blocks.get(index) == "json":
                out.append(self._chunks.text(delta.partial_json))
        elif delta.type == "thinking_delta":
            if delta.thinking:
                self._think(index, delta.thinking, out)
        elif delta.type == "signature_delta":
            text = "".join(self._thoughts.pop(index, ()))
            self._signed({"type": "thinking", "thinking": text, "signature": delta.signature or ""}, out)

    def _think(self, index: int, text: str, out: list[bytes]) -> None:
        self._thoughts.setdefault(index, []).append(text)
        out.append(self._chunks.reasoning(text))

    def _signed(self, block: dict[str, str], out: list[bytes]) -> None:
        """Whole, once its signature is there: what the client hands back in its next request."""
        out.append(self._chunks.delta(b'{"thinking_blocks":[%b]}' % encode(block)))
