"""A dynamic layer stated as programs of integers, so that whatever proves programs proves it, the checker included.

The first statement is what kernels sum: int8 weights times raw u8 operands that may be any integer of their range, from
a zero point and a bias of 0. Spill schedules are cut from its proof. The others are what is left after the zero points
are taken off, whose totals must fit s32. A total is linear in the operands' zero point, so the least and the greatest
one that may come bound all between. What is taken off on the way may leave s32: that arithmetic is modulo 2^32.

Scales occur nowhere: the multipliers of the statements mean nothing, and no range of a sum depends on them.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from oaq.dynamic.law import operand_range, zero_points
from oaq.dynamic.layer import DynamicLayer
from oaq.numerics.affine import Affine
from oaq.numerics.formats import U8
from oaq.numerics.ranges import IntRange
from oaq.numerics.requantize import Requantize
from oaq.operators import Linear, TensorSpec
from oaq.program.int_program import IntProgram, Node

POSITIONS: Final = 64
"""Rows of a batch that costs are predicted for."""


def summed(layer: DynamicLayer) -> IntProgram:
    """What kernels sum."""
    # All of u8 under every law: what row_s8 leaves out, 0, proves nothing more.
    return _linear(layer.name, layer.multiplied, 0, U8)


def totals(layer: DynamicLayer) -> tuple[IntProgram, ...]:
    """What remains once zero points are taken off, at the least and the greatest zero point of an operand."""
    ends = zero_points(layer.law, layer.constant)
    weight = layer.exact_weight
    return tuple(
        _linear(f"{layer.name}, zero point {zero}", weight, zero, operand_range(layer.law))
        for zero in sorted({ends.lo, ends.hi})
    )


def _linear(name: str, weight: NDArray[np.signedinteger[Any]], zero_point: int, operands: IntRange) -> IntProgram:
    outputs, terms = weight.shape
    op = Linear(weight, np.zeros(outputs, np.int32), Requantize(np.full(outputs, 2.0**-10, np.float32)))
    x = TensorSpec("x", (POSITIONS, terms), Affine(1.0, zero_point), operands)
    y = TensorSpec("y", (POSITIONS, outputs), Affine(1.0, 0))
    return IntProgram(name, ("x",), ("y",), {"x": x, "y": y}, (Node(name, op, ("x",), "y"),))
