"""What the generated loops share: offsets in a call, the arithmetic of a row, a register shape and its addresses."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal

X, STRIDE, PACKED, PIECES, COUNT, SUMS, BIAS, Y, Y_STRIDE, SCALE, GROUPS = range(0, 88, 8)
HI, ZERO, LO, WAY = range(88, 104, 4)
NEXT, ADDEND, WORDS = 104, 112, 120
LINE_GROUPS, LINES, X_JUMP, Y_JUMP = range(128, 160, 8)
PIECE_STEPS, PIECE_AFTER, PIECE_BYTES = 4, 8, 12
ADD, GO_ON, BEGIN = range(3)
"""After a piece: native/gemm/gemm.h."""
GENERAL, FLOATS, IN_WORDS = range(3)
"""Ways from sums to bytes: native/requantize/ways.h."""
BASES = ("%r9", "%r10", "%r11", "%rax")


@dataclass(frozen=True)
class Arithmetic:
    """How one step of a row is summed.

    Attributes:
        name: of the table row, without "gemm_u8s8_".
        register: "ymm" or "zmm".
        rows: most rows of x a tile may have; registers decide.
        step: instructions of one step on row ``r``, given its address and whether sums begin with it.
        load: loads the weights of one step.
        accumulators: per row and vector of outputs.
        spill: turns the accumulators of one (row, vector) into s32 sums in the first of them; None where they are
            such sums, which then go on from bias and earlier runs.
        ones: where s16 ones are needed.
    """

    name: str
    register: str
    rows: int
    accumulators: int
    load: Callable[[Tile], Iterator[str]]
    step: Callable[[Tile, int, str, bool], Iterator[str]]
    spill: Callable[[Tile, int, int], Iterator[str]] | None
    ones: Literal["", "step", "spill"] = ""


@dataclass(frozen=True)
class Tile:
    """One register shape: rows of x by vectors of outputs."""

    how: Arithmetic
    rows: int
    vectors: int

    @property
    def bytes(self) -> int:
        """Of one register."""
        return 32 if self.how.register == "ymm" else 64

    def reg(self, index: int) -> str:
        """By number."""
        return f"%{self.how.register}{index}"

    def acc(self, row: int, index: int) -> str:
        """The accumulators come first."""
        return self.reg(row * self.vectors * self.how.accumulators + index)

    def sums(self, row: int, vector: int) -> str:
        """Where a spill leaves the s32 sums."""
        return self.acc(row, vector * self.how.accumulators)

    def product(self, row: int, vector: int, first: bool) -> str:
        """Where a product goes: the last vector's may replace the operand; the first of a sum is the sum."""
        if first:
            return self.acc(row, vector)
        return self.free(3 if vector + 1 < self.vectors else 2)

    def free(self, index: int) -> str:
        """What the accumulators of the tallest tile leave."""
        return self.reg(self.how.rows * 2 * self.how.accumulators + index)


def row_address(row: int, k: int) -> str:
    """X at ``row``, ``k`` bytes ahead: three rows share a base register."""
    inside = ("", ",%r8", ",%r8,2")[row % 3]
    return f"{k or ''}({BASES[row // 3]}{inside})"
