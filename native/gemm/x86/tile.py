"""What the generated loops share: offsets in a call, the arithmetic of a row, a register shape and its addresses.

The build compares every offset and number written here with gemm.h and ways.h (``checks`` in generate.py).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal

from rows import rows

TABLE = rows("GEMM")
"""Lines of rows.inc."""
X, STRIDE, PACKED, PIECES, COUNT, SUMS, BIAS, Y, Y_STRIDE, SCALE, GROUPS = range(0, 88, 8)
HI, ZERO, LO, WAY = range(88, 104, 4)
NEXT, ADDEND, WORDS = 104, 112, 120
LINE_GROUPS, LINES, X_JUMP, Y_JUMP = range(128, 160, 8)
CALL = {
    "x": X,
    "stride": STRIDE,
    "packed": PACKED,
    "pieces": PIECES,
    "piece_count": COUNT,
    "sums": SUMS,
    "bias": BIAS,
    "y": Y,
    "y_stride": Y_STRIDE,
    "scale": SCALE,
    "groups": GROUPS,
    "hi": HI,
    "zero": ZERO,
    "lo": LO,
    "way": WAY,
    "next": NEXT,
    "addend": ADDEND,
    "words": WORDS,
    "line_groups": LINE_GROUPS,
    "lines": LINES,
    "x_jump": X_JUMP,
    "y_jump": Y_JUMP,
}
"""Where the members of GemmCall begin."""
PIECE_STEPS, PIECE_AFTER, PIECE_SKIPPED, PIECE_BYTES = 4, 8, 12, 16
PIECE = {"first": 0, "steps": PIECE_STEPS, "after": PIECE_AFTER, "skipped": PIECE_SKIPPED}
"""Where the members of Piece begin."""
ADD, GO_ON, BEGIN = range(3)
GENERAL, FLOATS, IN_WORDS, IN_MOVED_WORDS = range(4)
NUMBERS = {
    "After::kAdd": ADD,
    "After::kGoOn": GO_ON,
    "After::kBegin": BEGIN,
    "Way::kGeneral": GENERAL,
    "Way::kFloats": FLOATS,
    "Way::kWords": IN_WORDS,
    "Way::kMovedWords": IN_MOVED_WORDS,
    "sizeof(Piece)": PIECE_BYTES,
}
"""After a piece; ways from sums to bytes."""
BASES = ("%r9", "%r10", "%r11", "%rax")
CALL_REGISTERS = ("%rbx", "%rbp")
"""Registers of the caller, which every function saves."""


@dataclass(frozen=True)
class Arithmetic:
    """How one step of a row is summed.

    Attributes:
        functions: stem of the row's functions in rows.inc.
        register: "ymm" or "zmm".
        step: instructions of one step on row ``r``, given its address and whether sums begin with it; None, as ``load``
            is, where loops are of whole runs (``most_run``).
        load: loads the weights of one step.
        accumulators: per row and vector of outputs.
        spill: turns the accumulators of one (row, vector) into s32 sums in the first of them; None where they are
            such sums, which then go on from bias and earlier runs.
        s16_ones: where s16 ones are needed.
        quads: of k in one step.
        vectors: of outputs in a whole tile.
        most_run: steps whose sums may share 16 bits in registers of their own, before they are added to s32 sums that
            stay in theirs (``runs.py``); 0: runs end where they are told to.
    """

    functions: str
    register: str
    accumulators: int
    load: Callable[[Tile], Iterator[str]] | None
    step: Callable[[Tile, int, str, bool], Iterator[str]] | None
    spill: Callable[[Tile, int, int], Iterator[str]] | None
    s16_ones: Literal["", "step", "spill"] = ""
    quads: int = 1
    vectors: int = 2
    most_run: int = 0

    @property
    def rows(self) -> int:
        """Most rows of x a tile may have; registers decide, and rows.inc says it."""
        return int(TABLE[self.functions]["m"])


@dataclass(frozen=True)
class Tile:
    """One register shape: rows of x by vectors of outputs."""

    arithmetic: Arithmetic
    rows: int
    vectors: int

    @property
    def bytes(self) -> int:
        """Bytes of one register."""
        return 32 if self.arithmetic.register == "ymm" else 64

    def reg(self, index: int) -> str:
        """The name of register ``index``."""
        return f"%{self.arithmetic.register}{index}"

    def acc(self, row: int, index: int) -> str:
        """The accumulators come first."""
        return self.reg(row * self.vectors * self.arithmetic.accumulators + index)

    def sums(self, row: int, vector: int) -> str:
        """Where a spill leaves the s32 sums."""
        return self.acc(row, vector * self.arithmetic.accumulators)

    def product(self, row: int, vector: int, first: bool) -> str:
        """Where a product goes: the last vector's may replace the operand; the first of a sum is the sum."""
        if first:
            return self.acc(row, vector)
        return self.free(3 if vector + 1 < self.vectors else 2)

    def free(self, index: int) -> str:
        """What the accumulators of the tallest tile leave."""
        return self.reg(self.arithmetic.rows * self.arithmetic.vectors * self.arithmetic.accumulators + index)


def row_address(row: int, k: int) -> str:
    """X at ``row``, ``k`` bytes ahead: three rows share a base register."""
    inside = ("", ",%r8", ",%r8,2")[row % 3]
    return f"{k or ''}({BASES[row // 3]}{inside})"
