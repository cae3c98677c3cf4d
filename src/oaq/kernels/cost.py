"""How long a network takes: work counted (``kernels.work``) times seconds measured (``CostTable``).

What comes out is a prediction for one sample on one thread. It ranks rows and schedules and gives budgets their
meaning; it proves nothing, and no figure of it can make a plan wrong, only slower.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from math import ceil, prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from oaq import operators as ops
from oaq.errors import AccumulatorOverflow, NoKernel
from oaq.kernels.facts import RowFacts, facts_of
from oaq.kernels.table import SUMMING, KernelRow
from oaq.kernels.targets import AVX2, KernelTarget
from oaq.kernels.work import Memory, Site, Work, other_work, sum_work
from oaq.numerics.cells import TileShape
from oaq.numerics.formats import S8
from oaq.numerics.ranges import IntRange
from oaq.operators.tensor import Shape
from oaq.overflow.skipped import zero_steps
from oaq.overflow.spill import RunCount, count_runs
from oaq.program.int_program import IntProgram


@dataclass(frozen=True)
class CostTable:
    """Seconds per unit of work on one CPU.

    Attributes:
        cpu: whose.
        cache: bytes of its second cache.
        rows: by row name, by kind of work; a kind that is not there costs nothing.
        error: by row name, median relative error of the fit on points it had not seen.
        stamp: (key, value) about how the table was made: compiler, commit, date.
        facts: by row name, what a row that was not timed is compared with.
    """

    cpu: str
    cache: int
    rows: Mapping[str, Mapping[str, float]]
    error: Mapping[str, float]
    stamp: tuple[tuple[str, str], ...] = ()
    facts: Mapping[str, RowFacts] = field(default_factory=dict)

    def for_row(self, row: KernelRow) -> Mapping[str, float]:
        """The costs of ``row``; of the most similar row of its family if it was never timed.

        Similar is: a register spilled alike first, then the nearest instruction set (``facts``). A family that sums no
        products and was never timed, an operator younger than the table, costs what the dearest of its kind costs.

        Raises:
            NoKernel: no row was timed that could stand for it.
        """
        if row.name in self.rows:
            return self.rows[row.name]
        timed = [name for name, facts in self.facts.items() if facts.family == row.family and name in self.rows]
        if not timed and row.family not in SUMMING:
            return self._dearest(row)
        if not timed:
            raise NoKernel(f"the costs of {self.cpu} know no {row.family} kernel; calibrate again (oaq calibrate)")
        row_facts = facts_of(row)
        return self.rows[min(timed, key=lambda name: (*row_facts.distance(self.facts[name]), name))]

    def _dearest(self, row: KernelRow) -> Mapping[str, float]:
        """Most that a timed row without products takes, by kind of work.

        Raises:
            NoKernel: no such row was timed.
        """
        timed = [self.rows[name] for name, facts in self.facts.items() if not facts.spills and name in self.rows]
        if not timed:
            raise NoKernel(f"the costs of {self.cpu} know no {row.family} kernel; calibrate again (oaq calibrate)")
        kinds = {kind for costs in timed for kind in costs}
        return {kind: max(costs.get(kind, 0.0) for costs in timed) for kind in sorted(kinds)}

    def least_gap(self, row: KernelRow) -> int | None:
        """Steps of zeros that ``row`` leaves out even where that ends a run; None for rows that execute every step.

        A spill, and beginning a run, against the steps it saves: for a full group of positions. Depthwise rows leave
        nothing out: their code of squares executes every tap.
        """
        if row.family != "gemm" or row.accumulator is None:
            return None
        costs = self.for_row(row)
        step = row.tile_m * costs.get("steps", 0.0) + costs.get("turns", 0.0)
        if row.never_narrow or not step:
            return 1
        return max(1, ceil((row.tile_m * costs.get("spills", 0.0) + costs.get("starts", 0.0)) / step))

    def seconds(self, row: KernelRow, work: Work) -> float:
        """What ``work`` takes on ``row``."""
        costs = self.for_row(row)
        return sum(costs.get(kind, 0.0) * count for kind, count in work.items())


@dataclass(frozen=True)
class Predictor:
    """Costs, beside what the network leaves in the caches.

    Attributes:
        costs: seconds per unit of work.
        memory: what is near.
        target: whose rows without a spill are budget 1.0.
    """

    costs: CostTable
    memory: Memory
    target: KernelTarget = AVX2

    def sums(self, row: KernelRow, site: Site, runs: RunCount, *, one_by_one: bool = False) -> float:
        """Seconds of a Conv2d or Linear scheduled as ``runs``."""
        return self.costs.seconds(row, sum_work(row, site, runs, self.memory, one_by_one=one_by_one))

    def least(self, row: KernelRow, site: Site, terms: int, *, skipped: int = 0, one_by_one: bool = False) -> float:
        """Seconds of a layer on ``row`` if no sum of ``terms`` products needed a spill inside.

        ``skipped``: steps of zeros over all tiles, which cost nothing.
        """
        return self.sums(row, site, one_run(row, site, terms, skipped), one_by_one=one_by_one)

    def skipped(
        self,
        row: KernelRow,
        weight: NDArray[np.signedinteger[Any]],
        groups: int,
        held: NDArray[np.bool_] | None = None,
    ) -> int:
        """Steps of zeros in ``row``'s tiles of (N, K) int8 weights; 0 where the row executes every step.

        ``held``: weights that do not count as zero, (N, K).
        """
        if weight.dtype != np.int8 or row.accumulator is None or self.costs.least_gap(row) is None:
            return 0
        outputs, terms = weight.shape
        shape = TileShape(outputs, terms, row.accumulator.step, row.tile_n, groups)
        return zero_steps(np.asarray(weight, np.int8) if held is None else (weight != 0) | held, shape)

    def without_spills(self, family: str, site: Site, terms: int, *, one_by_one: bool = False) -> float:
        """Seconds of a layer on the target's measure (AVX2: 16-bit lanes), unspilled: its share of budget 1.0."""
        return self.least(self.target.measure(family), site, terms, one_by_one=one_by_one)

    def other_node(self, row: KernelRow, op: ops.Op, x: Sequence[Shape], y: Shape) -> float:
        """Seconds of a node that sums no products; none for a reshape."""
        work = other_work(op, x, y, self.memory)
        return self.costs.seconds(row, work) if work else 0.0


def predictor(costs: CostTable, weights: int, largest: int, target: KernelTarget = AVX2) -> Predictor:
    """For a network.

    Args:
        costs: of the CPU.
        weights: bytes of all weights.
        largest: bytes that the node with most inputs and outputs reads and writes.
        target: whose rows without a spill are budget 1.0.
    """
    return Predictor(costs, Memory(costs.cache, weights + largest > costs.cache), target)


def memory_of(program: IntProgram, cache: int) -> Memory:
    """What a program finds in a second cache of ``cache`` bytes."""
    weights = sum(node.op.weight.size for node in program.nodes if isinstance(node.op, ops.Products))
    touched = (sum(prod(program.tensors[name].shape) for name in (*node.inputs, node.output)) for node in program.nodes)
    return Memory(cache, weights + max(touched, default=0) > cache)


def predictor_of(program: IntProgram, costs: CostTable, target: KernelTarget = AVX2) -> Predictor:
    """For a program."""
    return Predictor(costs, memory_of(program, costs.cache), target)


def limit(costs: CostTable, row: KernelRow) -> float | None:
    """Multiply-accumulates per second if nothing but the inner loop of ``row`` took time; None if it sums nothing."""
    if row.accumulator is None:
        return None
    row_costs = costs.for_row(row)
    step = row_costs.get("steps", 0.0) + row_costs.get("turns", 0.0) / row.tile_m
    return row.tile_n / row.parts * row.accumulator.step / step if step else None


def one_run(row: KernelRow, site: Site, terms: int, skipped: int = 0) -> RunCount:
    """The schedule of sums of ``terms`` products without a spill inside, ``skipped`` steps of zeros left out."""
    if row.accumulator is None:
        raise NoKernel(f"{row.name} sums no products")
    groups = 1 if row.family == "depthwise" else site.groups
    shape = TileShape(site.y[2], terms, row.accumulator.step, row.tile_n, groups)
    executed = shape.tiles * shape.steps - skipped
    longest = row.accumulator.max_run
    segments = shape.tiles if longest is None else max(shape.tiles, ceil(executed / longest))
    return RunCount(shape.tiles, shape.steps, segments, executed, skipped)


@dataclass(frozen=True)
class LayerCost:
    """What the cheapest provable row of a layer costs.

    Attributes:
        row: its name.
        cost: predicted seconds of one sample.
        without_spills: what the 16-bit row would cost with one run per tile: the layer's share of budget 1.0.
        average_run: steps per spill on that row.
    """

    row: str
    cost: float
    without_spills: float
    average_run: float


def relative(layers: Iterable[LayerCost], remaining: float) -> float:
    """Predicted seconds of a network in parts of the same network without spills; 1.0 if there is nothing to run.

    Args:
        layers: of all its summing nodes.
        remaining: seconds of all other nodes, the same either way.
    """
    layer_costs = list(layers)
    without = remaining + sum(layer.without_spills for layer in layer_costs)
    return (remaining + sum(layer.cost for layer in layer_costs)) / without if without else 1.0


def reach(
    weight: NDArray[np.signedinteger[Any]], x: tuple[NDArray[np.integer], NDArray[np.integer]]
) -> tuple[IntRange, IntRange]:
    """What a row meets of a layer: its operands, and its weights (wide ones as the int8 parts they are given in)."""
    operands = IntRange(int(x[0].min()), int(x[1].max()))
    return operands, IntRange(S8.clamp(int(weight.min())), S8.clamp(int(weight.max())))


def contract_holds(row: KernelRow, ranges: tuple[IntRange, IntRange], modulo: int | None = None) -> bool:
    """True iff the row accepts these operands and weights (``reach``), of sums that count modulo 2**``modulo``."""
    operands, weights = ranges
    return row.x_range.contains(operands) and row.weights(modulo).contains(weights)


def suits(
    row: KernelRow,
    weight: NDArray[np.signedinteger[Any]],
    x: tuple[NDArray[np.integer], NDArray[np.integer]],
    modulo: int | None,
) -> bool:
    """False for a row of few bits where operands or weights have more: not worth a word on every layer."""
    return not row.looks_up or contract_holds(row, reach(weight, x), modulo)


def predict_layer_cost(
    weight: NDArray[np.signedinteger[Any]],
    x: tuple[NDArray[np.integer], NDArray[np.integer]],
    rows: Sequence[KernelRow],
    site: Site,
    time: Predictor,
    *,
    held: bool | NDArray[np.bool_] = False,
) -> LayerCost:
    """The cheapest provable row for a layer, before its program exists.

    Args:
        weight: (N, K) int8 in packed K order.
        x: lower and upper ends of the operands as loaded, (K,) or (R, K) with R dividing N.
        rows: candidates of one family ("gemm" or "depthwise"), availability not asked.
        site: where the layer stands.
        time: predicts.
        held: weights, (N, K), whose steps count as executed even where they are zero; True: all, False: none.

    Raises:
        NoKernel: no candidate, or none provable.
    """
    terms = weight.shape[1]
    best: LayerCost | None = None
    grouped = {row.name: 1 if row.family == "depthwise" else site.groups for row in rows}
    dense, named = held is True, held if isinstance(held, np.ndarray) else None
    skipped = {row.name: 0 if dense else time.skipped(row, weight, grouped[row.name], named) for row in rows}
    least = {row.name: time.least(row, site, terms, skipped=skipped[row.name]) for row in rows}
    for row in sorted(rows, key=lambda candidate: least[candidate.name]):
        if best is not None and least[row.name] >= best.cost:
            break
        ends = (x[0] - row.shift, x[1] - row.shift)
        if row.accumulator is None or not contract_holds(row, reach(weight, ends)):
            continue
        gap = None if dense else time.costs.least_gap(row)
        try:
            runs = count_runs(weight, *ends, row.accumulator, row.tile_n, groups=grouped[row.name], gap=gap, held=named)
        except AccumulatorOverflow:
            continue
        cost = time.sums(row, site, runs)
        if best is None or cost < best.cost:
            without = time.without_spills(row.family, site, terms)
            best = LayerCost(row.name, cost, without, runs.average_run)
    if best is None:
        raise NoKernel(f"no row of {[row.name for row in rows]} is proved for weights {weight.shape}")
    return best
