"""Rows that look sums up: what they do besides what every row does (``test_rows``), against the reference."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

import oaq
from oaq import operators as ops
from oaq.errors import OaqError
from oaq.kernels.plan import plan
from oaq.kernels.table import KernelRow
from oaq.numerics.affine import Affine
from oaq.numerics.modular import Modular
from oaq.numerics.ranges import IntRange
from oaq.numerics.requantize import Requantize
from oaq.operators import TensorSpec, output_shape
from oaq.program.int_program import IntProgram, Node
from oaq.runtime import Session
from oaq.runtime.certify import require_safe
from tests.modular import modular_program
from tests.native.machine import ROWS, SUMMING, check, compare, held, layer, vector
from tests.strategies import Builder, conv2d

LOOKUPS = [name for name in SUMMING if ROWS[name].looks_up]
MANY = [name for name in LOOKUPS if ROWS[name].isa == "vbmi" and ROWS[name].x_range.hi < 7]
"""Tables of 64 bytes, of more choices of weights than a cache holds; of two weights in [-18, 18] there are few."""


def operands(program: IntProgram, kind: str = "random") -> tuple[np.ndarray, ...]:
    spec = program.tensors[program.inputs[0]]
    if kind == "hi":
        return (np.full((2, *spec.shape), spec.range.hi, np.uint8),)
    return (np.random.default_rng(5).integers(spec.range.lo, spec.range.hi + 1, (2, *spec.shape)).astype(np.uint8),)


def with_results(program: IntProgram, clamp: IntRange, zero: int) -> IntProgram:
    """The same layer whose results lie in ``clamp``."""
    (name,) = program.outputs
    spec = replace(program.tensors[name], affine=Affine(0.05, zero), range=clamp)
    return replace(program, tensors={**program.tensors, name: spec})


def wrapping_layer(row: KernelRow, bits: int, *, shared: bool = False) -> IntProgram:
    """A convolution whose sums count modulo 2**``bits``, with weights at the row's ends and biases at those of s32."""
    rng, accepted = np.random.default_rng(bits), row.weights(bits)
    weight = rng.choice(np.array([accepted.lo, accepted.hi, 0, 1]), (19, 3, 2, 13)).astype(np.int8)
    bias = rng.choice(np.array([-(2**31), 2**31 - 1, 0, 7], np.int64), 19).astype(np.int32)
    table = rng.integers(0, 256, (1 if shared else 19, 1 << bits)).astype(np.uint8)
    op = ops.Conv2d(weight, bias, Modular(table), padding=(1, 1, 1, 0), stride=(1, 2))
    return modular_program(op, (6, 9, 13), 0, IntRange(0, row.x_range.hi))


@pytest.mark.parametrize("row", LOOKUPS)
@pytest.mark.parametrize("shared", [False, True])
@pytest.mark.parametrize("bits", [2, 7, 8])
def test_sums_that_wrap_in_a_byte_are_never_spilled(row: str, bits: int, shared: bool) -> None:
    program = wrapping_layer(ROWS[row], bits, shared=shared)
    planned = plan(program, rows=[row])
    schedule = planned["layer"].schedule
    assert schedule is not None and schedule.spills == schedule.tiles and schedule.bound.hi > 127
    for threads in (1, 3):
        compare(planned, operands(program), threads)
        compare(planned, operands(program, "hi"), threads)
    require_safe(planned)


@pytest.mark.parametrize("row", LOOKUPS)
def test_sums_that_wrap_in_a_byte_take_any_weights(row: str) -> None:
    assert ROWS[row].weights(8) == IntRange(-128, 127) and ROWS[row].weights(9) == ROWS[row].w_range
    most, shape = ROWS[row].x_range.hi, (7, 61)
    rng = np.random.default_rng(3)
    table = Modular(rng.integers(0, 256, (7, 256)).astype(np.uint8))
    for weight in (np.full(shape, -128, np.int8), np.full(shape, 127, np.int8), rng.integers(-255, 256, shape)):
        op = ops.Linear(weight.astype(np.int8 if abs(weight).max() <= 128 else np.int16), np.zeros(7, np.int32), table)
        program = modular_program(op, (61,), 0, IntRange(0, most))
        planned = plan(program, rows=[row])
        require_safe(planned)
        for kind in ("hi", "random"):
            compare(planned, operands(program, kind))


@pytest.mark.parametrize("row", LOOKUPS)
def test_halves_of_wide_weights_are_runs_of_a_byte_that_goes_on(row: str) -> None:
    """Each half stays in a byte, their sum does not: it wraps, and never saturates."""
    weight = np.array([[255], [-255], [-128], [127], [200]], np.int16)
    table = Modular(np.stack([np.arange(256) * (37 + 2 * output) % 256 for output in range(5)]).astype(np.uint8))
    program = modular_program(ops.Linear(weight, np.zeros(5, np.int32), table), (1,), 0, IntRange(0, 1))
    planned = plan(program, rows=[row])
    for kind in ("hi", "random"):
        compare(planned, operands(program, kind))


def fixed(weights: list[int], x: IntRange) -> IntProgram:
    """A layer of one output, whose sums are its results where they lie within [0, 255]."""
    op = ops.Linear(np.array([weights], np.int8), np.array([128], np.int32), Requantize(np.ones(1, np.float32)))
    y = TensorSpec("y", (1,), Affine(1.0))
    specs = {"x": TensorSpec("x", (len(weights),), Affine(1.0, x.lo), x), "y": y}
    return IntProgram("fixed", ("x",), ("y",), specs, (Node("layer", op, ("x",), "y"),))


@pytest.mark.parametrize("row", LOOKUPS)
@pytest.mark.parametrize("sign", [1, -1])
def test_a_run_that_fills_its_byte_is_exact_to_the_end(row: str, sign: int) -> None:
    """Adding saturates there, where nothing is cut off: one unit more, and the run is spilled before."""
    step, most = ROWS[row].accumulator.step, ROWS[row].x_range.hi  # type: ignore[union-attr]
    fills = 127 if sign > 0 else 128
    full, rest = divmod(fills, most)
    for more in (0, 1):
        weights = [sign] * (full + more)
        weights += [0] * (-len(weights) % step)
        program = fixed(weights, IntRange(0, most))
        planned = plan(program, rows=[row])
        require_safe(planned)
        assert planned["layer"].schedule is not None
        assert planned["layer"].schedule.spills == (1 if most * (full + more) <= fills else 2)
        compare(planned, operands(program, "hi"))
        compare(planned, operands(program))
    assert rest in (0, 1, 2)


@pytest.mark.parametrize("row", LOOKUPS)
def test_a_run_that_leaves_its_byte_and_comes_back_is_exact(row: str) -> None:
    """Sums count where a run ends: a proved one may pass through what no byte holds, and adding has to wrap there."""
    step, most = ROWS[row].accumulator.step, ROWS[row].x_range.hi  # type: ignore[union-attr]
    largest = 127 // (most * step)
    for sign in (1, -1):
        up = [sign * largest] * (4 * step)
        program = fixed([*up, *(-w for w in up)], IntRange(most, most))
        planned = plan(program, rows=[row])
        (node,) = planned.nodes
        assert node.schedule is not None and node.schedule.spills > 1 and largest * most * len(up) > 255
        whole = replace(node.schedule, segments=np.array([[0, 0, 8]], np.int32), bounds=np.zeros((1, 2), np.int64))
        joined = replace(planned, nodes=(replace(node, schedule=whole),))
        require_safe(joined)
        compare(joined, operands(program, "hi"))


@pytest.mark.parametrize("row", LOOKUPS)
@pytest.mark.parametrize("bits", [9, 16])
def test_sums_that_wrap_in_more_than_a_byte_are_spilled_as_others_are(row: str, bits: int) -> None:
    program = wrapping_layer(ROWS[row], bits)
    planned = plan(program, rows=[row])
    schedule = planned["layer"].schedule
    assert schedule is not None and schedule.spills > schedule.tiles and schedule.bound.hi <= 127
    compare(planned, operands(program))


@pytest.mark.parametrize("row", LOOKUPS)
@pytest.mark.parametrize(("clamp", "zero"), [((0, 1), 0), ((0, 3), 1), ((7, 22), 9), ((7, 23), 9), ((255, 255), 255)])
def test_results_of_few_values_are_counted_by_thresholds(row: str, clamp: tuple[int, int], zero: int) -> None:
    """Sixteen values are, seventeen leave by way of s32."""
    for semantics in ("float32_half_even", "fixed_point"):
        drawn = layer(ROWS[row], 21, 30, size=(3, 23), kernel=(3, 3), padding=(1, 1, 1, 1), semantics=semantics)
        program = with_results(drawn, IntRange(*clamp), zero)
        check(program, operands(program), row)
        check(program, operands(program, "hi"), row, threads=3)


@pytest.mark.parametrize("row", LOOKUPS)
@pytest.mark.parametrize("runs", [9, 40, 128, 129, 255, 256, 257, 600])
def test_more_runs_than_sixteen_bits_hold(row: str, runs: int) -> None:
    """All of one sign: 256 runs fill 16 bits, what comes after begins with s32."""
    terms = runs * ROWS[row].accumulator.step  # type: ignore[union-attr]
    for kind in ("positive", "minus-128"):
        program = vector(5, terms, kind, row=ROWS[row])
        planned = held(plan(program, rows=[row]), 1)
        schedule = planned.nodes[0].schedule
        assert schedule is not None and schedule.spills >= 2 * runs
        compare(planned, operands(program, "hi"))
        few = held(plan(with_results(program, IntRange(3, 6), 3), rows=[row]), 1)
        compare(few, operands(program, "hi"))


@pytest.mark.parametrize("row", MANY)
def test_tables_that_no_cache_holds_are_made_for_a_tile_at_a_time(row: str) -> None:
    """Over 8192 choices of weights make more than 512 KiB of tables of 64 bytes."""
    drawn = layer(ROWS[row], 200, 220, size=(1, 70), kernel=(1, 3), padding=(0, 0, 1, 1))
    op = drawn.nodes[0].products
    weight = np.random.default_rng(2).integers(-14, 15, op.weight.shape).astype(np.int8)  # no step is split
    program = replace(drawn, nodes=(replace(drawn.nodes[0], op=replace(op, weight=weight)),))
    for threads in (1, 2):
        check(program, operands(program), row, threads)
    assert Session(plan(program, rows=[row])).choices()[0].operands == "made tables"
    few = layer(ROWS[row], 200, 22, kind="small", size=(1, 70))
    assert Session(plan(few, rows=[row])).choices()[0].operands == "kept tables"


@pytest.mark.parametrize("row", [name for name in LOOKUPS if ROWS[name].isa == "avx2"])
@pytest.mark.parametrize(("outputs", "name"), [(16, "laid tables"), (204, "kept tables")])
def test_short_tables_lie_in_the_order_of_execution_while_they_are_few(row: str, outputs: int, name: str) -> None:
    """Tables of 16 bytes: those of 256 steps and more of 51 tiles are more than 400 KiB."""
    accumulator = ROWS[row].accumulator
    assert accumulator is not None
    channels = 128 * accumulator.step
    program = layer(ROWS[row], outputs, channels, kind="small", size=(2, 21), kernel=(1, 2), padding=(0, 0, 0, 1))
    for threads in (1, 3):
        check(program, operands(program, "hi"), row, threads)
        check(program, operands(program), row, threads)
    assert Session(plan(program, rows=[row])).choices()[0].operands == name


@pytest.mark.parametrize("row", LOOKUPS)
@pytest.mark.parametrize("zero_point", [0, 1])
@pytest.mark.parametrize(("channels", "groups"), [(16, 1), (32, 1), (48, 1), (64, 2), (40, 1)])
def test_operands_of_two_are_joined_in_sixteens_of_channels(
    row: str, zero_point: int, channels: int, groups: int
) -> None:
    """The edges of an image are zero points: index 0, which gathering leaves out, or another."""
    for size in ((5, 32), (9, 11), (1, 3)):
        program = layer(
            ROWS[row],
            5 if groups == 1 else 2 * groups,
            channels // groups,
            kind="small",
            size=size,
            kernel=(3, 3),
            padding=(1, 1, 1, 1),
            zero_point=zero_point,
            groups=groups,
        )
        check(program, operands(program), row)


@pytest.mark.parametrize("row", LOOKUPS)
def test_blocks_of_many_groups_of_positions_end_where_the_image_does(row: str) -> None:
    for outputs, size in ((4, (37, 41)), (70, (3, 201))):
        program = layer(ROWS[row], outputs, 3, kind="small", size=size, kernel=(3, 3), padding=(1, 1, 1, 1))
        for threads in (1, 2):
            check(program, operands(program), row, threads)


@pytest.mark.parametrize("row", LOOKUPS)
@pytest.mark.parametrize(
    ("size", "kernel", "padding"),
    [
        ((130, 120), (3, 3), (1, 1, 1, 1)),  # several bands
        ((2, 700), (3, 3), (40, 40, 1, 1)),  # bands in front of all pixels and behind them
        ((7, 33), (1, 3), (0, 0, 1, 1)),
        ((7, 33), (3, 1), (2, 0, 0, 0)),
        ((9, 12), (5, 5), (2, 2, 2, 2)),
        ((1, 1), (3, 3), (1, 1, 1, 1)),
    ],
)
def test_under_the_column_that_sees_what_lies_there_sheets_are_streams(
    row: str, size: tuple[int, int], kernel: tuple[int, int], padding: tuple[int, int, int, int]
) -> None:
    accumulator = ROWS[row].accumulator
    assert accumulator is not None
    program = layer(
        ROWS[row], 5, 8 * accumulator.step, kind="small", size=size, kernel=kernel, padding=padding, zero_point=0
    )
    for threads in (1, 4):
        check(program, operands(program), row, threads)


@pytest.mark.parametrize("row", LOOKUPS)
def test_windows_of_every_shape(row: str) -> None:
    rng = np.random.default_rng(11)
    for _ in range(24):
        kernel, stride, dilation = (tuple(int(n) for n in rng.integers(1, top, 2)) for top in (5, 5, 4))
        padding = tuple(int(rng.integers(0, (kernel[axis // 2] - 1) * dilation[axis // 2] + 2)) for axis in range(4))
        size = tuple(int(rng.integers((kernel[axis] - 1) * dilation[axis] + 1, 90)) for axis in range(2))
        program = layer(
            ROWS[row],
            int(rng.integers(1, 20)),
            int(rng.integers(1, 20)),
            kind="small",
            size=(min(size[0], 12 + (kernel[0] - 1) * dilation[0]), size[1]),
            kernel=kernel,
            stride=stride,
            dilation=dilation,
            padding=padding,
            zero_point=int(rng.integers(0, 4)),
        )
        check(program, operands(program), row, threads=int(rng.integers(1, 4)))


@pytest.mark.parametrize("row", LOOKUPS)
@pytest.mark.parametrize("padding", [(0, 0, 0, 0), (1, 0, 2, 0), (0, 0, ops.LARGEST_WINDOW, ops.LARGEST_WINDOW)])
def test_the_largest_stride_passes_over_all_columns_but_one(row: str, padding: tuple[int, int, int, int]) -> None:
    stride = (ops.LARGEST_WINDOW, ops.LARGEST_WINDOW)
    program = layer(ROWS[row], 5, 4, size=(3, 4), kernel=(2, 3), padding=padding, stride=stride)
    check(program, operands(program), row)


@pytest.mark.parametrize("row", LOOKUPS)
def test_the_checker_refuses_a_run_that_is_too_long(row: str) -> None:
    program = layer(ROWS[row], 8, 600, kind="small")
    planned = plan(program, rows=[row])
    require_safe(planned)
    (node,) = planned.nodes
    assert node.schedule is not None
    segments = node.schedule.segments.copy()
    segments[0, 2] += segments[1, 2]
    joined = replace(
        node.schedule,
        segments=np.delete(segments, 1, axis=0),
        bounds=np.concatenate([node.schedule.bounds[:1] + node.schedule.bounds[1:2], node.schedule.bounds[2:]]),
    )
    with pytest.raises(OaqError, match="8-bit lane"):
        require_safe(replace(planned, nodes=(replace(node, schedule=joined),)))


@pytest.mark.parametrize("row", LOOKUPS)
def test_layers_of_more_bits_are_refused_in_words(row: str) -> None:
    most = ROWS[row].x_range.hi
    op = ops.Linear(np.ones((3, 9), np.int8), np.zeros(3, np.int32), Modular(np.zeros((1, 256), np.uint8)))
    wider = IntRange(0, most + 1)
    specs = {
        "x": TensorSpec("x", (9,), Affine(1.0), wider),
        "y": TensorSpec("y", output_shape(op, [(9,)]), Affine(1.0)),
    }
    program = IntProgram("wider", ("x",), ("y",), specs, (Node("layer", op, ("x",), "y"),))
    with pytest.raises(OaqError, match=rf"takes operands \[0, {most}\] and weights"):
        plan(program, rows=[row])
    assert not any("lookup8" in refusal.row for refusal in plan(program)["layer"].refused)


@pytest.mark.parametrize("row", LOOKUPS)
def test_verify_forces_a_row_where_it_fits_and_misses_it_nowhere_else(row: str) -> None:
    """A network of few bits begins with a layer of eight: the others are the row's, and the report is complete."""
    rng, few = np.random.default_rng(7), IntRange(0, ROWS[row].x_range.hi)
    builder = Builder("network")
    x = builder.input((6, 5, 3), Affine(0.05, 128))
    x = builder.add(conv2d(rng, (12, 3, 3, 3)), [x], Affine(0.5, 0), few, name="stem")
    builder.add(conv2d(rng, (8, 1, 1, 12), kind="small"), [x], Affine(0.5, 0), name="narrow")
    report = oaq.verify(builder.finish(), onnx=False)
    report.raise_if_unsafe()
    (executor,) = (one for one in report.executors if one.name == f"row {row}")
    assert executor.ran and executor.compared > 0
    assert not [one for one in report.not_run if "lookup8" in one.name and ROWS[one.name[4:]].x_range.contains(few)]


@pytest.mark.skipif(not LOOKUPS, reason="NOT RUN: no such row here")
def test_a_network_of_eight_bits_needs_no_such_row() -> None:
    report = oaq.verify(vector(5, 7), onnx=False)
    assert {f"row {name}" for name in LOOKUPS} <= {one.name for one in report.executors if one.unneeded}
    assert "operands of so few bits" in report.table()
