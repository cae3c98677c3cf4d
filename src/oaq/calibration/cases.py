"""What is timed to learn a machine: synthetic nodes of every operator, sizes drawn from the ranges that networks use.

No network and no data is behind them: sizes are drawn evenly on a logarithmic scale by a fixed seed, the same for every
row, machine and day. Weights and operands are so small that any run is proved; the schedule is then held to the length
wanted.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from math import prod
from typing import Any, Final

import numpy as np

from oaq import operators as ops
from oaq.kernels.table import KernelRow
from oaq.numerics.requantize import Requantize
from oaq.operators import output_shape
from oaq.operators.tensor import Shape

RUNS: Final = (None, 1, 2, None, 3, 4, 6, None, 8, 12, 16, None)
"""Steps between spills, taken in turn; None: as many as there are."""
LEAST, MOST = 30_000, 10_000_000
"""Multiply-accumulates of a case, a hundredth of each where the row is scalar."""
IN_WORDS: Final = 3
"""One case of so many is there twice: its results leave in 16 bits, and do not."""
MULTIPLIER: Final = 0.05
WORD: Final = 1639 / 32768
"""Nearly the same, and a word (``numerics.words``)."""
SEED: Final = 16
LARGE: Final = 127
SPLIT_BITS: Final = 12
"""A register of so many bits holds one product of a large weight and a largest operand of a course, but not two."""
Kind = Callable[["_Draw"], tuple[ops.Products, Shape]]
"""Draws one layer and the shape of its input."""


@dataclass(frozen=True, eq=False)
class TimedNode:
    """A node to be timed.

    Attributes:
        op: its operator.
        x: shapes of its inputs.
        y: shape of its output.
        run: steps between two spills, or between two split steps where a row spills at every step; None: neither.
    """

    op: Any
    x: tuple[Shape, ...]
    y: Shape
    run: int | None = None


class _Draw:
    """Numbers from a fixed seed."""

    def __init__(self) -> None:
        self._rng = np.random.default_rng(SEED)

    def size(self, low: int, high: int, multiple: int = 1) -> int:
        """A multiple of ``multiple`` in [low, high], even on a logarithmic scale."""
        value = float(np.exp(self._rng.uniform(np.log(low), np.log(high))))
        return max(round(value / multiple), 1) * multiple

    def channels(self, low: int, high: int) -> int:
        """A number of channels in [low, high]: a multiple of 4, 8, 16, 32 or 64."""
        return self.size(low, high, self.one_of(4, 8, 16, 32, 64))

    def one_of(self, *choices: int) -> int:
        """Any of them, equally likely."""
        return int(self._rng.choice(choices))

    def weights(self, *shape: int) -> np.ndarray:
        """In [-1, 1]."""
        return self._rng.integers(-1, 2, shape).astype(np.int8)


def requantize(count: int, multiplier: float = MULTIPLIER) -> Requantize:
    """``count`` equal multipliers."""
    return Requantize(np.full(count, multiplier, np.float32))


def gemm_cases(row: KernelRow) -> list[TimedNode]:
    """Pointwise layers, windows, first layers, groups, linear layers: K short and long, few and many positions."""
    draw, fewer = _Draw(), 100 if row.isa == "scalar" else 1
    cases: list[TimedNode] = []
    kinds = [_pointwise] * 40 + [_window] * 20 + [_first] * 8 + [_grouped] * 4 + [_linear] * 12
    for index, kind in enumerate(kinds):
        case = _within(draw, kind, RUNS[index % len(RUNS)], fewer)
        cases.append(_with_splits(case, row) if row.accumulator and row.accumulator.max_run == 1 else case)
    slow = [_within(draw, _pointwise, None, max(fewer, 10)) for _ in range(3)]
    return (
        cases
        + _in_words(cases)
        + [replace(case, op=replace(case.op, requantize=requantize(case.y[-1], 1.5))) for case in slow]
    )


def depthwise_cases(row: KernelRow) -> list[TimedNode]:
    """Windows of 3, 5 and 7, strides 1 and 2."""
    draw, fewer = _Draw(), 100 if row.isa == "scalar" else 4
    cases = [_within(draw, _depthwise, RUNS[index % len(RUNS)], fewer) for index in range(60)]
    return cases + _in_words(cases)


def _in_words(cases: list[TimedNode]) -> list[TimedNode]:
    """Every ``IN_WORDS``-th case, its results in 16 bits: the saving is small beside differences between cases."""
    return [replace(case, op=replace(case.op, requantize=requantize(case.y[-1], WORD))) for case in cases[::IN_WORDS]]


def _with_splits(case: TimedNode, row: KernelRow) -> TimedNode:
    """A row that spills at every step is interrupted by split steps only: two large weights in a pair make one.

    One such pair in the first output of every tile, every ``run`` steps; the register is held to ``SPLIT_BITS``.
    """
    if case.run is None or row.accumulator is None:
        return case
    weight = case.op.weight.copy()
    rows = weight.reshape(len(weight), -1)
    period = case.run * row.accumulator.step
    for k in range(0, rows.shape[1] - 1, period):
        rows[:: row.tile_n, k : k + 2] = LARGE
    return replace(case, op=replace(case.op, weight=weight))


def _within(draw: _Draw, kind: Kind, run: int | None, fewer: int) -> TimedNode:
    while True:
        op, x = kind(draw)
        y = output_shape(op, [x])
        if LEAST <= prod(y) * op.weight[0].size * fewer <= MOST * (10 if fewer > 1 else 1):
            return TimedNode(op, (x,), y, run)


def _conv(draw: _Draw, weight: tuple[int, int, int, int], stride: int = 1, groups: int = 1) -> ops.Conv2d:
    outputs, rows, columns, _ = weight
    top, side = (rows - 1) // 2, (columns - 1) // 2
    return ops.Conv2d(
        draw.weights(*weight),
        np.zeros(outputs, np.int32),
        requantize(outputs),
        stride=(stride, stride),
        padding=(top, top, side, side),
        groups=groups,
    )


def _pointwise(draw: _Draw) -> tuple[ops.Conv2d, Shape]:
    height, terms, outputs = draw.size(1, 112), draw.channels(8, 1536), draw.channels(8, 1536)
    stride = draw.one_of(1, 1, 1, 1, 1, 2)
    return _conv(draw, (outputs, 1, 1, terms), stride), (height, height, terms)


def _window(draw: _Draw) -> tuple[ops.Conv2d, Shape]:
    height, channels, outputs, side = (
        draw.size(4, 64),
        draw.channels(8, 256),
        draw.channels(8, 256),
        draw.one_of(3, 3, 5),
    )
    return _conv(draw, (outputs, side, side, channels), draw.one_of(1, 1, 2)), (height, height, channels)


def _first(draw: _Draw) -> tuple[ops.Conv2d, Shape]:
    height, outputs, side = draw.size(48, 224, 2), draw.size(16, 64, 8), draw.one_of(3, 3, 5, 7)
    channels = draw.one_of(3, 3, 3, 1)
    return _conv(draw, (outputs, side, side, channels), draw.one_of(2, 2, 1)), (height, height, channels)


def _grouped(draw: _Draw) -> tuple[ops.Conv2d, Shape]:
    groups, per_group, height = draw.one_of(2, 4, 8), draw.size(8, 48, 8), draw.size(6, 40)
    weight = (groups * per_group, 3, 3, per_group)
    return _conv(draw, weight, 1, groups), (height, height, groups * per_group)


def _linear(draw: _Draw) -> tuple[ops.Linear, Shape]:
    terms, outputs = draw.size(64, 4096, 4), draw.size(10, 2048)
    weight = draw.weights(outputs, terms)
    return ops.Linear(weight, np.zeros(outputs, np.int32), requantize(outputs)), (terms,)


def _depthwise(draw: _Draw) -> tuple[ops.Conv2d, Shape]:
    height, channels, side = draw.size(4, 112), draw.channels(8, 1152), draw.one_of(3, 3, 3, 5, 5, 7)
    return _conv(draw, (channels, side, side, 1), draw.one_of(1, 1, 2), channels), (height, height, channels)
