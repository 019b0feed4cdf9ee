"""OpenAI's chat answers, for those who say them in another wire: what is read of one, and how a
stream of them begins, goes on and ends.
"""

from typing import Any

import msgspec

from services.edge.providers.base import UnreadableAnswerError
from services.edge.providers.translate.wire import EventStream
from shared.decoding import UNREADABLE

CALLS_MAX = 256
"""Of one answer."""
THOUGHTS = ("thinking", "redacted_thinking")


class Function(msgspec.Struct):
    name: str | None = None
    arguments: str | None = None


class Call(msgspec.Struct):
    index: int | None = None
    id: str | None = None
    function: Function | None = None


class Said(msgspec.Struct):
    """A message, or what one grew by."""

    content: str | None = None
    reasoning_content: str | None = None
    reasoning: str | None = None
    refusal: str | None = None
    tool_calls: list[Call] | None = None
    thinking_blocks: list[dict[str, Any]] | None = None

    @property
    def thoughts(self) -> str:
        return self.reasoning_content or self.reasoning or ""

    @property
    def signed(self) -> list[dict[str, Any]]:
        """Claude's thoughts, as it says them."""
        return [block for block in self.thinking_blocks or () if block.get("type") in THOUGHTS]

    @property
    def text(self) -> str:
        return self.content or self.refusal or ""


class Choice(msgspec.Struct):
    message: Said | None = None
    delta: Said | None = None
    finish_reason: str | None = None


class _Prompt(msgspec.Struct):
    cached_tokens: int | None = None
    cache_creation_tokens: int | None = None


class _Completion(msgspec.Struct):
    reasoning_tokens: int | None = None


class Usage(msgspec.Struct):
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    prompt_tokens_details: _Prompt | None = None
    completion_tokens_details: _Completion | None = None

    @property
    def cached(self) -> int:
        """Tokens that were read from a cache."""
        return (self.prompt_tokens_details or _Prompt()).cached_tokens or 0

    @property
    def written(self) -> int:
        """Tokens that were written to one."""
        return (self.prompt_tokens_details or _Prompt()).cache_creation_tokens or 0

    @property
    def thought(self) -> int:
        return (self.completion_tokens_details or _Completion()).reasoning_tokens or 0


class Answer(msgspec.Struct):
    """A whole answer, or a chunk of one."""

    id: str = ""
    model: str = ""
    choices: list[Choice] = []
    usage: Usage | None = None
    error: msgspec.Raw = msgspec.Raw(b"null")


class _Message(msgspec.Struct):
    message: str = "the provider failed"


_answer = msgspec.json.Decoder(Answer).decode


def whole(body: bytes) -> tuple[Answer, Said, str | None] | None:
    """(a whole answer, what it says first, why it ended); None: it is none."""
    try:
        found = _answer(body)
    except UNREADABLE:
        return None
    if not found.choices or found.choices[0].message is None:
        return None
    return found, found.choices[0].message, found.choices[0].finish_reason


class ChatStream(EventStream):
    """What a subclass makes of it is added to `out`.

    Args:
        call_id: the beginning of the ids of calls that have none.
    """

    def __init__(self, call_id: str) -> None:
        super().__init__()
        self._call_id = call_id
        self._begun = self._over = False
        self._calls: dict[int, tuple[str, str, list[str]]] = {}
        """Place among the calls → (id, name, pieces of its arguments that wait)."""
        self._finish: str | None = None
        self._usage = Usage()

    def _begin(self, found: Answer, out: list[bytes]) -> None:
        raise NotImplementedError

    def _grow(self, said: Said, out: list[bytes]) -> None:
        raise NotImplementedError

    def _end(self, out: list[bytes]) -> None:
        raise NotImplementedError

    def _fail(self, message: str, out: list[bytes]) -> None:
        """The provider says so in the middle."""
        raise NotImplementedError

    def finish(self) -> list[bytes]:
        """Without an end that was said (`finish_reason`, `[DONE]`) it is cut off, and stays so."""
        out = super().finish()
        if self._finish is not None:
            self._end_once(out)
        return out

    def _end_once(self, out: list[bytes]) -> None:
        if not self._over:
            self._end(out)
            self._over = True

    def _read(self, data: bytes, out: list[bytes]) -> None:
        if self._over:
            return
        if data == b"[DONE]":
            if self._begun:
                self._end_once(out)
            return
        try:
            found = _answer(data)
        except UNREADABLE as problem:
            raise UnreadableAnswerError(f"no chunk of a chat: {problem}") from None
        if bytes(found.error) != b"null":
            self._fail(_said_of(found.error), out)
            self._over = True
            return
        if found.usage is not None:
            self._usage = found.usage
        if not self._begun and found.choices:
            self._begun = True
            self._begin(found, out)
        for choice in found.choices[:1]:
            if choice.delta is not None:
                self._grow(choice.delta, out)
            if choice.finish_reason:
                self._finish = choice.finish_reason

    def _place(self, call: Call) -> int:
        """Of a call among the others: one that is new gets one. Its name may come behind the first
        of its arguments.
        """
        at = call.index
        if at is None:  # some count them by their ids alone
            known = [n for n, (id, _, _) in self._calls.items() if id == call.id] if call.id else list(self._calls)[-1:]
            at = known[0] if known else len(self._calls)
        name = (call.function.name if call.function is not None else None) or ""
        if at not in self._calls:
            if len(self._calls) >= CALLS_MAX:
                raise UnreadableAnswerError("too many calls")
            self._calls[at] = (call.id or f"{self._call_id}_{at}", name, [])
        elif name and not self._calls[at][1]:
            self._calls[at] = (self._calls[at][0], name, self._calls[at][2])
        return at


def _said_of(error: msgspec.Raw) -> str:
    try:
        return msgspec.json.decode(error, type=_Message).message
    except UNREADABLE:
        return _Message().message
