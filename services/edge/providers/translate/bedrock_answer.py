"""Amazon Bedrock's Converse answers, binary streams and errors in OpenAI's chat format."""

from typing import Any

import msgspec

from services.edge.providers.base import ErrorSaid, Options, UnreadableAnswerError
from services.edge.providers.translate import wire
from services.edge.providers.translate.anthropic_answer import JSON_TOOL as JSON_TOOL
from services.edge.providers.translate.event_stream import Decoder
from services.edge.providers.translate.wire import DONE, Chunks, encode
from shared.decoding import UNREADABLE

FINISH = {
    "end_turn": "stop",
    "stop_sequence": "stop",
    "tool_use": "tool_calls",
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "guardrail_intervened": "content_filter",
    "content_filtered": "content_filter",
}


class _CacheDetail(msgspec.Struct, rename="camel"):
    ttl: str = ""
    input_tokens: int = 0


class Usage(msgspec.Struct, rename="camel"):
    input_tokens: int = 0
    """Without the cached ones."""
    output_tokens: int = 0
    total_tokens: int | None = None
    cache_read_input_tokens: int | None = None
    cache_write_input_tokens: int | None = None
    cache_details: list[_CacheDetail] | None = None

    def openai(self, tier: str | None) -> dict[str, Any]:
        cached, written = self.cache_read_input_tokens or 0, self.cache_write_input_tokens or 0
        hour = sum(detail.input_tokens for detail in self.cache_details or () if detail.ttl == "1h")
        more: dict[str, Any] = {}
        if cached or written:
            more = {"cache_creation_input_tokens": written, "cache_read_input_tokens": cached}
        if tier:
            more["service_tier"] = tier
        prompt = self.input_tokens + cached + written
        return wire.usage(
            prompt, self.output_tokens, cached=cached, written=written, written_1h=min(hour, written), more=more
        )


class _ToolUse(msgspec.Struct, rename="camel"):
    tool_use_id: str = ""
    name: str = ""
    input: msgspec.Raw = msgspec.Raw(b"{}")


class _ReasoningText(msgspec.Struct):
    text: str = ""
    signature: str | None = None


class _Reasoning(msgspec.Struct, rename="camel"):
    reasoning_text: _ReasoningText | None = None
    redacted_content: str | None = None


class _CitedText(msgspec.Struct):
    text: str = ""


class _Citations(msgspec.Struct):
    content: list[_CitedText] | None = None


class _Block(msgspec.Struct, rename="camel"):
    text: str | None = None
    tool_use: _ToolUse | None = None
    reasoning_content: _Reasoning | None = None
    citations_content: _Citations | None = None


class _Message(msgspec.Struct):
    content: list[_Block] | None = None


class _Output(msgspec.Struct):
    message: _Message


class _Tier(msgspec.Struct):
    type: str = ""


class _Answer(msgspec.Struct, rename="camel"):
    output: _Output
    stop_reason: str = ""
    usage: Usage | None = None
    service_tier: _Tier | None = None


class _ErrorBody(msgspec.Struct):
    message: str | None = None
    Message: str | None = None
    type_: str = msgspec.field(name="__type", default="")


_answer = msgspec.json.Decoder(_Answer).decode
_error = msgspec.json.Decoder(_ErrorBody).decode


def answer(body: bytes, options: Options) -> bytes:
    try:
        found = _answer(body)
    except UNREADABLE as problem:
        raise UnreadableAnswerError(f"no answer of Converse's: {problem}") from None
    texts: list[str] = []
    thoughts: list[str] = []
    blocks: list[dict[str, Any]] = []
    calls: list[dict[str, Any]] = []
    as_json = False
    for block in found.output.message.content or ():
        if block.text is not None:
            texts.append(block.text)
        elif block.tool_use is not None:
            use = block.tool_use
            if use.name == JSON_TOOL:
                texts, as_json = [bytes(use.input).decode()], True
            else:
                calls.append(wire.tool_call(use.tool_use_id, use.name, bytes(use.input).decode()))
        elif block.citations_content is not None:
            texts += [cited.text for cited in block.citations_content.content or ()]
        elif block.reasoning_content is not None:
            reasoning = block.reasoning_content
            if reasoning.reasoning_text is not None:
                thoughts.append(reasoning.reasoning_text.text)
                blocks.append(_thinking(reasoning.reasoning_text.text, reasoning.reasoning_text.signature))
            elif reasoning.redacted_content is not None:
                blocks.append({"type": "redacted_thinking", "data": reasoning.redacted_content})
    message: dict[str, Any] = {"role": "assistant", "content": "".join(texts) if texts or not calls else None}
    if calls:
        message["tool_calls"] = calls
    if thoughts:
        message["reasoning_content"] = "".join(thoughts)
    if blocks:
        message["thinking_blocks"] = blocks
    finish = FINISH.get(found.stop_reason, "stop")
    if as_json and not calls and finish == "tool_calls":
        finish = "stop"
    tier = found.service_tier.type if found.service_tier is not None else None
    usage = found.usage.openai(tier) if found.usage is not None else None
    return wire.completion(options.response_id, options.model, options.now_s, message, finish, usage)


def _thinking(text: str, signature: str | None) -> dict[str, str]:
    return {"type": "thinking", "thinking": text, "signature": signature or ""}


def error(body: bytes, status: int) -> ErrorSaid | None:
    """`{"message": ...}`; the kind is in a header, and says no more than the status."""
    try:
        found = _error(body)
    except UNREADABLE:
        return None
    message = found.message or found.Message
    return wire.said(status, message) if message else None


_STATUS = {
    "validationException": 400, "throttlingException": 429, "modelTimeoutException": 408, "serviceUnavailableException": 503,
    "internalServerException": 500, "modelStreamErrorException": 424, "accessDeniedException": 403,
}  # fmt: skip


class _Start(msgspec.Struct, rename="camel"):
    tool_use: _ToolUse | None = None


class _ToolDelta(msgspec.Struct):
    input: str = ""


class _ReasoningDelta(msgspec.Struct, rename="camel"):
    text: str | None = None
    signature: str | None = None
    redacted_content: str | None = None


class _Delta(msgspec.Struct, rename="camel"):
    text: str | None = None
    tool_use: _ToolDelta | None = None
    reasoning_content: _ReasoningDelta | None = None


class _Event(msgspec.Struct, rename="camel"):
    """Of every kind; the header says which."""

    content_block_index: int = 0
    start: _Start | None = None
    delta: _Delta | None = None
    stop_reason: str = ""
    usage: Usage | None = None
    service_tier: _Tier | None = None
    message: str | None = None


_event = msgspec.json.Decoder(_Event).decode


class Stream:
    def __init__(self, options: Options) -> None:
        self._decoder = Decoder()
        self._chunks = Chunks(options.response_id, options.model, options.now_s)
        self._calls: dict[int, int] = {}
        """Block -> index among the tool calls; -1 for a call of JSON_TOOL."""
        self._silent: set[int] = set()
        """Calls without arguments so far."""
        self._thoughts: dict[int, list[str]] = {}
        self._over = False
        self._stopped = False

    def feed(self, data: bytes) -> list[bytes]:
        out: list[bytes] = []
        for headers, payload in self._decoder.feed(data):
            if not self._over:
                self._read(headers, payload, out)
        return out

    def finish(self) -> list[bytes]:
        """`messageStop` is the end of what was said; `metadata`, after it, the end of the
        stream.
        """
        if self._over or not self._stopped or not self._decoder.empty:
            return []
        return [DONE]

    def _read(self, headers: dict[str, str], payload: bytes, out: list[bytes]) -> None:
        kind = headers.get(":event-type", "")
        if headers.get(":message-type", "event") != "event":
            kind = headers.get(":exception-type") or headers.get(":error-code", "")
            said = error(payload, _STATUS.get(kind, 500)) or ErrorSaid(
                headers.get(":error-message") or kind, "api_error"
            )
            out.append(wire.error_event(said))
            self._over = True
            return
        try:
            event = _event(payload)
        except UNREADABLE as problem:
            raise UnreadableAnswerError(f"no event of Converse's: {problem}") from None
        index = event.content_block_index
        if kind == "contentBlockDelta" and event.delta is not None:
            self._delta(index, event.delta, out)
        elif kind == "messageStart":
            out.append(self._chunks.role())
        elif kind == "contentBlockStart" and event.start is not None and event.start.tool_use is not None:
            use = event.start.tool_use
            if use.name == JSON_TOOL:
                self._calls[index] = -1
                return
            call = self._calls[index] = sum(n >= 0 for n in self._calls.values())
            self._silent.add(index)
            out.append(self._chunks.tool(call, use.tool_use_id, use.name))
        elif kind == "contentBlockStop" and index in self._silent:
            self._silent.discard(index)
            out.append(self._chunks.arguments(self._calls[index], "{}"))
        elif kind == "messageStop":
            finish = FINISH.get(event.stop_reason, "stop")
            if finish == "tool_calls" and set(self._calls.values()) == {-1}:
                finish = "stop"
            out.append(self._chunks.delta(b"{}", finish))
            self._stopped = True
        elif kind == "metadata":
            tier = event.service_tier.type if event.service_tier is not None else None
            if event.usage is not None:
                out.append(self._chunks.usage(event.usage.openai(tier)))
            if self._stopped:
                out.append(DONE)
                self._over = True

    def _delta(self, index: int, delta: _Delta, out: list[bytes]) -> None:
        if delta.text:
            out.append(self._chunks.text(delta.text))
        elif delta.tool_use is not None:
            if not delta.tool_use.input:
                return
            self._silent.discard(index)
            call = self._calls.get(index, 0)
            piece = delta.tool_use.input
            out.append(self._chunks.text(piece) if call < 0 else self._chunks.arguments(call, piece))
        elif delta.reasoning_content is not None:
            reasoning = delta.reasoning_content
            if reasoning.text:
                self._thoughts.setdefault(index, []).append(reasoning.text)
                out.append(self._chunks.reasoning(reasoning.text))
            if reasoning.signature:
                self._signed(_thinking("".join(self._thoughts.pop(index, ())), reasoning.signature), out)
            if reasoning.redacted_content:
                self._signed({"type": "redacted_thinking", "data": reasoning.redacted_content}, out)

    def _signed(self, block: dict[str, str], out: list[bytes]) -> None:
        out.append(self._chunks.delta(b'{"thinking_blocks":[%b]}' % encode(block)))
