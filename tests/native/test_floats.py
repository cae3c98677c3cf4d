"""Float parts between dynamic layers, among the tests that run once more under sanitizers: near exact arithmetic."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from oaq.kernels import _native
from oaq.kernels.table import cpu_isas

ISAS = list(cpu_isas())
WIDTHS = (1, 2, 7, 8, 15, 16, 17, 31, 33, 64, 100)
erf = np.frompyfunc(math.erf, 1, 1)
erfc = np.frompyfunc(math.erfc, 1, 1)


def reals(*shape: int, scale: float = 1.0) -> Any:
    return (np.random.default_rng(math.prod(shape)).normal(size=shape) * scale).astype(np.float32)


def gelu(x: Any, isa: str, threads: int = 1, factor: Any = None) -> Any:
    rows = x.reshape(-1, x.shape[-1])
    y = np.full_like(rows, 7.0)
    _native.gelu(rows, factor, y, isa, threads)
    return y.reshape(x.shape)


def normalized(x: Any, gain: Any, bias: Any, isa: str, **options: Any) -> Any:
    y = np.full_like(x, 7.0)
    other, total, threads = options.get("other"), options.get("total"), options.get("threads", 1)
    further = options.get("scaled", (None, None, None))
    _native.normalize_rows(x, other, gain, bias, 1e-5, total, y, *further, isa, threads)
    return y


def attended(q: Any, k: Any, v: Any, heads: int, isa: str, **options: Any) -> Any:
    y = np.full((*q.shape[:2], v.shape[2]), 7.0, np.float32)
    _native.attention(
        q, k, v, heads, 0.5, options.get("shift"), options.get("factor"), y, isa, options.get("threads", 1)
    )
    return y


def exact_attention(q: Any, k: Any, v: Any, heads: int, scale: float, shift: Any) -> Any:
    """In float64."""

    def split(x: Any) -> Any:
        return x.astype(np.float64).reshape(*x.shape[:2], heads, -1).transpose(0, 2, 1, 3)

    scores = split(q) @ split(k).transpose(0, 1, 3, 2) * scale
    if shift is not None:
        scores = scores + shift.astype(np.float64)
    powers = np.exp(scores - scores.max(axis=-1, keepdims=True))
    mixed = powers / powers.sum(axis=-1, keepdims=True) @ split(v)
    return mixed.transpose(0, 2, 1, 3).reshape(*q.shape[:2], -1)


@pytest.mark.parametrize("isa", ISAS)
def test_gelu_is_within_a_ten_millionth_of_the_exact_value_at_every_length(isa: str) -> None:
    ends = np.array([0.0, -0.0, 1e-30, -1e-30, 5.6, -5.6, 5.7, -5.7, 100.0, -100.0, 3e38, -3e38, 1e-45], np.float32)
    dense = np.linspace(-7, 7, 20011, dtype=np.float32)
    for x in (ends, dense, *(reals(count, scale=2.0) for count in WIDTHS)):
        wide = x.astype(np.float64)
        exact = wide * 0.5 * erfc(-wide / math.sqrt(2)).astype(np.float64)
        assert np.all(np.abs(gelu(x, isa) - exact) <= 1.2e-7 + 1.2e-7 * np.abs(exact))


@pytest.mark.parametrize("isa", ISAS)
def test_gelu_hands_nan_on_and_makes_it_of_minus_infinity(isa: str) -> None:
    x = np.array([np.nan, np.inf, -np.inf] * 7, np.float32)
    with np.errstate(all="ignore"):
        assert np.array_equal(gelu(x, isa), np.array([np.nan, np.inf, np.nan] * 7, np.float32), equal_nan=True)


@pytest.mark.parametrize("isa", ISAS)
def test_factors_of_columns_are_those_of_the_result(isa: str) -> None:
    for width in WIDTHS:
        x, factor = reals(3, width), np.exp2(np.arange(width) % 7 - 3).astype(np.float32)
        assert np.array_equal(gelu(x, isa, factor=factor), gelu(x, isa) * factor)
        gain, bias = reals(width), reals(width) + 1
        for offset in (None, bias):
            scaled = np.full_like(x, 7.0)
            further = (gain * factor, None if offset is None else offset * factor, scaled)
            assert np.array_equal(normalized(x, gain, offset, isa, scaled=further) * factor, scaled)


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("rows", [0, 1, 3])
def test_rows_are_normalized_near_exactly_alone_and_with_what_is_added(isa: str, rows: int) -> None:
    for width in WIDTHS:
        x, other, gain, bias = reals(rows, width), reals(rows, width) + 3, reals(width), reals(width) + 1
        for added in (None, other):
            for offset in (None, bias):
                total = np.empty_like(x) if added is not None else None
                s = (x if added is None else x + added).astype(np.float64)
                off = s - s.mean(axis=1, keepdims=True)
                exact = off / np.sqrt((off**2).mean(axis=1, keepdims=True) + 1e-5) * gain
                exact = exact if offset is None else exact + offset
                y = normalized(x, gain, offset, isa, other=added, total=total)
                assert np.allclose(y, exact, rtol=2e-5, atol=2e-5), width
                assert total is None or np.array_equal(total, x + added)
                assert np.array_equal(y, normalized(x, gain, offset, isa, other=added))


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("wrong", [np.nan, np.inf, -np.inf])
def test_a_row_that_is_not_finite_becomes_nan_and_no_other_does(isa: str, wrong: float) -> None:
    x, gain = reals(3, 21), np.ones(21, np.float32)
    x[1, 4] = wrong
    y = normalized(x, gain, None, isa)
    assert np.isnan(y[1]).all() and np.isfinite(y[[0, 2]]).all()


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("heads", [1, 3])
@pytest.mark.parametrize("depth", [1, 5, 16, 32, 40])
def test_attention_is_near_exact_for_every_number_of_tokens_and_kind_of_shift(isa: str, heads: int, depth: int) -> None:
    width = depth + 3
    for rows, keys in ((1, 1), (2, 3), (7, 9), (17, 33), (50, 16), (13, 300)):
        q, k, v = reals(2, rows, heads * depth), reals(2, keys, heads * depth), reals(2, keys, heads * width)
        shifts = (None, reals(2, 1, 1, keys), reals(1, heads, rows, keys), reals(1, 1, rows, 1), reals(1, 1, 1, 1))
        for shift in shifts:
            exact = exact_attention(q, k, v, heads, 0.5, shift)
            y = attended(q, k, v, heads, isa, shift=shift)
            assert np.allclose(y, exact, rtol=1e-5, atol=1e-5), (rows, keys)
        factor = np.exp2(np.arange(heads * width) % 7 - 3).astype(np.float32)
        assert np.array_equal(attended(q, k, v, heads, isa, factor=factor), attended(q, k, v, heads, isa) * factor)


@pytest.mark.parametrize("isa", ISAS)
def test_masked_keys_count_nothing_and_scores_may_be_large(isa: str) -> None:
    q, k, v = reals(1, 6, 8, scale=30.0), reals(1, 21, 8, scale=30.0), reals(1, 21, 8)
    for masked in (-1e9, -np.inf, float(np.finfo(np.float32).min)):
        shift = np.zeros((1, 1, 1, 21), np.float32)
        shift[..., 11:] = masked
        part = attended(q, k[:, :11].copy(), v[:, :11].copy(), 2, isa)
        assert np.allclose(attended(q, k, v, 2, isa, shift=shift), part, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("isa", ISAS)
def test_scores_that_are_no_numbers_make_nan_of_their_rows_only(isa: str) -> None:
    q, k, v = reals(1, 4, 8), reals(1, 21, 8), reals(1, 21, 8)
    q[0, 1, 2], q[0, 2, 3] = np.nan, np.inf
    y = attended(q, k, v, 1, isa)
    assert np.isnan(y[0, 1]).all() and np.isnan(y[0, 2]).all() and np.isfinite(y[0, [0, 3]]).all()
    nothing = np.full((1, 1, 1, 1), -np.inf, np.float32)
    assert np.isnan(attended(q, k, v, 1, isa, shift=nothing)).all()


@pytest.mark.parametrize("threads", [2, 3, 8])
def test_threads_change_no_bit_of_float_parts(threads: int) -> None:
    isa = ISAS[-1]
    x, gain = reals(300, 70), reals(70)
    assert np.array_equal(normalized(x, gain, None, isa), normalized(x, gain, None, isa, threads=threads))
    line = reals(30_011)
    assert np.array_equal(gelu(line, isa), gelu(line, isa, threads))
    assert np.array_equal(gelu(x, isa, factor=gain), gelu(x, isa, threads, gain))
    for batch in (1, 5):
        q, k, v = (reals(batch, 190, 32) for _ in range(3))
        assert np.array_equal(attended(q, k, v, 2, isa), attended(q, k, v, 2, isa, threads=threads))


@pytest.mark.parametrize(
    ("shapes", "shift", "heads", "message"),
    [
        (((1, 2, 6), (1, 2, 4), (1, 2, 6)), None, 2, "as many of q as of k"),
        (((1, 2, 6), (1, 2, 6), (1, 2, 6)), None, 4, "those of all heads"),
        (((1, 2, 6), (1, 2, 6), (1, 2, 6)), None, 0, "those of all heads"),
        (((1, 2, 6), (2, 2, 6), (1, 2, 6)), None, 2, "have one batch"),
        (((1, 2, 6), (1, 0, 6), (1, 0, 6)), None, 2, "1 at least"),
        (((1, 2, 6), (1, 3, 6), (1, 3, 6)), (1, 1, 1, 2), 2, "the shift is"),
        (((1, 2, 6), (1, 3, 6), (1, 3, 6)), (1, 3, 1, 3), 2, "the shift is"),
    ],
)
def test_attention_of_sizes_that_do_not_meet_is_refused(shapes: Any, shift: Any, heads: int, message: str) -> None:
    q, k, v = (reals(*shape) for shape in shapes)
    with pytest.raises(ValueError, match=message):
        attended(q, k, v, heads, "scalar", shift=None if shift is None else np.zeros(shift, np.float32))


def test_rows_and_sets_that_do_not_fit_are_refused() -> None:
    x, gain = reals(2, 5), reals(5)
    with pytest.raises(ValueError, match="a number for each column"):
        normalized(x, reals(4), None, "scalar")
    with pytest.raises(ValueError, match="one shape"):
        normalized(x, gain, None, "scalar", other=reals(1, 5))
    with pytest.raises(ValueError, match="one shape"):
        normalized(x, gain, None, "scalar", total=np.empty_like(x))
    with pytest.raises(ValueError, match="no instruction set called sse"):
        normalized(x, gain, None, "sse")
    with pytest.raises(ValueError, match="threads is 1 to 256"):
        gelu(reals(3), "scalar", 0)
