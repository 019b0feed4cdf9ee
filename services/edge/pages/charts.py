"""Charts as SVG text, made here: no script draws them, so a strict policy on content holds. Pure.

Colours and fonts are classes of app.css; every bar and point says its value to who hovers over it or listens to it.
"""

from collections.abc import Sequence
from html import escape

import msgspec

WIDTH, HEIGHT = 720, 180
LEFT, BOTTOM, TOP = 8, 22, 8
POINTS_MAX = 400
BAR_MAX = 48.0
"""A lone bar isn't a wall."""


class Point(msgspec.Struct, frozen=True):
    label: str
    value: float
    shown: str
    """The value as people read it."""


def bars(points: Sequence[Point], title: str) -> str:
    """One bar a point, in the order given. An SVG element."""
    points = points[:POINTS_MAX]
    if not points:
        return ""
    most = max((p.value for p in points), default=0.0) or 1.0
    step = (WIDTH - 2 * LEFT) / len(points)
    width = min(BAR_MAX, max(1.0, step * 0.8))
    room = HEIGHT - BOTTOM - TOP
    parts = []
    for n, point in enumerate(points):
        height = max(0.0, point.value) / most * room
        x, y = LEFT + n * step + (step - width) / 2, TOP + room - height
        parts.append(
            f'<rect class="bar" x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="{max(height, 0.5):.1f}">'
            f"<title>{escape(point.label)}: {escape(point.shown)}</title></rect>"
        )
    return _framed(parts, points, step, title)


def line(points: Sequence[Point], title: str) -> str:
    """One line through the points."""
    points = points[:POINTS_MAX]
    if not points:
        return ""
    most = max((p.value for p in points), default=0.0) or 1.0
    step = (WIDTH - 2 * LEFT) / len(points)
    room = HEIGHT - BOTTOM - TOP
    at = [(LEFT + (n + 0.5) * step, TOP + room - max(0.0, p.value) / most * room) for n, p in enumerate(points)]
    path = " ".join(f"{x:.1f},{y:.1f}" for x, y in at)
    dots = [
        f'<circle class="dot" cx="{x:.1f}" cy="{y:.1f}" r="2.5"><title>{escape(p.label)}: {escape(p.shown)}</title></circle>'
        for (x, y), p in zip(at, points, strict=True)
    ]
    return _framed([f'<polyline class="line" points="{path}"/>', *dots], points, step, title)


def _framed(parts: list[str], points: Sequence[Point], step: float, title: str) -> str:
    every = max(1, round(len(points) / 8))
    labels = [
        f'<text class="tick" x="{LEFT + (n + 0.5) * step:.1f}" y="{HEIGHT - 6}">{escape(p.label[:12])}</text>'
        for n, p in enumerate(points)
        if n % every == 0
    ]
    base = HEIGHT - BOTTOM
    return (
        f'<svg class="chart" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{escape(title, quote=True)}">'
        f'<line class="axis" x1="0" y1="{base}" x2="{WIDTH}" y2="{base}"/>{"".join(parts)}{"".join(labels)}</svg>'
    )
