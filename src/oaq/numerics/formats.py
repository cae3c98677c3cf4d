"""The integer formats by name."""

from __future__ import annotations

from typing import Final

from oaq.numerics.ranges import IntRange


def signed(bits: int) -> IntRange:
    """The range of a two's complement register of ``bits`` bits (1 or more).

    >>> signed(16)
    IntRange(lo=-32768, hi=32767)
    """
    if bits < 1:
        raise ValueError(f"a register has at least 1 bit, not {bits}")
    return IntRange(-(1 << (bits - 1)), (1 << (bits - 1)) - 1)


U8: Final = IntRange(0, 255)
U7: Final = IntRange(0, 127)
S8: Final = signed(8)
S8_WEIGHT: Final = IntRange(-127, 127)
"""Weights as oaq chooses them: symmetric, so they can be negated."""
WIDE_WEIGHT: Final = IntRange(-255, 255)
"""Weights as other tools' zero points make them: a u8 minus a u8. See ``overflow.wide``."""
S16: Final = signed(16)
S32: Final = signed(32)
