"""Sums seen on data: counted one by one, compared with a count by loops."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from oaq import operators as ops
from oaq import reference
from oaq.doctor.diagnose import diagnose
from oaq.doctor.observed import Observer, true_sums, watches
from oaq.doctor.registers import registers_named
from oaq.doctor.sums import laid_out
from oaq.errors import ProgramError
from oaq.numerics.affine import Affine
from oaq.numerics.formats import U8
from oaq.program.int_program import IntProgram
from tests.strategies import Builder, conv2d, linear, programs_with_inputs, random_input

NAMES = ("avx2-acc32", "avx2-fbgemm", "avx2-acc16", "neon-acc16", "wasm-relaxed-i7", "14 bits", "12 bits")


def one_layer(op: ops.Products, shape: tuple[int, ...], zero: int = 0) -> IntProgram:
    builder = Builder()
    builder.add(op, [builder.input(shape, Affine(0.05, zero))], Affine(0.1, 128), U8, "layer")
    return builder.finish(input_layout="NCHW")


@given(programs_with_inputs(("Conv2d", "Depthwise", "Linear"), max_nodes=1), st.sampled_from(NAMES))
@settings(max_examples=60)
def test_every_watched_sum_is_the_one_the_loops_give(
    case: tuple[IntProgram, tuple[np.ndarray, ...]], name: str
) -> None:
    program, inputs = case
    (node,) = program.summing_nodes()
    op, spec = node.op, program.specs(node)[0]
    assert isinstance(op, ops.Products)
    (model,) = registers_named((name,))
    x = inputs[0][:1]
    operands = reference.packed_operands(op, x, spec.affine.zero_point, 1).astype(np.int64) - model.shift
    weight = op.weight.reshape(len(op.weight), -1).astype(np.int64)
    for watch in watches(laid_out(op, spec, model)):
        seen = set()
        for which, low, high in true_sums(watch, op, x, spec.affine.zero_point):
            np.testing.assert_array_equal(low, high)
            for row, index in zip(low, which.tolist(), strict=True):
                output = int(watch.outputs[index])
                k = watch.k(watch.cell[index])
                k = k[k >= 0]
                group = output // (len(weight) // len(operands))
                assert row.tolist() == [int(weight[output, k] @ position[k]) for position in operands[group]]
                seen.add(index)
        assert seen == set(range(len(watch.outputs)))


def test_overflows_are_counted_by_output_and_by_sample() -> None:
    weight = np.array([[127, 127, 0, 0], [127, 0, 127, 0], [-127, -127, 1, 1]], np.int8)
    program = one_layer(
        ops.Linear(weight, np.zeros(3, np.int32), linear(np.random.default_rng(0), (3, 4)).requantize), (4,)
    )
    x = np.array([[255, 255, 255, 255], [129, 129, 0, 0], [130, 129, 0, 0], [0, 0, 0, 0]], np.uint8)
    found = diagnose(program, ("avx2-acc32",), [x[:3], x[3:]])
    seen = found["layer"].verdicts["avx2-acc32"].seen
    assert seen is not None
    assert found.samples == 4
    assert seen.overflows.tolist() == [2, 0, 2]  # 129 + 129 = 258 fits: 258 * 127 = 32766
    assert seen.by_sample.tolist() == [2, 0, 2, 0]
    assert seen.watched == 2 * 4  # the pair of the second output holds one product: proved, so not watched
    assert (int(seen.lo[2]), int(seen.hi[0]), int(seen.hi[1])) == (-127 * 510, 127 * 510, 0)
    assert seen.worst == (0, 0)


def test_how_near_the_data_came_is_kept_where_nothing_overflowed() -> None:
    program = one_layer(conv2d(np.random.default_rng(0), (4, 3, 3, 8), kind="extreme"), (6, 6, 8))
    found = diagnose(program, ("avx2-acc32",), [np.full((1, 6, 6, 8), 100, np.uint8)])
    seen = found["layer"].verdicts["avx2-acc32"].seen
    assert seen is not None
    assert not seen.overflows.any()
    assert (seen.reached.lo, seen.reached.hi) == (-25400, 25400)
    assert seen.worst is not None


@pytest.mark.parametrize("limit", ["AT_ONCE", "NARROW"])
def test_how_sums_are_taken_together_changes_no_count(limit: str, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    program = one_layer(conv2d(rng, (6, 3, 3, 4), groups=2, padding=(1, 1, 1, 1)), (5, 5, 8), 7)
    x = random_input(rng, (2, 5, 5, 8), U8)
    before = diagnose(program, NAMES, [x]).to_json()
    monkeypatch.setattr(f"oaq.doctor.observed.{limit}", 1 if limit == "NARROW" else 40)
    assert diagnose(program, NAMES, [x]).to_json() == before


def test_a_register_that_two_orders_share_is_watched_once() -> None:
    op = conv2d(np.random.default_rng(0), (1, 3, 3, 3), kind="positive")
    program = one_layer(op, (3, 3, 3))
    (model,) = registers_named(("avx2-acc32",))
    found = watches(laid_out(op, program.tensors[program.inputs[0]], model))
    pairs = [tuple(sorted(watch.k(cell).tolist())) for watch in found for cell in watch.cell]
    assert len(pairs) == len(set(pairs))
    assert {(0, 1), (3, 4), (2, 3)} <= set(pairs)


def test_data_that_do_not_fit_are_refused() -> None:
    program = one_layer(linear(np.random.default_rng(0), (2, 4)), (4,))
    with pytest.raises(ProgramError, match="takes uint8"):
        Observer(program, registers_named(("avx2-acc32",))).run([np.zeros((1, 5), np.uint8)])
