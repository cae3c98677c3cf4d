"""Modules that say themselves which function of one value they compute, for each channel: straight lines between knees.

A module with a method ``polyline`` is captured as that function, whatever its ``forward`` is written with; capture
compares the two on a grid first.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from oaq.capture.graph import FloatChannelFunction


@dataclass(frozen=True, eq=False)
class Polyline:
    """A function of each channel's own.

    Attributes:
        slopes: (C, 2) before the first and beyond the last knee.
        places: (C, K) where knees lie, ascending.
        values: (C, K) of the function there.
    """

    slopes: NDArray[np.float64]
    places: NDArray[np.float64]
    values: NDArray[np.float64]

    def function(self) -> FloatChannelFunction:
        """The operator of a float graph."""
        numbers = np.concatenate([self.slopes, self.places, self.values], axis=1).T
        return FloatChannelFunction("polyline", tuple(tuple(row) for row in numbers.tolist()))


@runtime_checkable
class HasPolyline(Protocol):
    """A module of (n, C, ...) that computes a polyline of each channel."""

    def polyline(self) -> Polyline:
        """What it computes, as it is now."""
        ...
