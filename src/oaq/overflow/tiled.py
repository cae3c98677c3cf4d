"""A layer cut as kernels execute it: tiles of outputs, steps of K, zeros where there is nothing."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from oaq.numerics.accumulator import Accumulator
from oaq.numerics.cells import TileShape
from oaq.overflow.bounds import StepBounds, exact_dtype, step_bounds

Ints = NDArray[np.integer]


@dataclass(frozen=True, eq=False)
class Tiled:
    """Weights (T, Q, tile_n, step) int8 and their operand ranges (1 or T, Q, 1 or tile_n, step), in an exact type."""

    shape: TileShape
    weight: NDArray[np.int8]
    x_lo: Ints
    x_hi: Ints

    @property
    def tiles(self) -> int:
        """Tiles of the layer."""
        return self.shape.tiles

    @property
    def steps(self) -> int:
        """Steps of each tile."""
        return self.shape.steps

    def operands(self, tile: NDArray[np.intp], step: NDArray[np.intp]) -> tuple[Ints, Ints]:
        """Ranges (X, 1 or tile_n, step) of X steps."""
        low, high = (x[tile % x.shape[0], step] for x in (self.x_lo, self.x_hi))
        return low, high

    def bounds(self, accumulator: Accumulator) -> StepBounds:
        """What every (tile, step) adds, flattened to X = T * Q."""
        size = (self.tiles, self.steps)
        weight = self.weight.reshape(-1, *self.weight.shape[2:])
        low, high = (
            np.broadcast_to(x, (*size, *x.shape[2:])).reshape(-1, *x.shape[2:]) for x in (self.x_lo, self.x_hi)
        )
        return step_bounds(weight, low, high, accumulator, np.tile(np.arange(self.steps), self.tiles))


def shape_of(weight: Ints, x_lo: Ints, x_hi: Ints, step: int, tile: tuple[int, int]) -> TileShape:
    """How (N, K) weights with (R, K) ranges are cut into (outputs per tile, groups).

    Raises:
        ValueError: they do not fit each other.
    """
    (outputs, terms), (tile_n, groups) = weight.shape, tile
    if x_lo.shape != x_hi.shape or x_lo.shape[1] != terms or outputs % x_lo.shape[0] or outputs % groups:
        raise ValueError(f"weights {weight.shape} in {groups} groups do not fit ranges {x_lo.shape}, {x_hi.shape}")
    return TileShape(outputs, terms, step, tile_n, groups)


def tile(weight: NDArray[np.int8], x_lo: Ints, x_hi: Ints, shape: TileShape) -> Tiled:
    """Cut (N, K) weights and their (R, K) ranges."""
    dtype = exact_dtype(weight, x_lo, x_hi, shape.terms)
    rows = x_lo.shape[0]
    if rows in (1, shape.groups):  # every output of a tile reads one row
        row_shape, times = TileShape(rows, shape.terms, shape.step, 1, rows), 1 if rows == 1 else shape.tiles_per_group
        ends_by_tile = [np.repeat(row_shape.lay(ends.astype(dtype)), times, axis=0) for ends in (x_lo, x_hi)]
    else:
        ends_by_tile = [
            shape.lay(np.repeat(ends.astype(dtype), shape.outputs // rows, axis=0)) for ends in (x_lo, x_hi)
        ]
    return Tiled(shape, np.asarray(shape.lay(weight), np.int8), ends_by_tile[0], ends_by_tile[1])
