"""A stream of OpenAI's chat as one of Anthropic's Messages: blocks one after another, each with a
beginning and an end.

Calls that come interleaved are told apart: the first is passed on as it grows, the others when they
are whole. Usage is OpenAI's last chunk, so `message_start` can't say it yet.
"""

from typing import Any

import msgspec

from services.edge.providers.base import UnreadableAnswerError
from services.edge.providers.translate.anthropic_messages__chat import (
    Call,
    Said,
    Usage,
    answer,
    stop_reason,
)
from services.edge.providers.translate.wire import UNREADABLE, EventStream, encode

CALLS_MAX = 256
"""Of one answer."""


def event(kind: str, **said: Any) -> bytes:
    return b"event: %b\ndata: %b\n\n" % (kind.encode(), encode({"type": kind, **said}))


def of_message(message: dict[str, Any]) -> list[bytes]:
    """A whole answer, to a client that asked for a stream."""
    out = [event("message_start", message={**message, "content": [], "stop_reason": None})]
    for index, block in enumerate(message["content"]):
        deltas: dict[str, tuple[dict[str, Any], list[dict[str, Any]]]] = {
            "text": ({"text": ""}, [{"type": "text_delta", "text": block.get("text")}]),
            "thinking": (
                {"thinking": "", "signature": ""},
                [
                    {"type": "thinking_delta", "thinking": block.get("thinking")},
                    {"type": "signature_delta", "signature": block.get("signature") or ""},
                ],
            ),
            "tool_use": (
                {"input": {}},
                [{"type": "input_json_delta", "partial_json": encode(block.get("input")).decode()}],
            ),
        }
        empty, grown = deltas.get(block["type"], ({}, []))
        out.append(event("content_block_start", index=index, content_block={**block, **empty}))
        out += [event("content_block_delta", index=index, delta=each) for each in grown]
        out.append(event("content_block_stop", index=index))
    ended = {"stop_reason": message["stop_reason"], "stop_sequence": None}
    return [*out, event("message_delta", delta=ended, usage=message["usage"]), event("message_stop")]


class Stream(EventStream):
    """
    Args:
        model: where the answer doesn't say it.
    """

    def __init__(self, model: str, response_id: str) -> None:
        super().__init__()
        self._model, self._id = model, response_id
        self._begun = self._over = False
        self._open = ""
        """The kind of the block that is open; empty: none is."""
        self._index = -1
        self._signed = False
        self._calls: dict[int, tuple[str, str, list[str]]] = {}
        """Place among the calls → (id, name, pieces of its arguments that wait)."""
        self._live: int | None = None
        """The call whose pieces are passed on as they come."""
        self._finish: str | None = None
        self._usage = Usage()

    def finish(self) -> list[bytes]:
        """Without an end that was said (`finish_reason`, `[DONE]`) it is cut off, and stays so."""
        out = super().finish()
        if not self._over and self._finish is not None:
            self._end(out)
        return out

    def _read(self, data: bytes, out: list[bytes]) -> None:
        if self._over:
            return
        if data == b"[DONE]":
            if self._begun:
                self._end(out)
            return
        try:
            found = answer(data)
        except UNREADABLE as problem:
            raise UnreadableAnswerError(f"no chunk of a chat: {problem}") from None
        if bytes(found.error) != b"null":
            out.append(event("error", error={"type": "api_error", "message": said_of(found.error)}))
            self._over = True
            return
        if found.usage is not None:
            self._usage = found.usage
        if not self._begun and found.choices:
            self._begun = True
            start: dict[str, Any] = {
                "id": found.id or self._id, "type": "message", "role": "assistant", "model": found.model or self._model, "content": [],
                "stop_reason": None, "stop_sequence": None, "usage": {"input_tokens": 0, "output_tokens": 0},
            }  # fmt: skip
            out.append(event("message_start", message=start))
        for choice in found.choices[:1]:
            if choice.delta is not None:
                self._grow(choice.delta, out)
            if choice.finish_reason:
                self._finish = choice.finish_reason

    def _grow(self, said: Said, out: list[bytes]) -> None:
        if said.thoughts:
            self._be("thinking", {"thinking": "", "signature": ""}, out)
            self._delta({"type": "thinking_delta", "thinking": said.thoughts}, out)
        for block in said.thinking_blocks or ():
            self._thought(block, out)
        text = said.content or said.refusal
        if text:
            self._be("text", {"text": ""}, out)
            self._delta({"type": "text_delta", "text": text}, out)
        for call in said.tool_calls or ():
            self._call(call, out)

    def _thought(self, block: dict[str, Any], out: list[bytes]) -> None:
        """Whole and signed, when it is over: its words have gone out already."""
        if block.get("type") == "thinking" and self._open == "thinking":
            self._delta({"type": "signature_delta", "signature": block.get("signature") or ""}, out)
            self._signed = True
            self._close(out)
        elif block.get("type") == "redacted_thinking":
            self._close(out)
            self._be("redacted_thinking", {"data": block.get("data") or ""}, out)
            self._close(out)

    def _call(self, call: Call, out: list[bytes]) -> None:
        at = call.index
        if at is None:  # some count them by their ids alone
            known = [n for n, (id, _, _) in self._calls.items() if id == call.id] if call.id else list(self._calls)[-1:]
            at = known[0] if known else len(self._calls)
        function = call.function
        if at not in self._calls:
            if len(self._calls) >= CALLS_MAX:
                raise UnreadableAnswerError("too many calls")
            name = (function.name if function is not None else None) or ""
            self._calls[at] = (call.id or f"toolu_{self._id}_{at}", name, [])
            if self._live is None:
                self._live = at
                self._be_call(at, out)
        piece = (function.arguments if function is not None else None) or ""
        if piece and at == self._live and self._open == "tool_use":
            self._delta({"type": "input_json_delta", "partial_json": piece}, out)
        elif piece:
            self._calls[at][2].append(piece)

    def _be_call(self, at: int, out: list[bytes]) -> None:
        self._close(out)
        id, name, _ = self._calls[at]
        self._be("tool_use", {"id": id, "name": name, "input": {}}, out)

    def _be(self, kind: str, block: dict[str, Any], out: list[bytes]) -> None:
        if self._open == kind and kind != "tool_use":
            return
        self._close(out)
        self._index += 1
        self._open, self._signed = kind, False
        out.append(event("content_block_start", index=self._index, content_block={"type": kind, **block}))

    def _delta(self, delta: dict[str, Any], out: list[bytes]) -> None:
        out.append(event("content_block_delta", index=self._index, delta=delta))

    def _close(self, out: list[bytes]) -> None:
        if self._open:
            if self._open == "thinking" and not self._signed:
                self._delta({"type": "signature_delta", "signature": ""}, out)
            out.append(event("content_block_stop", index=self._index))
        self._open = ""

    def _end(self, out: list[bytes]) -> None:
        for at, (_, _, pieces) in self._calls.items():
            if at != self._live:
                self._be_call(at, out)
            elif pieces and self._open != "tool_use":
                raise UnreadableAnswerError("a call went on after what was said behind it")
            if pieces:
                self._delta({"type": "input_json_delta", "partial_json": "".join(pieces)}, out)
        self._close(out)
        ended = {"stop_reason": stop_reason(self._finish, calls=bool(self._calls)), "stop_sequence": None}
        out += [event("message_delta", delta=ended, usage=self._usage.anthropics()), event("message_stop")]
        self._over = True


class _Message(msgspec.Struct):
    message: str = "the provider failed"


def said_of(error: msgspec.Raw) -> str:
    try:
        return msgspec.json.decode(error, type=_Message).message
    except UNREADABLE:
        return _Message().message
