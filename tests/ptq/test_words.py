"""Weight scales moved to multipliers that 16 bits hold."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from oaq.capture.graph import TensorParams
from oaq.choose.round import nearest, rounding_error
from oaq.kernels.results import words_share
from oaq.numerics.affine import Affine
from oaq.numerics.formats import U8
from oaq.numerics.ranges import IntRange
from oaq.numerics.words import least_saturating, words, words_of
from oaq.overflow.analyze import analyze
from oaq.ptq.quantize import quantize
from oaq.ptq.words import DEAREST, Ends, Prices, words_scale
from tests.ptq.nets import images, net

X, Y = TensorParams(Affine(0.0231, 3), U8), TensorParams(Affine(0.0472), IntRange(0, 107))
FREE = Prices(np.zeros(1), 0.0, 1)
BETWEEN = Ends(X, Y, "float32_half_even", FREE)
BOUNDS = IntRange(0, 107)
UNIT = X.affine.scale / Y.affine.scale * 32768


def moved(scale: np.ndarray, between: Ends = BETWEEN, size: float = 60.0, prices: Prices = FREE) -> np.ndarray:
    """Scales of outputs of 20 weights as large as ``size`` steps."""
    rows = np.random.default_rng(0).uniform(-1, 1, (len(scale), 20)) * (scale * size)[:, None]
    prices = dataclasses.replace(prices, importance=np.broadcast_to(prices.importance, rows.shape))
    between = dataclasses.replace(between, prices=prices)
    return words_scale(rows, nearest(rows, scale), scale, np.zeros(len(scale)), between)


def multipliers(scale: np.ndarray) -> np.ndarray:
    """As the program will have them: float32, in this order."""
    return np.float32(X.affine.scale) * scale.astype(np.float32) / np.float32(Y.affine.scale)


def test_nearly_every_multiplier_becomes_a_word_at_most_a_little_larger() -> None:
    scale = np.geomspace(least_saturating(BOUNDS) + 1, 30000, 400) / UNIT
    found = moved(scale)
    assert (words_of(multipliers(found), BOUNDS) > 0).mean() > 0.99  # float32 arithmetic does not make every float
    assert (found >= scale).all()
    assert (found / scale).max() < 1.1 and np.median(found / scale) < 1.001


@pytest.mark.parametrize(("zero", "hi"), [(1, 107), (128, 255), (60, 127), (255, 255)])
def test_so_does_that_of_an_output_with_a_zero_point(zero: int, hi: int) -> None:
    bounds = IntRange(-zero, hi - zero)
    between = dataclasses.replace(BETWEEN, y=TensorParams(Affine(0.0472, zero), IntRange(0, hi)))
    scale = np.geomspace(max(least_saturating(bounds), words(bounds)[0]) + 1, 30000, 400) / UNIT
    found = moved(scale, between)
    assert (words_of(multipliers(found), bounds) > 0).mean() > 0.99
    assert (found >= scale).all()
    assert (found / scale).max() < 1.1 and np.median(found / scale) < 1.001


def test_small_multipliers_of_two_sided_outputs_are_brought_up_to_the_least_word_if_that_costs_nothing() -> None:
    """No word lies between the least that saturates rightly and nearly twice as much."""
    bounds = IntRange(-128, 127)
    between = dataclasses.replace(BETWEEN, y=TensorParams(Affine(0.0472, 128), U8))
    scale = np.full(8, least_saturating(bounds) + 1.0) / UNIT
    assert words(bounds)[0] > 1.9 * least_saturating(bounds)
    assert (words_of(multipliers(moved(scale, between)), bounds) > 0).all()
    np.testing.assert_array_equal(moved(scale, between, prices=Prices(np.ones(1), 0.0, 4)), scale)


def test_what_is_a_word_already_stays() -> None:
    found = moved(np.geomspace(400, 30000, 50) / UNIT)
    np.testing.assert_array_equal(moved(found), found)


LEAST = least_saturating(BOUNDS)


def test_small_multipliers_are_raised_where_that_costs_the_network_nothing() -> None:
    scale = np.geomspace(LEAST / 50, LEAST * 4, 40) / UNIT
    found = moved(scale, size=126.0)
    assert (words_of(multipliers(found), BOUNDS) >= LEAST).mean() > 0.9
    assert (found >= scale).all()


def test_small_multipliers_stay_where_nothing_may_be_lost() -> None:
    scale = np.append(np.full(4, 4.0), np.full(4, 0.4)) * LEAST / UNIT
    found = moved(scale, size=126.0, prices=Prices(np.ones(1), 0.0, 4))
    assert (words_of(multipliers(found), BOUNDS) >= LEAST)[:4].all()
    np.testing.assert_array_equal(found[4:], scale[4:])


def test_small_multipliers_whose_sums_never_leave_16_bits_become_words_as_they_are() -> None:
    scale = np.full(8, 0.4 * LEAST) / UNIT
    found = moved(scale, size=3.0, prices=Prices(np.ones(1), 0.0, 4))
    assert (words_of(multipliers(found), BOUNDS) > 0).all()
    assert (found < scale * 1.1).all()


def test_outputs_whose_weights_are_nothing_get_any_word() -> None:
    scale = np.append(np.full(10, 2000.0), 1e-6) / UNIT
    rows = np.random.default_rng(0).uniform(-1, 1, (11, 20)) * scale[:, None] * 60
    rows[10] = 1e-12
    bias = np.append(np.zeros(10), 1e6 * scale[-1] * X.affine.scale)
    between = dataclasses.replace(BETWEEN, prices=Prices(np.ones(rows.shape), 1e-12, 11))
    found = words_scale(rows, nearest(rows, scale), scale, bias, between)
    assert words_of(multipliers(found), BOUNDS)[-1] >= LEAST


def test_the_cheapest_tiles_are_raised_first_and_whole() -> None:
    """One output of a tile is no use; what a tile costs is what all its outputs lose."""
    scale = np.append(np.full(8, 0.5), np.full(8, 0.9)) * LEAST / UNIT
    rows = np.random.default_rng(0).uniform(-1, 1, (16, 20)) * (scale * 126.0)[:, None]
    importance, raised = np.ones(rows.shape), np.full(16, LEAST) / UNIT
    cost = np.maximum(rounding_error(rows, raised, importance) - rounding_error(rows, scale, importance), 0.0)
    assert cost[8:].sum() < cost[:8].sum()

    def raises(budget: float) -> list[bool]:
        prices = Prices(importance, budget / DEAREST / Y.affine.scale**2, 8)
        found = words_scale(
            rows, nearest(rows, scale), scale, np.zeros(16), dataclasses.replace(BETWEEN, prices=prices)
        )
        return [bool((found[tile] > scale[tile]).any()) for tile in (slice(8), slice(8, 16))]

    assert raises(cost[8:].sum() * 0.99) == [False, False]
    assert raises(cost[8:].sum() * 1.01) == [False, True]
    assert raises(cost.sum() * 0.99) == [False, True]
    assert raises(cost.sum() * 1.01) == [True, True]


@pytest.mark.parametrize(
    "between",
    [
        dataclasses.replace(BETWEEN, y=TensorParams(Affine(0.0472), IntRange(0, 0))),
        dataclasses.replace(BETWEEN, semantics="fixed_point"),
    ],
)
def test_nothing_moves_where_words_do_not_apply(between: Ends) -> None:
    scale = np.geomspace(400, 30000, 50) / UNIT
    np.testing.assert_array_equal(moved(scale, between), scale)


def test_layers_of_a_quantized_network_leave_in_16_bits() -> None:
    program = quantize(net(), images())
    proof, shares = analyze(program), []
    for node in program.summing_nodes():
        y = program.tensors[node.output]
        if y.affine.zero_point == y.range.lo == 0:
            shares.append(words_share(node.op, y, proof[node.name].folded_bias))  # type: ignore[arg-type]
    assert max(shares) == 1.0 and np.mean(shares) > 0.2  # channels of this network are of very unlike size
