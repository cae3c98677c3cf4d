"""Every layer driven to the ends of its bounds, on the very schedule a plan would run.

A witness is an input of one layer, inside the ranges proved for it but not always reachable from the network's input,
so each layer is run by itself, with the plan's own row and weights.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from oaq import operators as ops
from oaq.errors import NoKernel
from oaq.kernels.plan import NodePlan, Plan, plan
from oaq.kernels.table import native_rows
from oaq.numerics.cells import lane_of
from oaq.numerics.modular import wrapped
from oaq.overflow.proof import NodeProof, Proof
from oaq.overflow.spill import Schedule
from oaq.overflow.witness import Witness, witness
from oaq.program.int_program import IntProgram, Node
from oaq.reference import compute
from oaq.runtime.build import build
from oaq.runtime.memory import plan_memory
from oaq.verify.compare import Comparison, compare

End = Literal["lo", "hi"]


def run_witnesses(plan: Plan, proof: Proof, threads: int) -> tuple[int, Comparison]:
    """How many witnesses there were, and how the layers' results compare with the reference's.

    Args:
        plan: already accepted by the checker; each of its layers is run alone, without a second proof.
        proof: of the plan's program.
        threads: that share the work.
    """
    count, result = 0, Comparison()
    for planned in plan.nodes:
        if planned.schedule is not None:
            tensors = layer_witnesses(plan.program, proof, planned)
            count += len(tensors)
            result = result.plus(_run_layer(plan, planned, tensors, threads))
    return count, result


def layer_witnesses(program: IntProgram, proof: Proof, planned: NodePlan) -> NDArray[np.uint8]:
    """(W, ...) inputs of one layer: least and largest whole sum, fullest lane both ways, both corners of its range."""
    node, schedule, sums = planned.node, planned.schedule, proof[planned.node.name]
    assert schedule is not None
    tensors = [
        witness(program, proof, node.name, int(np.argmin(sums.raw.lo)), "lo").tensor,
        witness(program, proof, node.name, int(np.argmax(sums.raw.hi)), "hi").tensor,
    ]
    fullest: tuple[tuple[End, int], ...] = (
        ("lo", int(schedule.bounds[:, 0].argmin())),
        ("hi", int(schedule.bounds[:, 1].argmax())),
    )
    for end, segment in fullest:
        output = fullest_output(node.products, sums, schedule, segment, end)
        lane = witness(program, proof, node.name, output, end, schedule=schedule, segment=segment)
        tensors.append(lane.tensor)
    shape, ranges = program.specs(node)[0].shape, proof.ranges[node.inputs[0]]
    tensors += [np.broadcast_to(edge, shape).astype(np.uint8) for edge in (ranges.lo, ranges.hi)]
    return np.ascontiguousarray(np.stack(tensors))


def fullest_output(op: ops.Products, sums: NodeProof, schedule: Schedule, segment: int, end: End) -> int:
    """The output whose lane comes nearest to the wanted end in one segment."""
    tile, start, count = schedule.segments[segment].tolist()
    first = int(schedule.segments[:segment, 2].sum())
    step, outputs = schedule.accumulator.step, len(sums.total)
    used = np.array(schedule.shape(outputs, op.tile_groups).outputs_of(tile))
    weight = (
        schedule.packed[first : first + count, : len(used)].astype(np.int64).transpose(1, 0, 2).reshape(len(used), -1)
    )
    rows = used // (outputs // len(sums.operands.lo))
    pad = -sums.operands.lo.shape[1] % step
    span = slice(start * step, (start + count) * step)
    low, high = (np.pad(x, ((0, 0), (0, pad)))[rows, span] for x in (sums.operands.lo, sums.operands.hi))
    pick = np.maximum if end == "hi" else np.minimum
    reach = pick(weight * low, weight * high)
    lane = lane_of(schedule.accumulator, np.arange(span.start, span.stop))
    lanes = np.stack([reach[:, lane == n].sum(axis=1) for n in range(schedule.accumulator.lanes)], axis=1)
    best = lanes.max(axis=1).argmax() if end == "hi" else lanes.min(axis=1).argmin()
    return int(used[best])


@dataclass(frozen=True)
class WrapWitness:
    """An input of a layer that wraps by design, and what every kernel row here makes of it.

    Attributes:
        bits: b; the law is exact modulo 2**b.
        total: the exact sum, bias included, at the witness's output position.
        residue: what a two's complement register of b bits holds of it.
        rows: kernel rows that ran the layer on the witness's tensor.
        mismatches: integers in which they differ from the reference, over all of them.
    """

    bits: int
    total: int
    residue: int
    rows: tuple[str, ...]
    mismatches: int

    @property
    def leaves(self) -> bool:
        """Whether the exact sum leaves a register of b bits."""
        return self.residue != self.total


def wrap_witness(program: IntProgram, proof: Proof, worst: Witness) -> WrapWitness | None:
    """Run a witness by every kernel row of this CPU; None for a layer whose sums are exact.

    Args:
        program: whose layer it is.
        proof: of ``program``.
        worst: the witness of a whole sum of the layer.
    """
    node = program.by_name[worst.node]
    bits, alone = node.products.wrap_bits, _alone(program, node)
    if bits is None:
        return None
    tensors, y = np.ascontiguousarray(worst.tensor[None]), program.tensors[node.output]
    expected, _ = compute(node, [tensors], program.specs(node), y)
    rows, mismatches = [], 0
    try:
        candidates = [row for row in native_rows() if row.available and row.family == ops.family_of(node.op)]
    except NoKernel:
        candidates = []
    for row in candidates:
        try:
            native = build(plan(alone, rows=row.name), plan_memory(alone), 1)
        except NoKernel:
            continue  # its contract does not hold here
        actual = np.empty((1, *y.shape), np.uint8)
        native.run([tensors], [actual])
        rows.append(row.name)
        mismatches += int((actual != expected).sum())
    sums, output = proof[node.name], worst.output
    bias = int(sums.total.lo[output]) - int(sums.raw.lo[output])  # the folded bias here counts modulo 2^32
    total = worst.tensor_sum + bias
    residue = int(wrapped(np.array([total]), bits)[0])
    return WrapWitness(bits, total, residue, tuple(rows), mismatches)


def _alone(program: IntProgram, node: Node) -> IntProgram:
    specs = {name: program.tensors[name] for name in (node.inputs[0], node.output)}
    return replace(program, inputs=node.inputs, outputs=(node.output,), tensors=specs, nodes=(node,))


def _run_layer(plan: Plan, planned: NodePlan, tensors: NDArray[np.uint8], threads: int) -> Comparison:
    program, node = plan.program, planned.node
    alone, y = _alone(program, node), program.tensors[node.output]
    native = build(replace(plan, program=alone, nodes=(planned,)), plan_memory(alone), threads)
    actual = np.empty((len(tensors), *y.shape), np.uint8)
    native.run([tensors], [actual])
    expected, _ = compute(node, [tensors], program.specs(node), y)
    return compare(alone, {node.output: expected}, {node.output: actual})
