"""The picture of a tile, docs/images/tile.svg: ``python -m benchmarks.tile_picture``.

It draws output 0 of the layer of docs/math/worked-layer.md as a kernel sums it: products and pairs, two 16-bit lanes,
three runs with a spill at the end of each, and one quad that is split. Numbers come from ``oaq.overflow.schedule``.
Colours follow the reader's light or dark setting by a style sheet inside.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from xml.sax.saxutils import escape

import numpy as np

from oaq.numerics.accumulator import AVX2_ACC16
from oaq.overflow import Schedule, schedule
from oaq.program.atomic import write_atomically

PICTURE = Path(__file__).parent.parent / "docs" / "images" / "tile.svg"
TITLE = "One tile of a layer: products, lanes, runs, spills and a split"
WEIGHT = np.array(
    [
        [30, 20, 40, 10, 25, 35, -60, 15, 127, 127, -5, 3, 10, -10, 8, 8],
        [5, -5, 20, -20, 60, -60, 8, 8, -40, 12, 3, -9, 7, 7, 7, 7],
    ],
    np.int8,
)
"""(N, K) of docs/math/worked-layer.md."""
X_HI = np.array([255] * 8 + [180] * 4 + [255] * 4)
STEP, LARGEST = 4, 32767
WIDTH, HEIGHT, LEFT, COLUMN, CELL = 900, 444, 118, 156, 34
TOP_WEIGHTS, TOP_LANES, BAR_HEIGHT, TOP_TOTAL = 92, 174, 26, 348
STYLE = """
text { font: 13px system-ui, -apple-system, 'Segoe UI', Helvetica, Arial, sans-serif; fill: #1f2328; }
.title { font-weight: 600; font-size: 15px; }
.soft { fill: #59636e; }
.figure { font-variant-numeric: tabular-nums; text-anchor: middle; }
.lane0 { fill: #cfe2ff; stroke: #2f6fd0; }
.lane1 { fill: #ffe6bd; stroke: #b07a1e; }
.fill0 { fill: #2f6fd0; }
.fill1 { fill: #b07a1e; }
.empty { fill: none; stroke: #8c959f; stroke-dasharray: 3 3; }
.register { fill: none; stroke: #1f2328; }
.spill { stroke: #c0392b; stroke-width: 2; fill: none; }
.head { fill: #c0392b; }
.danger { fill: #c0392b; font-weight: 600; }
.total { fill: #dff3e4; stroke: #2b8a3e; }
@media (prefers-color-scheme: dark) {
  text { fill: #e6edf3; }
  .soft { fill: #9198a1; }
  .lane0 { fill: #17325c; stroke: #6ea8fe; }
  .lane1 { fill: #4a3510; stroke: #d9a441; }
  .fill0 { fill: #6ea8fe; }
  .fill1 { fill: #d9a441; }
  .empty { stroke: #6e7681; }
  .register { stroke: #e6edf3; }
  .spill { stroke: #ff7b72; }
  .head { fill: #ff7b72; }
  .danger { fill: #ff7b72; }
  .total { fill: #12351d; stroke: #56d364; }
}"""


def planned() -> Schedule:
    """The schedule that is drawn: one tile of two outputs, operands in [0, ``X_HI``]."""
    return schedule(WEIGHT, np.zeros_like(X_HI), X_HI, AVX2_ACC16, len(WEIGHT))


def text(x: float, y: float, words: object, style: str = "", anchor: str = "") -> str:
    """One line of text, its left end at (x, y) unless ``anchor`` says otherwise."""
    style = f' class="{style}"' if style else ""
    anchor = f' text-anchor="{anchor}"' if anchor else ""
    return f'<text x="{x:g}" y="{y:g}"{style}{anchor}>{escape(str(words))}</text>'


def box(x: float, y: float, width: float, height: float, style: str) -> str:
    """A rectangle."""
    return f'<rect x="{x:g}" y="{y:g}" width="{width:g}" height="{height:g}" rx="3" class="{style}"/>'


def _steps(plan: Schedule) -> list[int]:
    """Which step of K each executed step is, in execution order."""
    return [start + offset for _, start, count in plan.segments.tolist() for offset in range(count)]


def _weights(plan: Schedule) -> Iterator[str]:
    """Weights of output 0 in execution order, four cells a step, coloured by lane."""
    yield text(LEFT - 14, TOP_WEIGHTS + 22, "weights", anchor="end")
    yield text(LEFT - 14, TOP_WEIGHTS + 40, "of output 0", "soft", "end")
    steps = _steps(plan)
    for column, (step, packed) in enumerate(zip(steps, plan.packed[:, 0].tolist(), strict=True)):
        x = LEFT + column * COLUMN
        copies = steps.count(step)
        issue = f", issue {steps[: column + 1].count(step)} of {copies}" if copies > 1 else ""
        yield text(x, TOP_WEIGHTS - 10, f"step {step}{issue}", "danger" if copies > 1 else "")
        for place, weight in enumerate(packed):
            is_empty = copies > 1 and weight == 0
            style = "empty" if is_empty else f"lane{place // AVX2_ACC16.group}"
            yield box(x + place * CELL, TOP_WEIGHTS, CELL - 2, 30, style)
            if not is_empty:
                yield text(x + place * CELL + CELL / 2 - 1, TOP_WEIGHTS + 20, weight, "figure")
        for pair in range(2):
            middle = x + (pair * 2 + 1) * CELL - 1
            yield text(middle, TOP_WEIGHTS + 50, f"lane {pair}", "soft figure")


def _lanes(plan: Schedule) -> Iterator[str]:
    """Both lanes of output 0, how full they can become after each step, and a spill at the end of each run."""
    for lane in range(2):
        y = TOP_LANES + lane * 56
        yield text(LEFT - 14, y + 18, f"lane {lane}, 16 bits", anchor="end")
        yield text(LEFT - 14, y + 35, "at most", "soft", "end")
    column = 0
    for _, start, count in plan.segments.tolist():
        reach = [0, 0]
        for step in range(start, start + count):
            x, operands = LEFT + column * COLUMN, X_HI[step * STEP : (step + 1) * STEP]
            highest = np.maximum(plan.packed[column, 0].astype(int), 0) * operands
            for lane in range(2):
                reach[lane] += int(highest[2 * lane : 2 * lane + 2].sum())
                y, width = TOP_LANES + lane * 56, 4 * CELL - 2
                yield box(x, y, width * reach[lane] / LARGEST, BAR_HEIGHT, f"fill{lane}")
                yield box(x, y, width, BAR_HEIGHT, "register")
                yield text(x, y + BAR_HEIGHT + 15, f"{reach[lane]} of {LARGEST}", "soft")
            column += 1


def _spills(plan: Schedule) -> Iterator[str]:
    """Runs as brackets, spills as arrows down to the 32-bit total."""
    end, bottom = 0, TOP_LANES + 116
    for number, (_, _, count) in enumerate(plan.segments.tolist(), start=1):
        begin, end = end, end + count
        left, right = LEFT + begin * COLUMN, LEFT + (end - 1) * COLUMN + 4 * CELL - 2
        yield f'<path d="M{left:g} {bottom} v8 H{right:g} v-8" class="register"/>'
        yield text(left, bottom + 26, f"run {number}: {count} step{'s' if count > 1 else ''}")
        yield f'<path d="M{right - 6:g} {bottom + 8} V{TOP_TOTAL - 9}" class="spill"/>'
        yield f'<path d="M{right - 12:g} {TOP_TOTAL - 10} h12 l-6 10 z" class="head"/>'
        yield text(right - 16, bottom + 44, "spill", "danger", "end")
    width = (end - 1) * COLUMN + 4 * CELL - 2
    yield text(LEFT - 14, TOP_TOTAL + 20, "total, 32 bits", anchor="end")
    yield box(LEFT, TOP_TOTAL, width, 32, "total")
    yield text(
        LEFT + 12,
        TOP_TOTAL + 21,
        "folded bias + every spilled lane: exact for every input, because no lane can leave 16 bits",
    )


def _why_split() -> str:
    first, second, x = int(WEIGHT[0, 8]), int(WEIGHT[0, 9]), int(X_HI[8])
    pair = (first + second) * x
    return (
        f"Split: {first} * {x} + {second} * {x} = {pair} is beyond {LARGEST} in one instruction, "
        "so the step is issued twice, half of its weights each time."
    )


def svg() -> str:
    """The picture as a file's content."""
    plan = planned()
    lines = [
        text(18, 28, "One tile, as AVX2 sums it: 8-bit products in 16-bit lanes", "title"),
        text(
            18, 50, "A tile is outputs that share a schedule. Bars: the most a lane can hold, over every input.", "soft"
        ),
        *_weights(plan),
        *_lanes(plan),
        *_spills(plan),
        text(18, HEIGHT - 34, _why_split()),
        text(
            18,
            HEIGHT - 14,
            "Run: steps between two spills. Spill: both lanes are added into 32 bits and cleared.",
            "soft",
        ),
    ]
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" role="img">'
        f"<title>{escape(TITLE)}</title><style>{STYLE}\n</style>\n" + "\n".join(lines) + "\n</svg>\n"
    )


def main() -> int:
    """Write docs/images/tile.svg."""
    write_atomically(PICTURE, [svg().encode()])
    return 0


if __name__ == "__main__":
    sys.exit(main())
