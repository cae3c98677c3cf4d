"""Witnesses reach the bounds they are asked for, in the reference and in the bit-true register."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings

from oaq import operators as ops
from oaq.errors import ProgramError
from oaq.numerics.accumulator import AVX2_ACC16, DEPTHWISE_ACC16, pure
from oaq.numerics.affine import Affine
from oaq.numerics.ranges import IntRange
from oaq.overflow.analyze import analyze
from oaq.overflow.spill import schedule
from oaq.overflow.witness import witness
from oaq.program.int_program import IntProgram
from oaq.reference import compute, lanes, packed_operands, simulate
from tests.strategies import Builder, conv2d, linear, programs_with_inputs


@given(programs_with_inputs(("Conv2d", "Depthwise", "Linear"), max_nodes=2))
@settings(max_examples=60, deadline=None)
def test_total_witnesses_are_inputs_of_the_node_that_reach_what_they_say(
    case: tuple[IntProgram, tuple[np.ndarray, ...]],
) -> None:
    program, _ = case
    proof = analyze(program)
    for node in program.summing_nodes():
        sums, spec = proof[node.name], program.specs(node)[0]
        for output in range(min(3, len(sums.total))):
            for end in ("lo", "hi"):
                found = witness(program, proof, node.name, output, end)  # type: ignore[arg-type]
                assert found.bound == getattr(sums.raw[output], end)
                ranges = proof.ranges[node.inputs[0]]
                values = found.tensor.reshape(-1, spec.channels)
                assert (values >= ranges.lo).all()
                assert (values <= ranges.hi).all()
                _, acc = compute(node, [found.tensor[None]], [spec], program.tensors[node.output])
                assert acc is not None
                at = acc[(0, *(found.position if acc.ndim == 4 else ()), output)]
                assert int(at) == found.tensor_sum + int(sums.folded_bias[output])
                zero = spec.affine.zero_point
                if (ranges.lo <= zero).all() and (zero <= ranges.hi).all() and sees_all(node.op, spec.shape):
                    assert found.tensor_sum == found.bound


def sees_all(op: ops.Op, shape: tuple[int, ...]) -> bool:
    """Some output position reads no padding."""
    if not isinstance(op, ops.Conv2d):
        return True
    for axis in (0, 1):
        reach = (op.kernel[axis] - 1) * op.dilation[axis]
        starts = range(-op.padding[2 * axis], shape[axis] + op.padding[2 * axis + 1] - reach, op.stride[axis])
        if not any(start >= 0 and start + reach < shape[axis] for start in starts):
            return False
    return True


@pytest.mark.parametrize("depthwise", [False, True])
@pytest.mark.parametrize("end", ["lo", "hi"])
def test_segment_witnesses_reach_the_segments_bound_in_its_lane(depthwise: bool, end: str) -> None:
    rng = np.random.default_rng(1)
    shape, groups = ((6, 3, 3, 1), 6) if depthwise else ((6, 3, 3, 4), 1)
    op = conv2d(rng, shape, padding=(1, 1, 1, 1), groups=groups)
    builder = Builder()
    builder.add(op, [builder.input((5, 5, 6 if depthwise else 4), Affine(0.05, 7))], name="n")
    program = builder.finish()
    proof = analyze(program)
    register = DEPTHWISE_ACC16 if depthwise else AVX2_ACC16
    x = proof["n"].operands
    plan = schedule(op.weight.reshape(6, -1), x.lo, x.hi, register, 4)
    for segment, (tile, start, count) in enumerate(plan.segments.tolist()):
        reached = []
        for output in range(tile * 4, min(6, tile * 4 + 4)):
            for lane in range(register.lanes):
                found = witness(program, proof, "n", output, end, schedule=plan, segment=segment, lane=lane)  # type: ignore[arg-type]
                assert found.tensor_sum == found.bound
                reached.append(found.tensor_sum)
                if plan.splits == 0:
                    sums = lanes(op, found.tensor[None], 7, register, (start, count))
                    row = found.position[0] * 5 + found.position[1]
                    assert sums[row, output, lane] == found.bound
        wanted = plan.bounds[segment, 0 if end == "lo" else 1]
        assert (min if end == "lo" else max)([0, *reached]) == (min if end == "lo" else max)(0, wanted)


def test_one_bit_less_than_the_bound_needs_overflows_on_the_witness() -> None:
    op = linear(np.random.default_rng(2), (3, 40))
    builder = Builder()
    builder.add(op, [builder.input((40,))], name="n")
    program = builder.finish()
    proof = analyze(program)
    for output in range(3):
        bits = proof["n"].raw[output].signed_bits
        ends = [witness(program, proof, "n", output, end).tensor for end in ("lo", "hi")]  # type: ignore[arg-type]
        operands = packed_operands(op, np.stack(ends), 0, 1)
        whole = np.array([[0, 0, 40]])
        packed = op.weight[output : output + 1].T[:, :, None]
        assert simulate(pure(bits), operands, whole, packed, 1).is_exact
        assert not simulate(pure(bits - 1), operands, whole, packed, 1).is_exact


def test_padding_that_no_position_can_combine_is_said_not_hidden() -> None:
    # Channel never below 50, zero point 40: the low end of the hull needs every tap to be padding at once.
    op = ops.Conv2d(
        np.ones((1, 3, 3, 1), np.int8), np.zeros(1, np.int32), linear(np.random.default_rng(0), (1, 9)).requantize,
        padding=(1, 1, 1, 1),
    )  # fmt: skip
    builder = Builder()
    x = builder.input((4, 4, 1), Affine(0.05, 40), IntRange(40, 90))
    lifted = np.clip(np.arange(256), 50, 90).astype(np.uint8)
    middle = builder.add(ops.Lookup(lifted), [x], Affine(0.05, 40), IntRange(40, 90))
    builder.add(op, [middle], name="n")
    program = builder.finish()
    found = witness(program, analyze(program), "n", 0, "lo")
    # Every tap but the middle one reads padding somewhere; a corner reads it with five.
    assert found.bound == 8 * 40 + 50
    assert found.tensor_sum == 5 * 40 + 4 * 50


def test_a_witness_of_nothing_is_refused_by_name() -> None:
    builder = Builder()
    builder.add(linear(np.random.default_rng(2), (3, 4)), [builder.input((4,))], name="n")
    program = builder.finish()
    proof = analyze(program)
    with pytest.raises(ProgramError, match="no Conv2d or Linear called 'm'; it has n"):
        witness(program, proof, "m", 0)
    with pytest.raises(ProgramError, match="outputs 0 to 2, not 3"):
        witness(program, proof, "n", 3)


@pytest.mark.parametrize("end", ["lo", "hi"])
@pytest.mark.parametrize("shift", [0, 128])
def test_a_segment_or_lane_that_is_not_given_is_the_one_that_comes_nearest(end: str, shift: int) -> None:
    rng = np.random.default_rng(5)
    op = linear(rng, (6, 90))
    builder = Builder()
    builder.add(op, [builder.input((90,), Affine(0.05, 7), IntRange(3, 240))], name="n")
    program = builder.finish()
    proof = analyze(program)
    x = proof["n"].operands
    plan = schedule(op.rows, x.lo - shift, x.hi - shift, AVX2_ACC16, 4)
    plan = replace(plan, operand=(shift, -shift, 255 - shift)) if shift else plan
    for output in range(6):
        own = [row for row, tile in enumerate(plan.segments[:, 0].tolist()) if tile == output // 4]
        assert len(own) > 1
        bounds = {
            (row, lane): witness(program, proof, "n", output, end, schedule=plan, segment=row, lane=lane).bound  # type: ignore[arg-type]
            for row in own
            for lane in range(AVX2_ACC16.lanes)
        }
        extreme = max if end == "hi" else min
        chosen = witness(program, proof, "n", output, end, schedule=plan)  # type: ignore[arg-type]
        assert chosen.bound == extreme(bounds.values())
        assert bounds[chosen.segment, chosen.lane] == chosen.bound  # type: ignore[index]
        for lane in range(AVX2_ACC16.lanes):
            held = witness(program, proof, "n", output, end, schedule=plan, lane=lane)  # type: ignore[arg-type]
            assert held.bound == extreme(bound for (_, at), bound in bounds.items() if at == lane)
            assert held.lane == lane


def test_segments_and_lanes_that_there_are_not_are_refused() -> None:
    op = linear(np.random.default_rng(5), (6, 90))
    builder = Builder()
    builder.add(op, [builder.input((90,))], name="n")
    program = builder.finish()
    proof = analyze(program)
    x = proof["n"].operands
    plan = schedule(op.rows, x.lo, x.hi, AVX2_ACC16, 4)
    last = len(plan.segments) - 1
    assert witness(program, proof, "n", 5, "hi", schedule=plan, segment=last, lane=1).segment == last
    for segment, lane, words in (
        (last, 0, "not"),
        (-1, 0, "not -1"),
        (0, 2, "has 2 lanes, not lane 2"),
        (0, -1, "2 la"),
    ):
        with pytest.raises(ProgramError, match=words):
            witness(program, proof, "n", 0, "hi", schedule=plan, segment=segment, lane=lane)
    for output in (-1, 6):
        with pytest.raises(ProgramError, match=f"outputs 0 to 5, not {output}"):
            witness(program, proof, "n", output, "hi")
    with pytest.raises(ProgramError, match="no Conv2d or Linear called 'm'; it has n"):
        witness(program, proof, "m", 0, "hi")
