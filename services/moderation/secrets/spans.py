"""Where a secret stands, and merging what several rules found. Pure."""

from collections.abc import Iterable, Iterator
from typing import TypeAlias

import msgspec

KEYWORD = "Secret Keyword"
"""detect-secrets' name for what a name gave away. Where rules overlap, this is the type that is
logged.
"""


class Span(msgspec.Struct, frozen=True):
    """Half-open, in bytes of the text in UTF-8."""

    start: int
    end: int
    type: str


Found: TypeAlias = Span | None
"""What rules yield: None before each value that they judge, which is most of their work."""


def of_letters(data: bytes, spans: Iterable[Span]) -> Iterator[Span]:
    """Each made longer, so that it begins and ends between letters: what a pattern takes is bounded
    in bytes.
    """
    for span in spans:
        start, end = span.start, min(span.end, len(data))
        while 0 < start < len(data) and data[start] & 0xC0 == 0x80:
            start -= 1
        while end < len(data) and data[end] & 0xC0 == 0x80:
            end += 1
        yield Span(start, end, span.type)


def merge(spans: Iterable[Span]) -> list[Span]:
    """Sorted; those that overlap become one."""
    merged: list[Span] = []
    for span in sorted(spans, key=lambda s: (s.start, -s.end)):
        last = merged[-1] if merged else None
        if last is not None and span.start < last.end:
            kind = KEYWORD if KEYWORD in (last.type, span.type) else last.type
            merged[-1] = Span(last.start, max(last.end, span.end), kind)
        else:
            merged.append(span)
    return merged
