"""Fourier sampling of images, with the same bits on every machine: sums in a fixed order, products rounded apart.

Every multiplication and every addition is a NumPy operation of its own on float64, which IEEE 754 defines to the last
bit: no matrix product (whose order of sums is the machine's), no complex product (which may fuse), and factors that are
rounded correctly whatever the mathematical library.
"""

from __future__ import annotations

from decimal import Decimal, localcontext
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

Real = NDArray[np.float64]
Pair = tuple[Real, Real]
"""Real and imaginary parts."""


def sample_spectrum(image: Real, mask: Real) -> Pair:
    """The measurements of (..., rows, columns) images: their spectrum where ``mask`` (rows, columns) is 1, else 0."""
    real, imaginary = transform((image, np.zeros_like(image)))
    return real * mask, imaginary * mask


def zero_filled(spectrum: Pair) -> Real:
    """(..., rows, columns) real part of the inverse transform: A'y of measurements y, what they alone show."""
    real, imaginary = spectrum
    swapped, _ = transform((real, -imaginary))  # the real part is that of the conjugate's transform
    return swapped / float(swapped.shape[-1] * swapped.shape[-2])


def project(image: Real, mask: Real) -> Real:
    """A'A x: what is left of images after they are measured and transformed back."""
    return zero_filled(sample_spectrum(image, mask))


def transform(values: Pair) -> Pair:
    """The discrete Fourier transform over the last two axes, of any sizes (large prime factors are slow)."""
    real, imaginary = _along_last(values)
    real, imaginary = _along_last((np.swapaxes(real, -1, -2), np.swapaxes(imaginary, -1, -2)))
    return np.swapaxes(real, -1, -2), np.swapaxes(imaginary, -1, -2)


def _along_last(values: Pair) -> Pair:
    """Cooley and Tukey's recursion, the smallest prime factor p of the length n first.

    With x[p m' + q] split by q into p sequences whose transforms are X_q[k], k < n / p: y[k + s n / p] is the sum over
    q of w_n^(qk) X_q[k] w_p^(qs).
    """
    real, imaginary = (np.ascontiguousarray(part) for part in values)
    size = real.shape[-1]
    if size == 1:
        return real, imaginary
    prime = next(factor for factor in range(2, size + 1) if size % factor == 0)
    rows = size // prime
    real, imaginary = (
        np.moveaxis(part.reshape(*part.shape[:-1], rows, prime), -1, -2) for part in (real, imaginary)
    )  # (..., prime, rows)
    real, imaginary = _along_last((real, imaginary))
    cosines, sines = unit_circle(size)
    turns = np.outer(np.arange(prime), np.arange(rows)) % size
    real, imaginary = _times(real, imaginary, cosines[turns], sines[turns])
    results = [_combined(real, imaginary, turn, prime) for turn in range(prime)]
    return tuple(np.concatenate(parts, axis=-1) for parts in zip(*results, strict=True))  # type: ignore[return-value]


def _combined(real: Real, imaginary: Real, turn: int, prime: int) -> Pair:
    """The sum over axis -2 of its entries q, turned by -2 pi q turn / prime; ascending, whole turns not multiplied."""
    if prime == 2:
        sign = 1.0 - 2.0 * turn
        return real[..., 0, :] + sign * real[..., 1, :], imaginary[..., 0, :] + sign * imaginary[..., 1, :]
    cosines, sines = unit_circle(prime)
    sums = real[..., 0, :], imaginary[..., 0, :]
    for q in range(1, prime):
        at = q * turn % prime
        part = _times(real[..., q, :], imaginary[..., q, :], cosines[at], sines[at])
        sums = sums[0] + part[0], sums[1] + part[1]
    return sums


def _times(real: Real, imaginary: Real, cosine: Real | np.float64, sine: Real | np.float64) -> Pair:
    """Values times cosine - i sine."""
    return real * cosine + imaginary * sine, imaginary * cosine - real * sine


@lru_cache(maxsize=64)
def unit_circle(size: int) -> Pair:
    """(size,) cosines and sines of 2 pi k / size, correctly rounded: no mathematical library has a say."""
    with localcontext() as context:
        context.prec = 50
        step = 2 * _pi() / size
        pairs = [_cosine_and_sine(step * k) for k in range(size)]
    cosines, sines = (np.array([float(value) for value in values]) for values in zip(*pairs, strict=True))
    return cosines, sines


def _pi() -> Decimal:
    """Machin's formula."""
    return 4 * (4 * _arctangent(5) - _arctangent(239))


def _arctangent(inverse: int) -> Decimal:
    """The arctangent of 1 / inverse, by its series."""
    term = total = Decimal(1) / inverse
    for k in range(1, 200):
        term = -term / (inverse * inverse)
        total += term / (2 * k + 1)
    return total


def _cosine_and_sine(angle: Decimal) -> tuple[Decimal, Decimal]:
    """The cosine and the sine of an angle up to 2 pi, by their series; 0 below 1e-40."""
    term = Decimal(1)
    sums = [Decimal(0)] * 4
    for k in range(60):
        sums[k % 4] += term
        term = term * angle / (k + 1)
    values = sums[0] - sums[2], sums[1] - sums[3]
    return tuple(value if abs(value) > Decimal("1e-40") else Decimal(0) for value in values)  # type: ignore[return-value]
