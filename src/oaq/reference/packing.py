"""Operands and weights in the order kernels sum them, and the lanes they are summed in.

Packed K order of one output: k = (kh * KW + kw) * C_group + c, zero-padded at the end to a multiple of ``step``. For a
depthwise convolution C_group is 1, so k counts taps.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from oaq.numerics.accumulator import Accumulator
from oaq.numerics.cells import lane_of
from oaq.numerics.matmul import matmul
from oaq.operators import Products
from oaq.operators.windows import taps


def packed_operands(
    op: Products, x: NDArray[np.uint8], zero_point: int, step: int, shift: int = 0
) -> NDArray[np.integer]:
    """The operands as loaded: raw integers, ``zero_point`` at padded positions of the image.

    Args:
        op: the layer.
        x: (batch, ..., C).
        zero_point: of ``x``.
        step: the padding of K at the end is to a multiple of this.
        shift: what the kernel subtracts from each before it multiplies.

    Returns:
        (groups, M, K padded) uint8, int16 for a shift; M = batch times output positions, counted in that order; the
        padding of K holds 0.
    """
    window, groups = op.window, op.channel_groups
    values = x.astype(np.int64)
    operands = [values] if window is None else [tap for _, tap in taps(values, window, outside=zero_point)]
    positions = operands[0][..., 0].size
    grouped = np.stack([tap.reshape(positions, groups, -1) for tap in operands], axis=2)
    rows = np.moveaxis(grouped, 1, 0).reshape(groups, positions, -1)
    if shift:
        return _pad_last(rows.astype(np.int16) - np.int16(shift), step)
    return _pad_last(rows, step).astype(np.uint8)


def packed_weights(op: Products, step: int) -> NDArray[np.int8]:
    """(N, K padded) int8: each output's weights in packed order, zeros at the end."""
    return _pad_last(op.rows, step)


def lanes(
    op: Products,
    x: NDArray[np.uint8],
    zero_point: int,
    accumulator: Accumulator,
    steps: tuple[int, int] | None = None,
) -> NDArray[np.int64]:
    """The exact sum of weight times operand as loaded in each lane, with no register to leave.

    Args:
        op: the layer.
        x: (batch, ..., C).
        zero_point: of ``x``.
        accumulator: which products share a lane.
        steps: (start, count), the run to sum; None is all of K.

    Returns:
        (M, N, lanes) int64, M = batch times output positions.
    """
    operands = packed_operands(op, x, zero_point, accumulator.step)
    weight = packed_weights(op, accumulator.step)
    weight = weight.reshape(operands.shape[0], -1, weight.shape[-1])
    start, count = steps if steps is not None else (0, weight.shape[-1] // accumulator.step)
    k = np.arange(start * accumulator.step, (start + count) * accumulator.step)
    lane = lane_of(accumulator, k)
    sums = [matmul(operands[..., k[lane == n]], weight[..., k[lane == n]]) for n in range(accumulator.lanes)]
    groups, samples, outputs = sums[0].shape
    return np.stack(sums, axis=-1).transpose(1, 0, 2, 3).reshape(samples, groups * outputs, accumulator.lanes)


def _pad_last(values: NDArray, multiple: int) -> NDArray:
    missing = -values.shape[-1] % multiple
    return np.pad(values, [(0, 0)] * (values.ndim - 1) + [(0, missing)])
