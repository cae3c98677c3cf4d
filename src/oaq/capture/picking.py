"""Entries of axes picked by index: reflected borders, steps, reversed axes, nearest pixels of any rule, lists.

Front ends turn what picks into one list of entries per axis; ``ops.Gather`` picks them, one axis at a time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from oaq import operators as ops
from oaq.capture.assembly import Assembly
from oaq.capture.location import Location
from oaq.errors import UnsupportedOp

Index = NDArray[np.int32]
BORDERS: Final = {
    **{"reflect": "reflect", "edge": "edge", "wrap": "wrap"},  # as ONNX calls them
    **{"replicate": "edge", "circular": "wrap"},  # as torch does
    "symmetric": "symmetric",  # as TFLite does
}
"""How a padded position repeats the axis, by the names of formats, as NumPy calls it."""
MOST_PICKED: Final = 1 << 24
"""Entries of one axis; a few bytes of a file would otherwise make gigabytes."""


def check_count(count: int) -> None:
    """Require that so many entries of an axis may be picked.

    Raises:
        UnsupportedOp: they are more than ``MOST_PICKED``.
    """
    if count > MOST_PICKED:
        raise UnsupportedOp(f"{count} entries of one axis are picked; oaq picks up to {MOST_PICKED}")


def padded_index(size: int, before: int, after: int, mode: str) -> Index | None:
    """Which entry of an axis each position shows once ``before`` and ``after`` are added; None if runtimes refuse it.

    Args:
        size: of the axis.
        before: positions added in front, >= 0.
        after: positions added behind, >= 0.
        mode: a key of ``BORDERS``.

    Raises:
        UnsupportedOp: more than ``MOST_PICKED``.
    """
    most = {"reflect": size - 1, "edge": max(before, after), "wrap": size, "symmetric": size}[BORDERS[mode]]
    if max(before, after) > most:
        return None
    check_count(before + size + after)
    return np.pad(np.arange(size, dtype=np.int32), (before, after), mode=BORDERS[mode])  # type: ignore[call-overload]


def strided_index(begin: int, end: int, step: int) -> Index:
    """The entries of a slice by steps, which may be negative.

    Raises:
        UnsupportedOp: more than ``MOST_PICKED``.
    """
    check_count(len(range(begin, end, step)))
    return np.arange(begin, end, step, dtype=np.int32)


def is_everything(index: Sequence[int] | Index, size: int) -> bool:
    """Whether it picks every entry once, in order."""
    return len(index) == size and bool(np.array_equal(index, np.arange(size)))


def pick(build: Assembly, tensor: str, picks: Iterable[tuple[int, Index]], site: Location) -> str:
    """The tensor of a float graph with some entries of some axes, ``(axis of (C, ...), entries)`` each."""
    for axis, index in picks:
        shape = build.shapes[tensor]
        if is_everything(index, shape[axis]):
            continue
        result = (*shape[:axis], len(index), *shape[axis + 1 :])
        tensor = build.append(ops.Gather(axis, index.astype(np.int32)), (tensor,), result, site)
    return tensor


def in_memory(axis: int, rank: int) -> int:
    """``Gather``'s number of an axis that memory has at place ``axis`` of ``rank``, channels last."""
    return 0 if axis == rank - 1 else axis + 1


def gathers(picks: Iterable[tuple[int, Index]], shape: Sequence[int], place: Callable[[int], int]) -> list[ops.Op]:
    """Operators of integers that pick entries of axes of ``shape``, as a file counts them.

    Args:
        picks: (axis of the file, entries) each.
        shape: by the file's axes.
        place: of each of these axes in memory.
    """
    return [
        ops.Gather(in_memory(place(axis), len(shape)), index.astype(np.int32))
        for axis, index in picks
        if not is_everything(index, shape[axis])
    ]
