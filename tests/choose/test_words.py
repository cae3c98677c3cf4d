from __future__ import annotations

import numpy as np
import pytest

from oaq.choose.words import NEAREST, search_words
from oaq.numerics.multipliers import layer_multipliers, weight_scales
from oaq.numerics.ranges import IntRange
from oaq.numerics.words import SHIFT, words

SCALES = (1.5 / 38, 0.0471)
FULL = IntRange(0, 255)


def _made(bounds: IntRange, scales: tuple[float, float]) -> np.ndarray:
    """Every word that some weight scale makes."""
    every = (words(bounds) / (1 << SHIFT)).astype(np.float32)
    return every[weight_scales(every, *scales)[1]]


@pytest.mark.parametrize("bounds", [IntRange(0, 1), IntRange(0, 100), FULL, IntRange(-128, 127), IntRange(-3, 252)])
def test_the_word_is_the_least_that_a_scale_makes_and_the_scale_makes_it(bounds: IntRange) -> None:
    target = np.geomspace(1e-4, 0.999, 400)
    near = search_words(target, bounds, SCALES)
    made = _made(bounds, SCALES)
    for value, word, exists in zip(target, near.multiplier, near.exists, strict=True):
        above = made[made >= value * (1 - 1e-6)]
        if exists:
            assert word == above[0]
        else:
            assert not len(above) or above[0] > value
    made_again = layer_multipliers(SCALES[0], near.scale[near.exists], SCALES[1])
    assert np.array_equal(made_again, near.multiplier[near.exists])
    assert near.exists.sum() > 200


def test_the_extremes_ask_for_nothing_that_is_not_there() -> None:
    target = np.array([np.inf, 1.0, 2.0, 0.0])
    for places in (NEAREST, (0, 1, 2)):
        near = search_words(target, FULL, SCALES, places)
        assert near.exists.tolist()[0] is False
        assert not near.multiplier[0]
    assert not search_words(target, FULL, SCALES).exists[:3].any()
    assert not search_words(np.zeros(0), FULL, SCALES).exists.size


def test_words_outside_the_reach_and_finer_scales_are_passed_over() -> None:
    target = np.geomspace(0.01, 0.9, 200)
    reach = (target, target * 1.001)
    near = search_words(target, FULL, SCALES, NEAREST, reach=reach)
    assert np.all(near.multiplier[near.exists] >= target[near.exists])
    assert np.all(near.multiplier[near.exists] <= 1.001 * target[near.exists])
    free = search_words(target, FULL, SCALES)
    coarser = search_words(target, FULL, SCALES, finest=free.scale * np.float32(1.01))
    assert np.all(coarser.scale[coarser.exists] >= free.scale[coarser.exists] * np.float32(1.01))
