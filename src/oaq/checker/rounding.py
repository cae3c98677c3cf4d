"""Both requantize formulas in unbounded integers: float32 as (integer) * 2**exponent, rounded by hand.

A float32 operation is the exact result rounded to 24 significant bits, ties to even. Products below the smallest normal
float32 are rounded here to more bits than IEEE would keep; all of them become the integer 0 either way.
"""

from __future__ import annotations

import math

Dyadic = tuple[int, int]
"""(m, e): the number m * 2**e."""


def dyadic(value: float) -> Dyadic:
    """A float32 (or any float64 that is one) exactly."""
    fraction, exponent = math.frexp(value)
    return int(fraction * (1 << 53)), exponent - 53


def to_float32(number: Dyadic) -> Dyadic:
    """The nearest number of 24 significant bits, ties to even."""
    m, e = number
    excess = abs(m).bit_length() - 24
    if excess <= 0:
        return number
    quotient, remainder = divmod(abs(m), 1 << excess)
    half = 1 << (excess - 1)
    if remainder > half or (remainder == half and quotient & 1):
        quotient += 1
    return (quotient if m > 0 else -quotient), e + excess


def times(a: Dyadic, b: Dyadic) -> Dyadic:
    """One float32 multiplication."""
    return to_float32((a[0] * b[0], a[1] + b[1]))


def plus(a: Dyadic, b: Dyadic) -> Dyadic:
    """One float32 addition."""
    least = min(a[1], b[1])
    return to_float32(((a[0] << (a[1] - least)) + (b[0] << (b[1] - least)), least))


def divide(a: Dyadic, b: Dyadic) -> Dyadic:
    """One float32 division by ``b`` > 0: a quotient of more than 24 bits whose last bit stands for the rest."""
    shift = max(0, 32 + b[0].bit_length() - a[0].bit_length())
    quotient, remainder = divmod(abs(a[0]) << shift, b[0])
    m = 2 * quotient + (remainder > 0)
    return to_float32((m if a[0] > 0 else -m, a[1] - b[1] - shift - 1))


def is_normal(number: Dyadic) -> bool:
    """Whether float32 has room for its 24 bits: neither subnormal nor infinite."""
    return -125 <= abs(number[0]).bit_length() + number[1] <= 128


def to_integer(number: Dyadic) -> int:
    """The nearest integer, ties to even."""
    m, e = number
    if e >= 0:
        return m << e
    quotient, remainder = divmod(m, 1 << -e)
    half = 1 << (-e - 1)
    return quotient + 1 if remainder > half or (remainder == half and quotient & 1) else quotient


def requantize(total: int, multiplier: float, shift: int | None) -> int:
    """A sum at the output's scale, before zero point and clamp; ``shift`` None means float32_half_even."""
    if shift is None:
        return to_integer(times(to_float32((total, 0)), dyadic(multiplier)))
    return (total * int(multiplier) + (1 << (shift - 1))) >> shift


def add(a: int, b: int, multipliers: tuple[float, float], shift: int | None) -> int:
    """Two integers, zero points taken off, at the output's scale."""
    if shift is None:
        return to_integer(plus(times((a, 0), dyadic(multipliers[0])), times((b, 0), dyadic(multipliers[1]))))
    return (a * int(multipliers[0]) + b * int(multipliers[1]) + (1 << (shift - 1))) >> shift
