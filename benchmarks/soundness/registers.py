"""Execute a spill schedule in the registers a kernel row declares, on integers that cannot overflow.

Everything is int64: a product is below 2**16 and a schedule has fewer than 2**30 of them.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.soundness.laws import Ints

S32 = (-(1 << 31), (1 << 31) - 1)


@dataclass(frozen=True, eq=False)
class PlainSchedule:
    """A schedule as plain numbers.

    Attributes:
        bits: of a lane and of a group's sum.
        overflow: "wraps", "saturates" or "exact", what a lane does beyond ``bits``.
        group_overflow: likewise, what one instruction's sum does.
        step: operands k of one step.
        group: neighbouring k that one instruction sums.
        lanes: registers that share a sum; k goes to lane (k // group) % lanes.
        tile_n: outputs of a tile.
        spans_groups: tiles cut the outputs of all groups (depthwise) and not of each group.
        segments: (R, 3) tile, first step, number of steps.
        packed: (S, tile_n, step) weights as executed.
        bounds: (R, 2) proved least and most of any lane at the spill.
        modulo: b where sums count modulo 2**b: lanes of b bits or more, and 32-bit totals, may wrap. None: nothing may.
    """

    bits: int
    overflow: str
    group_overflow: str
    step: int
    group: int
    lanes: int
    tile_n: int
    spans_groups: bool
    segments: NDArray[Any]
    packed: NDArray[Any]
    bounds: NDArray[Any]
    modulo: int | None = None

    @property
    def lanes_may_wrap(self) -> bool:
        """Whether what a lane loses by wrapping counts for nothing."""
        return self.overflow == "wraps" and self.modulo is not None and self.modulo <= self.bits


def broken_rules(plan: PlainSchedule, weight: NDArray[Any], operands: Ints, bias: Ints) -> Iterator[str]:
    """One sentence for each rule that does not hold.

    Args:
        plan: the schedule.
        weight: (N, K) of the program, in packed order.
        operands: (M, groups, K) as loaded.
        bias: (N,) as added to the sum of operands as loaded.
    """
    outputs, terms = weight.shape
    groups = operands.shape[1]
    steps = -(-terms // plan.step)
    x = np.zeros((len(operands), groups, steps * plan.step), np.int64)
    x[:, :, :terms] = operands
    count = plan.segments[:, 2].astype(np.int64)
    first_steps = np.cumsum(count) - count
    tile = np.repeat(plan.segments[:, 0].astype(np.int64), count)
    at = np.repeat(plan.segments[:, 1] - first_steps, count) + np.arange(int(count.sum()))
    if count.size == 0 or count.min() < 1 or len(tile) != len(plan.packed) or at.min() < 0 or at.max() >= steps:
        yield "the segments do not cover the packed weights"
        return
    yield from _weights(plan, weight, groups, (tile, at, steps))
    per_step = _step_sums(plan, x, (tile, at), outputs)
    yield from _groups(plan, per_step)
    by_lane = _by_lane(plan, per_step, at)
    spilled = np.add.reduceat(by_lane, first_steps, axis=1)
    yield from _lanes(plan, by_lane, spilled, first_steps)
    yield from _spills(plan, spilled.sum(axis=3), (weight, operands, bias))


def _outputs_of(plan: PlainSchedule, outputs: int, groups: int) -> tuple[Ints, Ints]:
    """(tiles, tile_n): output of each place of each tile (-1 where there is none), and its group."""
    per_group = outputs if plan.spans_groups else outputs // groups
    parts = 1 if plan.spans_groups else groups
    of_tiles = []
    for part in range(parts):
        for first in range(0, per_group, plan.tile_n):
            within = first + np.arange(plan.tile_n)
            of_tiles.append(np.where(within < per_group, part * per_group + within, -1))
    places = np.array(of_tiles, np.int64)
    return places, np.maximum(places, 0) // (outputs // groups)


def _weights(plan: PlainSchedule, weight: NDArray[Any], groups: int, executed: tuple[Ints, Ints, int]) -> Iterator[str]:
    tile, at, steps = executed
    places, _ = _outputs_of(plan, len(weight), groups)
    if int(tile.max()) >= len(places):
        yield f"tile {int(tile.max())} of {len(places)}"
        return
    law = np.zeros((len(weight), steps * plan.step), np.int64)
    law[:, : weight.shape[1]] = weight
    expected = np.where(
        (places >= 0)[:, None, :, None],
        law[np.maximum(places, 0)].reshape(*places.shape, steps, plan.step).transpose(0, 2, 1, 3),
        0,
    )
    sums = np.zeros_like(expected)
    np.add.at(sums, (tile, at), plan.packed.astype(np.int64))
    if not np.array_equal(sums, expected):
        yield "the executed weights do not sum to the program's"


def _step_sums(plan: PlainSchedule, x: Ints, executed: tuple[Ints, Ints], outputs: int) -> Ints:
    """(M, S, tile_n, step / group): what every instruction adds."""
    tile, at = executed
    groups = x.shape[1]
    _, group_of = _outputs_of(plan, outputs, groups)
    by_step = x.reshape(*x.shape[:2], -1, plan.step)
    if plan.spans_groups:
        operands = by_step[:, group_of[tile], at[:, None]]
    else:
        operands = by_step[:, group_of[tile, 0], at][:, :, None]
    products = operands * plan.packed.astype(np.int64)
    return products.reshape(*products.shape[:3], -1, plan.group).sum(axis=4)


def _register(plan: PlainSchedule) -> tuple[int, int]:
    return -(1 << (plan.bits - 1)), (1 << (plan.bits - 1)) - 1


def _groups(plan: PlainSchedule, added: Ints) -> Iterator[str]:
    lo, hi = _register(plan)
    narrow = plan.group_overflow == "saturates" or (plan.group_overflow == "wraps" and plan.overflow != "wraps")
    if narrow and (int(added.min()) < lo or int(added.max()) > hi):
        yield f"an instruction adds [{added.min()}, {added.max()}], which leaves {plan.bits} bits"


def _by_lane(plan: PlainSchedule, added: Ints, at: Ints) -> Ints:
    """(M, S, tile_n, lanes)."""
    per_step = plan.step // plan.group
    lane = (at[:, None] * per_step + np.arange(per_step)) % plan.lanes
    in_lane = lane[:, :, None] == np.arange(plan.lanes)
    return np.einsum("msng,sgl->msnl", added, in_lane.astype(np.int64))


def _lanes(plan: PlainSchedule, added: Ints, spilled: Ints, first_steps: Ints) -> Iterator[str]:
    lo, hi = _register(plan)
    least, most = spilled.min(axis=(0, 2, 3)), spilled.max(axis=(0, 2, 3))
    if plan.overflow != "exact" and not plan.lanes_may_wrap and (int(least.min()) < lo or int(most.max()) > hi):
        yield f"a lane holds [{least.min()}, {most.max()}] at a spill, which leaves {plan.bits} bits"
    if plan.overflow == "saturates":
        running = np.cumsum(added, axis=1)
        before = np.concatenate([np.zeros_like(running[:, :1]), running], axis=1)[:, first_steps]
        length = np.diff(first_steps, append=added.shape[1])
        inside = running - np.repeat(before, length, axis=1)
        if int(inside.min()) < lo or int(inside.max()) > hi:
            yield f"a saturating lane holds [{inside.min()}, {inside.max()}] on the way"
    wrong = np.nonzero((least < plan.bounds[:, 0]) | (most > plan.bounds[:, 1]))[0]
    if len(wrong):
        row = int(wrong[0])
        yield f"segment {row}: a lane holds [{least[row]}, {most[row]}], proved {plan.bounds[row].tolist()}"


def _spills(plan: PlainSchedule, spilled: Ints, layer: tuple[NDArray[Any], Ints, Ints]) -> Iterator[str]:
    """The 32-bit totals of every output, with and without bias, after every spill."""
    weight, operands, bias = layer
    places, _ = _outputs_of(plan, len(weight), operands.shape[1])
    tile = plan.segments[:, 0]
    by_group = weight.astype(np.int64).reshape(operands.shape[1], -1, weight.shape[1])
    law = np.einsum("mgk,gnk->mgn", operands, by_group).reshape(len(operands), -1)
    for index, outputs in enumerate(places):
        real = outputs >= 0
        running = np.cumsum(spilled[:, tile == index][:, :, real], axis=1)
        if running.shape[1] == 0:
            if weight[outputs[real]].any():
                yield f"tile {index} is never executed"
            continue
        if not np.array_equal(running[:, -1], law[:, outputs[real]]):
            yield f"tile {index}: the spilled sums are not the sums of the law"
        for start in (0, bias[outputs[real]]) if plan.modulo is None else ():
            if int((running + start).min()) < S32[0] or int((running + start).max()) > S32[1]:
                yield f"tile {index}: a 32-bit total leaves 32 bits on the way"
