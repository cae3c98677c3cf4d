"""Ranges of every accumulator and every integer over a box of inputs, element by element: exact integer intervals.

Batches are rows: several boxes, or one box under several sets of limits, at once. A batch row whose limits contradict
each other is *empty*: no input satisfies them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np
from numpy.typing import NDArray

from oaq.robust.network import Lookups, Maxima, Moves, Network, Operation, Products, Range, Sums, greatest, moved
from oaq.robust.staircase import Ints

Limits = Mapping[int, Range]
"""Known ends by layer: what its accumulators are known to stay within, each (B or 1, K)."""


@dataclass(frozen=True, eq=False)
class Ranges:
    """What every element can hold.

    Attributes:
        tensors: centred integers of each tensor, (B, K) both ends.
        accumulators: of each ``Sums`` layer; of each ``Lookups`` layer those of its input; else None.
        empty: (B,): rows whose limits contradict each other. Their ranges mean nothing.
    """

    tensors: list[Range]
    accumulators: list[Range | None]
    empty: NDArray[np.bool_]

    def rows(self, choice: Ints) -> Ranges:
        """The chosen rows alone."""
        picked = [None if ends is None else (ends[0][choice], ends[1][choice]) for ends in self.accumulators]
        return Ranges([(lo[choice], hi[choice]) for lo, hi in self.tensors], picked, self.empty[choice])


def intervals(
    network: Network, box: Range, limits: Limits | None = None, needed: frozenset[int] | None = None
) -> Ranges:
    """Ranges over boxes of centred inputs.

    Args:
        network: what is run.
        box: (B, inputs) both ends.
        limits: intersected with what follows from the box.
        needed: layers to compute; None for all. Others keep no range.
    """
    limits = limits or {}
    empty: NDArray[np.bool_] = np.asarray((box[0] > box[1]).any(axis=1))
    tensors: list[Range] = [_proper(box)]
    accumulators: list[Range | None] = []
    for at, layer in enumerate(network.layers):
        if needed is not None and at not in needed:
            tensors.append((np.zeros((len(empty), 0), np.int64), np.zeros((len(empty), 0), np.int64)))
            accumulators.append(None)
            continue
        acc = _accumulated(layer, tensors)
        if acc is not None and at in limits:
            acc = np.maximum(acc[0], limits[at][0]), np.minimum(acc[1], limits[at][1])
            empty = empty | (acc[0] > acc[1]).any(axis=1)
            acc = _proper(acc)
        y = image(layer, acc, [tensors[t] for t in layer.inputs])
        empty = empty | (y[0] > y[1]).any(axis=1)
        tensors.append(_proper(y))
        accumulators.append(acc)
    return Ranges(tensors, accumulators, empty)


def _proper(ends: Range) -> Range:
    """Crossed ends made equal: such a row is marked empty, and must not trip what comes after."""
    return np.minimum(ends[0], ends[1]), ends[1]


def _accumulated(layer: Operation, tensors: Sequence[Range]) -> Range | None:
    match layer:
        case Sums():
            return interval_sums(layer, tensors)
        case Lookups():
            return tensors[layer.inputs[0]]
        case _:
            return None


def interval_sums(layer: Sums, tensors: Sequence[Range]) -> Range:
    """Accumulators over boxes: centre and radius, both in halves, so exact in float64."""
    centre, radius = layer.bias[None, :], 0.0
    for tensor, linear in zip(layer.inputs, layer.maps, strict=True):
        lo, hi = tensors[tensor]
        centre = centre + linear.forward((lo + hi) * 0.5)
        radius = radius + linear.absolute((hi - lo) * 0.5)
    return np.rint(centre - radius).astype(np.int64), np.rint(centre + radius).astype(np.int64)


def image(layer: Operation, acc: Range | None, operands: Sequence[Range]) -> Range:
    """The integers a layer can write. Monotone operators by their own law at the ends."""
    match layer:
        case Sums():
            assert acc is not None
            lo, hi = layer.steps.least(acc[0]), layer.steps.largest(acc[1])
            if layer.law is not None:
                lo = np.maximum(lo, layer.law([ends[0] for ends in operands]))
                hi = np.minimum(hi, layer.law([ends[1] for ends in operands]))
            return lo, hi
        case Lookups():
            assert acc is not None
            return layer.steps.image(*acc)
        case Moves():
            return moved(operands[0][0], layer.index), moved(operands[0][1], layer.index)
        case Maxima():
            return greatest(operands[0][0], layer), greatest(operands[0][1], layer)
        case Products():
            corners = np.stack([layer.law(corner) for corner in product(*operands)])
            return corners.min(axis=0), corners.max(axis=0)
