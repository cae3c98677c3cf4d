"""Slips seeded in one of the two routes to a tile and a lane, the planner's or the checker's: every one is caught.

Both routes have to say the same of every (output, k), so a slip in one of them alone is a difference. A slip is left
out only where it is none: lanes that have other names and hold the same products, a ragged group where tiles are whole.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
import pytest

import oaq
from oaq.checker import sums
from oaq.checker.registers import Register
from oaq.checker.schedules import check_schedule
from oaq.checker.sums import SummingLayer
from oaq.checker.tiling import Tiling
from oaq.checker.verdict import Notes
from oaq.errors import AccumulatorOverflow
from oaq.kernels.table import native_rows
from oaq.numerics.accumulator import AVX2_ACC16, NEON_ACC16, Accumulator
from oaq.numerics.affine import Affine
from oaq.numerics.cells import TileShape
from oaq.numerics.ranges import IntRange
from oaq.overflow import bounds
from oaq.overflow.spill import schedule
from oaq.runtime.certify import require_safe
from oaq.runtime.memory import plan_memory
from tests.checker.test_schedules import REGISTERS, claims_of, layer_of, register_of
from tests.strategies import Builder, conv2d

TILE_N: Final = 4
LAYERS: Final = {"one group": (1, 9, 1), "ragged groups": (3, 5, 3), "whole groups": (2, 8, 2), "depthwise": (1, 9, 9)}
"""Groups that tiles do not span, outputs of each, rows of operand ranges."""
TERMS: Final = {1: 83, 2: 83, 4: 83, 6: 83, 16: 83}
"""Operands of one output by step: none is a whole number of steps but that of step 1."""

LaneOf = Callable[[Accumulator | Register, int, int], int]
"""Lane of a group of a step."""


def lane_by_definition(model: Accumulator | Register, step: int, group: int) -> int:
    """Groups of the packed order are dealt to the lanes in turn."""
    return (step * (model.step // model.group) + group) % model.lanes


def lane_swapped(model: Accumulator | Register, step: int, group: int) -> int:
    """Lanes 0 and 1 of every other step the other way round."""
    lane = lane_by_definition(model, step, group)
    return 1 - lane if lane < 2 <= model.lanes and step % model.lanes % 2 else lane


def lane_by_k(model: Accumulator | Register, step: int, group: int) -> int:
    """The place of a group's first product modulo lanes."""
    return (step * model.step + group * model.group) % model.lanes


@dataclass(frozen=True)
class Case:
    """A register and the way a layer is grouped."""

    accumulator: Accumulator
    groups: int
    per_group: int
    rows: int

    @property
    def is_ragged(self) -> bool:
        """Some group ends within a tile, and another follows."""
        return self.groups > 1 and self.per_group % TILE_N != 0

    @property
    def is_padded(self) -> bool:
        """Some place of some tile has no output or no operand."""
        return self.per_group % TILE_N != 0 or TERMS[self.accumulator.step] % self.accumulator.step != 0

    def meets_others(self, lane: LaneOf) -> bool:
        """Two groups of one run share a lane by ``lane`` and not by definition, or the other way round."""
        model = self.accumulator
        most = 2 * model.lanes if model.max_run is None else model.max_run
        places = [(step, group) for step in range(2 * model.lanes) for group in range(model.step // model.group)]
        return any(
            (lane(model, *a) == lane(model, *b)) != (lane_by_definition(model, *a) == lane_by_definition(model, *b))
            for a in places
            for b in places
            if abs(a[0] - b[0]) < most
        )


def layer_in(case: Case, seed: int) -> SummingLayer:
    """Weights none of which is 0, operands that let runs have several steps."""
    rng = np.random.default_rng(seed)
    outputs, terms = case.groups * case.per_group, TERMS[case.accumulator.step]
    weight = (rng.integers(1, 24, (outputs, terms)) * rng.choice([-1, 1], (outputs, terms))).astype(np.int8)
    ends = np.sort(rng.integers(0, 90, (2, case.rows, terms)), axis=0)
    return layer_of(weight, ends[0], ends[1], case.groups)


def is_refused(case: Case, of: SummingLayer, *, packed: bool = True) -> bool:
    """Plan the layer, check the plan."""
    plan = schedule(of.weight, of.lo, of.hi, case.accumulator, TILE_N, groups=case.groups)
    claims, notes = claims_of(plan, plan.bounds), Notes()
    if not packed:
        del claims["packed"]
    check_schedule(of, ("row", register_of(case.accumulator)), TILE_N, claims, notes)
    return notes.findings != []


# --- the planner's side -----------------------------------------------------------------------------------------------

Lay = Callable[[TileShape, np.ndarray], np.ndarray]
LAY: Final[Lay] = TileShape.lay


def planned_lanes(lane: LaneOf) -> Callable[..., np.ndarray]:
    """``bounds.sum_into_lanes`` by another map."""

    def into_lanes(groups: np.ndarray, accumulator: Accumulator, index: np.ndarray) -> np.ndarray:
        lanes = np.zeros((accumulator.lanes, *groups.shape[1:]), groups.dtype)
        for row, step in enumerate(index.tolist()):
            for group in range(len(groups)):
                lanes[lane(accumulator, step, group), row] += groups[group, row]
        return lanes

    return into_lanes


def planned_tile_shifted(shape: TileShape, values: np.ndarray) -> np.ndarray:
    """Every tile in the place of the one before."""
    return np.roll(LAY(shape, values), -1, axis=0)


def planned_without_padding(shape: TileShape, values: np.ndarray) -> np.ndarray:
    """Ones where there is nothing."""
    return np.where(LAY(shape, np.ones_like(values)) == 0, 1, LAY(shape, values)).astype(values.dtype)


def planned_ragged_tile(shape: TileShape, values: np.ndarray) -> np.ndarray:
    """Groups follow each other without a gap."""
    whole = np.zeros((shape.tiles * shape.tile_n, values.shape[1]), values.dtype)
    whole[: len(values)] = values
    return LAY(TileShape(len(whole), shape.terms, shape.step, shape.tile_n, 1), whole)


# --- the checker's side -----------------------------------------------------------------------------------------------

PLACES: Final = Tiling.places
CUT: Final = Tiling.cut


def checked_lanes(lane: LaneOf) -> Callable[[Register], np.ndarray]:
    """``sums.lane_table`` by another map."""
    return lambda model: np.array(
        [[lane(model, step, group) for group in range(model.step // model.group)] for step in range(model.lanes)]
    )


def checked_tile_shifted(tiling: Tiling) -> tuple[np.ndarray, np.ndarray]:
    """Every tile in the place of the one before."""
    tile, slot = PLACES(tiling)
    return (tile - 1) % tiling.tiles, slot


def checked_without_padding(tiling: Tiling, values: np.ndarray, first: int, last: int) -> np.ndarray:
    """Ones where there is nothing."""
    is_there = CUT(tiling, np.ones_like(values), first, last)
    return np.where(is_there == 0, 1, CUT(tiling, values, first, last)).astype(values.dtype)


def checked_ragged_tile(tiling: Tiling) -> tuple[np.ndarray, np.ndarray]:
    """Groups follow each other without a gap."""
    return np.divmod(np.arange(len(tiling.layer.weight)), tiling.tile_n)


@dataclass(frozen=True)
class Slip:
    """A slip: where it sits, what stands there, and in which cases it is one."""

    owner: object
    name: str
    wrong: Callable[..., object]
    is_one: Callable[[Case], bool]


def _lane_slip(side: str, lane: LaneOf) -> Slip:
    if side == "planner":
        return Slip(bounds, "sum_into_lanes", planned_lanes(lane), lambda case: case.meets_others(lane))
    return Slip(sums, "lane_table", checked_lanes(lane), lambda case: case.meets_others(lane))


SLIPS: Final = {
    "planner: two lanes swapped": _lane_slip("planner", lane_swapped),
    "planner: lane by k": _lane_slip("planner", lane_by_k),
    "planner: a tile shifted": Slip(TileShape, "lay", planned_tile_shifted, lambda case: True),
    "planner: padding dropped": Slip(TileShape, "lay", planned_without_padding, lambda case: case.is_padded),
    "planner: tile of a ragged group": Slip(TileShape, "lay", planned_ragged_tile, lambda case: case.is_ragged),
    "checker: two lanes swapped": _lane_slip("checker", lane_swapped),
    "checker: lane by k": _lane_slip("checker", lane_by_k),
    "checker: a tile shifted": Slip(Tiling, "places", checked_tile_shifted, lambda case: True),
    "checker: padding dropped": Slip(Tiling, "cut", checked_without_padding, lambda case: case.is_padded),
    "checker: tile of a ragged group": Slip(Tiling, "places", checked_ragged_tile, lambda case: case.is_ragged),
}


@pytest.mark.parametrize("slip", SLIPS)
def test_every_slip_is_caught_where_it_is_one(monkeypatch: pytest.MonkeyPatch, slip: str) -> None:
    caught = 0
    for accumulator in REGISTERS:
        for groups, per_group, rows in LAYERS.values():
            case = Case(accumulator, groups, per_group, rows)
            for seed in range(3):
                of, seeded = layer_in(case, seed), SLIPS[slip]
                assert not is_refused(case, of)
                monkeypatch.setattr(seeded.owner, seeded.name, seeded.wrong)
                assert is_refused(case, of) == seeded.is_one(case), (slip, case)
                monkeypatch.undo()
                caught += seeded.is_one(case)
    assert caught >= 12


@pytest.mark.parametrize("slip", [slip for slip in SLIPS if "tile" in slip or "lane" in slip])
@pytest.mark.parametrize("accumulator", [AVX2_ACC16, NEON_ACC16], ids=lambda accumulator: accumulator.name)
def test_the_bounds_alone_show_a_tile_or_a_lane_that_slipped(
    monkeypatch: pytest.MonkeyPatch, slip: str, accumulator: Accumulator
) -> None:
    case, seeded = Case(accumulator, *LAYERS["ragged groups"]), SLIPS[slip]
    of = layer_in(case, 5)
    monkeypatch.setattr(seeded.owner, seeded.name, seeded.wrong)
    assert is_refused(case, of, packed=False) == seeded.is_one(case)


@pytest.mark.parametrize("slip", [slip for slip in SLIPS if "padding" not in slip])
def test_a_plan_of_either_slip_is_refused_before_it_runs(monkeypatch: pytest.MonkeyPatch, slip: str) -> None:
    builder, seeded = Builder("slip"), SLIPS[slip]
    x = builder.input((5, 5, 39), Affine(0.05, 0), IntRange(0, 60))
    convolution = conv2d(np.random.default_rng(2), (45, 3, 3, 13), groups=3, padding=(1, 1, 1, 1))
    builder.add(convolution, [x], Affine(0.05, 9), IntRange(3, 200))
    program = builder.finish()
    table = [replace(row, available=True) for row in native_rows() if row.name == "gemm_u8s8_avx2_acc16"]
    require_safe(oaq.plan(program, table=table), plan_memory(program))
    monkeypatch.setattr(seeded.owner, seeded.name, seeded.wrong)
    with pytest.raises(AccumulatorOverflow):
        require_safe(oaq.plan(program, table=table), plan_memory(program))
