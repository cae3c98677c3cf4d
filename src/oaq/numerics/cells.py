"""Which products share a register between two spills, and how a layer is cut into tiles and steps: said once, here.

Packed operand k of an output stands in step ``k // step``; its products go, a group at a time, to the lanes in turn.
Lanes are emptied between two spills: the products that one lane of one output sums from one spill to the next are a
*cell*. What a register is and does with a sum is ``numerics.accumulator``; bounds are ``oaq.overflow``.

The checker works all of this out again, by another route, and takes nothing from here.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, TypeVar, overload

import numpy as np
from numpy.typing import NDArray

from oaq.numerics.accumulator import Accumulator

Ints = NDArray[np.integer]
Entry = TypeVar("Entry", bound=np.generic)
BY_PRODUCT = 64
"""Most registers whose integers are summed by a product of matrices."""
EXACT_FLOATS = 1 << 24
"""Sums below it are exact in float32, in any order."""


@overload
def lane_of(accumulator: Accumulator, k: int) -> int: ...
@overload
def lane_of(accumulator: Accumulator, k: Ints) -> Ints: ...
def lane_of(accumulator: Accumulator, k: int | Ints) -> int | Ints:
    """Lane in which operand ``k`` of the packed order is summed: group ``k // group`` modulo ``lanes``.

    >>> from oaq.numerics.accumulator import AVX2_ACC16
    >>> lane_of(AVX2_ACC16, np.arange(8)).tolist()
    [0, 0, 1, 1, 0, 0, 1, 1]
    """
    return (k // accumulator.group) % accumulator.lanes


def place_in_lane(accumulator: Accumulator) -> NDArray[np.intp]:
    """(step,): how many earlier operands of the same step share operand j's lane (for the first step)."""
    lanes = lane_of(accumulator, np.arange(accumulator.step)).tolist()
    return np.array([lanes[:j].count(lanes[j]) for j in range(accumulator.step)], np.intp)


def sum_into_lanes(groups: Ints, accumulator: Accumulator, step_index: NDArray[np.intp]) -> Ints:
    """Add the groups of X steps into lanes.

    Args:
        groups: (step / group, X, ...) what each group of each step adds.
        accumulator: the register model.
        step_index: (X,) which step of the packed K order each one is.

    Returns:
        (lanes, X, ...); ``groups`` itself where every group has a lane of its own.
    """
    per_step, lanes = len(groups), accumulator.lanes
    if per_step == lanes:
        return groups
    if per_step % lanes == 0:
        return groups.reshape(-1, lanes, *groups.shape[1:]).sum(axis=0, dtype=groups.dtype)
    sums = np.zeros((lanes, *groups.shape[1:]), groups.dtype)
    rows = np.arange(len(step_index))
    for j in range(per_step):
        sums[lane_of(accumulator, step_index * accumulator.step + j * accumulator.group), rows] += groups[j]
    return sums


def signed_sums(rows: Ints, register: NDArray[np.intp], count: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """(N, count) exact sums of the positive integers of every register, and of the negative ones negated.

    Args:
        rows: (N, K) integers.
        register: (K,) which of ``count`` registers sums k.
        count: how many there are.

    >>> signed_sums(np.array([[1, -2, 3]]), np.array([0, 0, 1]), 2)
    (array([[1, 3]]), array([[2, 0]]))
    """
    largest = rows.shape[1] * max(int(rows.max(initial=0)), -int(rows.min(initial=0)))
    if count > BY_PRODUCT or largest >= EXACT_FLOATS:
        return _sums_of_integers(rows, register, count)
    member = np.zeros((rows.shape[1], count), np.float32)
    member[np.arange(rows.shape[1]), register] = 1
    real = rows.astype(np.float32)
    above, below = (np.maximum(part, 0) @ member for part in (real, -real))
    return above.astype(np.int64), below.astype(np.int64)


def _sums_of_integers(
    rows: Ints, register: NDArray[np.intp], count: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """As ``signed_sums``, by segments of 64-bit integers; each begins with a 0, so that none is empty."""
    order = np.argsort(np.concatenate([np.arange(count), register]), kind="stable")
    starts = np.flatnonzero(order < count)
    wide = np.pad(rows.astype(np.int64), ((0, 0), (count, 0)))[:, order]
    above, below = (np.add.reduceat(np.maximum(part, 0), starts, axis=1) for part in (wide, -wide))
    return above, below


@dataclass(frozen=True, eq=False)
class Cells:
    """Registers that share no product.

    Attributes:
        members: (Q, width) which k each register sums, ascending; -1 where it sums fewer than ``width``.
        place: (K,) where k stands in the flattened (Q, width).
    """

    members: NDArray[np.intp]
    place: NDArray[np.intp]

    @property
    def terms(self) -> int:
        """K, how many products there are."""
        return len(self.place)

    @property
    def cell_of(self) -> NDArray[np.intp]:
        """(K,) which of the Q registers sums k."""
        return self.place // self.members.shape[1]

    def gather(self, values: NDArray[Any], none: float = 0) -> NDArray[Any]:
        """(N, K) by register, (N, Q, width): ``none`` where a register sums fewer."""
        padded = np.concatenate([values, np.full((len(values), 1), none, values.dtype)], axis=1)
        return padded[:, self.members]

    def scatter(self, values: NDArray[Any]) -> NDArray[Any]:
        """(N, Q, width) by product, (N, K): the inverse of ``gather``."""
        return values.reshape(len(values), -1)[:, self.place]


def cells_from(members: NDArray[np.intp], terms: int) -> Cells:
    """Registers with these members.

    Args:
        members: (Q, width) each of 0 .. ``terms`` - 1 once, ascending in a row; -1 where a register sums fewer.
        terms: K.
    """
    place = np.zeros(terms + 1, np.intp)
    place[members.reshape(-1)] = np.arange(members.size)
    return Cells(members, place[:terms])


def renumbered(cells: Cells, product: NDArray[np.intp], terms: int) -> Cells:
    """Registers of a padded or permuted layer in terms of the products themselves; those without a product left out.

    Args:
        cells: of P places.
        product: (P,) which of 0 .. ``terms`` - 1 stands at each place, every one once; -1 is padding.
        terms: K, at most P.

    >>> pairs = cells_from(np.array([[0, 1], [2, 3], [4, 5]]), 6)
    >>> renumbered(pairs, np.array([2, 0, 1, -1, -1, -1]), 3).members.tolist()
    [[0, 2], [1, -1]]
    """
    members = np.where(cells.members >= 0, product[cells.members], -1)
    members = np.sort(np.where(members >= 0, members, terms)[(members >= 0).any(axis=1)], axis=1)
    return cells_from(np.where(members < terms, members, -1), terms)


def meeting(cells: Cells) -> bytes:
    """Which products meet in a register, whatever the order of the registers, as a key of a dictionary."""
    return np.array(cells.members.shape).tobytes() + np.unique(cells.members, axis=0).tobytes()


def cells_of(accumulator: Accumulator, terms: int, run: int | None = None) -> Cells:
    """The cells of one output, run after run; in each run, lane after lane.

    Args:
        accumulator: the register model.
        terms: K, at least 1.
        run: steps between two spills; None takes the register's ``max_run``, and all of K if it has no limit.

    >>> from oaq.numerics.accumulator import AVX2_ACC16
    >>> cells_of(AVX2_ACC16, 7).members.tolist()
    [[0, 1, 4, 5], [2, 3, 6, -1]]
    """
    k = np.arange(terms, dtype=np.intp)
    run = accumulator.max_run if run is None else run
    spill = np.zeros_like(k) if run is None else k // (accumulator.step * run)
    _, cell, size = np.unique(
        spill * accumulator.lanes + lane_of(accumulator, k), return_inverse=True, return_counts=True
    )
    order = np.argsort(cell, kind="stable")
    within = np.empty(terms, np.intp)
    within[order] = k - np.repeat(np.cumsum(size) - size, size)
    members = np.full((len(size), int(size.max())), -1, np.intp)
    members[cell, within] = k
    return Cells(members, cell * members.shape[1] + within)


@dataclass(frozen=True)
class TileShape:
    """How a layer is cut: tiles of outputs that span no two groups, the last of each group padded; steps of K.

    Attributes:
        outputs: N.
        terms: K.
        step: operands per step.
        tile_n: outputs per tile.
        groups: groups of outputs that tiles do not span; divides N. 1 for depthwise, whose tiles span channels.
    """

    outputs: int
    terms: int
    step: int
    tile_n: int
    groups: int

    @property
    def steps(self) -> int:
        """Steps that cover K."""
        return -(-self.terms // self.step)

    @property
    def outputs_per_group(self) -> int:
        """N / groups."""
        return self.outputs // self.groups

    @property
    def tiles_per_group(self) -> int:
        """Tiles of one group."""
        return -(-self.outputs_per_group // self.tile_n)

    @property
    def tiles(self) -> int:
        """Tiles of the layer."""
        return self.groups * self.tiles_per_group

    @property
    def is_padded(self) -> bool:
        """True iff some output or operand of a tile is none of the layer's."""
        return self.tiles * self.tile_n != self.outputs or self.steps * self.step != self.terms

    def place_of(self, output: int) -> tuple[int, int]:
        """Tile of an output, and which of its outputs it is."""
        group, within = divmod(output, self.outputs_per_group)
        return group * self.tiles_per_group + within // self.tile_n, within % self.tile_n

    def outputs_of(self, tile: int) -> range:
        """Outputs of a tile, without padding."""
        group, within = divmod(tile, self.tiles_per_group)
        first, end = group * self.outputs_per_group + within * self.tile_n, (group + 1) * self.outputs_per_group
        return range(first, min(first + self.tile_n, end))

    def first_outputs(self) -> NDArray[np.intp]:
        """(T,) first output of each tile."""
        group, within = np.divmod(np.arange(self.tiles), self.tiles_per_group)
        return group * self.outputs_per_group + within * self.tile_n

    def lay(self, values: NDArray[Entry]) -> NDArray[Entry]:
        """(N, K) to (T, Q, tile_n, step), contiguous; zeros where there is nothing."""
        padded = np.zeros((self.groups, self.tiles_per_group * self.tile_n, self.steps * self.step), values.dtype)
        padded[:, : self.outputs_per_group, : self.terms] = values.reshape(self.groups, -1, self.terms)
        # A step's operands move together: four times as fast as one by one.
        by_step = padded.view(f"V{self.step * values.itemsize}").reshape(self.tiles, self.tile_n, self.steps)
        packed = np.ascontiguousarray(by_step.swapaxes(1, 2)).view(values.dtype)
        return packed.reshape(self.tiles, self.steps, self.tile_n, self.step)

    def by_tile(self, by_output: NDArray[np.integer]) -> NDArray[np.integer]:
        """(N,) to (T, tile_n), zeros for missing outputs."""
        padded = np.zeros((self.groups, self.tiles_per_group * self.tile_n), by_output.dtype)
        padded[:, : self.outputs_per_group] = by_output.reshape(self.groups, -1)
        return padded.reshape(self.tiles, self.tile_n)
