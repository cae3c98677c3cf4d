"""Tiles and steps, and bounds derived in blocks: what the definition says product by product."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest

from oaq.numerics.accumulator import Accumulator
from oaq.numerics.cells import TileShape, lane_of
from oaq.numerics.ranges import IntRange
from oaq.overflow import bounds
from oaq.overflow.bounds import weight_bound
from oaq.overflow.spill import Schedule, schedule
from oaq.overflow.tiled import shape_of
from tests.overflow.test_spill import REGISTERS, case

BLOCKS = [1, 24, 1 << 15]


@pytest.mark.parametrize("dtype", [np.int8, np.int32])
@pytest.mark.parametrize(("outputs", "groups", "tile_n"), [(1, 1, 4), (8, 1, 4), (10, 2, 3), (6, 6, 1)])
@pytest.mark.parametrize(("terms", "step"), [(1, 4), (8, 4), (9, 2), (17, 16)])
def test_tiles_hold_every_weight_once_and_zeros(
    outputs: int, groups: int, tile_n: int, terms: int, step: int, dtype: type
) -> None:
    shape = TileShape(outputs, terms, step, tile_n, groups)
    values = np.random.default_rng(0).integers(1, 100, (outputs, terms)).astype(dtype)
    laid = shape.lay(values)
    assert laid.shape == (shape.tiles, shape.steps, tile_n, step)
    assert laid.dtype == dtype
    expected = np.zeros_like(laid)
    per_group = outputs // groups
    for n, k in product(range(outputs), range(terms)):
        tile = n // per_group * shape.tiles_per_group + n % per_group // tile_n
        expected[tile, k // step, n % per_group % tile_n, k % step] = values[n, k]
        assert shape.first_outputs()[tile] == n - n % per_group % tile_n
    assert np.array_equal(laid, expected)
    assert shape.is_padded == (laid.size != values.size)
    ends = np.arange(1, outputs + 1)
    by_tile = shape.by_tile(ends)
    assert sorted(by_tile[by_tile > 0].tolist()) == ends.tolist()
    assert by_tile.size == shape.tiles * tile_n


def test_ranges_that_fit_no_weights_are_refused() -> None:
    weight, x = np.zeros((6, 5), np.int8), np.zeros((2, 5))
    assert shape_of(weight, x, x, 4, (4, 2)).tiles == 2
    for low, groups in ((np.zeros((2, 4)), 2), (np.zeros((4, 5)), 2), (x, 4)):
        with pytest.raises(ValueError, match="do not fit ranges"):
            shape_of(weight, low, low, 4, (4, groups))


@pytest.mark.parametrize("block", BLOCKS)
@pytest.mark.parametrize("rows", [1, 2, 6])
@pytest.mark.parametrize("low", [False, True], ids=["zero-inside", "zero-outside"])
def test_sums_are_bounded_alike_in_blocks(monkeypatch: pytest.MonkeyPatch, block: int, rows: int, low: bool) -> None:
    monkeypatch.setattr(bounds, "BLOCK", block)
    weight, lo, hi = case(rows, 6, 11, rows, low=low)
    for partial in (False, True):
        found = weight_bound(weight, lo, hi, partial=partial)
        for n, w in enumerate(weight.tolist()):
            row = n // (6 // rows)
            ends = [sorted((a * int(b), a * int(c))) for a, b, c in zip(w, lo[row], hi[row], strict=True)]
            if partial:
                ends = [[min(a, 0), max(b, 0)] for a, b in ends]
            assert found[n] == IntRange(sum(a for a, _ in ends), sum(b for _, b in ends))


def defined(plan: Schedule, lo: np.ndarray, hi: np.ndarray, outputs: int) -> tuple[list[list[int]], IntRange]:
    """Bounds of every run and of any group, product by product, for a layer in one group."""
    register, row, found = plan.accumulator, 0, []
    groups: list[int] = []
    for tile, start, count in plan.segments.tolist():
        ends: list[int] = []
        for output in range(plan.tile_n):
            n = min(tile * plan.tile_n + output, outputs - 1) // (outputs // len(lo))  # padding holds zero weights
            sums = np.zeros((register.lanes, 2), int)
            for step, first in product(range(count), range(0, register.step, register.group)):
                k = (start + step) * register.step + first
                low = high = 0
                for j in range(register.group):
                    w = int(plan.packed[row + step, output, first + j])
                    x = (int(lo[n, k + j]), int(hi[n, k + j])) if k + j < lo.shape[1] else (0, 0)
                    low, high = low + min(w * x[0], w * x[1]), high + max(w * x[0], w * x[1])
                groups += [low, high]
                partial = register.overflow != "wraps"
                sums[lane_of(register, k)] += (min(low, 0), max(high, 0)) if partial else (low, high)
            ends += sums.reshape(-1).tolist()
        found.append([min(ends), max(ends)])
        row += count
    return found, IntRange(min(groups), max(groups))


@pytest.mark.parametrize("register", REGISTERS, ids=lambda r: f"{r.name}-{r.overflow}")
@pytest.mark.parametrize("rows", [1, 5])
def test_a_schedules_bounds_are_the_definition(
    monkeypatch: pytest.MonkeyPatch, register: Accumulator, rows: int
) -> None:
    for seed, (low, block) in enumerate(product([False, True], BLOCKS)):
        monkeypatch.setattr(bounds, "BLOCK", block)
        weight, lo, hi = case(seed, 5, 37, rows, low=low)
        plan = schedule(weight, lo, hi, register, 3)
        expected, group = defined(plan, lo, hi, 5)
        assert plan.bounds.tolist() == expected
        assert plan.group_bound == group
