"""Every row for Arm, cross-built, forced, and run on emulated CPUs: equal to the reference in every integer."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from typing import Any

import numpy as np
import pytest

from benchmarks.arm.build import build
from benchmarks.arm.emulator import CPUS, run_program
from oaq import operators as ops
from oaq.numerics.affine import Affine
from oaq.numerics.ranges import IntRange
from oaq.numerics.requantize import Requantize
from oaq.operators import TensorSpec
from oaq.program.int_program import IntProgram, Node
from tests.arm.machine import CPUS_OF, ROWS, SUMMING, Forced, differences, forced, plan_for, require_emulator
from tests.native.machine import held, layer, vector
from tests.strategies import INPUT_KINDS, random_input
from tests.weights import WEIGHT_KINDS

GEOMETRIES: tuple[dict[str, Any], ...] = (
    {"kernel": (3, 3), "padding": (1, 1, 1, 1)},
    {"kernel": (3, 3), "padding": (0, 1, 0, 1), "stride": (2, 2)},
    {"kernel": (2, 3), "padding": (1, 0, 2, 1), "stride": (3, 1), "dilation": (2, 1)},
    {"kernel": (1, 1), "stride": (2, 2)},
    {"kernel": (3, 2), "dilation": (1, 3), "padding": (2, 2, 3, 3), "zero_point": 255},
)

pytestmark = pytest.mark.xdist_group("arm")


def inputs(program: IntProgram, kind: str, batch: int = 2) -> tuple[np.ndarray, ...]:
    spec = program.tensors[program.inputs[0]]
    return (random_input(np.random.default_rng(7), (batch, *spec.shape), spec.range, kind),)


def whatever_the_family(row: str) -> Iterator[Forced]:
    """Corners of the contract, windows in both semantics, runs of every length, threads."""
    for weights in WEIGHT_KINDS:
        planned = plan_for(layer(ROWS[row], outputs=37, k=21, kind=weights), row)
        for kind in INPUT_KINDS:
            yield forced(f"corner {weights} {kind}", planned, inputs(planned.program, kind))
    for semantics in ("float32_half_even", "fixed_point"):
        for number, geometry in enumerate(GEOMETRIES):
            program = layer(ROWS[row], 36, 6, size=(7, 9), semantics=semantics, **geometry)
            yield forced(f"window {number} {semantics}", plan_for(program, row), inputs(program, "random"))
    program = layer(ROWS[row], 40, 43, kind="small", kernel=(3, 3))
    for steps in (1, 2, 3, 5):
        yield forced(f"runs of {steps}", held(plan_for(program, row), steps), inputs(program, "hi"))
    for threads in (2, 5):
        program = layer(ROWS[row], 70, 24, size=(9, 11), kernel=(1, 1))
        yield forced(f"{threads} threads", plan_for(program, row), inputs(program, "random"), threads)


def of_matrices(row: str) -> Iterator[Forced]:
    """Tails of outputs, of k, of positions; operands in lines; groups; vectors."""
    for outputs in (1, 3, 4, 7, 8, 9, 15, 16, 17, 33):
        for k in (1, 4, 15, 16, 17, 24):
            program = layer(ROWS[row], outputs, k, size=(3, 7))
            yield forced(f"{outputs} outputs, k {k}", plan_for(program, row), inputs(program, "random", 1))
    for positions in range(1, 19):
        program = layer(ROWS[row], 20, 16, size=(1, positions))
        yield forced(f"{positions} positions", plan_for(program, row), inputs(program, "random", 1))
    for kernel in ((3, 2), (2, 1)):
        program = layer(ROWS[row], 17, 16, kernel=kernel, padding=(1, 0, 1, 2), size=(5, 24))
        yield forced(f"lines {kernel}", plan_for(program, row), inputs(program, "random"))
    for groups in (2, 3):
        program = layer(ROWS[row], 18 * groups, 5, groups=groups, kernel=(3, 3), padding=(1, 1, 1, 1))
        yield forced(f"{groups} groups", plan_for(program, row), inputs(program, "random"))
    for outputs, k in ((1, 1), (10, 37), (1000, 320)):
        yield forced(f"vector {outputs}, {k}", plan_for(vector(outputs, k), row), inputs(vector(outputs, k), "random"))
    for hi in (3, 255):
        program = in_words(hi)
        for kind in ("lo", "hi", "random"):
            yield forced(f"words to {hi}, {kind}", plan_for(program, row), inputs(program, kind))


def of_channels(row: str) -> Iterator[Forced]:
    """Tails of channels and taps."""
    for channels in (2, 7, 8, 9, 15, 16, 17, 33, 130):
        for kernel in ((1, 1), (2, 3), (5, 5)):
            program = layer(ROWS[row], channels, 1, kernel=kernel, padding=(2, 1, 0, 2), kind="extreme")
            yield forced(f"{channels} channels under {kernel}", plan_for(program, row), inputs(program, "random"))


def in_words(hi: int) -> IntProgram:
    """Sums around the ends of s16, times multiples of 2**-15, clamped to [0, hi]: results that leave in 16 bits."""
    sums = (-(1 << 30), -(1 << 15) - 1, -(1 << 15), -1, 0, 1, 100, (1 << 15) - 1)
    rng, outputs = np.random.default_rng(hi), 5 * len(sums)
    op = ops.Conv2d(
        weight=rng.integers(-1, 1, (outputs, 1, 1, 16)).astype(np.int8),
        bias=np.array(sums * 5, np.int32),
        requantize=Requantize(np.full(outputs, 2048 / (1 << 15), np.float32)),
    )
    x = TensorSpec("x", (3, 5, 16), Affine(0.05), IntRange(0, 255))
    y = TensorSpec("y", (3, 5, outputs), Affine(0.05), IntRange(0, hi))
    return IntProgram("words", ("x",), ("y",), {"x": x, "y": y}, (Node("layer", op, ("x",), "y"),))


@cache
def cases_of(row: str) -> tuple[Forced, ...]:
    own = of_matrices if ROWS[row].family == "gemm" else of_channels
    cases = (*whatever_the_family(row), *own(row))
    assert all(row in {node.row.name for node in each.planned.nodes} for each in cases)
    return cases


@pytest.mark.parametrize(("row", "cpu"), [(row, cpu) for row in SUMMING for cpu in CPUS_OF[ROWS[row].isa]])
def test_a_row_computes_the_integers_of_the_reference(row: str, cpu: str) -> None:
    require_emulator()
    assert list(differences(cases_of(row), cpu)) == []


def test_the_rows_of_the_targets_are_those_of_the_cross_build() -> None:
    require_emulator()
    lines = run_program(build(), ["--rows"], "max").splitlines()
    compiled = {line.split("\t")[0]: line.split("\t")[1:] for line in lines}
    twins = {"gemm_s8s8_scalar", "depthwise_s8s8_scalar"}
    assert compiled.keys() == ROWS.keys() | twins
    for name, row in ROWS.items():
        register, fields = row.accumulator, compiled[name]
        assert fields[:5] == [row.family, row.isa, *map(str, (row.tile_m, row.tile_n, row.parts))]
        assert fields[5:8] == [str(row.shift), str(row.x_range.lo), str(row.x_range.hi)]
        if register is not None:
            model = (register.bits, register.overflow, register.step, register.group, register.group_overflow)
            assert fields[8:15] == [*map(str, model), str(register.lanes), str(register.max_run or 0)]


@pytest.mark.parametrize("cpu", CPUS)
def test_the_cpu_is_asked_for_what_it_adds_to_neon(cpu: str) -> None:
    require_emulator()
    lines = [line.split("\t") for line in run_program(build(), ["--rows"], cpu).splitlines()]
    isas = {fields[2] for fields in lines if fields[-1] == "1"}
    assert isas == ({"scalar", "neon", "dotprod", "i8mm"} if cpu == "max" else {"scalar", "neon"})
    if cpu != "max":
        answers = list(differences(cases_of("gemm_s8s8_dotprod")[:1], cpu))
        assert "this CPU does not run dotprod, which the row gemm_s8s8_dotprod needs" in answers[0]
