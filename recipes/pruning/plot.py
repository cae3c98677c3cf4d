"""Accuracy against bit operations, one line per width of integers: an SVG drawn from rows of a result file."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from math import log10
from xml.sax.saxutils import escape

WIDTH, HEIGHT, LEFT, BOTTOM, TOP, RIGHT = 760, 420, 64, 52, 24, 176
COLOURS = ("#2f6fd0", "#b07a1e", "#2e8b57", "#8e44ad", "#c0392b", "#59636e")
STYLE = (
    "text{font:13px system-ui,sans-serif;fill:#1f2328}.soft{fill:#59636e}.grid{stroke:#d1d9e0}"
    "@media (prefers-color-scheme:dark){text{fill:#e6edf3}.soft{fill:#9198a1}.grid{stroke:#3d444d}}"
)
Points = Sequence[tuple[float, float]]
Place = Callable[[float, float], tuple[float, float]]
"""From bit operations and accuracy to pixels."""


def draw(title: str, lines: Mapping[str, Points], lowest: float) -> str:
    """A page of SVG.

    Args:
        title: above the axes.
        lines: (bit operations, accuracy in percent) of each curve, by its name.
        lowest: accuracy at the lower end; what lies below it is left out.
    """
    visible = {name: [point for point in points if point[1] >= lowest] for name, points in lines.items()}
    points_of_all = [point for points in visible.values() for point in points]
    low, high = log10(min(x for x, _ in points_of_all)) - 0.05, log10(max(x for x, _ in points_of_all)) + 0.05
    best = max(y for _, y in points_of_all)

    def place(x: float, y: float) -> tuple[float, float]:
        across = LEFT + (log10(x) - low) / (high - low) * (WIDTH - LEFT - RIGHT)
        down = TOP + (best - y) / max(best - lowest, 1e-9) * (HEIGHT - TOP - BOTTOM)
        return across, down

    parts = [_axes(low, high, lowest, best, place), f'<text x="{LEFT}" y="16">{escape(title)}</text>']
    for at, (name, points) in enumerate(visible.items()):
        colour = COLOURS[at % len(COLOURS)]
        places = [place(x, y) for x, y in sorted(points)]
        if not name.startswith("random"):
            path = " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
            parts.append(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="1.6"/>')
        parts += [f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3" fill="{colour}"/>' for x, y in places]
        parts.append(f'<circle cx="{WIDTH - RIGHT + 16}" cy="{TOP + 20 + 22 * at}" r="4" fill="{colour}"/>')
        parts.append(f'<text x="{WIDTH - RIGHT + 28}" y="{TOP + 24 + 22 * at}">{escape(name)}</text>')
    size = f'viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}" height="{HEIGHT}"'
    label = f'role="img" aria-label="{escape(title, {chr(34): "&quot;"})}"'
    return f'<svg xmlns="http://www.w3.org/2000/svg" {size} {label}><style>{STYLE}</style>{"".join(parts)}</svg>\n'


def _axes(low: float, high: float, lowest: float, best: float, place: Place) -> str:
    parts = []
    for power in range(int(low) - 1, int(high) + 2):
        for factor in (1, 2, 5):
            x = factor * 10.0**power
            if low <= log10(x) <= high:
                across, _ = place(x, best)
                parts.append(
                    f'<line class="grid" x1="{across:.1f}" x2="{across:.1f}" y1="{TOP}" y2="{HEIGHT - BOTTOM}"/>'
                )
                parts.append(
                    f'<text class="soft" x="{across:.1f}" y="{HEIGHT - 32}" text-anchor="middle">{_short(x)}</text>'
                )
    steps = 5
    for step in range(steps + 1):
        y = lowest + (best - lowest) * step / steps
        _, down = place(10.0**low, y)
        parts.append(f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{down:.1f}" y2="{down:.1f}"/>')
        parts.append(f'<text class="soft" x="{LEFT - 8}" y="{down + 4:.1f}" text-anchor="end">{y:.1f}</text>')
    parts.append(f'<text class="soft" x="{LEFT}" y="{HEIGHT - 10}">bit operations; accuracy in %</text>')
    return "".join(parts)


def _short(value: float) -> str:
    """Bit operations of an axis.

    >>> _short(200_000.0), _short(5e6)
    ('200 k', '5 M')
    """
    return f"{value / 1e6:g} M" if value >= 1e6 else f"{value / 1e3:g} k"
