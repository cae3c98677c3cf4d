"""Lanes, cells and tiles: what the definition says of every product and every output."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from oaq.numerics.accumulator import (
    AVX2_ACC16,
    AVX2_ACC32,
    DEPTHWISE_ACC16,
    EXACT_S32,
    NEON_ACC16,
    NEON_MLAL_PAIR,
    Accumulator,
    pure,
)
from oaq.numerics.cells import (
    TileShape,
    cells_from,
    cells_of,
    lane_of,
    meeting,
    place_in_lane,
    renumbered,
    signed_sums,
    sum_into_lanes,
)

REGISTERS = (
    AVX2_ACC16,
    AVX2_ACC32,
    DEPTHWISE_ACC16,
    EXACT_S32,
    NEON_ACC16,
    NEON_MLAL_PAIR,
    pure(20),
    Accumulator("odd", 18, "wraps", step=4, group=2, lanes=3),
    Accumulator("few", 17, "saturates", step=6, group=3, group_overflow="wraps", lanes=4, max_run=3),
)
named = pytest.mark.parametrize("register", REGISTERS, ids=lambda register: register.name)


@named
@pytest.mark.parametrize("run", [None, 1, 2])
@pytest.mark.parametrize("terms", [1, 2, 7, 48, 101])
def test_two_products_share_a_cell_iff_they_share_a_lane_between_two_spills(
    register: Accumulator, run: int | None, terms: int
) -> None:
    cells = cells_of(register, terms, run)
    steps = run if run is not None else register.max_run if register.max_run is not None else terms
    spill_and_lane = [(k // register.step // steps, k // register.group % register.lanes) for k in range(terms)]
    cell = cells.place // cells.members.shape[1]
    for a, b in itertools.product(range(terms), repeat=2):
        assert (cell[a] == cell[b]) == (spill_and_lane[a] == spill_and_lane[b])
    assert [spill_and_lane[first] for first in cells.members[:, 0]] == sorted(set(spill_and_lane))
    assert cells.terms == terms


@named
@pytest.mark.parametrize("terms", [1, 5, 48])
def test_members_ascend_and_scatter_undoes_gather(register: Accumulator, terms: int) -> None:
    cells = cells_of(register, terms)
    assert np.array_equal(cells.members.reshape(-1)[cells.place], np.arange(terms))
    assert np.count_nonzero(cells.members >= 0) == terms
    for members in cells.members.tolist():
        real = [k for k in members if k >= 0]
        assert members == sorted(real) + [-1] * (len(members) - len(real))
    values = np.arange(1, 3 * terms + 1).reshape(3, terms)
    by_cell = cells.gather(values, -7)
    assert np.all(by_cell[:, cells.members < 0] == -7)
    assert np.array_equal(cells.scatter(by_cell), values)


@named
@pytest.mark.parametrize("terms", [1, 5, 48])
def test_cell_of_is_the_register_that_lists_a_product(register: Accumulator, terms: int) -> None:
    cells = cells_of(register, terms)
    assert [k in cells.members[cell] for k, cell in enumerate(cells.cell_of.tolist())] == [True] * terms


@named
@pytest.mark.parametrize("terms", [1, 5, 48])
def test_products_that_move_keep_their_registers_and_padding_vanishes(register: Accumulator, terms: int) -> None:
    padded = terms + 7
    product = np.full(padded, -1)
    product[np.sort(np.random.default_rng(terms).permutation(padded)[:terms])] = np.arange(terms)[::-1]
    cells = cells_of(register, padded)
    moved = renumbered(cells, product, terms)
    place_of = {k: place for place, k in enumerate(product.tolist()) if k >= 0}
    for a, b in itertools.product(range(terms), repeat=2):
        meets = cells.cell_of[place_of[a]] == cells.cell_of[place_of[b]]
        assert (moved.cell_of[a] == moved.cell_of[b]) == meets
    assert np.array_equal(np.sort(moved.members[moved.members >= 0]), np.arange(terms))
    for members in moved.members.tolist():
        real = [k for k in members if k >= 0]
        assert real and members == sorted(real) + [-1] * (len(members) - len(real))


def test_registers_in_another_order_are_the_same_meeting_and_other_registers_are_not() -> None:
    first = cells_from(np.array([[0, 1], [2, 3]]), 4)
    assert meeting(first) == meeting(cells_from(np.array([[2, 3], [0, 1]]), 4))
    assert meeting(first) != meeting(cells_from(np.array([[0, 2], [1, 3]]), 4))
    assert meeting(first) != meeting(cells_from(np.array([[0, 1, 2, 3]]), 4))


@named
def test_groups_are_added_into_the_lane_of_their_first_product(register: Accumulator) -> None:
    rng = np.random.default_rng(1)
    index = rng.integers(0, 40, 9)
    groups = rng.integers(-50, 50, (register.step // register.group, len(index), 2))
    expected = np.zeros((register.lanes, len(index), 2), np.int64)
    for group, (row, step) in itertools.product(range(len(groups)), enumerate(index.tolist())):
        expected[lane_of(register, step * register.step + group * register.group), row] += groups[group, row]
    assert np.array_equal(sum_into_lanes(groups, register, index), expected)


@named
def test_place_in_lane_counts_earlier_products_of_the_lane(register: Accumulator) -> None:
    lanes = [lane_of(register, j) for j in range(register.step)]
    assert place_in_lane(register).tolist() == [lanes[:j].count(lanes[j]) for j in range(register.step)]


@pytest.mark.parametrize(("outputs", "groups", "tile_n"), [(1, 1, 4), (8, 1, 4), (9, 1, 4), (10, 2, 3), (6, 6, 1)])
def test_tiles_hold_every_output_once_and_no_two_groups(outputs: int, groups: int, tile_n: int) -> None:
    shape = TileShape(outputs, 5, 4, tile_n, groups)
    assert [n for tile in range(shape.tiles) for n in shape.outputs_of(tile)] == list(range(outputs))
    for tile in range(shape.tiles):
        own = shape.outputs_of(tile)
        assert 1 <= len(own) <= tile_n
        assert len({n // shape.outputs_per_group for n in own}) == 1
        assert shape.first_outputs()[tile] == own.start
        assert [shape.place_of(n) for n in own] == [(tile, slot) for slot in range(len(own))]


@pytest.mark.parametrize(
    ("outputs", "terms", "padded"), [(8, 12, False), (8, 13, True), (9, 12, True), (7, 11, True), (4, 4, False)]
)
def test_a_layer_is_padded_iff_outputs_or_terms_do_not_fill_its_tiles(outputs: int, terms: int, padded: bool) -> None:
    shape = TileShape(outputs, terms, 4, 4, 1)
    assert shape.is_padded == padded
    assert shape.is_padded == (shape.lay(np.ones((outputs, terms), np.int8)).size != outputs * terms)


def test_a_register_of_the_first_product_alone_is_kept() -> None:
    alone = cells_from(np.array([[0], [1], [2]]), 3)
    moved = renumbered(alone, np.array([1, 0, -1]), 2)
    assert moved.members.tolist() == [[1], [0]]
    assert moved.cell_of.tolist() == [1, 0]


@pytest.mark.parametrize("registers", [1, 2, 8, 65, 100])
@pytest.mark.parametrize("dtype", [np.int8, np.int32, np.int64])
def test_sums_of_signs_are_exact_for_every_register_also_of_extremes_and_of_registers_without_a_product(
    registers: int, dtype: type[np.integer]
) -> None:
    rng = np.random.default_rng(registers)
    ends = np.iinfo(dtype) if dtype is not np.int64 else np.iinfo(np.int32)
    for terms in (1, 7, 40):
        register = rng.integers(0, registers, terms)
        for rows in (
            np.full((2, terms), ends.min, dtype),
            np.full((2, terms), ends.max, dtype),
            rng.integers(ends.min, ends.max, (3, terms), dtype, endpoint=True),
        ):
            above, below = signed_sums(rows, register, registers)
            for row, positive, negative in zip(rows.tolist(), above.tolist(), below.tolist(), strict=True):
                of = [[w for w, r in zip(row, register.tolist(), strict=True) if r == q] for q in range(registers)]
                assert positive == [sum(max(w, 0) for w in weights) for weights in of]
                assert negative == [sum(max(-w, 0) for w in weights) for weights in of]
