"""Layers whose outputs are chosen sums, requantized by chosen numbers: both at their ends."""

from __future__ import annotations

import numpy as np

from oaq import operators as ops
from oaq.numerics.affine import Affine
from oaq.numerics.ranges import IntRange
from oaq.numerics.requantize import Requantize
from oaq.program.int_program import IntProgram
from tests.strategies import Builder

MOST, LEAST = 2**31 - 1, -(2**31)
SUMS = (MOST - 255, LEAST + 255, MOST - 256, LEAST + 300, 2**24 + 1, -(2**24) - 1, 32768, -32769, 256, 1, 0, -1, -255)
"""Biases: an input of 0 to 255 is added to each, and none leaves s32."""
MULTIPLIERS = (1, 2, 3, 2**30, 2**30 + 1, 2**31 - 1)
SHIFTS = (1, 2, 15, 30, 31, 32, 33, 47, 61, 62)
ENDS = ((0, (0, 255)), (255, (0, 255)), (128, (128, 128)), (1, (0, 1)), (200, (17, 254)))
"""Zero points and clamps of outputs."""


def sums_as_biases(rule: Requantize, zero_point: int, clamp: tuple[int, int]) -> IntProgram:
    """A layer whose outputs are biases plus the only input: every sum by every numbers of ``rule``."""
    builder = Builder("sums", semantics=rule.semantics)
    x = builder.input((1,), Affine(1.0, 0))
    bias = np.tile(np.array(SUMS, np.int32), -(-len(rule) // len(SUMS)))[: len(rule)]
    layer = ops.Linear(np.ones((len(rule), 1), np.int8), bias, rule)
    builder.add(layer, [x], Affine(1.0, zero_point), IntRange(*clamp))
    return builder.finish()


def fixed(numbers: list[tuple[int, ...]], then: int | None) -> Requantize:
    multiplier, shift = (np.array([entry[i] for entry in numbers], np.int32) for i in (1, 2))
    return Requantize(multiplier, shift, None if then is None else np.full(len(numbers), then, np.int32))
