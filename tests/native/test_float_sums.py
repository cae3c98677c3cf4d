"""Sums that are the bits of floats (native/requantize/as_floats.h): at the ends of what they hold, and beyond."""

from __future__ import annotations

import numpy as np
import pytest

from oaq import operators as ops
from oaq.numerics.affine import Affine
from oaq.numerics.ranges import IntRange
from oaq.numerics.requantize import Requantize
from oaq.operators import TensorSpec
from oaq.program.int_program import IntProgram, Node
from tests.native.machine import ROWS, WIDE, check

END = 1 << 23
BIASES = {
    "dead": [-(1 << 28), -(1 << 30), -END - 1, -END, -END + 1, -2048],
    "edge": [END - 1, END, END + 1, END - 2048, END - 4096, END // 2],
    "large": [1 << 28, 1 << 30, END, 255, 1, 0],
}
SCALES = [2.0**-30, 1e-7, 3.0e-5, 255 / END, 1 / 3, 0.9999999]


def program(depthwise: bool, biases: list[int], outputs: int) -> IntProgram:
    """Outputs from zero, every bias with every scale; weights in [-1, 1]."""
    rng = np.random.default_rng(outputs)
    shape = (outputs, 3, 3, 1) if depthwise else (outputs, 1, 1, 8)
    pairs = [(bias, scale) for bias in biases for scale in SCALES]
    drawn = [pairs[index % len(pairs)] for index in range(outputs)]
    op = ops.Conv2d(
        weight=rng.integers(-1, 2, shape).astype(np.int8),
        bias=np.array([bias for bias, _ in drawn], np.int32),
        requantize=Requantize(np.array([scale for _, scale in drawn], np.float32)),
        padding=(1, 1, 1, 1) if depthwise else (0, 0, 0, 0),
        groups=outputs if depthwise else 1,
    )
    x = TensorSpec("x", (5, 7, outputs if depthwise else 8), Affine(0.05), IntRange(0, 255))
    y = TensorSpec("y", (5, 7, outputs), Affine(0.05), IntRange(0, 107))
    return IntProgram("sums", ("x",), ("y",), {"x": x, "y": y}, (Node("layer", op, ("x",), "y"),))


@pytest.mark.parametrize("row", WIDE)
@pytest.mark.parametrize("kind", BIASES)
@pytest.mark.parametrize("outputs", [16, 36, 64])
def test_sums_at_the_ends_and_beyond_are_those_of_the_reference(row: str, kind: str, outputs: int) -> None:
    one = program(ROWS[row].family == "depthwise", BIASES[kind], outputs)
    shape = one.tensors["x"].shape
    drawn = np.random.default_rng(0).integers(0, 256, (1, *shape)).astype(np.uint8)
    for x in (np.zeros_like(drawn), np.full_like(drawn, 255), drawn):
        check(one, (x,), row)
