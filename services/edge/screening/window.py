"""A stream's events, held back where what they say may be the start of something forbidden. What
can't be goes out at once.

Each channel (a choice's field, a tool call's arguments) has a text that grows: `before`, which is
out, and `held`, which isn't. A screening sees the end of `before` and all of `held`, so a finding
across any cuts is seen whole; time never releases anything. An event goes out when everything that
its channels say up to its end is decided; redactions are put into the events they fall on. What
comes out is the same however the stream was cut.
"""

from collections import deque

import msgspec

from services.edge.content import answer as answers
from services.edge.content.spelled import spelled_so_far
from services.edge.formats.base import Address, Text
from services.edge.formats.events import data_of, split_events
from services.edge.screening.screening import Screening
from shared import errors
from shared.decoding import UNREADABLE
from shared.errors import Refusal
from shared.requests import Redaction

HELD_CHARACTERS_MAX = 262_144
"""Of one channel. A stream that keeps something open for longer than this is ended."""
CONTEXT_CHARACTERS = 512
"""Of what is out that a screening still sees, at least: `api_key=` says what the next word is."""
CHANNELS_MAX = 512


class _Channel:
    """One growing text, without escapes that its format doesn't need."""

    __slots__ = ("before", "cut", "held", "hidden_to", "last", "out_to", "said", "spans", "text")

    def __init__(self, text: Text) -> None:
        self.text = text
        self.before = ""
        """The end of what is out."""
        self.held = ""
        self.said = 0
        """Characters that came, in all."""
        self.out_to = 0
        """Up to here (characters of the stream) it is decided."""
        self.hidden_to = 0
        """Up to here reaches what is out already as a replacement."""
        self.cut = ""
        """The beginning of an escape, at its end."""
        self.last: _Part | None = None
        """What has the cut; it is held until the escape is whole."""
        self.spans: list[Redaction] = []
        """Decided or expected; start and end count characters of the stream."""

    def grow(self, real: Address, said: str) -> "_Part":
        """What an event adds; with what was cut before it, and without what is cut in it."""
        text, cut = spelled_so_far(self.cut + said, self.text.kind)
        part = _Part(self, real, said, text, self.said)
        self._add(text)
        self.cut, self.last = cut, part if cut else None
        return part

    def end(self) -> None:
        """Nothing more comes: an escape that isn't whole stays as it is."""
        if self.last is not None:
            self.last.text += self.cut
            self._add(self.cut)
            self.cut, self.last = "", None

    def _add(self, text: str) -> None:
        self.held += text
        self.said += len(text)


class _Part:
    """What one event adds to a channel."""

    __slots__ = ("at", "channel", "real", "said", "text")

    def __init__(self, channel: _Channel, real: Address, said: str, text: str, at: int) -> None:
        self.channel = channel
        self.real = real
        self.said = said
        """As it came."""
        self.text = text
        """As it goes out, if nothing in it is hidden."""
        self.at = at
        """Where in the channel's text it begins."""

    @property
    def is_decided(self) -> bool:
        return self.channel.last is not self and self.at + len(self.text) <= self.channel.out_to


class _Held:
    __slots__ = ("event", "parts")

    def __init__(self, event: bytes, parts: list[_Part]) -> None:
        self.event = event
        self.parts = parts


class StreamWindow:
    def __init__(self, screening: Screening) -> None:
        self._screening = screening
        self._window = screening.window()
        self._channels: dict[Address, _Channel] = {}
        self._held: deque[_Held] = deque()
        self._context = max(CONTEXT_CHARACTERS, self._window)

    async def feed(self, whole_events: bytes) -> tuple[bytes, Refusal | None]:
        """What may go out now, or why nothing more may."""
        grown: dict[int, _Channel] = {}
        for event in split_events(whole_events):
            parts = []
            for found in answers.of_event(data_of(event)):
                channel = self._channels.get(found.channel)
                if channel is None:
                    if len(self._channels) >= CHANNELS_MAX:
                        return b"", _unscreenable()
                    channel = self._channels[found.channel] = _Channel(found.text)
                parts.append(channel.grow(found.real, found.text.text))
                if len(channel.held) > HELD_CHARACTERS_MAX:
                    return b"", _unscreenable()
                grown[id(channel)] = channel
            self._held.append(_Held(event, parts))
        if grown and self._window:
            refusal = await self._screen(list(grown.values()), partial=True)
            if refusal is not None:
                return b"", refusal
        return self._release()

    async def end(self) -> tuple[bytes, Refusal | None]:
        """The stream is over: the rest, or why it may not go out."""
        for channel in self._channels.values():
            channel.end()
        open_ = [channel for channel in self._channels.values() if channel.held]
        if open_:
            refusal = await self._screen(open_, partial=False)
            if refusal is not None:
                return b"", refusal
        return self._release()

    async def _screen(self, channels: list[_Channel], *, partial: bool) -> Refusal | None:
        texts = [
            msgspec.structs.replace(c.text, address=("stream", i), text=c.before + c.held)
            for i, c in enumerate(channels)
        ]
        look = await self._screening.look("post_call", texts, partial=partial)
        if look.refusal is not None:
            return look.refusal
        for i, channel in enumerate(channels):
            whole = texts[i].text
            starts_at = channel.said - len(whole)  # of the text that was screened, in the stream
            held_at = channel.said - len(channel.held)
            # A span whose beginning is out goes on hiding, in silence if its replacement is out,
            # too.
            first = held_at if channel.hidden_to <= held_at else 0
            channel.spans = [
                Redaction(i, max(first, starts_at + r.start), starts_at + r.end, r.replacement)
                for r in sorted(look.redactions, key=lambda r: (r.start, -r.end))
                if r.text == i and starts_at + r.end > held_at
            ]
            decided = len(whole)
            if partial:
                decided = look.open_from[i] if look.open_from is not None else len(whole) - self._window
            out_to = max(held_at, starts_at + max(0, decided))
            for span in channel.spans:
                if span.start < out_to < span.end:
                    out_to = span.start  # it may still grow
            channel.out_to = out_to
        return None

    def _release(self) -> tuple[bytes, Refusal | None]:
        out = []
        while self._held:
            held = self._held[0]
            if not all(part.is_decided for part in held.parts):
                break
            self._held.popleft()
            try:
                out.append(self._redacted(held))
            except (LookupError, *UNREADABLE):
                return b"", _unscreenable()
            for part in held.parts:
                channel, said = part.channel, len(part.text)
                channel.before = (channel.before + channel.held[:said])[-self._context :]
                channel.held = channel.held[said:]
        return b"".join(out), None

    def _redacted(self, held: _Held) -> bytes:
        changed: dict[Address, str] = {}
        for part in held.parts:
            channel, text, at = part.channel, part.text, part.at
            touching = [span for span in channel.spans if span.start < at + len(text) and span.end > at]
            if touching:
                changed[part.real] = _part_of(text, at, channel.spans)
                channel.hidden_to = touching[-1].end
            elif text != part.said:
                changed[part.real] = text
        if not changed:
            return held.event
        return _with_data(held.event, answers.event_with_texts(data_of(held.event), changed))


def _part_of(text: str, at: int, spans: list[Redaction]) -> str:
    """What is left of a piece that begins at `at`: a span's replacement stands in the piece where
    the span starts.
    """
    out, done, end = [], at, at + len(text)
    for span in spans:
        if span.end <= done or span.start >= end:
            continue
        out.append(text[max(0, done - at) : max(0, span.start - at)])
        if span.start >= done:
            out.append(span.replacement)
        done = max(done, span.end)
    out.append(text[max(0, done - at) :])
    return "".join(out)


def _with_data(event: bytes, data: bytes) -> bytes:
    """The event's other lines as they were."""
    lines = [line for line in event.splitlines() if line and not line.startswith(b"data:")]
    return b"\n".join([*lines, b"data: " + data]) + b"\n\n"


def _unscreenable() -> Refusal:
    return errors.blocked_content("The answer could not be checked to its end", 502)
