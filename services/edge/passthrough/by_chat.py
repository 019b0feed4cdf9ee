"""A call of Anthropic's Messages, or OpenAI's Responses, to a deployment that doesn't speak it:
asked in OpenAI's chat, or in what that is translated to, and answered in the wire it was asked in.
What was used is read from the chat: Anthropic's usage can't say all of it.
"""

from collections.abc import AsyncIterator, Callable
from functools import partial
from typing import Any, Final, Protocol

import msgspec

from services.edge.formats.base import Call
from services.edge.formats.openai import CHAT
from services.edge.passthrough.kinds import Kind
from services.edge.passthrough.undone import Undone
from services.edge.providers.anthropic import Anthropic
from services.edge.providers.base import Options, StreamTranslator, Target, UnreadableAnswerError
from services.edge.providers.merging import unmerged
from services.edge.providers.translate import anthropic_messages__chat as messages
from services.edge.providers.translate import anthropic_messages__chat_stream as messages_stream
from services.edge.providers.translate import openai_responses__chat as responses
from services.edge.providers.translate import openai_responses__chat_stream as responses_stream
from services.edge.usage.tap import Tap
from shared.ids import RequestId
from shared.outbound import OutboundError

_EVENTS = "text/event-stream"
_STREAMS = (_EVENTS, "application/vnd.amazon.eventstream", "application/x-ndjson")


def can(target: Target) -> bool:
    """Whether it has a chat at all."""
    provider = unmerged(target.provider)
    return CHAT.name in provider.wires or CHAT.name in provider.translators


def serves(target: Target | None, route: str, kind: Kind) -> bool:
    """Whether a deployment can be asked on this route, in its own wire or by chat."""
    if target is None or target.origin is None:
        return False
    return speaks(target, kind) or (route in FRONTS and can(target))


def speaks(target: Target, kind: Kind) -> bool:
    """Whether it speaks the route's wire itself."""
    provider = unmerged(target.provider)
    if kind.wire == "anthropic":
        return isinstance(provider, Anthropic)
    return CHAT.name in provider.wires


UNREADABLE: Final = "unreadable"
"""OutboundError's code of what is no answer of a chat."""


class _Front(Protocol):
    """What is said to the client: its wire before chat's."""

    id_prefix: str

    def __init__(self, call: Call, model: str, response_id: str, now_s: int) -> None: ...
    def fields(self, *, marks: bool) -> dict[str, msgspec.Raw]:
        """The chat's. Raises RefusedError for what can't be said in it."""

    def whole(self, chat: bytes) -> dict[str, Any] | None:
        """None: it is no answer of a chat."""

    def events(self, whole: dict[str, Any]) -> list[bytes]:
        """Of a whole answer."""

    def stream(self) -> StreamTranslator: ...


class _Messages:
    id_prefix = "msg_"

    def __init__(self, call: Call, model: str, response_id: str, now_s: int) -> None:
        self._call, self._model, self._id = call, model, response_id

    def fields(self, *, marks: bool) -> dict[str, msgspec.Raw]:
        return messages.fields(self._call.fields, marks=marks)

    def whole(self, chat: bytes) -> dict[str, Any] | None:
        return messages.message(chat, self._model)

    def events(self, whole: dict[str, Any]) -> list[bytes]:
        return messages_stream.of_message(whole)

    def stream(self) -> StreamTranslator:
        return messages_stream.Stream(self._model, self._id)


class _Responses:
    id_prefix = "resp_"

    def __init__(self, call: Call, model: str, response_id: str, now_s: int) -> None:
        self._call, self._customs = call, responses.custom_names(call.fields)
        self._head = responses.head(call.fields, response_id, model, now_s)

    def fields(self, *, marks: bool) -> dict[str, msgspec.Raw]:
        return responses.fields(self._call.fields, marks=marks)

    def whole(self, chat: bytes) -> dict[str, Any] | None:
        return responses.response(chat, self._head, self._customs)

    def events(self, whole: dict[str, Any]) -> list[bytes]:
        return responses_stream.of_response(whole)

    def stream(self) -> StreamTranslator:
        return responses_stream.Stream(self._head, self._customs)


FRONTS: dict[str, type[_Front]] = {"/messages": _Messages, "/responses": _Responses}
"""Routes that can be asked by chat."""


class ByChat:
    """One attempt. Raises RefusedError for what can't be said to this deployment.

    Args:
        route: one of FRONTS.
        model: the upstream's.
        body_bytes_max: of a whole answer.
    """

    def __init__(
        self, route: str, target: Target, call: Call, model: str, request_id: RequestId, now_s: int, body_bytes_max: int
    ) -> None:
        front = FRONTS[route]
        provider = unmerged(target.provider)
        self._translator = None if CHAT.name in provider.wires else provider.translators[CHAT.name]
        self._stream, self._bytes_max = call.stream, body_bytes_max
        self._provider = target.deployment.provider
        response_id = f"{front.id_prefix}{request_id}"
        self._options = Options(
            target.deployment, call.stream, response_id, now_s, model, modify_params=target.modify_params
        )
        self._front = front(call, model, response_id, now_s)
        fields = self._front.fields(marks=self._translator is not None)
        if target.parameters is not None:
            if "reasoning_effort" in target.parameters.refused:  # a hint: who can't think answers all the same
                fields.pop("reasoning_effort", None)
            fields = target.parameters.apply(fields)
        self.path = provider.path(target, CHAT.name, model, stream=call.stream)
        if self._translator is None:
            self.body = CHAT.join(fields, model)
        else:
            self.body = self._translator.request(fields, model, self._options)

    def answer(self, answer: Undone) -> "Translated":
        """What a success says, in the wire it was asked in."""
        kind = dict(answer.headers).get("content-type", "").partition(";")[0].strip().lower()
        whole = not (self._stream and (kind in _STREAMS or not kind))
        tap = Tap("openai", self._provider, "application/json" if whole else _EVENTS)
        whole_of = partial(self._whole, tap) if whole else None
        return Translated(answer, whole_of, self._events(tap), self._stream, self._bytes_max, tap)

    def _whole(self, tap: Tap, body: bytes) -> bytes:
        chat = body if self._translator is None else self._translator.answer(body, self._options)
        tap.feed(chat)
        found = self._front.whole(chat)
        if found is None:
            if body.lstrip()[:1] == b"{" and b'"error"' not in body:
                raise UnreadableAnswerError("no chat answer")
            return body  # an error, a page, nothing: whoever reads it next says which
        return b"".join(self._front.events(found)) if self._stream else msgspec.json.encode(found)

    def _events(self, tap: Tap) -> list[StreamTranslator]:
        chat: list[StreamTranslator] = [_Tapped(tap), self._front.stream()]
        return chat if self._translator is None else [self._translator.Stream(self._options), *chat]


class _Tapped:
    """A step of a stream that changes nothing."""

    def __init__(self, tap: Tap) -> None:
        self._tap = tap

    def feed(self, data: bytes) -> list[bytes]:
        self._tap.feed(data)
        return [data]

    def finish(self) -> list[bytes]:
        return []


_Whole = Callable[[bytes], bytes]


class Translated(Undone):
    """An answer whose bytes become others on their way.

    Args:
        whole: what becomes of all of it at once; None: it is a stream.
        steps: of a stream, one behind the other.
        tap: has seen what was used.
    """

    def __init__(
        self,
        inner: Undone,
        whole: _Whole | None,
        steps: list[StreamTranslator],
        as_events: bool,
        bytes_max: int,
        tap: Tap,
    ) -> None:
        self.tap = tap
        self._inner, self._whole_of, self._steps, self._bytes_max = inner, whole, steps, bytes_max
        self._held: list[bytes] = []
        self._held_bytes = 0
        self._has_ended = False
        kind = _EVENTS if as_events else "application/json"
        self.status = inner.status
        self.headers = [*(each for each in inner.headers if each[0] != "content-type"), ("content-type", kind)]

    async def chunks(self) -> AsyncIterator[bytes]:
        """Raises OutboundError, also for what can't be read."""
        try:
            async for chunk in self._inner.chunks():
                if out := self._feed(chunk):
                    yield out
            if not self._has_ended:
                self._has_ended = True
                if out := self._finish():
                    yield out
        except UnreadableAnswerError:
            raise OutboundError(UNREADABLE) from None

    async def arrived(self, within_s: float) -> bool:
        return await self._inner.arrived(within_s)

    def drop(self) -> None:
        self._inner.drop()

    def _feed(self, chunk: bytes) -> bytes:
        if self._whole_of is None:
            return self._through([chunk], 0)
        self._held_bytes += len(chunk)
        if self._held_bytes > self._bytes_max:
            raise UnreadableAnswerError("too large")
        self._held.append(chunk)
        return b""

    def _finish(self) -> bytes:
        if self._whole_of is not None:
            return self._whole_of(b"".join(self._held))
        return b"".join(self._through(step.finish(), place + 1) for place, step in enumerate(self._steps))

    def _through(self, pieces: list[bytes], place: int) -> bytes:
        """What they become by the steps from here on."""
        for step in self._steps[place:]:
            pieces = [out for piece in pieces for out in step.feed(piece)]
        return b"".join(pieces)
