"""Closed integer intervals: one (``IntRange``) and one per channel (``ChannelRanges``)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, order=True)
class IntRange:
    """The integers lo, lo + 1, ..., hi. Never empty: lo <= hi.

    >>> IntRange(0, 255).contains(IntRange(3, 7))
    True
    >>> IntRange(-3, 2).hull(IntRange(5, 9))
    IntRange(lo=-3, hi=9)
    """

    lo: int
    hi: int

    def __post_init__(self) -> None:
        for end in (self.lo, self.hi):
            if isinstance(end, bool) or not isinstance(end, int):
                raise TypeError(f"the ends of an IntRange are Python ints, not {type(end).__name__}: {end!r}")
        if self.lo > self.hi:
            raise ValueError(f"an IntRange holds at least one integer; [{self.lo}, {self.hi}] holds none")

    def __contains__(self, value: int) -> bool:
        return self.lo <= value <= self.hi

    def contains(self, inner: IntRange) -> bool:
        """True iff every integer of ``inner`` is one of ours."""
        return self.lo <= inner.lo and inner.hi <= self.hi

    def hull(self, neighbour: IntRange) -> IntRange:
        """The smallest range that holds both."""
        return IntRange(min(self.lo, neighbour.lo), max(self.hi, neighbour.hi))

    def clamp(self, value: int) -> int:
        """The member of this range nearest to ``value``."""
        return min(max(value, self.lo), self.hi)

    @property
    def steps(self) -> int:
        """How many steps of one lead from ``lo`` to ``hi``."""
        return self.hi - self.lo

    @property
    def signed_bits(self) -> int:
        """Bits of the narrowest two's complement register that holds the whole range.

        >>> IntRange(-32768, 32767).signed_bits, IntRange(0, 32768).signed_bits
        (16, 17)
        """
        return 1 + max(self.hi.bit_length() if self.hi >= 0 else 0, (~self.lo).bit_length() if self.lo < 0 else 0)


@dataclass(frozen=True, eq=False)
class ChannelRanges:
    """One range per channel: int64 arrays ``lo`` and ``hi`` of shape (C,), ``lo <= hi`` everywhere, read-only."""

    lo: NDArray[np.int64]
    hi: NDArray[np.int64]

    def __post_init__(self) -> None:
        for name in ("lo", "hi"):
            array = np.asarray(getattr(self, name))
            if array.ndim != 1 or not np.issubdtype(array.dtype, np.integer):
                raise TypeError(
                    f"ChannelRanges.{name} is a 1-d integer array, not {array.dtype} of shape {array.shape}"
                )
            ends = array.astype(np.int64)
            ends.flags.writeable = False
            object.__setattr__(self, name, ends)
        if self.lo.shape != self.hi.shape or bool(np.any(self.lo > self.hi)):
            raise ValueError("ChannelRanges needs lo <= hi, channel by channel")

    @classmethod
    def constant(cls, interval: IntRange, channels: int) -> ChannelRanges:
        """One interval for each of ``channels`` channels."""
        return cls(np.full(channels, interval.lo, np.int64), np.full(channels, interval.hi, np.int64))

    def __len__(self) -> int:
        return len(self.lo)

    def __iter__(self) -> Iterator[IntRange]:
        return (IntRange(int(lo), int(hi)) for lo, hi in zip(self.lo, self.hi, strict=True))

    def __getitem__(self, channel: int) -> IntRange:
        return IntRange(int(self.lo[channel]), int(self.hi[channel]))

    def hull(self, value: int) -> ChannelRanges:
        """Every channel's range, widened to hold ``value``."""
        return ChannelRanges(np.minimum(self.lo, value), np.maximum(self.hi, value))

    def union(self, ranges: ChannelRanges) -> ChannelRanges:
        """The smallest ranges that hold both, channel by channel."""
        return ChannelRanges(np.minimum(self.lo, ranges.lo), np.maximum(self.hi, ranges.hi))

    def less(self, zero_point: int) -> ChannelRanges:
        """Every end less a zero point."""
        return ChannelRanges(self.lo - zero_point, self.hi - zero_point)

    def envelope(self) -> IntRange:
        """The smallest single range that holds every channel."""
        return IntRange(int(self.lo.min()), int(self.hi.max()))
