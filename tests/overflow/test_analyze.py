"""Proved ranges against the reference: nothing leaves them, and small cases fill them exactly."""

from __future__ import annotations

import json
import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings

from oaq import operators as ops
from oaq.errors import AccumulatorOverflow, MemoryLimit
from oaq.numerics.accumulator import AVX2_ACC16, AVX2_ACC32, DEPTHWISE_ACC16, NEON_ACC16, Accumulator
from oaq.numerics.affine import Affine
from oaq.numerics.formats import U8
from oaq.numerics.ranges import ChannelRanges, IntRange
from oaq.numerics.requantize import Requantize
from oaq.operators import TensorSpec, rules_of
from oaq.overflow.analyze import _require_s32, analyze
from oaq.overflow.operands import Operands, operands_as_loaded, window_reach
from oaq.overflow.spill import schedule
from oaq.program.int_program import IntProgram
from oaq.reference import packed_operands, run, simulate
from tests.strategies import Builder, conv2d, programs_with_inputs

HALF = Requantize(np.array([0.5], np.float32))


def one(op: ops.Op, shape: tuple[int, ...], reach: IntRange = U8, zero: int = 0) -> IntProgram:
    """A program of one node."""
    builder = Builder()
    x = builder.input(shape, Affine(0.05, zero), reach)
    builder.add(op, [x], Affine(0.05, 10), IntRange(3, 250), name="n")
    return builder.finish()


@given(programs_with_inputs())
@settings(max_examples=150, deadline=None)
def test_no_integer_of_any_program_leaves_its_proved_range(case: tuple[IntProgram, tuple[np.ndarray, ...]]) -> None:
    program, inputs = case
    proof = analyze(program)
    seen = run(program, inputs, accumulators=True)
    for name, tensor in seen.tensors.items():
        values = tensor.reshape(-1, tensor.shape[-1])
        assert (values.min(axis=0) >= proof.ranges[name].lo).all()
        assert (values.max(axis=0) <= proof.ranges[name].hi).all()
    for name, sums in seen.accumulators.items():
        values = sums.reshape(-1, sums.shape[-1])
        assert (values.min(axis=0) >= proof[name].total.lo).all()
        assert (values.max(axis=0) <= proof[name].total.hi).all()


@given(programs_with_inputs(("Conv2d", "Depthwise", "Linear", "Reshape", "Add")))
@settings(max_examples=80, deadline=None)
def test_every_schedule_is_exact_in_the_bit_true_register(case: tuple[IntProgram, tuple[np.ndarray, ...]]) -> None:
    program, inputs = case
    proof, seen = analyze(program), run(program, inputs)
    for node in program.summing_nodes():
        op, sums = node.op, proof[node.name]
        assert isinstance(op, ops.Products)
        depthwise = isinstance(op, ops.Conv2d) and op.is_depthwise()
        groups = op.groups if isinstance(op, ops.Conv2d) and not depthwise else 1
        weight = op.rows
        registers = [DEPTHWISE_ACC16] if depthwise else [AVX2_ACC16, AVX2_ACC32, NEON_ACC16]
        registers.append(Accumulator("saturating", 17, "saturates", step=2))
        zero = program.specs(node)[0].affine.zero_point
        for register in registers:
            plan = schedule(weight, sums.operands.lo, sums.operands.hi, register, 4, groups=groups)
            operands = packed_operands(op, seen.tensors[node.inputs[0]], zero, register.step)
            held = simulate(register, operands, plan.segments, plan.packed, len(weight), tiles_span_groups=depthwise)
            assert held.is_exact
            assert not held.wrong_lanes.any()
            assert not held.total_overflows.any()
            if register.overflow == "saturates":
                assert not held.lane_overflows.any()


def test_operands_lie_in_their_proved_ranges_padding_included() -> None:
    rng = np.random.default_rng(0)
    op = conv2d(rng, (4, 3, 3, 2), padding=(1, 0, 2, 0), stride=(2, 1), dilation=(1, 2), groups=2)
    program = one(op, (5, 6, 4), IntRange(30, 90), zero=40)
    node = program.nodes[0]
    proof = analyze(program)
    x = rng.integers(30, 91, (3, 5, 6, 4)).astype(np.uint8)
    loaded = packed_operands(op, x, 40, 1)
    assert (loaded >= proof["n"].operands.lo[:, None]).all()
    assert (loaded <= proof["n"].operands.hi[:, None]).all()
    assert operands_as_loaded(op, proof.ranges[node.inputs[0]], program.specs(node)[0]).lo.shape == (2, 18)


def test_a_tap_is_padding_only_where_some_window_says_so() -> None:
    op = conv2d(np.random.default_rng(0), (1, 3, 3, 1), padding=(1, 0, 0, 0))
    pads, sees = window_reach(op.window, (5, 5))
    assert pads.tolist() == [[True] * 3, [False] * 3, [False] * 3]
    assert sees.all()
    only = conv2d(np.random.default_rng(0), (1, 3, 1, 1), padding=(1, 1, 0, 0))
    pads, sees = window_reach(only.window, (1, 1))
    assert sees[:, 0].tolist() == [False, True, False]


@pytest.mark.parametrize("semantics", ["float32_half_even", "fixed_point"])
@pytest.mark.parametrize("weight", [-3, 2])
@pytest.mark.parametrize("reach", [IntRange(0, 255), IntRange(20, 101)])
def test_the_range_after_one_weight_is_exactly_what_all_inputs_give(
    semantics: str, weight: int, reach: IntRange
) -> None:
    requantize = Requantize.from_scales(np.array([0.17], np.float32), semantics)  # type: ignore[arg-type]
    op = ops.Linear(np.array([[weight]], np.int8), np.array([57], np.int32), requantize)
    builder = Builder(semantics=semantics)  # type: ignore[arg-type]
    x = builder.input((1,), Affine(0.05, 33), reach)
    builder.add(op, [x], Affine(0.05, 60), IntRange(5, 130), name="n")
    program = builder.finish()
    every = np.arange(reach.lo, reach.hi + 1, dtype=np.uint8)[:, None]
    y = run(program, every).outputs[0]
    assert analyze(program).ranges[program.outputs[0]][0] == IntRange(int(y.min()), int(y.max()))


def test_a_lookup_takes_the_true_image_of_its_range() -> None:
    table = np.zeros(256, np.uint8)
    table[[10, 11, 12, 200]] = 5, 90, 7, 255
    program = one(ops.Lookup(table), (2, 2, 3), IntRange(10, 12), zero=10)
    assert analyze(program).ranges[program.outputs[0]][0] == IntRange(5, 90)


def test_a_relu6_channel_that_never_exceeds_180_has_hi_180() -> None:
    requantize = Requantize(np.full(2, 180 / 255, np.float32))
    op = ops.Linear(np.array([[1], [127]], np.int8), np.zeros(2, np.int32), requantize)
    builder = Builder()
    x = builder.input((1,), Affine(0.05, 0))
    builder.add(op, [x], Affine(0.05, 0), name="n")
    program = builder.finish()
    assert list(analyze(program).ranges[program.outputs[0]]) == [IntRange(0, 180), IntRange(0, 255)]


def test_an_average_that_excludes_padding_is_bounded_for_every_count() -> None:
    requantize = Requantize((np.float32(1) / np.arange(1, 10)).astype(np.float32))
    op = ops.AvgPool((3, 3), (1, 1), requantize, (1, 1, 1, 1), count_include_pad=False)
    program = one(op, (3, 3, 1), IntRange(100, 110), zero=105)
    x = np.stack([np.full((3, 3, 1), value, np.uint8) for value in range(100, 111)])
    y = run(program, x).outputs[0]
    assert analyze(program).ranges[program.outputs[0]][0] == IntRange(int(y.min()), int(y.max()))


def wide(bias: int, weight: int, terms: int) -> IntProgram:
    """A Linear near the end of s32."""
    requantize = Requantize(np.full(2, 1e-6, np.float32))
    op = ops.Linear(np.full((2, terms), weight, np.int8), np.array([0, bias], np.int32), requantize)
    builder = Builder()
    builder.add(op, [builder.input((terms,), Affine(0.05, 0))], name="wide")
    return builder.finish()


def test_a_total_one_beyond_s32_is_refused_and_one_inside_is_proved() -> None:
    reach = 1000 * 127 * 255
    inside = analyze(wide(2**31 - 1 - reach, 127, 1000))
    assert inside["wide"].total[1] == IntRange(2**31 - 1 - reach, 2**31 - 1)
    assert inside["wide"].headroom_bits == 0
    with pytest.raises(AccumulatorOverflow) as error:
        analyze(wide(2**31 - reach, 127, 1000))
    assert str(error.value).startswith(
        "wide, output 1: the 32-bit sum needs 33 bits: a partial sum with bias can reach "
        f"[{2**31 - reach}, 2147483648].\n"
    )
    assert "oaq witness MODEL --at wide:1" in str(error.value)


def test_a_raw_sum_may_leave_s32_before_its_bias_brings_it_back_and_is_refused() -> None:
    with pytest.raises(AccumulatorOverflow, match="a partial sum can reach"):
        analyze(wide(-(2**31), 127, 66400))


def test_a_proof_is_plain_data_for_reports() -> None:
    proof = analyze(wide(5, 3, 10))
    plain = json.loads(json.dumps(proof.to_json()))
    assert plain["tier"] == "proved"
    assert plain["nodes"][0]["total"] == [0, 7655]
    assert plain["nodes"][0]["bits"] == 14
    assert len(plain["assumptions"]) == len(proof.assumptions) > 0


def test_more_channels_than_memory_are_refused_before_any_is_taken() -> None:
    program = one(ops.Reshape((65536 * 20000,)), (65536, 20000, 1))
    tracemalloc.start()
    with pytest.raises(MemoryLimit, match=r"proving 1310720001 channels needs 83886080064 bytes"):
        analyze(program)
    assert tracemalloc.get_traced_memory()[1] < 1 << 20
    tracemalloc.stop()


@pytest.mark.parametrize(
    ("x", "y"),
    [
        ((6,), (2, 3)),
        ((2, 3), (6,)),
        ((5, 6, 4), (3, 40)),
        ((7, 12), (4, 21)),
        ((3, 70000), (70000, 3)),
        ((9,), (9, 1)),
    ],
)
def test_a_reshaped_channel_holds_what_the_channels_it_takes_integers_from_hold(
    x: tuple[int, ...], y: tuple[int, ...]
) -> None:
    rng = np.random.default_rng(sum(x))
    lo = rng.integers(0, 120, x[-1])
    ranges = ChannelRanges(lo, lo + rng.integers(0, 120, x[-1]))
    specs = [TensorSpec(name, shape, Affine(0.05, 0), U8) for name, shape in (("x", x), ("y", y))]
    image = rules_of(ops.Reshape(y)).image(ops.Reshape(y), [ranges], specs[:1], specs[1], "n")
    taken = np.broadcast_to(np.arange(x[-1]), x).reshape(y)
    for channel in range(y[-1]) if y[-1] < 100 else rng.integers(y[-1], size=20):
        sources = taken[..., channel].reshape(-1)
        assert image[int(channel)] == IntRange(int(ranges.lo[sources].min()), int(ranges.hi[sources].max()))


def test_a_tensor_of_gigabytes_is_proved_in_the_memory_of_its_channels() -> None:
    program = one(ops.Reshape((1, 262144000, 1)), (64, 4096, 1000))
    tracemalloc.start()
    analyze(program)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 4 << 20


TOP = 2**31 - 1


def summed(weight: list[int], bias: int, zero: int = 0, reach: IntRange = U8) -> IntProgram:
    op = ops.Linear(np.array([weight], np.int8), np.array([bias], np.int32), HALF)
    return one(op, (len(weight),), reach, zero)


@pytest.mark.parametrize(
    ("weight", "bias", "zero"),
    [([1], TOP - 255, 0), ([-1], -TOP - 1 + 255, 0), ([1], TOP, 255), ([-1], -TOP - 1, 255), ([2, -2], TOP - 510, 3)],
)
def test_sums_that_end_where_32_bits_end_are_proved(weight: list[int], bias: int, zero: int) -> None:
    total = analyze(summed(weight, bias, zero))["n"].total[0]
    assert total.lo >= -TOP - 1
    assert total.hi <= TOP


@pytest.mark.parametrize(
    ("weight", "bias", "zero", "words"),
    [
        ([1], TOP - 254, 0, r"needs 33 bits: a partial sum with bias can reach \[2147483393, 2147483648\]"),
        ([-1], -TOP + 253, 0, r"needs 33 bits: a partial sum with bias can reach \[-2147483649, -2147483394\]"),
        ([2, -2], TOP - 509, 3, r"needs 33 bits: a partial sum with bias"),
        ([-1], TOP, 1, r"needs 33 bits: its bias folded with the zero point can reach \[2147483648, 2147483648\]"),
        ([1], -TOP - 1, 1, r"needs 33 bits: its bias folded with the zero point can reach \[-2147483649, "),
        ([-100], TOP, 255, r"its bias folded with the zero point can reach \[2147509147, 2147509147\]"),
    ],
)
def test_sums_one_step_beyond_32_bits_are_refused_by_what_leaves_them(
    weight: list[int], bias: int, zero: int, words: str
) -> None:
    with pytest.raises(AccumulatorOverflow, match=words):
        analyze(summed(weight, bias, zero))


def test_a_refusal_counts_the_bits_of_the_farther_end() -> None:
    node = summed([1], 0).nodes[0]
    for low, high, bits in ((-5, 2**31, 33), (-(2**33), 4, 34), (-(2**31) - 1, 2**34, 36), (2**40, 2**40, 42)):
        with pytest.raises(AccumulatorOverflow, match=f"n, output 1: the 32-bit sum needs {bits} bits: a sum can"):
            _require_s32(node, "a sum", np.array([0, low]), np.array([0, high]))
    _require_s32(node, "a sum", np.array([-(2**31), 0]), np.array([0, 2**31 - 1]))


def test_operands_contain_zero_only_if_every_tap_does() -> None:
    for lo, hi, contains in (
        ([0, -3], [0, 5], True),
        ([0, 1], [5, 5], False),
        ([-1, -1], [0, -1], False),
        ([1, -2], [3, -1], False),
    ):
        assert Operands(np.array([lo]), np.array([hi])).contain_zero() == contains
