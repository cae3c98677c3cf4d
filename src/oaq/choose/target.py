"""The accumulator that weights are chosen for: which products share a register, and how much each may hold.

A *cell* is the set of products that one register of one output sums between two spills. With operands in
[0, x_hi] as loaded, positive weights of sum P and negative ones of sum -N, the register is proved to hold its sum iff

    x_hi * P <= 2**(bits - 1) - 1        x_hi * N <= 2**(bits - 1)

so a cell has two budgets of whole numbers, and keeping them *is* the proof (docs/math/training.md). A saturating pair
lies inside one cell, so its own sum is bounded by the same budgets.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

from oaq.errors import ConfigError
from oaq.numerics.accumulator import AVX2_ACC16, DEPTHWISE_ACC16, NEON_ACC16, NEON_DEPTHWISE_ACC16, Accumulator, pure
from oaq.numerics.cells import Cells, cells_of, signed_sums
from oaq.numerics.formats import signed

Register = Literal["pure", "avx2", "neon"]
REGISTERS: Final[Mapping[str, str]] = {
    "pure": "one register of `bits` bits sums all of K (or `run` products, then spills)",
    "avx2": "16-bit lanes of vpmaddubsw + vpaddw on k-quads, a lane per channel on tap pairs in depthwise layers",
    "neon": "eight 16-bit lanes of smlal + smlal2, k modulo 8; a lane per channel in depthwise layers",
}
LEAST_BITS: Final = 8
MOST_BITS: Final = 32


@dataclass(frozen=True)
class Target:
    """The accumulator to be kept.

    Attributes:
        register: "pure", "avx2" or "neon": see ``REGISTERS``.
        bits: of one register, 8..32; 16 unless pure.
        run: inner steps between two spills (k-quads on avx2, products on pure); None is all of K, no spill.
    """

    register: Register = "avx2"
    bits: int = 16
    run: int | None = None

    def __post_init__(self) -> None:
        if self.register not in REGISTERS:
            raise ConfigError(f"a target's register is one of {', '.join(REGISTERS)}, not {self.register!r}")
        if type(self.bits) is not int or not LEAST_BITS <= self.bits <= MOST_BITS:
            raise ConfigError(f"a target's register has {LEAST_BITS} to {MOST_BITS} bits, not {self.bits!r}")
        if self.register != "pure" and self.bits != 16:
            raise ConfigError(f"the lanes of {self.register} have 16 bits, not {self.bits}; pure registers have any")
        if self.run is not None and (type(self.run) is not int or self.run < 1):
            raise ConfigError(f"a target's run is at least 1 step, or None for all of K; not {self.run!r}")

    def __str__(self) -> str:
        register = f"{self.bits} bits" if self.register == "pure" else f"{self.register} 16-bit lanes"
        return register if self.run is None else f"{register}, runs of {self.run}"

    def accumulator(self, *, depthwise: bool) -> Accumulator:
        """The register model, without a limit on its runs."""
        if self.register == "pure":
            return pure(self.bits)
        if self.register == "neon":
            return NEON_DEPTHWISE_ACC16 if depthwise else NEON_ACC16
        return DEPTHWISE_ACC16 if depthwise else AVX2_ACC16

    def budgets(self, x_hi: int) -> tuple[int, int]:
        """Most that positive weights of a cell may sum to, and negative ones (negated), for operands in [0, x_hi]."""
        register = signed(self.bits)
        if x_hi < 1:
            return MOST_BUDGET, MOST_BUDGET
        return min(register.hi // x_hi, MOST_BUDGET), min(-register.lo // x_hi, MOST_BUDGET)


MOST_BUDGET: Final = 1 << 23
"""Budgets stop here, where no row of 8-bit weights of provable length goes and float32 still holds every integer."""


def make_cells(terms: int, target: Target, *, depthwise: bool) -> Cells:
    """The cells of a layer with K = ``terms``."""
    accumulator = target.accumulator(depthwise=depthwise)
    return unspilled(accumulator, terms) if target.run is None else cells_of(accumulator, terms, target.run)


def unspilled(accumulator: Accumulator, terms: int) -> Cells:
    """The cells of K = ``terms`` on a register that is not spilled, even if a kernel must: K steps hold all of K."""
    return cells_of(accumulator, terms, run=terms)


def cell_sums(rows: NDArray[np.integer], cells: Cells) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """(N, Q) exact sums of the positive weights of every cell, and of the negative ones negated.

    Args:
        rows: (N, K) integers in packed K order.
        cells: of the layer.
    """
    return signed_sums(rows, cells.cell_of, len(cells.members))


def keeps(rows: NDArray[np.integer], cells: Cells, budgets: tuple[int, int]) -> NDArray[np.bool_]:
    """(N,): every cell of the output keeps both budgets."""
    up, down = cell_sums(rows, cells)
    return np.all((up <= budgets[0]) & (down <= budgets[1]), axis=1)
