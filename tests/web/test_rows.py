"""Every row for WebAssembly, forced, in the builds that have it: equal to the reference in every integer."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
import pytest

from benchmarks.web.build import BUILDS, build, packed_size
from benchmarks.web.node import rows_of
from oaq import operators as ops
from oaq.errors import NoKernel
from oaq.kernels.plan import plan
from oaq.kernels.targets import TARGETS
from oaq.numerics.affine import Affine
from oaq.numerics.ranges import IntRange
from oaq.numerics.requantize import Requantize
from oaq.operators import TensorSpec
from oaq.program.int_program import IntProgram, Node
from tests.native.machine import held, layer, vector
from tests.strategies import INPUT_KINDS, random_input
from tests.web.machine import BUILDS_OF, ROWS, SUMMING, Forced, differences, forced, plan_for, require_engine
from tests.weights import WEIGHT_KINDS

GEOMETRIES: tuple[dict[str, Any], ...] = (
    {"kernel": (3, 3), "padding": (1, 1, 1, 1)},
    {"kernel": (3, 3), "padding": (0, 1, 0, 1), "stride": (2, 2)},
    {"kernel": (2, 3), "padding": (1, 0, 2, 1), "stride": (3, 1), "dilation": (2, 1)},
    {"kernel": (1, 1), "stride": (2, 2)},
    {"kernel": (3, 2), "dilation": (1, 3), "padding": (2, 2, 3, 3), "zero_point": 255},
)

pytestmark = pytest.mark.xdist_group("web")


def inputs(program: IntProgram, kind: str, batch: int = 2) -> tuple[np.ndarray, ...]:
    spec = program.tensors[program.inputs[0]]
    return (random_input(np.random.default_rng(7), (batch, *spec.shape), spec.range, kind),)


def whatever_the_family(row: str) -> Iterator[Forced]:
    """Corners of the contract, windows in both semantics, runs of every length."""
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
        program = vector(outputs, k, operands=operands_of(row))
        yield forced(f"vector {outputs}, {k}", plan_for(program, row), inputs(program, "random"))
    for hi in (3, 255):
        program = in_words(hi, operands_of(row))
        for kind in ("lo", "hi", "random"):
            yield forced(f"words to {hi}, {kind}", plan_for(program, row), inputs(program, kind))


def of_channels(row: str) -> Iterator[Forced]:
    """Tails of channels and taps."""
    for channels in (2, 7, 8, 9, 15, 16, 17, 33, 130):
        for kernel in ((1, 1), (2, 3), (5, 5)):
            program = layer(ROWS[row], channels, 1, kernel=kernel, padding=(2, 1, 0, 2), kind="extreme")
            yield forced(f"{channels} channels under {kernel}", plan_for(program, row), inputs(program, "random"))


def operands_of(row: str) -> IntRange:
    """What a row takes, as it lies in memory."""
    return IntRange(ROWS[row].x_range.lo + ROWS[row].shift, ROWS[row].x_range.hi + ROWS[row].shift)


def in_words(hi: int, operands: IntRange) -> IntProgram:
    """Sums around the ends of s16, times multiples of 2**-15, clamped to [0, hi]: results that leave in 16 bits."""
    sums = (-(1 << 30), -(1 << 15) - 1, -(1 << 15), -1, 0, 1, 100, (1 << 15) - 1)
    rng, outputs = np.random.default_rng(hi), 5 * len(sums)
    op = ops.Conv2d(
        weight=rng.integers(-1, 1, (outputs, 1, 1, 16)).astype(np.int8),
        bias=np.array(sums * 5, np.int32),
        requantize=Requantize(np.full(outputs, 2048 / (1 << 15), np.float32)),
    )
    x = TensorSpec("x", (3, 5, 16), Affine(0.05), operands)
    y = TensorSpec("y", (3, 5, outputs), Affine(0.05), IntRange(0, hi))
    return IntProgram("words", ("x",), ("y",), {"x": x, "y": y}, (Node("layer", op, ("x",), "y"),))


@cache
def cases_of(row: str) -> tuple[Forced, ...]:
    own = of_matrices if ROWS[row].family == "gemm" else of_channels
    cases = (*whatever_the_family(row), *own(row))
    assert all(row in {node.row.name for node in each.planned.nodes} for each in cases)
    return cases


@pytest.mark.parametrize(("row", "build_name"), [(row, name) for row in SUMMING for name in BUILDS_OF[ROWS[row].isa]])
def test_a_row_computes_the_integers_of_the_reference(row: str, build_name: str) -> None:
    require_engine()
    assert list(differences(cases_of(row), build_name)) == []


def test_the_rows_of_the_targets_are_those_of_the_builds() -> None:
    require_engine()
    twins = {"gemm_s8s8_scalar", "depthwise_s8s8_scalar"}
    assert set(rows_of("simd128")) == {row.name for row in TARGETS["wasm"].table} | twins
    assert set(rows_of("relaxed")) == ROWS.keys() | twins


@pytest.mark.parametrize("row", [name for name in SUMMING if ROWS[name].isa == "relaxed"])
def test_relaxed_rows_are_refused_one_step_outside_seven_bits(row: str) -> None:
    wide = layer(replace(ROWS[row], x_range=IntRange(0, 128)), 8, 8)
    with pytest.raises(NoKernel, match=r"takes operands \[0, 127\]"):
        plan_for(wide, row)
    plan_for(layer(ROWS[row], 8, 8), row)


def test_a_network_of_eight_bits_takes_no_relaxed_row_and_says_why() -> None:
    eight_bits = replace(ROWS["gemm_u7s8_relaxed_acc16"], x_range=IntRange(0, 255))
    planned = plan(layer(eight_bits, 64, 64, size=(9, 9)), table="wasm-relaxed")
    assert planned.nodes[0].row.isa == "simd128"
    assert "not gemm_u7s8_relaxed_acc16: takes operands [0, 127]" in planned.explain()


@pytest.mark.parametrize("name", BUILDS)
def test_a_build_is_small_enough_to_be_sent(name: str) -> None:
    require_engine()
    assert packed_size(build(name)) < 150_000
