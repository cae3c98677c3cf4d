"""Cases as programs that native sessions run and time, node by node.

A case is never alone. In a network its input has just been written and its weights were last used one run ago; so in a
course every case reads tensors that a lookup wrote right before it, and stands among enough others that their weights
do not fit the second cache. Small courses, which do fit, show what the cache is worth.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from oaq import operators as ops
from oaq.calibration.cases import SPLIT_BITS, TimedNode
from oaq.kernels.plan import NodePlan, Plan
from oaq.kernels.table import KernelRow
from oaq.numerics.affine import Affine
from oaq.numerics.ranges import IntRange
from oaq.operators import TensorSpec
from oaq.overflow.analyze import analyze
from oaq.overflow.forms import in_form
from oaq.overflow.proof import Proof
from oaq.overflow.spill import schedule
from oaq.program.int_program import IntProgram, Node
from oaq.runtime import Session

OPERANDS = IntRange(0, 15)
"""So small that weights in [-1, 1] may be summed in 16 bits over more than 4000 products."""
AFFINE = Affine(0.05)
CASE = "case"
"""What names of nodes begin with that are timed."""


def operands_of(row: KernelRow) -> IntRange:
    """Those of a course of ``row``: fewer bits where it takes no more."""
    return IntRange(0, min(OPERANDS.hi, row.x_range.hi + row.shift))


def program_of(cases: Sequence[TimedNode], name: str = "course", operands: IntRange = OPERANDS) -> IntProgram:
    """One after the other: the lookups that write a case's inputs, in ``operands``, then the case."""
    tensors: dict[str, TensorSpec] = {}
    nodes: list[Node] = []
    inputs: list[str] = []

    def tensor(label: str, shape: tuple[int, ...]) -> str:
        tensors[label] = TensorSpec(label, shape, AFFINE, operands)
        return label

    copied = ops.Lookup(np.minimum(np.arange(256), operands.hi).astype(np.uint8))
    for index, case in enumerate(cases):
        x = []
        for place, shape in enumerate(case.x):
            inputs.append(tensor(f"in{index}.{place}", shape))
            x.append(tensor(f"x{index}.{place}", shape))
            nodes.append(Node(f"write{index}.{place}", copied, (inputs[-1],), x[-1]))
        nodes.append(Node(f"{CASE}{index}", case.op, tuple(x), tensor(f"y{index}", case.y)))
    return IntProgram(name, tuple(inputs), (nodes[-1].output,), tensors, tuple(nodes))


def plan_cases(
    program: IntProgram, cases: Sequence[TimedNode], row: KernelRow, other_rows: Sequence[KernelRow]
) -> Plan:
    """The plan that computes every case by ``row``, spilling after at most the steps it asks for.

    Args:
        program: of ``cases``.
        cases: all of the row's family.
        row: that is timed.
        other_rows: one row for each other family there is.
    """
    proof = analyze(program)
    runs = {f"{CASE}{index}": case.run for index, case in enumerate(cases)}
    by_family = {other_row.family: other_row for other_row in other_rows} | {row.family: row}
    nodes = tuple(
        planned_with_runs(program, node, by_family[ops.family_of(node.op)], proof, runs.get(node.name))
        for node in program.nodes
    )
    return Plan(program, proof, nodes, row.isa)


def planned_with_runs(program: IntProgram, node: Node, row: KernelRow, proof: Proof, run: int | None) -> NodePlan:
    """One node computed by ``row``, spilling after at most ``run`` steps; None: as few spills as there are."""
    y = program.tensors[node.output]
    zero = tuple(spec.affine.zero_point for spec in program.specs(node))
    shapes = (*(spec.shape for spec in program.specs(node)), y.shape)
    if not isinstance(node.op, ops.Products) or row.accumulator is None:
        return NodePlan(node, row, zero, y.affine.zero_point, y.range, shapes=shapes)
    register = row.accumulator
    if run is not None and register.max_run == 1:
        register = replace(register, name=f"{register.name}, {SPLIT_BITS} bits", bits=SPLIT_BITS)
    elif run is not None and not register.is_exact:
        register = replace(register, name=f"{register.name}, runs of {run}", max_run=min(run, register.max_run or run))
    packing = node.products
    sums = in_form(proof[node.name], packing.rows, row.shift)
    ends = sums.operands.lo, sums.operands.hi
    runs = schedule(packing.rows, *ends, register, row.tile_n, groups=packing.tile_groups, where=node.name)
    runs, narrowed = replace(runs, operand=row.operand), replace(row, accumulator=register)
    folded = sums.folded_bias
    return NodePlan(node, narrowed, zero, y.affine.zero_point, y.range, runs, folded, sums, shapes=shapes)


@dataclass(eq=False)
class Course:
    """A plan being timed."""

    plan: Plan
    session: Session
    x: list[np.ndarray]
    nanoseconds: list[list[int]]

    def lap(self) -> None:
        """Run once and note every node's time."""
        self.session.run_integers(self.x)
        for node, node_time in zip(self.nanoseconds, self.session.profile(), strict=True):
            node.append(node_time.nanoseconds)

    def seconds(self) -> Iterator[tuple[NodePlan, float]]:
        """Every case, as planned, with the median of its times; never 0, however coarse the clock."""
        for planned, times in zip(self.plan.nodes, self.nanoseconds, strict=True):
            if planned.node.name.startswith(CASE):
                yield planned, max(float(np.median(times)), 1.0) * 1e-9


def open_course(plan: Plan) -> Course:
    """A session on random integers; the first laps warm it up and are forgotten."""
    rng = np.random.default_rng(0)
    program = plan.program
    specs = [program.tensors[name] for name in program.inputs]
    x = [rng.integers(0, spec.range.hi + 1, (1, *spec.shape)).astype(np.uint8) for spec in specs]
    course = Course(plan, Session(plan, threads=1), x, [[] for _ in plan.nodes])
    for _ in range(3):
        course.lap()
    for node in course.nanoseconds:
        node.clear()
    return course
