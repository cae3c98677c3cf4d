"""The plan of a dynamic layer: a proved kernel row and its spills, from the planner of programs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from oaq.dynamic.layer import DynamicLayer
from oaq.dynamic.statements import summed, totals
from oaq.errors import NoKernel
from oaq.kernels.cost import CostTable
from oaq.kernels.cost_files import CostSource, costs_from
from oaq.kernels.plan import NodePlan, Plan, plan
from oaq.kernels.table import KernelRow, dynamic_rows, native_rows, rows_for
from oaq.numerics.ranges import IntRange
from oaq.overflow.analyze import analyze
from oaq.overflow.proof import Proof
from oaq.program.int_program import IntProgram
from oaq.program.pickling import flatten, rebuild

TWO_QUADS: Final = 1.5
"""Time of a step of two quads in steps of one, about."""


@dataclass(frozen=True, eq=False)
class DynamicPlan:
    """A proved way to run a dynamic layer.

    Attributes:
        layer: what is run.
        sums: the plan of what kernels sum: one node.
        totals: what remains without zero points: statements and their proofs.
    """

    layer: DynamicLayer
    sums: Plan
    totals: tuple[tuple[IntProgram, Proof], ...]

    def __reduce__(self) -> tuple[object, ...]:
        """Pickle and copy by the constructor."""
        return rebuild, (flatten(self),)

    @property
    def node(self) -> NodePlan:
        """Row, schedule and refusals."""
        return self.sums.nodes[0]

    @property
    def row(self) -> KernelRow:
        """The kernel."""
        return self.node.row

    @property
    def total(self) -> IntRange:
        """Least and greatest total of any output, for every input of any scale."""
        ends = [proof.nodes[program.nodes[0].name].total.envelope() for program, proof in self.totals]
        return IntRange(min(end.lo for end in ends), max(end.hi for end in ends))

    @property
    def column_sum(self) -> NDArray[np.int32]:
        """(N,) sums of the weights as they are multiplied: what an operand's zero point is multiplied by."""
        return self.layer.multiplied.sum(axis=1, dtype=np.int64).astype(np.int32)

    def explain(self) -> str:
        """Row, spills, refusals, and the reach of the totals."""
        ends = self.total
        text = f"{self.layer.name}: totals of any scale reach [{ends.lo}, {ends.hi}], {ends.signed_bits} bits"
        return f"{self.sums.explain()}\n{text}"


def plan_layer(
    layer: DynamicLayer,
    isa: str | None = None,
    rows: str | Sequence[str] | None = None,
    *,
    table: Sequence[KernelRow] | str | None = None,
    costs: CostSource = None,
) -> DynamicPlan:
    """Prove a layer and choose its row; arguments as ``oaq.plan``.

    Raises:
        AccumulatorOverflow: a total may leave s32: there are too many terms.
        NoKernel: no row may compute it.
    """
    statements = totals(layer)
    proofs = tuple((program, analyze(program)) for program in statements)
    program = summed(layer)
    if table is None:
        table, isa = rows_for(isa, (*native_rows(), *dynamic_rows())), None
    sums = plan(program, isa, rows, analyze(program), table=table, costs=_with_two_quads(costs_from(costs)))
    if sums.nodes[0].row.shift:
        raise NoKernel(f"{layer.name}: {sums.nodes[0].row.name} multiplies no raw u8; choose another row")
    return DynamicPlan(layer, sums, proofs)


def _with_two_quads(costs: CostTable) -> CostTable:
    """A cost table that knows the rows of dynamic layers: as the rows that leave 16 bits after every quad.

    A step is two quads. It multiplies three times where two steps of those rows multiply four times, and the
    multiplications are what such a loop waits for.
    """
    rows = dict(costs.rows)
    for row in dynamic_rows():
        if row.name not in rows:
            rows[row.name] = {
                kind: seconds * (TWO_QUADS if kind in ("steps", "turns") else 1.0)
                for kind, seconds in costs.for_row(row).items()
            }
    return replace(costs, rows=rows)
