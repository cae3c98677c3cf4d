"""From a sum that may wrap to a u8: a table of its residue. The third way out of a layer, beside ``requantize``'s two.

    r = sum mod 2**b in [0, 2**b)        y[n] = table[n][r[n]]

Addition modulo 2**b does not depend on order, lanes or spills: any register that wraps at b bits or more holds a number
of the same residue (docs/math/modular.md). Nothing is monotone here: an image is that of the residues themselves.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

from oaq.numerics.ranges import ChannelRanges, IntRange

FEWEST_BITS: Final = 2
MOST_BITS: Final = 16
"""Bits that sums may be counted modulo: no row of the kernel table sums in fewer than 16."""


@dataclass(frozen=True, eq=False)
class Modular:
    """How each output's sum, which may leave any register that wraps, becomes an integer.

    Attributes:
        table: (N, 2**b) uint8, b in 2..16: row n, entry r is output n's integer for sums congruent to r. One row serves
            all outputs.
    """

    table: NDArray[np.uint8]

    def __post_init__(self) -> None:
        source = np.asarray(self.table)
        if source.dtype != np.uint8 or source.ndim != 2:
            raise TypeError(f"a table of residues is (N, 2**b) uint8, not {source.dtype} of shape {source.shape}")
        rows, entries = source.shape
        if not rows or entries not in {1 << bits for bits in range(FEWEST_BITS, MOST_BITS + 1)}:
            raise ValueError(
                f"a table of residues has 2**b entries for each output, b in {FEWEST_BITS}..{MOST_BITS}, not the shape "
                f"{source.shape}"
            )
        copy = np.array(source, order="C")
        copy.flags.writeable = False
        object.__setattr__(self, "table", copy)

    @property
    def bits(self) -> int:
        """b: sums count modulo 2**b."""
        return self.table.shape[1].bit_length() - 1

    @property
    def semantics(self) -> Literal["modular"]:
        """What it is called beside the semantics of ``Requantize``."""
        return "modular"

    def __len__(self) -> int:
        return len(self.table)

    def image(self, sums: ChannelRanges, _zero_point: int, _clamp: IntRange) -> ChannelRanges:
        """Least and greatest entry that each output reaches: exact if every sum between its ends occurs."""
        entries = self.table.shape[1]
        ends = np.empty((2, len(sums.lo)), np.int64)
        for output, (low, high) in enumerate(zip(sums.lo.tolist(), sums.hi.tolist(), strict=True)):
            row = self.table[output if len(self.table) > 1 else 0]
            if high - low + 1 < entries:
                row = row[np.arange(low, high + 1) % entries]
            ends[:, output] = row.min(), row.max()
        return ChannelRanges(ends[0], ends[1])

    def apply(self, acc: NDArray[np.integer], _zero_point: int, _clamp: IntRange) -> NDArray[np.int64]:
        """The entries of sums whose last axis is the N outputs.

        Args:
            acc: (..., N) exact sums of any size below 2**63.

        Returns:
            (..., N) int64.
        """
        residue = acc.astype(np.int64) % self.table.shape[1]
        row = np.arange(acc.shape[-1]) if len(self.table) > 1 else 0
        return self.table[row, residue].astype(np.int64)


def wrapped(values: NDArray[np.int64], bits: int) -> NDArray[np.int64]:
    """What a two's complement register of ``bits`` bits holds of each value: in [-2**(bits - 1), 2**(bits - 1) - 1]."""
    half = np.int64(1) << np.int64(bits - 1)
    return (values + half) % (half * 2) - half
