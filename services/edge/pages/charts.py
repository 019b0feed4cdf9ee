"""Charts as SVG text, made here: no script draws them, so a strict policy on content holds. Pure.

Lengths across are shares of whatever room there is and heights are pixels, so that a chart is as
wide as its place and its words stay as large as the page's. Colours and fonts are classes of
app.css; every bar says its value to who hovers over it or listens to it.
"""

import math
from collections.abc import Callable, Sequence
from html import escape

import msgspec

HEIGHT, LEFT = 190, 66
BOTTOM, TOP = 24, 10
TICKS_MAX = 6
LABEL_MAX = 12
POINTS_MAX = 400
BAR_MAX = 7.0
"""Of a hundred: a lone bar isn't a wall."""
STEPS, FEW = (1, 1.2, 1.6, 2, 3, 4, 5, 6, 8, 10), (2, 4, 6, 8, 10)
"""Where an axis ends, times a power of ten; half of each is easily read too, and whole where one
counts a few things."""


class Point(msgspec.Struct, frozen=True):
    label: str
    value: float
    shown: str
    """The value as people read it."""
    part: float = 0.0
    """How much of the value is drawn otherwise: what failed, or the half that was quicker."""


def bars(
    points: Sequence[Point],
    title: str,
    scale: Callable[[float], str],
    *,
    whole: str = "bar",
    part: str = "bar failed",
) -> str:
    """One bar a point, in the order given. An HTML element.

    Args:
        scale: a value as the axis says it, with its unit.
        whole, part: classes of a bar, and of the part of it that is another.
    """
    points = points[:POINTS_MAX]
    if not points:
        return ""
    most = top_of(max(p.value for p in points))
    step = 100 / len(points)
    width = min(BAR_MAX, step * 0.78)
    room = HEIGHT - BOTTOM - TOP
    base = TOP + room
    levels = [(base, 0.0), *([(TOP + room / 2, most / 2), (TOP, most)] if most > 0 else [])]
    said = "".join(f'<text class="level" x="{LEFT - 8}" y="{y + 4:.0f}">{escape(scale(v))}</text>' for y, v in levels)
    parts = [f'<line class="axis" x1="0" y1="{y:.0f}" x2="100%" y2="{y:.0f}"/>' for y, _ in levels]
    for n, point in enumerate(points):
        height = max(0.0, point.value) / (most or 1.0) * room
        other = min(height, max(0.0, point.part) / (most or 1.0) * room)
        x = n * step + (step - width) / 2
        told = f"<title>{escape(point.label)}: {escape(point.shown)}</title>"
        parts.append(_bar(whole, x, base - height, width, max(height, 1.0) if point.value > 0 else 0.0, told))
        if other > 0:
            parts.append(_bar(part, x, base - max(other, 2.0), width, max(other, 2.0), told))
    every = max(1, -(-len(points) // TICKS_MAX))
    parts += [
        f'<text class="tick" x="{(n + 0.5) * step:.2f}%" y="{HEIGHT - 6}">{escape(_short(p.label))}</text>'
        for n, p in enumerate(points)
        if n % every == 0
    ]
    return (
        f'<div class="chart"><svg width="{LEFT}" height="{HEIGHT}" aria-hidden="true">{said}</svg>'
        f'<svg class="plot" height="{HEIGHT}" role="img" aria-label="{escape(title, quote=True)}">{"".join(parts)}</svg></div>'
    )


def top_of(most: float) -> float:
    """The round number at which an axis ends that has to reach `most`."""
    if most <= 0:
        return 0.0
    power = 10.0 ** math.floor(math.log10(most))
    return next(step * power for step in (FEW if power == 1 else STEPS) if step * power >= most * (1 - 1e-9))


def _bar(kind: str, x: float, y: float, width: float, height: float, told: str) -> str:
    return f'<rect class="{kind}" x="{x:.2f}%" y="{y:.1f}" width="{width:.2f}%" height="{height:.1f}">{told}</rect>'


def _short(label: str) -> str:
    return label if len(label) <= LABEL_MAX else label[: LABEL_MAX - 1] + "…"
