"""Small charts as inline SVG, drawn by hand.

Not matplotlib: colours come from the page's style sheet, so a chart follows light and dark; text stays text; and a
report needs nothing that numpy-only installations lack.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from oaq.report.html.markup import text

Kind = str
"""Which statement a mark makes, and so its colour: proved, observed, measured, predicted; first, second make none."""


@dataclass(frozen=True)
class Axis:
    """A linear or log2 scale from values to pixels; ``lo < hi``."""

    lo: float
    hi: float
    start: float
    end: float
    log: bool = False

    def __call__(self, value: float) -> float:
        """Pixels of ``value``, held inside the frame."""
        lo, hi, at = (math.log2(max(v, 1e-12)) if self.log else v for v in (self.lo, self.hi, value))
        return self.start + (min(max(at, lo), hi) - lo) / (hi - lo) * (self.end - self.start)

    def ticks(self) -> list[float]:
        """Round values inside the scale."""
        if self.log:
            return [2.0**e for e in _steps(math.log2(self.lo), math.log2(self.hi), 6, least=1.0)]
        return _steps(self.lo, self.hi, 5)


@dataclass(frozen=True)
class Series:
    """One value per position (None where there is none), drawn as "bars", "line" or "dots"."""

    name: str
    kind: Kind
    values: Sequence[float | None]
    style: str = "bars"


def by_layer(
    series: Sequence[Series], labels: Sequence[str], unit: str, *, log: bool = False, floor: float | None = 0.0
) -> str:
    """Series over layer positions, one shared axis.

    Args:
        series: values of every layer in order.
        labels: layer names, for the tooltips.
        unit: after the numbers in tooltips.
        log: a log2 value axis.
        floor: lower end of the axis; None takes it from the values.
    """
    values = [v for s in series for v in s.values if v is not None and math.isfinite(v)]
    if not values:
        return ""
    width, height, margin, bottom = 480.0, 190.0, 42.0, 26.0
    lo = min(values) if floor is None else floor
    hi = max(max(values), lo * 2 if log else lo + 1e-9)
    y = Axis(lo, hi * (1.3 if log else 1.06) if hi > 0 else lo + 1, height - bottom, 10, log)
    slot = (width - margin - 6) / len(labels)
    parts = [_grid(y, margin, width)]
    parts += [
        f'<text x="{margin + slot * (i + 0.5):.1f}" y="{height - 6}" text-anchor="middle">{i + 1}</text>'
        for i in _numbered_positions(len(labels))
    ]
    for index, curve in enumerate(series):
        parts.append(
            _draw(curve, labels, unit, y, place=(margin, slot), turn=(index, sum(s.style == "bars" for s in series)))
        )
    title = ", ".join(s.name for s in series)
    return _svg(width, height, f"{title} by layer", "".join(parts))


def scatter(points: Sequence[tuple[float, float]], x_name: str, y_name: str) -> str:
    """Points against the diagonal, both axes alike."""
    if not points:
        return ""
    size, margin, bottom = 400.0, 46.0, 42.0
    lo = min(min(p) for p in points)
    hi = max(max(p) for p in points)
    pad = (hi - lo or 1.0) * 0.04
    x = Axis(lo - pad, hi + pad, margin, size - 6)
    y = Axis(lo - pad, hi + pad, size - bottom, 6)
    parts = [_grid(y, margin, size)]
    for tick in x.ticks():
        parts.append(f'<text x="{x(tick):.1f}" y="{size - bottom + 17}" text-anchor="middle">{_number(tick)}</text>')
    parts.append(f'<line class="diagonal" x1="{x(x.lo)}" y1="{y(y.lo)}" x2="{x(x.hi)}" y2="{y(y.hi)}"/>')
    parts += [f'<circle class="dot observed" cx="{x(a):.1f}" cy="{y(b):.1f}" r="2.6"/>' for a, b in points]
    parts.append(f'<text x="{(margin + size) / 2}" y="{size - 5}" text-anchor="middle">{text(x_name)}</text>')
    middle = (size - bottom) / 2
    parts.append(
        f'<text x="12" y="{middle}" text-anchor="middle" transform="rotate(-90 12 {middle})">{text(y_name)}</text>'
    )
    return _svg(size, size, f"{y_name} against {x_name}", "".join(parts))


def _draw(
    curve: Series, labels: Sequence[str], unit: str, y: Axis, *, place: tuple[float, float], turn: tuple[int, int]
) -> str:
    margin, slot = place
    index, bars = turn
    marks = []
    path: list[str] = []
    for i, value in enumerate(curve.values):
        if value is None or not math.isfinite(value):
            continue
        centre, top = margin + slot * (i + 0.5), y(value)
        tip = f"<title>{i + 1} {text(labels[i])}: {text(curve.name)} {_number(value)} {text(unit)}</title>"
        if curve.style == "bars":
            thick = slot * 0.76 / bars
            begin = centre - slot * 0.38 + thick * index
            marks.append(
                f'<rect class="bar {curve.kind}" x="{begin:.2f}" y="{top:.2f}" width="{max(thick - 0.5, 0.6):.2f}" '
                f'height="{max(y.start - top, 1):.2f}" rx="1">{tip}</rect>'
            )
            continue
        path.append(f"{'L' if path else 'M'}{centre:.1f} {top:.1f}")
        marks.append(f'<circle class="{curve.kind}" cx="{centre:.1f}" cy="{top:.1f}" r="2.2">{tip}</circle>')
    line = f'<path class="path {curve.kind}" d="{"".join(path)}"/>' if curve.style == "line" and path else ""
    return line + "".join(marks)


def _grid(y: Axis, left: float, right: float) -> str:
    return "".join(
        f'<line class="axis" x1="{left}" x2="{right - 6}" y1="{y(t):.1f}" y2="{y(t):.1f}"/>'
        f'<text x="{left - 7}" y="{y(t) + 4:.1f}" text-anchor="end">{_number(t)}</text>'
        for t in y.ticks()
    )


def _svg(width: float, height: float, title: str, body: str) -> str:
    return f'<svg viewBox="0 0 {width:g} {height:g}" role="img" aria-label="{text(title)}">{body}</svg>'


def _numbered_positions(count: int) -> list[int]:
    """Positions to number below an axis: the first, then every 5th, 10th, ..., at most about a dozen."""
    step = next(s for s in (1, 2, 5, 10, 20, 50, 100, 200, 500, 10**9) if count / s <= 12)
    first = [0] if step > 2 else []
    return first + list(range(step - 1, count, step))


def _steps(lo: float, hi: float, intervals: int, least: float = 0.0) -> list[float]:
    raw = (hi - lo) / intervals
    if raw <= 0:
        return [lo]
    power = 10.0 ** math.floor(math.log10(raw))
    step = max(least, next(m * power for m in (1, 2, 2.5, 5, 10) if m * power >= raw * 0.999))
    if least and step % least:
        step = math.ceil(step)
    first = math.ceil(lo / step - 1e-9)
    return [i * step for i in range(first, math.floor(hi / step + 1e-9) + 1)]


def _number(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"
