"""Every operator of the table: its sample cases through law, image, file, checker, plan and session, of any rank."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from itertools import product
from pathlib import Path

import numpy as np
import pytest

from oaq import operators as ops
from oaq.checker.onnx_rules import is_float_defined
from oaq.errors import NoKernel, ProgramError, UnsupportedOp
from oaq.export.onnx_qdq import build as export
from oaq.kernels.plan import plan
from oaq.numerics.affine import Affine
from oaq.numerics.ranges import IntRange
from oaq.numerics.requantize import SEMANTICS, Requantize, Semantics
from oaq.operators.add import one_shift
from oaq.operators.operator import AnyRules, Case
from oaq.operators.products import sample, sample_weight
from oaq.overflow.analyze import analyze
from oaq.overflow.witness import witness
from oaq.program.files import load, save
from oaq.program.int_program import IntProgram
from oaq.program.plain import fingerprint, to_plain
from oaq.reference import packed_operands, run
from oaq.runtime import Session
from tests.simulated_machine import simulated_machine
from tests.strategies import INPUT_KINDS, Builder, random_input

CASES = [
    pytest.param(rules, case, semantics, id=f"{name}-{index}-{semantics}")
    for name, rules in ops.OPERATORS.items()
    for semantics in SEMANTICS
    for index, case in enumerate(rules.cases(semantics))
]
every_case = pytest.mark.parametrize(("rules", "case", "semantics"), CASES)


def program_of(case: Case, semantics: Semantics) -> IntProgram:
    builder = Builder("case", semantics)
    names = [builder.input(shape, Affine(0.05, zero)) for shape, zero in zip(case.shapes, (100, 7, 255), strict=False)]
    builder.add(case.op, names, Affine(0.05, 90), name="node")
    return builder.finish()


def inputs_of(program: IntProgram) -> list[list[np.ndarray]]:
    rng = np.random.default_rng(3)
    specs = [program.tensors[name] for name in program.inputs]
    return [[random_input(rng, (2, *spec.shape), spec.range, kind) for spec in specs] for kind in INPUT_KINDS]


@every_case
def test_law_stays_in_the_image_and_files_hold_the_operator(
    rules: AnyRules, case: Case, semantics: Semantics, tmp_path: Path
) -> None:
    program = program_of(case, semantics)
    y = program.tensors[program.outputs[0]]
    assert y.shape == ops.output_shape(case.op, case.shapes)
    ranges = analyze(program).ranges[y.name]
    for x in inputs_of(program):
        result = run(program, x).outputs[0]
        assert np.all((result >= ranges.lo) & (result <= ranges.hi))
    save(program, tmp_path / "case.oaq")
    assert fingerprint(load(tmp_path / "case.oaq")) == fingerprint(program)


@every_case
def test_sessions_compute_the_law_or_name_why_no_row_does(rules: AnyRules, case: Case, semantics: Semantics) -> None:
    program = program_of(case, semantics)
    reason = rules.no_native(case.op, case.shapes)
    with simulated_machine():
        if reason:
            with pytest.raises(NoKernel, match="axes; native rows"):
                plan(program)
            return
        session = Session(plan(program))  # the checker derives the certificate again
        for x in inputs_of(program):
            np.testing.assert_array_equal(session.run_integers(x)[0], run(program, x).outputs[0])


@every_case
def test_exports_say_each_case_in_onnx_or_name_what_it_cannot_say(
    rules: AnyRules, case: Case, semantics: Semantics
) -> None:
    numbers = getattr(case.op, "requantize", None)
    if numbers is not None and semantics == "fixed_point":
        with pytest.raises(UnsupportedOp, match="node: requantizes by fixed_point; ONNX knows float scales only"):
            export(program_of(case, semantics))
        return
    if numbers is not None:  # ONNX has scales only: multipliers are such that scales stand for them
        scales, ratios = np.full(len(case.shapes), 0.05, np.float32), np.full(len(numbers), 2.0**-8, np.float32)
        if rules.ratios is not None:
            ratios = rules.ratios(case.op, scales, np.float32(0.05), case.shapes)
        fitted = rules.fit(Requantize.from_scales(ratios, semantics))
        case = Case(replace(case.op, requantize=fitted), case.shapes)  # type: ignore[call-arg]
    if isinstance(case.op, ops.Coarsen):
        with pytest.raises(UnsupportedOp, match="node: Coarsen takes exact statistics of more than 64 bits"):
            export(program_of(case, semantics))
        return
    assert export(program_of(case, semantics)).graph.node


@every_case
def test_the_checker_has_the_same_operators_rounded_in_float(rules: AnyRules, case: Case, semantics: Semantics) -> None:
    header, _ = to_plain(program_of(case, semantics))
    assert is_float_defined(header["nodes"][0]) == rules.float_defined(case.op)


def brute_force(op: ops.Conv2d, x: np.ndarray, zero: int) -> np.ndarray:
    """Sums of one sample, index by index."""
    window, size = op.window, x.shape[:-1]
    counts = window.counts(size)
    sums = np.zeros((*counts, op.outputs), np.int64)
    for place in product(*map(range, counts)):
        for output in range(op.outputs):
            group = output // (op.outputs // op.groups)
            total = int(op.bias[output])
            for tap in product(*map(range, op.kernel)):
                at = [
                    p * s + t * d - before
                    for p, s, t, d, before in zip(place, op.stride, tap, op.dilation, op.padding[::2], strict=True)
                ]
                if all(0 <= index < length for index, length in zip(at, size, strict=True)):
                    channels = slice(group * op.group_channels, (group + 1) * op.group_channels)
                    operands = x[(*at, channels)].astype(np.int64) - zero
                    total += int(op.weight[(output, *tap)].astype(np.int64) @ operands)
            sums[(*place, output)] = total
    return sums


@pytest.mark.parametrize("index", range(len(ops.OPERATORS["Conv2d"].cases("float32_half_even"))))
def test_convolutions_of_every_rank_equal_sums_taken_index_by_index(index: int) -> None:
    case = ops.OPERATORS["Conv2d"].cases("float32_half_even")[index]
    program = program_of(case, "float32_half_even")
    x = random_input(np.random.default_rng(0), (1, *case.shapes[0]), program.tensors["t0"].range)
    assert isinstance(case.op, ops.Conv2d)
    sums = run(program, x, accumulators=True).accumulators["node"][0]
    np.testing.assert_array_equal(sums, brute_force(case.op, x[0], 100))
    operands = packed_operands(case.op, x, 100, 1).astype(np.int64)
    rows = case.op.rows.reshape(case.op.groups, -1, case.op.terms).astype(np.int64)
    raw = np.einsum("gmk,gnk->mgn", operands, rows).reshape(*sums.shape)
    np.testing.assert_array_equal(raw + analyze(program)["node"].folded_bias, sums)


@pytest.mark.parametrize("name", ["Conv2d", "Linear"])
def test_witnesses_reach_the_bounds_of_sums_of_every_rank(name: str) -> None:
    for case in ops.OPERATORS[name].cases("float32_half_even"):
        program = program_of(case, "float32_half_even")
        proof = analyze(program)
        found = witness(program, proof, "node", 0, "hi")
        accumulators = run(program, found.tensor[None], accumulators=True).accumulators["node"][0]
        position = found.position[: accumulators.ndim - 1]
        assert int(accumulators[(*position, 0)]) == found.tensor_sum + int(proof["node"].folded_bias[0])


def test_a_line_and_an_image_of_one_row_are_one_convolution() -> None:
    weight = sample_weight((4, 3, 5))
    bias, requantize = sample(weight, "float32_half_even")
    line = ops.Conv2d(weight, bias, requantize, (2,), (1, 1), (2,))
    image = ops.Conv2d(weight[:, None], bias, requantize, (1, 2), (0, 0, 1, 1), (1, 2))
    x = np.random.default_rng(1).integers(0, 256, (3, 11, 5)).astype(np.uint8)
    results = [
        run(program_of(Case(op, (shape,)), "float32_half_even"), x.reshape(3, *shape)).outputs[0].reshape(3, -1)
        for op, shape in ((line, (11, 5)), (image, (1, 11, 5)))
    ]
    np.testing.assert_array_equal(*results)


def test_tokens_are_rows_of_one_matrix() -> None:
    weight = sample_weight((6, 8))
    op = ops.Linear(weight, *sample(weight, "float32_half_even"))
    x = np.random.default_rng(1).integers(0, 256, (2, 5, 8)).astype(np.uint8)
    tokens = run(program_of(Case(op, ((5, 8),)), "float32_half_even"), x).outputs[0]
    vectors = run(program_of(Case(op, ((8,),)), "float32_half_even"), x.reshape(10, 8)).outputs[0]
    np.testing.assert_array_equal(tokens.reshape(10, 6), vectors)


def test_multipliers_of_two_shifts_take_the_smaller_one_for_both() -> None:
    """And lose the last bits of the smaller factor, rounded, but never all of it."""
    factors = Requantize(np.array([1 << 30, 3, 1], np.int32), np.array([31, 32, 60], np.int32))
    shared = one_shift(factors)
    assert shared.shift is not None
    assert shared.shift.tolist() == [31, 31, 31]
    assert shared.multiplier.tolist() == [1 << 30, 2, 1]


@pytest.mark.parametrize(
    ("build", "words"),
    [
        (lambda: ops.Pad(()), "Pad"),
        (lambda: ops.Pad((1, 2, 3)), "Pad"),
        (lambda: ops.Pad((0, 0, 0, 0, 0, 0, 0, 0)), "Pad"),
        (lambda: ops.Pad((0, -1, 0, 0)), "Pad"),
        (lambda: ops.Pad((0, 0, 0, ops.LARGEST_WINDOW + 1)), "Pad"),
        (lambda: ops.Resize(0, 1), "Resize"),
        (lambda: ops.Resize(1, 0), "Resize"),
        (lambda: ops.Resize(1, 1, "cubic"), "Resize"),  # type: ignore[arg-type]
    ],
)
def test_a_value_that_is_none_is_refused_for_each_reason_alone(build: Callable[[], ops.Op], words: str) -> None:
    with pytest.raises(ProgramError, match=words):
        build()


def test_the_largest_and_the_empty_padding_are_values() -> None:
    assert ops.Pad((0, ops.LARGEST_WINDOW)).padding == (0, ops.LARGEST_WINDOW)
    assert ops.Pad((0, 0)).padding == (0, 0)


@pytest.mark.parametrize("shapes", [((3, 4), (2, 4)), ((2, 3, 4), (2, 2, 4)), ((2, 3, 4), (3, 4)), ((4,), (1, 4))])
def test_concat_joins_only_what_is_equal_outside_the_channels(shapes: tuple[tuple[int, ...], ...]) -> None:
    op = ops.OPERATORS["Concat"].cases("float32_half_even")[1].op
    with pytest.raises(ProgramError, match="differ outside the channel axis"):
        ops.output_shape(op, shapes)


@pytest.mark.parametrize(("least", "most"), [(9, 20), (10, 21), (9, 21)])
def test_a_table_may_leave_its_outputs_range_at_neither_end(least: int, most: int) -> None:
    table = np.linspace(least, most, 256).astype(np.uint8)
    builder = Builder("table")
    x = builder.input((3,), Affine(0.1, 0))
    builder.add(ops.Lookup(table), [x], Affine(0.1, 10), IntRange(10, 20))
    with pytest.raises(ProgramError, match=r"the table maps .* outside"):
        builder.finish()
