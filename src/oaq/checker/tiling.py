"""How kernels cut a layer: tiles of outputs, steps of K. One block of tiles at a time.

The route is slow and obvious on purpose, and another one than the planner's, which pads, views and transposes whole
arrays: here every (output n, operand k) gets its place by index arithmetic. With N / G outputs per group,

    tile = (n // (N / G)) * tiles per group + n % (N / G) // tile_n        slot = n % (N / G) % tile_n
    step = k // step length                                                place = k % step length

and its weight is written there, into zeros. A slip in one of the two routes is a difference that the comparison finds
(``tests/checker/test_slips.py`` seeds slips in both).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from oaq.checker.ranges import Ints
from oaq.checker.sums import BLOCK, SummingLayer
from oaq.errors import FormatError

Integer = TypeVar("Integer", bound=np.integer)


@dataclass(frozen=True, eq=False)
class Tiling:
    """Tiles of ``tile_n`` outputs that do not span groups, the last of each group padded; steps of ``step`` products.

    Attributes:
        layer: what is cut.
        tile_n: outputs per tile.
        step: products per step.
    """

    layer: SummingLayer
    tile_n: int
    step: int

    @property
    def steps(self) -> int:
        """Steps that cover K."""
        return -(-self.layer.weight.shape[1] // self.step)

    @property
    def outputs_per_group(self) -> int:
        """N / G, outputs that tiles cut together."""
        return len(self.layer.weight) // self.layer.tile_groups

    @property
    def tiles_per_group(self) -> int:
        """Tiles of one group."""
        return -(-self.outputs_per_group // self.tile_n)

    @property
    def tiles(self) -> int:
        """Tiles of the layer."""
        return self.layer.tile_groups * self.tiles_per_group

    def require_sane(self) -> None:
        """Refuse tiles and steps that make much more of a layer than it is.

        Raises:
            FormatError: what a hostile file would have this checker work through.
        """
        size = self.tiles * self.tile_n * self.steps * self.step
        if size > 64 * self.layer.weight.size + (1 << 24):
            raise FormatError(
                f"{self.layer.node}: tiles of {self.tile_n} outputs and steps of {self.step} do not suit weights "
                f"{self.layer.weight.shape}"
            )

    def blocks(self) -> Iterator[tuple[int, int]]:
        """Ranges of tiles of about ``BLOCK`` weights together, at least one tile each."""
        many = max(1, BLOCK // (self.tile_n * self.steps * self.step))
        return ((first, min(first + many, self.tiles)) for first in range(0, self.tiles, many))

    def places(self) -> tuple[Ints, Ints]:
        """Tile (N,) and slot in it (N,) of every output."""
        group, within = np.divmod(np.arange(len(self.layer.weight)), self.outputs_per_group)
        return group * self.tiles_per_group + within // self.tile_n, within % self.tile_n

    def cut(self, values: NDArray[Integer], first: int, last: int) -> NDArray[Integer]:
        """Values by step of tiles first..last-1, zeros where there is nothing.

        Args:
            values: (N, K), or (R, K) of which output n has row n // (N / R).
            first: of the tiles.
            last: one more than the last tile.

        Returns:
            (T * Q, tile_n, step), tile by tile.
        """
        tile, slot = self.places()
        outputs = np.nonzero((first <= tile) & (tile < last))[0]
        tile, slot = tile[outputs] - first, slot[outputs]
        rows = values[outputs // (len(self.layer.weight) // len(values))]
        by_step = np.zeros((len(rows), self.steps, self.step), values.dtype)
        by_step.reshape(len(rows), -1)[:, : rows.shape[1]] = rows  # value k is operand k % step of step k // step
        whole = np.dtype(f"V{self.step * values.itemsize}")  # a step's values move together
        cut = np.zeros((last - first, self.steps, self.tile_n), whole)
        cut[tile, :, slot] = by_step.view(whole)[:, :, 0]
        return cut.view(values.dtype).reshape(-1, self.tile_n, self.step)

    def operands(self, ends: Ints, first: int, last: int) -> Ints:
        """Operand ends by step of tiles first..last-1: (T * Q, 1 or tile_n, step), zeros where there is nothing.

        Args:
            ends: (R, K), ``lo`` or ``hi`` of the layer.
            first: of the tiles.
            last: one more than the last tile.
        """
        if len(ends) not in (1, self.layer.tile_groups):  # outputs of one tile read several rows
            return self.cut(ends, first, last)
        group = np.arange(first, last) // self.tiles_per_group
        first_output = group * self.outputs_per_group  # any output of the group reads its row
        row = first_output // (len(self.layer.weight) // len(ends))
        cut = np.zeros((last - first, self.steps, self.step), ends.dtype)
        cut.reshape(last - first, -1)[:, : ends.shape[1]] = ends[row]
        return cut.reshape(-1, 1, self.step)
