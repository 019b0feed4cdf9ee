"""The chart of a section as SVG: throughput of each contestant over the reference, a dot and its
quartiles on a logarithmic axis.
"""

import math
from html import escape

from tests.bench.report import SectionReport

WIDTH, ROW, LEFT, RIGHT, TOP, BOTTOM = 860, 30, 170, 150, 58, 46
INK, FAINT, OURS, OTHERS = "#1f2328", "#d0d7de", "#0969da", "#6e7781"


def svg(section: SectionReport, caption: str) -> str:
    """A whole SVG document; rows in the section's order."""
    rows = [(row, row.throughput_ratio) for row in section.rows if row.throughput_ratio is not None]
    lows = [ratio.low for _, ratio in rows if ratio.low > 0] + [0.5]
    highs = [ratio.high for _, ratio in rows] + [2.0]
    first, last = math.floor(math.log10(min(lows))), math.ceil(math.log10(max(highs)))
    height = TOP + ROW * len(rows) + BOTTOM

    def x(value: float) -> float:
        share = (math.log10(max(value, 10**first)) - first) / (last - first)
        return round(LEFT + share * (WIDTH - LEFT - RIGHT), 1)

    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" height="{height}" '
        'font-family="system-ui, sans-serif" font-size="13">',
        f'<rect width="{WIDTH}" height="{height}" fill="#ffffff"/>',
        _text(14, 22, f"Throughput per core, as a multiple of {section.reference}", size=15, weight=600),
        _text(14, 40, section.title, fill=OTHERS),
    ]
    for power in range(first, last + 1):
        at = x(10**power)
        parts.append(_line(at, TOP, at, height - BOTTOM, INK if power == 0 else FAINT))
        parts.append(_text(at, height - BOTTOM + 18, f"{10**power:g}x", anchor="middle"))
    for i, (row, ratio) in enumerate(rows):
        y = TOP + ROW * i + ROW / 2
        colour = OURS if row.contestant.startswith("tollgate") else OTHERS
        bound = "≥ " if row.lower_bound else ""
        parts += [
            _text(LEFT - 12, y + 4, row.contestant, anchor="end", weight=600 if colour == OURS else 400),
            _line(x(ratio.low), y, x(ratio.high), y, colour, 3),
            f'<circle cx="{x(ratio.median)}" cy="{y}" r="6" fill="{colour}"/>',
            _text(WIDTH - RIGHT + 24, y + 4, f"{bound}{ratio.median:.3g}x", fill=colour),
        ]
    parts += [_text(14, height - 8, caption, size=11, fill=OTHERS), "</svg>"]
    return "\n".join(parts) + "\n"


def _text(
    x: float, y: float, text: str, *, anchor: str = "start", size: int = 13, weight: int = 400, fill: str = INK
) -> str:
    style = f'text-anchor="{anchor}" font-size="{size}" font-weight="{weight}" fill="{fill}"'
    return f'<text x="{x}" y="{y}" {style}>{escape(text)}</text>'


def _line(x1: float, y1: float, x2: float, y2: float, colour: str, width: int = 1) -> str:
    return f'<line x1="{x1}" y1="{y1}" x2="{x2}" y2="{y2}" stroke="{colour}" stroke-width="{width}" stroke-linecap="round"/>'
