"""Requantization that rounds twice: the law, the checker and every kernel row agree, at the extremes first."""

from __future__ import annotations

from fractions import Fraction
from math import floor, prod

import numpy as np
import pytest

pytest.importorskip("oaq.kernels._native", reason="NOT RUN: no native module")

from oaq import operators as ops
from oaq import reference
from oaq.checker import dyadics
from oaq.errors import FormatError, ProgramError
from oaq.kernels.plan import plan
from oaq.kernels.table import cpu_isas
from oaq.numerics.affine import Affine
from oaq.numerics.ranges import IntRange
from oaq.numerics.requantize import Requantize
from oaq.overflow.settle import settle
from oaq.program.int_program import IntProgram
from oaq.program.plain import fingerprint, from_plain, to_plain
from oaq.runtime import Session
from tests.strategies import Builder

WIDE = IntRange(-(1 << 40), 1 << 40)
HALF = Fraction(1, 2)


def twice(count: int, then: int, shift: int = 31) -> Requantize:
    """Multipliers of ``count`` outputs near 2**-1 before ``then`` bits more, ties among them."""
    multiplier = [1 << 30, (1 << 30) + 12345, (1 << 31) - 1][:count] + [1 << 30] * (count - 3)
    return Requantize(np.array(multiplier, np.int32), np.full(count, shift, np.int32), np.full(count, then, np.int32))


def expected(total: int, multiplier: int, shift: int, then: int) -> int:
    """Both roundings by fractions."""
    first = floor(Fraction(total * multiplier, 1 << shift) + HALF)
    second = floor(Fraction(abs(first), 1 << then) + HALF)
    return -second if first < 0 else second


@pytest.mark.parametrize("then", [0, 1, 7, 31])
@pytest.mark.parametrize("shift", [1, 31, 62])
def test_law_and_checker_are_two_roundings_by_fractions(shift: int, then: int) -> None:
    by = twice(3, then, shift)
    sums = [0, 1, -1, 2, -2, 3, -3, 255, -255, 256, -256, 12345, -98765, (1 << 31) - 1, -(1 << 31)]
    law = by.apply(np.array(sums)[:, None] * np.ones((1, 3), np.int64), 0, WIDE)
    checked = dyadics.requantize(
        np.array(sums)[:, None] * np.ones((1, 3), np.int64),
        by.multiplier,  # type: ignore[arg-type]
        np.full(3, shift, np.int64),
        np.full(3, then, np.int64),
    )
    for row, total in enumerate(sums):
        for column in range(3):
            exact = expected(total, int(by.multiplier[column]), shift, then)
            assert WIDE.clamp(exact) == law[row, column]
            assert exact == checked[row, column] or abs(exact) > 1 << 32


def programs() -> dict[str, IntProgram]:
    """One operator each, of results around the middle."""
    rng = np.random.default_rng(0)
    graphs = {}

    def single(name: str, op: ops.Op, shapes: list[tuple[int, ...]]) -> None:
        builder = Builder(name)
        inputs = [builder.input(shape, Affine(0.1, 100)) for shape in shapes]
        builder.add(op, inputs, Affine(0.1, 120), IntRange(3, 250))
        graphs[name] = builder.finish()

    for kernel, channels, groups in (((1, 1), 8, 1), ((3, 3), 8, 1), ((3, 3), 8, 8)):
        weight = rng.integers(-127, 128, (8, *kernel, channels // groups)).astype(np.int8)
        op = ops.Conv2d(
            weight, rng.integers(-999, 999, 8).astype(np.int32), twice(8, 8), padding=(1, 0, 0, 1), groups=groups
        )
        single(f"conv {kernel} {groups}", op, [(9, 11, channels)])
    weight = rng.integers(-255, 256, (5, 24)).astype(np.int16)
    single("linear", ops.Linear(weight, np.zeros(5, np.int32), twice(5, 7)), [(24,)])
    single("mul", ops.Mul(twice(1, 5)), [(5, 7, 3), (5, 7, 3)])
    single("concat", ops.Concat(twice(2, 1)), [(5, 7, 3), (5, 7, 2)])
    single("avg_pool", ops.AvgPool((2, 2), (1, 1), twice(4, 2), count_include_pad=False), [(5, 7, 3)])
    single("global_avg_pool", ops.GlobalAvgPool(twice(1, 4)), [(5, 7, 3)])
    return graphs


@pytest.mark.parametrize("name", programs())
def test_every_row_computes_it_and_files_hold_it(name: str) -> None:
    program = settle(programs()[name]).program
    rng = np.random.default_rng(1)
    x = [rng.integers(0, 256, (3, *program.tensors[tensor].shape)).astype(np.uint8) for tensor in program.inputs]
    (law,) = reference.run(program, tuple(x)).outputs
    assert len(np.unique(law)) > 3, name
    for isa in cpu_isas():
        (result,) = Session(plan(program, isa)).run_integers(tuple(x))
        np.testing.assert_array_equal(np.asarray(result).reshape(law.shape), law, err_msg=f"{name} on {isa}")
    again = from_plain(*to_plain(program))
    assert fingerprint(again) == fingerprint(program)
    assert prod(law.shape) > 3


def test_what_cannot_be_is_refused() -> None:
    with pytest.raises(ValueError, match="one per fixed-point multiplier"):
        Requantize(np.ones(2, np.float32), None, np.ones(2, np.int32))
    with pytest.raises(ValueError, match="second roundings are of 0 to 31 bits"):
        twice(2, 32)
    with pytest.raises(ProgramError, match="rounds its sum once"):
        ops.Add(twice(2, 1))
    header, arrays = to_plain(programs()["mul"])
    broken = {key: np.full_like(value, 40) if key.endswith("then") else value for key, value in arrays.items()}
    with pytest.raises(FormatError, match="second roundings"):
        from_plain(header, broken)
