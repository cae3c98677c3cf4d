"""From the ranges of a node's inputs to the ranges of its output, channel by channel.

Every operator is monotone in each input integer (multipliers are positive, roundings and clamps are monotone), so the
ends of a range map to the ends of its image; Lookup and Mul, which are not, take the extremes of their true images. A
window is asked what it holds before anything is said of it: a maximum of nothing is no maximum.
Derivation: ``docs/math/overflow.md``, section 4.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from oaq.errors import AccumulatorOverflow, UnsupportedOp
from oaq.numerics.formats import S32
from oaq.numerics.ranges import ChannelRanges, IntRange
from oaq.numerics.requantize import Requantize
from oaq.numerics.rounding import round_half_even, rounding_shift
from oaq.program import ops
from oaq.program.int_program import Node, TensorSpec
from oaq.program.shapes import inputs_per_window, window_count

Ranges = Sequence[ChannelRanges]
Specs = Sequence[TensorSpec]


def requantized(total: ChannelRanges, requantize: Requantize, y: TensorSpec) -> ChannelRanges:
    """The image of sums under requantize and clamp: exact at both ends, monotone between."""
    zero = y.affine.zero_point
    return ChannelRanges(requantize.apply(total.lo, zero, y.range), requantize.apply(total.hi, zero, y.range))


def output_ranges(node: Node, inputs: Ranges, specs: Specs, y: TensorSpec) -> ChannelRanges:
    """What each channel of the output can hold; for every operator but Conv2d and Linear.

    Args:
        node: whose operator it is.
        inputs: ranges of its inputs.
        specs: their tensors.
        y: the output's tensor.

    Raises:
        AccumulatorOverflow: a pool's window is so large that its sum leaves s32.
        UnsupportedOp: no rule for this operator.
    """
    op, x = node.op, inputs[0]
    match op:
        case ops.Add():
            return _add(op, inputs, specs, y)
        case ops.Mul():
            return _mul(op, inputs, specs, y)
        case ops.Concat():
            return _concat(op, inputs, specs, y)
        case ops.Lookup():
            images = [op.table[channel.lo : channel.hi + 1] for channel in x]
            return ChannelRanges(
                np.array([int(image.min()) for image in images]), np.array([int(image.max()) for image in images])
            )
        case ops.AvgPool():
            return _avg_pool(node, op, x, specs[0], y)
        case ops.GlobalAvgPool():
            count = specs[0].shape[0] * specs[0].shape[1]
            return requantized(_window_sum(node, x, specs[0], count, count), op.requantize, y)
        case ops.MaxPool():
            return _max_pool(op, x, specs[0], y)
        case _:
            return _moved(node, x, specs[0], y)


def _add(op: ops.Add, inputs: Ranges, specs: Specs, y: TensorSpec) -> ChannelRanges:
    ends = []
    for end in ("lo", "hi"):
        a, b = (getattr(x, end) - spec.affine.zero_point for x, spec in zip(inputs, specs, strict=True))
        ends.append(_add_law(op.requantize, a, b, y))
    return ChannelRanges(*ends)


def _add_law(requantize: Requantize, a: NDArray[np.int64], b: NDArray[np.int64], y: TensorSpec) -> NDArray[np.int64]:
    factor, shift, zero = requantize.multiplier, requantize.shift, y.affine.zero_point
    if shift is None:
        total = round_half_even(a.astype(np.float32) * factor[0] + b.astype(np.float32) * factor[1])
        low, high = np.float32(y.range.lo - zero), np.float32(y.range.hi - zero)
        return np.clip(total, low, high).astype(np.int64) + zero
    total = a * np.int64(factor[0]) + b * np.int64(factor[1])
    return np.clip(rounding_shift(total, int(shift[0])) + zero, y.range.lo, y.range.hi)


def _mul(op: ops.Mul, inputs: Ranges, specs: Specs, y: TensorSpec) -> ChannelRanges:
    ends = [
        (x.lo - spec.affine.zero_point, x.hi - spec.affine.zero_point) for x, spec in zip(inputs, specs, strict=True)
    ]
    corners = np.stack([a * b for a in ends[0] for b in ends[1]])
    return requantized(ChannelRanges(corners.min(axis=0), corners.max(axis=0)), op.requantize, y)


def _concat(op: ops.Concat, inputs: Ranges, specs: Specs, y: TensorSpec) -> ChannelRanges:
    parts = []
    for index, (x, spec) in enumerate(zip(inputs, specs, strict=True)):
        zero = spec.affine.zero_point
        parts.append(requantized(ChannelRanges(x.lo - zero, x.hi - zero), single(op.requantize, index), y))
    return ChannelRanges(np.concatenate([part.lo for part in parts]), np.concatenate([part.hi for part in parts]))


def _avg_pool(node: Node, op: ops.AvgPool, x: ChannelRanges, spec: TensorSpec, y: TensorSpec) -> ChannelRanges:
    full = op.kernel[0] * op.kernel[1]
    whole: ChannelRanges | None = None
    rows, columns = inputs_per_axis(op, (spec.shape[0], spec.shape[1]))
    for inside in sorted({down * across for down in set(rows) for across in set(columns)} - {0}):
        count = full if op.count_include_pad else inside
        total = _window_sum(node, x, spec, inside, full)
        part = requantized(total, single(op.requantize, count - 1), y)
        whole = part if whole is None else _hull(whole, part)
    if whole is None:
        raise UnsupportedOp(f"{node.name}: AvgPool has no output position")
    return whole


def inputs_per_axis(op: ops.AvgPool | ops.MaxPool, size: tuple[int, int]) -> tuple[list[int], list[int]]:
    """How many rows of the image each row of windows holds, and how many columns each column of them."""
    dilation = op.dilation if isinstance(op, ops.MaxPool) else (1, 1)
    counts = window_count(size, op.kernel, op.stride, op.padding, dilation)
    rows, columns = (
        inputs_per_window(size[axis], counts[axis], (op.kernel[axis], op.stride[axis], dilation[axis], before))
        for axis, before in ((0, op.padding[0]), (1, op.padding[2]))
    )
    return rows, columns


def _max_pool(op: ops.MaxPool, x: ChannelRanges, spec: TensorSpec, y: TensorSpec) -> ChannelRanges:
    """A window that holds inputs stays between the least and the greatest; one that holds none is the least of y."""
    rows, columns = inputs_per_axis(op, (spec.shape[0], spec.shape[1]))
    if min(*rows, *columns, 1) > 0:
        return x
    least = ChannelRanges.constant(IntRange(y.range.lo, y.range.lo), len(x))
    return _hull(x, least) if max(rows) > 0 and max(columns) > 0 else least


def _window_sum(node: Node, x: ChannelRanges, spec: TensorSpec, inside: int, full: int) -> ChannelRanges:
    """Sum of x - zx over ``inside`` positions; the raw sum over the full window must fit s32 as well."""
    zero = spec.affine.zero_point
    if full * 255 > S32.hi:
        raise AccumulatorOverflow(
            f"{node.name}: a window of {full} positions can sum to {full * 255}, which leaves s32; pool in two stages"
        )
    return ChannelRanges(inside * (x.lo - zero), inside * (x.hi - zero))


def _moved(node: Node, x: ChannelRanges, spec: TensorSpec, y: TensorSpec) -> ChannelRanges:
    op = node.op
    match op:
        case ops.Resize():
            # One input, or a convex combination of four rounded to nearest, stays between the least and the greatest.
            return x
        case ops.DepthToSpace():
            axis = 0 if op.mode == "DCR" else 1
            shape = (op.block**2, -1) if op.mode == "DCR" else (-1, op.block**2)
            return ChannelRanges(x.lo.reshape(shape).min(axis=axis), x.hi.reshape(shape).max(axis=axis))
        case ops.Reshape():
            lo, hi = (np.broadcast_to(end, spec.shape).reshape(-1, y.channels) for end in (x.lo, x.hi))
            return ChannelRanges(lo.min(axis=0), hi.max(axis=0))
        case ops.Pad():
            return x.hull(spec.affine.zero_point) if any(op.padding) else x
        case ops.Slice():
            return ChannelRanges(x.lo[op.begin[-1] : op.end[-1]], x.hi[op.begin[-1] : op.end[-1]])
    raise UnsupportedOp(f"{node.name}: no range is known for {type(op).__name__}")


def single(requantize: Requantize, index: int) -> Requantize:
    """One multiplier of several, to apply to every channel."""
    shift = requantize.shift
    return Requantize(requantize.multiplier[index : index + 1], None if shift is None else shift[index : index + 1])


def _hull(a: ChannelRanges, b: ChannelRanges) -> ChannelRanges:
    return ChannelRanges(np.minimum(a.lo, b.lo), np.maximum(a.hi, b.hi))
