"""Exact integer products: where float64 would round, it is not used."""

from __future__ import annotations

import numpy as np
import pytest

from oaq.numerics.matmul import LARGEST_EXACT, matmul

TOP = 1 << 62
ONE_BIT_TOO_MANY = {
    "a product of two": ([[LARGEST_EXACT + 1]], [[1]]),
    "largest below zero": ([[-LARGEST_EXACT - 1, 0]], [[1, 5]]),
    "largest above zero": ([[0, (1 << 31) + 1]], [[0, (1 << 30) + 1]]),
    "of the second": ([[3, 1]], [[-(1 << 52) - 1, 0]]),
    "only the sum": ([[1 << 52, 1 << 52, 1]], [[1, 1, 1]]),
    "only the sum, of one row of a batch": ([[[1 << 52, 1 << 52, 1]]], [[[1, 1, 1]]]),
    "near the end of int64": ([[TOP, TOP - 1]], [[1, 1]]),
}


@pytest.mark.parametrize("name", ONE_BIT_TOO_MANY)
def test_sums_beyond_what_a_float64_holds_are_exact(name: str) -> None:
    x, w = (np.array(part, np.int64) for part in ONE_BIT_TOO_MANY[name])
    expected = sum(int(a) * int(b) for a, b in zip(x.reshape(-1), w.reshape(-1), strict=True))
    assert int(matmul(x, w).reshape(-1)[0]) == expected


@pytest.mark.parametrize("batch", [(), (1,), (3,), (2, 3)])
def test_every_result_is_the_sum_of_its_products(batch: tuple[int, ...]) -> None:
    rng = np.random.default_rng(len(batch))
    x, w = rng.integers(0, 256, (*batch, 4, 5)), rng.integers(-128, 128, (*batch, 6, 5))
    expected = (x[..., :, None, :] * w[..., None, :, :]).sum(axis=-1)
    result = matmul(x, w)
    assert result.dtype == np.int64
    assert np.array_equal(result, expected)


def test_nothing_to_sum_is_zero() -> None:
    assert matmul(np.zeros((2, 0), np.uint8), np.zeros((3, 0), np.int8)).tolist() == [[0] * 3] * 2
