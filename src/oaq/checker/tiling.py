"""How kernels cut a layer: tiles of outputs, steps of K. One block of tiles at a time."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from oaq.checker.ranges import Ints
from oaq.checker.sums import BLOCK, Layer
from oaq.errors import FormatError

Integer = TypeVar("Integer", bound=np.integer)


@dataclass(frozen=True, eq=False)
class Tiling:
    """Tiles of ``tile_n`` outputs that do not span groups, the last of each group padded; steps of ``step`` products.

    Attributes:
        of: the layer.
        tile_n: outputs per tile.
        step: products per step.
    """

    of: Layer
    tile_n: int
    step: int

    @property
    def steps(self) -> int:
        """That cover K."""
        return -(-self.of.weight.shape[1] // self.step)

    @property
    def per_group(self) -> int:
        """Tiles of one group."""
        return -(-(len(self.of.weight) // self.of.tile_groups) // self.tile_n)

    @property
    def tiles(self) -> int:
        """Of the layer."""
        return self.of.tile_groups * self.per_group

    def require_sane(self) -> None:
        """Refuse tiles and steps that make much more of a layer than it is.

        Raises:
            FormatError: what a hostile file would have this checker work through.
        """
        size = self.tiles * self.tile_n * self.steps * self.step
        if size > 64 * self.of.weight.size + (1 << 24):
            raise FormatError(
                f"{self.of.node}: tiles of {self.tile_n} outputs and steps of {self.step} do not suit weights "
                f"{self.of.weight.shape}"
            )

    def blocks(self) -> Iterator[tuple[int, int]]:
        """Ranges of tiles of about ``BLOCK`` weights together, at least one tile each."""
        many = max(1, BLOCK // (self.tile_n * self.steps * self.step))
        return ((first, min(first + many, self.tiles)) for first in range(0, self.tiles, many))

    def laid(self, values: NDArray[Integer], first: int, last: int) -> NDArray[Integer]:
        """(N, K) of tiles first..last-1 as (T * Q, tile_n, step): tiles, then steps, zeros where there is nothing."""
        outputs, terms = len(values) // self.of.tile_groups, values.shape[1]
        padded = np.zeros(((last - first) * self.tile_n, self.steps * self.step), values.dtype)
        for group in range(first // self.per_group, (last - 1) // self.per_group + 1):
            begins = group * self.per_group
            begin = (max(first, begins) - begins) * self.tile_n
            end = min((min(last, begins + self.per_group) - begins) * self.tile_n, outputs)
            to = (max(first, begins) - first) * self.tile_n
            padded[to : to + end - begin, :terms] = values[group * outputs + begin : group * outputs + end]
        whole_steps = padded.view(f"V{self.step * values.itemsize}").reshape(-1, self.tile_n, self.steps)
        return np.ascontiguousarray(whole_steps.swapaxes(1, 2)).view(values.dtype).reshape(-1, self.tile_n, self.step)

    def operands(self, end: Ints, first: int, last: int) -> Ints:
        """Operand ends of tiles first..last-1: (T * Q, 1 or tile_n, step), zeros where there is nothing.

        Args:
            end: (R, K), ``lo`` or ``hi`` of the layer.
            first: of the tiles.
            last: one more than the last tile.
        """
        if len(end) != self.of.tile_groups:  # depthwise: every output has its own
            return self.laid(end, first, last)
        groups = np.arange(first, last) // self.per_group
        padded = np.zeros((int(groups[-1]) + 1 - int(groups[0]), self.steps * self.step), end.dtype)
        padded[:, : end.shape[1]] = end[groups[0] : groups[-1] + 1]
        return padded[groups - groups[0]].reshape(-1, 1, self.step)
