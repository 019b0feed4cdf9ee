"""Charts as SVG text, made here: no script draws them, so a strict policy on content holds. Pure.

Colours and fonts are classes of app.css; every bar says its value to who hovers over it or listens
to it.
"""

from collections.abc import Callable, Sequence
from html import escape

import msgspec

WIDTH, HEIGHT = 960, 200
LEFT, RIGHT, BOTTOM, TOP = 84, 8, 22, 10
TICKS_MAX = 10
LABEL_MAX = 12
POINTS_MAX = 400
BAR_MAX = 48.0
"""A lone bar isn't a wall."""


class Point(msgspec.Struct, frozen=True):
    label: str
    value: float
    shown: str
    """The value as people read it."""


def bars(points: Sequence[Point], title: str, scale: Callable[[float], str]) -> str:
    """One bar a point, in the order given. An SVG element.

    Args:
        scale: a value as the axis says it, with its unit.
    """
    points = points[:POINTS_MAX]
    if not points:
        return ""
    most = max((p.value for p in points), default=0.0)
    step = (WIDTH - LEFT - RIGHT) / len(points)
    width = min(BAR_MAX, max(1.0, step * 0.8))
    room = HEIGHT - BOTTOM - TOP
    base = TOP + room
    parts = [_level(base, scale(0.0))]
    if most > 0:
        parts += [_level(TOP, scale(most)), _level(TOP + room / 2, scale(most / 2))]
    for n, point in enumerate(points):
        height = max(0.0, point.value) / (most or 1.0) * room
        x, y = LEFT + n * step + (step - width) / 2, base - height
        parts.append(
            f'<rect class="bar" x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="{max(height, 0.5) if point.value > 0 else 0:.1f}">'
            f"<title>{escape(point.label)}: {escape(point.shown)}</title></rect>"
        )
    every = max(1, -(-len(points) // TICKS_MAX))
    parts += [
        f'<text class="tick" x="{LEFT + (n + 0.5) * step:.1f}" y="{HEIGHT - 6}">{escape(_short(p.label))}</text>'
        for n, p in enumerate(points)
        if n % every == 0
    ]
    return (
        f'<svg class="chart" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{escape(title, quote=True)}">'
        f"{''.join(parts)}</svg>"
    )


def _level(y: float, said: str) -> str:
    """A line across, and what it stands for."""
    return (
        f'<line class="axis" x1="{LEFT}" y1="{y:.1f}" x2="{WIDTH - RIGHT}" y2="{y:.1f}"/>'
        f'<text class="level" x="{LEFT - 6}" y="{y + 4:.1f}">{escape(said)}</text>'
    )


def _short(label: str) -> str:
    return label if len(label) <= LABEL_MAX else label[: LABEL_MAX - 1] + "…"
