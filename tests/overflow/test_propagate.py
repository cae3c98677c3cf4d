"""Every operator's range is exactly the image of its inputs' ranges, found by trying all of them."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest

from oaq import operators as ops
from oaq.errors import AccumulatorOverflow
from oaq.numerics.affine import Affine
from oaq.numerics.ranges import IntRange
from oaq.numerics.requantize import SEMANTICS, Requantize, Semantics
from oaq.overflow.analyze import analyze
from oaq.program.int_program import IntProgram
from oaq.reference import run
from tests.strategies import Builder, conv2d

A, B = IntRange(20, 27), IntRange(90, 99)


def factors(semantics: Semantics, *ratios: float) -> Requantize:
    """Multipliers that share one shift, as Add wants them."""
    if semantics == "float32_half_even":
        return Requantize(np.array(ratios, np.float32))
    return Requantize(np.array([round(r * 2**24) for r in ratios], np.int32), np.full(len(ratios), 24, np.int32))


def two(op: ops.Op, semantics: Semantics) -> IntProgram:
    """``op`` of two single integers whose zero points lie inside, at the end and above the middle."""
    builder = Builder(semantics=semantics)
    a = builder.input((1,), Affine(0.05, 23), A)
    b = builder.input((1,), Affine(0.03, 90), B)
    builder.add(op, [a, b], Affine(0.05, 40), IntRange(30, 60))
    return builder.finish()


@pytest.mark.parametrize("semantics", SEMANTICS)
@pytest.mark.parametrize("kind", ["Add", "Mul", "Concat"])
def test_two_inputs_give_exactly_the_proved_range(semantics: Semantics, kind: str) -> None:
    op = {
        "Add": ops.Add(factors(semantics, 0.7, 1.9)),
        "Mul": ops.Mul(factors(semantics, 0.45)),
        "Concat": ops.Concat(factors(semantics, 1.3, 0.6)),
    }[kind]
    program = two(op, semantics)
    pairs = np.array(list(product(range(A.lo, A.hi + 1), range(B.lo, B.hi + 1))), np.uint8)
    y = run(program, [pairs[:, :1], pairs[:, 1:]]).outputs[0]
    proved = analyze(program).ranges[program.outputs[0]]
    assert proved.lo.tolist() == y.min(axis=0).tolist()
    assert proved.hi.tolist() == y.max(axis=0).tolist()


MOVES = {
    "MaxPool": ops.MaxPool((2, 2), (1, 1), (1, 0, 0, 1)),
    "nearest": ops.Resize(3, 5, "nearest"),
    "bilinear": ops.Resize(3, 5, "bilinear"),
    "corners": ops.Resize(3, 5, "bilinear_corners"),
    "DCR": ops.DepthToSpace(2, "DCR"),
    "CRD": ops.DepthToSpace(2, "CRD"),
    "flatten": ops.Reshape((16,)),
    "reshape": ops.Reshape((2, 1, 8)),
    "Pad": ops.Pad((1, 0, 0, 0)),
    "Slice": ops.Slice((0, 0, 1), (2, 1, 3)),
    "Transpose": ops.Transpose.joining((2, 2, 4), (2, 0, 1), (4, 2, 2)),
    "channels shuffled": ops.Transpose.joining((2, 2, 2, 2), (0, 1, 3, 2), (2, 2, 4)),
    "flattened by channels": ops.Transpose.joining((4, 4), (1, 0), (16,)),
}


@pytest.mark.parametrize("kind", MOVES)
def test_moving_integers_keeps_channel_ranges_exactly(kind: str) -> None:
    # Four channels of ranges that a first layer makes different: channel c holds 10 * c .. 10 * c + 5.
    lookup = np.arange(256).astype(np.uint8)
    builder = Builder()
    inputs = [builder.input((2, 2, 1), Affine(1.0, 10 * c), IntRange(10 * c, 10 * c + 5)) for c in range(4)]
    same = [builder.add(ops.Lookup(lookup), [x], Affine(1.0, 0)) for x in inputs]
    joined = builder.add(ops.Concat(Requantize(np.ones(4, np.float32))), same, Affine(1.0, 0))
    builder.add(MOVES[kind], [joined])
    program = builder.finish()
    proved = analyze(program).ranges[program.outputs[0]]
    corners = [[np.full((1, 2, 2, 1), 10 * c + end, np.uint8) for c in range(4)] for end in (0, 5)]
    y = np.concatenate([run(program, list(corner)).outputs[0] for corner in corners])
    assert proved.lo.tolist() == y.reshape(-1, y.shape[-1]).min(axis=0).tolist()
    assert proved.hi.tolist() == y.reshape(-1, y.shape[-1]).max(axis=0).tolist()


@pytest.mark.parametrize("include", [True, False])
@pytest.mark.parametrize("semantics", SEMANTICS)
def test_average_pools_give_exactly_the_proved_range(include: bool, semantics: Semantics) -> None:
    requantize = Requantize.from_scales((np.float32(1) / np.arange(1, 7)).astype(np.float32), semantics)
    builder = Builder(semantics=semantics)
    x = builder.input((3, 2, 1), Affine(0.05, 27), A)
    builder.add(ops.AvgPool((3, 2), (1, 1), requantize, (1, 1, 1, 0), include), [x], Affine(0.05, 27), IntRange(0, 90))
    program = builder.finish()
    proved = analyze(program).ranges[program.outputs[0]]
    y = run(program, np.stack([np.full((3, 2, 1), end, np.uint8) for end in (A.lo, A.hi)])).outputs[0]
    assert proved[0] == IntRange(int(y.min()), int(y.max()))


def test_a_pool_too_large_for_s32_is_refused() -> None:
    builder = Builder()
    x = builder.input((3000, 3000, 1))
    builder.add(ops.GlobalAvgPool(Requantize(np.array([1e-7], np.float32))), [x], name="pool")
    with pytest.raises(AccumulatorOverflow, match="pool: a window of 9000000 positions can sum to 2295000000"):
        analyze(builder.finish())


def test_a_channel_narrowed_by_one_layer_narrows_the_next() -> None:
    rng = np.random.default_rng(0)
    builder = Builder()
    x = builder.input((4, 4, 2))
    narrow = ops.Conv2d(
        np.array([[[[1, 0]]], [[[0, 127]]]], np.int8), np.zeros(2, np.int32), Requantize(np.full(2, 0.1, np.float32))
    )
    y = builder.add(narrow, [x], Affine(0.05, 0))
    builder.add(conv2d(rng, (1, 1, 1, 2)), [y], name="next")
    proof = analyze(builder.finish())
    assert proof["next"].operands.hi.tolist() == [[26, 255]]
