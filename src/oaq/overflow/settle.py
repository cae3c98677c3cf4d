"""Outputs that are the same integer whatever comes in, and whose sums leave 32 bits: their biases brought back inside.

Other tools quantize the bias of a channel that is all but switched off to the end of int32, where a few products more
leave it. A kernel that wraps there answers with the opposite end. Requantize and clamp are monotone, so wherever even
the sum furthest from the end that is left is clamped, all are: a bias nearer to zero gives the same integers from every
input, and sums that fit.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from oaq import operators as ops
from oaq.numerics.formats import S32
from oaq.numerics.ranges import ChannelRanges
from oaq.operators import TensorSpec
from oaq.overflow.bounds import weight_bound
from oaq.overflow.operands import operands_as_loaded
from oaq.program.int_program import IntProgram


@dataclass(frozen=True, eq=False)
class Settled:
    """A program and what was moved in it.

    Attributes:
        program: equal to the given one on exact integers, in every tensor, for every input.
        outputs: by layer, those whose bias was moved; empty if none had to be.
    """

    program: IntProgram
    outputs: Mapping[str, tuple[int, ...]]


def settle(program: IntProgram) -> Settled:
    """Bring biases inside 32 bits where no result depends on them.

    Taken for granted is only that the integers a layer reads lie in their tensor's range. What leaves 32 bits and does
    matter is left as it is: ``analyze`` refuses it.

    Args:
        program: any; it is not changed.
    """
    nodes, moved = list(program.nodes), dict[str, tuple[int, ...]]()
    for index, node in enumerate(program.nodes):
        if not isinstance(node.op, ops.Products) or node.op.wrap_bits is not None:
            continue  # sums that wrap by design matter wherever they lie
        shift = _shifts(node.op, program.specs(node)[0], program.tensors[node.output])
        if shift.any():
            bias = (node.op.bias.astype(np.int64) + shift).astype(np.int32)
            nodes[index] = replace(node, op=replace(node.op, bias=bias))
            moved[node.name] = tuple(np.nonzero(shift)[0].tolist())
    return Settled(replace(program, nodes=tuple(nodes)) if moved else program, moved)


def _shifts(op: ops.Products, x: TensorSpec, y: TensorSpec) -> NDArray[np.int64]:
    """(N,) what to add to each bias; 0 where nothing has to be or nothing may be."""
    operands = operands_as_loaded(op, ChannelRanges.constant(x.range, x.channels), x)
    weight = op.rows
    raw = weight_bound(weight, operands.lo, operands.hi, partial=False)
    partial = weight_bound(weight, operands.lo, operands.hi, partial=True)
    folded = op.bias.astype(np.int64) - x.affine.zero_point * weight.sum(axis=1, dtype=np.int64)
    low, high = folded + np.minimum(partial.lo, 0), folded + np.maximum(partial.hi, 0)
    up, down = np.maximum(S32.lo - low, 0), np.minimum(S32.hi - high, 0)
    shift = np.where(up > 0, up, down)
    last = folded + shift + np.where(up > 0, raw.hi, raw.lo)
    clamped = op.requantize.apply(np.clip(last, S32.lo, S32.hi), y.affine.zero_point, y.range)
    bias = op.bias + shift
    return np.where(
        (np.where(up > 0, y.range.lo, y.range.hi) == clamped)
        & (low + shift >= S32.lo)
        & (high + shift <= S32.hi)
        & (bias >= S32.lo)
        & (bias <= S32.hi),
        shift,
        0,
    )
