from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest

from benchmarks.soundness import float32

LARGEST = float(np.finfo(np.float32).max)
EDGES = (1.0, 1.5, 2.0**-149, 2.0**-126, 2.0**-127 * 1.5, 2.0**23, 2.0**24, 2.0**119, 2.0**127, LARGEST, 0.1, 1 / 3)


def by_hand(value: Fraction) -> Fraction:
    """The nearest number with 24 significant bits, ties to the even one."""
    if value == 0:
        return value
    exponent = 0
    while abs(value) >= Fraction(2) ** (exponent + 24):
        exponent += 1
    while abs(value) < Fraction(2) ** (exponent + 23):
        exponent -= 1
    return round(value / Fraction(2) ** exponent) * Fraction(2) ** exponent  # Python rounds halves to even


def exact(x: float32.Dyadic) -> list[Fraction]:
    return [Fraction(int(m)) * Fraction(2) ** int(e) for m, e in zip(x.mantissa, x.exponent, strict=True)]


def mantissas_and_exponents(rng: np.random.Generator, count: int) -> float32.Dyadic:
    mantissa = rng.integers(-(1 << 24), (1 << 24) + 1, count) >> rng.integers(0, 25, count)
    return float32.Dyadic(mantissa, rng.integers(-60, 60, count))


def test_integers_become_the_nearest_float32_ties_to_even() -> None:
    ends = [0, 1, -1, (1 << 24) + 1, (1 << 24) + 3, -(1 << 24) - 1, (1 << 31) - 1, -(1 << 31), (1 << 62) - 1, 1 << 61]
    rng = np.random.default_rng(0)
    values = np.concatenate([ends, rng.integers(-(1 << 31), 1 << 31, 2000), rng.integers(1 << 53, 1 << 62, 500)])
    assert exact(float32.of_integers(values)) == [by_hand(Fraction(int(value))) for value in values]
    assert [float(value) for value in exact(float32.of_integers(values))] == values.astype(np.float32).tolist()


def test_every_float32_is_taken_as_it_is() -> None:
    values = np.array(EDGES, np.float32)
    assert exact(float32.of_float32(values)) == [Fraction(float(value)) for value in values]


def test_products_and_sums_are_rounded_once() -> None:
    rng = np.random.default_rng(1)
    a, b = mantissas_and_exponents(rng, 3000), mantissas_and_exponents(rng, 3000)
    pairs = list(zip(exact(a), exact(b), strict=True))
    assert exact(float32.product(a, b)) == [by_hand(x * y) for x, y in pairs]
    assert exact(float32.total(a, b)) == [by_hand(x + y) for x, y in pairs]


def test_a_sum_of_neighbours_that_tie_or_nearly_tie_is_rounded_once() -> None:
    large = np.array([1 << 23, (1 << 23) + 1, (1 << 24) - 1, -(1 << 23)])
    for distance in range(20, 34):
        for small in (1, -1, (1 << 23), (1 << 23) + 1, -(1 << 23) - 1, (1 << 24) - 1):
            a = float32.Dyadic(large, np.zeros(4, np.int64))
            b = float32.Dyadic(np.full(4, small), np.full(4, -distance))
            assert exact(float32.total(a, b)) == [by_hand(x + y) for x, y in zip(exact(a), exact(b), strict=True)]


def test_results_are_those_of_this_cpu() -> None:
    rng = np.random.default_rng(2)
    values = rng.integers(-(1 << 31), 1 << 31, 5000) >> rng.integers(0, 31, 5000)
    factors = np.concatenate([np.array(EDGES, np.float32), (2.0 ** rng.uniform(-32, 3, 4988)).astype(np.float32)])
    with np.errstate(over="ignore"):
        expected = np.rint(values.astype(np.float32) * factors)
    nearest, _ = float32.to_integers(float32.product(float32.of_integers(values), float32.of_float32(factors)))
    limit = float(1 << 39)
    assert np.array_equal(np.clip(nearest, -limit, limit), np.clip(expected, -limit, limit))


@pytest.mark.parametrize(("halves", "expected"), [(1, 0), (3, 2), (5, 2), (-1, 0), (-3, -2), (-5, -2), (4, 2)])
def test_halves_go_to_the_even_integer(halves: int, expected: int) -> None:
    nearest, ties = float32.to_integers(float32.Dyadic(np.array([halves]), np.array([-1])))
    assert (nearest.tolist(), ties) == ([expected], halves % 2)


def test_what_is_beyond_every_clamp_keeps_its_sign() -> None:
    x = float32.Dyadic(np.array([1, -1, 0]), np.array([100, 100, 100]))
    nearest, _ = float32.to_integers(x)
    assert nearest[0] >= 1 << 40 and nearest[1] <= -(1 << 40) and nearest[2] == 0
    assert float32.Dyadic(np.array([1, 1, 0]), np.array([127, 128, 500])).is_infinite().tolist() == [False, True, False]
