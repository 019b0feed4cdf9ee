"""A stream of OpenAI's chat as one of Anthropic's Messages: blocks one after another, each with a
beginning and an end.

Calls that come interleaved are told apart: the first is passed on as it grows, the others when they
are whole. Usage is OpenAI's last chunk, so `message_start` can't say it yet.
"""

from typing import Any

from services.edge.providers.base import UnreadableAnswerError
from services.edge.providers.translate.anthropic_messages__chat import stop_reason, usage
from services.edge.providers.translate.chat_answer import Answer, Call, ChatStream, Said
from services.edge.providers.translate.wire import encode


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


class Stream(ChatStream):
    """
    Args:
        model: where the answer doesn't say it.
    """

    def __init__(self, model: str, response_id: str) -> None:
        super().__init__(f"toolu_{response_id}")
        self._model, self._id = model, response_id
        self._open = ""
        """The kind of the block that is open; empty: none is."""
        self._index = -1
        self._signed = False
        self._live: int | None = None
        """The call whose pieces are passed on as they come."""

    def _begin(self, found: Answer, out: list[bytes]) -> None:
        start: dict[str, Any] = {
            "id": found.id or self._id, "type": "message", "role": "assistant", "model": found.model or self._model, "content": [],
            "stop_reason": None, "stop_sequence": None, "usage": {"input_tokens": 0, "output_tokens": 0},
        }  # fmt: skip
        out.append(event("message_start", message=start))

    def _fail(self, message: str, out: list[bytes]) -> None:
        out.append(event("error", error={"type": "api_error", "message": message}))

    def _grow(self, said: Said, out: list[bytes]) -> None:
        if said.thoughts:
            self._be("thinking", {"thinking": "", "signature": ""}, out)
            self._delta({"type": "thinking_delta", "thinking": said.thoughts}, out)
        for block in said.signed:
            self._thought(block, out)
        if said.text:
            self._be("text", {"text": ""}, out)
            self._delta({"type": "text_delta", "text": said.text}, out)
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
        at = self._place(call)
        _, name, waiting = self._calls[at]
        if self._live is None and name:
            self._live = at
            self._be_call(at, out)
            if waiting:
                self._delta({"type": "input_json_delta", "partial_json": "".join(waiting)}, out)
                waiting.clear()
        piece = (call.function.arguments if call.function is not None else None) or ""
        if piece and at == self._live and self._open == "tool_use":
            self._delta({"type": "input_json_delta", "partial_json": piece}, out)
        elif piece:
            waiting.append(piece)

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
        out += [event("message_delta", delta=ended, usage=usage(self._usage)), event("message_stop")]
