"""What an answer that is relayed as it is really is: told by its beginning, and by its events as
they flow by. Pure.

A 200 may be an error, an error page, or nothing; a stream may end in an error, or in the middle.
Whoever relays it holds back its beginning until something of an answer has come (`begun`): until
then the call may go on elsewhere.
"""

import re
from typing import Any, Final

import msgspec

from services.edge.formats.events import BEGINNING, data_of, last_event_end, split_events
from services.edge.formats.wire import BOM, NULL, AnswerHead, answer_head
from shared.decoding import UNREADABLE

WHOLE_BYTES_MAX: Final = 64 * 1024
"""What is longer than this and in one piece is no error."""
EVENT_BYTES_MAX: Final = 16 * 1024 * 1024
"""Of an event that is kept until its end is here."""
_MARK: Final = re.compile(
    rb'"error"(?!\s*:\s*null)|^event:\s*error|"response\.(?:completed|incomplete|failed|cancelled)"|"message_stop"|\[DONE\]',
    re.MULTILINE,
)
"""In an event: that it may be an error, or the end. Others aren't read."""
_FAILED: Final = frozenset({"error", "response.failed"})
_ENDS: Final = frozenset({"message_stop", "response.completed", "response.incomplete", "response.cancelled"})
_PRELUDE: Final = frozenset({"ping", "message_start", "response.created", "response.queued", "response.in_progress"})
"""Events that say nothing of an answer yet."""


class _Failed(msgspec.Struct):
    error: msgspec.Raw = NULL


class _Event(msgspec.Struct):
    type: Any = None
    object: Any = None
    error: msgspec.Raw = NULL
    response: _Failed | None = None
    """Of `response.failed`."""


_event = msgspec.json.Decoder(_Event).decode


class Judge:
    """
    Args:
        content_type: as the answer says it.
        is_sound: an answer is bytes that nobody here can read, unless its type says that it is
            text.
        may_be_text: an answer may be plain text.
        has_end: a stream of it says that it is over.
    """

    def __init__(self, content_type: str, *, is_sound: bool, may_be_text: bool, has_end: bool) -> None:
        kind = content_type.partition(";")[0].strip().lower()
        self._is_text = kind.startswith("text/") or kind.endswith("json")
        self._is_opaque = is_sound and not self._is_text
        self._may_be_text = may_be_text
        self._may_be_silent = may_be_text and kind.startswith("text/")
        self._has_end = has_end
        self._events: bool | None = None
        """None: not known yet."""
        self._held = b""
        """Of what is whole: all of it, until it is known to be an answer."""
        self._open: list[bytes] = []
        """The last event, as long as its end isn't here: in the pieces that it came in, so that a
        large one is joined once.
        """
        self._open_bytes = 0
        self._tail = b""
        """Its last bytes: its end may come in two pieces."""
        self._has_ended = False
        self.begun = False
        """Something of an answer has come."""
        self.error: bytes | None = None
        """What says that it failed."""

    @property
    def is_stream(self) -> bool:
        return bool(self._events)

    def broke_off(self, wire: str, message: str) -> bytes:
        """What follows on a stream that broke off, maybe in the middle of an event; empty: it is
        none.
        """
        if not self._events:
            return b""
        return (b"\n\n" if any(map(bytes.strip, self._open)) else b"") + error_event(wire, message)

    def feed(self, data: bytes) -> None:
        """What came next."""
        if self._is_opaque:
            self.begun = self.begun or bool(data)
        elif self._events:
            self._read(data)
        elif not self.begun:
            self._held += data
            start = self._held.removeprefix(BOM)
            if self._events is None and start.strip():
                self._events = BEGINNING.match(start) is not None
            if self._events:
                self._held = b""
                self._read(start)
            else:
                self.begun = len(self._held) > WHOLE_BYTES_MAX

    def finish(self) -> str | None:
        """All of it is here: what is wrong with it, a cause of routing/causes.py; None: nothing."""
        if self._events:
            rest = b"".join(self._open)
            if rest.strip():
                self._event(rest)
            if self.error is not None:
                return "error_answer"
            if not self.begun:
                return "empty"
            return "early_end" if self._has_end and not self._has_ended else None
        if self.begun:
            return None
        return self._of_whole(self._held.removeprefix(BOM).strip())

    # ── in one piece ──

    def _of_whole(self, body: bytes) -> str | None:
        if self._may_be_text and body[:1] not in (b"", b"{", b"<"):  # as it is, WEBVTT, a JSON string
            return None
        if self._may_be_silent and not body:
            return None
        if not body:
            return "empty"
        try:
            head = answer_head(body)
        except UNREADABLE:
            return "unreadable"
        if not head.failed():
            return None
        self.error = body
        try:
            is_response = _event(body).object == "response"
        except UNREADABLE:
            is_response = False
        return None if is_response else "error_answer"  # one whose status is `failed`: clients read it as it is

    # ── events ──

    def _read(self, data: bytes) -> None:
        seen = self._tail + data
        end = last_event_end(seen, 0)
        if end == 0:
            self._keep(data, seen)
            return
        self._open.append(data)
        joined = b"".join(self._open)
        at = len(joined) - (len(seen) - end)
        whole, rest = joined[:at], joined[at:]
        self._open, self._open_bytes = [], 0
        self._keep(rest, rest)
        if not self.begun or _MARK.search(whole) is not None:
            for event in split_events(whole):
                self._event(event)

    def _keep(self, data: bytes, seen: bytes) -> None:
        if self._open_bytes + len(data) <= EVENT_BYTES_MAX:  # of a longer one the beginning says what it is
            self._open.append(data)
            self._open_bytes += len(data)
        self._tail = seen[-3:]

    def _event(self, event: bytes) -> None:
        data = data_of(event)
        if not data:
            return
        if data == b"[DONE]":
            self._has_ended = True
            return
        try:
            found = _event(data)
        except UNREADABLE:
            self.begun = True  # whatever it is: its reader has to see it
            return
        kind = found.type if isinstance(found.type, str) else ""
        if kind in _FAILED or event.startswith(b"event: error") or AnswerHead(error=found.error).failed():
            of_response = found.response.error if found.response is not None else NULL
            self.error = data if of_response is NULL else b'{"error":%b}' % bytes(of_response)
        elif self.error is None and kind not in _PRELUDE:
            self.begun = True
        self._has_ended = self._has_ended or kind in _ENDS


def error_event(wire: str, message: str) -> bytes:
    """Behind the events of a stream that broke off: how its makers say so."""
    error: dict[str, Any]
    if wire == "anthropic":
        error = {"type": "error", "error": {"type": "api_error", "message": message}}
    else:
        error = {"type": "error", "code": "server_error", "message": message, "param": None}
    return b"event: error\ndata: %b\n\n" % msgspec.json.encode(error)
