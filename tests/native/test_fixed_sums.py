"""Add in fixed point: vectors where no sum leaves 32 bits, one by one beyond, the law everywhere."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("oaq.kernels._native", reason="NOT RUN: no native module")

from oaq import operators as ops
from oaq import reference
from oaq.kernels.plan import plan
from oaq.kernels.table import cpu_isas
from oaq.numerics.affine import Affine
from oaq.numerics.ranges import IntRange
from oaq.numerics.requantize import Requantize
from oaq.runtime import Session
from tests.strategies import Builder

EDGE = ((1 << 31) - 1 - (1 << 20)) // 510
"""Largest multiplier, twice, whose sums of two operands stay in 32 bits by a shift of 21."""
PAIRS = {
    "as XNNPACK's": ((1 << 20, 3 << 19), 21),
    "last in 32 bits": ((EDGE, EDGE), 21),
    "first beyond": ((EDGE + 1, EDGE + 1), 21),
    "far apart": ((1, 1 << 21), 20),
    "half of 31 bits": ((1 << 20, 1 << 20), 31),
    "beyond 31 bits": (((1 << 31) - 1, (1 << 31) - 1), 33),
    "large results": ((1 << 20, 1 << 20), 12),
}


@pytest.mark.parametrize("zeros", [(0, 0), (255, 255), (0, 255), (128, 3)])
@pytest.mark.parametrize("name", PAIRS)
def test_every_instruction_set_computes_the_law(name: str, zeros: tuple[int, int]) -> None:
    factors, shift = PAIRS[name]
    by = Requantize(np.array(factors, np.int32), np.full(2, shift, np.int32))
    for size in (1, 31, 32, 33, 97):
        builder = Builder(name)
        inputs = [builder.input((size,), Affine(0.1, zero)) for zero in zeros]
        builder.add(ops.Add(by), inputs, Affine(0.1, 100), IntRange(7, 240))
        program = builder.finish()
        assert program.requantize == "float32_half_even"
        rng = np.random.default_rng(size)
        x = [rng.integers(0, 256, (4, size)).astype(np.uint8) for _ in zeros]
        x[0][0], x[1][0], x[0][1], x[1][1] = 0, 0, 255, 255
        (law,) = reference.run(program, tuple(x)).outputs
        for isa in cpu_isas():
            (result,) = Session(plan(program, isa)).run_integers(tuple(x))
            np.testing.assert_array_equal(result, law, err_msg=f"{name}, {size} on {isa}")
