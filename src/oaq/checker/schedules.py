"""One spill schedule: its shape, its law, and every lane and group of every run."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from oaq.checker.program import Arrays
from oaq.checker.ranges import Ints
from oaq.checker.registers import Register
from oaq.checker.sums import Layer, lane_ends, tiles
from oaq.checker.verdict import Finding, Notes

Find = Callable[..., None]
Weights = NDArray[np.signedinteger[Any]]
REPORTED = 8
"""Findings of one kind kept per schedule; one is enough to refuse it."""


def check_schedule(of: Layer, model: tuple[str, Register], tile_n: int, claims: Arrays, notes: Notes) -> None:
    """Check one schedule of ``of``; findings go to ``notes``."""
    name, register = model

    def find(message: str, tile: int | None = None, segment: int | None = None) -> None:
        notes.findings.append(Finding(of.node, message, name, tile, segment))

    weight = tiles(of, of.weight, tile_n, register.step)
    steps = -(-of.weight.shape[1] // register.step)
    segments = _segments(claims, len(weight) // steps, steps, register)
    if isinstance(segments, str):
        find(segments)
        return
    tile, start, count = segments.T
    begins = np.cumsum(count) - count
    within = np.arange(int(count.sum())) - np.repeat(begins, count)
    at = np.repeat(tile * steps + start, count) + within
    packed = _packed(claims, weight, at)
    if isinstance(packed, str):
        find(packed)
        return
    _check_law(weight, packed, at, find, steps)
    x_lo, x_hi = (_operands(of, end, tile_n, register.step, at) for end in (of.lo, of.hi))
    low, high, least, most = lane_ends(packed, x_lo, x_hi, at % steps, register)
    ends = np.stack([_per_run(low, begins, count).min(axis=(1, 2)), _per_run(high, begins, count).max(axis=(1, 2))], 1)
    notes.segments += len(segments)
    _check_runs(segments, ends, claims, register, find)
    if register.groups_must_fit:
        for row in np.nonzero((least < register.least) | (most > register.most))[0][:REPORTED]:
            segment = int(np.searchsorted(begins, row, side="right")) - 1
            find(
                f"one instruction can reach [{least[row]}, {most[row]}], outside {register.bits} bits",
                int(tile[segment]),
                segment,
            )


def _segments(claims: Arrays, tile_count: int, steps: int, register: Register) -> Ints | str:
    segments = claims.get("segments")
    if segments is None or segments.dtype != np.int32 or segments.ndim != 2 or segments.shape[1:] != (3,):
        return "segments are (R, 3) int32"
    if not len(segments):
        return "no segment at all"
    segments = segments.astype(np.int64)
    tile, start, count = segments.T
    inside = (tile >= 0) & (tile < tile_count) & (start >= 0) & (count >= 1) & (start + count <= steps)
    if not inside.all():
        row = int(np.argmin(inside))
        return f"segment {row} {segments[row].tolist()} leaves {tile_count} tiles of {steps} steps"
    if int(count.sum()) > 16 * tile_count * steps:
        return f"{int(count.sum())} steps executed for {tile_count} tiles of {steps}"
    if np.any(np.diff(tile) < 0):
        return "segments are not ordered by tile"
    if register.max_run is not None and int(count.max()) > register.max_run:
        return f"a run of {int(count.max())} steps on a register that is spilled every {register.max_run}"
    return segments


def _packed(claims: Arrays, weight: Weights, at: Ints) -> NDArray[np.int8] | str:
    """The weights as executed: stated in full, or the program's own except for the steps that are split."""
    split_at, split = claims.get("split_at"), claims.get("split_weight")
    known = {"segments", "bounds", "split_at", "split_weight", "packed"}
    if set(claims) - known or split_at is None or split is None or split_at.dtype != np.int32 or split_at.ndim != 1:
        return f"a schedule holds {sorted(known)}"
    if split.dtype != np.int8 or split.shape != (len(split_at), *weight.shape[1:]):
        return f"split weights are int8 {(len(split_at), *weight.shape[1:])}"
    if len(split_at) and (int(split_at.min()) < 0 or int(split_at.max()) >= len(at)):
        return f"split_at leaves the {len(at)} steps executed"
    # What no int8 holds must be stated as split, or the law below finds it missing.
    executed = np.clip(weight[at], -128, 127).astype(np.int8)
    executed[split_at] = split
    stated = claims.get("packed")
    if stated is None:
        return executed
    if stated.dtype != np.int8 or stated.shape != executed.shape:
        return f"packed weights are int8 {executed.shape}"
    return stated if np.array_equal(stated, executed) else "packed weights are not those of the segments"


def _check_law(weight: Weights, packed: NDArray[np.int8], at: Ints, find: Find, steps: int) -> None:
    """For every tile, output and k the executed weights sum to the program's."""
    order = np.argsort(at, kind="stable")
    turn = np.empty(len(at), np.int64)
    first = np.searchsorted(at[order], at[order], side="left")
    turn[order] = np.arange(len(at)) - first
    total = np.zeros(weight.shape, np.int64)
    for issue in range(int(turn.max()) + 1):
        once = turn == issue
        total[at[once]] += packed[once]
    wrong = np.argwhere(total != weight)
    for row, output, k in wrong[:REPORTED]:
        find(
            f"step {row % steps}, output {output} of the tile, operand {k}: executed weights sum to "
            f"{total[row, output, k]}, the program has {weight[row, output, k]}",
            int(row // steps),
        )


def _operands(of: Layer, end: Ints, tile_n: int, step: int, at: Ints) -> Ints:
    """Operand ends of each executed step: (S, 1 or tile_n, step)."""
    outputs, terms = of.weight.shape
    if len(end) == 1:
        steps = -(-terms // step)
        flat = np.zeros(steps * step, np.int64)
        flat[:terms] = end[0]
        return flat.reshape(steps, 1, step)[at % steps]
    per_output = np.repeat(end, outputs // len(end), axis=0)
    return tiles(of, per_output, tile_n, step)[at].astype(np.int64)


def _per_run(values: Ints, begins: Ints, count: Ints) -> Ints:
    """Sums over runs as differences of one running sum."""
    running = np.concatenate([np.zeros((1, *values.shape[1:]), np.int64), np.cumsum(values, axis=0)])
    return running[begins + count] - running[begins]


def _check_runs(segments: Ints, ends: Ints, claims: Arrays, register: Register, find: Find) -> None:
    stated = claims.get("bounds")
    if stated is None or not np.issubdtype(stated.dtype, np.integer) or stated.shape != ends.shape:
        find(f"bounds are {ends.shape} integers")
        return
    for row in np.nonzero((stated.astype(np.int64) != ends).any(axis=1))[0][:REPORTED]:
        find(f"bound stated {stated[row].tolist()}, derived {ends[row].tolist()}", int(segments[row, 0]), int(row))
    if register.overflow == "exact":
        return
    for row in np.nonzero((ends[:, 0] < register.least) | (ends[:, 1] > register.most))[0][:REPORTED]:
        tile, start, count = segments[row].tolist()
        find(
            f"steps {start}..{start + count - 1}: a {register.bits}-bit lane can reach {ends[row].tolist()}",
            tile,
            int(row),
        )
