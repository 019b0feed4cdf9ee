"""Server-sent events of a model's stream: read while they pass, without touching what needn't be
touched.

`Reader.feed(bytes) -> bytes` takes what arrived and returns what may go to the client now: whole
events only. It learns the usage, the response id and model; hides the usage chunk when only we
asked for it; and keeps `[DONE]` back, because the end must be recorded before the client has it.
Pure.
"""

import re

from services.edge.formats.wire import BOM, NULL, AnswerHead, answer_head
from services.edge.usage import openai as usages
from services.edge.usage.reconcile import is_half, more_of, says_less
from shared.billing import Usage
from shared.decoding import UNREADABLE

DONE = b"data: [DONE]\n\n"
EVENT_BYTES_MAX = 16 * 1024 * 1024
KEPT_BYTES_MAX = 8 * 1024 * 1024
"""Of passed bytes remembered for counting, should the provider give no usage."""

EVENTS_WITH_ID_MAX = 16
"""Looked at for the response's id; a stream that doesn't say it by then has none."""

_MARK = re.compile(rb'\[DONE\]|"usage"\s*:(?!\s*null)|"error"(?!\s*:\s*null)|(?<![^\n])event: ?error(?=[\r\n])')
_USAGE, _ERROR = re.compile(rb'"usage"\s*:(?!\s*null)'), re.compile(rb'"error"(?!\s*:\s*null)')
"""Each by itself: what begins with a fixed text is searched for many times faster. OpenAI says
`"usage":null` in every event. An error is a field, or a choice's `finish_reason`."""
_FINISH = re.compile(rb'"finish_reason"\s*:\s*"[^"]')
"""Inside a JSON string the quotes would be escaped, so this can't match in what a model wrote. An
empty reason is none.
"""
_CONTENT = re.compile(
    rb'"(?:content|text|reasoning|reasoning_content|thinking|refusal|arguments|name|data|transcript|b64_json)"\s*:\s*"[^"]'
    rb'|"(?:finish_reason|usage)"\s*:\s*(?!"error")["{][^"}]'
)
"""In an event: something of an answer, or of its end. What comes before (comments, the role, empty
texts) says nothing yet.
"""
PRELUDE_EVENTS_MAX = 16
"""Events without content; with more of them a stream counts as begun."""
BEGINNING = re.compile(rb"\s*(?:event|data|id|retry)?:")
"""Of an event stream, however it is labelled."""
_D = ord("d")
"""Of `data:`, as nearly all begin."""
_NAMED_ERROR = re.compile(rb"(?:(?!event)[^\n]*\n)*event: ?error\r?\n")
_META = re.compile(rb"(?:(?:retry|id|event):[^\r\n]*(?:\r\n|\r|\n))+\s*")
_EVENT_END = re.compile(rb"\r?\n\r?\n|\r\r")


class EventTooLargeError(Exception):
    """The provider sent an event past EVENT_BYTES_MAX."""


class Reader:
    def __init__(self, *, hide_usage: bool, provider: str = "") -> None:
        self._hide_usage = hide_usage
        self._provider = provider
        self._rest = b""
        self._kept: list[bytes] = []
        self._kept_bytes = 0
        self._look_for_id = EVENTS_WITH_ID_MAX
        self.usage: Usage | None = None
        self._counted = False
        """The usage says both sides: nothing is left for us to count."""
        self.response_id: str | None = None
        self.response_model: str | None = None
        self.done = False
        """The provider said [DONE]."""
        self.finished = False
        """A choice had its `finish_reason`, or the usage came by itself: what was said is whole,
        with `[DONE]` or without.
        """
        self.failed = False
        """The provider sent an error in the stream."""
        self.error = b""
        """The data of that event."""
        self.begun = False
        """Something of an answer has come: from here on the call belongs to this provider."""
        self._prelude = 0
        self._at_start = True

    def feed(self, data: bytes) -> bytes:
        """Raises EventTooLargeError."""
        if self._at_start:
            data = self._without_bom(data)
            if not data:
                return b""
        if not self._rest and data.endswith(b"\n\n") and b"\r" not in data:  # as it mostly comes
            whole = data
        else:
            whole = self._up_to_the_last_end(data)
            if not whole:
                return b""
        if whole[0] != _D:
            whole = _without_empty(whole)
        if self._look_for_id:
            self._learn_id(whole)
        if not self.finished and _FINISH.search(whole) is not None:
            self.finished = True
        if not self.begun:
            self._begin(whole)
        if (
            b"[DONE]" in whole
            or (b'"usage"' in whole and _USAGE.search(whole) is not None)
            or (b"error" in whole and _says_error(whole))
        ):
            whole = self._without_ours(whole)
        if self._kept_bytes < KEPT_BYTES_MAX and not self._counted:
            self._kept.append(whole)
            self._kept_bytes += len(whole)
        return whole

    def _up_to_the_last_end(self, data: bytes) -> bytes:
        """The events that are whole, with what was left of before; what is left now stays."""
        seen = len(self._rest)
        if seen:
            data = self._rest + data
        end = last_event_end(data, max(0, seen - 3))
        if end == 0:
            if len(data) > EVENT_BYTES_MAX:
                raise EventTooLargeError
            self._rest = data
            return b""
        self._rest = data[end:]
        return data[:end] if self._rest else data

    def finish(self) -> bytes:
        """What was left without its blank line when the provider closed: an event all the same."""
        rest, self._rest = self._rest, b""
        if not rest.strip():
            return b""
        event = rest + b"\n\n"
        if self._look_for_id:
            self._learn_id(event)
        self.finished = self.finished or _FINISH.search(event) is not None
        if not self.begun:
            self._begin(event)
        if not self._passes(event):
            return b""
        if not self._counted:
            self._kept.append(event)
        return event

    def head(self) -> AnswerHead:
        """What the stream said of itself."""
        return AnswerHead(id=self.response_id, model=self.response_model)

    def passed(self) -> list[bytes]:
        """The events that went to the client, for counting."""
        return [event for part in self._kept for event in split_events(part)]

    def _without_bom(self, data: bytes) -> bytes:
        """One byte order mark may stand before the first event (WHATWG HTML §9.2.6); it may come in
        pieces.
        """
        data = self._rest + data
        self._rest = b""
        if len(data) < len(BOM) and BOM.startswith(data):
            self._rest = data
            return b""
        self._at_start = False
        return data[len(BOM) :] if data.startswith(BOM) else data

    def _begin(self, whole: bytes) -> None:
        self._prelude += whole.count(b"data:")
        self.begun = self._prelude > PRELUDE_EVENTS_MAX or _CONTENT.search(whole) is not None

    def _without_ours(self, whole: bytes) -> bytes:
        """Read the events that may tell the usage or the end, and leave out what isn't the
        client's; skip over all others.
        """
        if b"\r" in whole:
            return b"".join(event for event in split_events(whole) if self._passes(event))
        pieces, done_to, look_from = [], 0, 0
        while (at := _next_mark(whole, look_from)) >= 0:
            before = whole.rfind(b"\n\n", done_to, at)
            start = done_to if before < 0 else before + 2
            end = whole.find(b"\n\n", at) + 2
            pieces.append(whole[done_to:start])
            if self._passes(whole[start:end]):
                pieces.append(whole[start:end])
            done_to = look_from = end
        pieces.append(whole[done_to:])
        return b"".join(pieces)

    def _passes(self, event: bytes) -> bool:
        data = data_of(event)
        if data == b"[DONE]":
            self.done = True
            return False
        if data and _NAMED_ERROR.match(event) is not None:
            self.failed = True
            self.error = data
            return True
        try:
            head = answer_head(data)
        except UNREADABLE:
            return True
        if head.failed():
            self.failed = True
            self.error = data
            return True
        if bytes(head.found()) == b"null":
            return True
        usage = usages.read(head, provider=self._provider)
        if usage is not None:  # zeros, which stand for nothing, don't undo what was said before
            if self.usage is not None and (is_half(usage, generates=True) or says_less(self.usage, usage)):
                usage = more_of(self.usage, usage)
            self.usage = usage
            self._counted = not is_half(usage, generates=True)
            if self._counted:
                self._kept.clear()
        if not _has_no_choices(head):
            return True
        self.finished = True
        return not self._hide_usage

    def _learn_id(self, whole: bytes) -> None:
        """From the first event that says it: comments, and Azure's first event, don't."""
        for event in split_events(whole):
            data = data_of(event)
            if not data or not self._look_for_id:
                continue
            self._look_for_id -= 1
            try:
                head = answer_head(data)
            except UNREADABLE:
                continue
            if head.id:
                self.response_id, self.response_model = head.id, head.model
                self._look_for_id = 0


def _says_error(whole: bytes) -> bool:
    """Whether an event may: in its data, or by its name, whatever its data is."""
    return _ERROR.search(whole) is not None or b"event: error" in whole or b"event:error" in whole


def _without_empty(whole: bytes) -> bytes:
    """Events of nothing but `retry`, `id` and `event` are left out: they are none (WHATWG HTML
    §9.2.6), but clients take them for one, and can't read its data. They come by themselves, before
    or between those with data.
    """
    return b"".join(event for event in split_events(whole) if _META.fullmatch(event) is None)


def _has_no_choices(head: AnswerHead) -> bool:
    return head.choices is NULL or bytes(head.choices) in (b"null", b"[]") or not bytes(head.choices)[1:-1].strip()


def last_event_end(data: bytes, start: int) -> int:
    """Just behind the last blank line that ends behind `start`; 0 when there is none."""
    end = data.rfind(b"\n\n", start) + 2
    if data.find(b"\r", max(end, start)) < 0:
        return end if end > 1 else 0
    last = 0
    for match in _EVENT_END.finditer(data, start):
        last = match.end()
    return last


def _next_mark(data: bytes, start: int) -> int:
    """Where `[DONE]`, a usage object or an error stands next; -1 when nowhere."""
    found = _MARK.search(data, start)
    return -1 if found is None else found.start()


def split_events(data: bytes) -> list[bytes]:
    """Whole events, each with its blank line."""
    if b"\r" not in data:
        parts = data.split(b"\n\n")
        rest = parts.pop()
        return [part + b"\n\n" for part in parts] + ([rest] if rest else [])
    events, start = [], 0
    for match in _EVENT_END.finditer(data):
        events.append(data[start : match.end()])
        start = match.end()
    if start < len(data):
        events.append(data[start:])
    return events


def data_of(event: bytes) -> bytes:
    """The event's data lines, joined (WHATWG HTML §9.2.6)."""
    lines = [
        line[6:] if line.startswith(b"data: ") else line[5:] for line in event.splitlines() if line.startswith(b"data:")
    ]
    return lines[0].strip() if len(lines) == 1 else b"\n".join(lines).strip()


def last_data(data: bytes) -> bytes:
    """Of the last event that has any, besides `[DONE]`."""
    found = (data_of(event) for event in reversed(split_events(data)))
    return next((each for each in found if each not in (b"", b"[DONE]")), b"")


def error_event(error_body: bytes) -> bytes:
    """After the first byte an error can only be an event."""
    return b"data: " + error_body + b"\n\n"
