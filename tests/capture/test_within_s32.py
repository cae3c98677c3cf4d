"""Biases at the ends of 32 bits: moved where no result can tell, left where one could."""

from __future__ import annotations

import numpy as np
import pytest

from oaq.capture.within_s32 import within_s32
from oaq.errors import AccumulatorOverflow
from oaq.numerics.affine import Affine
from oaq.numerics.formats import S32, U8
from oaq.numerics.ranges import IntRange
from oaq.numerics.requantize import Requantize
from oaq.overflow import analyze
from oaq.program import ops
from oaq.program.int_program import IntProgram, Node, TensorSpec


def linear(
    weight: list[list[int]], bias: list[int], multiplier: list[float], zero: int = 0, reach: IntRange = U8
) -> IntProgram:
    w = np.array(weight, np.int8)
    op = ops.Linear(w, np.array(bias, np.int32), Requantize(np.array(multiplier, np.float32)))
    x = TensorSpec("x", (w.shape[1],), Affine(1.0, zero))
    y = TensorSpec("y", (w.shape[0],), Affine(1.0, 100), reach)
    return IntProgram("p", ("x",), ("y",), {"x": x, "y": y}, (Node("fc", op, ("x",), "y"),))


def results(program: IntProgram, x: np.ndarray) -> list[int]:
    """The law with unbounded integers."""
    op = program.nodes[0].op
    assert isinstance(op, ops.Linear)
    zero = program.tensors["x"].affine.zero_point
    y = program.tensors["y"]
    sums = [
        int(b) + sum(int(w) * (int(q) - zero) for w, q in zip(row, x, strict=True))
        for row, b in zip(op.weight, op.bias, strict=True)
    ]
    return op.requantize.apply(np.array(sums, np.int64), y.affine.zero_point, y.range).tolist()


def biases(program: IntProgram) -> list[int]:
    op = program.nodes[0].op
    assert isinstance(op, ops.Linear)
    return op.bias.tolist()


@pytest.mark.parametrize("end", [S32.lo, S32.hi])
@pytest.mark.parametrize("zero", [0, 7, 255])
def test_a_constant_output_keeps_its_constant_and_its_sums_fit(end: int, zero: int) -> None:
    program = linear([[3, -5, 127], [1, 2, 3]], [end, 5], [1e-11, 0.1], zero)
    with pytest.raises(AccumulatorOverflow):
        analyze(program)
    settled, (note,) = within_s32(program)
    analyze(settled)
    assert biases(settled)[1] == 5
    assert biases(settled)[0] != end
    assert note.startswith("fc: 1 of its 2 biases lie so near the end of 32 bits")
    for x in np.array(np.meshgrid(*[[0, zero, 255]] * 3)).reshape(3, -1).T:
        assert results(settled, x) == results(program, x)


def test_an_output_clamped_whatever_the_sum_is_a_constant_too() -> None:
    program = linear([[3, -5, 127]], [S32.lo], [0.5], reach=IntRange(90, 200))
    settled, notes = within_s32(program)
    assert len(notes) == 1
    analyze(settled)
    assert results(settled, np.array([255, 0, 255])) == results(program, np.array([255, 0, 255])) == [90]


def test_an_output_that_is_no_constant_is_left_for_analysis_to_refuse() -> None:
    # -64.5 is a tie: it is rounded to -64, and anything below to -65.
    program = linear([[100, -100]], [S32.lo], [64.5 * 2.0**-31])
    assert results(program, np.array([0, 0])) != results(program, np.array([0, 255]))
    settled, notes = within_s32(program)
    assert notes == ()
    assert settled is program
    with pytest.raises(AccumulatorOverflow):
        analyze(settled)


def test_what_fits_is_returned_as_it_is() -> None:
    program = linear([[3, -5, 127]], [1000], [0.01])
    assert within_s32(program) == (program, ())


def test_biases_as_near_as_may_be_stay() -> None:
    low = S32.lo + 5 * 255
    program = linear([[3, -5, 127]], [low], [1e-11])
    analyze(program)
    assert within_s32(program) == (program, ())
    with pytest.raises(AccumulatorOverflow):
        analyze(linear([[3, -5, 127]], [low - 1], [1e-11]))
    settled, _ = within_s32(linear([[3, -5, 127]], [low - 1], [1e-11]))
    assert biases(settled) == [low]
