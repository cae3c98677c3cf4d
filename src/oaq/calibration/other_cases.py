"""Synthetic nodes that sum no products, by family: a few sizes each, from ones that fit the first cache on.

An operator whose inputs and output are equally large is timed with the value of its own first sample case; those whose
time depends on more than that have values here.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

import numpy as np

from oaq import operators as ops
from oaq.calibration.cases import TimedNode, requantize
from oaq.operators import output_shape
from oaq.operators.tensor import Shape

SHAPES: Final[tuple[Shape, ...]] = (
    (7, 7, 32),
    (7, 7, 160),
    (7, 7, 1152),
    (9, 13, 36),
    (14, 14, 80),
    (14, 14, 672),
    (20, 20, 24),
    (28, 28, 48),
    (28, 28, 144),
    (40, 40, 16),
    (56, 56, 32),
    (56, 56, 96),
    (80, 80, 64),
    (112, 112, 32),
)
WINDOWS: Final = ((2, 2, 0), (3, 2, 1), (3, 1, 1))
"""(kernel, stride, padding) of pools."""


def _mul(x: Shape) -> list[TimedNode]:
    op = ops.Mul(requantize(1))
    return [_case(op, x, x), _case(op, x, (1, 1, x[2]))]


def _concat(x: Shape) -> list[TimedNode]:
    narrow = (*x[:2], max(x[2] // 3, 1))
    return [_case(ops.Concat(requantize(2)), x, narrow), _case(ops.Concat(requantize(3)), narrow, x, narrow)]


def _max_pool(x: Shape) -> list[TimedNode]:
    return [_case(ops.MaxPool((k, k), (s, s), (p, p, p, p)), x) for k, s, p in WINDOWS]


def _avg_pool(x: Shape) -> list[TimedNode]:
    return [_case(ops.AvgPool((k, k), (s, s), requantize(k * k), (p, p, p, p)), x) for k, s, p in WINDOWS]


def _global_avg_pool(x: Shape) -> list[TimedNode]:
    return [_case(ops.GlobalAvgPool(requantize(1, 0.02)), x)]


def _resize(x: Shape) -> list[TimedNode]:
    rows, columns = 2 * x[0], 2 * x[1]
    return [_case(ops.Resize(rows, columns, mode), x) for mode in ("nearest", "bilinear")]


def _depth_to_space(x: Shape) -> list[TimedNode]:
    return [_case(ops.DepthToSpace(2, mode), x) for mode in ("DCR", "CRD")]


def _lookup(x: Shape) -> list[TimedNode]:
    return [_case(ops.Lookup(np.arange(256, dtype=np.uint8)), x)]


def _channel_lookup(x: Shape) -> list[TimedNode]:
    return [_case(ops.ChannelLookup(np.tile(np.arange(256, dtype=np.uint8), (x[2], 1))), x)]


def _coarsen(x: Shape) -> list[TimedNode]:
    bits, rectified = np.full(x[2], 4, np.uint8), np.arange(x[2], dtype=np.uint8) % 2
    return [_case(ops.Coarsen(bits, np.full(x[2], 335, np.int32), np.full(x[2], 17, np.uint8), rectified), x)]


def _pad(x: Shape) -> list[TimedNode]:
    return [_case(ops.Pad((1, 1, 1, 1)), x), _case(ops.Pad((0, 1, 0, 1)), x)]


def _slice(x: Shape) -> list[TimedNode]:
    size = tuple(x)
    return [
        _case(ops.Slice((0, 0, 0), (x[0], x[1], x[2] // 2)), x),
        _case(ops.Slice((1, 1, 0), (x[0] - 1, x[1] - 1, size[2])), x),
    ]


def _transpose(x: Shape) -> list[TimedNode]:
    positions, half = x[0] * x[1], x[2] // 2
    return [
        _case(ops.Transpose.joining((positions, x[2]), (1, 0), (positions * x[2],)), x),
        _case(ops.Transpose.joining((x[0], x[1], 2, half), (0, 1, 3, 2), x), (*x[:2], 2 * half)),
    ]


def _gather(x: Shape) -> list[TimedNode]:
    """Pixels in both directions, and channels."""
    rows, channels = np.arange(x[0] - 1, -1, -1, dtype=np.int32), np.arange(0, x[2], 2, dtype=np.int32)
    return [_case(ops.Gather(1, rows), x), _case(ops.Gather(0, channels), x)]


BY_FAMILY: Final[dict[str, Callable[[Shape], Sequence[TimedNode]]]] = {
    "mul": _mul,
    "concat": _concat,
    "max_pool": _max_pool,
    "avg_pool": _avg_pool,
    "global_avg_pool": _global_avg_pool,
    "resize": _resize,
    "depth_to_space": _depth_to_space,
    "lookup": _lookup,
    "channel_lookup": _channel_lookup,
    "coarsen": _coarsen,
    "pad": _pad,
    "slice": _slice,
    "transpose": _transpose,
    "gather": _gather,
}
"""Families whose time depends on more than the size of a tensor, or whose values must stay small."""


def other_cases(family: str) -> list[TimedNode]:
    """Cases of one family; none for "copy": a reshape shares memory and takes no time."""
    cases_at = BY_FAMILY.get(family, lambda x: _sampled(family, x))
    return [case for shape in SHAPES for case in cases_at(shape)]


def _sampled(family: str, x: Shape) -> list[TimedNode]:
    """The first sample value of the family's operator that takes tensors of equal shapes, on tensors of shape ``x``."""
    rules = next(rules for rules in ops.OPERATORS.values() if rules.family == family)
    for case in rules.cases("float32_half_even"):
        y = rules.shape(case.op, case.shapes)
        if rules.work is not None and rules.work(case.op, case.shapes, y) and set(case.shapes) == {y}:
            return [_case(case.op, *(x,) * len(case.shapes))]
    return []


def _case(op: ops.Op, *x: Shape) -> TimedNode:
    return TimedNode(op, x, output_shape(op, x))
