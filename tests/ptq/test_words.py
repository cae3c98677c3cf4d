"""Weight scales moved to multipliers that 16 bits hold."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from oaq.capture.graph import TensorParams
from oaq.kernels.results import words_share
from oaq.numerics.affine import Affine
from oaq.numerics.formats import U8
from oaq.numerics.ranges import IntRange
from oaq.numerics.words import least_saturating, words_of
from oaq.overflow.analyze import analyze
from oaq.ptq.quantize import quantize
from oaq.ptq.round import nearest
from oaq.ptq.words import FARTHEST, Ends, words_scale
from tests.ptq.nets import images, net

X, Y = TensorParams(Affine(0.0231, 3), U8), TensorParams(Affine(0.0472), IntRange(0, 107))
BETWEEN = Ends(X, Y, "float32_half_even")
UNIT = X.affine.scale / Y.affine.scale * 32768


def moved(scale: np.ndarray, between: Ends = BETWEEN, size: float = 60.0, bias: float = 0.0) -> np.ndarray:
    """Scales of outputs of 20 weights as large as ``size`` steps."""
    rows = np.random.default_rng(0).uniform(-1, 1, (len(scale), 20)) * (scale * size)[:, None]
    return words_scale(rows, nearest(rows, scale), scale, np.full(len(scale), bias), between)


def multipliers(scale: np.ndarray) -> np.ndarray:
    """As the program will have them: float32, in this order."""
    return np.float32(X.affine.scale) * scale.astype(np.float32) / np.float32(Y.affine.scale)


def test_nearly_every_multiplier_becomes_a_word_at_most_a_little_larger() -> None:
    scale = np.geomspace(least_saturating(107) + 1, 30000, 400) / UNIT
    found = moved(scale)
    assert (words_of(multipliers(found), 107) > 0).mean() > 0.99  # float32 arithmetic does not make every float
    assert (found >= scale).all()
    assert (found / scale).max() < 1.1 and np.median(found / scale) < 1.001


def test_what_is_a_word_already_stays() -> None:
    found = moved(np.geomspace(400, 30000, 50) / UNIT)
    np.testing.assert_array_equal(moved(found), found)


def test_small_multipliers_are_raised_unless_that_is_far_or_their_sums_are_small() -> None:
    least = least_saturating(107)
    near, far = least / FARTHEST * 1.05, least / FARTHEST * 0.9
    most = np.full(40, 4 * least)
    found = moved(np.append(most, [near, far]) / UNIT, size=126.0) * UNIT
    assert found[-2] >= least * (1 - 1e-6)
    assert found[-1] == pytest.approx(far, rel=1e-9)
    small = moved(np.append(most, far) / UNIT, size=3.0) * UNIT  # no sum of such weights leaves 16 bits
    assert far <= small[-1] < far * 1.1
    assert words_of(multipliers(small / UNIT), 107)[-1] > 0


def test_outputs_whose_weights_are_nothing_get_any_word() -> None:
    scale = np.append(np.full(10, 2000.0), 1e-6) / UNIT
    rows = np.append(
        np.random.default_rng(0).uniform(-1, 1, (10, 20)) * scale[:10, None] * 60, np.full((1, 20), 1e-12), 0
    )
    found = words_scale(
        rows, nearest(rows, scale), scale, np.append(np.zeros(10), 1e6 * scale[-1] * X.affine.scale), BETWEEN
    )
    assert words_of(multipliers(found), 107)[-1] >= least_saturating(107)


@pytest.mark.parametrize(
    "between",
    [
        dataclasses.replace(BETWEEN, y=TensorParams(Affine(0.0472, 1), IntRange(0, 107))),
        dataclasses.replace(BETWEEN, y=TensorParams(Affine(0.0472), IntRange(0, 0))),
        dataclasses.replace(BETWEEN, semantics="fixed_point"),
    ],
)
def test_nothing_moves_where_words_do_not_apply(between: Ends) -> None:
    scale = np.geomspace(400, 30000, 50) / UNIT
    np.testing.assert_array_equal(moved(scale, between), scale)


def test_nothing_moves_in_a_layer_of_small_multipliers() -> None:
    scale = np.append(np.full(40, 20.0), np.full(10, 2000.0)) / UNIT
    np.testing.assert_array_equal(moved(scale, size=126.0), scale)


def test_layers_of_a_quantized_network_leave_in_16_bits() -> None:
    program = quantize(net(), images())
    proof, shares = analyze(program), []
    for node in program.summing_nodes():
        y = program.tensors[node.output]
        if y.affine.zero_point == y.range.lo == 0:
            shares.append(words_share(node.op, y, proof[node.name].folded_bias))  # type: ignore[arg-type]
    assert max(shares) == 1.0 and np.mean(shares) > 0.2  # channels of this network are of very unlike size
