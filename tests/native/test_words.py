"""Results in 16 bits (native/requantize/in_words.h): sums at every halfway result, at the ends of s16, and beyond."""

from __future__ import annotations

import numpy as np
import pytest

from oaq import operators as ops
from oaq.kernels import _native
from oaq.kernels.plan import plan
from oaq.kernels.results import words_share
from oaq.numerics.affine import Affine
from oaq.numerics.ranges import IntRange
from oaq.numerics.requantize import Requantize
from oaq.numerics.words import MOST, least_saturating, words, words_of
from oaq.operators import TensorSpec
from oaq.program.int_program import IntProgram, Node
from oaq.runtime import Session
from tests.native.machine import ROWS, WIDE, check, compare, held

ZEROED = tuple(IntRange(0, hi) for hi in (3, 64, 107, 255))
BOUNDS = (*ZEROED, IntRange(-128, 127), IntRange(-3, 252), IntRange(-255, 0), IntRange(-64, 63))
"""Clamps less a zero point."""
SUMS = (-(1 << 30), -MOST - 2, -MOST - 1, -MOST, -1, 0, 1, MOST - 1, MOST, MOST + 1, 1 << 20)


FULL = IntRange(0, 255)


def seed(bounds: IntRange) -> int:
    """Another one for each."""
    return 1000 * bounds.hi + bounds.lo + 255_255


def program(
    depthwise: bool, bounds: IntRange, pairs: list[tuple[int, int]], size: tuple[int, int] = (3, 5)
) -> IntProgram:
    """An output for every (sum where the input is zero, multiplier of 2**-15); weights [-1, 1].

    Clamped to ``bounds`` less a zero point.
    """
    rng, outputs = np.random.default_rng(seed(bounds)), len(pairs)
    zero = max(-bounds.lo, 0)
    op = ops.Conv2d(
        weight=rng.integers(-1, 2, (outputs, 3, 3, 1) if depthwise else (outputs, 1, 1, 8)).astype(np.int8),
        bias=np.array([bias for bias, _ in pairs], np.int32),
        requantize=Requantize(np.array([word for _, word in pairs], np.float32) / np.float32(1 << 15)),
        padding=(1, 1, 1, 1) if depthwise else (0, 0, 0, 0),
        groups=outputs if depthwise else 1,
    )
    x = TensorSpec("x", (*size, outputs if depthwise else 8), Affine(0.05), IntRange(0, 255))
    y = TensorSpec("y", (*size, outputs), Affine(0.05, zero), IntRange(bounds.lo + zero, bounds.hi + zero))
    return IntProgram("words", ("x",), ("y",), {"x": x, "y": y}, (Node("layer", op, ("x",), "y"),))


def inputs(one: IntProgram) -> list[np.ndarray]:
    """Nothing, everything, and anything."""
    shape = (1, *one.tensors["x"].shape)
    drawn = np.random.default_rng(0).integers(0, 256, shape).astype(np.uint8)
    return [np.zeros_like(drawn), np.full_like(drawn, 255), drawn]


def large(bounds: IntRange) -> list[int]:
    """Words at which saturated sums are right: the first few, around a power of two, the last."""
    known = words(bounds)[np.searchsorted(words(bounds), least_saturating(bounds)) :]
    near = int(np.searchsorted(known, 4096))
    return [int(each) for each in (*known[:3], *known[near : near + 3], known[-2], known[-1])]


@pytest.mark.parametrize("row", WIDE)
@pytest.mark.parametrize("bounds", BOUNDS, ids=str)
@pytest.mark.parametrize("odd", [0, 5])
def test_saturating_words_whatever_the_sum(row: str, bounds: IntRange, odd: int) -> None:
    pairs = [(bias, word) for bias in SUMS for word in large(bounds)]
    one = program(ROWS[row].family == "depthwise", bounds, pairs + pairs[:odd])
    for x in inputs(one):
        check(one, (x,), row)


@pytest.mark.parametrize("row", WIDE)
@pytest.mark.parametrize("bounds", [FULL, IntRange(-128, 127)], ids=str)
def test_the_way_is_taken_where_all_outputs_of_a_tile_allow_it(row: str, bounds: IntRange) -> None:
    """All integers are right either way; this is about time."""
    is_scalar = ROWS[row].isa == "scalar"

    def ways(pairs: list[tuple[int, int]]) -> tuple[int, int, int]:
        (chosen,) = Session(plan(program(ROWS[row].family == "depthwise", bounds, pairs), rows=[row])).choices()
        return chosen.general, chosen.as_floats, chosen.in_words

    tiles = 128 // ROWS[row].tile_n
    assert ways([(0, 1639)] * 128) == ((tiles, 0, 0) if is_scalar else (0, 0, tiles))
    slower = (0, 1, tiles - 1) if bounds.lo == 0 else (1, 0, tiles - 1)
    assert ways([(0, 1639)] * 127 + [(0, 2048)]) == ((tiles, 0, 0) if is_scalar else slower)


@pytest.mark.parametrize("row", WIDE)
@pytest.mark.parametrize("bounds", BOUNDS, ids=str)
def test_halfway_results_of_every_kind_of_word(row: str, bounds: IntRange) -> None:
    known = words(bounds)
    drawn = sorted({1, 3, 7} | {int(each) for each in np.random.default_rng(seed(bounds)).choice(known, 60)})
    halves = [(1 << shift) * times for shift in range(15) for times in (1, 3, 5, 7) if (1 << shift) * times < 30000]
    pairs = [(halves[index % len(halves)] * sign, word) for index, word in enumerate(drawn * 8) for sign in (1, -1)]
    one = program(ROWS[row].family == "depthwise", bounds, pairs)
    for x in inputs(one):
        check(one, (x,), row)


@pytest.mark.parametrize("row", WIDE)
@pytest.mark.parametrize(
    "bounds", [bounds for bounds in BOUNDS[1:] if words(bounds)[0] < least_saturating(bounds)], ids=str
)
def test_words_too_small_for_saturated_sums_meet_sums_just_beyond_s16(row: str, bounds: IntRange) -> None:
    """What saturates would be short of an end of the clamp by several integers: such tiles leave another way."""
    small = words(bounds)[: np.searchsorted(words(bounds), least_saturating(bounds))]
    pairs = [(bias, int(word)) for word in small[-12:] for bias in (MOST - 1, MOST, MOST + 1)]
    pairs += [(-1 - bias, word) for bias, word in pairs]
    one = program(ROWS[row].family == "depthwise", bounds, pairs)
    for x in inputs(one):
        check(one, (x,), row)


@pytest.mark.parametrize("row", WIDE)
@pytest.mark.parametrize("bounds", [FULL, IntRange(-128, 127)], ids=str)
def test_a_tile_with_one_output_that_is_no_word_and_one_spilled_inside(row: str, bounds: IntRange) -> None:
    pairs = [(each, 1639) for each in range(-2048, 2048, 16)]
    pairs[5], pairs[70], pairs[-1] = (4096, 2048), (1 << 20, 3), (16384, 513)
    one = program(ROWS[row].family == "depthwise", bounds, pairs)
    for x in inputs(one):
        check(one, (x,), row)
        compare(held(plan(one, rows=[row]), 1), (x,))


@pytest.mark.parametrize("bounds", [IntRange(0, 107), IntRange(-60, 130)], ids=str)
@pytest.mark.parametrize("rows", range(1, 14))
@pytest.mark.parametrize("outputs", [3, 8, 16, 24, 56])
@pytest.mark.parametrize("row", [name for name in WIDE if ROWS[name].family == "gemm"])
def test_every_shape_of_a_tile(row: str, outputs: int, rows: int, bounds: IntRange) -> None:
    one = program(False, bounds, [(-500 + 40 * each, 901 + 2 * each) for each in range(outputs)], size=(1, rows))
    check(one, (inputs(one)[2],), row)


@pytest.mark.parametrize("bounds", BOUNDS, ids=str)
def test_native_code_knows_the_same_words(bounds: IntRange) -> None:
    given = np.concatenate([np.arange(0, 1 << 15), np.arange(1, 1 << 15, 7) + 0.5, [1 << 15, 1 << 16]])
    scales = (given / (1 << 15)).astype(np.float32)
    known = words_of(scales, bounds)
    zero = max(-bounds.lo, 0)
    clamp = (bounds.lo + zero, bounds.hi + zero)
    assert [_native.word_multiplier(float(each), zero, clamp) for each in scales] == known.tolist()


@pytest.mark.parametrize("bounds", [FULL, IntRange(-128, 127)], ids=str)
def test_the_share_of_results_in_words_counts_whole_tiles(bounds: IntRange) -> None:
    pairs = [(0, 1639)] * 32
    one = program(False, bounds, pairs)
    op = one.nodes[0].op
    assert isinstance(op, ops.Conv2d)
    assert words_share(op, one.tensors["y"], op.bias) == 1.0
    other = program(False, bounds, [*pairs[:-1], (0, 2048)]).nodes[0].op
    assert isinstance(other, ops.Conv2d)
    assert words_share(other, one.tensors["y"], other.bias) == 0.5
