"""The plan: for each node the cheapest proved kernel row, its spill schedule, and why cheaper rows were refused."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from oaq import operators as ops
from oaq.errors import AccumulatorOverflow, NoKernel, ProgramError
from oaq.escape import escape_lines, escape_name
from oaq.kernels.alike import without_narrower, without_twins, without_untimed
from oaq.kernels.cost import CostTable, Predictor, contract_holds, predictor_of, reach, suits
from oaq.kernels.cost_files import CostSource, costs_from
from oaq.kernels.plan_words import expense_in_words, node_json, refusal_in_words, show_interval, sums_in_words
from oaq.kernels.results import runs_one_by_one, words_share
from oaq.kernels.table import KernelRow, best_isa, best_row, native_rows, rows_for
from oaq.kernels.targets import target_named, target_of
from oaq.kernels.work import Site, site_of
from oaq.numerics.ranges import IntRange
from oaq.overflow.analyze import analyze
from oaq.overflow.forms import in_form
from oaq.overflow.proof import NodeProof, Proof, Tier
from oaq.overflow.spill import Cut, RunCount, Schedule, cut
from oaq.program.int_program import IntProgram, Node
from oaq.program.pickling import flatten, rebuild
from oaq.terminal.shown import in_a_line, in_a_notebook


@dataclass(frozen=True)
class Refusal:
    """A row that a long run would make cheaper than the chosen one, and why it was not taken."""

    row: str
    reason: str


@dataclass(frozen=True, eq=False)
class NodePlan:
    """How one node is computed. Everything an executor needs beside the tensors' shapes is here or in ``node.op``.

    Attributes:
        node: of the program: operator, names of inputs and output.
        row: the kernel.
        x_zero_points: zero point of each input; what padded positions hold.
        y_zero_point: zero point of the output.
        clamp: effective range of the output.
        schedule: spill schedule and packed weights; None unless the node is a Conv2d or Linear.
        folded_bias: (N,) int32, bias - (zx - shift) * sum(w): added to the sum of w * x as the row multiplies; None
            likewise.
        proof: ranges of its operands and sums in the form of the row; None likewise.
        cost: predicted seconds of one sample on one thread (``kernels.cost``).
        cost_without_spills: the same for 16-bit lanes in one run per tile (the measure of the table's target); for a
            node without products, the same.
        refused: cheaper rows and why not.
        shapes: of its inputs, then of its output.
    """

    node: Node
    row: KernelRow
    x_zero_points: tuple[int, ...]
    y_zero_point: int
    clamp: IntRange
    schedule: Schedule | None = None
    folded_bias: NDArray[np.int32] | None = None
    proof: NodeProof | None = None
    cost: float = 0.0
    cost_without_spills: float = 0.0
    refused: tuple[Refusal, ...] = ()
    shapes: tuple[ops.Shape, ...] = ()


@dataclass(frozen=True, eq=False)
class Plan:
    """A proved way to run a program.

    Attributes:
        program: what is run.
        proof: why it is safe.
        nodes: in execution order, one per node of the program.
        isa: the best instruction set among the chosen rows; several that do not include one another are joined by "+".
        tier: the guarantee.
        costs: what the rows were chosen by; None for a plan made by hand.
    """

    program: IntProgram
    proof: Proof
    nodes: tuple[NodePlan, ...]
    isa: str
    tier: Tier = "proved"
    costs: CostTable | None = None

    def __repr__(self) -> str:
        return in_a_line(
            "Plan",
            self.program.name,
            [("", self.tier), ("for", self.isa), ("nodes", len(self.nodes)), ("predicted cost", f"{self.cost:.2f}")],
        )

    def _repr_html_(self) -> str:
        rows = [(planned.node.name, planned.row.name, sums_in_words(planned)) for planned in self.nodes]
        return in_a_notebook(repr(self), ("node", "row", "sums"), rows)

    def __reduce__(self) -> tuple[object, ...]:
        """Pickle and copy by the constructor."""
        return rebuild, (flatten(self),)

    def __getitem__(self, node: str) -> NodePlan:
        for planned in self.nodes:
            if planned.node.name == node:
                return planned
        raise KeyError(node)

    @property
    def cost(self) -> float:
        """Predicted seconds, as a multiple of the same network summed in 16 bits without a spill inside a sum.

        Every node counts, those without products too.
        """
        ideal = sum(node.cost_without_spills for node in self.nodes)
        return self.seconds / ideal if ideal else 1.0

    @property
    def seconds(self) -> float:
        """Predicted for one sample on one thread of the CPU that ``costs`` names."""
        return sum(node.cost for node in self.nodes)

    @property
    def average_run(self) -> float:
        """Steps per spill over every gemm node summed in narrow registers, weighted by output positions; 0 if none is.

        For reports. Exact rows never spill, so they would only flatter the figure.
        """
        summed = [
            (n.schedule, n.proof.positions)
            for n in self.nodes
            if n.row.family == "gemm" and n.schedule and n.proof and not n.schedule.accumulator.is_exact
        ]
        steps = sum((plan.tiles * plan.steps - plan.skipped) * positions for plan, positions in summed)
        spills = sum(plan.spills * positions for plan, positions in summed)
        return steps / spills if spills else 0.0

    def explain(self) -> str:
        """A table: for each node its row, its spills, and why each cheaper row was refused."""
        modular = sum(planned.proof is not None and planned.proof.modulo is not None for planned in self.nodes)
        layers = f"{modular} layer wraps" if modular == 1 else f"{modular} layers wrap"
        design = f"; {layers} by design, exact modulo 2^b" if modular else ""
        lines = [f"{self.program.name}: {self.tier} for {self.isa}, predicted cost {self.cost:.2f}{design}"]
        width = max(len(escape_name(planned.node.name)) for planned in self.nodes) if self.nodes else 0
        for planned in self.nodes:
            lines.append(
                f"{escape_name(planned.node.name):<{width}}  {planned.row.name:<30}  {sums_in_words(planned)}".rstrip()
            )
            lines += [f"{'':<{width}}    not {refusal.row}: {refusal.reason}" for refusal in planned.refused]
        return escape_lines(lines)

    def to_json(self) -> dict[str, Any]:
        """Plain numbers for reports."""
        return {
            "program": self.program.name,
            "isa": self.isa,
            "tier": self.tier,
            "cost": self.cost,
            "predicted_seconds": self.seconds,
            "predicted_for": self.costs.cpu if self.costs else "",
            "average_run": self.average_run,
            "nodes": [node_json(planned) for planned in self.nodes],
        }


def plan(
    program: IntProgram,
    isa: str | None = None,
    rows: str | Sequence[str] | None = None,
    proof: Proof | None = None,
    *,
    table: Sequence[KernelRow] | str | None = None,
    costs: CostSource = None,
) -> Plan:
    """Choose a proved kernel for every node.

    Args:
        program: what to run.
        isa: best instruction set to use; None asks ``OAQ_ISA``, then takes the best of this CPU.
        rows: names of rows to force, or one name: a family that one of them computes may use no other row. Of several,
            one for operands of few bits is taken wherever it suits, the cheapest elsewhere.
        proof: of ``program``; made here if None.
        table: every row there is; None asks the native module, and keeps to what this CPU can run. A table given
            plans for another machine: availability is not asked, and ``OAQ_ISA`` is not read. The name of a
            quantization target ("neon") stands for its rows.
        costs: what rows are chosen by: a cost table, a file of one, "shipped", or "calibrated" (this CPU's own, made
            by ``oaq calibrate``). None asks ``OAQ_COSTS``, then takes the shipped one, so that a plan does not depend
            on the machine that makes it.

    Raises:
        AccumulatorOverflow: the program's own 32-bit sums cannot be proved.
        ProgramError: ``program`` is something else, or ``proof`` is of another one.
        NoKernel: no row may compute a node, the instruction set is not there, or a forced row is unknown.
        FormatError: there is no such cost table.
    """
    if not isinstance(program, IntProgram):
        raise ProgramError(
            f"plan takes an IntProgram (from oaq.load, oaq.import_model or oaq.quantize), not {type(program).__name__}"
        )
    rows = (rows,) if isinstance(rows, str) else rows
    cost_table = costs_from(costs)
    proof = proof if proof is not None else analyze(program)
    if set(proof.ranges) != set(program.tensors) or proof.program != program.name:
        raise ProgramError(f"the proof is of {proof.program!r} and other tensors, not of {program.name!r}")
    foreign = table is not None
    foreign_rows = target_named(table).table if isinstance(table, str) else table
    all_rows = without_twins(native_rows() if foreign_rows is None else foreign_rows, rows or ())
    usable = all_rows if foreign and isa is None else rows_for(isa, all_rows, foreign=foreign)
    usable = without_narrower(_forced(usable, all_rows, rows), rows or ())
    usable, all_rows = (without_untimed(among, cost_table.rows, rows or ()) for among in (usable, all_rows))
    rules = _Rules(program, proof, usable, all_rows, predictor_of(program, cost_table, target_of(all_rows)), bool(rows))
    nodes = tuple(_plan_node(node, rules) for node in program.nodes)
    best = best_isa([planned.row for planned in nodes])
    return Plan(program, proof, nodes, best, costs=cost_table)


def _forced(
    usable: tuple[KernelRow, ...], all_rows: tuple[KernelRow, ...], names: Sequence[str] | None
) -> tuple[KernelRow, ...]:
    if not names:
        return usable
    by_name = {row.name: row for row in usable}
    for name in names:
        if name in by_name:
            continue
        if name in {row.name for row in all_rows}:
            raise NoKernel(f"the row {name} cannot be used here: this CPU, or the instruction set asked for, lacks it")
        raise NoKernel(f"there is no row {name!r}; there are {', '.join(sorted(by_name))}")
    families = {by_name[name].family for name in names}
    return tuple(row for row in usable if row.name in names or row.family not in families)


@dataclass(frozen=True, eq=False)
class _Rules:
    """What nodes are planned by: the proof, rows they may use, rows there are, their costs, whether any is forced."""

    program: IntProgram
    proof: Proof
    usable: Sequence[KernelRow]
    all_rows: Sequence[KernelRow]
    time: Predictor
    forces: bool


def _plan_node(node: Node, rules: _Rules) -> NodePlan:
    kind, program, proof = ops.family_of(node.op), rules.program, rules.proof
    reason = ops.rules_of(node.op).no_native(node.op, [spec.shape for spec in program.specs(node)])
    if reason:
        raise NoKernel(f"{node.name}: {reason}. The reference runs it: oaq.reference.run")
    candidates = [row for row in rules.usable if row.family == kind]
    if not candidates:
        have = [row.name for row in rules.all_rows if row.family == kind]
        raise NoKernel(f"{node.name}: no {kind} kernel may be used here; the table has {have or 'none at all'}")
    y = program.tensors[node.output]
    zero_points = tuple(spec.affine.zero_point for spec in program.specs(node))
    shapes = [spec.shape for spec in program.specs(node)]
    all_shapes = (*shapes, y.shape)
    if not isinstance(node.op, ops.Products):
        row = best_row(candidates)
        cost = rules.time.other_node(row, node.op, shapes, y.shape)
        return NodePlan(
            node,
            row,
            zero_points,
            y.affine.zero_point,
            y.range,
            cost=cost,
            cost_without_spills=cost,
            shapes=all_shapes,
        )
    words = words_share(node.op, y, proof[node.name].folded_bias)
    site = site_of(node.op, shapes[0], y.shape, words, zero_points[0])
    layer = _Layer(node, node.op, site, proof[node.name], rules.time)
    suited = [row for row in candidates if layer.suits(row)] or candidates
    for_few_bits = [row for row in suited if row.looks_up] if rules.forces else []
    choice = _choose(layer, for_few_bits or suited)
    return NodePlan(
        node,
        choice.row,
        zero_points,
        y.affine.zero_point,
        y.range,
        choice.schedule,
        choice.sums.folded_bias,
        choice.sums,
        choice.cost,
        layer.without_spills(),
        choice.refused + _absent(layer, choice.row, rules),
        all_shapes,
    )


def _absent(layer: _Layer, row_taken: KernelRow, rules: _Rules) -> tuple[Refusal, ...]:
    """Cheaper rows that this plan may not use at all."""
    return tuple(
        Refusal(row.name, f"needs {row.isa}, which {'this plan leaves out' if row.available else 'this CPU lacks'}")
        for row in rules.all_rows
        if row.family == row_taken.family
        and row not in rules.usable
        and layer.suits(row)
        and layer.least(row) < layer.least(row_taken)
    )


@dataclass(frozen=True, eq=False)
class _Layer:
    """A summing node, where it stands, what is proved of it, and who predicts its seconds."""

    node: Node
    op: ops.Products
    site: Site
    sums: NodeProof
    time: Predictor

    def suits(self, row: KernelRow) -> bool:
        """See ``cost.suits``."""
        return suits(row, self.op.rows, (self.sums.operands.lo, self.sums.operands.hi), self.op.wrap_bits)

    def cost(self, row: KernelRow, runs: RunCount) -> float:
        return self.time.sums(row, self.site, runs, one_by_one=runs_one_by_one(self.op))

    def least(self, row: KernelRow) -> float:
        skipped = self.time.skipped(row, self.op.rows, self.op.tile_groups)
        return self.time.least(row, self.site, self.op.terms, skipped=skipped, one_by_one=runs_one_by_one(self.op))

    def without_spills(self) -> float:
        terms, kind = self.op.terms, ops.family_of(self.op)
        return self.time.without_spills(kind, self.site, terms, one_by_one=runs_one_by_one(self.op))


@dataclass(frozen=True, eq=False)
class _Choice:
    row: KernelRow
    schedule: Schedule
    sums: NodeProof
    cost: float
    refused: tuple[Refusal, ...]


def _choose(layer: _Layer, candidates: Sequence[KernelRow]) -> _Choice:
    weight, groups, modulo = layer.op.rows, layer.op.tile_groups, layer.op.wrap_bits
    costs: dict[str, float] = {}
    reasons: dict[str, str] = {}
    least = {row.name: layer.least(row) for row in candidates}
    ranked = sorted(candidates, key=lambda row: least[row.name])
    best: KernelRow | None = None
    cheapest: tuple[Cut, NodeProof] | None = None
    for row in ranked:
        try:
            sums = in_form(layer.sums, weight, row.shift)
        except AccumulatorOverflow as error:
            reasons[row.name] = str(error).splitlines()[0]
            continue
        x = (sums.operands.lo, sums.operands.hi)
        if row.accumulator is None or not contract_holds(row, reach(weight, x), modulo):
            w_range = row.weights(modulo)
            reasons[row.name] = (
                f"takes operands {show_interval(row.x_range)} and weights {show_interval(w_range)}, not these"
            )
            continue
        if best is not None and least[row.name] >= costs[best.name]:
            continue
        try:
            register = row.accumulator.counting(modulo)
            gap = layer.time.costs.least_gap(row)
            runs = cut(weight, *x, register, row.tile_n, groups=groups, gap=gap, where=layer.node.name)
        except AccumulatorOverflow as error:
            reasons[row.name] = str(error).splitlines()[0]
            continue
        costs[row.name] = layer.cost(row, runs.count)
        reasons[row.name] = expense_in_words(row, runs.count)
        if best is None or costs[row.name] < costs[best.name]:
            best, cheapest = row, (runs, sums)
    if best is None or cheapest is None:
        raise NoKernel(
            f"{layer.node.name}: no row is proved: " + "; ".join(f"{n}: {reason}" for n, reason in reasons.items())
        )
    refused = tuple(
        Refusal(row.name, refusal_in_words(reasons[row.name], costs.get(row.name), costs[best.name]))
        for row in ranked
        if row is not best and row.name in reasons and least[row.name] < least[best.name]
    )
    schedule = replace(cheapest[0].schedule(), operand=best.operand)
    return _Choice(best, schedule, cheapest[1], costs[best.name], refused)
