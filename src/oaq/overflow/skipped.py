"""Steps that hold nothing: where a whole tile has only zeros, its schedule passes over them.

Such a step adds nothing to any lane, so leaving it out changes no sum and no bound. Segments are consecutive steps, so
one that is left out inside a run ends that run: on registers that spill this is done where at least ``gap`` steps hold
nothing, because a spill takes time too; at the ends of runs always. A tile that holds nothing at all keeps a step.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from oaq.numerics.cells import TileShape
from oaq.overflow.runs import RunLayout

Mask = NDArray[np.bool_]


def holds(tiled: NDArray[np.generic]) -> Mask:
    """(T, Q): some weight of the tile (T, Q, tile_n, step) is not zero at this step."""
    result: Mask = np.any(tiled, axis=(2, 3))
    return result


def zero_steps(weight: NDArray[np.generic], shape: TileShape) -> int:
    """Steps at which a tile of (N, K) weights holds nothing, over all tiles; at least one of each tile is executed."""
    occupied = holds(shape.lay(weight))
    return int(np.minimum(np.sum(~occupied, axis=1), shape.steps - 1).sum())


def begins_after_gap(occupied: Mask, gap: int) -> Mask:
    """(T, Q): steps that hold something, behind at least ``gap`` that hold nothing."""
    tiles, steps = occupied.shape
    last = np.maximum.accumulate(np.where(occupied, np.arange(steps), -1), axis=1)  # so far
    before = np.concatenate([np.full((tiles, 1), -1), last[:, :-1]], axis=1)
    first_steps: Mask = occupied & (np.arange(steps) - before > gap) & (before >= 0)
    return first_steps


def without_zeros(layout: RunLayout, occupied: Mask) -> RunLayout:
    """The layout less the steps of nothing at both ends of its runs: they are issued no times.

    Args:
        layout: of a layer; its runs end in front of gaps that are to be left out.
        occupied: which steps hold something.
    """
    tiles, steps = occupied.shape
    starts = np.nonzero(layout.starts.reshape(-1))[0]
    run = np.cumsum(layout.starts.reshape(-1)) - 1
    at, flat = np.arange(occupied.size), occupied.reshape(-1)
    first = np.minimum.reduceat(np.where(flat, at, occupied.size), starts)
    last = np.maximum.reduceat(np.where(flat, at, -1), starts)
    executed_steps = (at >= first[run]) & (at <= last[run])
    first_steps = np.zeros(occupied.size, np.bool_)
    first_steps[first[last >= 0]] = True
    empty = np.nonzero(~occupied.any(axis=1))[0] * steps
    executed_steps[empty] = first_steps[empty] = True
    issues = np.where(executed_steps.reshape(tiles, steps), layout.issues, 0)
    return replace(layout, starts=first_steps.reshape(tiles, steps), issues=issues)


def gaps_inside(issues: NDArray[np.intp]) -> int:
    """How often a tile (T, Q) goes on behind steps that were left out."""
    executed = issues > 0
    first_steps = executed & ~np.pad(executed[:, :-1], ((0, 0), (1, 0)))
    return int(first_steps.sum()) - len(issues)
