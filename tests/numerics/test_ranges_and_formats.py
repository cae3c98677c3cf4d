"""Intervals and register formats, exhaustively where small."""

from __future__ import annotations

import numpy as np
import pytest

from oaq.numerics.formats import S8, S8_WEIGHT, S16, S32, U8, signed
from oaq.numerics.ranges import ChannelRanges, IntRange


@pytest.mark.parametrize("bits", range(1, 9))
def test_signed_bits_is_the_narrowest_register_that_holds_the_range(bits: int) -> None:
    register = signed(bits)
    for lo in range(register.lo, register.hi + 1):
        for hi in range(lo, register.hi + 1):
            needed = IntRange(lo, hi).signed_bits
            assert signed(needed).contains(IntRange(lo, hi))
            assert needed == 1 or not signed(needed - 1).contains(IntRange(lo, hi))


@pytest.mark.parametrize(
    ("lo", "hi", "bits"),
    [
        (0, 0, 1),
        (-1, 0, 1),
        (-1, -1, 1),
        (0, 1, 2),
        (-2, 1, 2),
        (-32768, 32767, 16),
        (-32769, 0, 17),
        (0, 32768, 17),
        (0, 2**31 - 1, 32),
        (0, 2**31, 33),
        (-(2**31), 0, 32),
        (-(2**70), 0, 71),
    ],
)
def test_signed_bits_at_the_edges_of_registers(lo: int, hi: int, bits: int) -> None:
    assert IntRange(lo, hi).signed_bits == bits


def test_formats_are_what_their_names_say() -> None:
    assert (U8.lo, U8.hi) == (0, 255)
    assert (S8.lo, S8.hi) == (-128, 127)
    assert (S8_WEIGHT.lo, S8_WEIGHT.hi) == (-127, 127)
    assert (S16.lo, S16.hi) == (-32768, 32767)
    assert (S32.lo, S32.hi) == (-2147483648, 2147483647)
    assert S16.contains(IntRange(-255 * 127, 255 * 127))


def test_membership_containment_hull_and_clamp_agree_with_sets() -> None:
    ranges = [IntRange(lo, hi) for lo in range(-3, 3) for hi in range(lo, 3)]
    for a in ranges:
        inside = set(range(a.lo, a.hi + 1))
        for value in range(-5, 6):
            assert (value in a) == (value in inside)
            assert a.clamp(value) == min(inside, key=lambda member: abs(member - value))
        for b in ranges:
            other = set(range(b.lo, b.hi + 1))
            assert a.contains(b) == (other <= inside)
            assert (a.hull(b).lo, a.hull(b).hi) == (min(inside | other), max(inside | other))


def test_a_range_is_never_empty_and_never_a_float() -> None:
    with pytest.raises(ValueError, match="holds none"):
        IntRange(1, 0)
    for bad in (1.0, True, np.int64(1)):
        with pytest.raises(TypeError, match="Python ints"):
            IntRange(0, bad)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="at least 1 bit"):
        signed(0)


def test_channel_ranges_are_read_only_copies_with_lo_below_hi() -> None:
    lo = np.array([1, 2])
    ranges = ChannelRanges(lo, np.array([5, 2]))
    lo[0] = 99
    assert list(ranges) == [IntRange(1, 5), IntRange(2, 2)]
    assert ranges[1] == IntRange(2, 2)
    assert ranges.envelope() == IntRange(1, 5)
    assert list(ranges.hull(3)) == [IntRange(1, 5), IntRange(2, 3)]
    assert len(ChannelRanges.constant(IntRange(0, 9), 7)) == 7
    with pytest.raises(ValueError, match="read-only"):
        ranges.lo[0] = 0
    with pytest.raises(ValueError, match="channel by channel"):
        ChannelRanges(np.array([2]), np.array([1]))
    with pytest.raises(TypeError, match="1-d integer"):
        ChannelRanges(np.array([2.0]), np.array([3.0]))
