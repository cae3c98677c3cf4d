"""Numbers at the edges: weights, biases, multipliers, ranges, zero points."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from random import Random
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

Bulk = np.random.Generator
WEIGHT_KINDS: Final = (
    "uniform", "uniform", "ends", "minus-128", "small", "sparse", "positive", "negative", "pairs", "zero", "single",
    "wide-ends", "wide", "wide-sparse",
)  # fmt: skip
MULTIPLIER_KINDS: Final = ("typical", "typical", "ties", "ties", "words", "huge", "tiny", "mixed")
TWICE: Final = 0.25
"""Share of fixed-point nodes that round a second time."""
MOST_THEN: Final = 31
LARGEST_FLOAT: Final = float(np.finfo(np.float32).max)
MOST: Final = (1 << 31) - 1


@dataclass(frozen=True)
class Draws:
    """Where draws come from: choices one by one, numbers in bulk; and the program's rounding law."""

    choose: Random
    bulk: Bulk
    fixed: bool


def interval(choose: Random) -> tuple[int, int]:
    """An effective range inside u8: often whole, sometimes narrow, sometimes a single integer."""
    kind = choose.random()
    if kind < 0.45:
        return 0, 255
    if kind < 0.6:
        return (0, 127) if choose.random() < 0.5 else (128, 255)
    if kind < 0.8:
        ends = sorted((choose.randrange(256), choose.randrange(256)))
        return ends[0], ends[1]
    low = choose.randrange(256)
    low = low if low % 2 else 0  # rows of few bits take operands from 0 on
    return low, min(255, low + choose.choice((0, 0, 1, 2, 3, 9)))


def zero_point(choose: Random, ends: tuple[int, int]) -> int:
    """Inside a range: at an end as often as between."""
    middle = (ends[0] + ends[1] + 1) // 2
    return choose.choice((ends[0], ends[0], ends[1], middle, choose.randint(*ends)))


def weights(draws: Draws, shape: Sequence[int]) -> NDArray[np.signedinteger[Any]]:
    """int8, or int16 where one leaves int8."""
    bulk, kind = draws.bulk, draws.choose.choice(WEIGHT_KINDS)
    match kind:
        case "uniform":
            values = bulk.integers(-128, 128, shape)
        case "ends":
            values = np.where(bulk.integers(0, 2, shape) > 0, 127, -127)
        case "minus-128":
            values = np.where(bulk.integers(0, 3, shape) > 0, -128, 127)
        case "small":
            values = bulk.integers(-3, 4, shape)
        case "sparse":
            values = bulk.integers(-128, 128, shape) * (bulk.random(shape) < 0.2)
        case "positive":
            values = np.full(shape, 127)
        case "negative":
            values = np.full(shape, -128 if draws.choose.random() < 0.5 else -127)
        case "pairs":  # equal signs in pairs, so that lanes grow as fast as they can and cancel one another
            values = np.resize(np.array([127, 127, -128, -128]), math.prod(shape)).reshape(shape)
        case "zero":
            values = np.zeros(shape, np.int64)
        case "single":
            values = np.zeros(shape, np.int64)
            values.reshape(-1)[draws.choose.randrange(values.size)] = draws.choose.choice((1, -1, 127, -128, 255, -255))
        case "wide-ends":
            values = bulk.choice(np.array([-255, 255, -129, 128, -128, 127, 0]), shape)
        case "wide":
            values = bulk.integers(0, 256, shape) - draws.choose.choice((0, 1, 128, 254, 255))
        case _:
            values = np.where(bulk.random(shape) < 0.1, bulk.integers(-255, 256, shape), bulk.integers(-9, 10, shape))
    return values.astype(np.int8 if values.min() >= -128 and values.max() <= 127 else np.int16)


def bias(draws: Draws, weight: NDArray[Any], loaded: tuple[int, int], zero: int) -> NDArray[np.int32]:
    """(N,): none, near the middle, or so that the largest partial sum just reaches an end of s32, or just leaves it.

    Args:
        draws: random numbers.
        weight: (N, K).
        loaded: least and most of an operand.
        zero: the input's zero point.
    """
    wide = weight.astype(np.int64)
    outputs = len(wide)
    kind = draws.choose.random()
    if kind < 0.2:
        return np.zeros(outputs, np.int32)
    positive, negative = np.maximum(wide, 0).sum(axis=1), np.minimum(wide, 0).sum(axis=1)
    if kind < 0.85:
        reach = (positive - negative) * 255 // draws.choose.choice((1, 2, 4, 16)) + 1
        return draws.bulk.integers(-reach, reach + 1).astype(np.int32)
    excess = draws.choose.choice((0, 0, 0, 0, 0, 0, 1, 7))
    if draws.choose.random() < 0.5:
        ends = MOST - positive * loaded[1] + zero * wide.sum(axis=1) + excess
    else:
        ends = -MOST - 1 - negative * loaded[1] + zero * wide.sum(axis=1) - excess
    return np.clip(ends, -MOST - 1, MOST).astype(np.int32)


def multipliers(draws: Draws, typical: NDArray[np.float64] | Sequence[float]) -> dict[str, NDArray[Any]]:
    """One multiplier for each ``typical`` ratio: near it, a maker of ties, a 16-bit word, or extreme."""
    kind = draws.choose.choice(MULTIPLIER_KINDS)
    pairs = [
        _multiplier(draws, float(ratio), draws.choose.choice(MULTIPLIER_KINDS[:-1]) if kind == "mixed" else kind)
        for ratio in typical
    ]
    return packed(draws, pairs)


def residues(draws: Draws, outputs: int, ends: tuple[int, int]) -> tuple[NDArray[np.int32], dict[str, NDArray[Any]]]:
    """(N,) biases of any s32, and a table of residues for each output, or one for all: entries within ``ends``."""
    bits = draws.choose.choice((2, 3, 5, 6, 7, 8, 8, 9, 15, 16))
    tables = outputs if bits < 10 and draws.choose.random() < 0.7 else 1
    table = draws.bulk.integers(ends[0], ends[1] + 1, (tables, 1 << bits)).astype(np.uint8)
    if draws.choose.random() < 0.3:  # nearly constant: the few residues that differ have to be found
        table[:, draws.bulk.random(1 << bits) < 0.95] = ends[0]
    kind = draws.choose.random()
    if kind < 0.4:
        own_bias = np.zeros(outputs, np.int64)
    elif kind < 0.8:
        own_bias = draws.bulk.integers(-5000, 5001, outputs)
    else:
        own_bias = np.where(draws.bulk.integers(0, 2, outputs) > 0, MOST, -MOST - 1)
    return own_bias.astype(np.int32), {"requantize.table": table}


def packed(draws: Draws, pairs: Sequence[tuple[float, int]]) -> dict[str, NDArray[Any]]:
    """As a node stores them: (multiplier, shift) of each; the shift is 0 in float32."""
    if not draws.fixed:
        return {"requantize.multiplier": np.array([factor for factor, _ in pairs], np.float32)}
    shifts = np.array([shift for _, shift in pairs], np.int32)
    numbers = {"requantize.multiplier": np.array([factor for factor, _ in pairs], np.int32), "requantize.shift": shifts}
    if draws.choose.random() < TWICE:  # the second rounding takes its bits from the first, or takes more
        most = shifts - 1 if draws.choose.random() < 0.8 else np.full(len(pairs), MOST_THEN, np.int32)
        bits = np.minimum(draws.bulk.integers(0, most + 1), MOST_THEN).astype(np.int32)
        numbers["requantize.then"] = bits
        numbers["requantize.shift"] = np.maximum(shifts - bits, 1).astype(np.int32)
    return numbers


def _multiplier(draws: Draws, typical: float, kind: str) -> tuple[float, int]:
    choose = draws.choose
    typical = min(max(typical, 2.0**-30), 2.0**20)
    ratio = typical * 2.0 ** choose.uniform(-1, 2)
    if kind == "ties":
        odd = choose.choice((1, 1, 1, 3, 5, 7, 9, 11, 15, 255))
        shift = min(max(round(math.log2(odd / ratio)), 1), 62)
        extra = choose.randrange(0, 20) if draws.fixed else 0
        extra = min(extra, 62 - shift)
        return (odd << extra, shift + extra) if draws.fixed else (odd * 2.0**-shift, 0)
    if kind == "words":
        word = min(max(round(ratio * (1 << 15)), 1), 32767)
        return (word, 15) if draws.fixed else (word * 2.0**-15, 0)
    if kind == "huge":
        if draws.fixed:
            return choose.choice((MOST, MOST, MOST - 1, 1 << 30)), choose.choice((1, 1, 2, 15, 22, 31))
        return choose.choice((LARGEST_FLOAT, 2.0**119, 2.0**20, 2.0**21, 2.0**22, 2.0**23, 2.0**24, 2.0**31, 1e30)), 0
    if kind == "tiny":
        if draws.fixed:
            return choose.choice((1, 1, 3, 1 << 20)), choose.choice((62, 61, 40, 31))
        return choose.choice((2.0**-149, 2.0**-126, 1e-40, 1e-30, 2.0**-32)), 0
    if not draws.fixed:
        return float(np.float32(ratio)), 0
    fraction, exponent = math.frexp(ratio)
    return min(max(round(fraction * (1 << 31)), 1), MOST), min(max(31 - exponent, 1), 62)
