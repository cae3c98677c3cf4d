"""What the generated lines share: offsets in a call, the arithmetic of a row, neighbours and their registers.

The build compares every offset and number written here with depthwise.h and ways.h (``checks`` in generate.py).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

X, X_STEP, OUTPUTS, WEIGHTS, ENDS, BIAS, SCALE, Y, Y_STRIDE, SUMS, ZERO = range(0, 88, 8)
LO, HI, WAY, WORDS = ZERO + 4, ZERO + 8, 104, 112
CALL = {
    "x": X,
    "x_step": X_STEP,
    "outputs": OUTPUTS,
    "weights": WEIGHTS,
    "ends": ENDS,
    "bias": BIAS,
    "scale": SCALE,
    "y": Y,
    "y_stride": Y_STRIDE,
    "sums": SUMS,
    "zero": ZERO,
    "lo": LO,
    "hi": HI,
    "way": WAY,
    "words": WORDS,
}
"""Where the members of DepthwiseCall begin."""
FLOATS, IN_WORDS, IN_MOVED_WORDS = 1, 2, 3
NUMBERS = {
    "Way::kGeneral": 0,
    "Way::kFloats": FLOATS,
    "Way::kWords": IN_WORDS,
    "Way::kMovedWords": IN_MOVED_WORDS,
}
"""Ways from sums to bytes."""
LINES = ("%r8", "%r9", "%r10", "%r11", "%r12")


@dataclass(frozen=True)
class Arithmetic:
    """How one step of a row is summed.

    Attributes:
        functions: stem of the row's functions in rows.inc.
        register: "ymm" or "zmm".
        taps: of a step.
        step_bytes: of its weights.
        sums: register of the first s32 sum; each output has four.
        step: instructions of one step.
        is_narrow: sums have 16 bits, two registers of an output, until a spill widens them.
    """

    functions: str
    register: str
    taps: int
    step_bytes: int
    sums: int
    step: Callable[[Line, int, bool], Iterator[str]]
    is_narrow: bool = False


@dataclass(frozen=True)
class Line:
    """One loop: neighbours of one window that are computed together."""

    arithmetic: Arithmetic
    side: int
    outputs: int

    @property
    def bytes(self) -> int:
        """Bytes of one register, and of one pixel of a tile."""
        return 32 if self.arithmetic.register == "ymm" else 64

    @property
    def steps(self) -> int:
        """Steps of the window."""
        return -(-self.side * self.side // self.arithmetic.taps)

    def reg(self, index: int) -> str:
        """The name of register ``index``."""
        return f"%{self.arithmetic.register}{index}"

    def sum(self, output: int, j: int) -> str:
        """The j-th register of s32 sums."""
        return self.reg(self.arithmetic.sums + 4 * output + j)

    def narrow(self, output: int, half: int) -> str:
        """A register of s16 sums."""
        return self.reg(2 * output + half)

    def move(self, source: str, to: str) -> str:
        """A whole register to or from memory."""
        return f"vmovdqu{'8' if self.bytes == 64 else ''} {source}, {to}"

    def clear(self, register: str) -> str:
        """To zero."""
        return f"vpxor{'d' if self.bytes == 64 else ''} {register}, {register}, {register}"

    def pixel(self, output: int, tap: int) -> str:
        """Address under a tap; one that only fills up the last step reads the last pixel, times zero."""
        row, column = divmod(min(tap, self.side * self.side - 1), self.side)
        return f"{column * self.bytes or ''}({LINES[row]}{',%rax' if output else ''})"


ZERO_POINT, LOWEST, HIGHEST, ZEROS, EVEN = 13, 14, 15, 12, 12
