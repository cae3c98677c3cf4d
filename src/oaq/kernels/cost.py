"""What a layer costs on a row: predicted from steps and spills, in units of one 16-bit step without a spill.

The unit is what ``gemm_u8s8_avx2_acc16`` needs for one k-quad (four products) of one output inside a long run. The
figures (``COSTS``) rank rows and schedules, and prove nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from oaq.errors import AccumulatorOverflow, NoKernel
from oaq.kernels.table import KernelRow
from oaq.numerics.formats import S8
from oaq.numerics.ranges import IntRange
from oaq.overflow.spill import RunCount, count_runs


@dataclass(frozen=True)
class RowCost:
    """Cost of a row, per output.

    Attributes:
        quad: of four products.
        spill: of one spill of one output.
    """

    quad: float
    spill: float


COSTS: Final[Mapping[str, RowCost]] = MappingProxyType(
    {
        # Measured by benchmarks/kernels.py on a Zen 4 core (results/kernels.json), where a quad of one output takes
        # 24 ps on the first row. That row's speed at runs of 1, 2, 4, 8, 16 fits 1 / (1 + 1.27 / run) within 5 %.
        "gemm_u8s8_avx2_acc16": RowCost(1.0, 1.27),
        "gemm_u8s8_avx2_acc32": RowCost(1.55, 0.0),
        "gemm_u8s8_avx2_exact": RowCost(2.75, 0.0),
        "gemm_u8s8_avx512bw_acc16": RowCost(0.92, 1.0),
        "gemm_u8s8_avx512bw_acc32": RowCost(1.45, 0.0),
        "gemm_u8s8_vnni": RowCost(0.77, 0.0),
        "gemm_u8s8_scalar": RowCost(62.0, 0.0),
        # Depthwise rows load one operand per product: loads and interleaving, not sums, set their pace.
        "depthwise_u8s8_avx2_acc16": RowCost(4.0, 1.7),
        "depthwise_u8s8_avx2_exact": RowCost(6.0, 0.0),
        "depthwise_u8s8_avx512bw_acc16": RowCost(3.2, 1.05),
        "depthwise_u8s8_vnni": RowCost(3.6, 0.0),
        "depthwise_u8s8_scalar": RowCost(120.0, 0.0),
    }
)
"""Shipped figures by row name. Other CPUs have other ratios; none of them can make a plan wrong, only slower."""

SIXTEEN_BIT: Final[Mapping[str, str]] = MappingProxyType(
    {"gemm": "gemm_u8s8_avx2_acc16", "depthwise": "depthwise_u8s8_avx2_acc16"}
)
"""The rows whose cost without a spill is the measure of a network: budget 1.0."""


@dataclass(frozen=True)
class LayerCost:
    """What the cheapest provable row of a layer costs.

    Attributes:
        row: its name.
        cost: predicted, for all output positions of one sample.
        without_spills: what the 16-bit row would cost with one run per tile: the layer's share of budget 1.0.
        average_run: steps per spill on that row.
    """

    row: str
    cost: float
    without_spills: float
    average_run: float


def row_cost(row: KernelRow) -> RowCost:
    """The cost of ``row``: as shipped, or guessed from its register for a row that has no entry."""
    if row.name in COSTS:
        return COSTS[row.name]
    faster = 0.6 ** max(row.rank - 1, 0) if row.rank else 40.0
    if row.accumulator is None or row.accumulator.is_exact:
        return RowCost(2.5 * faster, 0.0)
    return RowCost(1.75 * faster, 0.0) if row.accumulator.max_run == 1 else RowCost(faster, 1.2 * faster)


def reach(
    weight: NDArray[np.signedinteger[Any]], x: tuple[NDArray[np.integer], NDArray[np.integer]]
) -> tuple[IntRange, IntRange]:
    """What a row meets of a layer: its operands, and its weights (wide ones as the int8 parts they are given in)."""
    operands = IntRange(int(x[0].min()), int(x[1].max()))
    return operands, IntRange(S8.clamp(int(weight.min())), S8.clamp(int(weight.max())))


def contract_holds(row: KernelRow, reached: tuple[IntRange, IntRange]) -> bool:
    """True iff the row accepts these operands and weights (``reach``)."""
    operands, weights = reached
    return row.x_range.contains(operands) and row.w_range.contains(weights)


def runs_cost(row: KernelRow, runs: RunCount, positions: int) -> float:
    """Predicted cost of a layer scheduled as ``runs``, over ``positions`` output positions."""
    if row.accumulator is None:
        raise NoKernel(f"{row.name} sums no products")
    return _cost(row_cost(row), runs, (row.tile_n, row.accumulator.step), positions)


def cost_without_spills(rows: Sequence[KernelRow], shape: tuple[int, ...], groups: int, positions: int) -> float:
    """What a layer costs in 16-bit lanes with one run per tile: its share of budget 1.0.

    Args:
        rows: of one family; the 16-bit row among them gives tile and step.
        shape: (N, K) of the weights, K not padded.
        groups: groups that tiles must not span.
        positions: output positions of one sample.
    """
    (outputs, terms), family = shape, rows[0].family
    wanted = [row for row in rows if row.name == SIXTEEN_BIT[family]]
    tile_n, step = 1, 4 if family == "gemm" else 2
    if wanted and wanted[0].accumulator is not None:
        tile_n, step = wanted[0].tile_n, wanted[0].accumulator.step
    tiles, steps = groups * -(-(outputs // groups) // tile_n), -(-terms // step)
    runs = RunCount(tiles, steps, tiles, tiles * steps)
    return _cost(COSTS[SIXTEEN_BIT[family]], runs, (tile_n, step), positions)


def _cost(cost: RowCost, runs: RunCount, tile: tuple[int, int], positions: int) -> float:
    tile_n, step = tile
    return positions * tile_n * (runs.issues * step / 4 * cost.quad + runs.segments * cost.spill)


def predict_layer_cost(
    weight: NDArray[np.signedinteger[Any]],
    x: tuple[NDArray[np.integer], NDArray[np.integer]],
    rows: Sequence[KernelRow],
    *,
    groups: int = 1,
    positions: int = 1,
) -> LayerCost:
    """The cheapest provable row for a layer, before its program exists.

    Args:
        weight: (N, K) int8 in packed K order.
        x: lower and upper ends of the operands as loaded, (K,) or (R, K) with R dividing N.
        rows: candidates of one family ("gemm" or "depthwise"), availability not asked.
        groups: groups that tiles must not span; 1 for depthwise.
        positions: output positions of one sample.

    Raises:
        NoKernel: no candidate, or none provable.
    """
    outputs, terms = weight.shape[0], weight.shape[1]
    reached = reach(weight, x)
    best: LayerCost | None = None
    without = cost_without_spills(rows, weight.shape, groups, positions) if rows else 0.0
    for row in sorted(rows, key=lambda candidate: row_cost(candidate).quad):
        if row.accumulator is None or not contract_holds(row, reached):
            continue
        least = row_cost(row).quad * positions * outputs * terms / 4
        if best is not None and least >= best.cost:
            continue
        try:
            runs = count_runs(weight, x[0], x[1], row.accumulator, row.tile_n, groups=groups)
        except AccumulatorOverflow:
            continue
        cost = runs_cost(row, runs, positions)
        if best is None or cost < best.cost:
            best = LayerCost(row.name, cost, without, runs.tiles * runs.steps / runs.segments)
    if best is None:
        raise NoKernel(f"no row of {[row.name for row in rows]} is proved for weights {weight.shape}")
    return best
