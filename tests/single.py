"""Programs of one node: what tests of rows without sums share."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from oaq import operators as ops
from oaq.numerics.affine import Affine
from oaq.numerics.ranges import IntRange
from oaq.numerics.requantize import Requantize, Semantics
from oaq.operators.tensor import Shape
from oaq.program.int_program import IntProgram
from tests.strategies import Builder

EVERY = np.arange(256, dtype=np.uint8)
BOTH: tuple[Semantics, ...] = ("float32_half_even", "fixed_point")


def rule(semantics: Semantics, *ratios: float) -> Requantize:
    return Requantize.from_scales(np.array(ratios, np.float32), semantics)


def single(
    op: ops.Op, shapes: Sequence[Shape], zeros: tuple[int, int] = (3, 5), clamp: tuple[int, int] = (0, 255)
) -> IntProgram:
    """One node; inputs and output at the first and the second zero point."""
    keeps = ops.rules_of(op).same_affine
    requantize = getattr(op, "requantize", None)
    builder = Builder("single", semantics="float32_half_even" if requantize is None else requantize.semantics)
    inputs = [builder.input(shape, Affine(0.05, zeros[0])) for shape in shapes]
    builder.add(op, inputs, Affine(0.05, zeros[0] if keeps else zeros[1]), IntRange(*clamp))
    return builder.finish()
