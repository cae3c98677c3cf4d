"""Every row that sums products, forced here, against the reference: corners first, then whatever is drawn."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from oaq import operators as ops
from oaq.checker.registers import contradicts, register, trusted
from oaq.kernels.plan import plan
from oaq.kernels.table import KernelRow, native_rows
from oaq.numerics.affine import Affine
from oaq.numerics.ranges import IntRange
from oaq.numerics.requantize import Requantize, Semantics
from oaq.overflow.certificate import register_model
from oaq.program.int_program import IntProgram
from tests.native.machine import ROWS, SUMMING, WIDE, check, compare, held, layer, vector
from tests.strategies import INPUT_KINDS, programs_with_inputs, random_input
from tests.weights import WEIGHT_KINDS

GEMM = [name for name in SUMMING if ROWS[name].family == "gemm"]
DEPTHWISE = [name for name in SUMMING if ROWS[name].family == "depthwise"]


def inputs(program: IntProgram, kind: str, batch: int = 2) -> tuple[np.ndarray, ...]:
    spec = program.tensors[program.inputs[0]]
    return (random_input(np.random.default_rng(7), (batch, *spec.shape), spec.range, kind),)


def test_the_table_has_every_row_the_design_asks_for() -> None:
    names = {row.name for row in native_rows()}
    assert {
        f"gemm_u8s8_{isa}" for isa in ("scalar", "avx2_exact", "avx2_acc32", "avx2_acc16", "avxvnni", "vnni")
    } <= names
    assert {"gemm_u8s8_avx512bw_acc16", "gemm_u8s8_avx512bw_acc32"} <= names
    assert {
        f"depthwise_u8s8_{isa}" for isa in ("scalar", "avx2_exact", "avx2_acc16", "avxvnni", "avx512bw_acc16", "vnni")
    } <= names


@pytest.mark.parametrize("row", [row for row in native_rows() if row.accumulator is not None], ids=lambda row: row.name)
def test_the_independent_checker_knows_the_register_of_every_row_by_itself(row: KernelRow) -> None:
    """A table that declared too much would mislead the planner, and must not mislead the checker."""
    assert row.accumulator is not None
    model = register_model(row.accumulator)
    assert trusted(row.name, register(model, row.name), {row.name: model})[1] is None
    assert contradicts(row.name, register(model, row.name)) is None


@pytest.mark.parametrize("row", SUMMING)
@pytest.mark.parametrize("weights", WEIGHT_KINDS)
@pytest.mark.parametrize("operands", INPUT_KINDS)
def test_corners_of_the_contract(row: str, weights: str, operands: str) -> None:
    program = layer(ROWS[row], outputs=37, k=21, kind=weights)
    check(program, inputs(program, operands), row)


@pytest.mark.parametrize("row", GEMM)
@pytest.mark.parametrize("outputs", [1, 7, 8, 9, 15, 16, 17, 31, 32, 33, 40, 65])
@pytest.mark.parametrize("k", [1, 3, 4, 5, 24])
def test_tails_of_outputs_and_k(row: str, outputs: int, k: int) -> None:
    program = layer(ROWS[row], outputs, k, size=(3, 7))
    check(program, inputs(program, "random"), row)


@pytest.mark.parametrize("row", GEMM)
@pytest.mark.parametrize("positions", range(1, 27))
def test_every_number_of_positions(row: str, positions: int) -> None:
    program = layer(ROWS[row], 20, 8, size=(1, positions))
    check(program, inputs(program, "random", 1), row)


@pytest.mark.parametrize("row", DEPTHWISE)
@pytest.mark.parametrize("channels", [1, 15, 16, 31, 32, 33, 63, 64, 65, 130])
@pytest.mark.parametrize("kernel", [(1, 1), (2, 3), (5, 5)])
def test_tails_of_channels_and_taps(row: str, channels: int, kernel: tuple[int, int]) -> None:
    program = layer(ROWS[row], channels, 1, kernel=kernel, padding=(2, 1, 0, 2), kind="extreme")
    check(program, inputs(program, "random"), row)


@pytest.mark.parametrize("row", SUMMING)
@pytest.mark.parametrize("semantics", ["float32_half_even", "fixed_point"])
@pytest.mark.parametrize(
    "geometry",
    [
        {"kernel": (3, 3), "padding": (1, 1, 1, 1)},
        {"kernel": (3, 3), "padding": (0, 1, 0, 1), "stride": (2, 2)},
        {"kernel": (2, 3), "padding": (1, 0, 2, 1), "stride": (3, 1), "dilation": (2, 1)},
        {"kernel": (1, 1), "stride": (2, 2)},
        {"kernel": (3, 2), "dilation": (1, 3), "padding": (2, 2, 3, 3), "zero_point": 255},
    ],
)
def test_windows(row: str, semantics: str, geometry: dict[str, object]) -> None:
    program = layer(ROWS[row], 36, 6, size=(7, 9), semantics=semantics, **geometry)
    check(program, inputs(program, "random"), row)


@pytest.mark.parametrize("row", GEMM)
@pytest.mark.parametrize("groups", [2, 3])
def test_groups(row: str, groups: int) -> None:
    program = layer(ROWS[row], 18 * groups, 5, groups=groups, kernel=(3, 3), padding=(1, 1, 1, 1))
    check(program, inputs(program, "random"), row)
    check(
        layer(ROWS[row], 18 * groups, 5, groups=groups),
        inputs(layer(ROWS[row], 18 * groups, 5, groups=groups), "hi"),
        row,
    )


@pytest.mark.parametrize("row", GEMM)
@pytest.mark.parametrize(("outputs", "k"), [(1, 1), (10, 37), (1000, 320)])
def test_vectors(row: str, outputs: int, k: int) -> None:
    program = vector(outputs, k, row=ROWS[row])
    check(program, inputs(program, "random"), row)


@pytest.mark.parametrize("row", SUMMING)
@pytest.mark.parametrize("steps", [1, 2, 3, 5])
def test_runs_of_every_length(row: str, steps: int) -> None:
    program = layer(ROWS[row], 40, 43, kind="small", kernel=(3, 3))
    planned = held(plan(program, rows=[row]), steps)
    compare(planned, inputs(program, "hi"))
    compare(planned, inputs(program, "random"))


@pytest.mark.parametrize("row", SUMMING)
@pytest.mark.parametrize("threads", [2, 3, 5])
def test_threads_change_nothing(row: str, threads: int) -> None:
    for size in ((1, 1), (1, 5), (9, 11)):
        program = layer(ROWS[row], 70, 24, size=size, kernel=(1, 1))
        check(program, inputs(program, "random"), row, threads)


@pytest.mark.parametrize("row", WIDE)
def test_whatever_is_drawn(row: str) -> None:
    @settings(max_examples=40, deadline=None)
    @given(programs_with_inputs(("Conv2d", "Depthwise"), max_channels=40), st.integers(1, 3))
    def run(case: tuple[IntProgram, tuple[np.ndarray, ...]], threads: int) -> None:
        check(*case, row, threads)

    run()


BIAS_ENDS = (2**30, -(2**30), 33000, -33000, 32767, -32768, 32760, 200, 0, 2**24 + 1)


@pytest.mark.parametrize("row", SUMMING)
@pytest.mark.parametrize("semantics", ["float32_half_even", "fixed_point"])
@pytest.mark.parametrize("ratio", [0.999, 1.0])
@pytest.mark.parametrize(("zero", "clamp"), [(5, (2, 250)), (255, (0, 255)), (0, (0, 255)), (1, (0, 1))])
def test_sums_far_outside_the_clamp_leave_its_ends(
    row: str, semantics: Semantics, ratio: float, zero: int, clamp: tuple[int, int]
) -> None:
    """Results are narrowed to 16 and to 8 bits on the way; the zero point is added to what saturated."""
    program = layer(ROWS[row], 70, 8, kernel=(3, 3), padding=(1, 1, 1, 1), semantics=semantics)
    (node,) = program.nodes
    assert isinstance(node.op, ops.Products)
    bias = np.resize(np.array(BIAS_ENDS, np.int32), 70)
    requantize = Requantize.from_scales(np.full(70, ratio, np.float32), semantics)
    spec = replace(program.tensors[node.output], affine=Affine(0.05, zero), range=IntRange(*clamp))
    changed = replace(
        program,
        tensors={**program.tensors, node.output: spec},
        nodes=(replace(node, op=replace(node.op, bias=bias, requantize=requantize)),),
    )
    for kind in ("random", "hi", "lo"):
        check(changed, inputs(changed, kind), row)
