"""Days, five days and months (UTC), and which of their sums answer a question. Pure.

A period's sums can be used when the question takes it in whole, and while it is folded
(`spend_span`); what is left is read from the base (hours, or days of tags), and only on days that
have calls. Of several periods together a running total (`spend_running`) says the same, less the
one before them.
"""

import itertools
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from typing import NamedTuple

BASE = "base"
DAY = timedelta(days=1)
RUNNING = {"month_to": ("month", "five"), "year_to": ("year", "month")}
"""Running total -> what it is of, and the periods at whose ends it is known. The shorter first."""

OF_TAGS: dict[str, tuple[str, ...]] = {
    "year": ("year_to", "month_to", "month", "five"), "month": ("month_to", "month", "five"),
}  # fmt: skip
OF_GROUPS: dict[str, tuple[str, ...]] = {
    "year": ("year_to", "month_to", "month", "day"), "month": ("month_to", "month", "day"), "day": ("day",),
}  # fmt: skip
"""What the tables by tag, and those by who called what, may be asked for where sums are wanted by
the year (or together), by the month, by the day.
"""


class Span(NamedTuple):
    """A row of `spend_span`, or of `spend_running` (which are all folded)."""

    grain: str
    at: datetime
    folded: bool


class Piece(NamedTuple):
    grain: str
    """base; or day, five, month, month_to, year_to."""
    first: datetime
    end: datetime
    """Exclusive: rows from `first` to here are added up."""
    sign: int = 1


class _Stretch(NamedTuple):
    """Of the question: pieces that say what happened between two instants."""

    first: datetime
    end: datetime
    pieces: list[Piece]


def begin(grain: str, day: datetime) -> datetime:
    """Of the period a day is in."""
    if grain == "day":
        return day
    if grain == "year":
        return day.replace(month=1, day=1)
    return day.replace(day=1 if grain == "month" else min(day.day - 1, 25) // 5 * 5 + 1)


def end(grain: str, at: datetime) -> datetime:
    """Of a period that begins at `at`, or of a running total with it: the first instant after
    it.
    """
    if grain in RUNNING:
        grain = RUNNING[grain][1]
    if grain == "day":
        return at + DAY
    if grain == "year":
        return at.replace(year=at.year + 1)
    if grain == "five" and at.day < 26:
        return at + 5 * DAY
    return (at.replace(day=1) + 31 * DAY).replace(day=1)


def start(grain: str, at: datetime) -> datetime:
    """Of what is in the sums of a period, or in a running total, that is kept at `at`."""
    return begin(RUNNING[grain][0], at) if grain in RUNNING else at


def cover(
    first: datetime, until: datetime, spans: Iterable[Span], grains: Sequence[str], without: Collection[datetime] = ()
) -> list[Piece]:
    """
    Args:
        first, until: the question's, in UTC.
        spans: every period that has a day between them, and the running totals of their years.
        grains: those that may be used, the coarsest first.
        without: days that are answered from elsewhere: no piece has any of them.
    """
    known = list(spans)
    days = {span.at for span in known if span.grain == "day" and span.at < until and span.at + DAY > first}
    folded = {(span.grain, span.at) for span in known if span.folded}
    periods = [grain for grain in grains if grain not in RUNNING]
    whole = folded - {(grain, begin(grain, day)) for day in without for grain in periods}
    found: list[_Stretch] = []
    for day in sorted(days - set(without)):
        piece = Piece(BASE, max(first, day), min(until, day + DAY))
        for grain in periods:
            at = begin(grain, day)
            if (grain, at) in whole and first <= at and end(grain, at) <= until:
                piece = Piece(grain, at, end(grain, at))
                break
        if not found or piece != found[-1].pieces[0]:
            found.append(_Stretch(piece.first, piece.end, [piece]))
    for grain in RUNNING:
        if grain in grains:
            found = [*_with_totals(found, grain, first, until, folded, without)]
    return _merged([piece for stretch in found for piece in stretch.pieces], without)


def _with_totals(
    found: Iterable[_Stretch],
    grain: str,
    first: datetime,
    until: datetime,
    folded: Collection[tuple[str, datetime]],
    without: Collection[datetime],
) -> Iterator[_Stretch]:
    """The stretches, in order, with running totals of months (or years) in the place of some. Each
    lies within one of them.
    """
    whole = RUNNING[grain][0]
    totals: defaultdict[datetime, dict[datetime, Piece]] = defaultdict(dict)
    for known, last in folded:
        if known in (grain, whole):
            totals[begin(whole, last)][end(known, last)] = Piece(known, last, last + DAY)
    for at, inside in itertools.groupby(found, lambda stretch: begin(whole, _midnight(stretch.first))):
        yield from _difference([*inside], totals[at], at, first, until, without)


def _midnight(at: datetime) -> datetime:
    return at.replace(hour=0, minute=0, second=0, microsecond=0)


def _difference(
    found: list[_Stretch],
    totals: Mapping[datetime, Piece],
    at: datetime,
    first: datetime,
    until: datetime,
    without: Collection[datetime],
) -> list[_Stretch]:
    """Where it saves the most, what lies within a month (or year) as the difference of its totals
    up to two instants.

    Args:
        totals: running totals of it up to an instant, and all of it.
        at: its beginning.
    """
    best, saved = (at, at), 0
    for low in (at, *totals):
        for high in totals:
            if not max(first, at) <= low < high <= until or any(low <= day < high for day in without):
                continue
            inside = [stretch for stretch in found if stretch.first < high and stretch.end > low]
            if any(stretch.first < low or stretch.end > high for stretch in inside):
                continue
            saves = sum(len(stretch.pieces) for stretch in inside) - (1 if low == at else 2)
            if saves > saved:
                best, saved = (low, high), saves
    if not saved:
        return found
    low, high = best
    less = [] if low == at else [totals[low]._replace(sign=-1)]
    before = [stretch for stretch in found if stretch.end <= low]
    after = [stretch for stretch in found if stretch.first >= high]
    return [*before, _Stretch(low, high, [totals[high], *less]), *after]


def _merged(pieces: Iterable[Piece], without: Collection[datetime]) -> list[Piece]:
    """Neighbours of one grain as one: between them is nothing, or a day that is left out."""
    found: list[Piece] = []
    for piece in pieces:
        last = found[-1] if found else None
        apart = last is None or piece.grain in RUNNING or (last.grain, last.sign) != (piece.grain, piece.sign)
        if last is None or apart or any(last.end <= day < piece.first for day in without):
            found.append(piece)
        else:
            found[-1] = last._replace(end=piece.end)
    return found
