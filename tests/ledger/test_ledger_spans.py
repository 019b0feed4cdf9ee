"""Whatever is folded and whatever is left out: the pieces that answer a question add up to its
days, each once.
"""

import random
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from functools import cache

import pytest

from services.ledger import spans
from services.ledger.spans import BASE, DAY, RUNNING, Piece, Span, cover

PERIODS = ("day", "five", "month")
TAGS, GROUPS = spans.OF_TAGS["year"], spans.OF_GROUPS["year"]
HOUR = timedelta(hours=1)
begin, end, start = cache(spans.begin), cache(spans.end), cache(spans.start)


def book(draw: random.Random) -> tuple[dict[datetime, int], list[Span]]:
    """Calls a day, and the spans of a cube that has them: some folded, and of all that may hold
    some totals.
    """
    days = [datetime(2025, 10, 1, tzinfo=UTC) + n * DAY for n in range(500)]
    density, folds, months = draw.choice([1.0, 0.9, 0.2]), draw.choice([1.0, 0.97, 0.5]), draw.choice([1.0, 0.3])
    calls = {day: draw.randrange(1, 99) for day in days if draw.random() < density}
    folded = {("day", day): draw.random() < folds for day in calls}
    for grain in ("five", "month"):
        for at in {begin(grain, day) for day in calls}:
            folded[grain, at] = draw.random() < folds and (
                grain == "five"
                or (all(folded["day", day] for day in calls if begin(grain, day) == at) and draw.random() < months)
            )
    found = [Span(grain, at, done) for (grain, at), done in folded.items()]
    for running, (whole, part) in RUNNING.items():
        for at in {begin(part, day) for day in calls}:
            parts = [done for (known, day), done in folded.items()
                     if known in ("day", part) and begin(whole, at) <= day < end(part, at)]  # fmt: skip
            if all(parts) and (part == "month" or at.day < 26) and draw.random() < folds:
                found.append(Span(running, at, True))
    return calls, found


def said(piece: Piece, calls: dict[datetime, int]) -> Iterator[tuple[datetime, int]]:
    """Days of the rows between a piece's instants."""
    if piece.grain == BASE:
        yield from ((day, piece.sign) for day in calls if piece.first < day + DAY and day < piece.end)
        return
    part = RUNNING[piece.grain][1] if piece.grain in RUNNING else piece.grain
    for at in {begin(part, day) for day in calls}:
        if piece.first <= at < piece.end:
            yield from ((day, piece.sign) for day in calls if start(piece.grain, at) <= day < end(piece.grain, at))


@pytest.mark.parametrize("grains", [*spans.OF_TAGS.values(), *spans.OF_GROUPS.values(), ()])
def test_every_day_counts_once(grains: tuple[str, ...]) -> None:
    draw = random.Random(f"{grains}")
    totals = 0
    for _ in range(60):
        calls, known = book(draw)
        first = datetime(2025, 9, 25, tzinfo=UTC) + draw.randrange(400) * DAY + draw.choice([0, 0, 5]) * HOUR
        until = first + draw.choice([1, 30, 45, 200, 365]) * DAY + draw.choice([0, 0, 7]) * HOUR
        without = [day for day in sorted(calls) if draw.random() < 0.01] if draw.random() < 0.5 else []
        in_range = [day for day in calls if day + DAY > first and day < until]
        pieces = cover(first, until, known, grains, [day for day in without if day in in_range])
        found: Counter[datetime] = Counter()
        for piece in pieces:
            assert piece.grain in (BASE, *grains)
            for day, sign in said(piece, calls):
                found[day] += sign
            totals += piece.grain in RUNNING
        assert {day: count for day, count in found.items() if count} == {
            day: 1 for day in in_range if day not in without
        }
        folded = {(span.grain, span.at) for span in known if span.folded}
        for piece in pieces:
            if piece.grain in PERIODS and piece.grain != BASE:
                taken = {at for day in calls if piece.first <= (at := begin(piece.grain, day)) < piece.end}
                assert all((piece.grain, at) in folded for at in taken), "its sums are of before the last call"
            if piece.grain == BASE:
                assert first <= piece.first
                assert piece.end <= until
            if piece.grain in RUNNING and "year_to" not in grains:
                assert first <= piece.first + 31 * DAY, "a bucket of a month has what is of the month"
    assert bool(totals) == any(grain in RUNNING for grain in grains)


def test_a_year_and_a_month_take_a_handful_of_sums() -> None:
    """Where all is folded that is over: what a question costs is how many sums there are of each
    tag.
    """
    now = datetime(2026, 11, 27, tzinfo=UTC)
    days = [datetime(2025, 1, 1, tzinfo=UTC) + n * DAY for n in range((now - datetime(2025, 1, 1, tzinfo=UTC)).days)]
    known = [Span(grain, at, end(grain, at) <= now) for grain in PERIODS for at in {begin(grain, day) for day in days}]
    known += [
        Span("month_to", span.at, True) for span in known if span.grain == "five" and span.at.day < 26 and span.folded
    ]
    known += [Span("year_to", span.at, True) for span in known if span.grain == "month" and span.folded]

    def sums(grains: tuple[str, ...], back: int) -> int:
        pieces = cover(now - (back - 1) * DAY, now + DAY, known, grains)
        rows = 0
        for piece in pieces:
            part = RUNNING[piece.grain][1] if piece.grain in RUNNING else {BASE: "day"}.get(piece.grain, piece.grain)
            rows += len({begin(part, day) for day in days if piece.first <= begin(part, day) < piece.end})
        return rows

    assert sums(TAGS, 30) == 5, "three days, a month's total, a day"
    assert sums(TAGS, 365) == sums(GROUPS, 365) == 7, "and December, a year's total"
    assert sums(("month", "five"), 365) == 3 + 11 + 5 + 1, "without totals"
    assert spans.cover(now, now, known, TAGS) == []
