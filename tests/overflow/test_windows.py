"""What windows hold, by counting: every size, kernel, stride, dilation and padding of one axis that is small."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product

import numpy as np
import pytest

import oaq
import oaq.kernels.table
from oaq import operators as ops
from oaq.errors import ProgramError
from oaq.numerics.affine import Affine
from oaq.numerics.ranges import IntRange
from oaq.numerics.requantize import Requantize
from oaq.operators.windows import inputs_per_window
from oaq.overflow.analyze import analyze
from oaq.program.int_program import IntProgram
from oaq.reference import run
from tests.strategies import Builder

REACH = IntRange(40, 42)
Geometry = tuple[int, int, int, int, int, int]
"""Size, kernel, stride, dilation, padding before and after."""


def geometries(sizes: range, kernels: range, steps: range) -> Iterator[Geometry]:
    """Those of one axis that give at least one window."""
    for size, kernel, stride, dilation in product(sizes, kernels, steps, steps):
        for before, after in product(range(kernel), repeat=2):
            if size + before + after > (kernel - 1) * dilation:
                yield size, kernel, stride, dilation, before, after


def test_positions_under_a_window_are_counted() -> None:
    for size, kernel, stride, dilation, before, after in geometries(range(1, 6), range(1, 5), range(1, 5)):
        starts = range(-before, size + after - (kernel - 1) * dilation, stride)
        counted = [sum(0 <= start + tap * dilation < size for tap in range(kernel)) for start in starts]
        assert inputs_per_window(size, len(starts), (kernel, stride, dilation, before)) == counted


def pooled(geometry: Geometry, across: Geometry) -> IntProgram:
    """A max pool of integers of ``REACH`` that stand in a tensor of 7..200."""
    size, kernel, stride, dilation, before, after = zip(geometry, across, strict=True)
    builder = Builder("pool")
    x = builder.input((*size, 1), Affine(1.0, 41), REACH)
    wide = builder.add(ops.Lookup(np.arange(256).astype(np.uint8)), [x], Affine(1.0, 41), IntRange(7, 200))
    op = ops.MaxPool(kernel, stride, (before[0], after[0], before[1], after[1]), dilation)  # type: ignore[arg-type]
    builder.add(op, [wide])
    return builder.finish()


def every_input(shape: tuple[int, ...]) -> np.ndarray:
    """All images whose integers lie in ``REACH``."""
    values = product(range(REACH.lo, REACH.hi + 1), repeat=int(np.prod(shape)))
    return np.array(list(values), np.uint8).reshape(-1, *shape)


@pytest.mark.parametrize("across", [(1, 1, 1, 1, 0, 0), (2, 2, 1, 1, 1, 0), (1, 2, 1, 2, 1, 1)])
def test_a_max_pool_gives_exactly_the_proved_range_whatever_its_windows_hold(across: Geometry) -> None:
    kinds = set()
    for down in geometries(range(1, 4), range(1, 4), range(1, 5)):
        program = pooled(down, across)
        y = run(program, [every_input(program.tensors[program.inputs[0]].shape)]).outputs[0]
        assert analyze(program).ranges[program.outputs[0]][0] == IntRange(int(y.min()), int(y.max())), (down, across)
        kinds.add((int(y.min()), int(y.max())))
    assert kinds <= {(40, 42), (7, 42), (7, 7)} and len(kinds) >= 2 - (across[3] == 2)


def test_the_checker_derives_the_range_of_windows_without_input() -> None:
    for down in geometries(range(1, 4), range(1, 4), range(1, 4)):
        plan = oaq.plan(pooled(down, (1, 2, 1, 2, 1, 1)), isa="scalar")
        assert oaq.Session(plan).verdict is not None


def test_a_maximum_of_nothing_reaches_the_sums_after_it() -> None:
    """The layer after the pool sees 0 where the pool's input is never below 50."""
    builder = Builder("hole")
    x = builder.input((1, 1, 4), Affine(1.0, 0))
    first = ops.Conv2d(
        np.eye(4, dtype=np.int8).reshape(4, 1, 1, 4), np.full(4, 50, np.int32), Requantize(np.ones(4, np.float32))
    )
    above = builder.add(first, [x], Affine(1.0, 0))
    pooled = builder.add(ops.MaxPool((2, 2), (1, 1), (1,) * 4, (2, 2)), [above])
    weight = np.array([60, -60, 0, 50] * 512, np.int8).reshape(512, 1, 1, 4)
    last = ops.Conv2d(weight, np.zeros(512, np.int32), Requantize(np.full(512, 1e-3, np.float32)))
    builder.add(last, [pooled], Affine(1.0, 0), name="last")
    program = builder.finish()
    proof = analyze(program)
    assert list(proof.ranges[pooled]) == [IntRange(0, 0)] * 4
    image = np.full((1, 1, 1, 4), 9, np.uint8)
    expected = run(program, [image]).outputs[0]
    for isa in oaq.kernels.table.cpu_isas():
        session = oaq.Session(oaq.plan(program, isa=isa))
        np.testing.assert_array_equal(session.run_integers(image)[0], expected)


@pytest.mark.parametrize(
    ("kernel", "padding", "dilation"),
    [((2, 2), (2, 0, 0, 0), (3, 3)), ((2, 2), (0, 0, 0, 2), (3, 3)), ((3, 1), (0, 0, 1, 0), (1, 1))],
)
def test_padding_that_reaches_the_kernel_is_refused_dilated_or_not(
    kernel: ops.Pair, padding: ops.Padding, dilation: ops.Pair
) -> None:
    with pytest.raises(ProgramError, match=r"reaches the size of the kernel .* Pad first, then pool"):
        ops.MaxPool(kernel, (1, 1), padding, dilation)


@pytest.mark.parametrize("multiplier", [2.0**119 * 1.0000002, 3.4e38])
def test_a_sum_of_infinities_is_refused(multiplier: float) -> None:
    with pytest.raises(ProgramError, match="two such products have no float32 sum"):
        ops.Add(Requantize(np.array([1.0, multiplier], np.float32)))
    ops.Add(Requantize(np.array([2.0**119, 2.0**119], np.float32)))
