"""`merge_reasoning_content_in_choices`: in a stream, what a model thinks stands in the answer's
text between `<think>` and `</think>`.

For clients that show such text folded, and know no `reasoning_content`. As in LiteLLM, whole
answers stay as they are.
"""

from collections.abc import Mapping
from typing import Any, Final

import msgspec

from services.edge.providers.base import ErrorSaid, Options, StreamTranslator, Translator
from services.edge.providers.translate.wire import encode
from shared.decoding import UNREADABLE

_START: Final = b"data: "
_NAMES: Final = ("reasoning_content", "reasoning")
"""What providers call it; the first that says something counts."""
_ENDING: Final = ("content", "refusal", "tool_calls", "function_call")
"""What of a delta ends the thinking."""


class MergedReasoning:
    """See base.Translator: the answers of another one, merged."""

    def __init__(self, inner: Translator) -> None:
        self._inner = inner

    def request(self, fields: Mapping[str, msgspec.Raw], model: str, options: Options) -> bytes:
        return self._inner.request(fields, model, options)

    def answer(self, body: bytes, options: Options) -> bytes:
        return self._inner.answer(body, options)

    def error(self, body: bytes, status: int) -> ErrorSaid | None:
        return self._inner.error(body, status)

    def Stream(self, options: Options) -> StreamTranslator:
        return _Merging(self._inner.Stream(options))


class _Merging:
    def __init__(self, inner: StreamTranslator) -> None:
        self._inner = inner
        self._open: set[int] = set()
        """Choices inside their `<think>`."""

    def feed(self, data: bytes) -> list[bytes]:
        return [self._merged(event) for event in self._inner.feed(data)]

    def finish(self) -> list[bytes]:
        return [self._merged(event) for event in self._inner.finish()]

    def _merged(self, event: bytes) -> bytes:
        if b'"reasoning' not in event and not self._open:
            return event
        try:
            chunk: dict[str, Any] = msgspec.json.decode(event.removeprefix(_START))
            for choice in chunk["choices"]:
                self._merge(choice)
        except (*UNREADABLE, KeyError, TypeError, AttributeError):  # `[DONE]`, an error: nobody's thoughts
            return event
        return b"data: %b\n\n" % encode(chunk)

    def _merge(self, choice: dict[str, Any]) -> None:
        delta: dict[str, Any] = choice.get("delta") or {}
        said = [text for name in _NAMES if isinstance(text := delta.pop(name, None), str) and text]
        thought = said[0] if said else ""
        index = choice.get("index", 0)
        is_open = index in self._open
        ends = any(delta.get(name) for name in _ENDING) or bool(choice.get("finish_reason"))
        opening = "<think>" if thought and not is_open else ""
        closing = "</think>" if ends and (thought or is_open) else ""
        if not thought and not closing:
            return
        delta["content"] = f"{opening}{thought}{closing}{delta.get('content') or ''}"
        choice["delta"] = delta
        if closing:
            self._open.discard(index)
        else:
            self._open.add(index)
