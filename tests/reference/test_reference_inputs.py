"""What the reference refuses, and in which words."""

from __future__ import annotations

import numpy as np
import pytest

from oaq import operators as ops
from oaq.errors import AccumulatorOverflow, MemoryLimit, ProgramError
from oaq.numerics.affine import Affine
from oaq.numerics.ranges import IntRange
from oaq.numerics.requantize import Requantize
from oaq.program.int_program import IntProgram
from oaq.reference import run
from tests.strategies import Builder


def narrow() -> IntProgram:
    builder = Builder("narrow")
    x = builder.input((2, 3, 1), Affine(0.1, 10), IntRange(10, 20))
    builder.add(ops.Reshape((6,)), [x])
    return builder.finish()


@pytest.mark.parametrize(
    ("x", "message"),
    [
        (np.zeros((1, 2, 3, 1), np.float32), r"takes uint8 \(batch, 2, 3, 1\), got float32 \(1, 2, 3, 1\)"),
        (np.zeros((2, 3, 1), np.uint8), r"got uint8 \(2, 3, 1\)"),
        (np.full((1, 2, 3, 1), 21, np.uint8), r"21\.\.21, outside the effective range \[10, 20\]"),
        ([], "takes 1 inputs, got 0"),
        ({"other": np.zeros((1, 2, 3, 1), np.uint8)}, r"takes the inputs \['t0'\]"),
    ],
)
def test_inputs_that_do_not_fit_are_refused(x: object, message: str) -> None:
    with pytest.raises(ProgramError, match=message):
        run(narrow(), x)  # type: ignore[arg-type]


def test_an_empty_batch_gives_an_empty_result() -> None:
    assert run(narrow(), np.zeros((0, 2, 3, 1), np.uint8)).outputs[0].shape == (0, 6)


def test_a_sum_that_leaves_s32_is_an_error_not_a_wrap() -> None:
    builder = Builder("heavy")
    x = builder.input((1,), Affine(1.0, 0))
    op = ops.Linear(np.array([[127]], np.int8), np.array([2**31 - 1], np.int32), Requantize(np.float32([1e-8])))
    builder.add(op, [x], name="fc")
    program = builder.finish()
    assert run(program, np.zeros((1, 1), np.uint8), accumulators=True).accumulators["fc"][0, 0] == 2**31 - 1
    with pytest.raises(AccumulatorOverflow, match=r"fc: the exact sum reaches .*2147483774.*leaves s32"):
        run(program, np.ones((1, 1), np.uint8))


def test_an_enlarged_image_that_is_small_again_is_counted_before_it_is_computed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """(2, 4096, 2) to (4096, 5, 2): all 4096 columns of all rows lie between."""
    builder = Builder()
    x = builder.input((2, 4096, 2), Affine(0.05, 0))
    builder.add(ops.Resize(4096, 5, "bilinear"), [x], Affine(0.05, 0), name="resized")
    program = builder.finish()
    monkeypatch.setenv("OAQ_MEMORY_LIMIT", "512M")
    with pytest.raises(MemoryLimit, match=r"resized: the reference needs"):
        run(program, np.zeros((4, 2, 4096, 2), np.uint8))
