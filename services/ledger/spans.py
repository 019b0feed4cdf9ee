"""Days, five days and months (UTC), and which of their sums answer a question. Pure.

A period's sums can be used when the question takes it in whole, and while it is folded
(`spend_span`); what is left is read from the base (hours, or days of tags), and only on days that
have calls.
"""

from collections.abc import Collection, Iterable, Sequence
from datetime import datetime, timedelta
from typing import NamedTuple

BASE = "base"
DAY = timedelta(days=1)


class Span(NamedTuple):
    """A row of `spend_span`."""

    grain: str
    at: datetime
    folded: bool


class Piece(NamedTuple):
    grain: str
    """day, five, month; base."""
    first: datetime
    end: datetime
    """Exclusive."""


def begin(grain: str, day: datetime) -> datetime:
    """Of the period a day is in."""
    if grain == "day":
        return day
    return day.replace(day=1 if grain == "month" else min(day.day - 1, 25) // 5 * 5 + 1)


def end(grain: str, at: datetime) -> datetime:
    """Of a period that begins at `at`: the first instant after it."""
    if grain == "day":
        return at + DAY
    if grain == "five" and at.day < 26:
        return at + 5 * DAY
    return (at.replace(day=1) + 31 * DAY).replace(day=1)


def cover(
    first: datetime, until: datetime, spans: Iterable[Span], grains: Sequence[str], without: Collection[datetime] = ()
) -> list[Piece]:
    """
    Args:
        first, until: the question's, in UTC.
        spans: every period that has a day between them.
        grains: those that may be used, the coarsest first.
        without: days that are answered from elsewhere: no piece has any of them.
    """
    known = list(spans)
    days = {span.at for span in known if span.grain == "day" and span.at < until and span.at + DAY > first}
    unusable = {(grain, begin(grain, day)) for day in without for grain in grains}
    folded = {(span.grain, span.at) for span in known if span.folded} - unusable
    found: list[Piece] = []
    apart = True
    for day in sorted({*days, *without}):
        if day in without:
            apart = True
            continue
        piece = Piece(BASE, max(first, day), min(until, day + DAY))
        for grain in grains:
            at = begin(grain, day)
            if (grain, at) in folded and first <= at and end(grain, at) <= until:
                piece = Piece(grain, at, end(grain, at))
                break
        if apart or found[-1].grain != piece.grain:
            found.append(piece)
        else:  # between them is nothing, or they are the same
            found[-1] = Piece(piece.grain, found[-1].first, max(found[-1].end, piece.end))
        apart = False
    return found
