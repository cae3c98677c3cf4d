"""Add, Mul, Concat and Lookup on exact integers."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from oaq.numerics.requantize import Requantize
from oaq.numerics.rounding import round_half_even, rounding_shift
from oaq.program import ops
from oaq.program.int_program import TensorSpec

Arrays = Sequence[NDArray[np.uint8]]
Specs = Sequence[TensorSpec]


def add(op: ops.Add, inputs: Arrays, specs: Specs, y: TensorSpec) -> NDArray[np.int64]:
    """The sum of two tensors at the output's scale; see ``ops.Add`` for the two formulas.

    Args:
        op: holds the multipliers (a, b).
        inputs: a and b, (batch, ...) of one shape.
        specs: of a and b.
        y: spec of the result.

    Returns:
        (batch, ...) inside ``y.range``.
    """
    a, b = (x.astype(np.int64) - spec.affine.zero_point for x, spec in zip(inputs, specs, strict=True))
    factor, shift = op.requantize.multiplier, op.requantize.shift
    zero = y.affine.zero_point
    if shift is None:
        total = a.astype(np.float32) * factor[0] + b.astype(np.float32) * factor[1]
        low, high = np.float32(y.range.lo - zero), np.float32(y.range.hi - zero)
        return np.clip(round_half_even(total), low, high).astype(np.int64) + zero
    total = a * np.int64(factor[0]) + b * np.int64(factor[1])
    return np.clip(rounding_shift(total, int(shift[0])) + zero, y.range.lo, y.range.hi)


def mul(op: ops.Mul, inputs: Arrays, specs: Specs, y: TensorSpec) -> NDArray[np.int64]:
    """Requantize acc = (a - za) * (b - zb); ``b`` may be one value per channel: (C,) or (1, 1, C)."""
    a, b = (x.astype(np.int64) - spec.affine.zero_point for x, spec in zip(inputs, specs, strict=True))
    if a.shape != b.shape:
        b = b.reshape(b.shape[0], 1, 1, b.shape[-1])
    return op.requantize.apply(a * b, y.affine.zero_point, y.range)


def concat(op: ops.Concat, inputs: Arrays, specs: Specs, y: TensorSpec) -> NDArray[np.int64]:
    """Inputs side by side on the channel axis, input i requantized by multiplier i."""
    parts = [
        single(op.requantize, index).apply(x.astype(np.int64) - spec.affine.zero_point, y.affine.zero_point, y.range)
        for index, (x, spec) in enumerate(zip(inputs, specs, strict=True))
    ]
    return np.concatenate(parts, axis=-1)


def lookup(op: ops.Lookup, x: NDArray[np.uint8]) -> NDArray[np.int64]:
    """One table entry per integer: y = table[x]."""
    return op.table[x].astype(np.int64)


def single(requantize: Requantize, index: int) -> Requantize:
    """The ``index``-th multiplier alone, so that it applies to every channel."""
    shift = requantize.shift
    return Requantize(requantize.multiplier[index : index + 1], None if shift is None else shift[index : index + 1])
