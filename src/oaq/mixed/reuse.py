"""Memory of tensors inside a file, used again once nothing reads it: asking the system anew costs more than a layer.

A large array that is freed goes back to the system, and the next one's pages are cleared one by one when they are first
written. So what regions write lies in buffers that stay. A buffer is free again when no array refers to it any more,
those that a caller still holds included; each thread has buffers of its own.
"""

from __future__ import annotations

import sys
import threading
from math import prod
from typing import Final

import numpy as np
from numpy.typing import NDArray

LEAST: Final = 1 << 14
"""Floats from which on a buffer is kept; smaller ones the allocator of C keeps by itself."""
MOST: Final = 32
"""Buffers of a thread that are kept; beyond, the one used longest ago is let go."""
Floats = NDArray[np.float32]


def _references(buffers: list[Floats], place: int) -> int:
    """How many references there are to a buffer, those of the list and of this question included."""
    return sys.getrefcount(buffers[place])


UNUSED: Final = _references([np.empty(1, np.float32)], 0)
"""References to a buffer that nothing uses; versions of Python count differently."""


class Buffers(threading.local):
    """Buffers of float32, a list for each thread."""

    def __init__(self) -> None:
        self._kept: list[Floats] = []

    def __reduce__(self) -> tuple[type[Buffers], tuple[()]]:
        """A copy has buffers of its own."""
        return Buffers, ()

    def empty(self, shape: tuple[int, ...]) -> Floats:
        """An array of that shape, its elements undefined."""
        count = prod(shape)
        if count < LEAST:
            return np.empty(shape, np.float32)
        for place in range(len(self._kept) - 1, -1, -1):  # those used last are the likeliest in a cache
            if self._kept[place].size == count and _references(self._kept, place) == UNUSED:
                self._kept.append(self._kept.pop(place))
                return self._kept[-1].reshape(shape)
        buffer = np.empty(count, np.float32)
        self._kept.append(buffer)
        if len(self._kept) > MOST:
            del self._kept[0]
        return buffer.reshape(shape)
