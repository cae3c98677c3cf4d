"""Borders of images: where windows see padding, and that budgets count what native code leaves out."""

from __future__ import annotations

from math import prod

import numpy as np
import pytest

from oaq.kernels import _native
from oaq.kernels.borders import WORTH, Axis, Region, regions, shares


def places(kernel: int, stride: int, dilation: int, before: int, size: int, outputs: int) -> list[tuple[int, int]]:
    """Places of the window that see the image, by output: by looking at each."""
    seen = []
    for output in range(outputs):
        inside = [d for d in range(kernel) if 0 <= output * stride - before + d * dilation < size]
        seen.append((inside[0], inside[-1] + 1) if inside else (0, 0))
    return seen


def drawn(rng: np.random.Generator) -> tuple[Axis, int]:
    """An axis that exists, and its padding behind."""
    while True:
        kernel, stride, dilation = (int(rng.integers(1, most)) for most in (6, 4, 4))
        before, after, size = (int(rng.integers(0, most)) for most in (7, 7, 20))
        room = size + before + after - (kernel - 1) * dilation - 1
        if size > 0 and room >= 0:
            return Axis(kernel, stride, dilation, before, size, room // stride + 1), after


@pytest.mark.parametrize("seed", range(300))
def test_every_output_belongs_to_a_span_that_sees_what_it_sees(seed: int) -> None:
    axis, _ = drawn(np.random.default_rng(seed))
    widths = [end - first for first, end in places(**vars(axis))]
    assert [axis.places(o)[1] - axis.places(o)[0] for o in range(axis.outputs)] == widths
    spread = [seen for count, seen in axis.spans() for _ in range(count)]
    assert spread == widths or axis.spans() == ((axis.outputs, axis.kernel),)


@pytest.mark.parametrize("seed", range(300))
def test_native_code_cuts_outputs_as_budgets_count_them(seed: int) -> None:
    rng = np.random.default_rng(seed)
    (down, bottom), (across, right) = drawn(rng), drawn(rng)
    tile_m = int(rng.choice([1, 4, 6, 12]))
    pairs = [(getattr(down, name), getattr(across, name)) for name in ("kernel", "stride", "dilation")]
    padding = (down.before, bottom, across.before, right)
    x, y = (down.size, across.size, 4), (down.outputs, across.outputs, 8)
    kernel, stride, dilation = pairs
    cut = _native.border_regions(tile_m, x, y, kernel, stride, padding, dilation)
    expected = regions(tile_m, down, across)
    assert [Region(lines, columns, rows * row) for lines, columns, rows, row in cut] == list(expected)
    assert sum(part.lines * part.columns for part in expected) == down.outputs * across.outputs


def test_a_map_of_ten_by_ten_is_cut_at_all_four_sides() -> None:
    axis = Axis(3, 1, 1, 1, 10, 10)
    parts = regions(6, axis, axis)
    line, column = Region(1, 10, 6), Region(8, 1, 6)
    assert parts == (Region(8, 8, 9), line, column, column, line)
    positions, groups = shares(parts, 6, (3, 3))
    assert positions == pytest.approx(88)
    assert groups == pytest.approx(16 + 4 * 2 * 6 / 9)


def test_a_large_map_is_left_whole_where_borders_gain_little() -> None:
    axis = Axis(3, 1, 1, 1, 300, 300)
    (one,) = regions(6, axis, axis)
    assert one == Region(300, 300, 9)
    inside = 298 * 298 * 9 + 4 * 298 * 6 + 4 * 4
    assert inside > WORTH * prod((300, 300, 9))


def test_windows_that_leave_nothing_see_everything() -> None:
    axis = Axis(3, 2, 1, 0, 21, 10)
    assert regions(6, axis, axis) == (Region(10, 10, 9),)
