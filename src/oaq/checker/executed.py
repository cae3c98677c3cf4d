"""Weights as they are executed: what a schedule states of them, and its law."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from oaq.checker.program import NamedArrays
from oaq.checker.ranges import Ints
from oaq.checker.registers import Register
from oaq.checker.sums import BLOCK, Lanes, lane_ends, narrowest
from oaq.checker.tiling import Tiling

Bytes = NDArray[np.int8]
Find = Callable[..., None]
REPORTED = 8
"""Findings of one kind kept per schedule; one is enough to refuse it."""
KEYS = frozenset({"segments", "bounds", "split_at", "split_weight", "packed"})


@dataclass(frozen=True, eq=False)
class Claimed:
    """What a schedule states of its S executed steps.

    Attributes:
        split_of: (S,) row of ``split`` that is executed, -1 where it is the program's own weights.
        split: (V, tile_n, step), weights of the steps that are split.
        packed: (S, tile_n, step), every step's; None if not stated.
    """

    split_of: NDArray[np.int32]
    split: Bytes
    packed: Bytes | None


def read_claims(claims: NamedArrays, tiling: Tiling, count: int) -> Claimed | str:
    """Read the claims on ``count`` executed steps; a sentence if they are malformed."""
    split_at, split, packed = claims.get("split_at"), claims.get("split_weight"), claims.get("packed")
    if set(claims) - KEYS or split_at is None or split is None or split_at.dtype != np.int32 or split_at.ndim != 1:
        return f"a schedule holds {sorted(KEYS)}"
    shape = (tiling.tile_n, tiling.step)
    if split.dtype != np.int8 or split.shape != (len(split_at), *shape):
        return f"split weights are int8 {(len(split_at), *shape)}"
    if len(split_at) and (int(split_at.min()) < 0 or int(split_at.max()) >= count):
        return f"split_at leaves the {count} steps executed"
    if packed is not None and (packed.dtype != np.int8 or packed.shape != (count, *shape)):
        return f"packed weights are int8 {(count, *shape)}"
    split_of = np.full(count, -1, np.int32)
    split_of[split_at] = np.arange(len(split_at))
    return Claimed(split_of, split, packed)


@dataclass(frozen=True, eq=False)
class Block:
    """What some tiles execute.

    Attributes:
        tiling: of the layer.
        tiles: the first of them, and one more than the last.
        row: the first executed step of theirs, counted over the layer.
        at: which step each executes, as (tile - first tile) * steps + step.
        claimed: of the whole layer.
        weight: (T * Q, tile_n, step), the program's weights by tile and step.
        lo: (T * Q, 1 or tile_n, step), least of their operands.
        hi: most.
    """

    tiling: Tiling
    tiles: tuple[int, int]
    row: int
    at: Ints
    claimed: Claimed
    weight: NDArray[np.signedinteger[Any]]
    lo: Ints
    hi: Ints

    def chunks(self) -> list[slice]:
        """Slices of ``at`` of about ``BLOCK`` weights each."""
        rows = max(1, BLOCK // (self.tiling.tile_n * self.tiling.step))
        return [slice(begin, begin + rows) for begin in range(0, len(self.at), rows)]

    def executed(self, rows: slice | Ints) -> Bytes:
        """The program's own weights, except for the steps that are split."""
        at = self.at[rows]
        # What no int8 holds must be stated as split, or the law finds it missing.
        weight = self.weight if self.weight.dtype == np.int8 else np.clip(self.weight, -128, 127).astype(np.int8)
        in_order = len(at) == len(weight) and np.array_equal(at, np.arange(len(at)))
        weights = weight if in_order else weight[at]
        split_of = self.claimed.split_of[self.row : self.row + len(self.at)][rows]
        replaced = np.nonzero(split_of >= 0)[0]
        if len(replaced):
            weights = weights.copy() if in_order else weights
            weights[replaced] = self.claimed.split[split_of[replaced]]
        return weights

    def lanes(self, executed: Bytes, rows: slice, register: Register) -> Lanes:
        """What some of the steps add.

        A run is contiguous, so it sums at most K (padded) products: each at most 128 * 255, twice that as
        ``lane_ends`` has it.
        """
        at, tiling = self.at[rows], self.tiling
        dtype = narrowest(2 * 128 * 255 * tiling.steps * tiling.step)
        lo, hi = (np.ascontiguousarray(end[at].transpose(2, 1, 0), dtype) for end in (self.lo, self.hi))
        return lane_ends(executed, lo, hi, at % tiling.steps, register)

    def check_law(self, find: Find) -> None:
        """For every tile, output and k the executed weights sum to the program's.

        A step that is executed once, with the program's own weights, obeys it. The others are summed: at most 2**24
        weights of magnitude 128 in 32 bits.
        """
        steps = self.tiling.steps
        times = np.bincount(self.at, minlength=len(self.weight))
        summed = times != 1
        summed[self.at[self.claimed.split_of[self.row : self.row + len(self.at)] >= 0]] = True
        if self.weight.dtype != np.int8:
            summed[:] = True
        if not summed.any():
            return
        rows = np.nonzero(summed[self.at])[0]
        rows = rows[np.argsort(self.at[rows], kind="stable")]
        sums = np.zeros(self.weight.shape, narrowest(128 * len(rows)))
        if len(rows):
            at = self.at[rows]
            starts = np.nonzero(np.diff(at, prepend=-1))[0]
            sums[at[starts]] = np.add.reduceat(self.executed(rows), starts, axis=0, dtype=sums.dtype)
        wrong = (sums != self.weight) & summed[:, None, None]
        if not wrong.any():
            return
        for row, output, k in np.argwhere(wrong)[:REPORTED]:
            find(
                f"step {row % steps}, output {output} of the tile, operand {k}: executed weights sum to "
                f"{sums[row, output, k]}, the program has {self.weight[row, output, k]}",
                self.tiles[0] + int(row // steps),
            )


@dataclass(eq=False)
class Runs:
    """Sums over runs, from steps that come in chunks.

    Attributes:
        starts: (R,) first executed step of each run, ascending.
        ends: (R, 2) twice the least and the most of any lane of any output: those of the runs that are complete.
    """

    starts: Ints
    ends: Ints
    _low: NDArray[np.signedinteger[Any]] | None = None
    _high: NDArray[np.signedinteger[Any]] | None = None

    def add(self, lanes: Lanes, row: int) -> None:
        """The executed steps from ``row`` on, which follow the ones added before."""
        first = int(np.searchsorted(self.starts, row, side="right")) - 1
        last = int(np.searchsorted(self.starts, row + lanes.low.shape[2], side="left"))
        starts = np.maximum(self.starts[first:last] - row, 0)
        goes_on = int(self.starts[first]) < row
        low, high = (np.add.reduceat(ends, starts, axis=2, dtype=ends.dtype) for ends in (lanes.low, lanes.high))
        if goes_on and self._low is not None and self._high is not None:
            low[:, :, 0] += self._low
            high[:, :, 0] += self._high
        self._low, self._high = low[:, :, -1], high[:, :, -1]
        self.ends[first:last, 0] = low.min(axis=(0, 1))
        self.ends[first:last, 1] = high.max(axis=(0, 1))
