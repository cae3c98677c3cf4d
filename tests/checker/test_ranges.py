"""Ranges of all channels at once: what the definition says channel by channel, in Python integers."""

from __future__ import annotations

from itertools import product
from typing import Any

import numpy as np
import pytest

from oaq.checker import rounding
from oaq.checker.program import Node, Tensor
from oaq.checker.ranges import Range, after_requantize, image
from oaq.errors import FormatError

Pairs = list[tuple[int, int]]
X = Tensor("x", (4, 3, 6), 7, 0, 255)
Y = Tensor("y", (4, 3, 6), 9, 2, 250)
HALF = np.array([0.5, 0.3], np.float32)
FIXED = {"requantize.multiplier": np.array([2**30, 3], np.int32), "requantize.shift": np.array([31, 31], np.int32)}


def node(kind: str, arrays: dict[str, np.ndarray] | None = None, **fields: Any) -> Node:
    """One operator of that kind."""
    return Node("node", kind, ("x",), "y", fields, arrays or {})


def drawn(channels: int, seed: int = 0) -> Range:
    """Ranges at the ends of u8 and between."""
    rng = np.random.default_rng(seed)
    ends = np.sort(rng.choice([0, 1, 7, 9, 128, 254, 255], (2, channels)), axis=0)
    return Range(ends[0], ends[1])


def pairs(one: Range) -> Pairs:
    """As Python integers."""
    return list(zip(one.lo.tolist(), one.hi.tolist(), strict=True))


def clamped(value: int, y: Tensor = Y) -> int:
    """The definition: zero point, then the effective range."""
    return min(max(value + y.zero, y.lo), y.hi)


@pytest.mark.parametrize("fixed", [False, True])
def test_sums_are_requantized_each_by_its_own_multiplier(fixed: bool) -> None:
    sums = [(-(2**31), 2**31 - 1), (2**31, 2**33), (-(2**40), -5), (0, 0), (-1, 1), (-(2**24) - 1, 2**24 + 1)]
    which = [0, 1, 1, 0, 1, 0]
    arrays = FIXED if fixed else {"requantize.multiplier": HALF}
    ends = np.array(sums)
    found = after_requantize(Range(ends[:, 0], ends[:, 1]), node("Conv2d", arrays), Y, np.array(which), 2)
    factors = arrays["requantize.multiplier"].tolist()
    expected = [
        tuple(clamped(rounding.requantize(end, factors[at], 31 if fixed else None)) for end in both)
        for both, at in zip(sums, which, strict=True)
    ]
    assert pairs(found) == expected


@pytest.mark.parametrize("fixed", [False, True])
def test_added_and_multiplied_channels_are_the_definition(fixed: bool) -> None:
    arrays = FIXED if fixed else {"requantize.multiplier": HALF}
    arrays = {key: np.full_like(value, value[0]) for key, value in arrays.items()}
    one = {key: value[:1] for key, value in arrays.items()}
    shift, factor = 31 if fixed else None, arrays["requantize.multiplier"].tolist()[0]
    a, b, z = drawn(40, 1), drawn(40, 2), Tensor("z", (40,), 128, 0, 255)
    y = Tensor("y", (40,), 9, 2, 250)
    found = (image(node("Add", arrays), [a, b], [X, z], y), image(node("Mul", one), [a, b], [X, z], y))
    for channel, (p, q) in enumerate(zip(pairs(a), pairs(b), strict=True)):
        ends = [rounding.add(p[end] - 7, q[end] - 128, (factor, factor), shift) for end in (0, 1)]
        assert pairs(found[0])[channel] == (clamped(ends[0]), clamped(ends[1]))
        corners = [(r - 7) * (s - 128) for r, s in product(p, q)]
        ends = [rounding.requantize(end, factor, shift) for end in (min(corners), max(corners))]
        assert pairs(found[1])[channel] == (clamped(ends[0]), clamped(ends[1]))


@pytest.mark.parametrize(("before", "after"), [(6, 4), (4, 6), (6, 12), (12, 6), (5, 7), (1, 30), (30, 1), (6, 6)])
def test_a_reshape_moves_every_element(before: int, after: int) -> None:
    count = before * after  # a multiple of both, as any tensor's size is
    x, y = Tensor("x", (after, 1, before), 7, 0, 255), Tensor("y", (before, 1, after), 7, 0, 255)
    ends = drawn(before, before)
    expected = [[255, 0] for _ in range(after)]
    for element in range(count):
        low, high = pairs(ends)[element % before]
        target = expected[element % after]
        target[0], target[1] = min(target[0], low), max(target[1], high)
    assert [list(pair) for pair in pairs(image(node("Reshape"), [ends], [x], y))] == expected
    with pytest.raises(FormatError, match="does not fill"):
        image(node("Reshape"), [ends], [x], Tensor("y", (count + 1,), 7, 0, 255))


def test_a_table_maps_every_integer_of_a_channels_range() -> None:
    table, x = np.random.default_rng(0).permutation(256).astype(np.uint8), drawn(50)
    y = Tensor("y", (50,), 9, 0, 255)
    expected = [(min(table[lo : hi + 1].tolist()), max(table[lo : hi + 1].tolist())) for lo, hi in pairs(x)]
    assert pairs(image(node("Lookup", {"table": table}), [x], [X], y)) == expected


def test_tables_of_channels_map_every_integer_of_their_channels_range() -> None:
    tables, x = np.random.default_rng(1).integers(0, 256, (50, 256)).astype(np.uint8), drawn(50)
    y = Tensor("y", (50,), 9, 0, 255)
    reached = [table[lo : hi + 1].tolist() for table, (lo, hi) in zip(tables, pairs(x), strict=True)]
    expected = [(min(entries), max(entries)) for entries in reached]
    assert pairs(image(node("ChannelLookup", {"tables": tables}), [x], [X], y)) == expected
    with pytest.raises(FormatError, match=r"tables of shape \(50, 256\) for 49 channels"):
        image(node("ChannelLookup", {"tables": tables}), [drawn(49)], [X], y)


@pytest.mark.parametrize("mode", ["DCR", "CRD"])
def test_depth_to_space_joins_the_channels_of_a_block(mode: str) -> None:
    x, y = drawn(12), Tensor("y", (8, 6, 3), 7, 0, 255)
    found = pairs(image(node("DepthToSpace", block=2, mode=mode), [x], [X], y))
    for channel in range(3):
        sources = [pairs(x)[4 * channel + at if mode == "CRD" else 3 * at + channel] for at in range(4)]
        assert found[channel] == (min(lo for lo, _ in sources), max(hi for _, hi in sources))


@pytest.mark.parametrize("include", [False, True])
def test_a_pool_is_bounded_by_every_number_of_positions_it_averages(include: bool) -> None:
    factors = (1 / np.arange(1, 10)).astype(np.float32)
    pool = node(
        "AvgPool",
        {"requantize.multiplier": factors},
        kernel=[3, 3],
        stride=[1, 1],
        padding=[1, 1, 1, 1],
        count_include_pad=include,
    )
    x = drawn(6)
    found = pairs(image(pool, [x], [X], Y))  # 4 x 3 positions: windows cover 2 or 3 rows, 2 or 3 columns
    for channel, (lo, hi) in enumerate(pairs(x)):
        means = [
            [
                clamped(rounding.requantize(inside * (end - 7), float(factors[(9 if include else inside) - 1]), None))
                for inside in (4, 6, 9)
            ]
            for end in (lo, hi)
        ]
        assert found[channel] == (min(means[0]), max(means[1]))


@pytest.mark.parametrize("kind", ["Add", "Mul"])
def test_tensors_of_different_channels_are_refused(kind: str) -> None:
    arrays = {"requantize.multiplier": HALF[: 2 if kind == "Add" else 1]}
    with pytest.raises(FormatError, match="as many channels"):
        image(node(kind, arrays), [drawn(6), drawn(1)], [X, X], Y)
